import FleetCrypto
import FleetProtocol
import FleetReactor
import FleetSystem

/// What an operator may ask.
extension CoordinatorServer {
    func serve(_ stream: FleetProtocol.Stream, operator who: Principal) async throws(FleetError) {
        guard let act = OperatorRequest.act(stream.method, stream.request, by: who.actor) else {
            // Reading is not on record; that somebody was refused it is.
            try await permit(stream, who, Act(stream.method, by: who.actor))
            return try await answer(stream, who)
        }
        try await catalogue.recording(act) { () throws(FleetError) in
            try await permit(stream, who, act)
            try await answer(stream, who)
        }
    }

    private func permit(_ stream: FleetProtocol.Stream, _ who: Principal, _ act: Act) async throws(FleetError) {
        do throws(FleetError) { try await catalogue.permit(stream.method, stream.request, to: who) } catch {
            if error.code == .permissionDenied {
                OperatorRequest.current?.note()
                await catalogue.turnedAway(act, error, budget: who.actor)
            }
            throw error
        }
    }

    private func answer(_ stream: FleetProtocol.Stream, _ who: Principal) async throws(FleetError) {
        let (actor, scope) = (who.actor, who.scope)
        func request<Request: Decodable>(_ type: Request.Type) throws(FleetError) -> Request {
            try JSON.decode(type, from: stream.request)
        }
        switch stream.method {
        case ControlMethod.addCluster:
            try await stream.finish(try await catalogue.addCluster(try request(NameRequest.self).name, by: actor))
        case ControlMethod.removeCluster:
            let removal = try request(ClusterRemovalRequest.self)
            try await stream.finish(
                try await catalogue.removeCluster(removal.name, dryRun: removal.dryRun, by: actor))
        case ControlMethod.listClusters:
            try await stream.finish(try await catalogue.clusters().filter { scope.contains($0.name) })
        case ControlMethod.showCluster:
            let name = try request(NameRequest.self).name
            try await stream.finish(
                ClusterDetail(
                    cluster: try await catalogue.cluster(name), agents: try await agents(name),
                    openJobs: try await catalogue.jobs(JobFilter(cluster: name, openOnly: true))))
        case ControlMethod.acceptCluster:
            let word = try request(AcceptRequest.self)
            try await catalogue.acceptIdentity(word.id, cluster: word.cluster, by: actor)
            try await stream.finish(try await catalogue.cluster(word.cluster))
        case ControlMethod.listAgents:
            let cluster = try request(ListRequest.self).cluster
            // The certificates of a whole fleet's nodes are megabytes; those of a cluster are told by `showCluster`.
            try await stream.finish(
                try await agents(cluster).filter { scope.contains($0.cluster) }.map {
                    $0.withEndingCertificates(at: .now())
                })
        case ControlMethod.agentToken:
            try await stream.finish(try await token(.agent, try request(TokenRequest.self), actor))
        case ControlMethod.enrolmentTerms:
            try await stream.finish(try await terms(try request(EnrolmentTermsRequest.self), who))
        case ControlMethod.operatorToken:
            try await stream.finish(try await token(.operator, try request(TokenRequest.self), actor))
        case ControlMethod.listOperators:
            try await stream.finish(
                try await catalogue.operators().map { one in
                    var one = one
                    if let certificate = one.certificate, certificate.revoked == nil, !keys.vouches(for: certificate) {
                        one.certificate?.isRetired = true
                    }
                    return one
                })
        case ControlMethod.addOperator:
            let wanted = try request(OperatorChange.self)
            guard let role = wanted.role else {
                throw FleetError(.usage, "an operator has a role", hint: "give one: \(OperatorRole.names)")
            }
            let access = OperatorAccess(role: role, clusters: wanted.clusters ?? ClusterSelector())
            try await stream.finish(try await catalogue.addOperator(wanted.name, access, by: actor))
        case ControlMethod.setOperator:
            try await stream.finish(try await catalogue.setOperator(try request(OperatorChange.self), by: actor))
        case ControlMethod.whoAmI: try await stream.finish(WhoAmIReply(who))
        case ControlMethod.revokeAgent:
            let target = try request(RevokeRequest.self)
            guard let cluster = target.cluster else {
                throw FleetError(.usage, "an agent is named by its cluster and its node")
            }
            try await stream.finish(try await revoke(.agent(cluster: cluster, node: target.name), actor))
        case ControlMethod.revokeOperator:
            let name = try request(RevokeRequest.self).name
            try await stream.finish(try await revoke(.operator(name: name), actor))
        case ControlMethod.startBackup: try await startBackup(stream, try request(BackupRequest.self), actor)
        case ControlMethod.previewRestore:
            try await stream.finish(try await preview(try request(RestoreRequest.self), who))
        case ControlMethod.startRestore: try await startRestore(stream, try request(RestoreRequest.self), who)
        case ControlMethod.startDrill: try await startDrill(stream, try request(DrillRequest.self), who)
        case ControlMethod.listJobs:
            let list = try request(ListRequest.self)
            if let cluster = list.cluster { try await catalogue.checkKnown(cluster) }
            try await stream.finish(
                try await catalogue.jobs(JobFilter(cluster: list.cluster, scope: scope, limit: list.limit ?? 50)))
        case ControlMethod.showJob:
            try await stream.finish(try await catalogue.job(try request(NameRequest.self).name, in: scope))
        case ControlMethod.watchJob: try await watch(stream, try request(NameRequest.self).name, scope)
        case ControlMethod.listSnapshots:
            let list = try request(ListRequest.self)
            if let cluster = list.cluster { _ = try await catalogue.cluster(cluster) }
            try await stream.finish(
                try await catalogue.snapshots(cluster: list.cluster, scope: scope, limit: list.limit ?? 100))
        case ControlMethod.showSnapshot:
            try await stream.finish(try await catalogue.findSnapshot(try request(NameRequest.self).name, in: scope))
        case ControlMethod.exportSnapshot: try await export(stream, try request(NameRequest.self).name, who)
        case ControlMethod.auditLog:
            let list = try request(ListRequest.self)
            try await stream.finish(
                try await catalogue.auditLog(
                    AuditFilter(cluster: list.cluster, scope: scope, since: list.since, limit: list.limit ?? 200)))
        case ControlMethod.verifyAudit: try await stream.finish(try await catalogue.verifyAudit())
        case ControlMethod.status:
            try await stream.finish(try await status(scope).cut(to: scope).withEndingCertificates())
        default:
            if try await serveStore(stream, actor) { return }
            if try await serveCopies(stream, actor) { return }
            if try await serveUndo(stream, actor) { return }
            if try await serveApproval(stream, actor) { return }
            if try await serveReplacement(stream, actor) { return }
            if try await serveUpgrade(stream, actor) { return }
            if try await serveRetention(stream, who) { return }
            if try await servePolicy(stream, who) { return }
            if try await serveContent(stream, who) { return }
            if try await serveReport(stream, actor) { return }
            if try await serveAlerts(stream, who) { return }
            if try await serveBundles(stream, who) { return }
            throw FleetError(
                .unknownMethod, "this coordinator does not know \(Names.quote(stream.method))",
                hint: "upgrade the older side")
        }
    }

