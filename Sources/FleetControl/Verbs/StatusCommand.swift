internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

let statusCommand = Command(
    "status", "The whole fleet on one screen", options: [Output.option],
    examples: [.init("fleetctl status", "can everything be restored, and how far back")],
    exitStatuses: [(.partialFailure, "something needs attention; the lines that begin with '!' say what")]
) { call in
    let control = try await Coordinator.control(call)
    let status: FleetStatus = try await control.ask(ControlMethod.status, ListRequest())
    let isWell = concerns(status).isEmpty
    if Output.isJSON(call) { try Output.json(status, call) } else { showStatus(status, call.terminal) }
    return isWell ? .success : .partialFailure
}

func showStatus(_ status: FleetStatus, _ terminal: Terminal) {
    if status.clusters.isEmpty {
        terminal.print("no clusters yet; add one with 'fleetctl cluster add NAME'")
    } else {
        // The oldest restore point first: what is worst is on top.
        let worstFirst = status.clusters.sorted {
            ($0.latestSavedAt?.milliseconds ?? 0, $0.name) < ($1.latestSavedAt?.milliseconds ?? 0, $1.name)
        }
        clusterTable(worstFirst, terminal).print(terminal)
    }
    let agents = status.agents.filter { $0.certificate?.revoked == nil }
    let connected = agents.filter(\.connected).count
    terminal.print("")
    terminal.print("agents   \(connected) of \(agents.count) connected")
    terminal.print("jobs     \(status.openJobs.count) under way")
    for job in status.openJobs {
        if let waits = RestoreReport.waits(job) {
            terminal.print("         \(job.kind) \(job.id) of \(job.cluster) waits for \(Terminal.clean(waits))")
        }
    }
    terminal.print("store    \(Human.bytes(status.storeUsed)) taken, \(Human.bytes(status.storeFree)) free")
    terminal.print(
        "audit    \(status.audit.events) events, \(status.audit.isIntact ? "the chain holds" : "the chain is BROKEN")")
    for concern in concerns(status) { terminal.print("\(terminal.red("!")) \(Terminal.clean(concern))") }
}

