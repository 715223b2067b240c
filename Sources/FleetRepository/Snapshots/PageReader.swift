import FleetSystem

/// Gives the bytes of a snapshot, wherever they are. For any thread.
final class PageReader: Sendable {
    let map: PageMap
    let packs: PackSet
    /// By the numbers of the map.
    let table: [PackID]
    let tail: [UInt8]
    private let sequence = Monitor(Sequence())
    /// Pages that are decoded in advance while reading goes on where it was.
    private static let window = 2048
    /// Blocks for one thread at a time: handing over each alone would cost more than some take.
    private static let batch = 8

    /// Where reading is, for whoever reads all of it.
    private struct Sequence {
        /// Made when reading goes on where it ended; nil also for a map that can't be followed.
        var plan: ReadingPlan?
        var isPlanned = false
        /// Behind the last byte that was read.
        var end: Int64 = 0
        /// The first of `plan.steps` that no thread was given, and of `plan.ends` that was not let go of; nil where
        /// reading has jumped.
        var place: (step: Int, end: Int)?
    }

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
        if isReadingOn { goOn(offset..<(offset + Int64(count))) }
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

    /// Gives all bytes in order, each as it is on the disk: what is decoded already proves nothing of it.
    func readAll(_ body: (UnsafeRawBufferPointer) throws(FleetError) -> Void) throws(FleetError) {
        let plan = try ReadingPlan(self, .byPosition)
        sequence.withLock { ($0.isPlanned, $0.plan) = (true, plan) }
        packs.core.cache.forget(plan.ends.map(\.key))
        defer {
            // Of a large snapshot the plan takes tens of megabytes, and who looks at the tree next needs them.
            sequence.withLock { ($0.isPlanned, $0.plan, $0.place) = (false, nil, nil) }
            packs.core.cache.forget(plan.ends.map(\.key))
        }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 16)
        defer { buffer.deallocate() }
        var offset: Int64 = 0
        while offset < length {
            let count = try read(at: offset, into: buffer)
            try body(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            offset += Int64(count)
        }
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

    /// Whoever reads on gets the next blocks decoded by other threads meanwhile, and lets go of those behind. What fails
    /// there fails again, and is reported, where it is needed.
    private func goOn(_ range: Range<Int64>) {
        let (first, last) = (Int(range.lowerBound) / pageLength, Int(range.upperBound) / pageLength)
        let work: (next: ArraySlice<ReadingPlan.Step>, behind: [BlockCache.Key])? = sequence.withLock { sequence in
            let goesOn = range.lowerBound == sequence.end && range.lowerBound > 0
            sequence.end = range.upperBound
            guard goesOn else {
                sequence.place = nil
                return nil
            }
            if !sequence.isPlanned {
                sequence.isPlanned = true
                sequence.plan = try? ReadingPlan(self, .byPosition)
            }
            guard let plan = sequence.plan else { return nil }
            let place =
                sequence.place ?? (
                    plan.steps.prefix { $0.first < first }.count, plan.ends.prefix { $0.position < first }.count
                )
            let next = plan.steps[place.step...].prefix { $0.first < last + Self.window }
            let behind = plan.ends[place.end...].prefix { $0.position < first }
            sequence.place = (next.endIndex, behind.endIndex)
            return (next, behind.map(\.key))
        }
        guard let work else { return }
        packs.core.cache.forget(work.behind)
        for start in stride(from: work.next.startIndex, to: work.next.endIndex, by: Self.batch) {
            let blocks = work.next[start..<min(start + Self.batch, work.next.endIndex)]
            packs.core.pool.submit { [self] in
                for step in blocks where !isBehind(step.first) { _ = try? packs.decoded(step.pack, step.block) }
            }
        }
    }

    private func isBehind(_ position: Int) -> Bool { sequence.withLock { Int($0.end) / pageLength > position } }
}
