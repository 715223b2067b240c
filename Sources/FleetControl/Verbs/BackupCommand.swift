internal import FleetCommandLine
internal import FleetConcerns
internal import FleetProtocol
internal import FleetSystem

let backupCommand = Command(
    "backup", "Back up clusters now",
    discussion: """
        Each cluster's agent saves a snapshot of its etcd, checks it and streams it to the coordinator, which reads every
        page, key and value of it, compares with what etcd's own tool said on the node, and stores it. A cluster counts as
        backed up only when its snapshot is durable there and sound; one that is not is kept, marked as damaged.
        """,
    arguments: [.init("CLUSTER", "the clusters to back up", count: .any)],
    options: [
        .init("all", short: "a", "every cluster of the inventory"),
        .init("parallel", value: "N", "how many clusters at once (default 4)"), Output.option,
    ],
    examples: [
        .init("fleetctl backup cluster-a", "one cluster"),
        .init("fleetctl backup --all --parallel 8", "the whole fleet, eight at a time"),
    ],
    exitStatuses: [(.partialFailure, "some clusters were backed up and some were not; each line says which and why")]
) { call in
    guard call.has("all") || !call.arguments("CLUSTER").isEmpty else {
        throw FleetError(.usage, "no cluster was named", hint: "name clusters, or give --all")
    }
    let control = try await Coordinator.control(call)
    let parallel = try call.number("parallel", default: 4)
    var names = call.arguments("CLUSTER")
    if call.has("all") {
        guard names.isEmpty else {
            throw FleetError(.usage, "--all and names of clusters were given", hint: "give one or the other")
        }
        let clusters: [ClusterRecord] = try await control.ask(ControlMethod.listClusters, ListRequest())
        let agents: [AgentRecord] = try await control.ask(ControlMethod.listAgents, ListRequest())
        // Where there are verifiers only, there is no etcd.
        names = clusters.map(\.name).filter { !Verifiers.areAll(of: $0, agents) }
        guard !names.isEmpty else {
            throw await NoClusters.error(control, seen: clusters.count, "to back up")
        }
    }
    var unique: [String] = []
    for name in names where !unique.contains(name) { unique.append(name) }

    Interruption.says("backups that were begun go on; see 'fleetctl job list'")
    let progress = BackupProgress(total: unique.count, call: call)
    let results = await withTaskGroup(of: BackupResult.self) { group in
        var waiting = unique[...]
        var results: [BackupResult] = []
        for name in waiting.prefix(parallel) { group.addTask { await backUp(name, control, call, progress) } }
        waiting = waiting.dropFirst(parallel)
        while let result = await group.next() {
            results.append(result)
            await progress.finished(result)
            if let name = waiting.popFirst() { group.addTask { await backUp(name, control, call, progress) } }
        }
        return results
    }
    Interruption.isOver()
    if Output.isJSON(call) { try Output.json(results.sorted { $0.cluster < $1.cluster }, call) }
    let failed = results.filter { $0.error != nil }
    if !Output.isJSON(call) {
        let saved = results.compactMap { $0.error == nil ? $0.snapshot?.record : nil }
        for line in BackupWarnings.lines(saved) { call.terminal.note(Terminal.clean(line)) }
    }
    if failed.isEmpty { return .success }
    if results.count > 1 {
        call.terminal.note(
            "\(results.count - failed.count) of \(results.count) clusters were backed up; failed: \(failed.map(\.cluster).sorted().joined(separator: ", "))"
        )
    }
    return failed.count == results.count ? .failure : .partialFailure
}

struct BackupResult: Codable, Sendable {
    var cluster: String
    /// The one that succeeded, else the first; snapshot and error are its own.
    var job: String?
    var snapshot: SnapshotEntry?
    var error: FleetError?
    var seconds: Double
}

extension SnapshotEntry {
    /// Why it is none that a restore would choose by itself, whatever its job said.
    fileprivate var unusable: FleetError? {
        condition == .verified
            ? nil : problem ?? FleetError(.internalError, "the snapshot is \(condition.rawValue)")
    }
}

