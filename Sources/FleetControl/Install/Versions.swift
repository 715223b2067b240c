enum Versions {
    /// Below, at or above 0, by the numbers that the texts begin with; nil where one begins with none.
    static func compare(_ one: String, _ other: String) -> Int? {
        func numbers(_ text: String) -> [Int]? {
            let head = text.prefix { $0.isASCII && $0.isNumber || $0 == "." }
            let parts = head.split(separator: ".", omittingEmptySubsequences: false).map { Int($0) }
            return parts.allSatisfy { $0 != nil } ? parts.compactMap(\.self) : nil
        }
        guard let a = numbers(one), let b = numbers(other) else { return nil }
        for place in 0..<max(a.count, b.count) {
            let (left, right) = (place < a.count ? a[place] : 0, place < b.count ? b[place] : 0)
            if left != right { return left < right ? -1 : 1 }
        }
        return 0
    }
}
