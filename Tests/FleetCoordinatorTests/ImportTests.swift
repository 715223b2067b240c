import EtcdSampleFiles
import FleetCommandLine
import FleetControl
import FleetCrypto
import FleetProtocol
import FleetReactor
import FleetRepository
import FleetSystem
import Testing

@testable import FleetCoordinator

/// Snapshots that nobody of the fleet saved, as an operator brings them.
@Suite("Import", .timeLimit(.minutes(5)))
struct ImportTests {
    private let server: TestServer
    private let directory: TemporaryDirectory
    /// What the ids of the sample's members give.
    private static let sampleID = {
        SHA1.hash(withUnsafeBytes(of: UInt64(0x8e9e_05c5_2164_694d).bigEndian) { Array($0) }).prefix(8).hex
    }()

    init() async throws {
        server = try await TestServer()
        directory = try TemporaryDirectory()
        _ = try await server.catalogue.addCluster("a", by: "root")
    }

    private func file(_ bytes: [UInt8], _ name: String = "s.db") throws -> String {
        let path = "\(directory.path)/\(name)"
        try FileSystem.writeDurably(path, bytes)
        return path
    }

    private var sample: [UInt8] {
        let pages = SampleEtcd.rich().build(compacted: 10)
        return pages + SHA256.hash(pages)
    }

    private func fleetctl(_ words: String...) async throws -> (
        status: FleetCommandLine.ExitStatus, out: String, err: String
    ) {
        let printed = Monitor<(out: String, err: String)>(("", ""))
        let terminal = Terminal(outputIsTerminal: false, errorIsTerminal: false, color: false, columns: 100) {
            descriptor, text in
            printed.withLock { if descriptor == 1 { $0.out += text } else { $0.err += text } }
        }
        let status = await Program.run(
            ["snapshot"] + words + ["--server", server.socket], Fleetctl.command, version: "test", terminal: terminal)
        let (out, err) = printed.withLock { ($0.out, $0.err) }
        return (status, out, err)
    }

    private func only() async throws -> SnapshotEntry { try #require(try await server.catalogue.snapshots().first) }

    @Test func aFileOfAnEtcdThatIsKnownIsAsGoodAsAnAgents() async throws {
        var earlier = Fixture.record("s1", saved: "2026-11-20T00:00:00Z", etcdID: Self.sampleID)
        earlier.facts.status.revision = 20
        try await server.catalogue.add(earlier, by: "agent")
        let path = try file(sample)
        let done = try await fleetctl("import", path, "--cluster", "a", "--saved-at", "2026-11-23T06:55:00Z")
        #expect(done.status == .success, "\(done.err)")
        let entry = try await only()
        #expect(done.out.hasPrefix("\(entry.record.id)  verified  a  saved 2026-11-23 06:55:00Z  revision 33, 25 keys"))
        #expect(entry.condition == .verified && entry.record.verification?.isSound == true)
        let facts = entry.record.facts
        #expect(facts.clusterID == Self.sampleID && facts.members == 1 && facts.etcdVersion == "3.5.0")
        #expect(facts.liveKeys == 25 && facts.savedAt == Timestamp("2026-11-23T06:55:00Z"))
        #expect(entry.record.imported?.file == "s.db" && entry.record.imported?.isRawDatabase == false)
        #expect(try await server.catalogue.findSnapshot("latest", cluster: "a").record.id == entry.record.id)
        #expect(try server.server.vault.store.bytes(entry.record.id) == sample)
        let event = try #require(try await server.events("snapshot.import").last)
        #expect(event.outcome == .ok && event.actor == entry.record.imported?.by && event.detail["file"] == "s.db")
        // The same file again is not sent, and says which one it is.
        let again = try await fleetctl("import", path, "--cluster", "a")
        #expect(again.status == .failure && again.err.contains("it is snapshot \(entry.record.id)"))
        #expect(try await server.events("snapshot.import").last?.outcome == .refused)
        let shown = try await fleetctl("show", entry.record.id)
        #expect(
            shown.out.contains("imported         by root from s.db") || shown.out.contains("imported         by user:"))
        await server.stop()
    }

