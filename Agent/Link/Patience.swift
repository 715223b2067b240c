internal import FleetSystem

/// How long a transfer goes on through failures: for want of a connection as long as `limit`, counted from the last
/// connection it had, so that hours of streaming over a bad line are not held against it. What the coordinator itself
/// calls passing (no space now, say) is tried a few times only: somebody waits for the answer.
struct Patience {
    static let limit = Duration.seconds(3600)
    static let refusals = 3

    /// When the wait for a connection is given up.
    private(set) var deadline: ContinuousClock.Instant
    private var backoff = Backoff()
    private var refused = 0

    init(now: ContinuousClock.Instant) { deadline = now + Self.limit }

    /// - Returns: how long to wait before the next try; nil when there is to be none.
    mutating func pause(
        after error: FleetError, connectionLost: Bool, now: ContinuousClock.Instant
    ) -> Duration? {
        // There was a connection until now.
        deadline = now + Self.limit
        guard error.isRetryable, error.code != .cancelled else { return nil }
        if connectionLost {
            backoff.succeeded()
        } else {
            refused += 1
            guard refused < Self.refusals else { return nil }
        }
        return backoff.next()
    }
}
