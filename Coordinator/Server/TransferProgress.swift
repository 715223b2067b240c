import FleetProtocol
import FleetSystem

/// Tells those who watch a job how far its transfer is: a few times a second, not for every piece.
struct TransferProgress {
    private static let period = Duration.milliseconds(250)

    let job: String
    let total: Int64
    let feed: JobFeed
    private(set) var done: Int64?
    private var told: ContinuousClock.Instant?

    init(job: String, total: Int64, feed: JobFeed) {
        self.job = job
        self.total = total
        self.feed = feed
    }

    mutating func moved(to offset: Int64) async {
        done = offset
        let now = ContinuousClock.now
        if let told, now - told < Self.period { return }
        told = now
        await feed.publish(progress: offset, of: total, job: job)
    }
}
