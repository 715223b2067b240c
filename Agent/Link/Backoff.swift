import FleetProtocol

/// How long to wait before the next try: doubled each time up to a cap, and somewhere in the upper half of that by
/// chance, so that a fleet does not come back in one wave.
struct Backoff: Sendable {
    static let first = Duration.seconds(1)
    static let cap = Dialler.longestPause

    private var failures = 0

    mutating func succeeded() { failures = 0 }

    mutating func next(_ random: inout some RandomNumberGenerator) -> Duration {
        let full = min(Self.cap, Self.first * (1 << min(failures, 10)))
        failures += 1
        return full / 2 + full / 2 * Double.random(in: 0...1, using: &random)
    }

    mutating func next() -> Duration {
        var random = SystemRandomNumberGenerator()
        return next(&random)
    }
}
