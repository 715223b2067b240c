/// Bytes a second as people write them.
public enum Rates {
    public static let form = "a rate such as 500kB, 20MB or 1GB a second"

    /// "20MB", "20MB/s", "1.5MiB": bytes; nil for what is none. The unit has to be there: a bare number may be meant in bits.
    public static func parse(_ text: String) -> Int? {
        let bare = text.hasSuffix("/s") ? text.dropLast(2) : text[...]
        let units: [(String, Double)] = [
            ("KiB", 1024), ("MiB", 1_048_576), ("GiB", 1_073_741_824), ("kB", 1000), ("KB", 1000), ("MB", 1e6),
            ("GB", 1e9),
        ]
        guard let (unit, factor) = units.first(where: { bare.hasSuffix($0.0) }) else { return nil }
        let digits = bare.dropLast(unit.count).split(separator: ".", omittingEmptySubsequences: false)
        guard (1...2).contains(digits.count),
            digits.allSatisfy({ (1...6).contains($0.utf8.count) && $0.allSatisfy { $0.isASCII && $0.isNumber } }),
            let value = Double(digits.joined(separator: "."))
        else { return nil }
        return Int(value * factor)
    }
}
