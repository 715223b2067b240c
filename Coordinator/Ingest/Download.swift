import FleetProtocol
import FleetSystem

/// A stored snapshot on its way out, to a node that restores it or to an operator who exports it.
struct Download: Sendable {
    let record: SnapshotRecord
    private let stored: any StoredSnapshot

    fileprivate init(_ stored: any StoredSnapshot) {
        self.stored = stored
        record = stored.record
    }

    /// Up to `count` bytes from `offset` on; none at the end.
    func read(at offset: Int64, count: Int) async throws(FleetError) -> [UInt8] {
        try await blocking { [stored] () throws(FleetError) in
            var failure: FleetError?
            let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
                do throws(FleetError) {
                    filled = try stored.read(at: offset, into: UnsafeMutableRawBufferPointer(buffer))
                } catch { failure = error }
            }
            if let failure { throw failure }
            return bytes
        }
    }

    /// What the bytes should add up to, as it was when they were stored: the receiver finds out what has changed since.
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

    /// By the exact id.
    func export(_ id: String) async throws(FleetError) -> Download {
        Download(try await blocking { [store] () throws(FleetError) in try store.open(id) })
    }
}