private func backUp(_ cluster: String, _ control: Control, _ call: Invocation, _ progress: BackupProgress) async
    -> BackupResult
{
    let started = ContinuousClock.now
    var result = BackupResult(cluster: cluster, seconds: 0)
    do throws(FleetError) {
        var job: JobRecord = try await control.call(ControlMethod.startBackup, BackupRequest(cluster: cluster))
        await progress.started(cluster)
        var (tried, strange) = ([String](), 0)
        while true {
            if result.job == nil { result.job = job.id }
            let ended = try await JobWatch.follow(job.id, control) { event in
                if event.kind == .stepStarted, let step = event.step { Task { await progress.step(cluster, step) } }
                if event.kind == .progress, let moved = event.detail { Task { await progress.step(cluster, moved) } }
            }
            let name = NameRequest(name: ended.snapshot)
            if ended.state == .succeeded {
                let stored: SnapshotEntry = try await control.ask(ControlMethod.showSnapshot, name)
                (result.job, result.snapshot, result.error) = (job.id, stored, stored.unusable)
                break
            }
            let error = ended.error ?? FleetError(.internalError, "the job ended as \(ended.state.rawValue)")
            // The first is told: of a cluster that is ill as a whole, the others say the same.
            if result.error == nil {
                result.error = error
                // What is no backup may have been kept all the same.
                result.snapshot = try? await control.ask(ControlMethod.showSnapshot, name)
            }
            tried.append(ended.node)
            // Where two members are of a cluster that is not known, the others will be too, and each try is kept.
            if ["other-cluster", "went-back"].contains(error.code) { strange += 1 }
            guard strange < 2, ended.state == .failed, let next = await another(cluster, tried, control) else { break }
            call.terminal.note("\(cluster)  \(ended.node): \(Terminal.clean(error.message)); trying \(next.node)")
            job = next
        }
    } catch { result.error = error }
    result.seconds = ((ContinuousClock.now - started).seconds * 1000).rounded() / 1000
    return result
}

/// A backup by another member, which has the same data; nil where there is none.
private func another(_ cluster: String, _ tried: [String], _ control: Control) async -> JobRecord? {
    let agents: [AgentRecord]? = try? await control.ask(ControlMethod.listAgents, ListRequest(cluster: cluster))
    guard (agents ?? []).contains(where: { $0.connected && $0.instance != nil && !tried.contains($0.node) }) else {
        return nil
    }
    return try? await control.call(ControlMethod.startBackup, BackupRequest(cluster: cluster, avoid: tried))
}

/// One line a cluster when it is done; on a terminal a last line, redrawn, says what is under way.
private actor BackupProgress {
    private let total: Int
    private let terminal: Terminal
    private let isSilent: Bool
    private var steps: [String: String] = [:]
    private var done = 0
    private var isDrawn = false

    init(total: Int, call: Invocation) {
        self.total = total
        terminal = call.terminal
        isSilent = Output.isJSON(call)
    }

    func started(_ cluster: String) { step(cluster, "waiting for the agent") }

    func step(_ cluster: String, _ step: String) {
        steps[cluster] = step
        draw()
    }

    func finished(_ result: BackupResult) {
        steps[result.cluster] = nil
        done += 1
        erase()
        if !isSilent {
            if let snapshot = result.snapshot, result.error == nil {
                let facts = snapshot.record.facts
                terminal.print(
                    "\(result.cluster)  \(terminal.green("ok"))  \(snapshot.record.id)  revision \(facts.status.revision)  "
                        + "\(Human.bytes(snapshot.record.size))  \(Human.duration(.milliseconds(Int(result.seconds * 1000))))"
                )
            } else if let error = result.error {
                terminal.print(
                    "\(result.cluster)  \(terminal.red("FAILED"))  "
                        + (result.snapshot.map { "\($0.record.id) is stored as \($0.condition.rawValue): " } ?? "")
                        + "\(Terminal.clean(error.message)) (\(error.code))")
                if let hint = error.hint { terminal.note("\(result.cluster)  hint: \(Terminal.clean(hint))") }
            }
        }
        draw()
    }

    private func draw() {
        guard terminal.errorIsTerminal, !isSilent, done < total else { return }
        erase()
        let filled = done * 20 / total
        let bar = String(repeating: "#", count: filled) + String(repeating: ".", count: 20 - filled)
        let running = steps.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }.joined(separator: ", ")
        terminal.noteRaw(String("[\(bar)] \(done)/\(total)  \(running)".prefix(max(20, terminal.columns - 1))))
        isDrawn = true
    }

    private func erase() {
        if isDrawn { terminal.noteRaw("\r\u{1b}[K") }
        isDrawn = false
    }
}
