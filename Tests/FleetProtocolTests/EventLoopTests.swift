import FleetReactor
import FleetSystem
import Testing

@Suite struct EventLoopTests {
    /// While tasks compute on every thread of Swift's pool, sockets and timers are still served.
    @Test func aBusyPoolDoesNotHoldUpTheLoop() async throws {
        let fired = Monitor<ContinuousClock.Instant?>(nil)
        let end = ContinuousClock.now + .seconds(1)
        await Reactor.run {
            _ = ReactorTimer(after: .milliseconds(100)) { fired.withLock { $0 = .now } }
        }
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<16 { group.addTask { while ContinuousClock.now < end {} } }
        }
        let moment = try #require(fired.withLock { $0 })
        #expect(moment < end)
    }
}

extension Reactor {
    @Reactor fileprivate static func run(_ body: @Reactor () -> Void) { body() }
}
