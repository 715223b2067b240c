import FleetCrypto
public import FleetSystem

/// Where a snapshot is written to. Its parts come in any order, from several threads, each once.
public protocol SnapshotTarget: AnyObject, Sendable {
    /// Comes first: so many bytes will be written.
    ///
    /// - Throws: `no-space` where that is known already.
    func prepare(_ length: Int64) throws(FleetError)
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(FleetError)
    /// Fills `buffer` with what was written there.
    func read(at offset: Int64, into buffer: UnsafeMutableRawBufferPointer) throws(FleetError)
}

/// Writes all of a snapshot on all processors. A block's pages go to their places when it is decoded, wherever these
/// are: most blocks are also what a later one was compressed against, and nearly all are decoded only once so. The
/// calling thread follows in order and computes the SHA-256.
final class SnapshotExport: Sendable {
    private struct State {
        /// Pages that are still missing, of each piece.
        var missing: [Int]
        var isPlaced: [Bool]
        /// Batches that threads are at work on, and the next one.
        var running: Set<Int> = []
        var next = 0
        /// The first of `plan.ends` that may still be in the cache.
        var end = 0
        var failure: FleetError?
    }
    private let reader: PageReader
    private let target: any SnapshotTarget
    private let plan: ReadingPlan
    /// By block.
    private let steps: [BlockCache.Key: Int]
    /// The plan's runs by step, and where those of each step begin.
    private let runs: [ReadingPlan.Run]
    private let starts: [Int]
    private let state: Monitor<State>

    private static let piecePages = 256
    /// Blocks that one thread does at a time.
    private static let batch = 8
    /// Batches that wait for a thread or are under way: others want the threads, too.
    private static let batches = 6

    init(_ reader: PageReader, to target: any SnapshotTarget) throws(FleetError) {
        let plan = try ReadingPlan(reader, .atOnce)
        (self.reader, self.target, self.plan) = (reader, target, plan)
        steps = Dictionary(uniqueKeysWithValues: plan.steps.enumerated().map { ($1.key, $0) })
        runs = plan.runs.sorted { ($0.step, $0.position) < ($1.step, $1.position) }
        var starts = [Int](repeating: 0, count: plan.steps.count + 1)
        for run in runs { starts[run.step + 1] += 1 }
        for i in starts.indices.dropFirst() { starts[i] += starts[i - 1] }
        self.starts = starts
        let pieces = (reader.map.count + Self.piecePages - 1) / Self.piecePages
        state = Monitor(
            State(
                missing: (0..<pieces).map { min(Self.piecePages, reader.map.count - $0 * Self.piecePages) },
                isPlaced: [Bool](repeating: false, count: plan.steps.count)))
    }

    /// Blocks. Returns the SHA-256 of all that was written, as it reads back.
    func run() throws(FleetError) -> [UInt8] {
        defer { settle() }
        try target.prepare(reader.length)
        var hasher = SHA256()
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.piecePages * pageLength, alignment: 4096)
        defer { buffer.deallocate() }
        let pieces = state.withLock { $0.missing.count }
        for piece in 0..<pieces {
            try complete(piece)
            let start = piece * Self.piecePages
            let pages = min(Self.piecePages, reader.map.count - start)
            let bytes = UnsafeMutableRawBufferPointer(rebasing: buffer[..<(pages * pageLength)])
            try target.read(at: Int64(start * pageLength), into: bytes)
            hasher.update(UnsafeRawBufferPointer(bytes))
        }
        let tail = reader.tail
        try tail.span.withUnsafeBytes { (bytes) throws(FleetError) in
            try target.write(bytes, at: Int64(reader.map.count * pageLength))
        }
        hasher.update(tail)
        return hasher.finalize()
    }

    /// Keeps the threads busy until all pages of the piece are written.
    private func complete(_ piece: Int) throws(FleetError) {
        while true {
            let batches = (plan.steps.count + Self.batch - 1) / Self.batch
            let hasNews: (State) -> Bool = {
                $0.failure != nil || $0.missing[piece] == 0 || ($0.next < batches && $0.running.count < Self.batches)
            }
            let (more, isDone, failure) = state.waiting(seconds: 3600, until: hasNews) { state, _ in
                var more: [Int] = []
                while state.failure == nil, state.next < batches, state.running.count < Self.batches {
                    more.append(state.next)
                    state.running.insert(state.next)
                    state.next += 1
                }
                return (more, state.missing[piece] == 0, state.failure)
            }
            for number in more { reader.packs.core.pool.submit { self.work(number) } }
            if let failure { throw failure }
            if isDone { return }
        }
    }

    private func settle() {
        let isSettled: (State) -> Bool = { $0.running.isEmpty }
        while !state.waiting(seconds: 3600, until: isSettled, { _, isReady in isReady }) {}
    }

    private func work(_ number: Int) {
        var failure: FleetError?
        do throws(FleetError) {
            for step in (number * Self.batch)..<min((number + 1) * Self.batch, plan.steps.count) { try place(step) }
        } catch { failure = error }
        let done = state.withLock { state in
            state.running.remove(number)
            if state.failure == nil { state.failure = failure }
            // What only finished steps needed goes.
            let first = (state.running.min() ?? state.next) * Self.batch
            let position = first < plan.steps.count ? plan.steps[first].first : reader.map.count
            let done = plan.ends[state.end...].prefix { $0.position < position }
            state.end = done.endIndex
            return done.map(\.key)
        }
        reader.packs.core.cache.forget(done)
        state.broadcast()
    }

    /// Decodes a block and writes its pages, and those of its bases, which are decoded for it.
    private func place(_ number: Int) throws(FleetError) {
        guard state.withLock({ !$0.isPlaced[number] && $0.failure == nil }) else { return }
        let step = plan.steps[number]
        for (pack, block) in try reader.packs.bases(of: step.pack, step.block) {
            if let base = steps[BlockCache.Key(pack: pack.id, block: block)] { try place(base) }
        }
        let block = try reader.packs.decoded(step.pack, step.block)
        let isMine = state.withLock { state in
            defer { state.isPlaced[number] = true }
            return !state.isPlaced[number]
        }
        guard isMine else { return }
        let runs = runs[starts[number]..<starts[number + 1]]
        let all = block.bytes
        for run in runs {
            try all.span.withUnsafeBytes { (bytes) throws(FleetError) in
                let pages = bytes[(run.page * pageLength)..<((run.page + run.count) * pageLength)]
                try target.write(UnsafeRawBufferPointer(rebasing: pages), at: Int64(run.position * pageLength))
            }
        }
        let isPieceDone = state.withLock { state in
            var isDone = false
            for run in runs {
                for position in run.position..<(run.position + run.count) {
                    state.missing[position / Self.piecePages] -= 1
                    isDone = isDone || state.missing[position / Self.piecePages] == 0
                }
            }
            return isDone
        }
        if isPieceDone { state.broadcast() }
    }
}
