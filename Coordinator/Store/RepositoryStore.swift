import EtcdSnapshot
import FleetProtocol
import FleetRepository
import FleetSystem

/// The repository as the coordinator's store: a cluster is a lineage, a node a member of it, and the record travels as
/// the payload of its snapshot.
final class RepositoryStore: SnapshotStore {
    let repository: Repository
    /// The incoming ones that somebody writes to.
    private let writers = Monitor<[String: IncomingUpload]>([:])
    /// From taking a key away from its writer until the next one has it: of two that begin at once, the second must find
    /// the first, or both would write to one pack. Taken before a writer's own lock, never in it.
    private let keys = KeyLocks()

    init(_ repository: Repository) { self.repository = repository }

    private func check(_ id: String) throws(FleetError) {
        guard Identifier.isValid(id) else {
            throw FleetError(.malformed, "\(Names.quote(id)) is not the id of a snapshot")
        }
    }

    // MARK: incoming

    func begin(_ key: String, cluster: String, node: String) throws(FleetError) -> any IncomingSnapshot {
        try check(key)
        return try keys.holding(key) { () throws(FleetError) in
            takeAway(key)
            let writer = IncomingUpload(
                store: self, key: key, upload: try repository.begin(key, lineage: cluster, member: node))
            writers.withLock { $0[key] = writer }
            return writer
        }
    }

    /// Waits for what the writer is at.
    private func takeAway(_ key: String) { writers.withLock { $0.removeValue(forKey: key) }?.close() }

    /// A writer that is closed need not be closed again.
    func forget(_ writer: IncomingUpload) {
        writers.withLock { if $0[writer.key] === writer { $0[writer.key] = nil } }
    }

    func incoming() throws(FleetError) -> [String] { try repository.uploads().filter { Identifier.isValid($0) } }

    func discard(_ key: String, isUnreadable: Bool) throws(FleetError) {
        try check(key)
        try keys.holding(key) { () throws(FleetError) in
            takeAway(key)
            try repository.discard(key, isUnreadable: isUnreadable)
        }
    }

    func commit(_ upload: Upload, as record: SnapshotRecord) throws(FleetError) {
        try check(record.id)
        guard upload.length == record.size else {
            throw FleetError(.snapshotDamaged, "\(upload.length) bytes are not the \(record.size) of \(record.id)")
        }
        try repository.commit(upload, as: record.id, payload: try JSON.encode(record))
    }

    // MARK: committed

    func ids() throws(FleetError) -> [String] { try repository.ids().filter { Identifier.isValid($0) } }

    func list() throws(FleetError) -> StoreListing {
        let all = try repository.list()
        var listing = StoreListing(
            problems: all.problems.filter { Identifier.isValid($0.id) }.map { .init(id: $0.id, error: $0.error) })
        for head in all.heads where Identifier.isValid(head.id) {
            do throws(FleetError) { listing.records.append(try Self.record(head)) } catch {
                listing.problems.append(.init(id: head.id, error: error))
            }
        }
        listing.problems.sort { $0.id < $1.id }
        return listing
    }

    private static func record(_ head: SnapshotHead) throws(FleetError) -> SnapshotRecord {
        do throws(FleetError) {
            let record = try JSON.decode(SnapshotRecord.self, from: head.payload)
            guard record.id == head.id, record.size == head.length else {
                throw FleetError(.malformed, "it describes snapshot \(record.id) of \(record.size) bytes")
            }
            return record
        } catch { throw error.during("record of snapshot \(head.id)") }
    }

    func open(_ id: String) throws(FleetError) -> any StoredSnapshot {
        try check(id)
        let snapshot = try repository.open(id)
        return StoredPages(try Self.record(snapshot.head), snapshot)
    }

    func delete(_ id: String) throws(FleetError) {
        try check(id)
        try repository.delete(id)
    }

    func verify(_ id: String) throws(FleetError) -> StoreVerdict {
        try check(id)
        do throws(FleetError) { _ = try repository.head(id) } catch {
            guard error.code == .snapshotDamaged else { throw error }
            return StoreVerdict(findings: [error])
        }
        do throws(FleetError) {
            let snapshot = try open(id)
            let record = snapshot.record
            let hasher = SnapshotHasher()
            // From the disk: what is decoded already says nothing of what has become of it there.
            try snapshot.pages.readAll { bytes in hasher.update(bytes) }
            return StoreVerdict(
                findings: SnapshotShape.findings(hasher.result(), of: record))
        } catch {
            guard [.notFound, .snapshotDamaged, .malformed].contains(error.code) else { throw error }
            return StoreVerdict(findings: [error])
        }
    }

    func recover() throws(FleetError) -> [String] {
        try repository.recover()
        return []
    }

    func freeSpace() throws(FleetError) -> Int64 { try repository.freeSpace() }
    func usedSpace() throws(FleetError) -> Int64 { try repository.storedBytes() }
}

private final class StoredPages: StoredSnapshot {
    let record: SnapshotRecord
    private let snapshot: RepositorySnapshot

    init(_ record: SnapshotRecord, _ snapshot: RepositorySnapshot) {
        self.record = record
        self.snapshot = snapshot
    }

    func read(at offset: Int64, into buffer: UnsafeMutableRawBufferPointer) throws(FleetError) -> Int {
        try snapshot.read(at: offset, into: buffer)
    }

    var pages: any StoredPageSource { SnapshotPages(snapshot.pages) }

    func write(to target: any SnapshotTarget) throws(FleetError) -> [UInt8] { try snapshot.write(to: target) }
}
