import FleetProtocol
import FleetSQLite
import FleetSystem

extension FleetError.Code {
    /// An agent that can't take this program.
    static let notUpgradable: Self = "not-upgradable"
    /// An agent says that it was upgraded, and told of another program when it came back.
    static let otherProgram: Self = "other-program"
}

extension Catalogue {
    /// A job that has an agent change to another program. It occupies its cluster as every job does: an agent in the middle of
    /// a restore is not upgraded.
    ///
    /// - Throws: `not-found`, `cluster-busy` naming the open job, and what `UpgradeGuard.check` throws.
    func createUpgrade(
        to program: ProgramRecord, on agent: AgentRecord, lifetime: Duration, by actor: String
    ) throws(FleetError) -> JobRecord {
        try createJob(
            .upgrade(.init(program: program)), snapshot: "", dryRun: false, cluster: agent.cluster, node: agent.node,
            lifetime: lifetime, by: actor
        ) { _, event throws(FleetError) in
            event.detail["program"] = program.sha256
            event.detail["version"] = program.version
            event.detail["before"] = agent.program?.sha256
            try UpgradeGuard.check(agent, program, isProtected: try isProtected(agent.cluster), actor: actor)
        }
    }

    /// Digests that an open job names.
    func programsInUse() throws(FleetError) -> Set<String> {
        Set(
            try db.all(
                """
                SELECT json_extract(operation, '$.upgrade._0.program.sha256') AS sha256 FROM jobs
                WHERE finished IS NULL AND kind = 'upgrade' AND sha256 IS NOT NULL
                """
            ) { row throws(FleetError) in try row["sha256"] })
    }

    /// - Throws: `not-found` unless an open upgrade of that very node names the program.
    func checkFetch(_ request: ProgramFetchRequest, from node: NodeName) throws(FleetError) {
        try checkOwner(request.job, node)
        let job = try message(request.job)
        guard case .upgrade(let order) = job.operation, order.program.sha256 == request.sha256,
            try self.job(request.job).state.isOpen
        else {
            throw FleetError(.notFound, "job \(request.job) of \(node) names no such program, or has ended")
        }
    }

    /// What speaks against an agent's word that it was upgraded: what it said when it came back.
    func objection(toUpgrade event: JobEvent) throws(FleetError) -> FleetError? {
        guard event.outcome?.result == .succeeded else { return nil }
        let job = try message(event.job)
        guard case .upgrade(let order) = job.operation else { return nil }
        let runs = try agents(cluster: job.cluster, node: job.node).first?.program?.sha256
        if runs == order.program.sha256 { return nil }
        return FleetError(
            .otherProgram,
            "the agent says that it was upgraded, and runs \(runs.map { String($0.prefix(12)) } ?? "an unknown program")",
            hint: "see its log: journalctl -u fleet-agent")
    }
}

/// Whether an agent may be given a program. Pure.
enum UpgradeGuard {
    /// - Throws: `no-agent`, `not-upgradable`, `permission-denied`.
    static func check(
        _ agent: AgentRecord, _ program: ProgramRecord, isProtected: Bool, actor: String
    ) throws(FleetError) {
        let name = "\(agent.cluster)/\(agent.node)"
        // Whoever's program runs there as root needs nobody's approval any more.
        guard !isProtected || !actor.hasPrefix("operator:") else {
            throw FleetError(
                .permissionDenied,
                "\(agent.cluster) is protected: its agents are upgraded by root on the coordinator's host",
                hint: "there: fleetctl agent upgrade \(agent.cluster) --program FILE")
        }
        if let revoked = agent.certificate?.revoked {
            throw FleetError(.noAgent, "\(name) was revoked at \(revoked)", hint: "enrol it anew")
        }
        guard agent.connected else {
            throw FleetError(
                .noAgent, "\(name) is not connected", hint: "start the agent there: systemctl start fleet-agent",
                retryable: true)
        }
        guard let running = agent.program else {
            throw FleetError(
                .notUpgradable, "the agent \(agent.version ?? "") on \(name) is too old to be upgraded from here",
                hint: "upgrade it this once by its package, or by its program and a restart")
        }
        guard running.architecture == program.architecture else {
            throw FleetError(
                .notUpgradable, "\(name) is \(running.architecture), the program is for \(program.architecture)",
                hint: "give the program of the same release for \(running.architecture)")
        }
        guard running.sha256 != program.sha256 else {
            throw FleetError(.alreadyExists, "\(name) runs \(program.name) already", hint: "nothing is to be done")
        }
    }
}
