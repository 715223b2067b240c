import FleetProtocol
import FleetSystem

/// What may be restored, as retention sees it: one moment of a cluster.
struct RestorePoint: Sendable, Equatable {
    var id: String
    /// When it was saved.
    var time: Timestamp
    var isVerified = true
    /// Not for one that a restore saved before it began: that is never the latest, and says nothing of how old backups are.
    var isBackup = true
    var holds: [Hold] = []

    /// Why it stays, whatever the policy says.
    enum Hold: String, Sendable {
        case pinned = "pinned"
        case restoring = "a restore or drill needs it"
        /// By a dry run: that may be approved for a day, and begun for a day from then.
        case planned = "a restore of it was planned just now"
        case foreign = "foreign: only a person deletes it"
        /// It was sound when it came: its file may be put back, or its disk mounted again.
        case unreadable = "can't be read now: only a person deletes it"
        /// That later ones are sound says nothing of whether etcd starts on them.
        case proven = "the newest that a drill proved"
        /// A clock was ahead when it was saved, and nothing tells how old it is.
        case ahead = "dated ahead of the present: only a person deletes it"

        /// Somebody who names the snapshot may delete it all the same.
        var yieldsToPerson: Bool { self != .pinned && self != .restoring }
    }

    var isAhead: Bool { holds.contains(.ahead) }
}

/// What becomes of a restore point, and why, in words for a person.
struct RetentionDecision: Sendable, Equatable {
    var point: RestorePoint
    var isKept: Bool
    var reasons: [String]
}

/// Decides what of one cluster is kept. Pure: the same history gives the same decisions, whenever it is asked.
///
/// Only verified points count for a rule, so that a series of damaged ones never pushes out the last good one. A point
/// that is held is kept, and counts like any other. The newest verified backup is kept by any policy, an empty one too; what
/// a restore had saved counts for nothing as long as there is a backup.
/// One that is dated ahead counts for no rule: it would have the first place of each until its time has come.
/// Points that never were sound are kept while they are newer than it: somebody may still be looking into them.
enum Retention {
    static func decide(_ points: [RestorePoint], _ policy: RetentionPolicy) -> [RetentionDecision] {
        let sorted = points.sorted { ($0.time, $0.id) > ($1.time, $1.id) }
        var reasons: [String: [String]] = [:]
        let verified = sorted.filter { $0.isVerified && $0.isBackup && !$0.isAhead }
        if let newest = newest(points) { reasons[newest.id, default: []].append("newest verified") }
        for point in sorted where !point.holds.isEmpty { reasons[point.id, default: []] += point.holds.map(\.rawValue) }
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

    /// What stays whatever happens: what `latest` gives, or the best that there is.
    static func newest(_ points: [RestorePoint]) -> RestorePoint? {
        let verified = points.filter(\.isVerified)
        let backups = verified.filter(\.isBackup)
        func rank(_ point: RestorePoint) -> (Int, Timestamp, String) { (point.isAhead ? 0 : 1, point.time, point.id) }
        return (backups.isEmpty ? verified : backups).max { rank($0) < rank($1) }
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
