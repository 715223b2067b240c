import EtcdSnapshot
import FleetProtocol
import FleetRepository
import FleetSQLite
import FleetSystem
import RepositoryTestFiles
import Testing

@testable import FleetCoordinator

@Suite("Ingest: rare moments")
struct IngestFaultTests {
    private let node = NodeName(cluster: "a", node: "n1")

    /// The connection broke while the upload was being committed, and the agent is back before the commit is done.
    @Test func anUploadThatIsTakenOverDuringItsCommitIsStored() async throws {
        let catalogue = try await Fixture.fleet()
        let job = try await catalogue.createBackup(cluster: "a", node: "n1", lifetime: .seconds(600), by: "root")
        let sample = SampleSnapshot(job.snapshot, job: job.id)
        let request = UploadRequest(job: job.id, snapshot: job.snapshot, facts: sample.record.facts)
        let inner = try RepositoryStore.test("/s", files: PowerCutFiles())
        let store = LateStore(inner) { try inner.store(sample, key: Vault.key(request)) }
        let vault = Vault(store: store, catalogue: catalogue, reserve: 0)
        let session = try await vault.begin(request, from: node)
        #expect(session.offset == sample.record.size)
        #expect(try await session.finish(sample.digest).snapshot == job.snapshot)
        #expect(try inner.incoming().isEmpty)
        #expect(try await catalogue.snapshot(job.snapshot).condition == .verified)
    }

    /// The upload is taken away while it is being looked into, and begun again: what A can't read any more is no damage
    /// of the disk, and B's bytes are not A's to throw away.
    @Test func anUploadThatIsTakenOverDuringItsVerificationIsLeftAlone() async throws {
        let catalogue = try await Fixture.fleet()
        let job = try await catalogue.createBackup(cluster: "a", node: "n1", lifetime: .seconds(600), by: "root")
        let sample = try SampleSnapshot(etcd: job.snapshot, job: job.id)
        let request = UploadRequest(job: job.id, snapshot: job.snapshot, facts: sample.record.facts)
        let inner = try RepositoryStore.test("/s", files: PowerCutFiles())
        let later = Monitor<(any IncomingSnapshot)?>(nil)
        let store = TakenStore(inner) {
            try inner.discard(Vault.key(request))
            let next = try inner.begin(Vault.key(request))
            try next.append(sample.bytes[..<1000])
            later.withLock { $0 = next }
        }
        let vault = Vault(store: store, catalogue: catalogue, reserve: 0)
        let session = try await vault.begin(request, from: node)
        try await session.append(sample.bytes)
        #expect(await code { _ = try await session.finish(sample.digest) } == .cancelled)
        #expect(try await !catalogue.auditLog().contains { $0.event.action == "snapshot.refuse" })
        let next = try #require(later.withLock { $0 })
        try next.append(sample.bytes[1000...])
        try next.commit(sample.record)
        #expect(try inner.bytes(job.snapshot) == sample.bytes)
    }

    /// After a failed fsync the kernel may hold the pages for clean: a second one would succeed without having written.
    @Test func bytesThatCouldNotBeSyncedAreNotBelievedLater() async throws {
        let files = UnsyncedFiles()
        let store = try RepositoryStore.test("/s", files: files)
        let sample = SampleSnapshot("s1", pages: 20)
        let incoming = try store.begin("up")
        try incoming.append(sample.bytes)
        files.failing.withLock { $0 = true }
        #expect(await code { try incoming.commit(sample.record) } == .system)
        files.failing.withLock { $0 = false }
        #expect(await code { try incoming.commit(sample.record) } != nil)
        #expect(try store.list() == StoreListing())
        let again = try store.begin("up")
        #expect(again.length == 0)
        try again.append(sample.bytes[..<600])
        again.close()
        files.failing.withLock { $0 = true }
        #expect(await code { _ = try store.begin("up") } == .system)
        files.failing.withLock { $0 = false }
        #expect(try store.begin("up").length == 0)
    }

