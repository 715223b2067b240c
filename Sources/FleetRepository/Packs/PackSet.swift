import FleetSystem

/// The packs that one reader or writer uses, each read once, and their pages.
final class PackSet: Sendable {
    let core: RepositoryCore
    private let packs = Monitor<[PackID: PackFile]>([:])

    init(_ core: RepositoryCore) { self.core = core }

    /// Adds one that is not finished.
    func add(_ pack: PackFile) { packs.withLock { $0[pack.id] = pack } }

    func pack(_ id: PackID) throws(FleetError) -> PackFile {
        if let known = packs.withLock({ $0[id] }) { return known }
        let pack = try PackFile(id, in: core)
        packs.withLock { $0[id] = pack }
        return pack
    }

    /// A block's pages. Its bases are decoded first, which ends since they lie less deep.
    func decoded(_ pack: PackFile, _ number: Int, asBase: Bool = false) throws(FleetError) -> DecodedBlock {
        try core.cache.block(BlockCache.Key(pack: pack.id, block: number), asBase: asBase) { () throws(FleetError) in
            let entry = pack.index.blocks[number]
            let compressed = try pack.block(number)
            var prefix: [UInt8] = []
            prefix.reserveCapacity(entry.bases.reduce(0) { $0 + $1.count } * pageLength)
            for base in entry.bases {
                try append(try self.pack(pack.index.packs[base.pack]), base, below: entry.depth, to: &prefix)
            }
            do throws(FleetError) {
                return DecodedBlock(
                    try compressed.span.withUnsafeBytes { (bytes) throws(FleetError) in
                        try prefix.span.withUnsafeBytes { (prefix) throws(FleetError) in
                            try core.zstd.decompress(bytes, prefix: prefix, count: entry.pages * pageLength)
                        }
                    })
            } catch { throw error.during("pack \(pack.id), block \(number)") }
        }
    }

    /// The blocks that a block's bases lie in.
    func bases(of pack: PackFile, _ number: Int) throws(FleetError) -> [(PackFile, Int)] {
        let block = pack.index.blocks[number]
        var found: [(PackFile, Int)] = []
        for base in block.bases {
            let other = try self.pack(pack.index.packs[base.pack])
            var ordinal = base.ordinal
            while ordinal < base.ordinal + base.count {
                let number = try other.block(ofPage: ordinal)
                guard other.index.blocks[number].depth < block.depth else {
                    throw damaged("pack \(other.id): a base is as deep as what needs it")
                }
                found.append((other, number))
                ordinal = other.starts[number + 1]
            }
        }
        return found
    }

    /// Appends the pages of a run.
    func append(_ pack: PackFile, _ run: BaseRun, below depth: Int, to bytes: inout [UInt8]) throws(FleetError) {
        var (ordinal, rest) = (run.ordinal, run.count)
        while rest > 0 {
            let number = try pack.block(ofPage: ordinal)
            guard pack.index.blocks[number].depth < depth else {
                throw damaged("pack \(pack.id): a base is as deep as what needs it")
            }
            let first = ordinal - pack.starts[number]
            let count = min(rest, pack.index.blocks[number].pages - first)
            let block = try decoded(pack, number, asBase: true)
            bytes += block.bytes[(first * pageLength)..<((first + count) * pageLength)]
            ordinal += count
            rest -= count
        }
    }
}
