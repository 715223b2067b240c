import FleetSystem

/// New pages of an upload that wait to be compressed together: a few thousand, next to each other in the snapshot, so
/// that reading it in order needs few blocks at a time.
///
/// Unchecked: filled by the upload's one caller, read by the threads that compress once it is full, changed no more.
final class Region: @unchecked Sendable {
    /// Pages that belong to one page of bbolt, in the order of the file.
    struct Unit {
        /// In the region.
        var first: Int
        var count: Int
        /// What the head of the unit said, where there is one; the head may be an unchanged page.
        var flags: UInt16
        var elements: Int
        var firstRevision: Revision?
        /// The head is the unit's first page here.
        var hasHead: Bool
    }
    static let capacity = 3072

    private(set) var positions: [Int] = []
    private(set) var ids: [PageID] = []
    private(set) var units: [Unit] = []
    /// Pages that are the same as another one of the region: their position, and the other's number.
    private(set) var repeats: [(position: Int, number: Int)] = []
    /// All of it at once: what is never touched is no memory.
    private lazy var bytes = UnsafeMutableRawPointer.allocate(byteCount: Self.capacity * pageLength, alignment: 4096)
    private var numbers: [PageID: Int] = [:]

    deinit { if !positions.isEmpty { bytes.deallocate() } }

    var isEmpty: Bool { positions.isEmpty && repeats.isEmpty }
    var isFull: Bool { positions.count >= Self.capacity }

    /// Copies the page, unless the region has it already.
    func add(_ page: UnsafeRawBufferPointer, id: PageID, position: Int, unit: Unit?, startsUnit: Bool) {
        if let number = numbers[id] {
            repeats.append((position, number))
            return
        }
        let number = positions.count
        numbers[id] = number
        (bytes + number * pageLength).copyMemory(from: page.baseAddress!, byteCount: pageLength)
        positions.append(position)
        ids.append(id)
        // What has no head, or whose pages are interrupted, is a unit of its own.
        if !startsUnit, let last = units.last, unit != nil, last.first + last.count == number,
            positions[number - 1] == position - 1, last.firstRevision == unit?.firstRevision, last.flags != 0
        {
            units[units.count - 1].count += 1
        } else {
            var new = unit ?? Unit(first: 0, count: 1, flags: 0, elements: 0, firstRevision: nil, hasHead: false)
            (new.first, new.count, new.hasHead) = (number, 1, startsUnit)
            units.append(new)
        }
    }

    func page(_ number: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: bytes + number * pageLength, count: pageLength)
    }

    /// The last revision of a unit, where its head is here and enough of what follows.
    func lastRevision(_ unit: Unit) -> Revision? {
        guard unit.hasHead, unit.elements > 0 else { return unit.firstRevision }
        let all = UnsafeRawBufferPointer(start: bytes + unit.first * pageLength, count: unit.count * pageLength)
        return BoltPage(bytes: all).revision(unit.elements - 1) ?? unit.firstRevision
    }
}