    /// Whoever reads it first finds out, and nobody restores it afterwards.
    @Test(arguments: ["flipped", "cut", "gone"])
    func aSnapshotThatChangedInTheStoreIsFoundOutOnItsWay(_ how: String) async throws {
        let files = PowerCutFiles()
        let store = try RepositoryStore.test("/s", files: files)
        try store.store(SampleSnapshot("s1", pages: 20))
        let before = Set(files.paths())
        try store.store(SampleSnapshot("s2", pages: 20, seed: 2))
        let pack = try #require(files.paths().first { $0.hasSuffix(".pack") && !before.contains($0) })
        let catalogue = try Fixture.catalogue()
        _ = try await Vault(store: store, catalogue: catalogue).reconcile()
        // Another process, which has not read it yet.
        let vault = Vault(store: try RepositoryStore.test("/s", files: files), catalogue: catalogue)
        func send(_ id: String) async throws -> [UInt8] {
            var received: [UInt8] = []
            try await vault.send(try await vault.export(id), from: 0) { piece in received += piece }
            return received
        }
        #expect(try await send("s1") == SampleSnapshot("s1", pages: 20).bytes)
        switch how {
        case "flipped": files.flip(pack, byte: 60, bit: 0)
        case "cut": try files.writeDurably(pack, [1, 2, 3])
        default: try files.remove(pack)
        }
        #expect(await code { _ = try await send("s2") } == (how == "gone" ? .notFound : .snapshotDamaged))
        #expect(try await catalogue.snapshot("s2").condition == (how == "gone" ? .missing : .damaged))
        #expect(try await catalogue.findSnapshot("latest", cluster: "a").record.id == "s1")
    }

