import FleetSystem

/// The pages of one block, in order.
final class DecodedBlock: Sendable {
    let bytes: [UInt8]
    init(_ bytes: [UInt8]) { self.bytes = bytes }
}

/// Decoded blocks that were used last, up to a number of bytes: one for a repository, however many snapshots are read.
/// Of several that want the same block, one decodes it and the others wait.
///
/// Blocks that are only looked into as bases have half of the room: they come in crowds, and would drive out those whose
/// pages are being read, which are dear to decode again.
final class BlockCache: Sendable {
    struct Key: Hashable, Sendable {
        var pack: PackID
        var block: Int
    }
    private struct Entry {
        /// nil while somebody decodes it.
        var block: DecodedBlock?
        var used: Int
        var isBase: Bool
        /// Somebody waits for it.
        var isAwaited = false
    }
    private struct State {
        var entries: [Key: Entry] = [:]
        var bytes = 0
        /// Of them in blocks that are bases only.
        var baseBytes = 0
        var clock = 0
    }
    private let state = Monitor(State())
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    /// Of all blocks that are decoded.
    var bytes: Int { state.withLock { $0.bytes } }

    func block(
        _ key: Key, asBase: Bool, decode: () throws(FleetError) -> DecodedBlock
    ) throws(FleetError) -> DecodedBlock {
        while true {
            let known: (block: DecodedBlock?, isMine: Bool) = state.withLock { state in
                state.clock += 1
                guard let entry = state.entries[key] else {
                    state.entries[key] = Entry(block: nil, used: state.clock, isBase: asBase)
                    return (nil, true)
                }
                state.entries[key]!.used = state.clock
                if entry.isBase, !asBase {
                    state.entries[key]!.isBase = false
                    state.baseBytes -= entry.block?.bytes.count ?? 0
                }
                if entry.block == nil { state.entries[key]!.isAwaited = true }
                return (entry.block, false)
            }
            if let block = known.block { return block }
            if known.isMine { break }
            let isDone: (State) -> Bool = { $0.entries[key]?.block != nil || $0.entries[key] == nil }
            state.waiting(seconds: 1, until: isDone) { _, _ in }
        }
        do throws(FleetError) {
            let block = try decode()
            let isAwaited = state.withLock { state in
                Self.put(block, key, &state, limit: limit)
                return state.entries[key]?.isAwaited ?? false
            }
            // Most are decoded before anybody wants them; nobody is woken for those.
            if isAwaited { state.broadcast() }
            return block
        } catch {
            state.withLock { $0.entries[key] = nil }
            state.broadcast()
            throw error
        }
    }

    /// Makes room: whoever reads knows that they will not be wanted again.
    func forget(_ keys: [Key]) {
        guard !keys.isEmpty else { return }
        // What was taken out is let go of outside of the lock: giving back memory takes time.
        let gone = state.withLock { state in
            keys.compactMap { key -> DecodedBlock? in
                guard let entry = state.entries[key], let block = entry.block else { return nil }
                Self.remove(key, entry, &state)
                return block
            }
        }
        withExtendedLifetime(gone) {}
    }

    private static func remove(_ key: Key, _ entry: Entry, _ state: inout State) {
        state.entries[key] = nil
        state.bytes -= entry.block?.bytes.count ?? 0
        if entry.isBase { state.baseBytes -= entry.block?.bytes.count ?? 0 }
    }

    private static func put(_ block: DecodedBlock, _ key: Key, _ state: inout State, limit: Int) {
        guard let entry = state.entries[key] else { return }
        state.entries[key]!.block = block
        state.bytes += block.bytes.count
        if entry.isBase { state.baseBytes += block.bytes.count }
        if state.baseBytes > limit / 2 { evict(&state, bases: true, but: key, until: limit / 2 / 8 * 7) }
        if state.bytes - state.baseBytes > limit / 2 * 3 {
            evict(&state, bases: false, but: key, until: limit / 2 / 8 * 7)
        }
    }

    /// An eighth at once: some hundred entries are sorted once for many insertions.
    private static func evict(_ state: inout State, bases: Bool, but key: Key, until target: Int) {
        let oldest = state.entries.filter { $0.value.block != nil && $0.value.isBase == bases && $0.key != key }
            .sorted { $0.value.used < $1.value.used }
        for (key, entry) in oldest {
            guard (bases ? state.baseBytes : state.bytes - state.baseBytes) > target else { break }
            remove(key, entry, &state)
        }
    }
}
