import FleetCommandLine
import FleetProtocol
import FleetSystem

/// Tells those who watch a job what is recorded of it, while it is under way.
actor JobFeed {
    enum News: Sendable {
        case event(JobEvent)
        case closed(JobRecord)
    }

    private var watchers: [String: [Int: AsyncStream<News>.Continuation]] = [:]
    private var last = 0

    /// Subscribe first, then read what is recorded: so nothing falls in between. The stream ends behind `closed`.
    func subscribe(_ job: String) -> AsyncStream<News> {
        last += 1
        let id = last
        let (stream, continuation) = AsyncStream<News>.makeStream()
        continuation.onTermination = { _ in Task { await self.drop(job, id) } }
        watchers[job, default: [:]][id] = continuation
        return stream
    }

    func publish(_ event: JobEvent) {
        for watcher in (watchers[event.job] ?? [:]).values { watcher.yield(.event(event)) }
    }

    /// How far a transfer of the job is, for those who watch now.
    func publish(progress done: Int64, of total: Int64, job: String) {
        guard let watching = watchers[job], total > 0 else { return }
        let event = JobEvent(
            job: job, sequence: 0, time: .now(), kind: .progress,
            detail: "\(Human.bytes(done)) of \(Human.bytes(total))")
        for watcher in watching.values { watcher.yield(.event(event)) }
    }

    func publish(closed job: JobRecord) {
        for watcher in (watchers.removeValue(forKey: job.id) ?? [:]).values {
            watcher.yield(.closed(job))
            watcher.finish()
        }
    }

    private func drop(_ job: String, _ id: Int) {
        watchers[job]?[id] = nil
        if watchers[job]?.isEmpty == true { watchers[job] = nil }
    }
}
