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
    ///
    /// - Parameter members: jobs that are a part of it: what they tell is told too, and their ends don't end it.
    func subscribe(_ job: String, members: [String] = []) -> AsyncStream<News> {
        last += 1
        let id = last
        let (stream, continuation) = AsyncStream<News>.makeStream()
        continuation.onTermination = { _ in Task { await self.drop([job] + members, id) } }
        for one in [job] + members { watchers[one, default: [:]][id] = continuation }
        if !members.isEmpty { wholes[id] = job }
        return stream
    }
    /// By subscription: the restore that ends it.
    private var wholes: [Int: String] = [:]

    /// A job that has become a part of another one: who watches that is told of this one too, from now on.
    func adopt(_ job: String, into whole: String) {
        for (id, watcher) in watchers[whole] ?? [:] {
            watchers[job, default: [:]][id] = watcher
            wholes[id] = whole
            adopted[id, default: []].append(job)
        }
    }
    /// By subscription: what was adopted for it.
    private var adopted: [Int: [String]] = [:]

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
        for (id, watcher) in watchers[job.id] ?? [:] where wholes[id] ?? job.id == job.id {
            watcher.yield(.closed(job))
            watcher.finish()
        }
    }

    private func drop(_ jobs: [String], _ id: Int) {
        wholes[id] = nil
        for job in jobs + (adopted.removeValue(forKey: id) ?? []) {
            watchers[job]?[id] = nil
            if watchers[job]?.isEmpty == true { watchers[job] = nil }
        }
    }
}
