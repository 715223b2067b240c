import FleetCrypto
import FleetHTTP
import FleetProtocol
import FleetReactor
import FleetSystem
import FleetTLS

/// The coordinator at work: who may ask what, and the shell around catalogue, store and job machine. It keeps no state
/// of its own that a restart would lose, but who is connected.
final class CoordinatorServer: Sendable {
    struct Configuration: Sendable {
        var listen: Address
        /// Where agents and operators find it; part of every token.
        var advertise: Address
        var controlSocket: String?
        /// Where metrics are read; nil: nowhere.
        var metrics: Address?
        /// How long the certificates of agents and operators are good.
        var clientValidity = KeyRing.clientValidity
        /// How long an agent may take to begin a job.
        var jobLifetime = Duration.seconds(3600)
        /// How often jobs that nobody speaks of are looked at.
        var tick = Duration.seconds(30)
        /// How often is looked at what is due, if nothing becomes due before.
        var schedulePause = Duration.seconds(15)
        /// The user of the process: it may use the socket as root may.
        var user: UInt32
    }

    let configuration: Configuration
    let catalogue: Catalogue
    let vault: Vault
    let keys: KeyRing
    let log: Log
    let began = ContinuousClock.now
    /// When any agent was last heard of before that.
    let lastHeardBefore = Monitor<Timestamp?>(nil)
    let sessions = AgentSessions()
    let feed = JobFeed()
    let desk = ReadingDesk()
    /// Each walks the whole audit log.
    let reports = ReadingDesk(seats: 2, busyWith: "making or checking audit reports")
    /// Each holds a node's configuration in memory.
    let configurations = ReadingDesk(seats: 8, busyWith: "reading the configuration of nodes")
    let arrivals = BundleDesk()
    let board = MetricsBoard()
    /// nil where it has no directory of its own, as in tests.
    let copies: CoordinatorCopies?
    /// The same.
    let programs: ProgramStore?
    /// One is made at a time.
    let copying = Monitor<Void>(())
    let lastCopy = Monitor<Timestamp?>(nil)
    let copyProblem = Monitor<FleetError?>(nil)
    /// Something was said that a coordinator put back must know.
    let copySoon = Monitor(false)
    /// The audit log's length when the last one was made by itself.
    let copiedHead = Monitor<Int64?>(nil)
    private let strangers = Strangers()
    private let attempts = Monitor(FailedAttempts())
    let postponed = Monitor<[ScheduledTask: Postponed]>([:])
    /// What is due and is held back.
    let queue = Monitor(TaskQueue())
    /// Drills that are due, while what they are compared with is read.
    let preparing = Monitor<Set<ScheduledTask>>([])
    /// What the backups of each policy have sent lately.
    let shares = BandwidthShares()
    /// Those whose alert is on its way.
    let sending = Monitor<Set<String>>([])
    let turnedAway = Monitor(TurnedAway())
    /// Messages that were taken, which the catalogue does not know yet.
    let taken = Monitor<Set<String>>([])
    /// By a member's job: on which connection its agent has answered to a decision.
    let heard = Monitor<[String: Connection]>([:])

    init(
        _ configuration: Configuration, catalogue: Catalogue, vault: Vault, keys: KeyRing,
        copies: CoordinatorCopies? = nil, programs: ProgramStore? = nil, log: Log
    ) {
        self.copies = copies
        self.programs = programs
        self.configuration = configuration
        self.catalogue = catalogue
        self.vault = vault
        self.keys = keys
        self.log = log
    }

    /// The listeners, and what else runs until `stop`.
    struct Running: Sendable {
        var port: UInt16
        fileprivate var listeners: [Listener]
        fileprivate var ticking: [Task<Void, Never>]
        fileprivate var metrics: HTTPServer?
        /// Where metrics are read, if they are.
        var metricsPort: UInt16?
    }

    func start() async throws(FleetError) -> Running {
        let (tls, configuration) = (try keys.serverContext(), configuration)
        let heard = try await catalogue.agents().compactMap(\.lastSeen).max()
        lastHeardBefore.withLock { $0 = heard }
        let remote = try await listen(configuration.listen, tls)
        var listeners = [remote]
        if let socket = configuration.controlSocket { listeners.append(try await listen(.unix(path: socket), nil)) }
        let metrics = serveMetrics()
        var ticking = [
            Task { await self.tickForever() }, Task { await self.watchDeadlines() },
            Task { await self.followPolicies() }, Task { await self.keepCopies() },
            Task { await self.keepAlerts() }, Task { await self.keepSightings() },
            Task { await self.sendAlerts() }, Task { await self.walkChainDaily() },
            Task { await self.keepStoreSizes() },
        ]
        if metrics != nil { ticking.append(Task { await self.keepFigures() }) }
        return Running(
            port: await remote.port, listeners: listeners, ticking: ticking, metrics: metrics?.server,
            metricsPort: metrics?.port)
    }

