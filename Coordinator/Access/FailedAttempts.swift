import FleetSystem

/// Who guesses at tokens: after some failures, an address is not listened to for a while. A token can't be guessed; what this
/// spares is the catalogue, and whoever reads the log. Pure.
struct FailedAttempts: Sendable {
    static let limit = 10
    static let window = Duration.seconds(300)
    /// As many addresses are remembered; beyond that, who failed longest ago is forgotten.
    static let memory = 4096

    private struct Failures {
        var count: Int
        var last: Timestamp
    }
    private var failures: [String: Failures] = [:]

    /// Seconds until the address is listened to again; nil: it is now.
    func wait(_ address: String, at now: Timestamp) -> Int? {
        guard let known = failures[address], known.count >= Self.limit else { return nil }
        let left = Self.window - now.since(known.last)
        // A clock that was set back keeps nobody out for longer.
        guard left > .zero, left <= Self.window else { return nil }
        return max(1, Int(left.seconds.rounded(.up)))
    }

    mutating func failed(_ address: String, at now: Timestamp) {
        let known = failures[address]
        let isRecent = known.map { now.since($0.last) < Self.window } ?? false
        failures[address] = Failures(count: isRecent ? known!.count + 1 : 1, last: now)
        if failures.count > Self.memory, let oldest = failures.min(by: { $0.value.last < $1.value.last }) {
            failures[oldest.key] = nil
        }
    }

    /// It knew a token: what it did not know before is forgiven.
    mutating func succeeded(_ address: String) { failures[address] = nil }
}
