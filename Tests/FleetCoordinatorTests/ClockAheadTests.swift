import EtcdSampleFiles
import FleetConcerns
import FleetProtocol
import FleetSQLite
import FleetSystem
import RepositoryTestFiles
import Testing

@testable import FleetCoordinator

/// The coordinator's clock was a year ahead when it started, and was put right later.
@Suite("A clock that was ahead")
struct ClockAheadTests {
    private static let year = Duration.seconds(366 * 86_400)
    private let node = NodeName(cluster: "a", node: "n1")
    private let clock = TestClock()
    private let catalogue: Catalogue
    private let vault: Vault

    init() async throws {
        catalogue = try await Fixture.fleet(clock)
        vault = Vault(store: try RepositoryStore.test("/s", files: PowerCutFiles()), catalogue: catalogue, reserve: 0)
    }

    /// - Parameter saved: by the node's clock, which is right.
    private func backUp(
        _ etcd: SampleEtcd = .rich(), saved: Timestamp? = nil, etcdID: String = "cafe"
    ) async throws -> SnapshotEntry {
        clock.advance(.seconds(3600))
        let job = try await catalogue.createBackup(cluster: "a", node: "n1", lifetime: .seconds(600), by: "root")
        let sample = try SampleSnapshot(etcd: job.snapshot, etcd, job: job.id)
        var facts = sample.record.facts
        facts.clusterID = etcdID
        facts.savedAt = saved ?? clock.now
        let session = try await vault.begin(
            UploadRequest(job: job.id, snapshot: job.snapshot, facts: facts), from: node)
        try await session.append(sample.bytes)
        _ = try await session.finish(sample.digest)
        try await end(job, .succeeded)
        return try await catalogue.snapshot(job.snapshot)
    }

    private func end(_ job: JobRecord, _ result: JobOutcome.Result) async throws {
        clock.advance(.seconds(1))
        let outcome = JobOutcome(result: result, summary: "done")
        _ = try await catalogue.receive(
            JobEvent(job: job.id, sequence: 1, time: clock.now, kind: .outcome, outcome: outcome), from: node)
    }

    private func concerns() async throws -> [Concern] {
        let status = FleetStatus(
            version: "1", time: clock.now, clusters: try await catalogue.clusters(), agents: [], openJobs: [],
            storeFree: 1 << 40, storeUsed: 0, audit: try await catalogue.verifyAudit())
        return Concern.all(status).filter { $0.cluster == "a" }
    }

    @Test func whatItDatedIsPassedOver() async throws {
        let right = clock.now
        clock.advance(Self.year)
        // The node's own time is right, and is not believed.
        let ahead = try await backUp(saved: right)
        #expect(ahead.condition == .verified && ahead.record.facts.savedAt > right.adding(.seconds(300 * 86_400)))
        clock.advance(Self.year * -1)
        // It is all there is, and nobody can tell how old it is. No policy has to demand anything.
        #expect(try await catalogue.findSnapshot("latest", cluster: "a").record.id == ahead.record.id)
        #expect(try await concerns().map(\.kind).contains(.clockWrong))
        #expect(await code { _ = try await catalogue.retire(ahead.record.id, because: "", by: "root") } == .conflict)
        let second = try await backUp()
        let third = try await backUp()
        for text in ["latest", "2027-11-26", "2100-01-01"] {
            #expect(try await catalogue.findSnapshot(text, cluster: "a").record.id == third.record.id)
        }
        let between = second.record.facts.savedAt.description
        #expect(try await catalogue.findSnapshot(between, cluster: "a").record.id == second.record.id)
        #expect(try await catalogue.cluster("a").latestSnapshot == third.record.id)
        #expect(try await catalogue.metricFacts().backups.map(\.seconds) == [1])
        // The rules are for the others, and nothing of it goes by itself.
        let kept = Retention.decide(try await catalogue.restorePoints("a"), .init(last: 1)).filter(\.isKept)
        #expect(kept.map(\.point.id) == [ahead.record.id, third.record.id])
        #expect(kept.first?.reasons == ["dated ahead of the present: only a person deletes it"])
        #expect(try await concerns().first { $0.kind == .clockWrong }?.text.contains(ahead.record.id) == true)
        #expect(await code { try await vault.delete(third.record.id, because: "", by: "root") } == .conflict)
        try await vault.delete(ahead.record.id, because: "by request", by: "root")
        #expect(try await catalogue.findSnapshot("latest", cluster: "a").record.id == third.record.id)
        #expect(try await !concerns().map(\.kind).contains(.clockWrong))
    }

