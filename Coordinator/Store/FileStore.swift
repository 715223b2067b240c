import FleetProtocol
import FleetSystem

/// Snapshots as plain files.
///
///     ROOT/snapshots/ID.db     the snapshot as etcd saved it
///     ROOT/snapshots/ID.json   its manifest: the record; what has no manifest is not there
///     ROOT/incoming/KEY.part   bytes of an upload
///     ROOT/orphans/            what crashes left behind, for somebody to look at
///
/// A commit: sync the part, rename it to `ID.db` (directory synced), write the manifest durably. The manifest is last,
/// so at every moment before it the snapshot does not exist, and from then on it is whole.
final class FileStore: SnapshotStore {
    let root: String
    let files: any StoreFiles
    /// The incoming ones that somebody writes to.
    private let writers = Monitor<[String: IncomingFile]>([:])
    private static let manifestLimit = 1 << 20

    /// Makes what is missing of the directories.
    init(_ root: String, files: any StoreFiles = SystemStoreFiles()) throws(FleetError) {
        self.root = root
        self.files = files
        for name in ["snapshots", "incoming", "orphans"] { try files.makeDirectories("\(root)/\(name)") }
    }

    func snapshotPath(_ id: String) -> String { "\(root)/snapshots/\(id).db" }
    func manifestPath(_ id: String) -> String { "\(root)/snapshots/\(id).json" }
    private func partPath(_ key: String) -> String { "\(root)/incoming/\(key).part" }

    private func check(_ id: String) throws(FleetError) {
        guard Identifier.isValid(id) else {
            throw FleetError(.malformed, "\(Names.quote(id)) is not the id of a snapshot")
        }
    }

    // MARK: incoming

    func begin(_ key: String) throws(FleetError) -> any IncomingSnapshot {
        try check(key)
        writers.withLock { $0.removeValue(forKey: key) }?.close()
        let path = partPath(key)
        let writer = try IncomingFile(store: self, key: key, path: path, file: try files.openIncoming(path))
        // Two that begin at once: one of them is the former of the other, whichever it is.
        writers.withLock { $0.updateValue(writer, forKey: key) }?.close()
        return writer
    }

    /// A writer that is closed need not be closed again.
    func forget(_ writer: IncomingFile) {
        writers.withLock { if $0[writer.key] === writer { $0[writer.key] = nil } }
    }

    func incoming() throws(FleetError) -> [String] { try names(in: "incoming", ending: ".part") }

    func discard(_ key: String) throws(FleetError) {
        try check(key)
        writers.withLock { $0.removeValue(forKey: key) }?.close()
        try files.remove(partPath(key))
    }

    /// The last steps of a commit; the part is synced.
    func publish(_ part: String, as record: SnapshotRecord) throws(FleetError) {
        try check(record.id)
        guard try files.size(manifestPath(record.id)) == nil, try files.size(snapshotPath(record.id)) == nil else {
            throw FleetError(.alreadyExists, "snapshot \(record.id) is in the store already")
        }
        let manifest = try JSON.encode(record, pretty: true)
        try files.rename(part, to: snapshotPath(record.id))
        do throws(FleetError) { try files.writeDurably(manifestPath(record.id), manifest) } catch {
            // No space for a manifest: the bytes go back, so that the upload can be finished when there is some again.
            // The manifest first: it may be there, with only its directory's sync refused.
            try? files.remove(manifestPath(record.id))
            try? files.rename(snapshotPath(record.id), to: part)
            throw error
        }
    }

    // MARK: committed

    func list() throws(FleetError) -> StoreListing {
        var listing = StoreListing()
        for id in try names(in: "snapshots", ending: ".json") {
            do throws(FleetError) {
                let record = try manifest(id)
                let size = try files.size(snapshotPath(id))
                if let problem = Self.problem(record, size: size) {
                    listing.problems.append(.init(id: id, error: problem))
                } else {
                    listing.records.append(record)
                }
            } catch { listing.problems.append(.init(id: id, error: error)) }
        }
        return listing
    }

