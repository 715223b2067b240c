import FleetCrypto
public import FleetSystem

/// A snapshot that is arriving. Its pages go straight into the repository's form: a page that the predecessor has at the
/// same position costs nothing, not even a write; new ones are compressed and sealed before they reach the disk.
///
/// One caller at a time. After an error nothing more can be done with it but `close`; beginning it again goes on at the
/// last checkpoint.
public final class Upload {
    let key: String
    let core: RepositoryCore
    let opening: UploadLog.Opening
    private let log: UploadLog
    private let writer: PackWriter
    private let pipeline: BlockPipeline
    private let fingerprinter: Fingerprinter
    private let parent: Predecessor?
    /// With the numbers of the upload's table: the own pack is 0, the predecessor's follow.
    private let parentMap: PageMap
    private var parentIDs: ContiguousArray<PageID>
    private var tree: RevisionTree?

    private(set) var map: PageMap
    private var ids: ContiguousArray<PageID>
    private(set) var tail: [UInt8]
    private var region = Region()
    /// The page of bbolt that the current position belongs to, and where it ends.
    private var unit: Region.Unit?
    private var unitEnd = 0
    /// Stored pages that a page of bbolt takes.
    private var slots = 1
    private var failure: FleetError?

    /// What the log has.
    private var logged = (
        pages: 0, blocks: 0, ids: 0, end: Int64(SealedFile.headerLength), length: Int64(0),
        tail: [UInt8]()
    )
    private var regionsSinceCheckpoint = 0
    private var lastCheckpoint = ContinuousClock.now
    /// Until it is let go of, whatever it refers to is not collected.
    private var hold: PackHold?

    /// After so many new or received bytes, or so long, what is there is made durable.
    private static let checkpointRegions = 4
    private static let checkpointLength: Int64 = 256 << 20
    private static let checkpointInterval = Duration.seconds(10)
    /// Blocks that wait for a processor, at most: bounds memory.
    private static let pendingBlocks = Region.capacity / BlockEntry.maximumPlainPages / 2
    private static let level = 3
    /// A page of the current region, whose place is not known yet.
    private static let pending = UInt32.max

    init(
        key: String, core: RepositoryCore, opening: UploadLog.Opening, log: UploadLog,
        checkpoints: [UploadLog.Checkpoint], parent: PageReader?, hold: PackHold
    ) throws(FleetError) {
        self.key = key
        self.core = core
        self.opening = opening
        self.log = log
        self.parent = try parent.map { reader throws(FleetError) in try Predecessor(reader) }
        self.hold = hold
        fingerprinter = core.fingerprinter()
        parentMap = PageMap(
            (parent?.map ?? []).map { PageLocation(pack: $0.pack + 1, ordinal: $0.ordinal) })
        parentIDs = try self.parent?.fingerprints() ?? []
        (map, ids, tail) = ([], [], [])
        var (blocks, length): ([BlockEntry], Int64) = ([], 0)
        for checkpoint in checkpoints {
            blocks += checkpoint.blocks
            ids += checkpoint.ids
            length = checkpoint.packLength
            tail = checkpoint.tail
            var runs = ByteReader(checkpoint.runs)
            try PageMapCodec.decode(
                &runs, to: &map, count: checkpoint.pageCount, parent: parentMap, packs: opening.table.count)
        }
        writer = try PackWriter(opening.table[0], blocks: blocks, length: length, core)
        pipeline = BlockPipeline(core, writer: writer, parent: self.parent, level: Self.level)
        logged = (
            map.count, blocks.count, ids.count, blocks.last?.end ?? logged.end,
            Int64(map.count * pageLength + tail.count), tail
        )
    }

    /// Bytes that are there; at the beginning, all of them are durable.
    public var length: Int64 { failure == nil ? Int64(map.count * pageLength + tail.count) : logged.length }

    // MARK: receiving

    public func append(_ bytes: UnsafeRawBufferPointer) throws(FleetError) {
        try guarded { () throws(FleetError) in
            var rest = bytes
            if !tail.isEmpty {
                let missing = min(pageLength - tail.count, rest.count)
                tail += rest[..<missing]
                rest = UnsafeRawBufferPointer(rebasing: rest[missing...])
                guard tail.count == pageLength else { return }
                let page = tail
                tail = []
                try page.span.withUnsafeBytes { (page) throws(FleetError) in try add(page) }
            }
            while rest.count >= pageLength {
                try add(UnsafeRawBufferPointer(rebasing: rest[..<pageLength]))
                rest = UnsafeRawBufferPointer(rebasing: rest[pageLength...])
            }
            tail += rest
            let isDue =
                regionsSinceCheckpoint >= Self.checkpointRegions || length - logged.length >= Self.checkpointLength
                || ContinuousClock.now - lastCheckpoint >= Self.checkpointInterval
            if isDue { try makeCheckpoint() }
        }
    }

    private func add(_ page: UnsafeRawBufferPointer) throws(FleetError) {
        let position = map.count
        if position == 0, let meta = BoltPage(bytes: page).meta { slots = max(1, meta.pageSize / pageLength) }
        let startsUnit = recognise(page, position)
        let (high, low) = fingerprinter.fingerprint(page)
        let id = PageID(high: high, low: low)
        if position < parentIDs.count, parentIDs[position] == id {
            map.append(parentMap[position])
            return
        }
        region.add(page, id: id, position: position, unit: unit, startsUnit: startsUnit)
        map.append(PageLocation(pack: Self.pending, ordinal: 0))
        if region.isFull { try flush() }
    }