    @Test func aRebuildReadsWhatItTakesIn() async throws {
        let files = PowerCutFiles()
        let store = try RepositoryStore.test("/s", files: files)
        for (seed, id) in ["s1", "s2", "s3"].enumerated() {
            let incoming = try store.begin("up", cluster: id, node: "n1")
            let sample = SampleSnapshot(id, pages: 20, seed: UInt8(seed))
            try incoming.append(sample.bytes)
            try incoming.commit(sample.record)
            if id == "s1" { files.flip(try #require(files.paths().first { $0.hasSuffix(".pack") }), byte: 60, bit: 0) }
        }
        let catalogue = try Fixture.catalogue()
        // A row of that id that is another snapshot's: odd, and no reason not to start.
        try await catalogue.add(Fixture.record("s2", cluster: "z"), by: "agent")
        try await catalogue.add(Fixture.record("s9"), by: "agent")
        try await catalogue.script(
            "UPDATE snapshots SET condition = 'missing'; UPDATE snapshots SET record = '{' WHERE id = 's9'")
        let done = try await Vault(store: store, catalogue: catalogue).reconcile()
        #expect(done.added == ["s3"])
        #expect(done.damaged == ["s1"])
        #expect(done.unknown.map(\.id) == ["s2", "s9"])
        #expect(try await catalogue.snapshot("s1").condition == .damaged)
        #expect(try await catalogue.findSnapshot("latest", cluster: "a").record.id == "s3")
    }
}

/// Another connection takes the upload away when its first page is asked for.
private final class TakenStore: SnapshotStore {
    private let inner: RepositoryStore
    private let taken: @Sendable () throws -> Void

    init(_ inner: RepositoryStore, _ taken: @escaping @Sendable () throws -> Void) {
        (self.inner, self.taken) = (inner, taken)
    }

    private final class Incoming: IncomingSnapshot {
        let inner: any IncomingSnapshot
        let taken: @Sendable () throws -> Void
        init(_ inner: any IncomingSnapshot, _ taken: @escaping @Sendable () throws -> Void) {
            (self.inner, self.taken) = (inner, taken)
        }
        var length: Int64 { inner.length }
        func readBack(_ body: (UnsafeRawBufferPointer) throws(FleetError) -> Void) throws(FleetError) {
            try inner.readBack(body)
        }
        func append(_ bytes: UnsafeRawBufferPointer) throws(FleetError) { try inner.append(bytes) }
        func pages() throws(FleetError) -> any StoredPageSource { Pages(inner: try inner.pages(), taken: taken) }
        func commit(_ record: SnapshotRecord) throws(FleetError) { try inner.commit(record) }
        func discard(isUnreadable: Bool) throws(FleetError) { try inner.discard(isUnreadable: isUnreadable) }
        func close() { inner.close() }
    }
    private struct Pages: StoredPageSource {
        let inner: any StoredPageSource
        let taken: @Sendable () throws -> Void
        var length: Int { inner.length }
        var readLimit: Int { inner.readLimit }
        func read(
            at offset: Int, count: Int, _ body: (UnsafeRawBufferPointer) throws(FleetError) -> Void
        ) throws(FleetError) {
            try fail()
        }
        func readAll(_ body: (UnsafeRawBufferPointer) throws(FleetError) -> Void) throws(FleetError) { try fail() }
        private func fail() throws(FleetError) -> Never {
            do { try taken() } catch { throw FleetError(error) }
            throw FleetError(.notFound, "its pack is gone")
        }
    }

    func begin(_ key: String, cluster: String, node: String) throws(FleetError) -> any IncomingSnapshot {
        Incoming(try inner.begin(key, cluster: cluster, node: node), taken)
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

/// Another connection's commit ends just before `begin`.
private final class LateStore: SnapshotStore {
    private let inner: RepositoryStore
    private let before: @Sendable () throws -> Void

    init(_ inner: RepositoryStore, _ before: @escaping @Sendable () throws -> Void) {
        (self.inner, self.before) = (inner, before)
    }

    func begin(_ key: String, cluster: String, node: String) throws(FleetError) -> any IncomingSnapshot {
        do { try before() } catch { throw FleetError(error) }
        return try inner.begin(key, cluster: cluster, node: node)
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

/// A file system in memory whose fsync fails on demand.
private final class UnsyncedFiles: RepositoryFiles {
    let failing = Monitor(false)
    private let inner = PowerCutFiles()

    private final class File: RepositoryFile {
        let inner: any RepositoryFile
        let files: UnsyncedFiles
        init(_ inner: any RepositoryFile, _ files: UnsyncedFiles) { (self.inner, self.files) = (inner, files) }
        func size() throws(FleetError) -> Int64 { try inner.size() }
        func append(_ bytes: UnsafeRawBufferPointer) throws(FleetError) { try inner.append(bytes) }
        func read(at offset: Int64, into buffer: UnsafeMutableRawBufferPointer) throws(FleetError) -> Int {
            try inner.read(at: offset, into: buffer)
        }
        func truncate(to length: Int64) throws(FleetError) { try inner.truncate(to: length) }
        func sync() throws(FleetError) {
            if files.failing.withLock(\.self) { throw FleetError(.system, "input/output error") }
            try inner.sync()
        }
        func release(_ range: Range<Int64>) throws(FleetError) -> Bool { try inner.release(range) }
    }

    func makeDirectories(_ path: String) throws(FleetError) {}
    func list(_ directory: String) throws(FleetError) -> [String] { try inner.list(directory) }
    func size(_ path: String) throws(FleetError) -> Int64? { try inner.size(path) }
    func allocated(_ path: String) throws(FleetError) -> Int64? { try inner.allocated(path) }
    func read(_ path: String, limit: Int) throws(FleetError) -> [UInt8] { try inner.read(path, limit: limit) }
    func openAppending(_ path: String) throws(FleetError) -> any RepositoryFile {
        File(try inner.openAppending(path), self)
    }
    func openStored(_ path: String) throws(FleetError) -> any RepositoryFile { try inner.openStored(path) }
    func writeDurably(_ path: String, _ bytes: [UInt8]) throws(FleetError) { try inner.writeDurably(path, bytes) }
    func remove(_ path: String) throws(FleetError) { try inner.remove(path) }
    func rename(_ path: String, to other: String) throws(FleetError) { try inner.rename(path, to: other) }
    func freeSpace(_ path: String) throws(FleetError) -> Int64 { try inner.freeSpace(path) }
}
