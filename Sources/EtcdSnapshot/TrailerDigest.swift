internal import FleetCrypto
internal import FleetSystem

/// The SHA-256 of all pages, computed on a thread of its own while the tree is walked on the caller's: the digest is
/// sequential by nature, so it takes the longer of the two and everything else has to fit beside it.
final class TrailerDigest: Sendable {
    /// Bytes for one call of the hash: so many that calls do not count.
    private static let step = 1 << 20
    /// Bytes after which the waiting thread is told how far it is.
    private static let stride = 32 << 20

    private struct State {
        var hashed = 0
        var result: Result<SnapshotReport.Digest, FleetError>?
    }
    private let state = Monitor(State())
    private let source: any PageSource

    init(_ source: any PageSource, trailer: Int) {
        self.source = source
        let state = self.state
        Thread.start(name: "sha256") {
            let result: Result<SnapshotReport.Digest, FleetError>
            do throws(FleetError) {
                result = .success(
                    try Self.compute(source, trailer) { hashed in
                        guard hashed % Self.stride == 0 else { return }
                        state.withLock { $0.hashed = hashed }
                        state.signal()
                    })
            } catch { result = .failure(error) }
            state.withLock { $0.result = result }
            state.signal()
        }
    }

    /// Waits for it, and gives the source back what was hashed meanwhile: taking half a gigabyte out of a page table
    /// takes some 7 ms, which would otherwise come after the last byte was hashed.
    func wait() throws(FleetError) -> SnapshotReport.Digest {
        var released = 0
        while true {
            let from = released
            let now = state.waiting(
                seconds: 60, until: { $0.result != nil || $0.hashed > from }, { state, _ in state })
            if let result = now.result { return try result.get() }
            source.release(released..<max(released, now.hashed))
            released = now.hashed
        }
    }

    private static func compute(
        _ source: any PageSource, _ trailer: Int, progress: (Int) -> Void
    ) throws(FleetError) -> SnapshotReport.Digest {
        var hasher = SHA256()
        var offset = 0
        while offset < trailer {
            let count = min(step, source.readLimit, trailer - offset)
            try source.read(at: offset, count: count) { bytes throws(FleetError) in hasher.update(bytes) }
            offset += count
            progress(offset)
        }
        return try compare(source, trailer, hasher.finalize())
    }

    static func compare(
        _ source: any PageSource, _ trailer: Int, _ computed: [UInt8]
    ) throws(FleetError) -> SnapshotReport.Digest {
        var stored: [UInt8] = []
        try source.read(at: trailer, count: 32) { bytes throws(FleetError) in stored = Array(bytes) }
        return SnapshotReport.Digest(stored: stored.hex, computed: computed.hex, ok: stored == computed)
    }
}
