public import FleetSystem

/// When on the clocks of a time zone something may begin: "mon-fri 22:00-06:00", "sat,sun 00:00-24:00", "20:00-04:00".
public struct Window: Sendable, Hashable, CustomStringConvertible {
    /// As it was written.
    public let description: String
    /// On which it opens; 0 is Sunday.
    private let weekdays: Set<Int>
    /// Minutes after midnight.
    private let opens: Int
    /// Minutes after the midnight before it opens: above 1440 where it closes on the day after.
    private let closes: Int

    /// - Throws: `usage`.
    public init(_ text: String) throws(FleetError) {
        let words = text.split(separator: " ").map(String.init)
        description = words.joined(separator: " ")
        let hint = "days and hours, as in 'mon-fri 22:00-06:00' or '01:00-05:00'"
        let times = words.last.map { $0.split(separator: "-", omittingEmptySubsequences: false) } ?? []
        guard (1...2).contains(words.count), times.count == 2, let from = Self.minutes(times[0]),
            let to = Self.minutes(times[1]), from < 1440, from != to
        else { throw FleetError(.usage, "'\(text)' is no window", hint: hint) }
        weekdays = words.count == 2 ? try CronFields.weekdays(words[0]) : Set(0...6)
        opens = from
        closes = to > from ? to : to + 1440
    }

    private static func minutes(_ text: Substring) -> Int? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2,
            parts.allSatisfy({ $0.utf8.count == 2 && $0.utf8.allSatisfy { (48...57).contains($0) } }),
            let hour = Int(parts[0]), let minute = Int(parts[1]), minute < 60, hour * 60 + minute <= 1440
        else { return nil }
        return hour * 60 + minute
    }

    public func isOpen(at time: Timestamp, in zone: TimeZoneRules) -> Bool { remaining(at: time, in: zone) != nil }

    /// Until it closes, as the clocks of the zone count; nil while it is closed.
    public func remaining(at time: Timestamp, in zone: TimeZoneRules) -> Duration? {
        let seconds = time.milliseconds.floored(1000)
        let local = seconds + Int64(zone.offset(at: seconds))
        let day = Int(local.floored(86400))
        let second = Int(local) - day * 86400
        if weekdays.contains(Weekday.of(day: day)), opens * 60 <= second, second < closes * 60 {
            return .seconds(closes * 60 - second)
        }
        // Of the day before, beyond midnight.
        guard weekdays.contains(Weekday.of(day: day - 1)), second + 86400 < closes * 60 else { return nil }
        return .seconds(closes * 60 - second - 86400)
    }

    /// The first moment behind `time` at which it opens.
    public func opening(after time: Timestamp, in zone: TimeZoneRules) -> Timestamp {
        let seconds = time.milliseconds.floored(1000)
        let today = Int((seconds + Int64(zone.offset(at: seconds))).floored(86400))
        var day = today - 1
        while true {
            defer { day += 1 }
            guard weekdays.contains(Weekday.of(day: day)) else { continue }
            let local = Int64(day) * 86400 + Int64(opens) * 60
            // Clocks that jump over the opening show a later minute at once.
            if let moment = zone.moments(showing: local).first ?? zone.jump(over: local), moment > seconds {
                return Timestamp(milliseconds: moment * 1000)
            }
        }
    }
}