    /// A copy is younger than what is in it, and would be restored as the latest.
    @Test func aTimeThatTheRevisionContradictsIsRefused() async throws {
        for (id, saved, etcd, revision) in [
            ("s1", "2026-11-20T08:00:00Z", Self.sampleID, 20), ("s2", "2026-11-20T10:00:00Z", Self.sampleID, 100),
            ("s3", "2026-11-20T12:00:00Z", "beef", 7),
        ] {
            var record = Fixture.record(id, saved: saved, etcdID: etcd)
            record.facts.status.revision = Int64(revision)
            try await server.catalogue.add(record, by: "agent")
        }
        let path = try file(sample)
        for (saved, words) in [
            ("2026-11-20T11:00:00Z", ["revision is 33", "at 100 (snapshot s2)", "before 2026-11-20T10:00:00"]),
            ("2026-11-20T07:00:00Z", ["revision is 33", "at 20 only (snapshot s1)", "after 2026-11-20T08:00:00"]),
            ("2026-11-20T13:00:00Z", ["a was beef (snapshot s3)", "before 2026-11-20T12:00:00"]),
        ] {
            let refused = try await fleetctl("import", path, "--cluster", "a", "--saved-at", saved)
            #expect(refused.status == .usage && words.allSatisfy { refused.err.contains($0) }, "\(refused.err)")
        }
        // Nor by the time of the file, which is that of this copy.
        #expect(try await fleetctl("import", path, "--cluster", "a").status == .usage)
        #expect(try await server.catalogue.snapshots().count == 3)
        #expect(try server.server.vault.store.incoming().isEmpty)
        #expect(try server.server.vault.store.ids().isEmpty)
        #expect(try await server.events("snapshot.refuse").count == 4)
        let right = try await fleetctl("import", path, "--cluster", "a", "--saved-at", "2026-11-20T09:00:00Z")
        #expect(right.status == .success, "\(right.err)")
        #expect(try await server.catalogue.findSnapshot("latest", cluster: "a").record.id == "s3")
        let old = try await server.catalogue.findSnapshot("2026-11-20T09:30:00Z", cluster: "a")
        #expect(old.condition == .verified && old.record.imported?.file == "s.db")
        await server.stop()
    }

    /// What its etcd had before somebody said that it may go back is no measure for what came then, nor the reverse.
    @Test func aWordThatItMayGoBackIsABoundary() async throws {
        var record = Fixture.record("s1", saved: "2026-11-20T10:00:00Z", etcdID: Self.sampleID)
        record.facts.status.revision = 20
        try await server.catalogue.add(record, by: "agent")
        try await server.catalogue.script(
            "UPDATE etcd_identities SET accepted = \(Timestamp("2026-11-20T09:00:00Z")!.milliseconds)")
        let (early, late) = (Timestamp("2026-11-20T08:00:00Z")!, Timestamp("2026-11-20T09:30:00Z")!)
        func wrong(_ saved: Timestamp, _ revision: Int64) async throws -> FleetError.Code? {
            try await server.catalogue.contradiction(
                to: saved, revision: revision, etcd: Self.sampleID, cluster: "a")?.code
        }
        #expect(try await wrong(early, 5000) == nil)
        #expect(try await wrong(late, 5000) == .usage)
        #expect(try await wrong(late, 10) == nil)
        await server.stop()
    }

    @Test func aFileOfAnEtcdThatNothingTellsIsForeign() async throws {
        let done = try await fleetctl("import", try file(sample), "--cluster", "a")
        #expect(done.status == .success && done.err.contains("before any backup told"))
        #expect(try await only().condition == .foreign)
        // It does not say which etcd the cluster is, either: only backups do.
        #expect(try await server.catalogue.cluster("a").identities.isEmpty)
        try await server.catalogue.add(Fixture.record("s1", etcdID: "cafe"), by: "agent")
        #expect(try await server.catalogue.findSnapshot("latest", cluster: "a").record.id == "s1")
        var without = SampleEtcd.rich()
        without.hasMembers = false
        let pages = without.build()
        let second = try await fleetctl(
            "import", try file(pages + SHA256.hash(pages), "b.db"), "--cluster", "a", "-o", "json")
        let entry = try JSON.decode(SnapshotEntry.self, from: Array(second.out.utf8))
        #expect(entry.condition == .foreign && entry.record.facts.clusterID.isEmpty)
        #expect(entry.problem?.message.contains("nothing in it tells") == true)
        // A catalogue that is made anew knows all that.
        let empty = try Fixture.catalogue()
        _ = try await Vault(store: server.server.vault.store, catalogue: empty).reconcile()
        #expect(try await empty.snapshot(entry.record.id) == entry)
        #expect(try await empty.cluster("a").identities.isEmpty)
        await server.stop()
    }