    private static func problem(_ record: SnapshotRecord, size: Int64?) -> FleetError? {
        guard let size else {
            return FleetError(
                .notFound, "the file of snapshot \(record.id) is not there",
                hint: "put it back from a copy of the store, or restore another snapshot")
        }
        guard size == record.size else {
            return FleetError(
                .snapshotDamaged, "the file of snapshot \(record.id) has \(size) bytes instead of \(record.size)",
                hint: "put it back from a copy of the store, or restore another snapshot")
        }
        return nil
    }

    private func manifest(_ id: String) throws(FleetError) -> SnapshotRecord {
        let path = manifestPath(id)
        do throws(FleetError) {
            let record = try JSON.decode(SnapshotRecord.self, from: try files.read(path, limit: Self.manifestLimit))
            // A manifest that was copied under another name would be a second snapshot with the first one's id.
            guard record.id == id else { throw FleetError(.malformed, "it describes snapshot \(record.id)") }
            return record
        } catch { throw error.code == .notFound ? error : error.during("manifest \(path)") }
    }

    func open(_ id: String) throws(FleetError) -> any StoredSnapshot {
        try check(id)
        guard try files.size(manifestPath(id)) != nil else {
            throw FleetError(.notFound, "snapshot \(id) is not in the store")
        }
        let record = try manifest(id)
        if let problem = Self.problem(record, size: try files.size(snapshotPath(id))) { throw problem }
        return StoredFile(record, try files.openStored(snapshotPath(id)))
    }

    func delete(_ id: String) throws(FleetError) {
        try check(id)
        try files.remove(snapshotPath(id))
        try files.remove(manifestPath(id))
    }

    func verify(_ id: String) throws(FleetError) -> StoreVerdict {
        try check(id)
        let record = try manifest(id)
        let size = try files.size(snapshotPath(id))
        if size == nil, let problem = Self.problem(record, size: size) { return StoreVerdict(findings: [problem]) }
        let file = try files.openStored(snapshotPath(id))
        let hasher = SnapshotHasher()
        try readAll(file) { bytes throws(FleetError) in hasher.update(bytes) }
        return StoreVerdict(
            findings: SnapshotShape.findings(
                hasher.result(), length: record.size, sha256: record.sha256, facts: record.facts))
    }

    func recover() throws(FleetError) -> [String] {
        var moved: [String] = []
        let manifests = Set(try names(in: "snapshots", ending: ".json"))
        for name in try files.list("\(root)/snapshots") {
            if name.hasSuffix(".db"), manifests.contains(String(name.dropLast(3))) { continue }
            if name.hasSuffix(".json"), manifests.contains(String(name.dropLast(5))) { continue }
            // A name that is taken there gets a number: nothing that was put aside is ever overwritten.
            var target = name
            var number = 1
            while try files.size("\(root)/orphans/\(target)") != nil {
                number += 1
                target = "\(name).\(number)"
            }
            try files.rename("\(root)/snapshots/\(name)", to: "\(root)/orphans/\(target)")
            moved.append("\(root)/orphans/\(target)")
        }
        return moved
    }

    func freeSpace() throws(FleetError) -> Int64 { try files.freeSpace(root) }

    private func names(in directory: String, ending: String) throws(FleetError) -> [String] {
        try files.list("\(root)/\(directory)").filter { $0.hasSuffix(ending) }.map { String($0.dropLast(ending.count)) }
            .filter { Identifier.isValid($0) }
    }
}

/// Gives all of a file, in order, in pieces of a megabyte.
func readAll(
    _ file: any StoreFile, _ body: (UnsafeRawBufferPointer) throws(FleetError) -> Void
) throws(FleetError) {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 16)
    defer { buffer.deallocate() }
    var offset: Int64 = 0
    while true {
        let count = try file.read(at: offset, into: buffer)
        if count == 0 { return }
        try body(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        offset += Int64(count)
    }
}

private final class StoredFile: StoredSnapshot {
    let record: SnapshotRecord
    private let file: any StoreFile

    init(_ record: SnapshotRecord, _ file: any StoreFile) { (self.record, self.file) = (record, file) }

    func read(at offset: Int64, into buffer: UnsafeMutableRawBufferPointer) throws(FleetError) -> Int {
        try file.read(at: offset, into: buffer)
    }
}
