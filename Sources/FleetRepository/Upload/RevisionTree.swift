import FleetSystem

/// Which leaf of a snapshot holds a revision: the inner pages of its `key` bucket.
///
/// bbolt never writes a page in place, so a leaf that changed a little is somewhere else in the next snapshot, and what
/// it repeats is the leaf that held the same revisions. That is found here by key, without reading a leaf, without an
/// index in the repository, and as well behind a defragmentation, which moves every page.
struct RevisionTree: Sendable {
    private(set) var leaves: [(first: Revision, page: UInt64)] = []
    /// Inner pages that lead to leaves.
    private(set) var branches: [(first: Revision, page: UInt64)] = []
    /// Stored pages that a page of bbolt takes, without overflow.
    private(set) var slots = 1

    private static let maximumHeight = 12

    /// From a reader of the snapshot. Anything that is not as expected gives fewer entries, or none.
    init(_ reader: PageReader) throws(FleetError) {
        var metas: [(pageSize: Int, root: UInt64, transaction: UInt64)] = []
        // The second meta page lies behind the first one; its place depends on the size of pages.
        if let meta = try Self.page(reader, 0, slots: 1, { $0.meta }) { metas.append(meta) }
        guard let first = metas.first, first.pageSize >= pageLength else { return }
        slots = first.pageSize / pageLength
        if let meta = try Self.page(reader, 1, slots: slots, { $0.meta }) { metas.append(meta) }
        let root = metas.max { $0.transaction < $1.transaction }!.root
        guard let keys = try Self.page(reader, root, slots: slots, { $0.bucket("key") }), keys != 0 else { return }
        try descend(reader, keys)
        leaves.sort { $0.first < $1.first }
        branches.sort { $0.first < $1.first }
    }

    /// Level by level: all leaves of bbolt's trees are equally deep. A real tree has each page once, so it is no larger
    /// than its file; what claims to be is not gone into.
    private mutating func descend(_ reader: PageReader, _ top: UInt64) throws(FleetError) {
        var level: [(first: Revision, page: UInt64)] = [(Revision(main: 0, sub: 0), top)]
        for _ in 0..<Self.maximumHeight {
            guard let first = level.first,
                try Self.page(reader, first.page, slots: slots, { $0.flags }) == BoltPage.branch
            else {
                leaves = level
                return
            }
            branches += level
            var next: [(first: Revision, page: UInt64)] = []
            for (_, number) in level {
                let children = try Self.page(reader, number, slots: slots) { page in
                    page.flags != BoltPage.branch
                        ? []
                        : (0..<page.count).compactMap { i -> (first: Revision, page: UInt64)? in
                            guard let first = page.revision(i), let child = page.child(i) else { return nil }
                            return (first, child)
                        }
                }
                next += children ?? []
                guard branches.count + next.count <= reader.map.count else { return }
            }
            level = next
        }
    }

    /// Leaves that may hold what is between two revisions, at most `limit`. None for revisions behind the last leaf's
    /// first one: that is new data.
    func leaves(from first: Revision, through last: Revision, limit: Int) -> [UInt64] {
        Self.find(leaves, first, last, limit)
    }

    func branches(from first: Revision, limit: Int) -> [UInt64] { Self.find(branches, first, first, limit) }

    private static func find(
        _ entries: [(first: Revision, page: UInt64)], _ first: Revision, _ last: Revision, _ limit: Int
    ) -> [UInt64] {
        guard let end = entries.last, first <= end.first else { return [] }
        var (low, high) = (0, entries.count)
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].first <= first { low = middle + 1 } else { high = middle }
        }
        let start = max(0, low - 1)
        var found: [UInt64] = []
        for entry in entries[start...].prefix(limit) {
            if !found.isEmpty, entry.first > last { break }
            found.append(entry.page)
        }
        return found
    }

    private static func page<Value>(
        _ reader: PageReader, _ number: UInt64, slots: Int, _ body: (BoltPage) -> Value?
    ) throws(FleetError) -> Value? {
        let count = UInt64(reader.map.count)
        guard number < count, number * UInt64(slots) < count else { return nil }
        let position = Int(number) * slots
        let bytes: [UInt8]
        if slots == 1 {
            bytes = Array(try reader.page(position))
        } else {
            var all: [UInt8] = []
            for position in position..<min(position + slots, reader.map.count) { all += try reader.page(position) }
            bytes = all
        }
        return bytes.withUnsafeBytes { body(BoltPage(bytes: $0)) }
    }
}
