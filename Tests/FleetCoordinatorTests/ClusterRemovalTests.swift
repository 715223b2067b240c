import FleetCommandLine
import FleetConcerns
import FleetProtocol
import FleetSQLite
import FleetSystem
import Glibc
import Testing

@testable import FleetCoordinator

/// A cluster is removed when it has nothing any more, and leaves its history.
@Suite("Removal of clusters", .timeLimit(.minutes(5)))
struct ClusterRemovalTests {
    private let clock = TestClock()
    private let catalogue: Catalogue

    /// Clusters a and b, each with the agent n1; a has a snapshot and a job that has ended.
    init() async throws {
        catalogue = try await Fixture.fleet(clock)
        let job = try await catalogue.createBackup(cluster: "a", node: "n1", lifetime: .seconds(600), by: "root")
        clock.advance(.seconds(1))
        try await catalogue.add(Fixture.record("s1", job: job.id), by: "agent")
        _ = try await catalogue.receive(
            JobEvent(
                job: job.id, sequence: 1, time: clock.now, kind: .outcome,
                outcome: JobOutcome(result: .failed, error: FleetError(.noSpace, "full"), summary: "")),
            from: NodeName(cluster: "a", node: "n1"))
    }

    private func refusal(_ cluster: String) async -> FleetError? {
        do { _ = try await catalogue.removeCluster(cluster, dryRun: true, by: "root") } catch {
            return FleetError(error)
        }
        return nil
    }

    /// As an operator would: agents first, snapshots then.
    private func empty(_ cluster: String) async throws {
        _ = try await catalogue.revoke(.agent(cluster: cluster, node: "n1"), by: "root")
        for entry in try await catalogue.snapshots(cluster: cluster) {
            let gone = try await catalogue.retire(entry.record.id, because: "test", newestToo: true, by: "root")
            try await catalogue.forget(gone, because: "test", by: "root")
        }
    }

    @Test func whatHasSomethingStays() async throws {
        #expect(await refusal("none")?.code == .notFound)
        var policy = FleetPolicy(name: "named")
        policy.clusters = ["a"]
        _ = try await catalogue.setPolicy(policy, by: "root")
        let access = OperatorAccess(role: .viewer, clusters: ClusterSelector(clusters: ["a"]))
        _ = try await catalogue.addOperator("bob", access, by: "root")
        try await catalogue.protect("a", true, by: "root")
        let all = await refusal("a")
        #expect(all?.code == .conflict)
        for word in ["enrolled on n1", "1 of its snapshots", "policy named", "clusters of bob", "protected"] {
            #expect(all?.message.contains(word) == true, "\(word): \(all?.message ?? "")")
        }
        for word in ["agent revoke a n1", "--newest-too", "policy set named", "operator set bob", "unprotect a"] {
            #expect(all?.hint?.contains(word) == true, "\(word): \(all?.hint ?? "")")
        }
        // Each alone is enough.
        try await catalogue.protect("a", false, by: "root")
        #expect(await refusal("a")?.message.contains("protected") == false)
        _ = try await catalogue.setOperator(
            OperatorChange(name: "bob", role: nil, clusters: ClusterSelector(labels: ["env": "x"])), by: "root")
        _ = try await catalogue.removePolicy("named", by: "root")
        _ = try await catalogue.revoke(.agent(cluster: "a", node: "n1"), by: "root")
        #expect(await refusal("a")?.message == "a can't be removed: 1 of its snapshots is in the store")
        try await empty("b")
        #expect(await refusal("b") == nil)
        #expect(try await catalogue.clusters().map(\.name) == ["a", "b"], "a dry run changes nothing")
    }

    @Test func whatIsUnderWayKeepsIt() async throws {
        _ = try await catalogue.createBackup(cluster: "b", node: "n1", lifetime: .seconds(600), by: "root")
        try await empty("b")
        #expect(await refusal("b")?.code == .clusterBusy)
        _ = try await catalogue.endRevoked()
        #expect(await refusal("b") == nil)
    }

