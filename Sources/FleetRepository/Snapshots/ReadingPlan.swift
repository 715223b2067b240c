import FleetSystem

/// What reading all of a snapshot decodes, and when each block is needed for the last time: then it makes room, so that
/// what stays decoded is only what is needed again.
struct ReadingPlan: Sendable {
    /// How a block's own pages are taken.
    enum Order: Sendable {
        /// Each when reading comes to its position.
        case byPosition
        /// All of them as soon as the block is decoded.
        case atOnce
    }
    /// A block that pages are taken from, and the position of the first of them.
    struct Step: Sendable {
        var pack: PackFile
        var block: Int
        var first: Int

        var key: BlockCache.Key { BlockCache.Key(pack: pack.id, block: block) }
    }
    /// Pages that lie side by side in a block and in the snapshot.
    struct Run: Sendable {
        var step: Int
        var position: Int
        /// In the block.
        var page: Int
        var count: Int
    }
    /// By position.
    private(set) var steps: [Step] = []
    private(set) var runs: [Run] = []
    /// Every block, bases too, by the position that it is needed for last.
    private(set) var ends: [(position: Int, key: BlockCache.Key)] = []

    /// - Throws: `snapshot-damaged`, `not-found`.
    init(_ reader: PageReader, _ order: Order) throws(FleetError) {
        var needs = Needs(packs: reader.packs)
        var numbers: [BlockCache.Key: Int] = [:]
        var position = 0
        while position < reader.map.count {
            let (pack, block, page) = try reader.place(position)
            let step = Step(pack: pack, block: block, first: position)
            let count = reader.map.adjacent(from: position, atMost: pack.index.blocks[block].pages - page)
            if let known = numbers[step.key] {
                runs.append(Run(step: known, position: position, page: page, count: count))
            } else {
                numbers[step.key] = steps.count
                runs.append(Run(step: steps.count, position: position, page: page, count: count))
                steps.append(step)
                try needs.add(pack, block, at: position)
            }
            position += count
            if order == .byPosition { needs.last[step.key] = position - 1 }
        }
        ends = needs.last.map { (position: $0.value, key: $0.key) }.sorted { $0.position < $1.position }
    }

    /// The position that each block is needed for last.
    private struct Needs {
        let packs: PackSet
        var last: [BlockCache.Key: Int] = [:]

        /// Bases are needed when the block is decoded, which is when it is needed first.
        mutating func add(_ pack: PackFile, _ number: Int, at position: Int) throws(FleetError) {
            let key = BlockCache.Key(pack: pack.id, block: number)
            guard last.updateValue(position, forKey: key) == nil else { return }
            for (other, number) in try packs.bases(of: pack, number) { try add(other, number, at: position) }
        }
    }
}

extension PageMap {
    /// How many pages from `position` on have consecutive ordinals of one pack.
    fileprivate func adjacent(from position: Int, atMost limit: Int) -> Int {
        var count = 1
        while count < limit, position + count < self.count, self[position + count].pack == self[position].pack,
            Int(self[position + count].ordinal) == Int(self[position].ordinal) + count
        { count += 1 }
        return count
    }
}
