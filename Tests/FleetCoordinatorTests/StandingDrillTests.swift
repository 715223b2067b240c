import FleetConcerns
import FleetProtocol
import FleetSQLite
import FleetSystem
import Testing

@testable import FleetCoordinator

/// What the drills of a cluster's snapshots say of its backups.
@Suite("Drills that stand") struct StandingDrillTests {
    private let clock = TestClock()
    private let catalogue: Catalogue

    init() async throws {
        catalogue = try await Fixture.fleet(clock)
        // Of etcd a, by when they were saved.
        for (id, hour) in [("s1", 1), ("s2", 2), ("s3", 3)] { try await add(id, hour) { _ in } }
    }

    private func add(_ id: String, _ hour: Int, _ change: (inout SnapshotRecord) -> Void) async throws {
        var record = Fixture.record(id, saved: "2026-11-24T0\(hour):00:00Z")
        record.verification = SnapshotVerification(
            status: .init(hash: 1, revision: 42, totalKey: 9, totalSize: 512), liveKeys: 7, hashKV: 77,
            hashRevision: 42, compactRevision: 30, findings: [], totalFindings: 0)
        change(&record)
        try await catalogue.add(record, by: "agent")
    }

    private static let figures = DrillReport.Figures(
        revision: 42, liveKeys: 7, hashKV: 77, hashRevision: 42, compactRevision: 30,
        sample: DrillSample(keys: 2, sha256: "ab"))

    static func outcome(isProven: Bool) -> JobOutcome {
        var figures = figures
        if !isProven { figures.hashKV = 78 }
        return JobOutcome(
            result: .succeeded, summary: "served",
            drill: DrillReport(etcd: "3.5.1", tool: "etcdutl 3.5.1", limits: "none", seconds: 2.5, figures: figures))
    }

    /// - Returns: its job.
    @discardableResult
    private func drill(_ id: String, _ outcome: JobOutcome) async throws -> String {
        clock.advance(.seconds(60))
        let record = try await catalogue.snapshot(id).record
        let agent = try #require(try await catalogue.agents().first { $0.cluster == "b" })
        let job = try await catalogue.createDrill(
            record, expecting: try DrillExpectation(record, sample: DrillSample(keys: 2, sha256: "ab")), on: agent,
            lifetime: .seconds(600), by: "root")
        clock.advance(.seconds(60))
        _ = try await catalogue.receive(
            JobEvent(
                job: job.id, sequence: 1, time: clock.now, kind: .outcome, error: outcome.error, outcome: outcome),
            from: NodeName(cluster: "b", node: "n1"))
        return job.id
    }

    private func drill(_ id: String, isProven: Bool) async throws {
        try await drill(id, Self.outcome(isProven: isProven))
    }

    private func concern() async throws -> Concern? {
        let status = FleetStatus(
            version: "1", time: clock.now, clusters: try await catalogue.clusters(),
            agents: try await catalogue.agents(), openJobs: [], storeFree: 5, storeUsed: 7,
            audit: try await catalogue.verifyAudit())
        return Concern.all(status).first { $0.kind == .drillFailed && $0.cluster == "a" }
    }

    @Test func anOlderOneThatRestoresEndsNoAlarm() async throws {
        try await drill("s2", isProven: false)
        #expect(try await concern()?.text.contains("s2") == true)
        try await drill("s1", isProven: true)
        #expect(try await concern()?.text.contains("s2") == true, "that s1 restores says nothing of s2")
        #expect(try await catalogue.cluster("a").lastDrill?.snapshot == "s2")
        #expect(try await catalogue.cluster("a").lastProven != nil, "s1 is a backup, and it restores")
        #expect(try await catalogue.auditLog().last { $0.event.action == "job.end" }?.event.detail["stands"] != nil)
        try await drill("s3", isProven: true)
        #expect(try await concern() == nil)
        #expect(try await catalogue.cluster("a").lastDrill?.snapshot == "s3")
        #expect(try await catalogue.auditLog().last { $0.event.action == "job.end" }?.event.detail["stands"] == nil)
    }

    @Test func theSameOneMayBeProvenTheNextTime() async throws {
        try await drill("s2", isProven: false)
        try await drill("s2", isProven: true)
        #expect(try await concern() == nil)
        // Whatever was proven before: by a program that is another since, it does not restore.
        try await drill("s1", isProven: false)
        #expect(try await concern()?.text.contains("s1") == true)
    }

    /// Two that failed: the older one is made good by itself, the newer one is not.
    @Test func eachStandsForItself() async throws {
        try await drill("s2", isProven: false)
        try await drill("s1", isProven: false)
        try await drill("s1", isProven: true)
        #expect(try await concern()?.text.contains("s2") == true)
    }

    @Test func whatIsNoBackupOfTheClusterSaysNothingOfThem() async throws {
        try await add("other", 4) { $0.expectedClusterID = "feed" }
        try await add("safety", 5) { $0.beforeRestore = "r1" }
        #expect(try await catalogue.snapshot("other").condition == .foreign)
        for id in ["other", "safety"] {
            try await drill(id, isProven: true)
            let cluster = try await catalogue.cluster("a")
            #expect(cluster.lastProven == nil && cluster.lastDrill == nil, "\(id)")
            #expect(try await catalogue.snapshot(id).drill?.verdict == .proven, "told of it alone")
            let event = try #require(try await catalogue.auditLog().last { $0.event.action == "snapshot.drill" }?.event)
            #expect(event.detail["notBackup"] == "true" && event.subject == id)
            try await drill(id, isProven: false)
            #expect(try await concern() == nil, "\(id)")
        }
        try await drill("s2", isProven: false)
        try await drill("other", isProven: true)
        #expect(try await concern()?.text.contains("s2") == true)
        #expect(try await catalogue.cluster("a").lastProven == nil)
    }

