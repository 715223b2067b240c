import FleetSystem

/// The five fields of a crontab's line: which minutes of which days.
///
/// As in cron, a day has to match both its fields, or one of them where neither begins with `*`.
struct CronFields: Sendable, Hashable {
    /// Ascending, as the hours.
    var minutes: [Int]
    var hours: [Int]
    var days: Set<Int>
    var months: Set<Int>
    /// 0 is Sunday.
    var weekdays: Set<Int>
    /// Whether the field of the hours begins with `*`: then it is about the time that has passed, not about the hour that a
    /// clock shows.
    var isEveryHour: Bool
    private var anyDay: Bool
    private var anyWeekday: Bool

    /// - Throws: `usage`, which names the field.
    init(_ text: String) throws(FleetError) {
        let fields = text.split(separator: " ").map(String.init)
        guard fields.count == 5 else {
            throw FleetError(
                .usage, "a schedule has five fields, and '\(text)' has \(fields.count)",
                hint: "minute hour day-of-month month day-of-week, as in '0 3 * * *', or '@every 6h'")
        }
        minutes = try Self.values(fields[0], "minute", 0...59).sorted()
        hours = try Self.values(fields[1], "hour", 0...23).sorted()
        days = try Self.values(fields[2], "day of the month", 1...31)
        months = try Self.values(fields[3], "month", 1...12, names: Self.monthNames)
        weekdays = try Self.weekdays(fields[4])
        isEveryHour = fields[1].hasPrefix("*")
        anyDay = fields[2].hasPrefix("*")
        anyWeekday = fields[4].hasPrefix("*")
        guard (Self.leapYear...Self.leapYear + 366).contains(where: { includes(day: $0) }) else {
            throw FleetError(
                .usage, "'\(text)' is on no day of any year", hint: "look at the day of the month and the month")
        }
    }

    /// As "mon-fri" or "0,6"; Sunday is 0 and 7.
    static func weekdays(_ field: String) throws(FleetError) -> Set<Int> {
        Set(try values(field, "day of the week", 0...7, names: dayNames).map { $0 % 7 })
    }

    /// - Parameter day: since 1970-01-01.
    func includes(day: Int) -> Bool {
        let date = GregorianCalendar.date(days: day)
        guard months.contains(date.month) else { return false }
        let (isDay, isWeekday) = (days.contains(date.day), weekdays.contains(Weekday.of(day: day)))
        return anyDay || anyWeekday ? isDay && isWeekday : isDay || isWeekday
    }

    private static let monthNames = [
        "jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6, "jul": 7, "aug": 8, "sep": 9, "oct": 10,
        "nov": 11, "dec": 12,
    ]
    private static let dayNames = ["sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6]
    /// The first day of one.
    private static let leapYear = GregorianCalendar.days(year: 2024, month: 1, day: 1)

    /// A list of `*`, `n`, `a-b`, each with an optional `/step`.
    private static func values(
        _ field: String, _ what: String, _ range: ClosedRange<Int>, names: [String: Int] = [:]
    ) throws(FleetError) -> Set<Int> {
        var found: Set<Int> = []
        for item in field.split(separator: ",", omittingEmptySubsequences: false) {
            let halves = item.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
            let bounds = halves[0].split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
            func number(_ text: Substring) -> Int? {
                if let name = names[text.lowercased()] { return name }
                guard !text.isEmpty, text.utf8.count <= 2, text.utf8.allSatisfy({ $0 >= 48 && $0 <= 57 }) else {
                    return nil
                }
                return Int(text).flatMap { range.contains($0) ? $0 : nil }
            }
            let step = halves.count == 2 ? Int(halves[1]).flatMap { (1...60).contains($0) ? $0 : nil } : 1
            let whole: ClosedRange<Int>?
            if halves[0] == "*" {
                whole = range
            } else if let low = number(bounds[0]) {
                // "5/15" goes on to the end, as in most crons.
                var high = bounds.count == 2 ? number(bounds[1]) : halves.count == 2 ? range.upperBound : low
                // Of days: Sunday is the last as well, "mon-sun".
                if high == 0, low > 0, range == 0...7 { high = 7 }
                whole = high.flatMap { low <= $0 ? low...$0 : nil }
            } else {
                whole = nil
            }
            guard let step, let whole else {
                throw FleetError(
                    .usage, "the \(what) of a schedule is no '\(item)'",
                    hint:
                        "\(range.lowerBound) to \(range.upperBound)\(names.isEmpty ? "" : " or a name such as \(names.keys.sorted()[0])"), a range a-b, a list a,b, '*', and each with a step as in '*/2'"
                )
            }
            found.formUnion(stride(from: whole.lowerBound, through: whole.upperBound, by: step))
        }
        return found
    }
}
