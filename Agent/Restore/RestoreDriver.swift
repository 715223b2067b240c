internal import FleetProtocol
internal import FleetSystem

/// Carries a restore from its journal's present end to its verdict: asks the machine, writes, acts.
struct RestoreDriver: Sendable {
    let journal: Journal<RestoreEntry>
    let steps: RestoreSteps
    let port: any CoordinatorPort
    let faults: FaultInjection
    /// The coordinator's, in a restore of several members.
    let decisions: DecisionBox
    /// What is told to the coordinator as it happens.
    let report: @Sendable (JobEvent.Kind, RestoreStep, _ detail: String?, FleetError?) async -> Void
    /// Tells it that this member waits, and why; false when that could not be written down.
    let waits: @Sendable (RestorePhase, MemberProof?, FleetError?) async -> Bool

    /// What this run of the agent told last.
    private struct Wait: Equatable {
        var phase: RestorePhase
        var problem: FleetError?
    }

    /// - Returns: the verdict with its cause; for a restore that is stuck, with words for where the node stands.
    func run(_ machine: inout RestoreMachine) async throws(FleetError) -> (RestoreMachine.Verdict, FleetError?) {
        var waited: Wait?
        while true {
            if let decision = await decisions.take() { try await write(.decided(decision), &machine) }
            switch machine.next() {
            case .end(.stuck, let error):
                return (.stuck, Self.stuck(error, await standing()))
            case .end(let verdict, let error): return (verdict, error)
            case .wait(let phase, let problem): try await wait(Wait(phase: phase, problem: problem), &waited, &machine)
            case .write(let entry): try await write(entry, &machine)
            case .perform(let step):
                await report(.stepStarted, step, nil, nil)
                let told: StepReport
                do throws(FleetError) {
                    await faults.passing(step.rawValue, .before)
                    told = try await perform(step)
                    await faults.passing(step.rawValue, .after)
                } catch {
                    try await write(.failed(step, error), &machine)
                    await report(.stepFailed, step, nil, error)
                    continue
                }
                // Not a failure of the step when this fails: the step was done, and only the journal can't say so.
                try await write(.done(step, note: told.note, remark: told.remark), &machine)
                await report(.stepDone, step, told.note, nil)
            case .undo(let step):
                let told: StepReport
                do throws(FleetError) {
                    await faults.passing("undo-\(step.rawValue)", .before)
                    told = try await onDisk { () throws(FleetError) in try steps.undo(step) }
                    await faults.passing("undo-\(step.rawValue)", .after)
                } catch {
                    try await write(.undoFailed(step, error), &machine)
                    await report(.stepFailed, step, "could not be taken back", error)
                    continue
                }
                try await write(.undone(step, remark: told.remark, unhealthy: told.unhealthy), &machine)
                let words = [step.leavesTraces ? "\(step.rawValue) was taken back" : nil, told.note, told.remark]
                    .compactMap(\.self)
                if !words.isEmpty { await report(.note, step, words.joined(separator: "; "), nil) }
            }
        }
    }

    /// Nothing is done here without the coordinator's word, however long that takes: it alone knows the others.
    private func wait(_ wait: Wait, _ told: inout Wait?, _ machine: inout RestoreMachine) async throws(FleetError) {
        if wait != told {
            var proof: MemberProof?
            if wait.phase == .prepare, wait.problem == nil, steps.work.undoes == nil { proof = steps.planned }
            if wait.phase == .verify, wait.problem == nil {
                do throws(FleetError) { proof = try await onDisk { () throws(FleetError) in try steps.proof() } } catch
                {
                    // It was verified, and is not what it was any more.
                    try await write(.failed(.verify, error), &machine)
                    return await report(.stepFailed, .verify, nil, error)
                }
            }
            await faults.passing("gate-\(wait.phase.rawValue)", .before)
            if await waits(wait.phase, proof, wait.problem) { told = wait }
            await faults.passing("gate-\(wait.phase.rawValue)", .after)
        }
        await decisions.wait(atMost: .seconds(10))
    }

    private func perform(_ step: RestoreStep) async throws(FleetError) -> StepReport {
        if step == .safetySnapshot { return try await SafetySave(steps: steps, port: port).run() }
        if step == .fetch {
            let (job, record, path) = (steps.work.job, steps.work.snapshot, steps.snapshotPath)
            let spool = steps.paths.spool(job)
            try await onDisk { () throws(FleetError) in
                try FileSystem.makeDirectories(spool)
                let present = try FileSystem.status(path)?.size ?? 0
                let needed = record.size - present + 64 << 20
                guard try FileSystem.freeSpace(spool) >= needed else {
                    throw FleetError(
                        .noSpace, "the spool \(spool) has less than \(needed) bytes free",
                        hint: "free some space there, or set the spool to a larger file system")
                }
            }
            try await port.fetch(job: job, snapshot: record, to: path)
            return StepReport()
        }
        return try await onDisk { () throws(FleetError) in try steps.perform(step) }
    }

    private func write(_ entry: RestoreEntry, _ machine: inout RestoreMachine) async throws(FleetError) {
        try await onDisk { () throws(FleetError) in try journal.append(entry) }
        machine.apply(entry)
    }

    /// Where it can't be read, that is no reason to hide why the restore is stuck.
    private func standing() async -> String {
        do throws(FleetError) { return try await onDisk { () throws(FleetError) in try steps.standing() } } catch {
            return "where the node stands could not be read (\(error.message))"
        }
    }

    private static func stuck(_ error: FleetError?, _ standing: String) -> FleetError {
        FleetError(
            .stuck, "\(error?.message ?? "the restore can't go on"); \(standing)",
            hint: "\(error?.hint.map { $0 + "; " } ?? "")then run: systemctl restart fleet-agent (it goes on from here)"
        )
    }
}
