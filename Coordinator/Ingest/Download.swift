import FleetProtocol
import FleetRepository
import FleetSystem

/// A stored snapshot on its way out, to a node that restores it or to an operator who exports it.
struct Download: Sendable {
    let record: SnapshotRecord
    private let stored: any StoredSnapshot

    fileprivate init(_ stored: any StoredSnapshot) {
        self.stored = stored
        record = stored.record
    }

    /// Up to `count` bytes from `offset` on; none at the end. `hasher` takes them in on the same thread.
    func read(at offset: Int64, count: Int, into hasher: Monitor<SnapshotHasher>? = nil) async throws(FleetError)
        -> [UInt8]
    {
        try await blocking { [stored] () throws(FleetError) in
            var failure: FleetError?
            let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
                do throws(FleetError) {
                    filled = try stored.read(at: offset, into: UnsafeMutableRawBufferPointer(buffer))
                } catch { failure = error }
            }
            if let failure { throw failure }
            bytes.withUnsafeBytes { buffer in hasher?.withLock { $0.update(buffer) } }
            return bytes
        }
    }

    /// What the bytes should add up to, as it was when they were stored: the receiver compares too.
    var digest: StreamDigest { StreamDigest(length: record.size, sha256: record.sha256) }
}

extension Vault {
    /// For a restore: only the snapshot that an open job of this very node names.
    ///
    /// - Throws: `not-found`, `malformed` for an offset outside of it.
    func fetch(_ request: FetchRequest, from node: NodeName) async throws(FleetError) -> Download {
        try await catalogue.checkFetch(request, from: node)
        let download = try await export(request.snapshot)
        guard (0...download.record.size).contains(request.offset) else {
            throw FleetError(.malformed, "offset \(request.offset) of a snapshot of \(download.record.size) bytes")
        }
        return download
    }

    /// By the exact id. One that can't be opened any more is marked.
    func export(_ id: String) async throws(FleetError) -> Download {
        do throws(FleetError) {
            return Download(try await blocking { [store] () throws(FleetError) in try store.open(id) })
        } catch {
            if error.code == .notFound || error.code == .snapshotDamaged { await distrust(id, error) }
            throw error
        }
    }

    /// Gives the bytes from `start` on to `body`, piece by piece. From the beginning they are hashed on their way.
    ///
    /// - Throws: `snapshot-damaged` behind the last piece, and the snapshot is marked: it is never chosen again until
    ///   somebody puts the file back.
    func send(
        _ download: Download, from start: Int64, to body: ([UInt8]) async throws(FleetError) -> Void
    ) async throws(FleetError) {
        let hasher = start == 0 ? Monitor(SnapshotHasher()) : nil
        var offset = start
        while true {
            let piece: [UInt8]
            do throws(FleetError) {
                piece = try await download.read(at: offset, count: 256 << 10, into: hasher)
            } catch {
                if error.code == .notFound || error.code == .snapshotDamaged {
                    await distrust(download.record.id, error)
                }
                throw error
            }
            if piece.isEmpty { break }
            try await body(piece)
            offset += Int64(piece.count)
        }
        let record = download.record
        guard offset == record.size, hasher.map({ $0.withLock { $0.result().sha256 } == record.sha256 }) ?? true else {
            let error = FleetError(
                .snapshotDamaged, "snapshot \(record.id) is not what was stored",
                hint: "choose another one: fleetctl snapshot list \(record.cluster)")
            await distrust(record.id, error)
            throw error
        }
    }

    /// What can't be read any more is marked, so that nothing chooses it.
    func distrust(_ id: String, _ error: FleetError) async {
        do throws(FleetError) {
            try await catalogue.mark(id, error.code == .notFound ? .missing : .damaged, error, by: "coordinator")
        } catch {
            guard error.code != .notFound else { return }
            log.with("snapshot", id).error("what is wrong with a snapshot could not be recorded", error)
        }
    }
}
