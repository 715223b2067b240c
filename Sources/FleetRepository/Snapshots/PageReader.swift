import FleetSystem

/// Gives the bytes of a snapshot, wherever they are. For any thread.
final class PageReader: Sendable {
    let map: PageMap
    let packs: PackSet
    /// By the numbers of the map.
    let table: [PackID]
    let tail: [UInt8]
    /// Positions up to here were asked for, or are being decoded in advance.
    private let ahead = Monitor(0)
    /// Pages that are decoded in advance when reading goes on where it was.
    private static let window = 2048

    init(map: PageMap, table: [PackID], tail: [UInt8], packs: PackSet) {
        self.map = map
        self.table = table
        self.tail = tail
        self.packs = packs
    }

    convenience init(_ snapshot: ResolvedSnapshot, packs: PackSet) {
        self.init(
            map: snapshot.map, table: snapshot.head.packs.map(\.id), tail: snapshot.head.tail, packs: packs)
    }

    var length: Int64 { Int64(map.count * pageLength + tail.count) }

    /// Pack, block and the page's number in the block.
    func place(_ position: Int) throws(FleetError) -> (pack: PackFile, block: Int, page: Int) {
        let location = map[position]
        let pack = try packs.pack(table[Int(location.pack)])
        let block = try pack.block(ofPage: Int(location.ordinal))
        return (pack, block, Int(location.ordinal) - pack.starts[block])
    }

    /// Only to look into: for a base, or to find one.
    func page(_ position: Int) throws(FleetError) -> ArraySlice<UInt8> {
        let (pack, number, page) = try place(position)
        let block = try packs.decoded(pack, number, asBase: true)
        return block.bytes[(page * pageLength)..<((page + 1) * pageLength)]
    }

    /// Fills `buffer` from `offset` on; fewer bytes only at the end, 0 behind it.
    func read(
        at offset: Int64, into buffer: UnsafeMutableRawBufferPointer, isReadingOn: Bool = true
    ) throws(FleetError) -> Int {
        guard offset >= 0, offset < length else { return 0 }
        let count = Int(min(Int64(buffer.count), length - offset))
        if isReadingOn { decodeAhead(of: Int(offset) / pageLength, through: (Int(offset) + count) / pageLength) }
        var done = 0
        var last: (block: DecodedBlock, number: UInt32, pages: Range<Int>)?
        while done < count {
            let place = Int(offset) + done
            let position = place / pageLength
            let target = UnsafeMutableRawBufferPointer(rebasing: buffer[done..<count])
            guard position < map.count else {
                let rest = tail[(place - map.count * pageLength)...].prefix(target.count)
                target.copyBytes(from: rest)
                done += rest.count
                continue
            }
            let location = map[position]
            if last == nil || last!.number != location.pack || !last!.pages.contains(Int(location.ordinal)) {
                let (pack, number, _) = try self.place(position)
                last = (
                    try packs.decoded(pack, number), location.pack, pack.starts[number]..<pack.starts[number + 1]
                )
            }
            let start = (Int(location.ordinal) - last!.pages.lowerBound) * pageLength + place % pageLength
            let length = min(target.count, pageLength - place % pageLength)
            last!.block.bytes.withUnsafeBytes { bytes in
                target.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[start..<(start + length)]))
            }
            done += length
        }
        return count
    }

    /// Bytes from anywhere, for who follows references: nothing is decoded in advance, and what lies within one block is
    /// not copied.
    func look(
        at offset: Int, count: Int, _ body: (UnsafeRawBufferPointer) throws(FleetError) -> Void
    ) throws(FleetError) {
        let position = offset / pageLength
        if position < map.count, offset + count <= map.count * pageLength {
            let (pack, number, page) = try place(position)
            let start = page * pageLength + offset % pageLength
            // The next pages of the block are the snapshot's next pages only where the map says so.
            let last = (offset + max(count, 1) - 1) / pageLength
            let isOneRun = (position...last).allSatisfy {
                map[$0].pack == map[position].pack && Int(map[$0].ordinal) == Int(map[position].ordinal) + $0 - position
            }
            if isOneRun, page + last - position < pack.index.blocks[number].pages {
                let decoded = try packs.decoded(pack, number).bytes
                return try decoded.span.withUnsafeBytes { (bytes) throws(FleetError) in
                    try body(UnsafeRawBufferPointer(rebasing: bytes[start..<(start + count)]))
                }
            }
        }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: max(count, 1), alignment: 16)
        defer { buffer.deallocate() }
        var done = 0
        while done < count {
            let piece = UnsafeMutableRawBufferPointer(rebasing: buffer[done..<count])
            let got = try read(at: Int64(offset + done), into: piece, isReadingOn: false)
            guard got > 0 else { throw damaged("it ends before byte \(offset + count)") }
            done += got
        }
        try body(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
    }

    /// Whoever reads on gets the next blocks decoded by other threads meanwhile. What fails there fails again, and is
    /// reported, where it is needed.
    private func decodeAhead(of first: Int, through last: Int) {
        let range: Range<Int>? = ahead.withLock { ahead in
            if first > ahead || last < ahead - 2 * Self.window { ahead = first }
            let end = min(map.count, last + Self.window)
            guard end - ahead >= Self.window / 4 || (end == map.count && ahead < end) else { return nil }
            defer { ahead = end }
            return ahead..<end
        }
        guard let range else { return }
        packs.core.pool.submit { [self] in
            var seen: Set<BlockCache.Key> = []
            var last: (number: UInt32, pages: Range<Int>)?
            for position in range {
                let location = map[position]
                if let last, last.number == location.pack, last.pages.contains(Int(location.ordinal)) { continue }
                guard let (pack, number, _) = try? place(position) else { continue }
                last = (location.pack, pack.starts[number]..<pack.starts[number + 1])
                guard seen.insert(BlockCache.Key(pack: pack.id, block: number)).inserted else { continue }
                packs.core.pool.submit { _ = try? self.packs.decoded(pack, number) }
            }
        }
    }
}
