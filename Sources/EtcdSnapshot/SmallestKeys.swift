/// The first of many keys in the order of their bytes, as many as fit in a number of bytes: a sorted listing of any length
/// is given out page by page, each found by another look through all keys, in the memory of one page.
public struct SmallestKeys<Item> {
    private let after: [UInt8]?
    private let budget: Int
    private var found: [(key: [UInt8], item: Item)] = []
    private var bytes = 0
    /// What is not below it does not fit any more.
    private var ceiling: [UInt8]?
    /// Some were left out: there is another page.
    public private(set) var isCut = false

    /// What an item takes besides its key, about.
    private static var overhead: Int { 128 }

    /// - Parameter after: the last key of the page before.
    public init(after: [UInt8]?, budget: Int) {
        self.after = after
        self.budget = budget
    }

    public mutating func add(_ key: [UInt8], _ item: @autoclosure () -> Item) {
        if let after, !after.lexicographicallyPrecedes(key) { return }
        if let ceiling, !key.lexicographicallyPrecedes(ceiling) {
            isCut = true
            return
        }
        found.append((key, item()))
        bytes += key.count + Self.overhead
        if bytes > 2 * budget { cut() }
    }

    private mutating func cut() {
        found.sort { $0.key.lexicographicallyPrecedes($1.key) }
        var (kept, total) = (0, 0)
        // One at least, however long it is, or a listing would never end.
        while kept < found.count, kept == 0 || total + found[kept].key.count + Self.overhead <= budget {
            total += found[kept].key.count + Self.overhead
            kept += 1
        }
        if kept < found.count {
            ceiling = found[kept].key
            isCut = true
            found.removeSubrange(kept...)
        }
        bytes = total
    }

    /// Sorted.
    public mutating func take() -> [(key: [UInt8], item: Item)] {
        cut()
        return found
    }
}
