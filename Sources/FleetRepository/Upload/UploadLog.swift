import FleetSystem

/// What is durable of an upload that is under way: a sealed file that grows by a record at each checkpoint. A record
/// counts only when the pack's blocks before it are on the disk, so it is written behind them. What is torn at the end
/// is cut off; everything before is whole.
final class UploadLog: Sendable {
    /// How an upload began. Its predecessor and the packs it may refer to stay the same when it is gone on with.
    struct Opening: Sendable, Equatable {
        var lineage: String
        var member: String
        var parent: String?
        /// The upload's own pack first.
        var table: [PackID]
    }

    /// What has come since the checkpoint before.
    struct Checkpoint: Sendable, Equatable {
        /// Of the pack's file.
        var packLength: Int64
        var blocks: [BlockEntry]
        var ids: ContiguousArray<PageID>
        /// All pages up to here, and runs for those since the checkpoint before.
        var pageCount: Int
        var runs: [UInt8]
        /// Bytes behind the last whole page.
        var tail: [UInt8]
    }

    private static let recordLimit = 1 << 30
    private let sealing: SealedFile
    private let key: String
    /// Of the data key that it, and the pack with it, is sealed with.
    var generation: Int { sealing.generation }
    private let state: Monitor<(file: any RepositoryFile, length: Int64, records: Int)>

    private init(_ file: any RepositoryFile, _ sealing: SealedFile, key: String, length: Int64, records: Int) {
        self.sealing = sealing
        self.key = key
        state = Monitor((file, length, records))
    }

    /// A new log, durable.
    static func create(_ key: String, _ opening: Opening, _ core: RepositoryCore) throws(FleetError) -> UploadLog {
        let file = try core.files.openAppending(core.logPath(key))
        if try file.size() > 0 { try file.truncate(to: 0) }
        let sealing = SealedFile(.upload, core.keys)
        try file.append(sealing.header)
        let log = UploadLog(
            file, sealing, key: key, length: Int64(SealedFile.headerLength), records: 0)
        var out = ByteWriter()
        out.text(opening.lineage)
        out.text(opening.member)
        out.text(opening.parent ?? "")
        out.varint(opening.table.count)
        for pack in opening.table { out.raw(pack.bytes) }
        try log.append(out.bytes)
        return log
    }

    /// An existing one, to be gone on with by its one writer; nil where not even its opening is whole: then nothing was
    /// ever promised of it.
    static func open(
        _ key: String, _ core: RepositoryCore
    ) throws(FleetError) -> (log: UploadLog, opening: Opening, checkpoints: [Checkpoint])? {
        guard let size = try core.files.size(core.logPath(key)), size >= SealedFile.headerLength else { return nil }
        let file = try core.files.openAppending(core.logPath(key))
        guard let sealing = try sealing(file, core) else { return nil }
        var place = Int64(SealedFile.headerLength)
        var records: [[UInt8]] = []
        while let (record, end) = try record(records.count, of: key, file, at: place, size: size, sealing) {
            records.append(record)
            place = end
        }
        guard let first = records.first else { return nil }
        if place < size { try file.truncate(to: place) }
        // What a former process wrote may be in the page cache only; what is promised from here on is not.
        do throws(FleetError) { try file.sync() } catch {
            // fsync(2): after an error the kernel may count the pages as clean, so what they hold is not believed later.
            try? core.files.remove(core.logPath(key))
            throw error
        }
        let log = UploadLog(file, sealing, key: key, length: place, records: records.count)
        var checkpoints: [Checkpoint] = []
        var end = Int64(SealedFile.headerLength)
        for record in records.dropFirst() { checkpoints.append(try decode(record, &end)) }
        return (log, try opening(first), checkpoints)
    }

    /// How an upload began; nil as with `open`. Nothing is changed: somebody may be writing to it just now, and what looks
    /// torn is then a record on its way.
    static func opening(_ key: String, _ core: RepositoryCore) throws(FleetError) -> Opening? {
        do throws(FleetError) {
            let file = try core.files.openStored(core.logPath(key))
            let size = try file.size()
            let place = Int64(SealedFile.headerLength)
            guard size >= place, let sealing = try sealing(file, core),
                let (first, _) = try record(0, of: key, file, at: place, size: size, sealing)
            else { return nil }
            return try opening(first)
        } catch {
            // Committed or forgotten meanwhile.
            if error.code == .notFound { return nil }
            throw error
        }
    }

