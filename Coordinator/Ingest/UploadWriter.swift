import FleetProtocol
import FleetSystem

/// The part file and the running digests of one upload. Its functions block.
final class UploadWriter: Sendable {
    private struct State {
        let incoming: any IncomingSnapshot
        let hasher = SnapshotHasher()
    }
    // One call at a time comes from the session; the lock is for `close`, which comes whenever a connection is lost.
    private let state: Monitor<State>

    /// Reads what is there already into the digests.
    init(_ incoming: any IncomingSnapshot) throws(FleetError) {
        let state = State(incoming: incoming)
        try incoming.readBack { bytes throws(FleetError) in state.hasher.update(bytes) }
        self.state = Monitor(state)
    }

    var length: Int64 { state.withLock { $0.hasher.length } }

    func append(_ bytes: [UInt8]) throws(FleetError) {
        try locked { state throws(FleetError) in
            let result: Result<Void, FleetError> = bytes.withUnsafeBytes { buffer in
                do throws(FleetError) {
                    try state.incoming.append(buffer)
                    state.hasher.update(buffer)
                    return .success(())
                } catch { return .failure(error) }
            }
            return try result.get()
        }
    }

    func result() throws(FleetError) -> SnapshotHasher.Result {
        try locked { state throws(FleetError) in state.hasher.result() }
    }

    func pages() throws(FleetError) -> any StoredPageSource {
        try locked { state throws(FleetError) in try state.incoming.pages() }
    }

    func commit(_ record: SnapshotRecord) throws(FleetError) {
        try locked { state throws(FleetError) in try state.incoming.commit(record) }
    }

    /// - Throws: `cancelled` where another has taken it over.
    func discard(isUnreadable: Bool = false) throws(FleetError) {
        try locked { state throws(FleetError) in try state.incoming.discard(isUnreadable: isUnreadable) }
    }

    func close() { state.withLock { $0.incoming.close() } }

    private func locked<Value: Sendable>(_ body: (State) throws(FleetError) -> Value) throws(FleetError) -> Value {
        let result: Result<Value, FleetError> = state.withLock { state in
            do throws(FleetError) { return .success(try body(state)) } catch { return .failure(error) }
        }
        return try result.get()
    }
}
