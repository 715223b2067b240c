public import FleetSystem

/// What may be restored, as retention sees it: one moment of a cluster, in one snapshot or, where several nodes saved
/// at the same time, in several.
public struct RestorePoint: Sendable, Equatable {
    public var id: String
    /// When it was saved.
    public var time: Timestamp
    public var isVerified: Bool
    public var isPinned: Bool

    public init(id: String, time: Timestamp, isVerified: Bool = true, isPinned: Bool = false) {
        self.id = id
        self.time = time
        self.isVerified = isVerified
        self.isPinned = isPinned
    }
}

/// How many restore points of a cluster are kept, and in what distance.
public struct RetentionPolicy: Sendable, Equatable, Codable {
    /// The newest ones, whatever their distance.
    public var last: Int
    /// The newest of each of so many hours, days, weeks, months, years (UTC; weeks begin on Monday) that have any.
    public var hourly: Int
    public var daily: Int
    public var weekly: Int
    public var monthly: Int
    public var yearly: Int

    public init(
        last: Int = 0, hourly: Int = 0, daily: Int = 0, weekly: Int = 0, monthly: Int = 0, yearly: Int = 0
    ) {
        self.last = last
        self.hourly = hourly
        self.daily = daily
        self.weekly = weekly
        self.monthly = monthly
        self.yearly = yearly
    }
}

/// What becomes of a restore point, and why, in words for a person.
public struct RetentionDecision: Sendable, Equatable {
    public var point: RestorePoint
    public var isKept: Bool
    public var reasons: [String]

    /// "keep    20261124-065510-k3f9  2026-11-24 06:55:10Z  last 3, day 2026-11-24"
    public var line: String {
        "\(isKept ? "keep  " : "remove")  \(point.id)  \(point.time.short)  \(reasons.joined(separator: ", "))"
    }
}

/// Decides what of one cluster is kept. Pure: the same history gives the same decisions, whenever it is asked.
///
/// Only verified points count for a rule, so that a series of damaged ones never pushes out the last good one. A pinned
/// point is kept and uses up nobody's place. The newest verified point is kept by any policy, an empty one too. Points
/// that are not verified are kept while they are newer than it: somebody may still be looking into them.
public enum Retention {
    public static func decide(_ points: [RestorePoint], _ policy: RetentionPolicy) -> [RetentionDecision] {
        let sorted = points.sorted { ($0.time, $0.id) > ($1.time, $1.id) }
        var reasons: [String: [String]] = [:]
        let verified = sorted.filter(\.isVerified)
        if let newest = verified.first { reasons[newest.id, default: []].append("newest verified") }
        for point in sorted where point.isPinned { reasons[point.id, default: []].append("pinned") }
        for (i, point) in verified.prefix(max(0, policy.last)).enumerated() {
            reasons[point.id, default: []].append("last \(i + 1) of \(policy.last)")
        }
        let rules: [(Int, String, (Timestamp) -> String)] = [
            (policy.hourly, "hour", { String($0.description.prefix(13)) }),
            (policy.daily, "day", { String($0.description.prefix(10)) }),
            (policy.weekly, "week of", week),
            (policy.monthly, "month", { String($0.description.prefix(7)) }),
            (policy.yearly, "year", { String($0.description.prefix(4)) }),
        ]
        for (count, name, period) in rules where count > 0 {
            var seen: Set<String> = []
            for point in verified {
                let key = period(point.time)
                guard seen.count < count || seen.contains(key) else { break }
                if seen.insert(key).inserted { reasons[point.id, default: []].append("\(name) \(key)") }
            }
        }
        return sorted.map { point in
            if let why = reasons[point.id] { return RetentionDecision(point: point, isKept: true, reasons: why) }
            if !point.isVerified, verified.first.map({ $0.time < point.time }) ?? true {
                return RetentionDecision(
                    point: point, isKept: true, reasons: ["not verified, and nothing newer is"])
            }
            return RetentionDecision(
                point: point, isKept: false,
                reasons: [point.isVerified ? "no rule keeps it" : "not verified, and something newer is"])
        }
    }

    /// The Monday that a moment's week begins with, as "2026-11-23".
    private static func week(_ time: Timestamp) -> String {
        let day: Int64 = 86_400_000
        let days = (time.milliseconds - ((time.milliseconds % day) + day) % day) / day
        // 1970-01-01 was a Thursday, the fourth day of its week.
        let monday = days - ((days + 3) % 7 + 7) % 7
        return String(Timestamp(milliseconds: monday * day).description.prefix(10))
    }
}