    /// Whether a page of bbolt begins here.
    private func recognise(_ bytes: UnsafeRawBufferPointer, _ position: Int) -> Bool {
        let page = BoltPage(bytes: bytes)
        let number = page.id
        if position.isMultiple(of: slots), number < 1 << 40, Int(number) * slots == position, position > 0,
            page.flags == BoltPage.leaf || page.flags == BoltPage.branch, page.count > 0
        {
            unit = Region.Unit(
                first: 0, count: 0, flags: page.flags, elements: page.count, firstRevision: page.revision(0),
                hasHead: true)
            unitEnd = position + (1 + page.overflow) * slots
            return true
        }
        if position >= unitEnd { unit = nil }
        return false
    }

    /// Plans the region's blocks and hands them to the threads.
    private func flush() throws(FleetError) {
        guard !region.isEmpty else { return }
        let region = self.region
        self.region = Region()
        if tree == nil, let parent { tree = try RevisionTree(parent.reader) }
        let planner = BlockPlanner(tree: tree) { [parent] position throws(FleetError) in
            try parent?.depth(position)
        }
        var ordinals = [UInt32](repeating: 0, count: region.positions.count)
        for block in try planner.plan(region) {
            for page in block.pages {
                ordinals[page] = UInt32(ids.count)
                ids.append(region.ids[page])
            }
            pipeline.submit(block, number: writer.reserve(), of: region, slots: tree?.slots ?? 1)
        }
        for (number, position) in region.positions.enumerated() {
            map[position] = PageLocation(pack: 0, ordinal: ordinals[number])
        }
        for (position, number) in region.repeats { map[position] = PageLocation(pack: 0, ordinal: ordinals[number]) }
        regionsSinceCheckpoint += 1
        try pipeline.wait(atMost: Self.pendingBlocks)
    }

    // MARK: durability

    private func makeCheckpoint() throws(FleetError) {
        try flush()
        try pipeline.wait(atMost: 0)
        guard length != logged.length else { return }
        let blocks = try writer.blocks(from: logged.blocks)
        if !blocks.isEmpty { try writer.sync() }
        var runs = ByteWriter()
        PageMapCodec.encode(map, from: logged.pages, parent: parentMap, &runs)
        try log.append(
            UploadLog.Checkpoint(
                packLength: writer.length, blocks: blocks, ids: ContiguousArray(ids[logged.ids...]),
                pageCount: map.count, runs: runs.bytes, tail: tail), end: logged.end)
        logged = (
            map.count, logged.blocks + blocks.count, ids.count, blocks.last?.end ?? logged.end,
            Int64(map.count * pageLength + tail.count), tail
        )
        regionsSinceCheckpoint = 0
        lastCheckpoint = .now
    }

    /// Gives all bytes that are there, in order; after an error, those that are durable.
    public func readBack(_ body: (UnsafeRawBufferPointer) throws(FleetError) -> Void) throws(FleetError) {
        if failure == nil { try guarded { () throws(FleetError) in try makeCheckpoint() } }
        try reader(upTo: logged.length).readAll(body)
    }

    /// All bytes that are there, in any order, and as they are now: what is appended later is not in it. They are durable
    /// when this returns, so that a long look at them has to be repeated after a crash, but nothing sent again.
    public func pages() throws(FleetError) -> RepositoryPages {
        try guarded { () throws(FleetError) in try makeCheckpoint() }
        return RepositoryPages(try reader(upTo: logged.length), hold: hold)
    }

    private func reader(upTo length: Int64) throws(FleetError) -> PageReader {
        let packs = PackSet(core)
        packs.add(try writer.snapshot(table: opening.table, blocks: logged.blocks))
        let map = PageMap(map.prefix(Int(length) / pageLength))
        return PageReader(
            map: map, table: opening.table, tail: logged.tail, packs: packs)
    }

    /// What `Repository.commit` needs of it: all pages stored, the pack complete and durable.
    func finish() throws(FleetError) -> (map: PageMap, packLength: Int64?, packs: PackSet) {
        try guarded { () throws(FleetError) in
            try flush()
            try pipeline.wait(atMost: 0)
            // Of a large snapshot these are tens of megabytes, and what a commit does needs as much again.
            (parentIDs, tree) = ([], nil)
            let length = try writer.finish(ids: ids, table: opening.table)
            let packs = PackSet(core)
            if length != nil { packs.add(try writer.snapshot(table: opening.table)) }
            return (map, length, packs)
        }
    }

    /// Lets go of it; what came stays for whoever begins it again.
    public func close() {
        if failure == nil { try? guarded { () throws(FleetError) in try makeCheckpoint() } }
        pipeline.settle()
        writer.close()
        hold = nil
        if failure == nil { failure = FleetError(.cancelled, "the upload was closed", retryable: true) }
    }

    /// Without making anything durable: it is committed, or to be forgotten.
    func abandon() {
        pipeline.settle()
        writer.close()
        hold = nil
        failure = FleetError(.cancelled, "the upload was closed", retryable: true)
    }

    private func guarded<Value>(_ body: () throws(FleetError) -> Value) throws(FleetError) -> Value {
        if let failure { throw failure }
        do throws(FleetError) { return try body() } catch {
            // Threads may still be at work for it: when this returns, nothing more is written.
            pipeline.settle()
            failure = error
            throw error
        }
    }
}
