import FleetSystem

/// The rule by which a zone goes on for ever, in the form of POSIX's TZ variable: "CET-1CEST,M3.5.0,M10.5.0/3".
struct ZoneRule: Sendable, Equatable {
    /// A day of every year and a time of it on the wall.
    enum Day: Sendable, Equatable {
        /// 1 to 365, 29 February not counted.
        case julian(Int)
        /// 0 to 365.
        case ofYear(Int)
        /// 1 to 5, the last; 0 is Sunday.
        case weekday(month: Int, week: Int, weekday: Int)
    }

    struct Change: Sendable, Equatable {
        var day: Day
        /// Seconds after midnight; may be of another day.
        var seconds: Int
    }

    struct Daylight: Sendable, Equatable {
        /// Seconds east of UTC.
        var offset: Int
        var begins: Change
        var ends: Change
    }

    /// Seconds east of UTC.
    var standard: Int
    var daylight: Daylight?

    /// - Throws: `malformed`.
    init(_ text: String) throws(FleetError) {
        var parser = Parser(rest: Array(text.utf8)[...], whole: text)
        try parser.name()
        // What POSIX writes is what has to be added to local time.
        standard = -(try parser.time())
        guard !parser.rest.isEmpty else { return }
        try parser.name()
        let offset = parser.rest.first == UInt8(ascii: ",") ? standard + 3600 : -(try parser.time())
        daylight = Daylight(offset: offset, begins: try parser.change(), ends: try parser.change())
        guard parser.rest.isEmpty else { throw parser.malformed }
    }

    /// The two moments of a year at which the offset changes, in seconds since 1970 UTC, in order; none without daylight
    /// saving.
    func transitions(year: Int) -> [ZoneFile.Transition] {
        guard let daylight else { return [] }
        let begins = Self.seconds(daylight.begins, year) - Int64(standard)
        let ends = Self.seconds(daylight.ends, year) - Int64(daylight.offset)
        return [
            ZoneFile.Transition(time: begins, offset: daylight.offset),
            ZoneFile.Transition(time: ends, offset: standard),
        ].sorted { $0.time < $1.time }
    }

    /// As the wall shows it then.
    private static func seconds(_ change: Change, _ year: Int) -> Int64 {
        let first = GregorianCalendar.days(year: year, month: 1, day: 1)
        let isLeap = GregorianCalendar.days(year: year + 1, month: 1, day: 1) - first == 366
        let day: Int
        switch change.day {
        case .julian(let number): day = first + number - (isLeap && number >= 60 ? 0 : 1)
        case .ofYear(let number): day = first + number
        case .weekday(let month, let week, let weekday):
            let start = GregorianCalendar.days(year: year, month: month, day: 1)
            let next = GregorianCalendar.days(
                year: month == 12 ? year + 1 : year, month: month == 12 ? 1 : month + 1, day: 1)
            var found = start + (weekday - Weekday.of(day: start) + 7) % 7 + (week - 1) * 7
            while found >= next { found -= 7 }
            day = found
        }
        return Int64(day) * 86400 + Int64(change.seconds)
    }

    private struct Parser {
        var rest: ArraySlice<UInt8>
        var whole: String

        var malformed: FleetError { ZoneFile.malformed("its rule is none: \(whole)") }

        private mutating func take(_ byte: Character) -> Bool {
            guard rest.first == byte.asciiValue else { return false }
            rest.removeFirst()
            return true
        }

        /// Letters, or anything in angle brackets.
        mutating func name() throws(FleetError) {
            if take("<") {
                guard let end = rest.firstIndex(of: UInt8(ascii: ">")) else { throw malformed }
                rest = rest[(end + 1)...]
                return
            }
            let letters = rest.prefix { ($0 | 32) >= UInt8(ascii: "a") && ($0 | 32) <= UInt8(ascii: "z") }
            guard letters.count >= 3 else { throw malformed }
            rest = rest.dropFirst(letters.count)
        }

        private mutating func number(_ range: ClosedRange<Int>) throws(FleetError) -> Int {
            let digits = rest.prefix { $0 >= 48 && $0 <= 57 }.prefix(4)
            guard let value = Int(String(decoding: digits, as: UTF8.self)), range.contains(value) else {
                throw malformed
            }
            rest = rest.dropFirst(digits.count)
            return value
        }

        /// [+-]h[h[h]][:mm[:ss]], in seconds.
        mutating func time() throws(FleetError) -> Int {
            let sign = take("-") ? -1 : 1
            if sign == 1 { _ = take("+") }
            var seconds = try number(0...167) * 3600
            if take(":") {
                seconds += try number(0...59) * 60
                if take(":") { seconds += try number(0...59) }
            }
            return sign * seconds
        }

        /// ,Mm.w.d or ,Jn or ,n, then /time.
        mutating func change() throws(FleetError) -> Change {
            guard take(",") else { throw malformed }
            let day: Day
            if take("M") {
                let month = try number(1...12)
                guard take(".") else { throw malformed }
                let week = try number(1...5)
                guard take(".") else { throw malformed }
                day = .weekday(month: month, week: week, weekday: try number(0...6))
            } else if take("J") {
                day = .julian(try number(1...365))
            } else {
                day = .ofYear(try number(0...365))
            }
            return Change(day: day, seconds: take("/") ? try time() : 2 * 3600)
        }
    }
}

/// Days of the week, 0 for Sunday.
enum Weekday {
    /// - Parameter day: since 1970-01-01, which was a Thursday.
    static func of(day: Int) -> Int { ((day + 4) % 7 + 7) % 7 }
}
