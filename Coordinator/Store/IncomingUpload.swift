import FleetProtocol
import FleetRepository
import FleetSystem

/// An upload and its one writer. The lock makes taking it away safe: `close` waits for an append that is under way, and
/// what comes after it throws.
final class IncomingUpload: IncomingSnapshot {
    /// nil once closed.
    private let state: Monitor<Upload?>
    private let store: RepositoryStore
    let key: String

    init(store: RepositoryStore, key: String, upload: sending Upload) {
        self.store = store
        self.key = key
        state = Monitor(upload)
    }

    var length: Int64 { state.withLock { $0?.length ?? 0 } }

    func readBack(_ body: (UnsafeRawBufferPointer) throws(FleetError) -> Void) throws(FleetError) {
        try withUpload { upload throws(FleetError) in try upload.readBack(body) }
    }

    func append(_ bytes: UnsafeRawBufferPointer) throws(FleetError) {
        try withUpload { upload throws(FleetError) in try upload.append(bytes) }
    }

    func pages() throws(FleetError) -> any StoredPageSource {
        // Made under the lock, read outside of it: a look takes long, and another connection must not wait for it.
        let pages: RepositoryPages = try state.attempt { upload throws(FleetError) in try Self.open(upload).pages() }
        return SnapshotPages(pages)
    }

    func commit(_ record: SnapshotRecord) throws(FleetError) {
        try withUpload { upload throws(FleetError) in try store.commit(upload, as: record) }
        close()
    }

    func discard(isUnreadable: Bool) throws(FleetError) {
        // Under the lock: whoever begins the same key waits for it, and then finds nothing.
        try state.attempt { upload throws(FleetError) in
            try Self.open(upload).close()
            upload = nil
            try store.repository.discard(key, isUnreadable: isUnreadable)
        }
        store.forget(self)
    }

    func close() {
        state.withLock { upload in
            upload?.close()
            upload = nil
        }
        store.forget(self)
    }

    private func withUpload(_ body: (Upload) throws(FleetError) -> Void) throws(FleetError) {
        try state.attempt { upload throws(FleetError) in
            try body(try Self.open(upload))
        }
    }

    private static func open(_ upload: Upload?) throws(FleetError) -> Upload {
        guard let upload else {
            throw FleetError(
                .cancelled, "another connection has taken the upload over, or its backup has ended", retryable: true)
        }
        return upload
    }
}
