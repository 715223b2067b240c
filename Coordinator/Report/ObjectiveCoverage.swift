import FleetProtocol
import FleetSystem

/// Whether a cluster's recovery point objective was met, day by day. Pure.
///
/// At each moment the age of the newest backup that was usable then is compared with the objective of that moment. A backup
/// counts from when it was stored and verified, with the age that its save has, until it was deleted or found damaged.
enum ObjectiveCoverage {
    struct Point: Equatable {
        /// When its save began.
        var saved: Timestamp
        var usableFrom: Timestamp
        /// nil: still.
        var usableUntil: Timestamp?
    }

    static let dayLength: Int64 = 86_400_000

    static func midnight(_ time: Timestamp) -> Timestamp {
        let rest = time.milliseconds % dayLength
        return Timestamp(milliseconds: time.milliseconds - (rest < 0 ? rest + dayLength : rest))
    }

    /// One for each day in UTC that has a part in the range.
    ///
    /// - Parameters:
    ///   - objectives: from when on which; sorted. None before the first.
    ///   - known: since when the fleet knows the cluster, and each time that it was added again: while it has no backup, that is
    ///     what its age counts from.
    ///   - removals: when it was removed each time; with that its objective has ended.
    static func days(
        points: [Point], objectives: [AuditReport.Objective], known: [Timestamp], removals: [Timestamp] = [],
        since: Timestamp, until: Timestamp
    ) -> [AuditReport.Day] {
        let newest = steps(points)
        var days: [AuditReport.Day] = []
        var begin = since
        var step = 0
        while begin < until {
            let end = min(Timestamp(milliseconds: midnight(begin).milliseconds + dayLength), until)
            while step + 1 < newest.count, newest[step + 1].from <= begin { step += 1 }
            let isThere = known.indices.contains { index in
                known[index] < end && (!removals.indices.contains(index) || removals[index] > begin)
            }
            days.append(
                isThere
                    ? day(begin, end, newest[step...], objectives, known)
                    : AuditReport.Day(date: date(begin), state: .unknown, worst: nil, late: nil))
            begin = end
        }
        return days
    }

    /// Which backup is the newest, from when on.
    private struct Step {
        var from: Timestamp
        var saved: Timestamp?
    }

    private static func steps(_ points: [Point]) -> [Step] {
        // By time; of one moment, what becomes usable before what ends: nothing is without a backup for no time.
        let turns = points.flatMap { point in
            // No backup is of a time after it was stored: a clock was wrong.
            let saved = min(point.saved, point.usableFrom)
            return [(at: point.usableFrom, saved: saved, begins: true)]
                + (point.usableUntil.map { [(at: max($0, point.usableFrom), saved: saved, begins: false)] } ?? [])
        }.sorted { ($0.at, $0.begins ? 0 : 1) < ($1.at, $1.begins ? 0 : 1) }
        var usable: [Timestamp] = []
        var steps = [Step(from: Timestamp(milliseconds: .min), saved: nil)]
        for turn in turns {
            let place = firstIndex(usable, notBelow: turn.saved)
            if turn.begins { usable.insert(turn.saved, at: place) } else { usable.remove(at: place) }
            if usable.last != steps[steps.count - 1].saved { steps.append(Step(from: turn.at, saved: usable.last)) }
        }
        return steps
    }

    private static func firstIndex(_ sorted: [Timestamp], notBelow value: Timestamp) -> Int {
        var (low, high) = (0, sorted.count)
        while low < high {
            let middle = (low + high) / 2
            if sorted[middle] < value { low = middle + 1 } else { high = middle }
        }
        return low
    }

    private static func date(_ time: Timestamp) -> String { String(time.description.prefix(10)) }

    private static func day(
        _ begin: Timestamp, _ end: Timestamp, _ newest: ArraySlice<Step>, _ objectives: [AuditReport.Objective],
        _ known: [Timestamp]
    ) -> AuditReport.Day {
        let date = date(begin)
        var worst: Int64?
        var late: Int64 = 0
        for (index, objective) in objectives.enumerated() {
            guard let allowed = objective.seconds else { continue }
            let next = index + 1 < objectives.count ? objectives[index + 1].from : end
            let (from, to) = (max(begin, objective.from, known[0]), min(end, next))
            guard from < to else { continue }
            // An objective begins anew with a cluster that is added again.
            let known = known.last { $0 <= from } ?? known[0]
            for (place, step) in zip(newest.indices, newest) {
                if step.from >= to { break }
                let following = place + 1 < newest.endIndex ? newest[place + 1].from : to
                let (x, y) = (max(from, step.from), min(to, following))
                guard x < y else { continue }
                let reference = (step.saved ?? known).milliseconds
                worst = max(worst ?? 0, y.milliseconds - reference)
                late += max(0, y.milliseconds - max(x.milliseconds, reference + Int64(allowed) * 1000))
            }
        }
        guard let worst else { return AuditReport.Day(date: date, state: .free, worst: nil, late: nil) }
        return AuditReport.Day(
            date: date, state: late > 0 ? .missed : .met, worst: Int(worst / 1000),
            late: late > 0 ? Int((late + 999) / 1000) : nil)
    }
}
