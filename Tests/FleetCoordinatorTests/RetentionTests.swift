import FleetProtocol
import FleetSystem
import Testing

@testable import FleetCoordinator

@Suite("Retention")
struct RetentionTests {
    private func point(_ time: String, verified: Bool = true, pinned: Bool = false) -> RestorePoint {
        RestorePoint(id: time, time: Timestamp(time)!, isVerified: verified, holds: pinned ? [.pinned] : [])
    }

    private func kept(_ points: [RestorePoint], _ policy: RetentionPolicy) -> [String] {
        Retention.decide(points, policy).filter(\.isKept).map(\.point.id)
    }

    struct Row: Sendable, CustomTestStringConvertible {
        var policy: RetentionPolicy
        var kept: [String]
        var testDescription: String { "\(policy)" }
    }

    private let history = [
        "2025-12-31T23:00", "2026-01-01T00:30", "2026-11-21T10:00", "2026-11-22T10:00", "2026-11-23T10:00",
        "2026-11-23T10:30", "2026-11-23T11:10",
    ]

    @Test(arguments: [
        Row(policy: .init(), kept: ["2026-11-23T11:10"]),
        Row(policy: .init(last: 3), kept: ["2026-11-23T11:10", "2026-11-23T10:30", "2026-11-23T10:00"]),
        Row(policy: .init(hourly: 2), kept: ["2026-11-23T11:10", "2026-11-23T10:30"]),
        Row(policy: .init(daily: 3), kept: ["2026-11-23T11:10", "2026-11-22T10:00", "2026-11-21T10:00"]),
        // Weeks begin on Monday: the 23rd is one, the 22nd belongs to the week before. The turn of the year is inside
        // of one week.
        Row(policy: .init(weekly: 9), kept: ["2026-11-23T11:10", "2026-11-22T10:00", "2026-01-01T00:30"]),
        Row(policy: .init(monthly: 2), kept: ["2026-11-23T11:10", "2026-01-01T00:30"]),
        Row(policy: .init(yearly: 5), kept: ["2026-11-23T11:10", "2025-12-31T23:00"]),
        Row(
            policy: .init(last: 1, hourly: 1, daily: 2, yearly: 2),
            kept: ["2026-11-23T11:10", "2026-11-22T10:00", "2025-12-31T23:00"]),
        Row(policy: .init(last: -4, daily: -1), kept: ["2026-11-23T11:10"]),
    ])
    func rules(_ row: Row) {
        #expect(kept(history.shuffled().map { point($0) }, row.policy) == row.kept)
    }

    @Test func theLastVerifiedOneStaysAndDamagedOnesPushOutNothing() {
        let points = [
            point("2026-11-20T10:00"), point("2026-11-21T10:00"), point("2026-11-22T10:00", verified: false),
            point("2026-11-23T10:00", verified: false),
        ]
        #expect(
            kept(points, .init(last: 1)) == ["2026-11-23T10:00", "2026-11-22T10:00", "2026-11-21T10:00"])
        #expect(kept([point("2026-11-23T10:00", verified: false)], .init()).count == 1)
        let later = points + [point("2026-11-24T10:00")]
        #expect(kept(later, .init(last: 2)) == ["2026-11-24T10:00", "2026-11-21T10:00"])
    }

    /// It is pinned and newer than all, and no `latest` ever chooses it: it must push out no backup.
    @Test func whatARestoreSavedStandsForNoBackup() {
        var safety = point("2026-11-23T12:00", pinned: true)
        safety.isBackup = false
        let backups = [point("2026-11-21T10:00"), point("2026-11-22T10:00")]
        #expect(kept(backups + [safety], .init(last: 1)) == ["2026-11-23T12:00", "2026-11-22T10:00"])
        #expect(Retention.newest(backups + [safety])?.id == "2026-11-22T10:00")
        // Where nothing else is sound, it is better than nothing.
        safety.holds = []
        #expect(kept([safety, point("2026-11-24T10:00", verified: false)], .init(last: 1)).count == 2)
    }

    @Test func heldOnesStay() {
        let points = [
            point("2026-11-20T10:00", pinned: true), point("2026-11-21T10:00"), point("2026-11-22T10:00"),
            point("2026-11-23T10:00"),
        ]
        #expect(kept(points, .init(last: 2)) == ["2026-11-23T10:00", "2026-11-22T10:00", "2026-11-20T10:00"])
    }

    @Test func everyDecisionIsExplained() {
        let decisions = Retention.decide(history.map { point($0) }, .init(last: 1, daily: 2, yearly: 2))
        #expect(decisions.count == history.count)
        #expect(decisions.allSatisfy { !$0.reasons.isEmpty })
        #expect(
            decisions[0].reasons == ["newest verified", "last 1 of 1", "day 2026-11-23", "year 2026"])
        #expect(decisions[1].reasons == ["no rule keeps it"] && !decisions[1].isKept)
    }

    /// A policy that allows more never removes what a stricter one keeps.
    @Test func moreKeepsMore() {
        var random = SeededGenerator(state: 3)
        let points = (0..<300).map { i in
            RestorePoint(
                id: "p\(i)", time: Timestamp(milliseconds: Int64.random(in: 0..<100_000_000_000, using: &random)),
                isVerified: Int.random(in: 0..<5, using: &random) > 0)
        }
        for _ in 0..<50 {
            var policy = RetentionPolicy(
                last: .random(in: 0...5, using: &random), hourly: .random(in: 0...5, using: &random),
                daily: .random(in: 0...5, using: &random), weekly: .random(in: 0...5, using: &random),
                monthly: .random(in: 0...5, using: &random), yearly: .random(in: 0...5, using: &random))
            let few = Set(kept(points, policy))
            policy.daily += 2
            policy.last += 1
            #expect(Set(kept(points, policy)).isSuperset(of: few))
        }
    }
}
