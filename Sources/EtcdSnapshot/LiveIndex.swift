internal import FleetSystem

/// Which entries of the bucket `key` are the newest of their user key, found while the entries go by in the order of
/// their revisions.
///
/// An open hash table of places, not of keys: 32 bytes a user key, however long the key. It holds at most 786,000
/// keys (32 MB, twice that while it grows); a snapshot with more is gone through several times, each time for the keys whose hashes begin with
/// other bits. Hashes are seeded anew in every process, so no file can be made to collide.
struct LiveIndex {
    struct Slot {
        var hash: UInt64
        /// Of the KeyValue message, from the snapshot's beginning; all ones: an empty slot.
        var offset: UInt64
        /// Position among the bucket's entries, times two, plus one if it is a deletion.
        var ordinal: UInt64
        var length: UInt32

        static let empty = Slot(hash: 0, offset: .max, ordinal: 0, length: 0)
        var isEmpty: Bool { offset == .max }
        var isTombstone: Bool { ordinal & 1 == 1 }
        var position: Int { Int(ordinal >> 1) }
    }

    static let slotLimit = 1 << 20
    /// So many passes at most, for some 100 million keys: more than etcd's greatest quota has room for.
    static let bitLimit = 7

    private let source: any PageSource
    private let slotLimit: Int
    private(set) var slots: [Slot]
    private var used = 0
    /// This pass is for hashes whose first `bits` bits are `part`.
    private var bits = 0
    private var part: UInt64 = 0
    /// True when even `bitLimit` bits leave too many keys for one pass.
    private(set) var isOverfull = false

    init(_ source: any PageSource, slotLimit: Int) {
        self.source = source
        self.slotLimit = slotLimit
        slots = [Slot](repeating: .empty, count: min(slotLimit, 1 << 8))
    }

    static func hash(_ key: UnsafeRawBufferPointer) -> UInt64 {
        var hasher = Hasher()
        hasher.combine(bytes: key)
        return UInt64(bitPattern: Int64(hasher.finalize()))
    }

    /// For the other snapshot of a comparison: the same keys as this one's present pass.
    func sibling(_ source: any PageSource) -> LiveIndex {
        var other = LiveIndex(source, slotLimit: slotLimit)
        (other.bits, other.part) = (bits, part)
        return other
    }

    var scope: Scope { Scope(bits: bits, part: part) }
    struct Scope: Equatable { var bits: Int, part: UInt64 }

    mutating func begin(_ scope: Scope) {
        (bits, part) = (scope.bits, scope.part)
        removeAll()
    }

    private func isMine(_ hash: UInt64) -> Bool { bits == 0 || hash >> (64 - UInt64(bits)) == part }

    /// A newer entry of `key`: the message that `message` is the place of.
    mutating func note(
        _ key: UnsafeRawBufferPointer, message: (offset: Int, length: Int), position: Int, isTombstone: Bool
    ) throws(FleetError) {
        let hash = Self.hash(key)
        guard isMine(hash), !isOverfull else { return }
        let new = Slot(
            hash: hash, offset: UInt64(message.offset), ordinal: UInt64(position) << 1 | (isTombstone ? 1 : 0),
            length: UInt32(truncatingIfNeeded: message.length))
        let i = try find(key, hash)
        if slots[i].isEmpty {
            slots[i] = new
            used += 1
            if used > slots.count / 4 * 3 { makeRoom() }
        } else {
            slots[i] = new
        }
    }

    /// The slot of a key, or the empty one where it would be.
    func find(_ key: UnsafeRawBufferPointer, _ hash: UInt64) throws(FleetError) -> Int {
        var i = Int(truncatingIfNeeded: hash) & (slots.count - 1)
        while !slots[i].isEmpty {
            if slots[i].hash == hash, try isKey(key, of: slots[i]) { return i }
            i = (i + 1) & (slots.count - 1)
        }
        return i
    }

    private func isKey(_ key: UnsafeRawBufferPointer, of slot: Slot) throws(FleetError) -> Bool {
        var isEqual = false
        try source.read(at: Int(slot.offset), count: Int(slot.length)) { message throws(FleetError) in
            isEqual = (try? KeyValue(message))?.key.equals(key) ?? false
        }
        return isEqual
    }

    /// Twice the slots or, where that is not allowed, half the keys.
    private mutating func makeRoom() {
        let old = slots
        var count = old.count * 2
        if count > slotLimit {
            guard bits < Self.bitLimit else {
                isOverfull = true
                return
            }
            count = old.count
            bits += 1
            part *= 2
        }
        slots = [Slot](repeating: .empty, count: count)
        used = 0
        for slot in old where !slot.isEmpty && isMine(slot.hash) {
            var i = Int(truncatingIfNeeded: slot.hash) & (count - 1)
            while !slots[i].isEmpty { i = (i + 1) & (count - 1) }
            slots[i] = slot
            used += 1
        }
    }

    /// The live keys by their places in the file: a source that decodes what is asked for does so once, not once a key.
    var inFileOrder: some Sequence<Slot> {
        slots.indices.filter { !slots[$0].isEmpty && !slots[$0].isTombstone }.map { UInt32($0) }
            .sorted { slots[Int($0)].offset < slots[Int($1)].offset }.lazy.map { slots[Int($0)] }
    }

    /// Marks the live entries of this pass and returns how many there are.
    func mark(_ live: inout Bitmap) -> Int {
        var count = 0
        for slot in slots where !slot.isEmpty && !slot.isTombstone {
            live.insert(UInt64(slot.position))
            count += 1
        }
        return count
    }

    /// Goes on to the keys of the next pass; false when there is none.
    mutating func advance() -> Bool {
        guard part + 1 < UInt64(1) << UInt64(bits) else { return false }
        part += 1
        removeAll()
        return true
    }

    private mutating func removeAll() {
        for i in slots.indices { slots[i] = .empty }
        used = 0
    }
}
