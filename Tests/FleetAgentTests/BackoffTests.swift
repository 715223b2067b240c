import FleetProtocol
import FleetSystem
import Testing

@testable import FleetAgent

@Suite struct BackoffTests {
    @Test func doublesUpToTheCapAndStartsAnew() {
        var backoff = Backoff()
        for step in 0..<20 {
            let full = min(Backoff.cap, Backoff.first * (1 << min(step, 10)))
            let wait = backoff.next()
            #expect(wait >= full / 2 && wait <= full)
        }
        backoff.succeeded()
        #expect(backoff.next() <= Backoff.first)
    }

    @Test func isSpreadByChance() {
        let waits = (0..<50).map { _ in
            var backoff = Backoff()
            return backoff.next()
        }
        #expect(Set(waits).count > 10)
    }

    /// A transfer that has a connection now and then goes on for days; one that is refused is soon over.
    @Test func patienceIsCountedFromTheLastConnection() {
        let start = ContinuousClock.now
        let lost = FleetError(.connectionLost, "lost", retryable: true)
        var patience = Patience(now: start)
        for hour in stride(from: 0.9, to: 48, by: 0.9) {
            let now = start + .seconds(3600 * hour)
            #expect(now < patience.deadline)
            let pause = patience.pause(after: lost, connectionLost: true, now: now)
            #expect(pause != nil && pause! <= Backoff.first)
        }
        let full = FleetError(.noSpace, "full", retryable: true)
        let now = start + .seconds(48 * 3600)
        #expect(patience.pause(after: full, connectionLost: false, now: now) != nil)
        let second = patience.pause(after: full, connectionLost: false, now: now)
        #expect(second != nil && second! >= Backoff.first)
        #expect(patience.pause(after: full, connectionLost: false, now: now) == nil)
        #expect(patience.deadline == now + Patience.limit)
        var other = Patience(now: start)
        #expect(other.pause(after: FleetError(.malformed, "x"), connectionLost: true, now: start) == nil)
    }
}
