import EtcdSampleFiles
import FleetCrypto
import FleetProtocol
import FleetRepository
import FleetSystem
import Glibc
import RepositoryTestFiles
import Testing

@testable import EtcdSnapshot
@testable import FleetCoordinator

/// What the coordinator makes of a snapshot that arrived exactly as it was saved.
@Suite("Verification at ingest")
struct VerificationTests {
    private let node = NodeName(cluster: "a", node: "n1")
    private let files = PowerCutFiles()
    private let catalogue: Catalogue
    private let vault: Vault

    init() async throws {
        catalogue = try await Fixture.fleet()
        vault = Vault(store: try RepositoryStore.test("/s", files: files), catalogue: catalogue, reserve: 0)
    }

    private func job() async throws -> JobRecord {
        try await catalogue.createBackup(cluster: "a", node: "n1", lifetime: .seconds(600), by: "root")
    }

    /// Uploads `bytes`; the agent's word is `facts`, which is the truth about them unless something else is given.
    private func upload(
        _ sample: SampleSnapshot, _ job: JobRecord, to vault: Vault? = nil, facts: SnapshotFacts? = nil
    ) async throws {
        let request = UploadRequest(job: job.id, snapshot: job.snapshot, facts: facts ?? sample.record.facts)
        let session = try await (vault ?? self.vault).begin(request, from: node)
        if session.offset < sample.record.size {
            try await session.append(sample.bytes[Int(session.offset)...])
        }
        _ = try await session.finish(sample.digest)
    }

    /// As the agent tells it.
    private func fail(_ job: JobRecord, _ error: FleetError) async throws -> JobRecord {
        let outcome = JobOutcome(result: .failed, error: error, summary: "failed")
        _ = try await catalogue.receive(
            JobEvent(job: job.id, sequence: 1, time: .now(), kind: .outcome, outcome: outcome), from: node)
        return try await catalogue.job(job.id)
    }

    @Test func aSoundOneIsRecordedWithWhatWasRead() async throws {
        let job = try await job()
        let sample = try SampleSnapshot(etcd: job.snapshot, job: job.id)
        try await upload(sample, job)
        let entry = try await catalogue.snapshot(job.snapshot)
        #expect(entry.condition == .verified && entry.problem == nil)
        let verification = try #require(entry.record.verification)
        #expect(verification.isSound && verification.findings.isEmpty)
        #expect(verification.status == sample.record.facts.status)
        #expect(verification.liveKeys == 25 && verification.leases == 1 && verification.members == 1)
        #expect(verification.clusterVersion == "3.5.0" && verification.alarms == ["NOSPACE of 8e9e05c52164694d"])
        #expect(verification.hashKV != nil && verification.hashRevision == 33)
        // From the store alone.
        let empty = try Fixture.catalogue()
        _ = try await Vault(store: vault.store, catalogue: empty).reconcile()
        #expect(try await empty.snapshot(job.snapshot).record.verification == verification)
    }

    /// A byte in a page, and the digest at the end made right again: what nothing but reading the pages finds.
    private func tampered(_ id: String, _ job: String) throws -> SampleSnapshot {
        let sound = try SampleSnapshot(etcd: id, job: job)
        var pages = Array(sound.bytes.dropLast(32))
        // The second element of the first leaf begins a byte earlier.
        let leaves = stride(from: 2048, to: pages.count, by: 1024).filter { at in
            Int(pages[at]) == at / 1024 && pages[at + 8] == 2
        }
        let leaf = try #require(leaves.first)
        pages[leaf + 36] -= 1
        var sample = sound
        sample.bytes = pages + SHA256.hash(pages)
        sample.record.sha256 = SHA256.hash(sample.bytes).hex
        return sample
    }

    private enum Bad: CaseIterable { case tampered, hash, revision, keys, live, size, trailer, cut, noTrailer, none }

    private func bad(_ how: Bad, _ job: JobRecord) throws -> (sample: SampleSnapshot, facts: SnapshotFacts) {
        var sample = try SampleSnapshot(etcd: job.snapshot, job: job.id)
        var facts = sample.record.facts
        switch how {
        case .tampered: sample = try tampered(job.snapshot, job.id)
        case .hash: facts.status.hash ^= 1
        case .revision: facts.status.revision -= 1
        case .keys: facts.status.totalKey += 1
        case .live: facts.liveKeys = 24
        case .size: facts.status.totalSize += 1024
        case .trailer: sample.bytes[sample.bytes.count - 1] ^= 1
        case .cut: sample.bytes.removeLast(1024)
        case .noTrailer: sample.bytes.removeLast(32)
        case .none: sample.bytes = [UInt8](repeating: 7, count: 2048 + 32)
        }
        sample.record.sha256 = SHA256.hash(sample.bytes).hex
        (sample.record.size, facts.size) = (Int64(sample.bytes.count), Int64(sample.bytes.count))
        return (sample, facts)
    }