    @Test func itIsGoneAndItsHistoryStays() async throws {
        try await empty("a")
        var policy = FleetPolicy(name: "every")
        policy.schedule = "@every 1h"
        _ = try await catalogue.setPolicy(policy, by: "root")
        let secret = Randomness.token(20)
        _ = try await catalogue.createToken(
            secret: secret, role: .agent, cluster: "a", lifetime: .seconds(3600), by: "root")
        let gone = try await catalogue.removeCluster("a", dryRun: false, by: "root")
        #expect(gone == ClusterRemoval(cluster: "a", agents: ["n1"], tokens: 1))

        #expect(try await catalogue.clusters().map(\.name) == ["b"])
        #expect(try await catalogue.agents().map(\.cluster) == ["b"])
        #expect(try await catalogue.retentionsInForce().map(\.cluster) == ["b"])
        #expect(try await catalogue.policies().map(\.clusters) == [["b"]])
        #expect(try await Set(catalogue.taskHistories().map(\.task.cluster)) == ["b"])
        for work: () async throws -> Void in [
            { _ = try await catalogue.cluster("a") },
            { _ = try await catalogue.label(LabelRequest(cluster: "a", set: ["x": "y"], remove: []), by: "root") },
            { try await catalogue.setRetention("a", RetentionPolicy(last: 1), by: "root") },
            { _ = try await catalogue.findSnapshot("latest", cluster: "a") },
            { _ = try await catalogue.removeCluster("a", dryRun: false, by: "root") },
            {
                let named = OperatorAccess(role: .viewer, clusters: ClusterSelector(clusters: ["a"]))
                _ = try await catalogue.addOperator("eve", named, by: "root")
            },
        ] { #expect(await code(work) == .notFound) }
        let enrolling = await code {
            _ = try await catalogue.enrol(secret: secret, name: "n2", from: "test") { _ throws(FleetError) in
                (Fixture.certificate(), "pem")
            }
        }
        #expect(enrolling == .tokenUsed)

        try await catalogue.checkKnown("a")
        #expect(await code { try await catalogue.checkKnown("never") } == .notFound)
        #expect(try await catalogue.jobs(JobFilter(cluster: "a")).map(\.kind) == ["backup"])
        let event = try await catalogue.auditLog(AuditFilter(cluster: "a")).map(\.event).last {
            $0.action == "cluster.remove" && $0.outcome == .ok
        }
        #expect(event?.detail["agents"] == "n1" && event?.detail["tokens"] == "1")
        #expect(try await catalogue.verifyAudit().isIntact)
    }

    /// The name begins anew: nothing of what was under it says anything of the new one.
    @Test func theNameCanBeAddedAgain() async throws {
        _ = try await catalogue.label(LabelRequest(cluster: "a", set: ["env": "prod"], remove: []), by: "root")
        try await catalogue.setRetention("a", RetentionPolicy(last: 1), by: "root")
        #expect(try await catalogue.cluster("a").lastBackup?.state == .failed)
        #expect(try await catalogue.identities("a").map(\.id) == ["cafe"])
        try await empty("a")
        clock.advance(.seconds(60))
        _ = try await catalogue.removeCluster("a", dryRun: false, by: "root")
        clock.advance(.seconds(60))
        let again = try await catalogue.addCluster("a", by: "root")
        #expect(
            again.created == clock.now && again.identities.isEmpty && again.labels?.isEmpty != false
                && again.agents == 0)
        #expect(again.lastJob == nil && again.lastBackup == nil && again.lastChange == nil)
        #expect(try await catalogue.retentionsInForce("a").map(\.policy) == [nil])
        #expect(try await catalogue.agents(cluster: "a").isEmpty)
        #expect(await code { _ = try await catalogue.addCluster("a", by: "root") } == .alreadyExists)

        let counter = try await catalogue.counter("a", "n1")
        try await Fixture.enrol(catalogue, cluster: "a", node: "n1")
        #expect(try await catalogue.agents(cluster: "a").map(\.node) == ["n1"])
        #expect(try await catalogue.agents(cluster: "a").map(\.instance) == [nil])
        #expect(try await catalogue.counter("a", "n1") == counter, "what was signed once is never good again")
        clock.advance(.seconds(60))
        let job = try await catalogue.createBackup(cluster: "a", node: "n1", lifetime: .seconds(600), by: "root")
        #expect(try await catalogue.cluster("a").lastJob == job.id)
        #expect(try await catalogue.jobs(JobFilter(cluster: "a")).count == 2)
        // Another etcd is the cluster's own from its first backup on.
        try await catalogue.add(Fixture.record("s2", job: job.id, etcdID: "beef"), by: "agent")
        #expect(try await catalogue.cluster("a").identities.map(\.id) == ["beef"])
        #expect(try await catalogue.cluster("a").latestSnapshot == "s2")
    }

