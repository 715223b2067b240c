internal import FleetProtocol
internal import FleetSystem

/// One restore: planned and begun, or taken up again from its journal.
struct RestoreRun: Sendable {
    let paths: AgentPaths
    let outbox: Outbox
    let port: any CoordinatorPort
    let faults: FaultInjection
    let discover: @Sendable () throws(FleetError) -> DiscoveredEtcd
    var decisions = DecisionBox()
    let log: Log
    var isWritable: @Sendable (String) -> Bool = FileSystem.isWritable

    func begin(_ job: Job, _ restore: FleetProtocol.Operation.Restore) async -> JobOutcome {
        await begin(job, dryRun: restore.dryRun) { found throws(FleetError) in
            try RestorePlanner.plan(found, restore, job: job)
        }
    }

    func begin(_ job: Job, _ undo: FleetProtocol.Operation.Undo) async -> JobOutcome {
        let paths = self.paths
        return await begin(job, dryRun: undo.dryRun) { found throws(FleetError) in
            try UndoPlanner.plan(found, undo, job: job, journal: try UndoPlanner.journal(paths, undo.restored))
        }
    }

    private func begin(
        _ job: Job, dryRun: Bool, _ plan: @escaping @Sendable (DiscoveredEtcd) throws(FleetError) -> RestoreWork
    ) async -> JobOutcome {
        let (paths, discover) = (self.paths, self.discover)
        let work: RestoreWork
        let boot: BootIdentity
        do throws(FleetError) {
            (work, boot) = try await onDisk { () throws(FleetError) in
                let found = try discover()
                // While its container is there: when etcd is stopped, its own tools are gone with it.
                let tools = try ToolFinder.find(
                    pid: found.process?.pid, dataDir: found.dataDir.path, copies: paths.tools)
                var work = try plan(found)
                if work.undoes == nil {
                    let tool = try? tools.offline(for: EtcdVersion(work.snapshot.facts.etcdVersion))
                    work.settleRevisions(tool)
                }
                if case .unit(let name, _) = work.launch {
                    // A process that was seen runs, whatever systemd can tell of it.
                    work.wasRunning = found.process != nil ? true : try? Systemctl.isActive(name)
                }
                if work.wasHealthy {
                    // An etcd in a loop of crashes has a process now and then too.
                    let client = try RestoreSteps(work: work, paths: paths).client()
                    do throws(FleetError) {
                        try client.checkHealth()
                        if work.undoes == nil { work.plan.liveRevision = try client.status().revision }
                    } catch { work.wasHealthy = false }
                }
                return (work, try BootIdentity.current())
            }
        } catch { return JobOutcome(result: .refused, error: error, summary: "not begun: \(error.message)") }
        if dryRun {
            return JobOutcome(result: .succeeded, summary: "planned; nothing was changed", plan: work.plan)
        }
        let journal: Journal<RestoreEntry>
        do throws(FleetError) {
            journal = try await onDisk { () throws(FleetError) in
                let journal = try Journal<RestoreEntry>(paths.journal(job.id))
                try journal.append(.planned(work, boot: boot))
                return journal
            }
        } catch {
            // Empty, it would be taken for a restore that has to go on.
            try? await onDisk { () throws(FleetError) in try FileSystem.remove(paths.journal(job.id)) }
            return JobOutcome(
                result: .failed,
                error: FleetError(
                    error.code, "the restore's journal can't be written: \(error.message)",
                    hint: "nothing was changed; \(error.hint ?? "correct the cause"), then restore again"),
                summary: "failed before anything was changed", plan: work.plan)
        }
        do throws(FleetError) {
            return try await drive(journal, work, RestoreMachine(work, boot))
        } catch { return broken(error) }
    }

    func resume(_ job: String) async -> JobOutcome {
        let paths = self.paths
        do throws(FleetError) {
            let journal = try await onDisk { () throws(FleetError) in try Journal<RestoreEntry>(paths.journal(job)) }
            guard case .planned(let work, let boot) = journal.recovered.first else {
                // It ended before the plan was on the disk.
                return JobOutcome(
                    result: .failed,
                    error: FleetError(
                        .interrupted, "the agent ended before the restore was begun",
                        hint: "nothing was changed on the node; start the restore again", retryable: true),
                    summary: "cut off by the agent's end; nothing was changed")
            }
            var machine = RestoreMachine(work, boot)
            for entry in journal.recovered { machine.apply(entry) }
            if case .end(let verdict, let error) = machine.next(), verdict != .stuck {
                return outcome(verdict, error, work, machine)
            }
            try await holdUntilWritable(work)
            let resumed = try await onDisk { () throws(FleetError) in
                let entry = RestoreEntry.resumed(boot: try .current(), expired: Timestamp.now() > work.expires)
                try journal.append(entry)
                return entry
            }
            machine.apply(resumed)
            return try await drive(journal, work, machine)
        } catch { return broken(error) }
    }