    func stop(_ running: Running) async {
        for task in running.ticking { task.cancel() }
        for listener in running.listeners { await listener.stop() }
        running.metrics?.stop()
        await keepSightingsNow()
        await sessions.closeAll(FleetError("stopping", "the coordinator is stopping", retryable: true))
    }

    @Reactor private func listen(_ address: Address, _ tls: TLSContext?) throws(FleetError) -> Listener {
        try Listener(
            try Socket.listen(address), tls: tls,
            options: Connection.Options(software: "fleet-coordinator \(FleetVersion.current)"), log: log,
            handler: { stream in await self.serve(stream) },
            accepted: { connection in await self.admit(connection) })
    }

    /// Whoever is known stays; a node's connection ends with its certificate from here on, whether anything is asked on it or not.
    private func admit(_ connection: Connection) async {
        guard case .certificate(let certificate) = await connection.peer else {
            if case .anonymous = await connection.peer { await limitStranger(connection) }
            return
        }
        do throws(FleetError) {
            let grant = try await catalogue.identify(fingerprint: certificate.fingerprint)
            guard case .agent(let cluster, let node) = grant else { return }
            do throws(FleetError) { try await enter(connection, of: NodeName(cluster: cluster, node: node)) } catch {
                // Revoked just now: a stream that came in meanwhile took it for one that had been looked up.
                await connection.close(error)
            }
        } catch {
            // It may ask one thing, and is told then why it is turned away.
            if error.isTurnedAway { await limitStranger(connection) }
        }
    }

    /// Who comes without a certificate may enroll and go, who comes with one that is good no more may be told so: only so many at
    /// once, and none for long.
    private func limitStranger(_ connection: Connection) async {
        guard await strangers.enter() else {
            return await connection.close(
                FleetError(.busy, "too many are enrolling at once", hint: "try again in a minute", retryable: true))
        }
        let leaving = Task {
            try? await Task.sleep(for: Strangers.stay)
            await connection.close(
                FleetError(.timedOut, "a connection without a certificate that is good is only for enrolment"))
        }
        _ = await connection.closed()
        leaving.cancel()
        await strangers.leave()
    }

    private func tickForever() async {
        while !Task.isCancelled {
            do throws(FleetError) {
                await carryOut(try await catalogue.tick(connected: await sessions.connected))
                try await remind()
            } catch { log.error("looking after jobs failed", error) }
            try? await Task.sleep(for: configuration.tick)
        }
    }

    /// Backups are made whether somebody can read figures of them or not.
    private func serveMetrics() -> (port: UInt16, server: HTTPServer)? {
        guard let address = configuration.metrics else { return nil }
        do throws(FleetError) {
            let socket = try Socket.listen(address, backlog: 16)
            let port = Socket.localPort(socket)
            return (port, try HTTPServer(listeningOn: socket) { [board] path in board.answer(path) })
        } catch {
            log.error("metrics can't be read, all else goes on", error)
            return nil
        }
    }

    private func keepFigures() async {
        while !Task.isCancelled {
            let started = ContinuousClock.now
            do throws(FleetError) {
                board.put(FleetMetrics.page(try await status(), try await catalogue.metricFacts()))
            } catch { log.error("the figures for metrics could not be made", error) }
            // A twentieth of the catalogue's time, and never so seldom that the figures would pass for old.
            let pause = min((ContinuousClock.now - started) * 20, MetricsBoard.freshness / 2)
            try? await Task.sleep(for: max(.seconds(15), pause))
        }
    }

    // MARK: who asks

    /// Serves one stream. Who asks is looked up each time, so that a revocation counts at once.
    private func serve(_ stream: FleetProtocol.Stream) async {
        do throws(FleetError) {
            switch await stream.connection.peer {
            case .anonymous:
                guard stream.method == Method.enroll else {
                    throw FleetError(
                        .permissionDenied, "\(Names.quote(stream.method)) needs a client certificate",
                        hint: "enroll or log in with a token first")
                }
                try await enroll(stream)
            case .certificate(let certificate):
                let grant = try await catalogue.identify(fingerprint: certificate.fingerprint)
                guard certificate.names(grant) else {
                    throw FleetError(
                        .certificateUnknown, "this certificate names another holder than the inventory does",
                        hint: newCertificate)
                }
                switch grant {
                case .agent(let cluster, let node):
                    try await serve(stream, agent: NodeName(cluster: cluster, node: node))
                case .operator(let name):
                    try await serve(stream, operator: try await catalogue.principal(operator: name))
                }
            case .user(let user):
                guard user == 0 || user == configuration.user else {
                    throw FleetError(
                        .permissionDenied, "the socket serves root only",
                        hint: "log in as an operator: 'fleetctl login -'")
                }
                try await serve(stream, operator: .host(user == 0 ? "root" : "user:\(user)"))
            }
        } catch {
            log.info("\(Names.quote(stream.method)) failed: \(error.message)", ["code": error.code.rawValue])
            await recordTurnedAway(stream, error)
            await stream.fail(error)
            await endIfTurnedAway(stream.connection, error)
        }
    }

