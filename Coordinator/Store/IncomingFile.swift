import FleetProtocol
import FleetSystem

/// A part file and its one writer. The lock makes taking it away safe: `close` waits for an append that is under way,
/// and what comes after it throws.
final class IncomingFile: IncomingSnapshot {
    private struct State {
        /// nil once closed.
        var file: (any StoreFile)?
        var length: Int64
    }
    private let state: Monitor<State>
    private let store: FileStore
    let key: String
    private let path: String

    init(store: FileStore, key: String, path: String, file: any StoreFile) throws(FleetError) {
        self.store = store
        self.key = key
        self.path = path
        // What a former process wrote may be in the page cache only; the length that is promised to the agent is not.
        do throws(FleetError) { try file.sync() } catch {
            try? store.files.remove(path)
            throw error
        }
        state = Monitor(State(file: file, length: try file.size()))
    }

    var length: Int64 { state.withLock { $0.length } }

    func readBack(_ body: (UnsafeRawBufferPointer) throws(FleetError) -> Void) throws(FleetError) {
        try withFile { file, _ throws(FleetError) in try readAll(file, body) }
    }

    func append(_ bytes: UnsafeRawBufferPointer) throws(FleetError) {
        try withFile { file, length throws(FleetError) in
            do throws(FleetError) { try file.append(bytes) } catch {
                // A part of it may have been written: what lies behind `length` was never hashed.
                try? file.truncate(to: length)
                throw error
            }
            length += Int64(bytes.count)
        }
    }

    func commit(_ record: SnapshotRecord) throws(FleetError) {
        var isGone = false
        do throws(FleetError) {
            try withFile { file, length throws(FleetError) in
                guard length == record.size else {
                    throw FleetError(.snapshotDamaged, "\(length) bytes are not the \(record.size) of \(record.id)")
                }
                do throws(FleetError) { try file.sync() } catch {
                    // fsync(2): after an error the kernel may count the pages as clean, and the next call succeeds
                    // without having written them. What can't be trusted any more is sent again.
                    try? store.files.remove(path)
                    isGone = true
                    throw error
                }
                try store.publish(path, as: record)
            }
        } catch {
            if isGone { close() }
            throw error
        }
        close()
    }

    func close() {
        state.withLock { $0.file = nil }
        store.forget(self)
    }

    private func withFile(_ body: (any StoreFile, inout Int64) throws(FleetError) -> Void) throws(FleetError) {
        let result: Result<Void, FleetError> = state.withLock { state in
            guard let file = state.file else {
                return .failure(
                    FleetError(.cancelled, "the upload was taken over by another connection", retryable: true))
            }
            do throws(FleetError) { return .success(try body(file, &state.length)) } catch { return .failure(error) }
        }
        try result.get()
    }
}
