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
            var saved = try await steps.step("save") { () throws(FleetError) in
                try await onDisk { () throws(FleetError) in try saver.save(job: id, preflight) }
            }
            // Before the bytes: a snapshot refers to what is there when it is stored. It is a backup without, too.
            let problem = await keepConfiguration()
            if let problem {
                saved.facts.warnings.append(
                    "what is kept of this node's configuration is not of now: \(problem.message)")
            }
            let facts = saved.facts
            try await steps.step("stream") { () throws(FleetError) in
                try await port.upload(job: id, snapshot: backup.snapshot, facts: facts, file: saved.file)
            }
            outcome = JobOutcome(
                result: .succeeded,
                summary:
                    "saved \(backup.snapshot) at revision \(facts.status.revision), \(facts.size) bytes"
                    + (problem.map { "; the node's configuration could not be kept: \($0.message)" } ?? ""))
        } catch {
            outcome = JobOutcome(result: .failed, error: error, summary: "failed; nothing was changed on the node")
        }
        let (paths, id) = (self.paths, job)
        try? await onDisk { () throws(FleetError) in try FileSystem.removeTree(paths.spool(id)) }
        return outcome
    }

    private func keepConfiguration() async -> FleetError? {
        let discover = self.discover
        do throws(FleetError) {
            try await port.keep { () throws(FleetError) in try Configuration.collect(discover) }
            return nil
        } catch {
            // It becomes part of what is said of the snapshot, which is not to be refused for its length.
            return FleetError(error.code, String(error.message.prefix(500)), hint: error.hint)
        }
    }
}
