import FleetProtocol
import FleetSystem
import Testing

@testable import FleetCoordinator

/// Backups that pass every check, and no etcd starts on them: what a drill proved last is worth more than all of them.
@Suite("What a drill proved stays")
struct ProvenSnapshotTests {
    private let clock = TestClock()
    private let catalogue: Catalogue

    init() async throws { catalogue = try await Fixture.fleet(clock) }

    private func add(_ number: Int) async throws {
        clock.advance(.seconds(3600))
        var record = Fixture.record("s\(number)")
        (record.facts.savedAt, record.storedAt) = (clock.now, clock.now)
        record.verification = SnapshotVerification(
            status: record.facts.status, liveKeys: 7, hashKV: 77, hashRevision: 42, compactRevision: 30, findings: [],
            totalFindings: 0)
        try await catalogue.add(record, by: "agent")
    }

    private func drill(_ id: String, proven: Bool) async throws {
        let record = try await catalogue.snapshot(id).record
        let sample = DrillSample(keys: 2, sha256: "ab")
        let agent = try #require(try await catalogue.agents(cluster: "b").first)
        let job = try await catalogue.createDrill(
            record, expecting: try DrillExpectation(record, sample: sample), on: agent, lifetime: .seconds(60),
            by: "root")
        clock.advance(.seconds(60))
        let report = DrillReport(
            etcd: "3.5.30", tool: "etcdutl 3.5.30", limits: "",
            figures: .init(
                revision: proven ? 42 : 41, liveKeys: 7, hashKV: 77, hashRevision: 42, compactRevision: 30,
                sample: sample))
        let outcome = JobOutcome(result: .succeeded, summary: "served", drill: report)
        _ = try await catalogue.receive(
            JobEvent(job: job.id, sequence: 1, time: clock.now, kind: .outcome, outcome: outcome),
            from: NodeName(cluster: "b", node: "n1"))
        #expect(try await catalogue.snapshot(id).drill?.verdict == (proven ? .proven : .failed))
    }

    private func kept(_ policy: RetentionPolicy) async throws -> [String] {
        Retention.decide(try await catalogue.restorePoints("a"), policy).filter(\.isKept).map(\.point.id)
    }

    @Test func laterOnesPushItOutOnlyWhenTheyAreProvenToo() async throws {
        try await add(1)
        try await drill("s1", proven: true)
        for number in 2...8 { try await add(number) }
        try await drill("s8", proven: false)
        #expect(try await kept(.init(last: 2)) == ["s8", "s7", "s1"])
        let why = Retention.decide(try await catalogue.restorePoints("a"), .init(last: 2)).last
        #expect(why?.reasons == ["the newest that a drill proved"])
        try await drill("s4", proven: true)
        #expect(try await kept(.init(last: 2)) == ["s8", "s7", "s4"])
        // The last word of a snapshot counts, and one that can't be read proves nothing any more.
        try await drill("s4", proven: false)
        #expect(try await kept(.init(last: 2)) == ["s8", "s7", "s1"])
        try await drill("s5", proven: true)
        try await catalogue.mark("s5", .missing, FleetError(.notFound, "gone"), by: "root")
        #expect(try await kept(.init(last: 2)) == ["s8", "s7", "s5", "s1"])
        // Who names it may delete it.
        #expect(try await catalogue.retire("s1", because: "by request", by: "root").record.id == "s1")
    }
}