    @Test(arguments: Bad.allCases)
    private func whatIsNotSoundIsKeptAndNeverChosen(_ how: Bad) async throws {
        let first = try await job()
        try await upload(try SampleSnapshot(etcd: first.snapshot, job: first.id), first)
        _ = try await catalogue.receive(
            JobEvent(
                job: first.id, sequence: 1, time: .now(), kind: .outcome,
                outcome: JobOutcome(result: .succeeded, summary: "")), from: node)

        let job = try await job()
        let (sample, facts) = try bad(how, job)
        var failure: FleetError?
        do { try await upload(sample, job, facts: facts) } catch { failure = FleetError(error) }
        #expect(failure?.code == .snapshotUnsound)
        #expect(failure?.isRetryable == false)
        // Kept, byte for byte, and marked.
        #expect(try vault.store.bytes(job.snapshot) == sample.bytes)
        let entry = try await catalogue.snapshot(job.snapshot)
        #expect(entry.condition == .damaged && entry.problem == failure)
        #expect(entry.record.verification?.isSound == false)
        let events = try await catalogue.auditLog().map(\.event).filter { $0.subject == job.snapshot }
        #expect(events.map(\.action) == ["snapshot.unsound", "snapshot.store"])
        #expect(events.first?.outcome == .failed)
        // The agent did not hear it and asks for its receipt again.
        var again: FleetError?
        do { try await upload(sample, job, facts: facts) } catch { again = FleetError(error) }
        #expect(again == failure)
        // The job fails, with this.
        let ended = try await fail(job, try #require(failure))
        #expect(ended.state == .failed && ended.error == failure)
        for choice in ["latest", "2099-01-01T00:00:00Z"] {
            #expect(try await catalogue.findSnapshot(choice, cluster: "a").record.id == first.snapshot)
        }
        let order = RestoreOrder(snapshot: job.snapshot)
        #expect(
            await code {
                _ = try await catalogue.createRestore(
                    order, cluster: "a", node: "n1", lifetime: .seconds(60), by: "root")
            } == .snapshotUnusable)
        // It stays so, whoever looks again, and through a rebuild.
        _ = try await vault.examine(job.snapshot, by: "root")
        #expect(try await catalogue.snapshot(job.snapshot) == entry)
        #expect(try await vault.reconcile() == Reconciliation())
        let empty = try Fixture.catalogue()
        #expect(try await Vault(store: vault.store, catalogue: empty).reconcile().damaged == [job.snapshot])
        #expect(try await empty.snapshot(job.snapshot) == entry)
    }

    /// Old revisions and deletions are entries up to 3.5; from 3.6 on the tool counts what is alive.
    @Test func eitherWayOfCountingKeysIsFine() async throws {
        let job = try await job()
        let sample = try SampleSnapshot(etcd: job.snapshot, job: job.id)
        var facts = sample.record.facts
        facts.status.totalKey = 25
        facts.liveKeys = nil
        try await upload(sample, job, facts: facts)
        #expect(try await catalogue.snapshot(job.snapshot).condition == .verified)
    }

    /// A part came before the connection was lost, the rest after a restart.
    @Test func aResumedUploadIsLookedIntoWhole() async throws {
        for how in [Bad.tampered, nil] {
            let job = try await job()
            let (sample, facts) =
                try how.map { try bad($0, job) }
                ?? { (try SampleSnapshot(etcd: job.snapshot, job: job.id), nil) }()
            let request = UploadRequest(job: job.id, snapshot: job.snapshot, facts: facts ?? sample.record.facts)
            let session = try await vault.begin(request, from: node)
            try await session.append(sample.bytes[..<5000])
            await session.close()
            let restarted = Vault(store: try RepositoryStore.test("/s", files: files), catalogue: catalogue, reserve: 0)
            let failure = await code { try await upload(sample, job, to: restarted, facts: facts) }
            #expect(failure == (how == nil ? nil : .snapshotUnsound))
            #expect(try await catalogue.snapshot(job.snapshot).condition == (how == nil ? .verified : .damaged))
            if let failure { _ = try await fail(job, FleetError(failure, "")) }
        }
    }

    /// The coordinator is killed while it looks into it: the upload is there whole, and is gone on with at its end.
    @Test func aKillDuringTheVerification() async throws {
        let job = try await job()
        let sample = try SampleSnapshot(etcd: job.snapshot, job: job.id)
        let dying = Vault(
            store: DyingStore(try RepositoryStore.test("/s", files: files)), catalogue: catalogue, reserve: 0)
        #expect(await code { try await upload(sample, job, to: dying) } == .system)
        #expect(try await catalogue.job(job.id).state.isOpen)

        let restarted = Vault(store: try RepositoryStore.test("/s", files: files), catalogue: catalogue, reserve: 0)
        #expect(try await restarted.reconcile() == Reconciliation())
        #expect(try await catalogue.snapshots().isEmpty)
        let request = UploadRequest(job: job.id, snapshot: job.snapshot, facts: sample.record.facts)
        let session = try await restarted.begin(request, from: node)
        #expect(session.offset == sample.record.size)
        _ = try await session.finish(sample.digest)
        #expect(try await catalogue.snapshot(job.snapshot).condition == .verified)
    }

