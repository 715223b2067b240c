internal import FleetCommandLine
internal import FleetConcerns
internal import FleetProtocol
internal import FleetSystem

let drillCommand = Command(
    "drill", "Prove that snapshots restore",
    discussion: """
        An agent restores the snapshot into a directory of its own, starts a real etcd on it that nothing else on the host
        can reach, and tells what that etcd says: revision, live keys, HashKV, and the first keys with their values. The
        coordinator compares all of it with what it read itself when the snapshot was stored. The result stays with the
        snapshot. No running etcd is touched. A drill that failed is told of until a backup that is no older is proven: that
        an older one restores says nothing of it.

        It runs on a verifier: a host with an agent, etcd, etcdctl and etcdutl, and no etcd of its own. Without one it runs
        on a node of the snapshot's own cluster, under a limit of memory and CPU where systemd can set one; the cluster is
        neither backed up nor restored meanwhile.
        """,
    arguments: [.init("WHAT", "a cluster, for its newest verified snapshot, or a snapshot's id", count: .any)],
    options: [
        .init("all", short: "a", "the newest verified snapshot of every cluster"),
        .init("on", value: "NODE", "the node that does it, or CLUSTER/NODE"),
        .init("parallel", value: "N", "how many drills at once (default 2); each agent does one at a time"),
        Output.option,
    ],
    examples: [
        .init("fleetctl drill --all", "does every cluster's last backup restore"),
        .init("fleetctl drill 20261124-0655 --on verifier", "one snapshot, on a host of your choice"),
    ],
    exitStatuses: [(.partialFailure, "some were proven and some were not; each line says which and why")]
) { call in
    let control = try await Coordinator.control(call)
    let parallel = try call.number("parallel", default: 2)
    var names = call.arguments("WHAT")
    guard call.has("all") != !names.isEmpty else {
        throw FleetError(
            .usage, names.isEmpty ? "nothing to drill was named" : "--all and names were given",
            hint: "name clusters or snapshots, or give --all")
    }
    if call.has("all") {
        let clusters: [ClusterRecord] = try await control.ask(ControlMethod.listClusters, ListRequest())
        let agents: [AgentRecord] = try await control.ask(ControlMethod.listAgents, ListRequest())
        names = clusters.filter { !Verifiers.areAll(of: $0.name, agents) || $0.snapshots > 0 }.map(\.name)
        guard !names.isEmpty else {
            throw await NoClusters.error(control, seen: clusters.count, "to drill")
        }
    }
    var waiting: [String] = []
    for name in names where !waiting.contains(name) { waiting.append(name) }

    Interruption.says("drills that were begun go on; see 'fleetctl job list'")
    let results = await withTaskGroup(of: DrillResult.self) { group in
        var (left, results) = (waiting[...], [DrillResult]())
        func begin() {
            guard let name = left.popFirst() else { return }
            group.addTask { await drill(name, control, call) }
        }
        for _ in 0..<parallel { begin() }
        while let result = await group.next() {
            results.append(result)
            if !Output.isJSON(call) { result.print(call.terminal) }
            begin()
        }
        return results
    }
    Interruption.isOver()
    if Output.isJSON(call) { try Output.json(results.sorted { $0.name < $1.name }, call) }
    let failed = results.filter { $0.error != nil }
    if failed.isEmpty { return .success }
    if results.count > 1 {
        call.terminal.note(
            "\(results.count - failed.count) of \(results.count) were proven; not proven: \(failed.map(\.name).sorted().joined(separator: ", "))"
        )
    }
    return failed.count == results.count ? .failure : .partialFailure
}

/// One drill that was asked for, and what came of it.
private struct DrillResult: Codable, Sendable {
    /// As it was asked for.
    var name: String
    var job: String?
    var snapshot: SnapshotEntry?
    /// Why it is not proven.
    var error: FleetError?

    func print(_ terminal: Terminal) {
        if let error {
            terminal.print("\(name)  \(terminal.red("FAILED"))  \(Terminal.clean(error.message)) (\(error.code))")
            if let hint = error.hint { terminal.note("\(name)  hint: \(Terminal.clean(hint))") }
        } else if let snapshot, let drill = snapshot.drill {
            let figures = drill.report.figures.map { "revision \($0.revision)  \($0.liveKeys) keys  " } ?? ""
            terminal.print(
                "\(name)  \(terminal.green("proven"))  \(snapshot.record.id)  \(figures)"
                    + "\(Human.duration(.milliseconds(Int(drill.report.seconds * 1000))))  on \(drill.node)  (\(Terminal.clean(drill.report.limits)))"
            )
        }
    }
}

private func drill(_ name: String, _ control: Control, _ call: Invocation) async -> DrillResult {
    var result = DrillResult(name: name)
    do throws(FleetError) {
        let job = try await begin(name, control, call)
        result.job = job.id
        let ended = try await JobWatch.follow(job.id, control) { event in
            if call.terminal.errorIsTerminal, event.kind == .stepStarted, let step = event.step, !Output.isJSON(call) {
                call.terminal.note("\(name)  \(step) on \(job.cluster)/\(job.node) ...")
            }
        }
        result.snapshot = try await control.ask(ControlMethod.showSnapshot, NameRequest(name: ended.snapshot))
        if ended.state != .succeeded {
            result.error = ended.error ?? FleetError(.internalError, "the job ended as \(ended.state.rawValue)")
        }
    } catch { result.error = error }
    return result
}

/// An agent does one job at a time, and so does a cluster: whoever comes second waits, for an hour at most.
private func begin(_ name: String, _ control: Control, _ call: Invocation) async throws(FleetError) -> JobRecord {
    let deadline = ContinuousClock.now + .seconds(3600)
    var isTold = false
    while true {
        do throws(FleetError) {
            return try await control.call(ControlMethod.startDrill, DrillRequest(name: name, node: call.value("on")))
        } catch {
            guard error.code == "cluster-busy", ContinuousClock.now < deadline else { throw error }
            if !isTold { call.terminal.note("\(name)  waits: \(Terminal.clean(error.message))") }
            isTold = true
        }
        do { try await Task.sleep(for: .seconds(2)) } catch { throw FleetError(error) }
    }
}
