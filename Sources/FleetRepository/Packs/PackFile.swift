import FleetSystem

/// A pack as a reader knows it: its index, and how to get at its records. The file is opened with the first block and
/// stays open as long as this lives: a snapshot needs few packs.
final class PackFile: Sendable {
    static let footerLength = 24
    private static let footerMagic = Array("FLTPEND1".utf8)
    private static let indexLimit = 1 << 30

    let id: PackID
    let index: PackIndex
    /// The number of each block's first page, and of all pages at the end.
    let starts: [Int]
    let sealing: SealedFile
    /// Of the file; nil while it is still written.
    let length: Int64?
    private let path: String
    private let files: any RepositoryFiles
    private let opened = Monitor<(any RepositoryFile)?>(nil)

    /// A pack that is being written.
    init(
        _ id: PackID, path: String, files: any RepositoryFiles, sealing: SealedFile, index: PackIndex,
        length: Int64? = nil
    ) {
        self.id = id
        self.path = path
        self.files = files
        self.sealing = sealing
        self.index = index
        self.length = length
        var starts = [0]
        for block in index.blocks { starts.append(starts[starts.count - 1] + block.pages) }
        self.starts = starts
    }

    /// - Throws: `not-found`, `snapshot-damaged`.
    convenience init(_ id: PackID, in core: RepositoryCore) throws(FleetError) {
        let path = core.path(id)
        do throws(FleetError) {
            let file = try core.files.openStored(path)
            let length = try file.size()
            guard length >= Int64(SealedFile.headerLength + Self.footerLength) else { throw damaged("it is cut") }
            let sealing = try SealedFile(
                .pack, header: try file.read(at: 0, count: SealedFile.headerLength), core.keys)
            guard sealing.salt == id.bytes else { throw damaged("it is another pack's file") }
            let place = length - Int64(Self.footerLength)
            var footer = ByteReader(try file.read(at: place, count: Self.footerLength))
            let (offset, size) = (try footer.fixed(), try footer.fixed())
            guard Array(try footer.raw(8)) == Self.footerMagic, size <= UInt64(Self.indexLimit),
                offset <= UInt64(place), offset + size == UInt64(place)
            else { throw damaged("its footer is not one") }
            let sealed = try sealing.open(try file.read(at: Int64(offset), count: Int(size)), "index")
            let bytes = try core.zstd.unpack(sealed, limit: Self.indexLimit)
            let index = try PackIndex.decode(bytes)
            try Self.checkTiling(index, end: Int64(offset))
            self.init(id, path: path, files: core.files, sealing: sealing, index: index, length: length)
        } catch { throw error.during("pack \(id)") }
    }

    /// Blocks and records of fingerprints lie side by side, without a gap that nobody would ever check.
    private static func checkTiling(_ index: PackIndex, end: Int64) throws(FleetError) {
        var place = Int64(SealedFile.headerLength)
        for block in index.blocks.sorted(by: { $0.offset < $1.offset }) {
            guard block.offset == place else { throw damaged("a gap between blocks") }
            place = block.end
        }
        for length in index.idRecords { place += Int64(length) }
        guard place == end else { throw damaged("its parts are not as long as the file") }
    }

    /// Appends what stands behind the blocks of a pack of `length` bytes: fingerprints, index, footer.
    ///
    /// - Returns: the whole length.
    static func finish(
        _ file: any RepositoryFile, _ index: PackIndex, ids: ContiguousArray<PageID>, length: Int64,
        sealing: SealedFile, zstd: Zstd
    ) throws(FleetError) -> Int64 {
        var (index, place, start) = (index, length, 0)
        while start < ids.count {
            let part = ids[start..<min(start + PackIndex.idsPerRecord, ids.count)]
            var record = ByteWriter()
            for id in part {
                record.fixed(id.high)
                record.fixed(id.low)
            }
            let sealed = sealing.seal(record.bytes, "ids \(index.idRecords.count)")
            index.idRecords.append(sealed.count)
            try file.append(sealed)
            place += Int64(sealed.count)
            start += part.count
        }
        let sealed = sealing.seal(try zstd.pack(index.encoded(), level: 3), "index")
        var out = ByteWriter(bytes: sealed)
        out.fixed(UInt64(place))
        out.fixed(UInt64(sealed.count))
        out.raw(footerMagic)
        try file.append(out.bytes)
        return place + Int64(out.bytes.count)
    }

    /// The fingerprints of all pages, in the order of storage.
    func ids() throws(FleetError) -> ContiguousArray<PageID> {
        do throws(FleetError) {
            let file = try files.openStored(path)
            var ids = ContiguousArray<PageID>()
            ids.reserveCapacity(starts[starts.count - 1])
            var place = index.blocks.reduce(Int64(SealedFile.headerLength)) { max($0, $1.end) }
            for (number, length) in index.idRecords.enumerated() {
                let bytes = try sealing.open(try file.read(at: place, count: length), "ids \(number)")
                place += Int64(length)
                bytes.withUnsafeBytes { buffer in
                    for at in stride(from: 0, to: buffer.count - PageID.length + 1, by: PageID.length) {
                        ids.append(
                            PageID(
                                high: UInt64(littleEndian: buffer.loadUnaligned(fromByteOffset: at, as: UInt64.self)),
                                low: UInt64(littleEndian: buffer.loadUnaligned(fromByteOffset: at + 8, as: UInt64.self))
                            ))
                    }
                }
            }
            guard ids.count == starts[starts.count - 1] else { throw damaged("it has \(ids.count) fingerprints") }
            return ids
        } catch { throw error.during("pack \(id)") }
    }

    private func file() throws(FleetError) -> any RepositoryFile {
        try opened.attempt { opened throws(FleetError) in
            if let opened { return opened }
            let file = try files.openStored(path)
            opened = file
            return file
        }
    }

    /// A block's compressed bytes.
    func block(_ number: Int) throws(FleetError) -> [UInt8] {
        do throws(FleetError) {
            let entry = index.blocks[number]
            return try sealing.open(try file().read(at: entry.offset, count: entry.length), "block \(number)")
        } catch { throw error.during("pack \(id)") }
    }

    /// The block that a page is in.
    ///
    /// - Throws: `snapshot-damaged` where the pack has no such page.
    func block(ofPage ordinal: Int) throws(FleetError) -> Int {
        guard ordinal >= 0, ordinal < starts[starts.count - 1] else {
            throw damaged("pack \(id) has no page \(ordinal)")
        }
        var (low, high) = (0, starts.count - 1)
        while high - low > 1 {
            let middle = (low + high) / 2
            if starts[middle] <= ordinal { low = middle } else { high = middle }
        }
        return low
    }
}