    /// However many uploads end at once, one is looked into.
    @Test func turnsAreTakenOneByOne() async throws {
        let turns = Turns(1)
        let inside = Monitor((now: 0, most: 0, done: 0))
        await withTaskGroup(of: Void.self) { group in
            for i in 0..<20 {
                group.addTask {
                    try? await turns.take { () throws(FleetError) in
                        inside.withLock { ($0.now, $0.most) = ($0.now + 1, max($0.most, $0.now + 1)) }
                        usleep(1000)
                        inside.withLock { ($0.now, $0.done) = ($0.now - 1, $0.done + 1) }
                        // A turn is given on after an error too.
                        if i % 3 == 0 { throw FleetError(.system, "no") }
                    }
                }
            }
        }
        #expect(inside.withLock { $0.most == 1 && $0.done == 20 })
    }

    /// No word of a key's value gets into what is logged.
    @Test func findingsQuoteNoContent() throws {
        var writer = BoltWriter()
        let secret = Array("hunter2-hunter2-hunter2".utf8)
        writer.add("key", [(secret, secret)])
        writer.add("meta", [(Array("term".utf8), secret)])
        writer.add("members", [(secret, secret)])
        writer.add(String(decoding: secret, as: UTF8.self), [(secret, secret)])
        let pages = writer.build()
        let verification = try NativeCheck.verify(
            MemoryPages(pages + SHA256.hash(pages)), trailer: SHA256.hash(pages), facts: nil)
        #expect(verification.totalFindings > 2)
        #expect(!(try JSON.text(verification)).contains("hunter2"))
    }

    /// 'snapshot restore --bump-revision' leaves an entry that the tools count and no client sees.
    @Test func aBumpedRevisionIsNoDisagreement() async throws {
        let job = try await job()
        var etcd = SampleEtcd()
        etcd.put("/registry/pods/a/b", [1])
        etcd.bump(by: 1000)
        let sample = try SampleSnapshot(etcd: job.snapshot, etcd, job: job.id)
        var facts = sample.record.facts
        #expect(facts.liveKeys == 2)
        facts.liveKeys = 1
        try await upload(sample, job, facts: facts)
        #expect(try await catalogue.snapshot(job.snapshot).condition == .verified)
    }
}

/// The process ends when the first page is asked for.
private final class DyingStore: SnapshotStore {
    private let inner: RepositoryStore
    init(_ inner: RepositoryStore) { self.inner = inner }

    private final class Incoming: IncomingSnapshot {
        let inner: any IncomingSnapshot
        init(_ inner: any IncomingSnapshot) { self.inner = inner }
        var length: Int64 { inner.length }
        func readBack(_ body: (UnsafeRawBufferPointer) throws(FleetError) -> Void) throws(FleetError) {
            try inner.readBack(body)
        }
        func append(_ bytes: UnsafeRawBufferPointer) throws(FleetError) { try inner.append(bytes) }
        func pages() throws(FleetError) -> any StoredPageSource { Pages(try inner.pages()) }
        func commit(_ record: SnapshotRecord) throws(FleetError) { try inner.commit(record) }
        func discard(isUnreadable: Bool) throws(FleetError) { try inner.discard(isUnreadable: isUnreadable) }
        /// Nothing is made durable any more.
        func close() {}
    }
    private struct Pages: StoredPageSource {
        let inner: any StoredPageSource
        init(_ inner: any StoredPageSource) { self.inner = inner }
        var length: Int { inner.length }
        var readLimit: Int { inner.readLimit }
        func read(
            at offset: Int, count: Int, _ body: (UnsafeRawBufferPointer) throws(FleetError) -> Void
        ) throws(FleetError) { throw FleetError(.system, "killed") }
        func readAll(_ body: (UnsafeRawBufferPointer) throws(FleetError) -> Void) throws(FleetError) {
            throw FleetError(.system, "killed")
        }
    }

    func begin(_ key: String, cluster: String, node: String) throws(FleetError) -> any IncomingSnapshot {
        Incoming(try inner.begin(key, cluster: cluster, node: node))
    }
    func incoming() throws(FleetError) -> [String] { try inner.incoming() }
    func discard(_ key: String, isUnreadable: Bool) throws(FleetError) {
        try inner.discard(key, isUnreadable: isUnreadable)
    }
    func ids() throws(FleetError) -> [String] { try inner.ids() }
    func list() throws(FleetError) -> StoreListing { try inner.list() }
    func open(_ id: String) throws(FleetError) -> any StoredSnapshot { try inner.open(id) }
    func delete(_ id: String) throws(FleetError) { try inner.delete(id) }
    func verify(_ id: String) throws(FleetError) -> StoreVerdict { try inner.verify(id) }
    func recover() throws(FleetError) -> [String] { try inner.recover() }
    func freeSpace() throws(FleetError) -> Int64 { try inner.freeSpace() }
    func usedSpace() throws(FleetError) -> Int64 { try inner.usedSpace() }
}