    private static func sealing(
        _ file: any RepositoryFile, _ core: RepositoryCore
    ) throws(FleetError) -> SealedFile? {
        let header = try file.read(at: 0, count: SealedFile.headerLength)
        return try? SealedFile(.upload, header: header, core.keys)
    }

    /// A record and where it ends; nil where there is no whole one.
    private static func record(
        _ number: Int, of key: String, _ file: any RepositoryFile, at place: Int64, size: Int64, _ sealing: SealedFile
    ) throws(FleetError) -> (record: [UInt8], end: Int64)? {
        guard place + 4 <= size else { return nil }
        let lengthBytes = try file.read(at: place, count: 4)
        let length = (0..<4).reduce(0) { $0 | Int(lengthBytes[$1]) << (8 * $1) }
        let end = place + 4 + Int64(length)
        guard length <= recordLimit, end <= size,
            let record = try? sealing.open(try file.read(at: place + 4, count: length), "record \(number) of \(key)")
        else { return nil }
        return (record, end)
    }

    private static func opening(_ bytes: [UInt8]) throws(FleetError) -> Opening {
        var input = ByteReader(bytes)
        let (lineage, member, parent) = (try input.text(), try input.text(), try input.text())
        var table: [PackID] = []
        for _ in 0..<(try input.count(limit: 1 << 24)) { table.append(PackID(try input.raw(16))) }
        try input.finish()
        guard !table.isEmpty else { throw damaged("the log of an upload names no pack") }
        return Opening(lineage: lineage, member: member, parent: parent.isEmpty ? nil : parent, table: table)
    }

    /// `end`: where the last block of the record before ended.
    func append(_ checkpoint: Checkpoint, end: Int64) throws(FleetError) {
        var out = ByteWriter()
        out.varint(UInt64(checkpoint.packLength))
        out.varint(checkpoint.blocks.count)
        var end = end
        for block in checkpoint.blocks {
            out.signed(Int(block.offset - end))
            end = block.end
            PackIndex.encode(block, &out)
        }
        out.varint(checkpoint.ids.count)
        for id in checkpoint.ids {
            out.fixed(id.high)
            out.fixed(id.low)
        }
        out.varint(checkpoint.pageCount)
        out.block(checkpoint.runs)
        out.block(checkpoint.tail)
        try append(out.bytes)
    }

    private static func decode(_ bytes: [UInt8], _ end: inout Int64) throws(FleetError) -> Checkpoint {
        var input = ByteReader(bytes)
        let packLength = Int64(try input.count(limit: 1 << 50))
        var blocks: [BlockEntry] = []
        for _ in 0..<(try input.count(limit: 1 << 30)) {
            let offset = end &+ Int64(try input.signed())
            guard (0..<(1 << 50)).contains(offset) else { throw damaged("a block lies outside of its pack") }
            blocks.append(try PackIndex.decodeBlock(offset: offset, &input))
            end = blocks[blocks.count - 1].end
        }
        var ids = ContiguousArray<PageID>()
        for _ in 0..<(try input.count(limit: 1 << 32)) {
            ids.append(PageID(high: try input.fixed(), low: try input.fixed()))
        }
        let checkpoint = Checkpoint(
            packLength: packLength, blocks: blocks, ids: ids, pageCount: try input.count(limit: 1 << 32),
            runs: try input.block(), tail: try input.block())
        try input.finish()
        return checkpoint
    }

    private func append(_ record: [UInt8]) throws(FleetError) {
        try state.attempt { state throws(FleetError) in
            let sealed = sealing.seal(record, "record \(state.records) of \(key)")
            var bytes: [UInt8] = []
            withUnsafeBytes(of: UInt32(sealed.count).littleEndian) { bytes += $0 }
            bytes += sealed
            do throws(FleetError) {
                try state.file.append(bytes)
                try state.file.sync()
            } catch {
                // A part of it may have been written; the next record must stand where this one should have.
                try? state.file.truncate(to: state.length)
                throw error
            }
            state.length += Int64(bytes.count)
            state.records += 1
        }
    }
}
