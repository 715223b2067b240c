import FleetSystem

/// Compresses and seals planned blocks on the pool's threads. The first error is kept and thrown from then on.
final class BlockPipeline: Sendable {
    private struct State {
        var pending = 0
        var failure: FleetError?
    }
    private let state = Monitor(State())
    private let core: RepositoryCore
    private let writer: PackWriter
    /// The predecessor, and its packs' numbers in the upload's table.
    private let parent: Predecessor?
    private let level: Int

    init(_ core: RepositoryCore, writer: PackWriter, parent: Predecessor?, level: Int) {
        self.core = core
        self.writer = writer
        self.parent = parent
        self.level = level
    }

    /// `slots`: stored pages that one page of bbolt takes in the predecessor.
    func submit(_ block: PlannedBlock, number: Int, of region: Region, slots: Int) {
        state.withLock { $0.pending += 1 }
        core.pool.submit { [self] in
            var failure: FleetError?
            do throws(FleetError) { try run(block, number, region, slots) } catch { failure = error }
            state.withLock { state in
                state.pending -= 1
                if state.failure == nil { state.failure = failure }
            }
            state.broadcast()
        }
    }

    /// Waits until at most `limit` blocks are under way; 0 for all to be done.
    func wait(atMost limit: Int) throws(FleetError) {
        while true {
            let isFew: (State) -> Bool = { $0.pending <= limit }
            if state.waiting(seconds: 3600, until: isFew, { _, isReady in isReady }) { break }
        }
        if let failure = state.withLock({ $0.failure }) { throw failure }
    }

    /// Waits for all, whatever became of them.
    func settle() { _ = try? wait(atMost: 0) }

    private func run(_ block: PlannedBlock, _ number: Int, _ region: Region, _ slots: Int) throws(FleetError) {
        if let failure = state.withLock({ $0.failure }) { throw failure }
        var raw: [UInt8] = []
        raw.reserveCapacity(block.pages.count * pageLength)
        for page in block.pages { raw += region.page(page) }
        let bases = try bases(of: block, slots: slots)
        var prefix: [UInt8] = []
        prefix.reserveCapacity(bases.reduce(0) { $0 + $1.count } * pageLength)
        if let parent {
            for base in bases {
                // The upload's table begins with its own pack.
                let packs = parent.reader.packs
                let pack = try packs.pack(parent.reader.table[base.pack - 1])
                try packs.append(pack, base, below: block.depth, to: &prefix)
            }
        }
        let compressed = try raw.span.withUnsafeBytes { (raw) throws(FleetError) in
            try prefix.span.withUnsafeBytes { (prefix) throws(FleetError) in
                try core.zstd.compress(raw, prefix: prefix, level: level)
            }
        }
        let sealed = writer.sealing.seal(compressed, "block \(number)")
        try writer.write(
            sealed, number: number, pages: block.pages.count, depth: block.depth, bases: bases)
    }

    /// The runs of stored pages that a block's bases are, without those that lie too deep.
    private func bases(of block: PlannedBlock, slots: Int) throws(FleetError) -> [BaseRun] {
        guard let parent, block.depth > 0 else { return [] }
        let reader = parent.reader
        var (runs, total): ([BaseRun], Int) = ([], 0)
        func add(_ position: Int) throws(FleetError) {
            guard total < BlockEntry.maximumBasePages, let depth = try parent.depth(position), depth < block.depth
            else { return }
            let location = reader.map[position]
            total += 1
            let (table, ordinal) = (Int(location.pack) + 1, Int(location.ordinal))
            if let last = runs.last, last.pack == table, last.ordinal + last.count == ordinal {
                runs[runs.count - 1].count += 1
            } else {
                runs.append(BaseRun(pack: table, ordinal: ordinal, count: 1))
            }
        }
        for page in block.bases {
            let start = Int(page) * slots
            guard start < reader.map.count else { continue }
            let overflow = try reader.page(start).withUnsafeBytes { BoltPage(bytes: $0).overflow }
            for position in start..<min(start + (1 + overflow) * slots, reader.map.count) { try add(position) }
        }
        for position in block.positions { try add(position) }
        return runs
    }
}
