private import CLinux
private import Glibc

/// A moment in UTC, in milliseconds since 1970. In JSON and on screen it is ISO 8601 with milliseconds and `Z`.
public struct Timestamp: Hashable, Comparable, Sendable, Codable, CustomStringConvertible {
    public var milliseconds: Int64

    public init(milliseconds: Int64) { self.milliseconds = milliseconds }

    public static func now() -> Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(milliseconds: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000)
    }

    public static func < (a: Timestamp, b: Timestamp) -> Bool { a.milliseconds < b.milliseconds }

    public func adding(_ duration: Duration) -> Timestamp {
        Timestamp(milliseconds: milliseconds + duration.milliseconds)
    }

    public func since(_ earlier: Timestamp) -> Duration { .milliseconds(milliseconds - earlier.milliseconds) }

    /// "2026-11-24T06:55:10.123Z"
    public var description: String {
        let c = civil
        return
            "\(pad(c.year, 4))-\(pad(c.month, 2))-\(pad(c.day, 2))T\(pad(c.hour, 2)):\(pad(c.minute, 2)):\(pad(c.second, 2)).\(pad(c.millisecond, 3))Z"
    }

    /// "20261124-065510": sorts as time does and is legible in a file name.
    public var compact: String {
        let c = civil
        return
            "\(pad(c.year, 4))\(pad(c.month, 2))\(pad(c.day, 2))-\(pad(c.hour, 2))\(pad(c.minute, 2))\(pad(c.second, 2))"
    }

    /// "2026-11-24 06:55:10Z": a cell of a table.
    public var short: String {
        let c = civil
        return
            "\(pad(c.year, 4))-\(pad(c.month, 2))-\(pad(c.day, 2)) \(pad(c.hour, 2)):\(pad(c.minute, 2)):\(pad(c.second, 2))Z"
    }

    /// The day in UTC, "2026-11-24".
    public var day: String {
        let c = civil
        return "\(pad(c.year, 4))-\(pad(c.month, 2))-\(pad(c.day, 2))"
    }

    /// ISO 8601: a date, optionally `T` or a space and hours and minutes, seconds, a fraction, then `Z` or an offset.
    /// Without a zone it is UTC.
    public init?(_ text: String) {
        var rest = Substring(text)
        func number(_ width: Int) -> Int? {
            guard rest.count >= width, rest.prefix(width).allSatisfy({ $0.isASCII && $0.isNumber }) else { return nil }
            defer { rest = rest.dropFirst(width) }
            return Int(rest.prefix(width))
        }
        func skip(_ characters: String) -> Bool {
            guard let first = rest.first, characters.contains(first) else { return false }
            rest = rest.dropFirst()
            return true
        }
        guard let year = number(4), skip("-"), let month = number(2), skip("-"), let day = number(2),
            (1...12).contains(month), (1...31).contains(day)
        else { return nil }
        var hour = 0
        var minute = 0
        var second = 0
        var fraction = 0
        var offset = 0
        if skip("Tt ") {
            guard let h = number(2), skip(":"), let m = number(2), h < 24, m < 60 else { return nil }
            (hour, minute) = (h, m)
            if skip(":") {
                guard let s = number(2), s < 61 else { return nil }
                second = s
                if skip(".") {
                    let digits = rest.prefix { $0.isASCII && $0.isNumber }
                    guard !digits.isEmpty, let value = Int((digits + "00").prefix(3)) else { return nil }
                    fraction = value
                    rest = rest.dropFirst(digits.count)
                }
            }
            if !skip("Zz"), let sign = rest.first, sign == "+" || sign == "-" {
                rest = rest.dropFirst()
                guard let h = number(2) else { return nil }
                _ = skip(":")
                guard let m = number(2) else { return nil }
                offset = (h * 60 + m) * (sign == "-" ? -1 : 1)
            }
        }
        guard rest.isEmpty else { return nil }
        let seconds =
            GregorianCalendar.days(year: year, month: month, day: day) * 86400 + (hour * 60 + minute - offset) * 60
            + second
        self.init(milliseconds: Int64(seconds) * 1000 + Int64(fraction))
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let value = Timestamp(text) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "not an ISO 8601 time: \(text)")
        }
        self = value
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }

    private var civil: (year: Int, month: Int, day: Int, hour: Int, minute: Int, second: Int, millisecond: Int) {
        let days = Int(milliseconds.flooredDivision(by: 86_400_000))
        let rest = Int(milliseconds - Int64(days) * 86_400_000)
        let (year, month, day) = GregorianCalendar.date(days: days)
        return (year, month, day, rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60, rest % 1000)
    }
}

private func pad(_ value: Int, _ width: Int) -> String {
    let digits = String(value)
    return String(repeating: "0", count: max(0, width - digits.count)) + digits
}

/// The proleptic Gregorian calendar, by counting years from March in eras of 400 years.
public enum GregorianCalendar {
    /// Days since 1970-01-01, which was a Thursday.
    public static func days(year: Int, month: Int, day: Int) -> Int {
        let y = month <= 2 ? year - 1 : year
        let era = (y >= 0 ? y : y - 399) / 400
        let yearOfEra = y - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    public static func date(days: Int) -> (year: Int, month: Int, day: Int) {
        let z = days + 719_468
        let era = (z >= 0 ? z : z - 146_096) / 146_097
        let dayOfEra = z - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let m = (5 * dayOfYear + 2) / 153
        let month = m < 10 ? m + 3 : m - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * m + 2) / 5 + 1)
    }
}

extension Int64 {
    fileprivate func flooredDivision(by divisor: Int64) -> Int64 {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? quotient - 1 : quotient
    }
}

/// Lengths of time as people write them.
public enum Durations {
    /// "90s", "15m", "6h", "1d12h"; nil for what is none.
    public static func parse(_ text: String) -> Duration? {
        var rest = text[...]
        var total = 0
        let units: [Character: Int] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
        guard !rest.isEmpty else { return nil }
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isASCII && $0.isNumber }
            guard (1...7).contains(digits.utf8.count), let count = Int(digits),
                let unit = rest.dropFirst(digits.count).first.flatMap({ units[$0] })
            else { return nil }
            total += count * unit
            rest = rest.dropFirst(digits.count + 1)
        }
        return .seconds(total)
    }
}

extension Duration {
    public var milliseconds: Int64 { components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000 }
    /// Seconds with a fraction, for printing.
    public var seconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}