    /// Nothing is learned of the snapshot, and of whether backups restore as little.
    @Test func oneThatCouldNotBeMadeIsToldOf() async throws {
        try await drill("s1", isProven: true)
        let full = JobOutcome(result: .refused, error: FleetError(.noSpace, "the spool is full"), summary: "not begun")
        let job = try await drill("s2", full)
        let cluster = try await catalogue.cluster("a")
        #expect(cluster.lastDrill?.snapshot == "s1" && cluster.lastDrill?.verdict == .proven)
        #expect(cluster.lastDrillJob == JobEnd(job: job, kind: "drill", state: .refused, error: "the spool is full"))
        #expect(try await concern()?.text.contains("the spool is full") == true)
        #expect(try await concern()?.action?.contains(job) == true)
        try await drill("s2", isProven: true)
        #expect(try await concern() == nil)
        try await drill("s3", JobOutcome(result: .failed, error: FleetError("interrupted", "cut"), summary: "cut"))
        #expect(try await concern()?.text.contains("cut") == true)
        // That of another etcd's snapshot is nothing that the cluster waits for.
        try await drill("s3", isProven: true)
        try await add("other", 4) { $0.expectedClusterID = "feed" }
        try await drill("other", full)
        #expect(try await concern() == nil)
    }

    /// By a clock that was wrong it is of next year, and so long nobody is to hear of it.
    @Test func oneOfATimeThatIsNotYetIsNotWaitedFor() async throws {
        try await add("ahead", 6) { $0.facts.savedAt = Timestamp("2027-11-24T00:00:00Z")! }
        try await drill("ahead", isProven: false)
        #expect(try await concern() != nil)
        try await drill("s3", isProven: true)
        #expect(try await concern() == nil)
    }

    /// The clock was a year ahead when it could not be made, and when another was proven.
    @Test func whatAWrongClockHasDatedIsNotTheNewest() async throws {
        let year = Duration.seconds(366 * 86_400)
        clock.advance(year)
        try await drill("s2", isProven: true)
        try await drill("s2", JobOutcome(result: .refused, error: FleetError(.noSpace, "full"), summary: "not begun"))
        clock.advance(year * -1)
        #expect(try await concern() != nil, "it is all that there is")
        try await drill("s3", isProven: true)
        #expect(try await concern() == nil)
        #expect(try #require(try await catalogue.cluster("a").lastProven) <= clock.now)
    }

    /// An earlier release wrote down neither.
    @Test func drillsOfAnEarlierReleaseAreTakenOver() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/c.db"
        let former = try SQLiteConnection(.file(path))
        try former.migrate(Array(Schema.migrations.prefix { $0.name != "standing-drills" }))
        try former.script(
            """
            INSERT INTO clusters (name, created) VALUES ('a', 0);
            INSERT INTO nodes (cluster, name) VALUES ('a', 'n1');
            INSERT INTO agents (cluster, node, enrolled) VALUES ('a', 'n1', 0);
            """)
        let snapshots: [(id: String, saved: Int, condition: String)] = [
            ("s1", 10, "verified"), ("s2", 20, "verified"), ("odd", 30, "foreign"),
        ]
        for one in snapshots {
            try former.run(
                """
                INSERT INTO snapshots (id, cluster, node, job, saved, stored, size, sha256, record, condition)
                VALUES (?1, 'a', 'n1', '', ?2, ?2, 1, '', ?3, ?4)
                """, one.id, one.saved, try JSON.text(Fixture.record(one.id)), one.condition)
        }
        let report = try JSON.text(DrillReport(etcd: "3.5.1", tool: "t", limits: "", figures: Self.figures))
        let drills: [(job: String, snapshot: String, finished: Int, verdict: String)] = [
            ("d1", "gone", 40, "failed"), ("d2", "s1", 50, "proven"), ("d3", "s2", 60, "failed"),
            ("d4", "s1", 70, "proven"), ("d5", "odd", 80, "proven"),
        ]
        for one in drills {
            try former.run(
                """
                INSERT INTO jobs (id, cluster, node, kind, snapshot, dry_run, operation, state, requested_by, created,
                    finished) VALUES (?1, 'a', 'n1', 'drill', ?2, 0, '{}', 'succeeded', 'root', 5, ?3)
                """, one.job, one.snapshot, one.finished)
            try former.run(
                """
                INSERT INTO drills (job, snapshot, cluster, expected, finished, verdict, report)
                VALUES (?, ?, 'a', '{}', ?, ?, ?)
                """, one.job, one.snapshot, one.finished, one.verdict, report)
        }
        former.close()
        let catalogue = try Fixture.catalogue(path: path)
        // The one that is gone was saved before job d1, and so before s1: that one was proven since. s2 was not, nor newer ones.
        let cluster = try await catalogue.cluster("a")
        #expect(cluster.lastDrill?.job == "d3")
        #expect(cluster.lastProven == Timestamp(milliseconds: 70))
        #expect(cluster.lastDrillJob?.job == "d4", "the newest by when it was made, and of those the last")
    }
}