    @Test func aRawDatabaseComesBackAsItWas() async throws {
        // A member's own file may be longer than what its tree needs.
        let raw = SampleEtcd.rich().build() + [UInt8](repeating: 3, count: 3 * 1024)
        // The cluster's own, and all the same never the latest: agents don't restore it.
        try await server.catalogue.add(Fixture.record("s1", etcdID: Self.sampleID), by: "agent")
        let path = try file(raw)
        let wrong = try await fleetctl("import", path, "--cluster", "a")
        #expect(wrong.status == .usage && wrong.err.contains("--raw-db"))
        let done = try await fleetctl("import", path, "--cluster", "a", "--raw-db")
        #expect(done.status == .success && done.err.contains("no digest of etcd's protects it"))
        let entry = try #require(try await server.catalogue.snapshots().first { $0.record.imported != nil })
        #expect(entry.record.imported?.isRawDatabase == true)
        #expect(entry.condition == .foreign && entry.problem?.message.contains("raw database") == true)
        #expect(try await server.catalogue.findSnapshot("latest", cluster: "a").record.id == "s1")
        let out = directory.path + "/out.db"
        #expect(try await fleetctl("export", entry.record.id, "-f", out).status == .success)
        #expect(try FileSystem.read(out) == raw)
        #expect(try await server.server.vault.examine(entry.record.id, by: "root").isSound)
        #expect(try await server.catalogue.snapshot(entry.record.id) == entry)
        let target = try await server.catalogue.cluster("a")
        #expect(
            await code {
                try RestoreGuard.check(entry, target: target, agents: [], .init(allowOtherCluster: true))
            } == .snapshotUnusable)
        let digested = try await fleetctl("import", try file(sample, "b.db"), "--cluster", "a", "--raw-db")
        #expect(digested.status == .usage && digested.err.contains("without --raw-db"))
        await server.stop()
    }

    @Test func whatIsNotSoundIsSaid() async throws {
        var bytes = sample
        bytes[bytes.count - 1] ^= 1
        let damaged = try await fleetctl("import", try file(bytes), "--cluster", "a")
        #expect(damaged.status == .findings && damaged.err.contains("trailer"))
        #expect(try await only().condition == .damaged)
        let garbage = try await fleetctl(
            "import", try file([UInt8](repeating: 7, count: 4096 + 32), "b.db"), "--cluster", "a")
        #expect(garbage.status == .notASnapshot && garbage.err.contains("is no etcd snapshot"))
        #expect(try await server.catalogue.snapshots().count == 1)
        #expect(try server.server.vault.store.incoming().isEmpty)
        let future = try await fleetctl(
            "import", try file(sample, "c.db"), "--cluster", "a", "--saved-at", "2999-01-01")
        #expect(future.status == .usage)
        #expect(try await fleetctl("import", directory.path + "/c.db", "--cluster", "nobody").status == .failure)
        #expect(try await fleetctl("import", directory.path + "/none", "--cluster", "a").status == .failure)
        await server.stop()
    }

    /// Whoever imports has the file: what came before the connection was lost, or a crash, is thrown away.
    @Test func aHalfImportLeavesNothing() async throws {
        let vault = server.server.vault
        let request = ImportRequest(
            cluster: "a", file: "s.db", size: Int64(sample.count), sha256: SHA256.hash(sample).hex, savedAt: .now(),
            isRawDatabase: false)
        let session = try await vault.begin(request, by: "operator:alice")
        try await session.append(sample[..<3000])
        #expect(try vault.store.incoming().count == 1)
        await session.abandon()
        #expect(try vault.store.incoming().isEmpty)
        let other = try await vault.begin(request, by: "operator:alice")
        try await other.append(sample[..<3000])
        await other.close()
        #expect(try await vault.reconcile().discarded.count == 1)
        #expect(try vault.store.incoming().isEmpty)
        // A file that changes while it is read.
        let changed = try await vault.begin(request, by: "operator:alice")
        var bytes = sample
        bytes[100] ^= 1
        try await changed.append(bytes)
        #expect(
            await code {
                _ = try await changed.store(StreamDigest(length: request.size, sha256: SHA256.hash(bytes).hex))
            } == .snapshotDamaged)
        #expect(try await server.catalogue.snapshots().isEmpty)
        await server.stop()
    }
}
