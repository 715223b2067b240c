import EtcdSampleFiles
import FleetCrypto
import FleetProtocol
import FleetRepository
import FleetSQLite
import FleetSystem
import RepositoryTestFiles
import Testing

@testable import FleetCoordinator

@Suite("Ingest")
struct IngestTests {
    private let node = NodeName(cluster: "a", node: "n1")

    /// A backup of cluster a that was created, and the snapshot that its agent saved.
    private struct Setup {
        let files = PowerCutFiles()
        let catalogue: Catalogue
        let vault: Vault
        let job: JobRecord
        let sample: SampleSnapshot
        var request: UploadRequest

        init(_ etcd: SampleEtcd = .rich()) async throws {
            catalogue = try await Fixture.fleet()
            vault = Vault(store: try RepositoryStore.test("/s", files: files), catalogue: catalogue, reserve: 0)
            job = try await catalogue.createBackup(cluster: "a", node: "n1", lifetime: .seconds(600), by: "root")
            sample = try SampleSnapshot(etcd: job.snapshot, etcd, job: job.id)
            request = UploadRequest(job: job.id, snapshot: job.snapshot, facts: sample.record.facts)
        }

        /// The same files and the same catalogue in a new process.
        func restarted() throws -> Vault {
            Vault(store: try RepositoryStore.test("/s", files: files), catalogue: catalogue, reserve: 0)
        }
    }