    /// With who is connected now, and when they were heard of, which the catalogue can't know.
    func agents(_ cluster: String? = nil) async throws(FleetError) -> [AgentRecord] {
        if let cluster { _ = try await catalogue.cluster(cluster) }
        let sightings = await sessions.sightings
        return try await catalogue.agents(cluster: cluster).map { agent in
            guard let sighting = sightings[NodeName(agent)] else { return agent }
            var agent = agent
            agent.connected = true
            agent.connectedSince = sighting.since
            agent.lastSeen = sighting.lastHeard
            return agent
        }
    }

    private func terms(_ request: EnrolmentTermsRequest, _ who: Principal) async throws(FleetError) -> EnrolmentTerms {
        _ = try await catalogue.cluster(request.cluster)
        if request.enrols {
            try who.needsAll(ControlMethod.agentToken)
            try await mayEnrol(request.cluster, who.actor)
        }
        var terms = EnrolmentTerms(
            address: "\(configuration.advertise)", authority: keys.authority.certificate.fingerprint)
        terms.former = keys.former?.authority.fingerprint
        return terms
    }

    private func mayEnrol(_ cluster: String, _ actor: String) async throws(FleetError) {
        guard actor.hasPrefix("operator:"), try await catalogue.isProtected(cluster) else { return }
        throw FleetError(
            .permissionDenied, "\(cluster) is protected: its agents are enrolled by root on the coordinator's host",
            hint: "there: fleetctl agent token \(cluster)")
    }

    private func token(_ role: Role, _ request: TokenRequest, _ actor: String) async throws(FleetError) -> TokenReply {
        try request.check()
        if role == .agent { try await mayEnrol(request.name, actor) }
        let token = JoinToken(
            address: configuration.advertise, authorityFingerprint: keys.authority.certificate.fingerprint)
        let expires = try await catalogue.createToken(
            secret: token.secret, role: role, cluster: role == .agent ? request.name : nil,
            name: role == .operator ? request.name : nil, lifetime: .seconds(request.validSeconds), by: actor)
        return TokenReply(token: token.text, expires: expires)
    }

