import FleetProtocol
import FleetSystem
import Testing

@testable import FleetControl

@Suite("How long etcd was down") struct DownTimeTests {
    private static let start = Timestamp("2026-11-24T06:00:00Z")!

    private func event(
        _ kind: JobEvent.Kind, after seconds: Int, step: String? = nil, phase: RestorePhase? = nil
    ) -> JobEvent {
        JobEvent(
            job: "j", sequence: 1, time: Self.start.adding(.seconds(seconds)), kind: kind, step: step, phase: phase)
    }

    private func job(_ events: [JobEvent], members: [JobRecord]? = nil) -> JobRecord {
        JobRecord(
            id: "j", cluster: "c", node: "n", kind: "restore", snapshot: "s", dryRun: false, state: .succeeded,
            requestedBy: "root", created: Self.start, started: nil, finished: nil, lastHeard: nil, outcome: nil,
            error: nil, attempts: [], events: events, members: members)
    }

    @Test func ofOneFromItsStopToItsVerification() {
        let events = [
            event(.stepDone, after: 1, step: "restore-data"), event(.stepStarted, after: 2, step: "stop-etcd"),
            event(.stepDone, after: 9, step: "start-etcd"), event(.stepDone, after: 14, step: "verify"),
        ]
        #expect(DownTime.of(job(events)) == .seconds(12))
        // It was taken back, or its node's clock was set meanwhile.
        #expect(DownTime.of(job(events.dropLast())) == nil)
        #expect(DownTime.of(job([events[1], event(.stepDone, after: 1, step: "verify")])) == nil)
    }

    /// A static pod alone is stopped by its new manifest.
    @Test func ofAStaticPodFromItsSwitch() {
        let events = [
            event(.stepStarted, after: 2, step: "switch-files"), event(.stepDone, after: 9, step: "start-etcd"),
            event(.stepDone, after: 14, step: "verify"),
        ]
        #expect(DownTime.of(job(events)) == .seconds(12))
    }

    /// The members' own clocks may differ.
    @Test func ofSeveralByTheDecisions() {
        let member = job([
            event(.stepStarted, after: 500, step: "stop-etcd"), event(.stepDone, after: 501, step: "verify"),
        ])
        let decisions = [
            event(.decided, after: 3, phase: .stop), event(.decided, after: 8, phase: .start),
            event(.decided, after: 20, phase: .commit),
        ]
        #expect(DownTime.of(job(decisions, members: [member])) == .seconds(17))
        #expect(DownTime.of(job([decisions[0]], members: [member])) == nil)
    }
}
