import FleetSystem

/// What goes into one block, and what it is compressed against.
struct PlannedBlock: Sendable, Equatable {
    var depth: Int
    /// Numbers in the region.
    var pages: [Int] = []
    /// Pages of bbolt in the predecessor, with all their overflow.
    var bases: [UInt64] = []
    /// Single positions in the predecessor.
    var positions: [Int] = []
}

/// Sorts the pages of a region into blocks: by revision, since what was written from the same leaf, or from neighbours,
/// repeats itself, and by how deep their bases lie. Pure but for what the closures look up.
struct BlockPlanner {
    var tree: RevisionTree?
    /// How deep the block is that holds a page of the predecessor; nil where there is no such page.
    var depth: (_ position: Int) throws(FleetError) -> Int?

    /// Leaves that one page may be compared with: neighbours that were merged.
    private static let leafLimit = 4

    func plan(_ region: Region) throws(FleetError) -> [PlannedBlock] {
        let none = Revision(main: 0, sub: 0)
        let units = region.units.sorted {
            let (a, b) = ($0.firstRevision ?? none, $1.firstRevision ?? none)
            return a != b ? a < b : $0.first < $1.first
        }
        var open: [PlannedBlock?] = Array(repeating: nil, count: BlockEntry.maximumDepth + 1)
        var planned: [PlannedBlock] = []
        for unit in units {
            let base = try base(of: unit, region)
            for page in unit.first..<(unit.first + unit.count) {
                var block = open[base.depth] ?? PlannedBlock(depth: base.depth)
                if block.pages.isEmpty || page == unit.first {
                    for leaf in base.bases where !block.bases.contains(leaf) { block.bases.append(leaf) }
                }
                if base.isInPlace { block.positions.append(region.positions[page]) }
                block.pages.append(page)
                if block.pages.count == (base.depth == 0 ? BlockEntry.maximumPlainPages : BlockEntry.maximumPages) {
                    planned.append(block)
                    open[base.depth] = nil
                } else {
                    open[base.depth] = block
                }
            }
        }
        return planned + open.compactMap { $0 }
    }

    private func base(of unit: Region.Unit, _ region: Region) throws(FleetError) -> (
        depth: Int, bases: [UInt64], isInPlace: Bool
    ) {
        guard let tree else { return (0, [], false) }
        var candidates: [UInt64] = []
        if let first = unit.firstRevision {
            if unit.flags == BoltPage.leaf {
                candidates = tree.leaves(
                    from: first, through: region.lastRevision(unit) ?? first, limit: Self.leafLimit)
            } else {
                candidates = tree.branches(from: first, limit: 2)
            }
        } else {
            // Of another bucket, or no page at all: what was at the same place is as good a guess as any.
            var deepest = 0
            for page in unit.first..<(unit.first + unit.count) {
                guard let depth = try depth(region.positions[page]), depth < BlockEntry.maximumDepth else {
                    return (0, [], false)
                }
                deepest = max(deepest, depth)
            }
            return (deepest + 1, [], true)
        }
        var (deepest, bases): (Int, [UInt64]) = (-1, [])
        for page in candidates {
            let (position, isOver) = page.multipliedReportingOverflow(by: UInt64(tree.slots))
            guard !isOver, position < 1 << 40, let depth = try depth(Int(position)), depth < BlockEntry.maximumDepth
            else { continue }
            deepest = max(deepest, depth)
            bases.append(page)
        }
        return (deepest + 1, bases, false)
    }
}
