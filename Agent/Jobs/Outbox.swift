internal import FleetProtocol
internal import FleetSystem

/// The events that the coordinator has not acknowledged yet, on the disk before they are sent: one journal a job.
actor Outbox {
    enum Entry: Codable, Sendable, Equatable {
        case event(JobEvent)
        case acknowledged(Int)
    }

    private struct Queue {
        var journal: Journal<Entry>
        var pending: [JobEvent] = []
        var next = 1
        /// Events that are being written and are not pending yet.
        var writing = 0
        var hasOutcome = false
    }

    private let paths: AgentPaths
    /// By job; ids sort as time does, so the oldest job's events go first.
    private var queues: [String: Queue] = [:]
    private var waiters: [CheckedContinuation<Void, Never>] = []

    init(paths: AgentPaths) { self.paths = paths }

    /// Reads what earlier runs left.
    func load() async throws(FleetError) {
        let paths = self.paths
        let jobs = try await onDisk { () throws(FleetError) in
            try FileSystem.makeDirectories(paths.jobs)
            return try FileSystem.list(paths.jobs).filter { FileSystem.exists(paths.events($0)) }
        }
        for job in jobs { try await open(job) }
        wake()
    }

    /// Numbers the event, writes it down, and lets the sender know.
    func post(
        _ job: String, _ kind: JobEvent.Kind, step: String? = nil, detail: String? = nil, error: FleetError? = nil,
        outcome: JobOutcome? = nil, phase: RestorePhase? = nil, proof: MemberProof? = nil
    ) async throws(FleetError) {
        try await open(job)
        // The number is taken before the next await: another event may come while this one is written.
        guard let queue = queues[job] else { return }
        let event = try JobEvent(
            job: job, sequence: queue.next, time: .now(), kind: kind, step: step, detail: detail, error: error,
            outcome: outcome, phase: phase, proof: proof
        ).fitting()
        queues[job]?.next += 1
        queues[job]?.writing += 1
        defer { queues[job]?.writing -= 1 }
        let journal = queue.journal
        try await onDisk { () throws(FleetError) in try journal.append(.event(event)) }
        // Only now may it be sent: an acknowledgement must never be on the disk before its event.
        queues[job]?.pending.append(event)
        if outcome != nil { queues[job]?.hasOutcome = true }
        wake()
    }

    /// The oldest event that is still to be sent; nil when there is none.
    func nextUnacknowledged() -> JobEvent? {
        queues.sorted { $0.key < $1.key }.lazy.compactMap(\.value.pending.first).first
    }

    /// Returns when there may be something to send, or the task is cancelled.
    func waitForEvents() async {
        await withTaskCancellationHandler {
            guard nextUnacknowledged() == nil, !Task.isCancelled else { return }
            await withCheckedContinuation { waiters.append($0) }
        } onCancel: {
            Task { await self.wake() }
        }
    }

    func acknowledge(_ job: String, _ sequence: Int) async throws(FleetError) {
        guard let journal = queues[job]?.journal else { return }
        queues[job]?.pending.removeAll { $0.sequence <= sequence }
        try await onDisk { () throws(FleetError) in try journal.append(.acknowledged(sequence)) }
    }

    /// Forgets a job that has ended and of which all was taken; says whether it did.
    func closeIfEnded(_ job: String) -> Bool {
        guard let queue = queues[job], queue.hasOutcome, queue.pending.isEmpty, queue.writing == 0 else { return false }
        queues[job] = nil
        return true
    }

    /// Jobs of which an event is still to be acknowledged.
    var unacknowledgedJobs: [String] { queues.filter { !$0.value.pending.isEmpty }.map(\.key).sorted() }

    /// Whether an outcome of the job was ever posted, and what the last one was.
    func outcome(of job: String) async throws(FleetError) -> JobOutcome? {
        let path = paths.events(job)
        return try await onDisk { () throws(FleetError) in
            guard FileSystem.exists(path) else { return nil }
            return try Journal<Entry>.records(path).reversed().lazy.compactMap { entry in
                if case .event(let event) = entry { event.outcome } else { nil }
            }.first
        }
    }

    private func open(_ job: String) async throws(FleetError) {
        guard queues[job] == nil else { return }
        let paths = self.paths
        let (journal, gap) = try await onDisk { () throws(FleetError) in
            try FileSystem.makeDirectories(paths.job(job))
            return try Self.journal(paths.events(job))
        }
        // Opened twice at once, the first stands.
        guard queues[job] == nil else { return }
        var queue = Queue(journal: journal)
        for entry in journal.recovered {
            switch entry {
            case .event(let event):
                queue.pending.append(event)
                queue.next = event.sequence + 1
                if event.outcome != nil { queue.hasOutcome = true }
            case .acknowledged(let sequence):
                queue.pending.removeAll { $0.sequence <= sequence }
                queue.next = max(queue.next, sequence + 1)
            }
        }
        queue.next += gap
        queues[job] = queue
    }

    /// A damaged file is kept aside under another name and what is whole in it goes on: events only tell of a job, so
    /// a lost one must not keep the agent from its start.
    ///
    /// - Returns: also how many numbers to leave out, since the events that are lost may have had them.
    private static func journal(_ path: String) throws(FleetError) -> (Journal<Entry>, gap: Int) {
        do throws(FleetError) { return (try Journal<Entry>(path), 0) } catch {
            guard error.code == .journalDamaged else { throw error }
        }
        let (records, lost) = try Journal<Entry>.salvage(path)
        var lines: [UInt8] = []
        for record in records { lines += try Journal<Entry>.line(record) }
        let aside = path + ".damaged"
        try FileSystem.copyDurably(path, to: aside, mode: 0o600)
        try FileSystem.writeDurably(path, lines)
        return (try Journal<Entry>(path), lost)
    }

    private func wake() {
        let woken = waiters
        waiters = []
        for waiter in woken { waiter.resume() }
    }
}