    private func enroll(_ stream: FleetProtocol.Stream) async throws(FleetError) {
        let request = try JSON.decode(EnrollRequest.self, from: stream.request)
        let address = await stream.connection.peerAddress ?? "unknown"
        do throws(FleetError) { try await enroll(stream, request, from: address) } catch {
            guard [.tokenUnknown, .tokenUsed, .tokenExpired].contains(error.code) else { throw error }
            // Many nodes may come from one address: a token that is good was let in before this.
            let isKept = attempts.withLock { attempts in
                attempts.failed(address, at: .now())
                return attempts.isTooMany(address, at: .now())
            }
            if isKept { await stream.connection.close(error) }
            throw error
        }
    }

    private func enroll(
        _ stream: FleetProtocol.Stream, _ request: EnrollRequest, from address: String
    ) async throws(FleetError) {
        let (keys, validity) = (self.keys, configuration.clientValidity)
        let enrolment = try await catalogue.enrol(secret: request.token, name: request.name, from: address) {
            grant throws(FleetError) in
            // Thrown here, it leaves the token as good as it was.
            if let role = request.role, role != grant.role {
                throw FleetError(
                    .usage, "the token is an \(grant.role.rawValue)'s, not an \(role.rawValue)'s",
                    hint: grant.role == .agent
                        ? "run 'fleet-agent enroll -' with it on the node; people get theirs from 'fleetctl operator add NAME --role ROLE', or 'fleetctl operator token NAME'"
                        : "use it with 'fleetctl login -'; a node gets its own from 'fleetctl agent token CLUSTER'")
            }
            let certificate = try keys.issue(grant, request: request.request, validity: validity)
            return (keys.record(certificate), try certificate.pem())
        }
        let (name, cluster): (String, String?) =
            switch enrolment.grant {
            case .agent(let cluster, let node): (node, cluster)
            case .operator(let name): (name, nil)
            }
        log.info("enrolled \(name)", ["cluster": cluster ?? ""])
        if let cluster { await endFormer(NodeName(cluster: cluster, node: name)) }
        try await stream.finish(
            EnrollReply(
                name: name, cluster: cluster, certificate: enrolment.issued,
                authority: try keys.authority.certificate.pem(), jobKey: keys.jobKey))
    }

    // MARK: jobs

    /// What follows from what was recorded: jobs to send, and those who wait for an end to be told.
    func carryOut(_ effects: [JobEffect]) async {
        for effect in effects {
            if let closed = effect.closed {
                note(ended: closed)
                await feed.publish(closed: closed)
                Task { await self.applyRetention(behind: closed) }
                if closed.kind == "backup" || closed.kind == "restore", closed.state != .succeeded {
                    do throws(FleetError) { try await vault.discardIncoming(ofEnded: closed.id) } catch {
                        log.with("job", closed.id).error(
                            "what arrived of the failed job's snapshot could not be removed", error)
                    }
                }
            }
            if let job = effect.deliver { Task { await self.deliver(job) } }
            for job in effect.begun {
                log.info("it is the next act of a replacement", Self.fields(job))
                if case .member(let act) = job.operation { await feed.adopt(job.id, into: act.replacement) }
            }
            for event in effect.news { await feed.publish(event) }
            for job in effect.begun { Task { await self.deliver(job) } }
            for job in effect.decide { Task { await self.decide(job) } }
            if let closed = effect.closedRestore {
                note(ended: closed)
                await feed.publish(closed: closed)
            }
        }
    }

    /// Sends a job if its agent is connected. If not, or if the connection is lost before the answer, the agent's next
    /// registration takes it up again.
    func deliver(_ job: Job) async {
        guard let connection = await sessions.connection(NodeName(job)) else {
            return log.info("\(job.operation.kind) waits for its agent, which is not connected", Self.fields(job))
        }
        guard await sessions.sending(job.id, on: connection) else { return }
        await send(job, on: connection)
        await sessions.answered(job.id, on: connection)
    }

    private func send(_ job: Job, on connection: Connection) async {
        do throws(FleetError) {
            let effect = try await catalogue.willSend(job.id)
            guard let job = effect.deliver else { return await carryOut([effect]) }
            let envelope = try keys.signer.sign(job)
            log.info("\(job.operation.kind) is sent to its agent", Self.fields(job))
            var refusal: FleetError?
            do throws(FleetError) {
                let _: Acknowledgement = try await connection.call(Method.deliver, DeliverRequest(envelope: envelope))
            } catch {
                if await connection.isClosed {
                    return log.warning("the connection was lost before the agent had answered", Self.fields(job))
                }
                refusal = error
            }
            await carryOut([try await catalogue.answered(job.id, refusal: refusal)])
        } catch { log.with("job", job.id).error("the job could not be sent", error) }
    }
}
