import EtcdSampleFiles
import FleetProtocol
import FleetRepository
import FleetSQLite
import FleetSystem
import RepositoryTestFiles
import Testing

@testable import FleetCoordinator

/// What a restore replaces, saved before it: who may send it, and what becomes of it.
@Suite("Safety snapshots")
struct SafetySnapshotTests {
    private let node = NodeName(cluster: "a", node: "n1")

    private func upload(_ vault: Vault, _ job: String, _ snapshot: String) async throws {
        let sample = try SampleSnapshot(etcd: snapshot, job: job)
        let session = try await vault.begin(
            UploadRequest(job: job, snapshot: snapshot, facts: sample.record.facts), from: node)
        try await session.append(sample.bytes[...])
        _ = try await session.finish(sample.digest)
    }

    @Test func itIsPinnedMarkedAndNeverTheLatest() async throws {
        let catalogue = try await Fixture.fleet()
        let vault = Vault(
            store: try RepositoryStore.test("/s", files: PowerCutFiles()), catalogue: catalogue, reserve: 0)
        let backup = try await catalogue.createBackup(
            cluster: "a", node: "n1", lifetime: .seconds(600), by: "root")
        try await upload(vault, backup.id, backup.snapshot)
        _ = try await catalogue.receive(
            JobEvent(
                job: backup.id, sequence: 1, time: .now(), kind: .outcome,
                outcome: JobOutcome(result: .succeeded, summary: "saved")), from: node)

        var order = RestoreOrder(snapshot: backup.snapshot)
        order.safetyNode = "n1"
        let restore = try await catalogue.createRestore(
            order, cluster: "a", node: "n1", lifetime: .seconds(60), by: "root")
        let safety = try #require(try await catalogue.safetySnapshot(of: restore.id))
        #expect(await code { try await upload(vault, restore.id, "20261124-065510-aaaa") } == .conflict)
        try await upload(vault, restore.id, safety.snapshot)
        let entry = try await catalogue.snapshot(safety.snapshot)
        #expect(entry.pinned && entry.condition == .verified && entry.record.beforeRestore == restore.id)
        #expect(entry.state == "verified, pinned, before restore \(restore.id)")
        #expect(try await catalogue.findSnapshot("latest", cluster: "a").record.id == backup.snapshot)
        #expect(try await catalogue.findSnapshot("2100-01-01", cluster: "a").record.id == backup.snapshot)
        #expect(try await catalogue.findSnapshot(safety.snapshot).record.id == safety.snapshot)
        #expect(try await catalogue.cluster("a").latestSnapshot == backup.snapshot)
        let points = try await catalogue.restorePoints("a")
        #expect(points.first { $0.id == safety.snapshot }?.holds == [.pinned])
        // Its record is its manifest, so a catalogue that is made anew knows all of this.
        let anew = try Fixture.catalogue()
        _ = try await Vault(store: vault.store, catalogue: anew, reserve: 0).reconcile()
        #expect(try await anew.snapshot(safety.snapshot).pinned)
        #expect(try await anew.findSnapshot("latest", cluster: "a").record.id == backup.snapshot)
    }

    @Test func aDryRunAndOtherMembersSaveNothing() async throws {
        let catalogue = try await Fixture.fleet()
        try await catalogue.add(Fixture.record("s1"), by: "agent")
        var order = RestoreOrder(snapshot: "s1", dryRun: true)
        order.safetyNode = "n1"
        let dry = try await catalogue.createRestore(
            order, cluster: "a", node: "n1", lifetime: .seconds(60), by: "root")
        #expect(try await catalogue.safetySnapshot(of: dry.id) == nil)
        _ = try await catalogue.answered(dry.id, refusal: FleetError(.malformed, "no"))
        order.dryRun = false
        order.safetyNode = "n2"
        let other = try await catalogue.createRestore(
            order, cluster: "a", node: "n1", lifetime: .seconds(60), by: "root")
        #expect(try await catalogue.safetySnapshot(of: other.id) == nil, "it is another node's part")
    }
}
