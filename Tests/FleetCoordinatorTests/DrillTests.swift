import EtcdSampleFiles
import EtcdSnapshot
import FleetCrypto
import FleetProtocol
import FleetRepository
import FleetSQLite
import FleetSystem
import Testing

@testable import FleetCoordinator

/// Whether a drill proves its snapshot.
@Suite("Drill verdicts") struct DrillCheckTests {
    private func expectation(_ change: (inout SnapshotVerification) -> Void = { _ in }) throws -> DrillExpectation {
        var read = SnapshotVerification(
            status: .init(hash: 1, revision: 42, totalKey: 9, totalSize: 512), liveKeys: 7, hashKV: 77,
            hashRevision: 42,
            compactRevision: 30, findings: [], totalFindings: 0)
        change(&read)
        var record = Fixture.record("s1")
        record.verification = read
        return try DrillExpectation(record, sample: DrillSample(keys: 2, sha256: "ab"))
    }

    private func report(
        _ version: String = "3.5.30", _ change: (inout DrillReport.Figures) -> Void = { _ in }
    ) -> DrillReport {
        var figures = DrillReport.Figures(
            revision: 42, liveKeys: 7, hashKV: 77, hashRevision: 42, compactRevision: 30,
            sample: DrillSample(keys: 2, sha256: "ab"))
        change(&figures)
        return DrillReport(etcd: version, tool: "etcdutl \(version)", limits: "", figures: figures)
    }

    @Test func allHasToAgree() throws {
        let expected = try expectation()
        #expect(DrillCheck.problem(report(), expected) == nil)
        let changes: [(String, (inout DrillReport.Figures) -> Void)] = [
            ("revision 41 instead of 42", { $0.revision = 41 }), ("revision 43 instead", { $0.revision = 43 }),
            ("live keys 6 instead of 7", { $0.liveKeys = 6 }), ("HashKV 78 instead of 77", { $0.hashKV = 78 }),
            ("revision of the HashKV", { $0.hashRevision = 40 }),
            ("compacted revision none instead of 30", { $0.compactRevision = nil }),
            ("keys read back 1 instead of 2", { $0.sample.keys = 1 }),
            ("or their values, are others", { $0.sample.sha256 = "cd" }),
        ]
        for (words, change) in changes {
            let problem = try #require(DrillCheck.problem(report("3.5.30", change), expected), "\(words)")
            #expect(problem.code == .drillDiffers && problem.message.contains(words), "\(problem.message)")
        }
        var empty = report()
        empty.figures = nil
        #expect(DrillCheck.problem(empty, expected)?.code == .malformed)
    }

    /// Leases run from the start of the restored etcd: what ends meanwhile is a later revision, never an earlier one.
    @Test func leasesMayHaveEnded() throws {
        let expected = try expectation { $0.leases = 1 }
        #expect(DrillCheck.problem(report { $0.revision = 44 }, expected) == nil)
        #expect(DrillCheck.problem(report { $0.revision = 41 }, expected) != nil)
    }

    @Test func aBumpedRevisionsMarkIsNoKeyOfClients() throws {
        let expected = try expectation { $0.isBumped = true }
        #expect(DrillCheck.problem(report { $0.liveKeys = 6 }, expected) == nil)
        #expect(DrillCheck.problem(report(), expected) != nil)
    }

    /// An older etcd hashes what was deleted at the compacted revision, and is not the snapshot's fault.
    @Test func anOldEtcdsHashIsExplained() throws {
        let expected = try expectation()
        let old = DrillCheck.problem(report("3.5.1") { $0.hashKV = 1 }, expected)
        #expect(old?.hint?.contains("3.5.16") == true)
        let new = DrillCheck.problem(report { $0.hashKV = 1 }, expected)
        #expect(new?.hint?.contains("3.5.16") == false)
        let both = DrillCheck.problem(report("3.5.1") { ($0.hashKV, $0.liveKeys) = (1, 1) }, expected)
        #expect(both?.hint?.contains("3.5.16") == false)
    }

    @Test func whatCantBeComparedIsRefused() {
        #expect(throws: FleetError.self) { try expectation { $0.authEnabled = true } }
        #expect(throws: FleetError.self) { try expectation { $0.hashKV = nil } }
        #expect(throws: FleetError.self) { try DrillExpectation(Fixture.record("s1"), sample: DrillSample([])) }
    }
}

