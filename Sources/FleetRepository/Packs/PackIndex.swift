import FleetSystem

/// Pages of other packs, one after the other, that a block was compressed against.
struct BaseRun: Equatable, Sendable {
    /// A number in the table of packs that the index (or the upload) has.
    var pack: Int
    var ordinal: Int
    var count: Int
}

/// A block: up to 64 pages compressed together and sealed.
struct BlockEntry: Equatable, Sendable {
    /// From the beginning of the file, and bytes with nonce and tag.
    var offset: Int64
    var length: Int
    var pages: Int
    /// 0 where nothing else is needed to read it; else one more than the deepest block of its bases.
    var depth: Int
    var bases: [BaseRun]

    static let maximumPages = 64
    /// Of a block that needs no other. It is what others look into for a few pages each, so it is cheap to decode; on
    /// a real series twice as many pages save three hundredths, and take a seventh longer to read.
    static let maximumPlainPages = 8
    /// On a real series of forty, 1 stores a quarter more than 2, and 4 a little less, but then reading takes many times
    /// as long: every step multiplies the blocks that a page needs.
    static let maximumDepth = 2
    /// Of all bases of a block together.
    static let maximumBasePages = 512
    var end: Int64 { offset + Int64(length) }
}

/// What a pack holds. Sealed at the end of the file; the footer behind it says where it begins.
struct PackIndex: Sendable, Equatable {
    /// The packs that bases are in.
    var packs: [PackID] = []
    var blocks: [BlockEntry] = []
    /// Bytes of each sealed record of fingerprints, in order, right behind the blocks.
    var idRecords: [Int] = []

    /// Fingerprints in one sealed record.
    static let idsPerRecord = 1 << 16

    var pageCount: Int { blocks.reduce(0) { $0 + $1.pages } }

    func encoded() -> [UInt8] {
        var out = ByteWriter()
        out.varint(packs.count)
        for pack in packs { out.raw(pack.bytes) }
        out.varint(blocks.count)
        var end = Int64(SealedFile.headerLength)
        // Blocks are numbered as they were planned and stored as they were done, so offsets go back and forth.
        for block in blocks {
            out.signed(Int(block.offset - end))
            end = block.end
            Self.encode(block, &out)
        }
        out.varint(idRecords.count)
        for length in idRecords { out.varint(length) }
        return out.bytes
    }

    static func decode(_ bytes: [UInt8]) throws(FleetError) -> PackIndex {
        var input = ByteReader(bytes)
        var index = PackIndex()
        for _ in 0..<(try input.count(limit: 1 << 24)) { index.packs.append(PackID(try input.raw(16))) }
        var end = Int64(SealedFile.headerLength)
        for _ in 0..<(try input.count(limit: 1 << 30)) {
            let (offset, isOver) = end.addingReportingOverflow(Int64(try input.signed()))
            guard !isOver, offset >= 0, offset < 1 << 50 else { throw damaged("a block lies outside of its pack") }
            let block = try decodeBlock(offset: offset, &input)
            guard block.bases.allSatisfy({ $0.pack < index.packs.count }) else {
                throw damaged("a block refers to a pack that the index does not name")
            }
            index.blocks.append(block)
            end = block.end
        }
        for _ in 0..<(try input.count(limit: 1 << 20)) { index.idRecords.append(try input.count(limit: 1 << 30)) }
        try input.finish()
        return index
    }

    /// All of a block but its offset.
    static func encode(_ block: BlockEntry, _ out: inout ByteWriter) {
        out.varint(block.length)
        out.varint(block.pages)
        out.varint(block.depth)
        out.varint(block.bases.count)
        var (pack, ordinal) = (0, 0)
        for base in block.bases {
            out.signed(base.pack - pack)
            out.signed(base.ordinal - (base.pack == pack ? ordinal : 0))
            out.varint(base.count)
            (pack, ordinal) = (base.pack, base.ordinal + base.count)
        }
    }

    static func decodeBlock(offset: Int64, _ input: inout ByteReader) throws(FleetError) -> BlockEntry {
        var block = BlockEntry(
            offset: offset, length: try input.count(limit: 1 << 30),
            pages: try input.count(limit: BlockEntry.maximumPages),
            depth: try input.count(limit: BlockEntry.maximumDepth), bases: [])
        guard block.pages > 0, block.length > SealedFile.overhead else { throw damaged("an empty block") }
        var (pack, ordinal, total) = (0, 0, 0)
        for _ in 0..<(try input.count(limit: BlockEntry.maximumBasePages)) {
            let nextPack = pack &+ (try input.signed())
            let next = (nextPack == pack ? ordinal : 0) &+ (try input.signed())
            let count = try input.count(limit: BlockEntry.maximumBasePages)
            total += count
            guard (0..<(1 << 24)).contains(nextPack), (0..<(1 << 32)).contains(next), count > 0,
                total <= BlockEntry.maximumBasePages, block.depth > 0
            else { throw damaged("a base of a block that there can't be") }
            block.bases.append(BaseRun(pack: nextPack, ordinal: next, count: count))
            (pack, ordinal) = (nextPack, next + count)
        }
        return block
    }
}