    /// What the store has is a cluster's, whatever was said of that before.
    @Test func aSnapshotBringsItBack() async throws {
        try await empty("a")
        _ = try await catalogue.removeCluster("a", dryRun: false, by: "root")
        clock.advance(.seconds(1))
        try await catalogue.add(Fixture.record("s9", job: ""), reconciled: true, by: "coordinator")
        #expect(try await catalogue.cluster("a").latestSnapshot == "s9")
    }

    @Test func theNewestSnapshotGoesWithAClusterThatIsGivenUp() async throws {
        #expect(
            await code { _ = try await catalogue.retire("s1", because: "x", newestToo: true, by: "r") } == .conflict)
        _ = try await catalogue.revoke(.agent(cluster: "a", node: "n1"), by: "root")
        let error = await #expect(throws: FleetError.self) {
            try await catalogue.retire("s1", because: "x", by: "root")
        }
        #expect(error?.hint?.contains("--newest-too") == true)
        // One person's word does not take what two people's protects.
        _ = try await catalogue.protect("a", true, by: "root")
        #expect(
            await code { _ = try await catalogue.retire("s1", because: "x", newestToo: true, by: "r") } == .conflict)
        _ = try await catalogue.protect("a", false, by: "root")
        _ = try await catalogue.retire("s1", because: "x", newestToo: true, by: "root")
    }

    @Test(.enabled(if: isatty(0) == 0)) func theCommandAsks() async throws {
        let server = try await TestServer()
        _ = try await server.catalogue.addCluster("typo", by: "root")
        _ = try await server.catalogue.createToken(
            secret: "secret", role: .agent, cluster: "typo", lifetime: .seconds(60), by: "root")
        let asked = await server.fleetctl("cluster", "remove", "typo")
        #expect(asked.status == .declined && asked.err.contains("typo goes, with a join token; its jobs"))
        #expect(await server.fleetctl("cluster", "remove", "typo", "--dry-run").status == .success)
        #expect(try await server.catalogue.clusters().map(\.name) == ["typo"])
        let done = await server.fleetctl("cluster", "remove", "typo", "--yes")
        #expect(done.status == .success && done.out == "cluster typo removed\n")
        let root = try await server.operate()
        let status: FleetStatus = try await root.call(ControlMethod.status, ListRequest())
        #expect(status.clusters.isEmpty && Concern.all(status).allSatisfy { $0.cluster != "typo" })
        let again = await server.fleetctl("cluster", "remove", "typo", "--yes")
        #expect(again.status == .failure && again.err.contains("it was removed at"))
        #expect(await server.fleetctl("job", "list", "typo").status == .success)
        #expect(await server.fleetctl("job", "list", "never").status == .failure)
        #expect(try await server.events("cluster.remove").map(\.outcome) == [.ok, .refused])
        await server.stop()
    }

    @Test func revokedAgentsAreLeftOutOfTheList() async throws {
        let server = try await TestServer()
        _ = try await server.catalogue.addCluster("a", by: "root")
        for node in ["n1", "n2"] { try await Fixture.enrol(server.catalogue, cluster: "a", node: node) }
        _ = try await server.catalogue.revoke(.agent(cluster: "a", node: "n2"), by: "root")
        let list = await server.fleetctl("agent", "list")
        #expect(list.out.contains("n1") && !list.out.contains("n2"))
        #expect(list.err.contains("1 revoked one is left out"))
        let all = await server.fleetctl("agent", "list", "--all")
        #expect(all.out.contains("n2") && all.out.contains("revoked") && all.err.isEmpty)
        await server.stop()
    }
}

extension Catalogue {
    fileprivate func counter(_ cluster: String, _ node: String) throws -> Int64? {
        try db.first("SELECT counter FROM agents WHERE cluster = ? AND node = ?", cluster, node) {
            row throws(FleetError) in try row["counter"]
        }
    }
}
