internal import FleetProtocol
internal import FleetSystem

/// An upgrade up to the restart: fetched, tried, chosen. What becomes of it the next process tells, whichever program that is.
struct UpgradeRun: Sendable {
    let job: String
    let order: FleetProtocol.Operation.Upgrade
    let envelope: Envelope
    let program: OwnProgram?
    let outbox: Outbox
    let port: any CoordinatorPort
    let faults: FaultInjection

    static let lastStep = "restart"

    /// - Returns: nil where the process is about to end.
    func run() async -> JobOutcome? {
        guard let program else {
            return refused(FleetError(.refusedHere, "this agent can't be upgraded", hint: "upgrade its package"))
        }
        let (wanted, job, envelope) = (order.program, self.job, self.envelope)
        if program.told.sha256 == wanted.sha256, !program.isOnTrial {
            return JobOutcome(result: .succeeded, summary: "runs fleet-agent \(wanted.name) already")
        }
        let steps = JobSteps(job: job, outbox: outbox, faults: faults)
        let path: String
        do throws(FleetError) {
            path = try await steps.step("preflight") { () throws(FleetError) in
                try await onDisk { () throws(FleetError) in
                    try program.check(wanted)
                    return try program.place(for: wanted)
                }
            }
        } catch { return refused(error) }
        do throws(FleetError) {
            try await steps.step("fetch") { () throws(FleetError) in
                try await port.fetch(job: job, program: wanted, to: path)
            }
            try await steps.step("try") { () throws(FleetError) in
                try await onDisk { () throws(FleetError) in try program.tryOut(wanted) }
            }
            try await outbox.post(job, .stepStarted, step: "choose")
            await faults.passing("choose", .before)
            try await onDisk { () throws(FleetError) in try program.choose(wanted, job: job, envelope) }
        } catch {
            return JobOutcome(result: .failed, error: error, summary: "not upgraded; the agent runs on as it was")
        }
        await faults.passing("choose", .after)
        // From here on the choice is on the disk: whatever ends this process, the next start follows it, and tells what can't
        // be told now.
        try? await outbox.post(job, .stepDone, step: "choose")
        try? await outbox.post(job, .stepStarted, step: Self.lastStep)
        for _ in 0..<50 where await outbox.nextUnacknowledged() != nil {
            try? await Task.sleep(for: .milliseconds(100))
        }
        await faults.passing(Self.lastStep, .before)
        program.restart()
        return nil
    }

    private func refused(_ error: FleetError) -> JobOutcome {
        JobOutcome(result: .refused, error: error, summary: "not begun: \(error.message)")
    }
}
