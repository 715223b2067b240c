import FleetProtocol
import FleetSystem
import Testing

@testable import FleetCoordinator

/// What backups may send a second.
@Suite("Bandwidth", .timeLimit(.minutes(5)))
struct BandwidthTests {
    private let start = ContinuousClock.now

    /// Several that share one pace, on a clock of their own: whatever their pieces, together they keep to the rate.
    @Test(arguments: [1, 3, 7])
    func allTogetherKeepToIt(_ senders: Int) {
        let (rate, piece) = (1_000_000, 65_536)
        let shares = BandwidthShares()
        let limit = BandwidthLimit(policy: "p", rate: rate)
        var next = [Duration](repeating: .zero, count: senders)
        var (sent, last) = (0, Duration.zero)
        for _ in 0..<2000 {
            let sender = next.indices.min { next[$0] < next[$1] }!
            last = next[sender]
            sent += piece
            next[sender] += shares.pause(behind: piece, limit, now: start + last)
        }
        let allowed = Double(rate) * (last.seconds + Pace.slack.seconds) + Double(senders * piece)
        #expect(Double(sent) <= allowed && Double(sent) > 0.98 * Double(rate) * last.seconds)
        // Another policy's pace is its own.
        #expect(shares.pause(behind: piece, BandwidthLimit(policy: "q", rate: rate), now: start) < .seconds(1))
    }

    @Test func whatWasNotSentIsNotMadeUpFor() {
        var pace = Pace()
        #expect(pace.pause(behind: 100, rate: 100, now: start) == .seconds(1))
        // After an hour of silence: a quarter of a second is forgiven, and no more.
        #expect(pace.pause(behind: 100, rate: 100, now: start + .seconds(3600)) == .milliseconds(750))
        #expect(pace.pause(behind: 100, rate: 100, now: start + .milliseconds(3_600_750)) == .seconds(1))
    }

    @Test func aBackupHasItsPolicysAndARestoreNone() async throws {
        let catalogue = try await Fixture.fleet()
        var policy = FleetPolicy(name: "p")
        policy.clusters = ["a"]
        policy.bandwidth = 99_999
        await #expect(throws: FleetError.self) { _ = try await catalogue.setPolicy(policy, by: "root") }
        policy.bandwidth = 200_000
        _ = try await catalogue.setPolicy(policy, by: "root")
        func job(_ cluster: String) async throws -> String {
            try await catalogue.createBackup(cluster: cluster, node: "n1", lifetime: .seconds(60), by: "root").id
        }
        let (limited, free) = (try await job("a"), try await job("b"))
        #expect(try await catalogue.bandwidth(ofBackup: limited) == BandwidthLimit(policy: "p", rate: 200_000))
        #expect(try await catalogue.bandwidth(ofBackup: free) == nil)
        #expect(try await catalogue.bandwidth(ofBackup: "none") == nil)
        try await catalogue.script("UPDATE jobs SET kind = 'restore' WHERE id = '\(limited)'")
        #expect(try await catalogue.bandwidth(ofBackup: limited) == nil)
    }
}
