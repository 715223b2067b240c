internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

/// How long etcd was away in a restore: from the word to stop it until it was verified. Pure.
enum DownTime {
    /// Of several members by the coordinator's clock, of one by its node's: no two clocks are compared.
    ///
    /// - Parameter job: with its events.
    /// - Returns: nil for what did not come so far.
    static func of(_ job: JobRecord) -> Duration? {
        if job.members != nil {
            return between(
                job.events.first { $0.kind == .decided && $0.phase == .stop },
                job.events.first { $0.kind == .decided && $0.phase == .commit })
        }
        return between(
            job.events.first { $0.kind == .stepStarted && stops.contains($0.step ?? "") },
            job.events.last { $0.kind == .stepDone && $0.step == "verify" })
    }

    /// What the last restore of the cluster that went through says of the next one.
    static func expected(_ cluster: String, _ control: Control) async throws(FleetError) -> String {
        let jobs: [JobRecord] = try await control.ask(
            ControlMethod.listJobs, ListRequest(cluster: cluster, limit: 200))
        let last = jobs.first { ["restore", "undo"].contains($0.kind) && !$0.dryRun && $0.state == .succeeded }
        guard let last else { return "how long is not known: no restore of \(cluster) was measured yet" }
        let job: JobRecord = try await control.ask(ControlMethod.showJob, NameRequest(name: last.id))
        guard let time = of(job) else { return "how long is not known: the last restore, \(last.id), was not measured" }
        return "about \(Human.duration(time)), as in \(last.id)"
    }

    /// A static pod alone is stopped by its new manifest.
    private static let stops: Set<String> = ["stop-etcd", "switch-files"]

    private static func between(_ first: JobEvent?, _ last: JobEvent?) -> Duration? {
        guard let first, let last, last.time > first.time else { return nil }
        return last.time.since(first.time)
    }
}
