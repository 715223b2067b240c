import FleetSystem

/// The snapshot that an upload is stored against, and which of its blocks may be referred to.
///
/// Each upload adds a pack, and reading a snapshot gets slower with each pack that it takes pages from. So there is a
/// limit: an upload whose predecessor has reached it stores again, as new, the pages that depend on the packs with the
/// fewest of them. That also lets old packs go once older snapshots are deleted.
final class Predecessor: Sendable {
    /// Packs that a snapshot may need. Measured on a series of forty: 8 store a quarter more than 16, 20 take half as long
    /// again to read.
    static let maximumPacks = 16

    let reader: PageReader
    /// Blocks that depend on a pack that is given up.
    private let givenUp: Set<BlockCache.Key>

    init(_ reader: PageReader, maximumPacks: Int = Predecessor.maximumPacks) throws(FleetError) {
        self.reader = reader
        guard reader.table.count >= maximumPacks else {
            givenUp = []
            return
        }
        var dependencies = Dependencies(reader)
        var pages: [BlockCache.Key: Int] = [:]
        for location in reader.map {
            let pack = try reader.packs.pack(reader.table[Int(location.pack)])
            let key = BlockCache.Key(pack: pack.id, block: try pack.block(ofPage: Int(location.ordinal)))
            pages[key, default: 0] += 1
        }
        var needs: [BlockCache.Key: Set<PackID>] = [:]
        for key in pages.keys { needs[key] = try dependencies.packs(of: key) }
        var remaining = needs
        while true {
            var costs: [PackID: Int] = [:]
            for (key, packs) in remaining { for pack in packs { costs[pack, default: 0] += pages[key]! } }
            guard costs.count >= maximumPacks,
                let cheapest = costs.min(by: { ($0.value, $0.key) < ($1.value, $1.key) })?.key
            else { break }
            remaining = remaining.filter { !$0.value.contains(cheapest) }
        }
        let kept = remaining.values.reduce(into: Set<PackID>()) { $0.formUnion($1) }
        givenUp = Set(dependencies.known.filter { !$0.value.isSubset(of: kept) }.keys)
    }

    /// Whether the page at a position may be taken over or compressed against, and how deep its block is.
    func depth(_ position: Int) throws(FleetError) -> Int? {
        guard position < reader.map.count else { return nil }
        let (pack, block, _) = try reader.place(position)
        guard givenUp.isEmpty || !givenUp.contains(BlockCache.Key(pack: pack.id, block: block)) else { return nil }
        return pack.index.blocks[block].depth
    }

    /// Fingerprints by position; `none` for pages that must be stored again.
    func fingerprints() throws(FleetError) -> ContiguousArray<PageID> {
        var lists: [UInt32: (pack: PackFile, ids: ContiguousArray<PageID>)] = [:]
        var result = ContiguousArray<PageID>()
        result.reserveCapacity(reader.map.count)
        var (number, current): (UInt32, (pack: PackFile, ids: ContiguousArray<PageID>)?) = (.max, nil)
        for (position, location) in reader.map.enumerated() {
            if location.pack != number {
                if lists[location.pack] == nil {
                    let pack = try reader.packs.pack(reader.table[Int(location.pack)])
                    lists[location.pack] = (pack, try pack.ids())
                }
                (number, current) = (location.pack, lists[location.pack])
            }
            guard location.ordinal < current!.ids.count else { throw damaged("a page without a fingerprint") }
            var isKept = givenUp.isEmpty
            if !isKept { isKept = try depth(position) != nil }
            result.append(isKept ? current!.ids[Int(location.ordinal)] : PageID.none)
        }
        return result
    }

    /// The packs that a block needs, its own included.
    private struct Dependencies {
        let reader: PageReader
        private(set) var known: [BlockCache.Key: Set<PackID>] = [:]

        init(_ reader: PageReader) { self.reader = reader }

        mutating func packs(of key: BlockCache.Key) throws(FleetError) -> Set<PackID> {
            if let known = known[key] { return known }
            var needed: Set<PackID> = [key.pack]
            let pack = try reader.packs.pack(key.pack)
            for base in pack.index.blocks[key.block].bases {
                let other = try reader.packs.pack(pack.index.packs[base.pack])
                var ordinal = base.ordinal
                while ordinal < base.ordinal + base.count {
                    let block = try other.block(ofPage: ordinal)
                    guard other.index.blocks[block].depth < pack.index.blocks[key.block].depth else {
                        throw damaged("pack \(pack.id): a base is as deep as what needs it")
                    }
                    needed.formUnion(try packs(of: BlockCache.Key(pack: other.id, block: block)))
                    ordinal = other.starts[block + 1]
                }
            }
            known[key] = needed
            return needed
        }
    }
}
