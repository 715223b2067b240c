internal import FleetProtocol
internal import FleetSystem

/// The cleanup of what a restore or a replacement left on this node, as a job: looked at and removed in one go, since it can be
/// done again.
struct CleanupRun: Sendable {
    let paths: AgentPaths
    let discover: @Sendable () throws(FleetError) -> DiscoveredEtcd
    var processes: @Sendable () throws(FleetError) -> [EtcdProcess] = { () throws(FleetError) in
        try ProcessTable.etcds()
    }

    func run(_ cleanup: FleetProtocol.Operation.Cleanup) async -> JobOutcome {
        let (paths, discover, processes) = (self.paths, self.discover, self.processes)
        do throws(FleetError) {
            let result = try await onDisk { () throws(FleetError) in
                let done = try Self.done(paths, cleanup.restored)
                for one in done { try Self.checkLater(paths, one, cleanup.restored) }
                // Without knowing what is in force nothing is removed: an error of discovery is one here.
                let found = try discover()
                func remove(dryRun: Bool) throws(FleetError) -> OldDirectories.Result {
                    var all = OldDirectories.Result()
                    for one in done {
                        let result = try OldDirectories(done: one, restored: cleanup.restored)
                            .remove(found, try processes(), dryRun: dryRun)
                        all.removed += result.removed
                        all.gone += result.gone
                    }
                    return all
                }
                // All are looked at before the first is touched.
                let planned = try remove(dryRun: true)
                return cleanup.dryRun ? planned : try remove(dryRun: false)
            }
            return JobOutcome(result: .succeeded, summary: Self.words(result, cleanup.dryRun))
        } catch {
            return JobOutcome(
                result: .failed, error: error, summary: "not cleaned up: \(error.message)")
        }
    }

    /// Several of a replacement that others before it had not come to the end of.
    private static func done(_ paths: AgentPaths, _ job: String) throws(FleetError) -> [RestoreWork] {
        let replaced = try JoinRecord.done(paths, job)
        return replaced.isEmpty ? [try UndoPlanner.committed(try UndoPlanner.journal(paths, job), job)] : replaced
    }

    /// What an older restore left may have been in force again since, and be the old data of a later one.
    private static func checkLater(_ paths: AgentPaths, _ done: RestoreWork, _ restored: String) throws(FleetError) {
        let old = Set(done.directories.map(\.old))
        for job in try FileSystem.list(paths.jobs) where job > restored {
            guard let later = try? UndoPlanner.committed(try UndoPlanner.journal(paths, job), job),
                let shared = later.directories.map(\.old).first(where: old.contains)
            else { continue }
            throw FleetError(
                .inForce, "\(shared) is what the later restore \(job) keeps to go back to",
                hint: "nothing was removed; sign that one off instead: fleetctl restore cleanup \(job)")
        }
    }

    static func words(_ result: OldDirectories.Result, _ dryRun: Bool) -> String {
        var parts: [String] = []
        let removed = result.removed.map { "\($0.path) (\($0.size) bytes)" }
        if !removed.isEmpty {
            parts.append((dryRun ? "would remove " : "removed ") + removed.joined(separator: ", "))
        }
        if !result.gone.isEmpty { parts.append("\(result.gone.joined(separator: ", ")) was gone already") }
        return parts.joined(separator: "; ")
    }
}
