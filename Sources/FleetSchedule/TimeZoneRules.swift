public import FleetSystem

/// What clocks of a time zone show, from the system's own files, so that an update of tzdata is all that a change of law
/// needs.
public struct TimeZoneRules: Sendable, Equatable {
    public static let directory = "/usr/share/zoneinfo"
    public static let utc = TimeZoneRules(name: "UTC", file: nil)

    /// As "Europe/Berlin".
    public let name: String
    /// Nil for UTC, which needs none.
    private let file: ZoneFile?

    private init(name: String, file: ZoneFile?) {
        self.name = name
        self.file = file
    }

    /// - Throws: `usage` for a name that is none or unknown here, `malformed` for a file that can't be read.
    public init(_ name: String, in directory: String = TimeZoneRules.directory) throws(FleetError) {
        if name == "UTC" {
            self = .utc
            return
        }
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        // A name is a path: it has to stay below the directory.
        let isName = parts.allSatisfy { part in
            !part.isEmpty && part.first != "." && part.utf8.allSatisfy(Self.isOfName)
        }
        guard isName, name.utf8.count <= 64, let bytes = try? FileSystem.read("\(directory)/\(name)", limit: 1 << 20)
        else {
            throw FleetError(
                .usage, "there is no time zone \(isName ? name : "of that name")",
                hint: "use a name such as UTC or Europe/Berlin; \(directory) (Debian's tzdata) has them all")
        }
        self.init(name: name, file: try ZoneFile(bytes))
    }

    private static func isOfName(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "+"), UInt8(ascii: "-"):
            true
        default: false
        }
    }

    /// Seconds east of UTC.
    /// - Parameter time: seconds since 1970, UTC.
    func offset(at time: Int64) -> Int {
        guard let file else { return 0 }
        if let last = file.transitions.last, time < last.time {
            let index = file.transitions.partitionIndex { $0.time > time }
            return index == 0 ? file.firstOffset : file.transitions[index - 1].offset
        }
        guard let rule = file.rule else { return file.transitions.last?.offset ?? file.firstOffset }
        let year = GregorianCalendar.date(days: Int(time.floored(86400))).year
        // The year on the wall may be another than UTC's, and the offset is that since the last change.
        let changes = (year - 1...year + 1).flatMap(rule.transitions)
        return changes.last { $0.time <= time }?.offset ?? rule.standard
    }

    /// The one that is in force while a clock on the wall shows these, and for a day around; nil where it changes.
    func offset(throughout local: ClosedRange<Int64>) -> Int? {
        let (before, behind) = (offset(at: local.lowerBound - 2 * 86400), offset(at: local.upperBound + 2 * 86400))
        return before == behind ? before : nil
    }

    /// When a clock on the wall shows this: once, twice where it is set back, never where it is set forward; in order.
    /// - Parameter local: seconds since 1970 as the wall counts them.
    func moments(showing local: Int64) -> [Int64] {
        candidates(around: local).map { local - Int64($0) }.filter { offset(at: $0) == Int(local - $0) }.sorted()
    }

    /// Where a clock never shows this: the moment at which it was set forward over it.
    func jump(over local: Int64) -> Int64? {
        // The moment that each of the offsets around would make of it lie on either side of the change.
        let moments = candidates(around: local).map { local - Int64($0) }
        guard var early = moments.min(), var late = moments.max(), offset(at: early) != offset(at: late) else {
            return nil
        }
        let before = offset(at: early)
        while late - early > 1 {
            let middle = early + (late - early) / 2
            if offset(at: middle) == before { early = middle } else { late = middle }
        }
        return late
    }

    /// Each offset that was in force within a day of it.
    private func candidates(around local: Int64) -> Set<Int> {
        // No zone changes twice within a day or is more than 26 hours from UTC.
        [offset(at: local - 2 * 86400), offset(at: local), offset(at: local + 2 * 86400)]
    }
}

extension Int64 {
    /// Divided, and rounded towards the past.
    func floored(_ divisor: Int64) -> Int64 { self >= 0 ? self / divisor : -((-self + divisor - 1) / divisor) }
}

extension Array {
    /// The first index whose element is so, where all behind it are.
    func partitionIndex(_ isBehind: (Element) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if isBehind(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
