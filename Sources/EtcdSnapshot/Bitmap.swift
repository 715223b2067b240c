/// One bit a number: pages that were reached, entries that are live.
struct Bitmap {
    private var words: [UInt64]

    init(count: UInt64 = 0) { words = [UInt64](repeating: 0, count: Int((count + 63) / 64)) }

    func contains(_ i: UInt64) -> Bool {
        let word = Int(i / 64)
        return word < words.count && words[word] >> (i % 64) & 1 == 1
    }

    /// Grows to hold it.
    mutating func insert(_ i: UInt64) {
        let word = Int(i / 64)
        if word >= words.count { words += [UInt64](repeating: 0, count: word + 1 - words.count) }
        words[word] |= 1 << (i % 64)
    }
}
