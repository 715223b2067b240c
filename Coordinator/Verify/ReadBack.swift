import FleetCrypto
import FleetProtocol
import FleetRepository
import FleetSystem

/// Whether the store gives back what arrived. The tree of a snapshot leads to the pages in use only, and most pages are
/// shared with earlier snapshots and were not written now: without this, a page that rotted long ago and is free in every
/// snapshot would be found out at the restore.
enum ReadBack {
    /// Reads all of it, from the disk. Blocks.
    ///
    /// - Throws: `snapshot-damaged` or `not-found`: the store is damaged, not what arrived.
    static func check(_ pages: any StoredPageSource, _ digest: StreamDigest) throws(FleetError) {
        var hasher = SHA256()
        var length: Int64 = 0
        try pages.readAll { bytes throws(FleetError) in
            hasher.update(bytes)
            length += Int64(bytes.count)
        }
        let found = hasher.finalize().hex
        guard length == digest.length, found == digest.sha256 else {
            throw FleetError(.snapshotDamaged, "the SHA-256 of its \(length) bytes is \(found)")
        }
    }

    /// What the sender is told of an error of the store: sent again, it is stored whole. nil for errors of other kinds.
    static func told(_ error: FleetError) -> FleetError? {
        guard error.code == .snapshotDamaged || error.code == .notFound else { return nil }
        return FleetError(
            .snapshotDamaged, "the coordinator's store is damaged, and what arrived can't be kept so: \(error.message)",
            hint: "run 'fleetctl store check --read-data', which names the snapshots that are lost, and look at the "
                + "coordinator's disk; sent again, this snapshot is stored without the damaged parts",
            retryable: true)
    }
}

extension Vault {
    /// What arrives is stored against earlier snapshots. Where that can't be read, it is thrown away, and the next
    /// attempt shares nothing with them: nobody has to repair the store before a backup succeeds again.
    ///
    /// - Parameter discard: throws the upload away as one that can't be read back; blocks.
    func givingUpUnreadable<Value: Sendable>(
        _ discard: @escaping @Sendable () throws(FleetError) -> Void, body: () async throws(FleetError) -> Value
    ) async throws(FleetError) -> Value {
        do throws(FleetError) { return try await body() } catch {
            guard let told = ReadBack.told(error) else { throw error }
            // First: where the upload is another's by now, what this one could not read says nothing of the disk.
            try await blocking(discard)
            log.error("the store does not give back what it was given", told)
            throw told
        }
    }
}
