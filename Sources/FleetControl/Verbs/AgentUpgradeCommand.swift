internal import FleetCommandLine
internal import FleetCrypto
internal import FleetProtocol
internal import FleetSystem

let agentUpgradeCommand = Command(
    "upgrade", "Bring agents to another version, one by one, the canary first",
    discussion: """
        FILE is the fleet-agent program of a release, as its package has it. The coordinator takes it once and signs a job for
        each agent. The agent fetches it, checks its digest against the signed job, sees whether it starts on the node, and
        starts it in its own place. The program that the package installed stays where it is and decides at each start which
        one runs: the one before again where the new one does not reach the coordinator within two minutes or three starts and
        stay connected, the installed one where the chosen one is damaged or another package was installed since. A restore
        that is under way is never interrupted: its cluster's agents have their turn when it has ended. While the fleet goes
        over to another authority ('fleet-coordinator authority rotate'), let that come to its end first: an agent on trial
        that has to wait for the coordinator, or for its new certificate, longer than its trial lasts goes back to the program
        of before.

        The first failure ends it: what was upgraded stays so, what failed has gone back by itself, the rest is untouched. The
        same command goes on later; agents that run the program already are left alone, and one that went back from it has to
        be named: --skip leaves it out, --retry tries it there again. It takes an admin of all clusters; the agents of a
        protected cluster are upgraded by root on the coordinator's host.
        """,
    arguments: [.init("CLUSTER", "the clusters whose agents are upgraded", count: .any)],
    options: [
        .init("all", short: "a", "the agents of every cluster, verifiers included"),
        .init("program", value: "FILE", "the new program"),
        .init("canary", value: "NODE", "who is first, NODE or CLUSTER/NODE (default: a verifier, where there is one)"),
        .init("skip", value: "NODE", "leave this one out, NODE or CLUSTER/NODE; may be given again", repeated: true),
        .init("retry", "also where the agent went back from this very program"),
        .init("dry-run", "show who would be upgraded, and in which order"),
        .init("yes", short: "y", "do not ask"), Output.option,
    ],
    examples: [
        .init(
            "fleetctl agent upgrade --all --program ./fleet-agent --dry-run", "the order, and who is left out and why"),
        .init("fleetctl agent upgrade --all --program ./fleet-agent", "the whole fleet"),
        .init("fleetctl agent upgrade cluster-a --program ./fleet-agent --canary node-2", "one cluster, node-2 first"),
    ],
    exitStatuses: [
        (.partialFailure, "some agents run it and some do not; each line says which and why"),
        (.declined, "the question was not answered with yes"),
    ]
) { call in
    guard let path = call.value("program") else {
        throw FleetError(.usage, "--program is missing", hint: "give the new fleet-agent program")
    }
    let clusters = call.arguments("CLUSTER")
    guard call.has("all") != !clusters.isEmpty else {
        throw FleetError(
            .usage, clusters.isEmpty ? "no cluster was named" : "--all and names of clusters were given",
            hint: "name clusters, or give --all")
    }
    let program: ProgramRecord
    do throws(FleetError) {
        program = try await onDisk { () throws(FleetError) in try describe(path) }
    } catch { throw error.during(Names.quote(path)) }
    let control = try await Coordinator.control(call)
    let plan = try UpgradePlan(
        program, try await agents(clusters, control), canary: call.value("canary"), leaving: call.values("skip"),
        closed: try await protected(control, call), retries: call.has("retry"))
    let roll = UpgradeRoll(program: program, path: path, plan: plan, control: control, call: call)
    roll.show()
    if call.has("dry-run") {
        try roll.finish()
        if let hint = plan.objection?.hint { call.terminal.note("hint: \(Terminal.clean(hint))") }
        return .success
    }
    if let objection = plan.objection { throw objection }
    guard !plan.targets.isEmpty else {
        if plan.isWhole {
            let others = plan.skipped.allSatisfy(\.isDone) ? "all of them" : "all that are not left out"
            call.terminal.note("nothing is to be done: \(others) run \(program.name)")
        }
        try roll.finish()
        return plan.isWhole ? .success : plan.skipped.contains(where: \.isDone) ? .partialFailure : .failure
    }
    if !call.has("yes") {
        let count = plan.targets.count
        guard call.terminal.confirms("Upgrade \(count == 1 ? "this agent" : "these \(count) agents")?") else {
            call.terminal.note("nothing was done; it goes on with y on a terminal, or with --yes")
            return .declined
        }
    }
    return try await roll.run()
}

private func describe(_ path: String) throws(FleetError) -> ProgramRecord {
    guard let status = try FileSystem.status(path) else { throw FleetError(.notFound, "no such file") }
    guard status.kind == .file, ProgramRecord.sizeRange.contains(status.size) else {
        throw FleetError(
            .notAnAgent, "it is no file of 1 to \(ProgramRecord.sizeRange.upperBound) bytes",
            hint: "give the fleet-agent program of a release, as /usr/bin/fleet-agent of its package")
    }
    return try ProgramScan.record(of: path)
}

/// Clusters whose agents only root on the coordinator's host upgrades.
private func protected(_ control: Control, _ call: Invocation) async throws(FleetError) -> Set<String> {
    guard try Coordinator.chosen(call).certificate != nil else { return [] }
    let clusters: [ClusterRecord] = try await control.ask(ControlMethod.listClusters, ListRequest())
    return Set(clusters.filter { $0.isProtected == true }.map(\.name))
}

/// Of the clusters, or of all where none is named.
private func agents(_ clusters: [String], _ control: Control) async throws(FleetError) -> [AgentRecord] {
    var all: [AgentRecord] = []
    if clusters.isEmpty { all = try await control.ask(ControlMethod.listAgents, ListRequest()) }
    for cluster in Set(clusters).sorted() {
        all += try await control.ask(ControlMethod.listAgents, ListRequest(cluster: cluster), as: [AgentRecord].self)
    }
    guard !all.isEmpty else {
        throw FleetError(
            .notFound, "there are no agents",
            hint: "install them: 'fleetctl agent install CLUSTER --ssh root@NODE'")
    }
    return all
}
