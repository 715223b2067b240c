import FleetSystem

/// What a page map needs, bases of bases included.
enum PackClosure {
    /// Every block, by pack. At most `BlockEntry.maximumDepth` steps from any page.
    static func blocks(map: PageMap, table: [PackID], packs: PackSet) throws(FleetError) -> [PackID: Set<Int>] {
        var found: [PackID: Set<Int>] = [:]
        var waiting: [(PackID, Int)] = []
        func need(_ pack: PackFile, _ block: Int) {
            if found[pack.id, default: []].insert(block).inserted { waiting.append((pack.id, block)) }
        }
        var last: (number: UInt32, pack: PackFile, range: Range<Int>)?
        for location in map {
            let ordinal = Int(location.ordinal)
            if let last, last.number == location.pack, last.range.contains(ordinal) { continue }
            let pack = try packs.pack(table[Int(location.pack)])
            let block = try pack.block(ofPage: ordinal)
            last = (location.pack, pack, pack.starts[block]..<pack.starts[block + 1])
            need(pack, block)
        }
        while let (id, number) = waiting.popLast() {
            let pack = try packs.pack(id)
            for base in pack.index.blocks[number].bases {
                let other = try packs.pack(pack.index.packs[base.pack])
                var ordinal = base.ordinal
                while ordinal < base.ordinal + base.count {
                    let block = try other.block(ofPage: ordinal)
                    need(other, block)
                    ordinal = other.starts[block + 1]
                }
            }
        }
        return found
    }

    /// The packs, in the order of `table` first.
    static func packs(map: PageMap, table: [PackID], packs: PackSet) throws(FleetError) -> [PackID] {
        var found = Set(try blocks(map: map, table: table, packs: packs).keys)
        var ordered: [PackID] = []
        for pack in table where found.remove(pack) != nil { ordered.append(pack) }
        return ordered + found.sorted()
    }
}
