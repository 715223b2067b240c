import FleetSystem

/// Who guesses at tokens: behind some failures of an address, each further one ends its connection, so that it pays for a TLS
/// handshake with every guess. A token that is good is let in all the same: behind one address may be many nodes. Pure.
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

    func isTooMany(_ address: String, at now: Timestamp) -> Bool {
        failures[address].map { $0.count > Self.limit && isRecent($0, now) } ?? false
    }

    mutating func failed(_ address: String, at now: Timestamp) {
        var known = failures[address] ?? Failures(count: 0, last: now)
        known.count = isRecent(known, now) ? known.count + 1 : 1
        known.last = now
        failures[address] = known
        if failures.count > Self.memory, let oldest = failures.min(by: { $0.value.last < $1.value.last }) {
            failures[oldest.key] = nil
        }
    }

    /// A clock that was set back counts as well.
    private func isRecent(_ known: Failures, _ now: Timestamp) -> Bool {
        let age = now.since(known.last)
        return age < Self.window && age > .zero - Self.window
    }
}
