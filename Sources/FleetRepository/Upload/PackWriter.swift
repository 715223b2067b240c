import FleetSystem

/// A pack that is being written. Blocks get their numbers when they are planned and their places when they are done.
final class PackWriter: Sendable {
    private struct State {
        var file: (any RepositoryFile)?
        var length: Int64
        /// By number; nil until it is written.
        var blocks: [BlockEntry?]
    }
    let id: PackID
    let sealing: SealedFile
    private let core: RepositoryCore
    private let state: Monitor<State>

    /// A new one, or one of an earlier process: what is behind `length` was never promised, and is cut off.
    init(_ id: PackID, blocks: [BlockEntry], length: Int64, _ core: RepositoryCore) throws(FleetError) {
        self.id = id
        self.core = core
        var sealing = SealedFile(.pack, salt: id.bytes, core.keys)
        var file: (any RepositoryFile)?
        if length > 0 {
            let path = core.path(id)
            guard let size = try core.files.size(path), size >= length else { throw damaged("pack \(id) is cut") }
            file = try core.files.openAppending(path)
            if size > length { try file!.truncate(to: length) }
            // Its data key may not be the newest any more.
            sealing = try SealedFile(
                .pack, header: try file!.read(at: 0, count: SealedFile.headerLength), core.keys)
            guard sealing.salt == id.bytes else { throw damaged("pack \(id) is another pack's file") }
        }
        self.sealing = sealing
        state = Monitor(State(file: file, length: length, blocks: blocks))
    }

    var length: Int64 { state.withLock { $0.length } }

    func reserve() -> Int {
        state.withLock { state in
            state.blocks.append(nil)
            return state.blocks.count - 1
        }
    }

    /// Appends a sealed block.
    func write(_ sealed: [UInt8], number: Int, pages: Int, depth: Int, bases: [BaseRun]) throws(FleetError) {
        try state.attempt { state throws(FleetError) in
            let file = try self.file(&state)
            try file.append(sealed)
            state.blocks[number] = BlockEntry(
                offset: state.length, length: sealed.count, pages: pages, depth: depth, bases: bases)
            state.length += Int64(sealed.count)
        }
    }

    /// The file is made with the first block: a snapshot without a new page needs none.
    private func file(_ state: inout State) throws(FleetError) -> any RepositoryFile {
        if let file = state.file { return file }
        let file = try core.files.openAppending(core.path(id))
        // One that a crash left, of which nothing was promised.
        if try file.size() > 0 { try file.truncate(to: 0) }
        try file.append(sealing.header)
        state.file = file
        state.length = Int64(sealing.header.count)
        return file
    }

    /// The blocks from `first` on, or of a range, all of which are written.
    func blocks(from first: Int, to end: Int? = nil) throws(FleetError) -> [BlockEntry] {
        try state.attempt { state throws(FleetError) in
            let wanted = state.blocks[first..<(end ?? state.blocks.count)]
            let blocks = wanted.compactMap { $0 }
            guard blocks.count == wanted.count else {
                throw FleetError(.internalError, "a block was planned and never written")
            }
            return blocks
        }
    }

    func sync() throws(FleetError) { try state.attempt { state throws(FleetError) in try state.file?.sync() } }

    /// The pack's first blocks as it is now, for readers; nil for all.
    func snapshot(table: [PackID], blocks count: Int? = nil) throws(FleetError) -> PackFile {
        let index = PackIndex(packs: table, blocks: try blocks(from: 0, to: count))
        return PackFile(id, path: core.path(id), files: core.files, sealing: sealing, index: index)
    }

    /// Writes fingerprints, index and footer, durably. nil where there is nothing in it.
    ///
    /// - Returns: the file's length.
    func finish(ids: ContiguousArray<PageID>, table: [PackID]) throws(FleetError) -> Int64? {
        let index = try Self.dense(PackIndex(packs: table, blocks: try blocks(from: 0)))
        guard !index.blocks.isEmpty else { return nil }
        return try state.attempt { state throws(FleetError) in
            let file = try self.file(&state)
            let length = try PackFile.finish(
                file, index, ids: ids, length: state.length, sealing: sealing, zstd: core.zstd)
            try file.sync()
            return length
        }
    }

    /// Without the packs that no base is in.
    private static func dense(_ index: PackIndex) throws(FleetError) -> PackIndex {
        var (dense, numbers): (PackIndex, [Int: Int]) = (PackIndex(packs: [], blocks: index.blocks), [:])
        for block in dense.blocks.indices {
            for base in dense.blocks[block].bases.indices {
                let old = dense.blocks[block].bases[base].pack
                if numbers[old] == nil {
                    numbers[old] = dense.packs.count
                    dense.packs.append(index.packs[old])
                }
                dense.blocks[block].bases[base].pack = numbers[old]!
            }
        }
        return dense
    }

    func close() { state.withLock { $0.file = nil } }
}
