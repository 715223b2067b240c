public import FleetSystem

/// When something is due: a crontab's five fields on the clocks of a time zone, or every so often.
///
/// Where clocks are set forward over the time that a field of hours names, it is due once, at that moment; where they are
/// set back over it, only the first time. A schedule whose hours begin with `*` goes on with the time that passes: what
/// clocks don't show is left out, what they show twice is due twice.
public struct Schedule: Sendable, Hashable, CustomStringConvertible {
    /// As it was written.
    public let description: String
    private let form: Form

    private enum Form: Sendable, Hashable {
        case cron(CronFields)
        /// Milliseconds, counted from 1970: so it is the same after a restart.
        case every(Int64)
    }

    private static let short = [
        "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
        "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
    ]

    /// - Parameter text: "0 3 * * *", "@daily" or "@every 6h"; at most once a minute.
    /// - Throws: `usage`.
    public init(_ text: String) throws(FleetError) {
        let words = text.split(separator: " ").map(String.init)
        description = words.joined(separator: " ")
        if words.first == "@every" {
            guard words.count == 2, let length = Durations.parse(words[1]), length >= .seconds(60),
                length <= .seconds(366 * 86400)
            else {
                throw FleetError(
                    .usage, "'\(description)' is no schedule",
                    hint: "@every and a length from 1m to 366d, as in '@every 90m', '@every 6h', '@every 1d12h'")
            }
            form = .every(length.milliseconds)
        } else if description.hasPrefix("@") {
            guard let fields = Self.short[description] else {
                throw FleetError(
                    .usage, "'\(description)' is no schedule",
                    hint: "known are \(Self.short.keys.sorted().joined(separator: ", ")) and '@every 6h'")
            }
            form = .cron(try CronFields(fields))
        } else {
            form = .cron(try CronFields(description))
        }
    }

    /// The first moment behind `time` at which it is due; nil only where a zone's clocks never show it.
    public func next(after time: Timestamp, in zone: TimeZoneRules) -> Timestamp? {
        switch form {
        case .every(let length):
            return Timestamp(milliseconds: (time.milliseconds.floored(length) + 1) * length)
        case .cron(let fields):
            let seconds = time.milliseconds.floored(1000)
            // A day's moments may lie on another one, where clocks are set at midnight.
            let today = Int((seconds + Int64(zone.offset(at: seconds))).floored(86400)) - 1
            for day in today...(today + Self.horizon) where fields.includes(day: day) {
                if let found = fields.moments(day: day, in: zone).first(where: { $0 > seconds }) {
                    return Timestamp(milliseconds: found * 1000)
                }
            }
            return nil
        }
    }

    /// The last moment at or before `time` at which it was due, of those behind `earliest`; nil without one.
    public func latest(notAfter time: Timestamp, after earliest: Timestamp, in zone: TimeZoneRules) -> Timestamp? {
        guard earliest < time else { return nil }
        switch form {
        case .every(let length):
            let last = Timestamp(milliseconds: time.milliseconds.floored(length) * length)
            return last > earliest ? last : nil
        case .cron(let fields):
            let (first, last) = (earliest.milliseconds.floored(1000), time.milliseconds.floored(1000))
            func day(_ seconds: Int64) -> Int { Int((seconds + Int64(zone.offset(at: seconds))).floored(86400)) }
            for day in ((day(first) - 1)...(day(last) + 1)).reversed() where fields.includes(day: day) {
                let moments = fields.moments(day: day, in: zone)
                guard let found = moments.last(where: { $0 <= last }) else { continue }
                return found > first ? Timestamp(milliseconds: found * 1000) : nil
            }
            return nil
        }
    }

    /// 29 February is missing for eight years at most, where a century is no leap year.
    private static let horizon = 9 * 366

}

extension CronFields {
    /// The moments that belong to a day of the wall's calendar, in order; seconds since 1970, UTC.
    fileprivate func moments(day: Int, in zone: TimeZoneRules) -> [Int64] {
        let midnight = Int64(day) * 86400
        if let offset = zone.offset(throughout: midnight...midnight + 86400) {
            return hours.flatMap { hour in
                minutes.map { minute in midnight + Int64(hour * 3600 + minute * 60) - Int64(offset) }
            }
        }
        var found: Set<Int64> = []
        for hour in hours {
            for minute in minutes {
                let local = midnight + Int64(hour * 3600 + minute * 60)
                let shown = zone.moments(showing: local)
                if isEveryHour {
                    found.formUnion(shown)
                } else if let moment = shown.first ?? zone.jump(over: local) {
                    found.insert(moment)
                }
            }
        }
        return found.sorted()
    }
}