    /// Every request looks its certificate up, so an operator is not served from now on. An agent's connections are
    /// closed: what it sends or gets just now ends too.
    private func revoke(_ grant: Grant, _ actor: String) async throws(FleetError) -> RevokeReply {
        let count = try await catalogue.revoke(grant, by: actor)
        if case .agent(let cluster, let node) = grant {
            await sessions.close(
                NodeName(cluster: cluster, node: node),
                FleetError(.certificateRevoked, "the certificate of \(cluster)/\(node) was revoked"))
        }
        do throws(FleetError) { await carryOut(try await catalogue.endRevoked()) } catch {
            log.error("what was open on a revoked agent could not be ended, and will be tried again", error)
        }
        return RevokeReply(certificates: count)
    }

    private func startBackup(_ stream: FleetProtocol.Stream, _ request: BackupRequest, _ actor: String)
        async throws(FleetError)
    {
        let agent = try AgentChoice.choose(
            try await agents(request.cluster), cluster: request.cluster, avoiding: request.avoid ?? [])
        let job = try await catalogue.createBackup(
            cluster: request.cluster, node: agent.node, lifetime: configuration.jobLifetime, by: actor)
        try await begin(job, answering: stream)
    }

    private func preview(_ request: RestoreRequest, _ who: Principal) async throws(FleetError) -> RestorePreview {
        let cluster = try await catalogue.cluster(request.cluster)
        let agents = try await agents(request.cluster)
        // Before a member is missed that takes part in what goes on.
        try await catalogue.checkIdle(request.cluster)
        let entry = try await catalogue.snapshotToRestore(request.at, to: request.cluster, in: who.scope)
        try RestoreGuard.check(
            entry, target: cluster, agents: agents, RestoreGuard.Options(allowOtherCluster: request.fromOtherCluster))
        if !request.dryRun {
            // Which node saves first plays no part in it.
            let order = RestoreOrder(request, snapshot: entry.record.id, safetyNode: "")
            try await catalogue.approval(of: order.need(request.cluster), by: who.actor)
        }
        return try await preview(
            entry, cluster, members: try RestoreMembers.find(agents, entry.record, cluster: request.cluster), of: agents
        )
    }

    /// With all that whoever says yes to it has to know.
    func preview(
        _ entry: SnapshotEntry, _ cluster: ClusterRecord, members: [AgentRecord], of agents: [AgentRecord]
    ) async throws(FleetError) -> RestorePreview {
        var preview = RestorePreview(snapshot: entry, cluster: cluster, agents: members)
        if entry.record.cluster == cluster.name { preview.leftBy = try await catalogue.departure(from: entry) }
        preview.controlPlanes = agents.filter { $0.isControlPlane && $0.certificate?.revoked == nil }.map(\.node)
        return preview
    }

    private func startRestore(_ stream: FleetProtocol.Stream, _ request: RestoreRequest, _ who: Principal)
        async throws(FleetError)
    {
        let actor = who.actor
        guard Operation.Restore.waitRange.contains(request.waitSeconds) else {
            throw FleetError(
                .usage, "a wait of \(request.waitSeconds) s is not possible", hint: "give --wait between 10s and 1h")
        }
        let agents = try await agents(request.cluster)
        try await catalogue.checkIdle(request.cluster)
        let able = try AgentChoice.choose(agents, cluster: request.cluster)
        let record = try await catalogue.snapshotToRestore(request.at, to: request.cluster, in: who.scope).record
        let members = try RestoreMembers.find(agents, record, cluster: request.cluster)
        let order = RestoreOrder(request, snapshot: record.id, safetyNode: able.node)
        let lifetime = configuration.jobLifetime
        let job =
            members.count == 1
            ? try await catalogue.createRestore(
                order, cluster: request.cluster, node: members[0].node, lifetime: lifetime, by: actor)
            : try await catalogue.createRestore(
                order, cluster: request.cluster, members: members, lifetime: lifetime, by: actor)
        try await begin(job, answering: stream)
    }

    private func watch(_ stream: FleetProtocol.Stream, _ name: String, _ scope: Scope) async throws(FleetError) {
        let named = try await catalogue.job(name, in: scope)
        let news = await feed.subscribe(named.id, members: named.members?.map(\.id) ?? [])
        var job = try await catalogue.job(named.id)
        // Acts of a replacement that were begun in between.
        let begun = Set((job.members ?? []).map(\.id)).subtracting((named.members ?? []).map(\.id))
        if !begun.isEmpty {
            for act in begun { await feed.adopt(act, into: named.id) }
            job = try await catalogue.job(named.id)
        }
        var seen: [String: Int] = [:]
        for event in (job.events + (job.members ?? []).flatMap(\.events)).sorted(by: { $0.time < $1.time }) {
            try await stream.send(message: event)
            seen[event.job] = max(event.sequence, seen[event.job] ?? 0)
        }
        guard job.state.isOpen else { return try await stream.finish(job) }
        for await one in news {
            switch one {
            case .event(let event) where event.kind == .progress: try await stream.send(message: event)
            case .event(let event) where event.sequence > seen[event.job] ?? 0:
                try await stream.send(message: event)
                seen[event.job] = event.sequence
            case .event: break
            case .closed(let job): return try await stream.finish(job)
            }
        }
        try await stream.finish(try await catalogue.job(named.id))
    }

