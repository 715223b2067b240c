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
        outcome: JobOutcome? = nil
    ) async throws(FleetError) {
        try await open(job)
        // The number is taken before the next await: another event may come while this one is written.
        guard let queue = queues[job] else { return }
        let event = JobEvent(
            job: job, sequence: queue.next, time: .now(), kind: kind, step: step, detail: detail, error: error,
            outcome: outcome)
        queues[job]?.next += 1
        let journal = queue.journal
        try await onDisk { () throws(FleetError) in try journal.append(.event(event)) }
        // Only now may it be sent: an acknowledgement must never be on the disk before its event.
        queues[job]?.pending.append(event)
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

    /// Forgets a job's file until there is another event of it.
    func close(_ job: String) { queues[job] = nil }

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
        let journal = try await onDisk { () throws(FleetError) in
            try FileSystem.makeDirectories(paths.job(job))
            return try Journal<Entry>(paths.events(job))
        }
        // Opened twice at once, the first stands.
        guard queues[job] == nil else { return }
        var queue = Queue(journal: journal)
        for entry in journal.recovered {
            switch entry {
            case .event(let event):
                queue.pending.append(event)
                queue.next = event.sequence + 1
            case .acknowledged(let sequence): queue.pending.removeAll { $0.sequence <= sequence }
            }
        }
        queues[job] = queue
    }

    private func wake() {
        let woken = waiters
        waiters = []
        for waiter in woken { waiter.resume() }
    }
}
