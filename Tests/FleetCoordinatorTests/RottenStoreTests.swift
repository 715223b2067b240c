import EtcdSampleFiles
import FleetCrypto
import FleetProtocol
import FleetRepository
import FleetSystem
import RepositoryTestFiles
import Testing

@testable import FleetCoordinator

/// The disk gave something else back than what was written to it, and backups go on.
@Suite("Ingest on a damaged store")
struct RottenStoreTests {
    private let node = NodeName(cluster: "a", node: "n1")
    private let files = PowerCutFiles()
    private let catalogue: Catalogue

    init() async throws { catalogue = try await Fixture.fleet() }

    private func vault() throws -> Vault {
        Vault(store: try RepositoryStore.test("/s", files: files), catalogue: catalogue, reserve: 0)
    }

    /// Mostly free pages, as after a compaction: no page of the tree leads to them. None is like another.
    private func snapshot(_ job: JobRecord) throws -> SampleSnapshot {
        var etcd = SampleEtcd(pageSize: 4096)
        etcd.writer.freePages = Self.free
        for i in 0..<40 { etcd.put("/registry/pods/a/\(i)", [UInt8](repeating: UInt8(i), count: 200)) }
        var pages = etcd.build()
        var noise = UInt64(88_172_645_463_325_252)
        for at in (2 * 4096)..<((2 + Self.free) * 4096) {
            noise ^= noise << 13
            noise ^= noise >> 7
            noise ^= noise << 17
            pages[at] = UInt8(truncatingIfNeeded: noise)
        }
        return try SampleSnapshot(etcd: job.snapshot, bytes: pages + SHA256.hash(pages), job: job.id)
    }
    private static let free = 60

    private func job() async throws -> JobRecord {
        try await catalogue.createBackup(cluster: "a", node: "n1", lifetime: .seconds(600), by: "root")
    }

    private func end(_ job: JobRecord) async throws {
        let outcome = JobOutcome(result: .succeeded, summary: "")
        _ = try await catalogue.receive(
            JobEvent(job: job.id, sequence: 1, time: .now(), kind: .outcome, outcome: outcome), from: node)
    }

    private func upload(_ sample: SampleSnapshot, _ job: JobRecord, to vault: Vault) async throws {
        let session = try await vault.begin(
            UploadRequest(job: job.id, snapshot: job.snapshot, facts: sample.record.facts), from: node)
        try await session.append(sample.bytes[Int(session.offset)...])
        _ = try await session.finish(sample.digest)
    }

    /// A bit in the middle of the only pack, where the free pages are.
    private func rot() throws -> String {
        let pack = try #require(files.paths().first { $0.hasSuffix(".pack") })
        files.flip(pack, byte: files.length(pack) / 2, bit: 3)
        return pack
    }

    /// With what is decoded still in memory, and after a restart.
    @Test(arguments: [true, false])
    func aSharedPageThatIsInNoTreeIsReadBack(isRestarted: Bool) async throws {
        var vault = try vault()
        let first = try await job()
        let sound = try snapshot(first)
        try await upload(sound, first, to: vault)
        try await end(first)
        #expect(try vault.store.bytes(first.snapshot) == sound.bytes)
        let pack = try rot()
        if isRestarted { vault = try self.vault() }

        let second = try await job()
        let again = try snapshot(second)
        var failure: FleetError?
        do { try await upload(again, second, to: vault) } catch { failure = FleetError(error) }
        #expect(failure?.code == .snapshotDamaged && failure?.isRetryable == true)
        #expect(failure?.hint?.contains("store check --read-data") == true)
        #expect(try vault.store.incoming().isEmpty && vault.store.list().records.map(\.id) == [first.snapshot])
        let refused = try await catalogue.auditLog().map(\.event).filter { $0.subject == second.snapshot }
        #expect(refused.map(\.action) == ["snapshot.refuse"])

        // The agent sends it again: nothing of the rotten pack is in it, and it reads back.
        try await upload(again, second, to: vault)
        try await end(second)
        #expect(try await catalogue.snapshot(second.snapshot).condition == .verified)
        #expect(try self.vault().store.bytes(second.snapshot) == again.bytes)
        // What follows shares the sound pages again, whoever runs.
        let third = try await job()
        try await upload(try snapshot(third), third, to: try self.vault())
        #expect(try self.vault().store.bytes(third.snapshot) == again.bytes)
        #expect(files.paths().filter { $0.hasSuffix(".pack") }.count == 2)
        let report = try (try self.vault().store as! RepositoryStore).repository.check(readData: true)
        #expect(report.findings.map(\.path) == [pack] && report.damagedSnapshots == [first.snapshot])
    }

    /// What it is to be compressed against, or its fingerprints, can't be read.
    @Test func anyRottenByteOfTheFormerPackCostsOneAttemptAtMost() async throws {
        let vault = try vault()
        let first = try await job()
        try await upload(try snapshot(first), first, to: vault)
        try await end(first)
        let pack = try #require(files.paths().first { $0.hasSuffix(".pack") })
        for byte in stride(from: 0, to: files.length(pack), by: files.length(pack) / 60) {
            files.flip(pack, byte: byte, bit: 5)
            defer { files.flip(pack, byte: byte, bit: 5) }
            let restarted = try self.vault()
            let job = try await job()
            var sample = try snapshot(job)
            var pages = Array(sample.bytes.dropLast(32))
            for page in 2..<(2 + Self.free) where page.isMultiple(of: 9) {
                pages[page * 4096 + 7] ^= UInt8(byte % 255 + 1)
            }
            sample = try SampleSnapshot(etcd: job.snapshot, bytes: pages + SHA256.hash(pages), job: job.id)
            do { try await upload(sample, job, to: restarted) } catch {
                #expect(FleetError(error).isRetryable, "byte \(byte): \(error)")
                try await upload(sample, job, to: restarted)
            }
            try await end(job)
            #expect(try self.vault().store.bytes(job.snapshot) == sample.bytes, "byte \(byte)")
            try self.vault().store.delete(job.snapshot)
        }
    }
}