private func concerns(_ status: FleetStatus) -> [String] {
    var all: [String] = []
    for cluster in status.clusters {
        if cluster.agents == 0 {
            all.append("\(cluster.name) has no agent; make a token with 'fleetctl agent token \(cluster.name)'")
        }
        if cluster.latestSnapshot == nil, !Verifiers.areAll(of: cluster.name, status.agents) {
            all.append("\(cluster.name) has no backup that can be restored; run 'fleetctl backup \(cluster.name)'")
        }
        if let objective = cluster.objective, let saved = cluster.latestSavedAt {
            let age = status.time.since(saved)
            if age < .seconds(-600) {
                all.append(
                    "\(cluster.name)'s newest backup is of \(saved.short), which is not yet: the clock here or on its node is "
                        + "wrong, and nothing tells how old it is")
            }
            if age > .seconds(objective) {
                all.append(
                    "\(cluster.name)'s newest backup is \(Human.duration(age)) old, and policy \(cluster.policy ?? "") allows "
                        + "\(Human.duration(.seconds(objective))); see 'fleetctl job list \(cluster.name)', or run 'fleetctl backup "
                        + "\(cluster.name)'")
            }
        }
        if cluster.unusableSnapshots > 0 {
            all.append(
                "\(cluster.unusableSnapshots) of \(cluster.name)'s snapshots can't be used; 'fleetctl snapshot list "
                    + "\(cluster.name)' names them, 'fleetctl snapshot show' says why")
        }
        if let drill = cluster.lastDrill, drill.verdict == .failed {
            all.append(
                "the last drill of \(cluster.name) failed, with snapshot \(drill.snapshot): "
                    + "\(drill.problem?.message ?? "no reason given"); see 'fleetctl job show \(drill.job)', then "
                    + "'fleetctl drill \(cluster.name)'")
        }
        if let foreign = cluster.newerForeign {
            all.append(
                "\(cluster.name): a member's newest backup is of an etcd cluster that is not known to be this one, and is no "
                    + "'latest'; see 'fleetctl snapshot show \(foreign)'; if it is this one all the same (restored by hand, or "
                    + "the catalogue was rebuilt), 'fleetctl cluster accept', then back it up")
        }
        let agents = status.agents.count {
            $0.cluster == cluster.name && $0.certificate?.revoked == nil && !$0.isVerifier
        }
        if let members = cluster.members, agents > 0, agents < members {
            all.append(
                "\(cluster.name) had \(members) members at its latest backup, and agents are on \(agents): all members are "
                    + "restored together; enrol the others with 'fleetctl agent token \(cluster.name)', or take one that is gone for "
                    + "good out of etcd (etcdctl member remove) and back up again")
        }
        if let half = cluster.halfRestored, half != cluster.lastJob {
            all.append(
                "a restore or replacement of \(cluster.name) stands half-way on a member; see 'fleetctl job show \(half)'"
            )
        }
        if let state = cluster.lastJobState, !state.isOpen, state != .succeeded, cluster.lastJobKind != "drill" {
            let says = state == .stuck ? "is stuck" : state == .rolledBack ? "was rolled back" : "has failed"
            all.append(
                "the last \(cluster.lastJobKind ?? "job") of \(cluster.name) \(says); see 'fleetctl job show "
                    + "\(cluster.lastJob ?? "")'")
        }
    }
    for one in status.waiting ?? [] {
        all.append(
            "the \(one.kind) of \(one.cluster) is due since \(one.due.short) and can't begin: \(one.reason.message)"
                + (one.reason.hint.map { "; \($0)" } ?? ""))
    }
    for problem in status.policyProblems ?? [] {
        all.append("\(problem.message)\(problem.hint.map { "; \($0)" } ?? "")")
    }
    for job in status.openJobs {
        all += RestoreReport.missed(job, status.agents).map { "\(job.kind) \(job.id) of \(job.cluster): \($0)" }
    }
    // Who was turned out is not missed.
    for agent in status.agents where agent.certificate?.revoked == nil {
        if !agent.connected {
            all.append(
                "the agent on \(agent.node) (\(agent.cluster)) is not connected; last seen "
                    + "\(agent.lastSeen?.ago() ?? "never"); boot the node if it is off, else there: systemctl restart "
                    + "fleet-agent")
        }
        // A verifier is there to drill.
        if let error = agent.discoveryError, !agent.isVerifier {
            if error.code == "busy" {
                // Where this coordinator knows of it, the job says more: an open one, or one that ended half-way.
                let isKnown = status.openJobs.contains { $0.movesEtcd(of: agent) }
                let isHalf = status.clusters.contains { $0.name == agent.cluster && $0.halfRestored != nil }
                if isKnown || isHalf || !agent.connected { continue }
            }
            all.append(
                error.code == "busy"
                    ? "the agent on \(agent.node) (\(agent.cluster)) is in the middle of a restore that is not open here; see "
                        + "its log, and RECOVERY.md, 'A restore was under way'"
                    : "the agent on \(agent.node) (\(agent.cluster)) finds no etcd: \(error.message)")
        }
        if let etcd = agent.stopped(status.openJobs) {
            all.append(
                "etcd on \(agent.node) (\(agent.cluster)) did not run when its agent looked last; "
                    + "see \(etcd.place)")
        }
        if let problem = agent.instance?.restoreProblem {
            all.append(
                "\(agent.cluster) can't be restored as \(agent.node) is laid out: \(problem.message)"
                    + (problem.hint.map { "; \($0)" } ?? ""))
        }
    }
    for agent in status.agents where agent.certificate?.revoked == nil {
        guard let certificate = agent.certificate else { continue }
        // Renewed after two thirds of its life: with less than a quarter left, something keeps the agent from it.
        let life = certificate.notAfter.since(certificate.issued)
        guard certificate.notAfter.since(status.time) < life / 4 else { continue }
        all.append(
            "the certificate of the agent on \(agent.node) (\(agent.cluster)) ends \(certificate.notAfter.short) and was not "
                + "renewed; 'journalctl -u fleet-agent' there says why; once it has ended: 'fleet-agent enroll --force -' "
                + "with a token from 'fleetctl agent token \(agent.cluster)'")
    }
    if let problem = status.coordinatorCopyProblem {
        all.append(
            "the coordinator can't make a copy of itself, the newest is "
                + (status.coordinatorCopy.map { "of \($0.short)" } ?? "none") + ": \(problem.message)"
                + (problem.hint.map { "; \($0)" } ?? ""))
    }
    if let until = status.retentionWaits {
        all.append(
            "this coordinator was put back from a copy, and deletes nothing by itself until \(until.short): pin again, and set "
                + "again, what was pinned and set since; 'fleetctl retention apply' works as ever")
    }
    if !status.audit.isIntact { all.append("the audit chain is broken; see 'fleetctl audit verify'") }
    if status.storeFree < max(status.storeUsed / 10, 1 << 30) {
        all.append("less than \(Human.bytes(max(status.storeUsed / 10, 1 << 30))) are free in the store")
    }
    return all
}

extension JobRecord {
    /// It stops and starts the etcd of this node, which is not looked at meanwhile.
    func movesEtcd(of agent: AgentRecord) -> Bool {
        guard cluster == agent.cluster, !dryRun, ["restore", "undo", "replace"].contains(kind) else { return false }
        // What it has others do for a replacement touches no etcd of theirs.
        guard kind != "replace", let members else { return node == agent.node }
        return members.contains {
            $0.node == agent.node && ($0.state.isOpen || $0.state == .stuck || $0.state == .lost)
        }
    }
}

extension AgentRecord {
    /// Its etcd, where that did not run when it was looked at last, and no job of these has stopped it.
    func stopped(_ open: [JobRecord]) -> EtcdInstance? {
        guard let instance, connected, instance.pid == nil else { return nil }
        return open.contains { $0.movesEtcd(of: self) } ? nil : instance
    }
}

extension EtcdInstance {
    /// Where its log is.
    var place: String { unit.map { "journalctl -u \($0)" } ?? "the kubelet's log and that of its container" }
}
