internal import FleetProtocol
internal import FleetSystem

/// The jobs of this node, one at a time: accepted through the gate, carried out, told of through the outbox. A restore
/// that an earlier run of the agent left goes on at the start.
actor JobRunner {
    nonisolated let outbox: Outbox
    private let paths: AgentPaths
    private let gate: JobGate
    private nonisolated let counter: JobCounter
    private let port: any CoordinatorPort
    private let faults: FaultInjection
    private let discover: @Sendable () throws(FleetError) -> DiscoveredEtcd
    private let program: OwnProgram?
    private let log: Log
    /// The job that holds the node; a restore that is stuck holds it until the agent's next start.
    private var current: String?
    /// The job whose end is told, or just being told.
    private var told: String?
    /// Jobs that are just being accepted, with the answer that every copy of one gets.
    private var arriving: [String: Task<Result<Void, FleetError>, Never>] = [:]
    /// Of restores that are under way.
    private var decisions: [String: DecisionBox] = [:]
    /// An upgrade that has brought this very program, until the coordinator has taken its registration.
    private var upgrade: (job: String, program: ProgramRecord, isTold: Bool)?

    /// - Parameters:
    ///   - port: how bytes travel; `AgentLink`.
    ///   - program: what this process is; nil where it can't be another.
    ///   - discover: looks at this node; tests look at another.
    init(
        paths: AgentPaths, gate: JobGate, port: any CoordinatorPort, log: Log,
        faults: FaultInjection = FaultInjection(), program: OwnProgram? = nil,
        discover: @escaping @Sendable () throws(FleetError) -> DiscoveredEtcd = { () throws(FleetError) in
            try Discovery.discover()
        }
    ) {
        self.paths = paths
        self.gate = gate
        counter = JobCounter(path: paths.counter)
        self.port = port
        self.log = log
        self.faults = faults
        self.program = program
        self.discover = discover
        outbox = Outbox(paths: paths)
    }

    /// Jobs that the coordinator has not heard the end of.
    var activeJobs: [String] {
        get async {
            // In this order: a job that ends meanwhile has posted its outcome before it gives the node free.
            let running = [current, upgrade?.job].compactMap { $0 }
            return Set(await outbox.unacknowledgedJobs + running).sorted()
        }
    }

    /// A restore has the node now, or stands half-way on it.
    private(set) var isRestoring = false

    nonisolated func lastCounter() async throws(FleetError) -> UInt64 {
        let counter = self.counter
        return try await onDisk { () throws(FleetError) in try counter.last() }
    }

    /// Returns when the job is on the disk and under way; what becomes of it is told by events.
    ///
    /// - Throws: the refusal.
    func accept(_ envelope: Envelope) async throws(FleetError) {
        var fields: [String: String] = [:]
        do throws(FleetError) {
            let job = try gate.open(envelope, now: .now())
            fields["job"] = job.id
            // The coordinator delivers again when it did not hear that the job had arrived, and a stalled network brings both
            // at once. The second must neither be taken for another job that finds the node busy, nor be told of a job that
            // is not on the disk yet.
            if let first = arriving[job.id] { return try await first.value.get() }
            let first = Task { () -> Result<Void, FleetError> in
                do throws(FleetError) { return .success(try await take(job, envelope)) } catch {
                    return .failure(error)
                }
            }
            arriving[job.id] = first
            defer { arriving[job.id] = nil }
            try await first.value.get()
        } catch {
            log.warning("a job was refused: \(error.message)", fields.merging(Log.fields(of: error)) { $1 })
            throw error
        }
    }

    private func take(_ job: Job, _ envelope: Envelope) async throws(FleetError) {
        let (paths, counter, id) = (self.paths, self.counter, job.id)
        if id == current { return }
        if try await onDisk({ () throws(FleetError) in FileSystem.exists(paths.envelope(id)) }) { return }
        await letGo()
        if let busy = current ?? upgrade?.job {
            throw FleetError(
                .busy, "this node is at job \(busy)", hint: "wait until that job has ended", retryable: true)
        }
        // It may be gone in a minute, and the job with it.
        if program?.isOnTrial == true {
            throw FleetError(
                .busy, "this node's new agent is on trial", hint: "wait some minutes", retryable: true)
        }
        current = id
        switch job.operation {
        case .restore, .undo: _ = box(id)
        case .backup, .drill, .cleanup, .member, .upgrade: break
        }
        do throws(FleetError) {
            try await onDisk { () throws(FleetError) in
                try FileSystem.makeDirectories(paths.jobs)
                try counter.raise(to: job.counter)
                try FileSystem.makeDirectories(paths.job(id))
                try FileSystem.writeDurably(paths.envelope(id), try JSON.encode(envelope))
            }
            try await outbox.post(id, .accepted)
        } catch {
            current = nil
            decisions[id] = nil
            throw error
        }
        Task { await execute(job, envelope) }
    }

    /// The coordinator's word about a restore of several members. Of a job that was never begun here it is the last: its
    /// counter is above the job's.
    ///
    /// - Throws: the refusal; `busy` for a job that is just being accepted.
    func decide(_ envelope: Envelope) async throws(FleetError) -> DecideReply {
        let decision = try gate.openDecision(envelope)
        let (paths, counter, id) = (self.paths, self.counter, decision.job)
        let isOnDisk = try await onDisk { () throws(FleetError) in
            try FileSystem.makeDirectories(paths.jobs)
            try counter.raise(to: decision.counter)
            // Looked at behind that: what is not begun now never will be, or is in the middle of it.
            return FileSystem.exists(paths.envelope(id)) || FileSystem.exists(paths.journal(id))
        }
        if isOnDisk {
            await decisions[id]?.offer(decision)
            return DecideReply(begun: true)
        }
        guard current != id else {
            throw FleetError(
                .busy, "job \(id) is just being accepted", hint: "send the decision again", retryable: true)
        }
        return DecideReply(begun: false)
    }

    /// What the coordinator has taken is forgotten here: the events, and all of a backup; of a restore the journal stays.
    func acknowledge(_ job: String, _ sequence: Int) async throws(FleetError) {
        try await outbox.acknowledge(job, sequence)
        guard await outbox.closeIfEnded(job) else { return }
        let paths = self.paths
        try await onDisk { () throws(FleetError) in
            if !FileSystem.exists(paths.journal(job)) { try FileSystem.removeTree(paths.job(job)) }
        }
    }

    /// Copies the tools of a containerised etcd aside while it runs: when it has stopped, they are gone with it.
    nonisolated func keepTools(of instance: EtcdInstance?) async {
        guard let instance, let pid = instance.pid else { return }
        let (copies, log) = (paths.tools, self.log)
        do throws(FleetError) {
            try await onDisk { () throws(FleetError) in
                try ToolFinder.copy(from: pid, dataDir: instance.dataDir, to: copies)
            }
        } catch { log.error("etcd's own tools could not be copied aside", error) }
    }

    private func execute(_ job: Job, _ envelope: Envelope) async {
        let log = self.log.with("job", job.id)
        log.info("job \(job.operation.kind) begins")
        switch job.operation {
        case .backup(let backup):
            let run = BackupRun(
                paths: paths, job: job.id, backup: backup, outbox: outbox, port: port, faults: faults,
                discover: discover)
            await end(job.id, await run.run(), log)
        case .drill(let drill):
            let run = DrillRun(paths: paths, job: job.id, order: drill, outbox: outbox, port: port, faults: faults)
            await end(job.id, await run.run(), log)
        case .restore(let restore):
            isRestoring = !restore.dryRun
            await end(job.id, await restoreRun(job.id, log).begin(job, restore), log)
        case .undo(let undo):
            isRestoring = !undo.dryRun
            await end(job.id, await restoreRun(job.id, log).begin(job, undo), log)
        case .cleanup(let cleanup):
            await end(job.id, await CleanupRun(paths: paths, discover: discover).run(cleanup), log)
        case .member(let member):
            // While its manifest moves and its files change, what is found is neither what was nor what will be.
            if case .stop = member.act { isRestoring = true }
            if case .join = member.act { isRestoring = true }
            let run = MemberRun(
                paths: paths, job: job, order: member, outbox: outbox, faults: faults, discover: discover)
            await end(job.id, await run.run(), log)
        case .upgrade(let upgrade):
            let run = UpgradeRun(
                job: job.id, order: upgrade, envelope: envelope, program: program, outbox: outbox, port: port,
                faults: faults)
            // Without an outcome this process ends here, and the next one tells what became of it.
            if let outcome = await run.run() { await end(job.id, outcome, log) }
        }
    }

    /// The coordinator may have heard of a job's end, and send the next, before the node is given free.
    private func letGo() async {
        for _ in 0..<100 where current != nil && current == told || upgrade?.isTold == true {
            try? await Task.sleep(for: .milliseconds(20))
        }
    }

    private func restoreRun(_ job: String, _ log: Log) -> RestoreRun {
        RestoreRun(
            paths: paths, outbox: outbox, port: port, faults: faults, discover: discover, decisions: box(job), log: log)
    }

    private func box(_ job: String) -> DecisionBox {
        if let box = decisions[job] { return box }
        let box = DecisionBox()
        decisions[job] = box
        return box
    }

    private func end(_ job: String, _ outcome: JobOutcome, _ log: Log) async {
        if let error = outcome.error {
            log.error("job \(outcome.result.rawValue)", error)
        } else {
            log.info("job \(outcome.result.rawValue): \(outcome.summary)")
        }
        // What is found from here on is what the restore left; other work has to wait until its end is written down.
        if outcome.result != .stuck {
            isRestoring = false
            told = job
        }
        await tell(job, outcome, log)
        guard outcome.result != .stuck else { return }
        decisions[job] = nil
        current = nil
    }

    /// Writes the outcome down, however often that has to be tried: without it the coordinator would hold the job to be
    /// under way for days, and it is until then.
    private func tell(_ job: String, _ outcome: JobOutcome, _ log: Log) async {
        var backoff = Backoff()
        while true {
            do throws(FleetError) {
                return try await outbox.post(job, .outcome, error: outcome.error, outcome: outcome)
            } catch { log.error("the outcome could not be written down and will be tried again", error) }
            // Nobody cancels this; the agent's end does, and its next start finds a job without an outcome.
            do { try await Task.sleep(for: backoff.next()) } catch { return }
        }
    }

    // MARK: the agent's start

    /// Reads what earlier runs left: unfinished restores go on in the background, everything else that was under way
    /// has failed without a trace.
    func start() async throws(FleetError) {
        try await outbox.load()
        let paths = self.paths
        let jobs = try await onDisk { () throws(FleetError) in try FileSystem.list(paths.jobs) }
        var unfinished: [String] = []
        var cutOff: [String] = []
        for job in jobs {
            let hasJournal = try await onDisk { () throws(FleetError) in FileSystem.exists(paths.journal(job)) }
            let outcome = try await outbox.outcome(of: job)
            if hasJournal {
                if outcome == nil || outcome?.result == .stuck { unfinished.append(job) }
            } else if outcome == nil {
                cutOff.append(job)
            }
        }
        for job in cutOff {
            let operation = await operation(of: job)
            if case .upgrade(let order) = operation {
                await takeUp(job, order)
            } else {
                await tellOfCut(job, operation)
            }
        }
        let keep = Set(unfinished)
        try await onDisk { () throws(FleetError) in
            // First: it would go on writing into what is removed.
            try ScratchEtcd.endLeftovers(paths)
            try Spool.clean(paths, keeping: keep)
        }
        guard !unfinished.isEmpty else { return }
        current = unfinished[0]
        isRestoring = true
        // Before there is a connection, so that no decision finds none.
        for job in unfinished { _ = box(job) }
        Task { await resume(unfinished) }
    }

    /// A full disk must not keep the agent from its start: then it is told later.
    private func tellOfCut(_ job: String, _ operation: FleetProtocol.Operation?) async {
        let (hint, left) = Self.whatIsLeft(operation)
        let outcome = JobOutcome(
            result: .failed,
            error: FleetError(.interrupted, "the agent ended while it was at this job", hint: hint, retryable: true),
            summary: "cut off by the agent's end; \(left)")
        await tellNowOrLater(job, outcome)
    }

    private func tellNowOrLater(_ job: String, _ outcome: JobOutcome) async {
        let log = self.log.with("job", job)
        if let error = outcome.error { log.error("job \(outcome.result.rawValue)", error) }
        do throws(FleetError) {
            try await outbox.post(job, .outcome, error: outcome.error, outcome: outcome)
        } catch { Task { await tell(job, outcome, log) } }
    }

    private func operation(of job: String) async -> FleetProtocol.Operation? {
        let (paths, gate) = (self.paths, self.gate)
        return try? await onDisk { () throws(FleetError) in
            let envelope = try JSON.decode(Envelope.self, from: try FileSystem.read(paths.envelope(job)))
            return try gate.operation(of: envelope)
        }
    }

    /// The jobs without a journal of their own that change something, and all others.
    private static func whatIsLeft(_ operation: FleetProtocol.Operation?) -> (hint: String, left: String) {
        switch operation {
        case .cleanup: ("run the cleanup again: it goes on with what is left", "old data may be removed in part")
        case .member: ("the coordinator has it done again, from where it was", "it may be done in part")
        // This program can't read what that one obeyed.
        case nil: ("see the node's log for what it did: journalctl -u fleet-agent", "how far it came is not known")
        default: ("nothing was changed on the node; start the job again", "nothing was changed")
        }
    }

    // MARK: upgrades

    /// One that was under way when the agent ended, which is how an upgrade comes to its end.
    private func takeUp(_ job: String, _ order: FleetProtocol.Operation.Upgrade) async {
        switch program?.standing(job, order.program) ?? .cutOff {
        case .runs: upgrade = (job, order.program, isTold: false)
        case .fellBack(let error):
            if let program, program.isUnwritten {
                current = job
                Task {
                    await program.writeDown()
                    await tellOfFallback(job, error)
                    if current == job { current = nil }
                }
            } else {
                await tellOfFallback(job, error)
            }
        case .cutOff: await tellOfCut(job, .upgrade(order))
        }
    }

    private func tellOfFallback(_ job: String, _ error: FleetError) async {
        try? await outbox.post(job, .stepFailed, step: UpgradeRun.lastStep, error: error)
        await tellNowOrLater(
            job, JobOutcome(result: .failed, error: error, summary: "went back to the program of before"))
    }

    /// The coordinator has taken this program's registration. When it has stayed connected for a while it works, and the
    /// upgrade that brought it has succeeded.
    func registered() async {
        await faults.passing("prove", .before)
        await self.program?.registered()
        guard let (job, program, isTold) = upgrade, !isTold, self.program?.isOnTrial == false else { return }
        // A connection that is lost and made again meanwhile comes here once more.
        upgrade?.isTold = true
        // On a task of its own: the connection's end cancels this one, and must not lose the outcome.
        await Task { await tellOfSuccess(job, program) }.value
    }

    private func tellOfSuccess(_ job: String, _ program: ProgramRecord) async {
        let log = self.log.with("job", job)
        await faults.passing("prove", .after)
        do throws(FleetError) {
            try await outbox.post(job, .stepDone, step: UpgradeRun.lastStep)
        } catch { log.error("an event could not be written down", error) }
        await tell(job, JobOutcome(result: .succeeded, summary: "runs fleet-agent \(program.name)"), log)
        log.info("the upgrade to \(program.name) is proven")
        upgrade = nil
    }

    private func resume(_ jobs: [String]) async {
        for job in jobs {
            current = job
            isRestoring = true
            let log = self.log.with("job", job)
            log.warning("an unfinished restore goes on")
            await end(job, await restoreRun(job, log).resume(job), log)
            // A node that stands in between gets no other work.
            if current != nil { return }
        }
    }
}
