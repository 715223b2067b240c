internal import FleetCrypto
internal import FleetSystem

/// The SHA-256 of all pages, computed on a thread of its own while the tree is walked on the caller's: the digest is
/// sequential by nature and takes the longer of the two.
final class TrailerDigest: Sendable {
    /// Bytes hashed between two looks at the page table: large enough that calls do not count, small enough that what
    /// was made ready is still in the cache.
    private static let step = 1 << 20

    private let outcome = Monitor<Result<SnapshotReport.Digest, FleetError>?>(nil)

    init(_ source: any PageSource, trailer: Int) {
        let outcome = self.outcome
        Thread.start(name: "sha256") {
            let result: Result<SnapshotReport.Digest, FleetError>
            do throws(FleetError) { result = .success(try Self.compute(source, trailer)) } catch {
                result = .failure(error)
            }
            outcome.withLock { $0 = result }
            outcome.signal()
        }
    }

    /// Waits for it.
    func wait() throws(FleetError) -> SnapshotReport.Digest {
        while true {
            if let result = outcome.waiting(seconds: 60, until: { $0 != nil }, { value, _ in value }) {
                return try result.get()
            }
        }
    }

    static func compute(_ source: any PageSource, _ trailer: Int) throws(FleetError) -> SnapshotReport.Digest {
        var hasher = SHA256()
        var offset = 0
        while offset < trailer {
            let count = min(step, source.readLimit, trailer - offset)
            try source.read(at: offset, count: count) { bytes throws(FleetError) in hasher.update(bytes) }
            offset += count
        }
        let computed = hasher.finalize()
        var stored: [UInt8] = []
        try source.read(at: trailer, count: 32) { bytes throws(FleetError) in stored = Array(bytes) }
        return SnapshotReport.Digest(stored: stored.hex, computed: computed.hex, ok: stored == computed)
    }
}