    private func export(_ stream: FleetProtocol.Stream, _ name: String, _ who: Principal) async throws(FleetError) {
        let entry = try await catalogue.findSnapshot(name, in: who.scope)
        // Whoever has a snapshot has every Secret of the cluster: that it was handed out is on record first.
        try await catalogue.audit(
            Act("snapshot.export", by: who.actor, cluster: entry.record.cluster, subject: entry.record.id))
        try await send(try await vault.export(entry.record.id), from: 0, on: stream)
    }

    func status(_ scope: Scope = .all) async throws(FleetError) -> FleetStatus {
        let store = vault.store
        let (free, used) = try await blocking { () throws(FleetError) in (try store.freeSpace(), try store.usedSpace())
        }
        // Jobs first: one that ends meanwhile is still among them when its agent is not looked at.
        let openJobs = try await catalogue.jobs(JobFilter(scope: scope, openOnly: true, limit: .max))
        var status = FleetStatus(
            version: FleetVersion.current, time: .now(), clusters: try await catalogue.clusters(),
            agents: try await agents(), openJobs: openJobs, storeFree: free, storeUsed: used,
            audit: try await catalogue.auditSummary())
        let waiting = waitingTasks(now: status.time)
        status.waiting = waiting.long
        status.queue = waiting.short
        status.coordinatorCopy = lastCopy.withLock(\.self)
        status.coordinatorCopyProblem = copyProblem.withLock(\.self)
        status.retentionWaits = try await catalogue.retentionWaits()
        status.unusablePolicies = try await catalogue.policies().compactMap { record in
            record.problem.map { UnusablePolicy(policy: record.policy.name, problem: $0) }
        }
        status.policyProblems = status.unusablePolicies?.map(\.problem)
        status.alertTargets = try await catalogue.alertTargets()
        let isHeld = try await catalogue.alertsAreHeld()
        status.alertsAreHeld = isHeld && status.alertTargets?.isEmpty == false
        status.authority = try await authorityStanding()
        status.uptime = Int((ContinuousClock.now - began).seconds)
        status.lastHeardBefore = lastHeardBefore.withLock(\.self)
        return status
    }

    private func authorityStanding() async throws(FleetError) -> AuthorityStanding {
        let certificate = keys.authority.certificate
        var standing = AuthorityStanding(fingerprint: certificate.fingerprint, notAfter: certificate.notAfter)
        guard let former = keys.former else { return standing }
        standing.former = former.authority.fingerprint
        (standing.agents, standing.operators) = try await catalogue.notYet(under: certificate.fingerprint)
        return standing
    }
}

extension AgentRecord {
    /// Where all agents are told, those that somebody has to look after, and of the others the one that ends first.
    fileprivate func withEndingCertificates(at time: Timestamp) -> AgentRecord {
        var agent = self
        let limit = time.adding(.seconds(31 * 86_400))
        let sorted = nodeCertificates.map { CertificateExpiry.watched($0, at: time) }
        agent.nodeCertificates = sorted.map { all in Array(all.prefix(max(1, all.count { $0.notAfter < limit }))) }
        return agent
    }
}

extension FleetStatus {
    fileprivate func withEndingCertificates() -> FleetStatus {
        var status = self
        status.agents = agents.map { $0.withEndingCertificates(at: time) }
        return status
    }

    /// What whoever may see only some clusters is shown of it.
    fileprivate func cut(to scope: Scope) -> FleetStatus {
        guard scope != .all else { return self }
        var status = self
        status.clusters = clusters.filter { scope.contains($0.name) }
        status.agents = agents.filter { scope.contains($0.cluster) }
        status.waiting = waiting?.filter { scope.contains($0.cluster) }
        status.queue = queue?.filter { scope.contains($0.cluster) }
        // They are the fleet's.
        status.hideStore()
        status.policyProblems = nil
        status.unusablePolicies = nil
        status.alertTargets = nil
        status.alertsAreHeld = nil
        status.authority = nil
        return status
    }
}

extension WhoAmIReply {
    fileprivate init(_ who: Principal) {
        var clusters: [String]?
        if case .only(let names) = who.scope { clusters = names.sorted() }
        self.init(actor: who.actor, access: who.access, clusters: clusters)
    }
}
