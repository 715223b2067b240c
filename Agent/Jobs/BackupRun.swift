internal import FleetProtocol
internal import FleetSystem

/// One backup: preflight, save, stream. It changes nothing on the node but the spool, and leaves nothing in it.
struct BackupRun: Sendable {
    let paths: AgentPaths
    let job: String
    let backup: FleetProtocol.Operation.Backup
    let outbox: Outbox
    let port: any CoordinatorPort
    let faults: FaultInjection
    let discover: @Sendable () throws(FleetError) -> DiscoveredEtcd

    func run() async -> JobOutcome {
        let outcome: JobOutcome
        let steps = JobSteps(job: job, outbox: outbox, faults: faults)
        do throws(FleetError) {
            let (paths, id, discover) = (self.paths, job, self.discover)
            let (saver, preflight) = try await steps.step("preflight") { () throws(FleetError) in
                try await onDisk { () throws(FleetError) in
                    let saver = SnapshotSaver(paths: paths, instance: try discover().instance)
                    return (saver, try saver.preflight())
                }
            }
            let saved = try await steps.step("save") { () throws(FleetError) in
                try await onDisk { () throws(FleetError) in try saver.save(job: id, preflight) }
            }
            try await steps.step("stream") { () throws(FleetError) in
                try await port.upload(job: id, snapshot: backup.snapshot, facts: saved.facts, file: saved.file)
            }
            outcome = JobOutcome(
                result: .succeeded,
                summary:
                    "saved \(backup.snapshot) at revision \(saved.facts.status.revision), \(saved.facts.size) bytes")
        } catch {
            outcome = JobOutcome(result: .failed, error: error, summary: "failed; nothing was changed on the node")
        }
        let (paths, id) = (self.paths, job)
        try? await onDisk { () throws(FleetError) in try FileSystem.removeTree(paths.spool(id)) }
        return outcome
    }
}
