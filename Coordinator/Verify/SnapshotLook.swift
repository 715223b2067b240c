import EtcdSnapshot
import FleetProtocol
import FleetRepository
import FleetSystem

/// A stored snapshot that somebody looks into.
struct SnapshotLook: Sendable {
    let entry: SnapshotEntry
    let reader: SnapshotReader
    private let vault: Vault
    private let pages: WatchedPages

    init(_ entry: SnapshotEntry, _ vault: Vault) async throws(FleetError) {
        self.entry = entry
        self.vault = vault
        let store = vault.store
        (reader, pages) = try await vault.looking(at: entry.record.id) { () throws(FleetError) in
            do throws(FleetError) {
                let pages = WatchedPages(try store.open(entry.record.id).pages)
                return (try SnapshotReader(pages), pages)
            } catch {
                guard error.code == .notASnapshot else { throw error }
                throw FleetError(
                    error.code, "snapshot \(entry.record.id) can't be looked into: \(error.message)",
                    hint: "see what is known of it: fleetctl snapshot show \(entry.record.id)")
            }
        }
    }

    /// `body` when it is its turn.
    func take<Value: Sendable>(
        _ body: @escaping @Sendable (SnapshotReader) throws(FleetError) -> Value
    ) async throws(FleetError) -> Value {
        let reader = self.reader
        return try await vault.looking(at: entry.record.id) { () throws(FleetError) in try body(reader) }
    }
}

extension SnapshotLook {
    /// `body` with an older one beside it. Only the one that failed is marked.
    func take<Value: Sendable>(
        with older: SnapshotLook,
        _ body: @escaping @Sendable (_ older: SnapshotReader, _ newer: SnapshotReader) throws(FleetError) -> Value
    ) async throws(FleetError) -> Value {
        let (before, after) = (older.reader, reader)
        do throws(FleetError) {
            return try await vault.looks.take { () throws(FleetError) in try body(before, after) }
        } catch {
            for look in [older, self] {
                if let failure = look.pages.failure { await vault.distrustUnreadable(look.entry.record.id, failure) }
            }
            throw error
        }
    }
}

/// Pages that know whether it was they that failed: where two snapshots are read at once, an error does not tell.
private final class WatchedPages: PageSource {
    private let inner: any PageSource
    private let failed = Monitor<FleetError?>(nil)

    init(_ inner: any PageSource) { self.inner = inner }

    var length: Int { inner.length }
    var readLimit: Int { inner.readLimit }
    var failure: FleetError? { failed.withLock(\.self) }

    func read(
        at offset: Int, count: Int, _ body: (UnsafeRawBufferPointer) throws(FleetError) -> Void
    ) throws(FleetError) {
        // Reads are nested, those of the other snapshot too: what `body` throws is somebody else's.
        var wasRead = false
        do throws(FleetError) {
            try inner.read(at: offset, count: count) { bytes throws(FleetError) in
                wasRead = true
                try body(bytes)
            }
        } catch {
            if !wasRead { failed.withLock { $0 = $0 ?? error } }
            throw error
        }
    }

    func release(_ range: Range<Int>) { inner.release(range) }
}

extension Vault {
    /// A turn among those who look, which those who store don't wait for. What can't be read any more is marked.
    func looking<Value: Sendable>(
        at id: String, _ body: @escaping @Sendable () throws(FleetError) -> Value
    ) async throws(FleetError) -> Value {
        do throws(FleetError) { return try await looks.take(body) } catch {
            await distrustUnreadable(id, error)
            throw error
        }
    }

    fileprivate func distrustUnreadable(_ id: String, _ error: FleetError) async {
        if error.code == .notFound || error.code == .snapshotDamaged { await distrust(id, error) }
    }
}