    /// A step that can't write would fail, and the way back with it. So nothing is done and nothing written until it can: most
    /// often that is this agent's end and the next one's start, under a unit that was corrected.
    private func holdUntilWritable(_ work: RestoreWork) async throws(FleetError) {
        let isWritable = self.isWritable
        var told: FleetError?
        while true {
            do throws(FleetError) {
                return try await onDisk { () throws(FleetError) in
                    try WritablePlaces.check(work, isWritable: isWritable)
                }
            } catch {
                if error != told {
                    told = error
                    log.error("the unfinished restore is held", error)
                    do throws(FleetError) {
                        // Of a note people see the detail.
                        let words = ["held: \(error.message)", error.hint].compactMap(\.self).joined(separator: "; ")
                        try await outbox.post(work.job, .note, detail: words, error: error)
                    } catch { log.error("an event could not be written down", error) }
                }
            }
            do { try await Task.sleep(for: .seconds(1)) } catch {
                throw FleetError(.interrupted, "the agent ends", hint: "start it again")
            }
        }
    }

    private func drive(
        _ journal: Journal<RestoreEntry>, _ work: RestoreWork, _ machine: RestoreMachine
    ) async throws(FleetError) -> JobOutcome {
        let (outbox, log) = (self.outbox, self.log)
        let driver = RestoreDriver(
            journal: journal, steps: RestoreSteps(work: work, paths: paths, faults: faults), port: port, faults: faults,
            decisions: decisions,
            report: { kind, step, detail, error in
                let words = "\(step.rawValue): \(kind.rawValue)\(detail.map { ", \($0)" } ?? "")"
                // One of several may wait for long with it.
                if let error { log.error(words, error) } else { log.info(words) }
                // An event that can't be kept must not stop a restore in its middle.
                do throws(FleetError) {
                    try await outbox.post(work.job, kind, step: step.rawValue, detail: detail, error: error)
                } catch { log.error("an event could not be written down", error) }
            },
            waits: { phase, proof, problem in
                do throws(FleetError) {
                    try await outbox.post(
                        work.job, problem == nil ? .reached : .held, error: problem, phase: phase, proof: proof)
                    log.info("waits for the others behind \(phase.rawValue)\(problem == nil ? "" : ", it has failed")")
                    return true
                } catch {
                    log.error("the coordinator can't be told, and that will be tried again", error)
                    return false
                }
            })
        var machine = machine
        let (verdict, error) = try await driver.run(&machine)
        return outcome(verdict, error, work, machine)
    }

    private func outcome(
        _ verdict: RestoreMachine.Verdict, _ error: FleetError?, _ work: RestoreWork, _ machine: RestoreMachine
    ) -> JobOutcome {
        switch verdict {
        case .succeeded:
            return JobOutcome(
                result: .succeeded,
                summary: ([work.success] + machine.remarks).joined(separator: "; ")
                    + (RestoreSteps(work: work, paths: paths).leftovers.map { "; warning: \($0)" } ?? ""),
                plan: work.plan, notes: work.notes)
        case .failed:
            return JobOutcome(
                result: .failed, error: error, summary: "failed before anything was changed", plan: work.plan)
        case .rolledBack:
            return JobOutcome(
                result: .rolledBack, error: error, summary: work.takenBack(machine.remarksBack, machine.unhealthy),
                plan: work.plan,
                unhealthy: machine.unhealthy.isEmpty ? nil : machine.unhealthy.joined(separator: "; "))
        case .stuck:
            return JobOutcome(result: .stuck, error: error, summary: "stuck: somebody has to look", plan: work.plan)
        }
    }

    /// The journal could not be read or written: nothing more is done, since nothing more would be remembered.
    private func broken(_ error: FleetError) -> JobOutcome {
        JobOutcome(
            result: .stuck,
            error: FleetError(
                .stuck, "the restore's journal fails: \(error.message)",
                hint: "correct the cause, then run: systemctl restart fleet-agent (it goes on from the journal)"),
            summary: "stuck: somebody has to look")
    }
}
