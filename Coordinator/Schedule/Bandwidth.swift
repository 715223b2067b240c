import FleetSystem

/// What the backups of one policy may send together.
struct BandwidthLimit: Sendable, Equatable {
    var policy: String
    /// Bytes a second.
    var rate: Int
}

/// When a sender that keeps to a rate may go on: each piece moves the moment on by the time that it takes at that rate. Pure.
struct Pace: Sendable {
    private var due: ContinuousClock.Instant?
    /// What was not sent before is not made up for beyond this.
    static let slack = Duration.milliseconds(250)

    mutating func pause(behind count: Int, rate: Int, now: ContinuousClock.Instant) -> Duration {
        let next = max(due ?? now, now - Self.slack) + .nanoseconds(Int64(Double(count) / Double(rate) * 1e9))
        due = next
        return max(.zero, next - now)
    }
}

/// One pace for each policy, which all its uploads share.
final class BandwidthShares: Sendable {
    private let paces = Monitor<[String: Pace]>([:])

    func pause(behind count: Int, _ limit: BandwidthLimit, now: ContinuousClock.Instant = .now) -> Duration {
        paces.withLock { $0[limit.policy, default: Pace()].pause(behind: count, rate: limit.rate, now: now) }
    }
}
