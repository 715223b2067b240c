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
}