@Suite("Choice of who drills") struct DrillChoiceTests {
    private func agent(
        _ cluster: String, _ node: String, _ versions: [String]? = ["3.5.1"], hasEtcd: Bool = false,
        connected: Bool = true, seen: Int64 = 1
    ) -> AgentRecord {
        AgentRecord(
            cluster: cluster, node: node, enrolled: Timestamp(milliseconds: 0),
            lastSeen: Timestamp(milliseconds: seen), connected: connected, version: "1",
            instance: hasEtcd ? Fixture.instance() : nil, discoveryError: hasEtcd ? nil : FleetError("no-etcd", "none"),
            certificate: nil, drillVersions: versions)
    }
    private func choose(_ agents: [AgentRecord], on node: String? = nil, busy: Set<String> = []) throws(FleetError)
        -> String
    {
        let chosen = try DrillChoice.choose(agents, for: Fixture.record("s1"), on: node, busy: busy)
        return "\(chosen.cluster)/\(chosen.node)"
    }

    @Test func aVerifierFirstThenTheSnapshotsOwn() throws {
        let own = agent("a", "cp", hasEtcd: true, seen: 9)
        let other = agent("b", "cp", hasEtcd: true)
        #expect(try choose([own, other, agent("v", "v1")]) == "v/v1")
        #expect(try choose([own, other]) == "a/cp")
        #expect(try choose([own, agent("v", "v1", ["3.4.23"])]) == "a/cp")
        #expect(try choose([own, agent("v", "v1", connected: false)]) == "a/cp")
        #expect(try choose([agent("v", "v1", seen: 5), agent("w", "v2")], busy: ["v"]) == "w/v2")
        // Busy, and still the better one: the operator's command waits.
        #expect(try choose([own, agent("v", "v1")], busy: ["v"]) == "v/v1")
    }

    /// Another cluster's control plane is no place for these Secrets, unless somebody says so.
    @Test func nobodyElsesControlPlane() throws {
        let other = agent("b", "cp", hasEtcd: true)
        let error = #expect(throws: FleetError.self) { try choose([other]) }
        #expect(error?.code == .noAgent && error?.hint?.contains("fleetctl agent token a") == true)
        #expect(try choose([other], on: "cp") == "b/cp")
    }

    @Test func whyNotIsSaid() throws {
        func message(_ agents: [AgentRecord], on node: String? = nil) -> String? {
            #expect(throws: FleetError.self) { try choose(agents, on: node) }?.message
        }
        #expect(message([agent("a", "cp", nil, hasEtcd: true)])?.contains("does not know drills") == true)
        #expect(message([agent("a", "cp", [], hasEtcd: true)])?.contains("no etcd with its tools") == true)
        #expect(
            message([agent("a", "cp", ["3.4.23"], hasEtcd: true)])?.contains("older than the snapshot's 3.5") == true)
        #expect(message([agent("v", "v1", connected: false)], on: "v1")?.contains("not connected") == true)
        #expect(message([], on: "x")?.contains("no agent on") == true)
        let two = [agent("v", "v1"), agent("w", "v1")]
        #expect(message(two, on: "v1")?.contains("several clusters") == true)
        #expect(try choose(two, on: "w/v1") == "w/v1")
    }
}