    /// An age below zero is no young backup.
    @Test func theObjectiveGoesByWhatIsNotAhead() async throws {
        var policy = FleetPolicy(name: "all")
        (policy.schedule, policy.objective) = ("@every 6h", 7 * 3600)
        _ = try await catalogue.applyPolicies(PolicySet(policies: [policy], dryRun: false), by: "root")
        _ = try await backUp()
        clock.advance(Self.year)
        _ = try await backUp()
        clock.advance(Self.year * -1)
        #expect(try await !concerns().map(\.kind).contains(.objectiveBroken))
        clock.advance(.seconds(8 * 3600))
        #expect(try await concerns().map(\.kind).contains(.objectiveBroken))
        // Nor is a backup of next year the last one.
        #expect(try await !concerns().map(\.kind).contains(.backupFailed))
        let job = try await catalogue.createBackup(cluster: "a", node: "n1", lifetime: .seconds(600), by: "root")
        try await end(job, .failed)
        #expect(try await concerns().map(\.kind).contains(.backupFailed))
    }

    /// It came when the clock was right again, of a job that was made before.
    @Test func whatComesLateHasItsOwnTime() async throws {
        clock.advance(Self.year)
        let job = try await catalogue.createBackup(cluster: "a", node: "n1", lifetime: .seconds(600), by: "root")
        clock.advance(Self.year * -1)
        var facts = Fixture.facts()
        facts.savedAt = clock.now.adding(.seconds(-60))
        FactsCheck.boundTime(&facts, jobCreated: job.created, now: clock.now)
        #expect(facts.savedAt == clock.now.adding(.seconds(-60)) && facts.warnings.isEmpty)
        facts.savedAt = clock.now.adding(.seconds(-600))
        FactsCheck.boundTime(&facts, jobCreated: job.created, now: clock.now)
        #expect(facts.savedAt == clock.now.adding(.seconds(-300)))
        #expect(facts.warnings.first?.contains("at least 600 s behind") == true)
    }

    /// It was restored by hand, and says so: what a wrong clock dated is no reason to refuse that.
    @Test func whoKnowsIsBelieved() async throws {
        _ = try await backUp()
        clock.advance(Self.year)
        _ = try await backUp()
        clock.advance(Self.year * -1)
        var small = SampleEtcd()
        small.put("/registry/only", [1])
        #expect(try await backUp(small).problem?.code == .wentBack)
        try await catalogue.acceptIdentity("cafe", cluster: "a", by: "root")
        #expect(try await backUp(small).condition == .verified)
        // The word is of now, and what goes back after it is told.
        var grown = small
        grown.put("/registry/more", [1])
        #expect(try await backUp(grown).condition == .verified)
        #expect(try await backUp(small).problem?.code == .wentBack)
        #expect(try await catalogue.cluster("a").newerForeign != nil)
    }

    /// Its identity is known from a time that is not yet.
    @Test func anotherEtcdIsToldOf() async throws {
        clock.advance(Self.year)
        _ = try await backUp()
        clock.advance(Self.year * -1)
        clock.advance(.seconds(86_400))
        let foreign = try await backUp(etcdID: "f00d")
        #expect(try await catalogue.cluster("a").newerForeign == foreign.record.id)
    }
}
