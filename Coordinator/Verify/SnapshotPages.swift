import EtcdSnapshot
import FleetRepository
import FleetSystem

/// A snapshot of the repository as the reader of snapshots wants it: pages in any order, decoded when they are asked for.
///
/// The tree of a well-meaning etcd has nodes of one page, and larger ones where a value is large. A file that was made to
/// do harm could nest nodes of any size, so what is handed out at one time has a limit.
final class SnapshotPages: StoredPageSource {
    /// One node of the tree: etcd refuses values of more than 1.5 MB unless it is told otherwise.
    static let nodeLimit = 32 << 20
    /// All nodes that are looked at at once, one below the other.
    static let totalLimit = 96 << 20

    private let pages: RepositoryPages
    private let held = Monitor(0)

    init(_ pages: RepositoryPages) { self.pages = pages }

    var length: Int { Int(pages.length) }
    var readLimit: Int { Self.nodeLimit }

    func read(
        at offset: Int, count: Int, _ body: (UnsafeRawBufferPointer) throws(FleetError) -> Void
    ) throws(FleetError) {
        let isTooMuch = held.withLock { held in
            held += count
            return held > Self.totalLimit
        }
        defer { held.withLock { $0 -= count } }
        guard !isTooMuch else {
            throw FleetError(
                .limit, "its tree has nodes that take more than \(Self.totalLimit) bytes one below the other",
                hint: "no etcd writes this: look where the file comes from")
        }
        try pages.read(at: offset, count: count, body)
    }

    func readAll(_ body: (UnsafeRawBufferPointer) throws(FleetError) -> Void) throws(FleetError) {
        try pages.readAll(body)
    }
}