@Suite("Drills", .timeLimit(.minutes(5))) struct DrillTests {
    private let server: TestServer
    private let record: SnapshotRecord
    private let figures: DrillReport.Figures
    private let node = NodeName(cluster: "v", node: "v1")
    private static let id = "20261124-065510-aaaa"

    init() async throws {
        server = try await TestServer()
        var etcd = SampleEtcd(pageSize: 1024)
        for index in 0..<20 { etcd.put("/registry/pods/ns-1/pod-\(index)", Array("value \(index)".utf8)) }
        etcd.delete("/registry/pods/ns-1/pod-3")
        var sample = try SampleSnapshot(etcd: Self.id, etcd)
        sample.record.verification = try NativeCheck.verify(
            MemoryPages(sample.bytes), trailer: SHA256.hash(sample.bytes.dropLast(32)), facts: sample.record.facts)
        // Sample files have authentication on, which a drill can't do.
        sample.record.verification?.authEnabled = false
        record = sample.record
        let read = try #require(record.verification)
        try #require(read.isSound)
        try server.server.vault.store.store(sample)
        _ = try await server.server.vault.reconcile()
        let reader = try SnapshotReader(MemoryPages(sample.bytes))
        let keys = try reader.liveKeys().prefix(16).map { ($0.key, $0.modRevision, try reader.value(of: $0)) }
        figures = DrillReport.Figures(
            revision: max(try #require(read.status).revision, try #require(read.hashRevision)),
            liveKeys: try #require(read.liveKeys), hashKV: try #require(read.hashKV),
            hashRevision: try #require(read.hashRevision), compactRevision: read.compactRevision,
            sample: DrillSample(keys))
        _ = try await server.catalogue.addCluster("v", by: "root")
    }

    /// A verifier that is connected; it has etcd 3.5 and none beside it.
    private func verifier() async throws -> Connection {
        // It accepts every job, and the test is who carries it out.
        let agent = try await server.dial(.agent(cluster: "v", node: "v1")) { stream in
            try? await stream.finish(Acknowledgement())
        }
        var registration = Fixture.registration()
        registration.instance = nil
        registration.discoveryError = FleetError("no-etcd", "none")
        registration.drillVersions = ["3.5.1"]
        let _: Acknowledgement = try await agent.call(Method.register, registration)
        return agent
    }

    private func start(_ name: String) async throws -> JobRecord {
        try await server.operate().call(ControlMethod.startDrill, DrillRequest(name: name), as: JobRecord.self)
    }

    private func end(_ job: JobRecord, _ outcome: JobOutcome, sequence: Int = 1) async throws -> SnapshotEntry {
        _ = try await server.catalogue.receive(
            JobEvent(
                job: job.id, sequence: sequence, time: .now(), kind: .outcome, error: outcome.error, outcome: outcome),
            from: node)
        return try await server.catalogue.snapshot(Self.id)
    }

    private func success(_ change: (inout DrillReport.Figures) -> Void = { _ in }) -> JobOutcome {
        var figures = self.figures
        change(&figures)
        return JobOutcome(
            result: .succeeded, summary: "served",
            drill: DrillReport(etcd: "3.5.1", tool: "etcdutl 3.5.1", limits: "none", seconds: 2.5, figures: figures))
    }

    @Test func theResultIsPartOfTheSnapshot() async throws {
        let agent = try await verifier()
        #expect(try await server.catalogue.snapshot(Self.id).drill == nil)
        let job = try await start("a")
        #expect(job.kind == "drill" && job.cluster == "v" && job.node == "v1" && job.snapshot == Self.id)
        // The agent may fetch it now, and not when the job has ended.
        let fetch = FetchRequest(job: job.id, snapshot: Self.id, offset: 0)
        try await server.catalogue.checkFetch(fetch, from: node)
        let entry = try await end(job, success())
        let drill = try #require(entry.drill)
        #expect(drill.verdict == .proven && drill.problem == nil && drill.node == "v/v1" && drill.report.seconds == 2.5)
        #expect(try await server.catalogue.job(job.id).state == .succeeded)
        #expect(try await server.catalogue.cluster("a").lastDrill == drill)
        #expect(try await server.catalogue.snapshots(cluster: "a").first?.drill == drill)
        let event = try #require(try await server.events("snapshot.drill").last)
        #expect(event.cluster == "a" && event.subject == Self.id && event.outcome == .ok)
        #expect(event.detail["verdict"] == "proven")
        #expect(await code { try await server.catalogue.checkFetch(fetch, from: node) } == .notFound)
        let text = try JSON.text(entry)
        #expect(try JSON.decode(SnapshotEntry.self, from: Array(text.utf8)) == entry && text.contains("\"proven\""))
        // What was proven of the cluster stays proven when the snapshot has made room.
        try await server.catalogue.forget(
            try await server.catalogue.snapshot(drill.snapshot), because: "test", by: "test")
        #expect(try await server.catalogue.cluster("a").lastDrill == drill)
        await agent.close(FleetError("test", "over"))
    }

    /// The agent believes that all is well; the coordinator knows what should be there.
    @Test func theCoordinatorDecides() async throws {
        let agent = try await verifier()
        let entry = try await end(try await start(Self.id), success { $0.hashKV ^= 1 })
        #expect(entry.drill?.verdict == .failed && entry.drill?.problem?.code == .drillDiffers)
        #expect(entry.drill?.problem?.message.contains("HashKV") == true)
        let job = try #require(try await server.catalogue.jobs().first)
        #expect(job.state == .failed && job.error?.code == .drillDiffers)
        #expect(try await server.events("snapshot.drill").last?.outcome == .failed)
        // The next one may prove it.
        let again = try await end(try await start(Self.id), success())
        #expect(again.drill?.verdict == .proven)
        await agent.close(FleetError("test", "over"))
    }

    /// What kept a drill from trying says nothing of the snapshot.
    @Test func whatWasNotTriedSaysNothing() async throws {
        let agent = try await verifier()
        let proven = try await end(try await start(Self.id), success()).drill
        let noSpace = JobOutcome(result: .refused, error: FleetError(.noSpace, "full"), summary: "not begun")
        #expect(try await end(try await start(Self.id), noSpace).drill == proven)
        let cut = JobOutcome(result: .failed, error: FleetError("interrupted", "cut"), summary: "cut off")
        #expect(try await end(try await start(Self.id), cut).drill == proven)
        #expect(try await server.events("snapshot.drill").count == 1)
        var without = success()
        without.drill = nil
        let job = try await start(Self.id)
        #expect(try await end(job, without).drill == proven)
        #expect(try await server.catalogue.job(job.id).state == .failed)
        await agent.close(FleetError("test", "over"))
    }

    @Test func whileOneRunsItsSnapshotStaysAndItsAgentIsBusy() async throws {
        let agent = try await verifier()
        let job = try await start(Self.id)
        #expect(try await server.catalogue.restorePoints("a").first?.holds == [.restoring])
        let before = try await server.events("job.create").count
        #expect(await code { _ = try await start(Self.id) } == .clusterBusy)
        #expect(try await server.events("job.create").count == before)
        // Who waits asks again and again.
        #expect(try await server.events(ControlMethod.startDrill) == [])
        _ = try await end(job, success())
        #expect(try await server.catalogue.restorePoints("a").first?.holds == [.proven])
        await agent.close(FleetError("test", "over"))
    }

    @Test func refusalsAreNamed() async throws {
        #expect(await code { _ = try await start(Self.id) } == .noAgent)
        let agent = try await verifier()
        #expect(await code { _ = try await start("nothing") } == .notFound)
        #expect(try await server.events(ControlMethod.startDrill).map(\.outcome) == [.refused, .refused])
        #expect(await code { _ = try await start("v") } == .notFound)
        try await server.catalogue.mark(Self.id, .damaged, FleetError(.snapshotDamaged, "odd"), by: "root")
        #expect(await code { _ = try await start(Self.id) } == .snapshotUnusable)
        await agent.close(FleetError("test", "over"))
    }
}

@Suite("Jobs of an earlier release") struct DrillMigrationTests {
    /// The table of jobs is made anew: rows, and those that refer to them, are there after it.
    @Test func jobsAreTakenOver() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/c.db"
        let former = try SQLiteConnection(.file(path))
        try former.migrate(Array(Schema.migrations.prefix { $0.name != "drills" }))
        try former.script(
            """
            INSERT INTO clusters (name, created) VALUES ('a', 0);
            INSERT INTO nodes (cluster, name) VALUES ('a', 'n1');
            INSERT INTO agents (cluster, node, enrolled, counter) VALUES ('a', 'n1', 0, 3);
            """)
        for (id, kind) in [("j1", "backup"), ("j2", "restore")] {
            let operation = Operation.backup(.init(snapshot: "s1"))
            try former.run(
                """
                INSERT INTO jobs (id, cluster, node, kind, snapshot, dry_run, operation, state, requested_by, created,
                    finished) VALUES (?, 'a', 'n1', ?, 's1', 0, ?, 'succeeded', 'root', 1, 2)
                """, id, kind, try JSON.text(operation))
        }
        let event = JobEvent(job: "j2", sequence: 1, time: .now(), kind: .accepted)
        try former.run(
            "INSERT INTO job_events (job, sequence, time, received, event) VALUES ('j2', 1, 0, 0, ?)",
            try JSON.text(event))
        try former.script(
            """
            INSERT INTO job_attempts (job, number, cluster, node, counter, issued, expires)
                VALUES ('j1', 1, 'a', 'n1', 2, 0, 9), ('j2', 1, 'a', 'n1', 3, 0, 9);
            INSERT INTO restores (job, cluster, snapshot, dry_run) VALUES ('j2', 'a', 's1', 0);
            INSERT INTO restore_steps (restore, node, position, name, state) VALUES ('j2', 'n1', 1, 'fetch', 'done');
            """)
        former.close()
        let catalogue = try Fixture.catalogue(path: path)
        #expect(try await catalogue.jobs().map(\.id).sorted() == ["j1", "j2"])
        let job = try await catalogue.job("j2")
        #expect(job.events.count == 1 && job.steps?.count == 1 && job.attempts.map(\.counter) == [3])
        let after = try SQLiteConnection(.file(path))
        let broken: [String] = try after.all("PRAGMA foreign_key_check") { row throws(FleetError) in try row["table"] }
        #expect(broken == [])
        // References hold again: nothing may point to a job that is not there.
        #expect(throws: FleetError.self) {
            try after.run("INSERT INTO restores (job, cluster, snapshot, dry_run) VALUES ('j9', 'a', 's1', 0)")
        }
        after.close()
    }
}
