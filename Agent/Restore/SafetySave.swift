internal import FleetProtocol
internal import FleetSystem

/// Saves what a restore is about to replace, through the path of a backup. A cluster that does not answer has nothing that
/// could be saved, and is what restores are for; any other failure stops the restore while nothing is touched.
struct SafetySave: Sendable {
    let steps: RestoreSteps
    let port: any CoordinatorPort

    /// - Returns: what was saved, or why nothing was, which people should still know at the end.
    func run() async throws(FleetError) -> StepReport {
        let (work, paths, steps) = (steps.work, steps.paths, self.steps)
        guard let snapshot = work.safety else { return StepReport() }
        let saver = SnapshotSaver(paths: paths, instance: work.instance)
        // A node without etcdctl can't tell whether etcd answers, and can't be restored either.
        let client = try await onDisk { () throws(FleetError) in try steps.client() }
        do throws(FleetError) {
            try await onDisk { () throws(FleetError) in try client.checkHealth() }
        } catch {
            let why = "what was there was not saved first, since etcd did not answer"
            return StepReport(note: "\(why): \(error.message)", remark: why)
        }
        do throws(FleetError) {
            let saved = try await onDisk { () throws(FleetError) in
                try saver.save(job: work.job, try saver.preflight())
            }
            do throws(FleetError) {
                try await port.upload(job: work.job, snapshot: snapshot, facts: saved.facts, file: saved.file)
            } catch {
                // Stored by an earlier run of this agent that was killed before it could say so.
                guard error.code == .alreadyExists else { throw error }
                try await onDisk { () throws(FleetError) in try FileSystem.removeTree(paths.spool(work.job)) }
                return StepReport(note: "what was there is stored as \(snapshot) by an earlier run")
            }
            // The snapshot that is to be restored comes to the same place.
            try await onDisk { () throws(FleetError) in try FileSystem.removeTree(paths.spool(work.job)) }
            return StepReport(
                note: "saved what is there as \(snapshot), at revision \(saved.facts.status.revision)")
        } catch {
            throw FleetError(
                error.code, "what is there could not be saved: \(error.message)",
                hint: "nothing was changed; \(error.hint ?? "correct the cause"), or restore with --no-safety-snapshot",
                retryable: error.isRetryable)
        }
    }
}