    @Test func aWholeUpload() async throws {
        let setup = try await Setup()
        let session = try await setup.vault.begin(setup.request, from: node)
        #expect(session.offset == 0)
        for start in stride(from: 0, to: setup.sample.bytes.count, by: 100) {
            try await session.append(setup.sample.bytes[start..<min(start + 100, setup.sample.bytes.count)])
        }
        #expect(try await setup.catalogue.snapshots().isEmpty)
        #expect(try await session.finish(setup.sample.digest).snapshot == setup.job.snapshot)
        #expect(try await session.finish(setup.sample.digest).snapshot == setup.job.snapshot)
        let entry = try await setup.catalogue.snapshot(setup.job.snapshot)
        #expect(entry.record.sha256 == setup.sample.record.sha256)
        #expect(entry.record.job == setup.job.id)
        #expect(try setup.vault.store.list().records == [entry.record])
        #expect(try await setup.catalogue.auditLog().contains { $0.event.action == "snapshot.store" })
        #expect(try await setup.catalogue.job(setup.job.id).state == .running)
        #expect(await code { try await session.append([1]) } == .malformed)
        // The receipt got lost: the agent asks again and sends nothing.
        let again = try await setup.vault.begin(setup.request, from: node)
        #expect(again.offset == setup.sample.record.size)
        #expect(try await again.finish(setup.sample.digest).snapshot == setup.job.snapshot)
        #expect(
            await code { _ = try await again.finish(StreamDigest(length: 1, sha256: "00")) } == .alreadyExists)
    }

    @Test func aLostConnectionIsGoneOnWith() async throws {
        let setup = try await Setup()
        let first = try await setup.vault.begin(setup.request, from: node)
        try await first.append(setup.sample.bytes[..<1111])
        await first.close()
        let second = try await setup.restarted().begin(setup.request, from: node)
        #expect(second.offset == 1111)
        try await second.append(setup.sample.bytes[1111...])
        _ = try await second.finish(setup.sample.digest)
        #expect(try await setup.vault.examine(setup.job.snapshot, by: "root").isSound)
    }

    @Test func anotherConnectionTakesOver() async throws {
        var large = SampleEtcd(pageSize: 4096)
        for i in 0..<400 { large.put("/registry/pods/a/\(i)", [UInt8](repeating: UInt8(i & 255), count: 4000)) }
        let setup = try await Setup(large)
        let first = try await setup.vault.begin(setup.request, from: node)
        let second = try await setup.vault.begin(setup.request, from: node)
        #expect(await code { try await first.append(setup.sample.bytes[..<1_100_000]) } == .cancelled)
        #expect(await code { try await first.append([1]) } == .cancelled)
        try await second.append(setup.sample.bytes)
        _ = try await second.finish(setup.sample.digest)
    }

    @Test func aSecondSaveOfTheSameJobStartsAnew() async throws {
        var setup = try await Setup()
        let first = try await setup.vault.begin(setup.request, from: node)
        try await first.append(setup.sample.bytes[..<1000])
        await first.close()
        setup.request.facts.savedAt = setup.request.facts.savedAt.adding(.seconds(5))
        let second = try await setup.vault.begin(setup.request, from: node)
        #expect(second.offset == 0)
        #expect(try setup.vault.store.incoming() == [Vault.key(setup.request)])
    }

    /// It is not what the agent saved: nothing of it is kept.
    @Test(arguments: ["digest", "length", "size"])
    func whatDidNotArriveAsItWasSavedIsRefused(_ how: String) async throws {
        var setup = try await Setup()
        var digest = setup.sample.digest
        switch how {
        case "digest": digest.sha256 = SHA256.hash([]).hex
        case "length": digest.length += 1
        default: setup.request.facts.size += 512
        }
        let session = try await setup.vault.begin(setup.request, from: node)
        try await session.append(setup.sample.bytes)
        do {
            _ = try await session.finish(digest)
            Issue.record("it was taken")
        } catch {
            #expect(FleetError(error).code == .snapshotDamaged)
            #expect(FleetError(error).isRetryable == (how != "size"))
        }
        #expect(try setup.vault.store.list() == StoreListing())
        #expect(try setup.vault.store.incoming().isEmpty)
        #expect(try await setup.catalogue.snapshots().isEmpty)
        let last = try #require(try await setup.catalogue.auditLog().last)
        #expect(last.event.action == "snapshot.refuse")
        #expect(last.event.outcome == .refused)
    }

    @Test func moreThanAnnouncedIsRefused() async throws {
        let setup = try await Setup()
        let session = try await setup.vault.begin(setup.request, from: node)
        try await session.append(setup.sample.bytes + [0])
        #expect(await code { _ = try await session.finish(setup.sample.digest) } == .malformed)
    }

    @Test func onlyTheJobsOwnNodeMaySendItsSnapshot() async throws {
        let setup = try await Setup()
        let other = NodeName(cluster: "b", node: "n1")
        #expect(await code { _ = try await setup.vault.begin(setup.request, from: other) } == .notFound)
        let wrong = UploadRequest(job: setup.job.id, snapshot: "other", facts: setup.request.facts)
        #expect(await code { _ = try await setup.vault.begin(wrong, from: node) } == .conflict)
        _ = try await setup.catalogue.answered(setup.job.id, refusal: FleetError(.malformed, "no"))
        #expect(await code { _ = try await setup.vault.begin(setup.request, from: node) } == .conflict)
    }

    @Test func noSpaceIsSaidBeforeTheFirstByte() async throws {
        let setup = try await Setup()
        let tight = Vault(store: setup.vault.store, catalogue: setup.catalogue, reserve: 1 << 30)
        #expect(await code { _ = try await tight.begin(setup.request, from: node) } == .noSpace)
        let full = try await Setup()
        full.files.fail(atStep: 1, .full)
        #expect(await code { _ = try await full.vault.begin(full.request, from: node) } == .noSpace)
    }

    /// The power goes at every step of the store; then the coordinator starts again, and the agent finishes its upload.
    @Test func aPowerCutAtAnyStepOfAnUpload() async throws {
        var step = 0
        var wasCut = true
        while wasCut {
            step += 1
            let setup = try await Setup()
            setup.files.fail(atStep: step, .cut)
            wasCut =
                await code {
                    let session = try await setup.vault.begin(setup.request, from: node)
                    try await session.append(setup.sample.bytes)
                    _ = try await session.finish(setup.sample.digest)
                } != nil
            setup.files.restart()
            let vault = try setup.restarted()
            let reconciled = try await vault.reconcile()
            let rows = try await setup.catalogue.snapshots()
            #expect(try rows.map(\.record) == vault.store.list().records, "step \(step)")
            #expect(reconciled.missing.isEmpty && reconciled.discarded.isEmpty, "step \(step)")
            let session = try await vault.begin(setup.request, from: node)
            if session.offset < setup.sample.record.size {
                try await session.append(setup.sample.bytes[Int(session.offset)...])
            }
            #expect(try await session.finish(setup.sample.digest).snapshot == setup.job.snapshot)
            #expect(try await vault.examine(setup.job.snapshot, by: "root").isSound)
            #expect(try await setup.catalogue.verifyAudit().isIntact)
            #expect(step < 100)
        }
        #expect(step > 5)
    }

    /// The coordinator's own disk is full at any step: no fault of the snapshot, so the agent is told to
    /// come again, and its upload goes through when there is space.
    @Test func aFullDiskAtAnyStepOfAnUploadIsPassing() async throws {
        var step = 0
        var failure: FleetError?
        repeat {
            step += 1
            let setup = try await Setup()
            func upload() async throws {
                let session = try await setup.vault.begin(setup.request, from: node)
                if session.offset < setup.sample.record.size {
                    try await session.append(setup.sample.bytes[Int(session.offset)...])
                }
                #expect(try await session.finish(setup.sample.digest).snapshot == setup.job.snapshot)
            }
            setup.files.fail(atStep: step, .full)
            do {
                try await upload()
                failure = nil
            } catch { failure = FleetError(error) }
            setup.files.restart()
            if let failure {
                #expect(failure.code == .noSpace && failure.isRetryable, "step \(step): \(failure)")
                try await upload()
            }
            #expect(try await setup.vault.examine(setup.job.snapshot, by: "root").isSound, "step \(step)")
        } while failure != nil && step < 100
        #expect((6..<100).contains(step))
    }

    @Test func storeAndCatalogueAreReconciled() async throws {
        let setup = try await Setup()
        let store = setup.vault.store
        for (seed, id) in ["s1", "s2", "s3"].enumerated() {
            let sample = SampleSnapshot(id, pages: 20, seed: UInt8(seed), job: "gone")
            // Lineages of their own: a snapshot whose file is gone takes along those that build on it.
            let incoming = try store.begin("up", cluster: id, node: "n1")
            try incoming.append(sample.bytes)
            try incoming.commit(sample.record)
            if id != "s3" { try await setup.catalogue.add(sample.record, by: "agent") }
        }
        let whole = setup.files.bytes("/s/snapshots/s1")
        try setup.files.remove("/s/snapshots/s1")
        try setup.files.remove("/s/snapshots/s2")
        _ = try store.begin("20261124-065510-zzzz-0011223344556677")
        _ = try store.begin(Vault.key(setup.request))
        let done = try await setup.restarted().reconcile()
        #expect(done.added == ["s3"])
        #expect(done.missing == ["s1", "s2"])
        #expect(done.orphans.isEmpty)
        #expect(done.discarded == ["20261124-065510-zzzz-0011223344556677"])
        #expect(try store.incoming() == [Vault.key(setup.request)])
        #expect(try await setup.catalogue.snapshot("s1").condition == .missing)
        #expect(try await setup.catalogue.findSnapshot("latest", cluster: "a").record.id == "s3")
        // Nothing more to do, and nothing more in the log.
        let events = try await setup.catalogue.auditLog().count
        #expect(try await setup.restarted().reconcile() == Reconciliation())
        #expect(try await setup.catalogue.auditLog().count == events)
        // Somebody puts the file back.
        try setup.files.writeDurably("/s/snapshots/s1", whole)
        #expect(try await setup.restarted().reconcile() == Reconciliation())
        #expect(try await setup.restarted().lookAgain(by: "coordinator") == ["s1"])
        #expect(try await setup.catalogue.snapshot("s1").condition == .verified)
    }

    @Test func anEmptyCatalogueIsRebuiltFromTheStore() async throws {
        let files = PowerCutFiles()
        let store = try RepositoryStore.test("/s", files: files)
        let samples = [SampleSnapshot("s1", cluster: "x"), SampleSnapshot("s2", cluster: "y")]
        for sample in samples { try store.store(sample) }
        let catalogue = try Fixture.catalogue()
        let done = try await Vault(store: store, catalogue: catalogue).reconcile()
        #expect(done.added == ["s1", "s2"])
        #expect(try await catalogue.clusters().map(\.name) == ["x", "y"])
        #expect(try await catalogue.cluster("x").identities.map(\.id) == ["cafe"])
        #expect(Set(try await catalogue.snapshots().map(\.record.id)) == ["s1", "s2"])
    }

    @Test func aDamagedSnapshotIsMarkedAndNeverTheLatest() async throws {
        let setup = try await Setup()
        let sample = SampleSnapshot("s1", pages: 20, job: "gone")
        try setup.vault.store.store(sample)
        _ = try await setup.vault.reconcile()
        let pack = try #require(setup.files.paths().first { $0.hasSuffix(".pack") })
        setup.files.flip(pack, byte: 60, bit: 0)
        #expect(try await !setup.restarted().examine("s1", by: "root").isSound)
        #expect(try await setup.catalogue.snapshot("s1").condition == .damaged)
        #expect(await code { _ = try await setup.catalogue.findSnapshot("latest", cluster: "a") } == .notFound)
        #expect(try await setup.restarted().reconcile().added.isEmpty)
        setup.files.flip(pack, byte: 60, bit: 0)
        #expect(try await setup.restarted().examine("s1", by: "root").isSound)
        #expect(try await setup.catalogue.snapshot("s1").condition == .verified)
    }

    @Test func aNodeFetchesOnlyWhatItsRestoreNames() async throws {
        let setup = try await Setup()
        _ = try await setup.catalogue.answered(setup.job.id, refusal: FleetError(.malformed, "no"))
        for id in ["s1", "s2"] { try setup.vault.store.store(SampleSnapshot(id)) }
        _ = try await setup.vault.reconcile()
        let restore = try await setup.catalogue.createRestore(
            RestoreOrder(snapshot: "s1"), cluster: "a", node: "n1", lifetime: .seconds(60), by: "root")
        func fetch(_ job: String, _ snapshot: String, _ offset: Int64 = 0, _ node: NodeName) async throws -> Download {
            try await setup.vault.fetch(FetchRequest(job: job, snapshot: snapshot, offset: offset), from: node)
        }
        let download = try await fetch(restore.id, "s1", 100, node)
        let bytes = SampleSnapshot("s1").bytes
        #expect(try await download.read(at: 100, count: 50) == Array(bytes[100..<150]))
        #expect(try await download.read(at: Int64(bytes.count), count: 50) == [])
        #expect(download.digest == SampleSnapshot("s1").digest)
        #expect(await code { _ = try await fetch(restore.id, "s2", 0, node) } == .notFound)
        #expect(await code { _ = try await fetch(setup.job.id, "s1", 0, node) } == .notFound)
        #expect(await code { _ = try await fetch(restore.id, "s1", -1, node) } == .malformed)
        #expect(
            await code { _ = try await fetch(restore.id, "s1", 0, NodeName(cluster: "b", node: "n1")) } == .notFound)
    }
}
