import FleetProtocol
import FleetSystem
import Testing

@testable import FleetCoordinator

/// Whether the objective was met on a day: a pure function, by table.
@Suite("Objective coverage") struct CoverageTests {
    private static func at(_ text: String) -> Timestamp { Timestamp("2026-11-\(text)Z")! }
    private static let hour = 3600

    /// Backups as "saved", "stored" and "gone".
    private static func points(_ all: [(String, String, String?)]) -> [ObjectiveCoverage.Point] {
        all.map { .init(saved: at($0.0), usableFrom: at($0.1), usableUntil: $0.2.map { at($0) }) }
    }

    struct Case: CustomTestStringConvertible {
        var name: String
        var points: [(String, String, String?)]
        var objectives: [(String, Int?)]
        var known = "01T00:00:00"
        var since = "10T00:00:00"
        var until = "12T00:00:00"
        /// State, worst age and time beyond, by day.
        var expected: [(AuditReport.Day.State, Int?, Int?)]
        var testDescription: String { name }
    }

    static let cases: [Case] = [
        Case(
            name: "one a day is enough for a day",
            points: [
                ("09T12:00:00", "09T12:00:00", nil), ("10T12:00:00", "10T12:00:00", nil),
                ("11T12:00:00", "11T12:00:00", nil),
            ],
            objectives: [("01T00:00:00", 24 * hour)], expected: [(.met, 24 * hour, nil), (.met, 24 * hour, nil)]),
        Case(
            name: "a millisecond beyond is missed, and no more than that is late",
            points: [("09T12:00:00", "09T12:00:00", nil), ("10T12:00:00", "10T12:00:00.001", nil)],
            objectives: [("01T00:00:00", 24 * hour)],
            expected: [(.missed, 24 * hour, 1), (.missed, 36 * hour, 12 * hour)]),
        Case(
            name: "the age is that of the save, not of its arrival",
            points: [("09T20:00:00", "09T23:00:00", nil), ("10T08:00:00", "10T11:00:00", nil)],
            objectives: [("01T00:00:00", 14 * hour)], until: "11T00:00:00",
            expected: [(.missed, 16 * hour, 1 * hour + 2 * hour)]),
        Case(
            name: "no objective", points: [("09T12:00:00", "09T12:00:00", nil)], objectives: [("01T00:00:00", nil)],
            expected: [(.free, nil, nil), (.free, nil, nil)]),
        Case(name: "no policy ever", points: [], objectives: [], expected: [(.free, nil, nil), (.free, nil, nil)]),
        Case(
            name: "not yet known, then from its first moment", points: [("11T07:00:00", "11T07:00:00", nil)],
            objectives: [("11T06:00:00", 20 * hour)], known: "11T06:00:00",
            expected: [(.unknown, nil, nil), (.met, 17 * hour, nil)]),
        Case(
            name: "without any backup the age counts from when it was known", points: [],
            objectives: [("10T00:00:00", 6 * hour)], known: "10T12:00:00",
            expected: [(.missed, 12 * hour, 6 * hour), (.missed, 36 * hour, 24 * hour)]),
        Case(
            name: "each moment has the objective of that moment", points: [("09T18:00:00", "09T18:00:00", nil)],
            objectives: [("01T00:00:00", 30 * hour), ("10T12:00:00", 6 * hour), ("10T13:00:00", nil)],
            expected: [(.missed, 19 * hour, 1 * hour), (.free, nil, nil)]),
        Case(
            name: "an objective that begins in the range asks nothing before", points: [],
            objectives: [("11T23:00:00", 24 * 30 * hour)], expected: [(.free, nil, nil), (.met, 264 * hour, nil)]),
        Case(
            name: "one that is found damaged counts until then, and the one before it again",
            points: [("09T12:00:00", "09T12:00:00", nil), ("10T12:00:00", "10T12:00:00", "11T06:00:00")],
            objectives: [("01T00:00:00", 24 * hour)],
            expected: [(.met, 24 * hour, nil), (.missed, 60 * 3600 - 0, 18 * hour)]),
        Case(
            name: "that an old one is deleted changes nothing",
            points: [("09T12:00:00", "09T12:00:00", "10T13:00:00"), ("10T12:00:00", "10T12:00:00", nil)],
            objectives: [("01T00:00:00", 36 * hour)], expected: [(.met, 24 * hour, nil), (.met, 36 * hour, nil)]),
        Case(
            name: "one that came late and is older than what is there does not count",
            points: [("10T00:00:00", "10T00:00:00", nil), ("08T00:00:00", "10T12:00:00", nil)],
            objectives: [("01T00:00:00", 48 * hour)], expected: [(.met, 24 * hour, nil), (.met, 48 * hour, nil)]),
        Case(
            name: "one from the future is as young as its arrival", points: [("20T00:00:00", "10T00:00:00", nil)],
            objectives: [("01T00:00:00", 30 * hour)],
            expected: [(.met, 24 * hour, nil), (.missed, 48 * hour, 18 * hour)]),
        Case(
            name: "parts of days at both ends", points: [("10T05:00:00", "10T05:00:00", nil)],
            objectives: [("01T00:00:00", 24 * hour)], since: "10T06:00:00", until: "11T04:00:00",
            expected: [(.met, 19 * hour, nil), (.met, 23 * hour, nil)]),
    ]

    @Test(arguments: cases) func aDay(_ one: Case) {
        let days = ObjectiveCoverage.days(
            points: Self.points(one.points),
            objectives: one.objectives.map { .init(from: Self.at($0.0), seconds: $0.1) }, known: [Self.at(one.known)],
            since: Self.at(one.since), until: Self.at(one.until))
        #expect(days.map(\.state) == one.expected.map(\.0))
        #expect(days.map(\.worst) == one.expected.map(\.1))
        #expect(days.map(\.late) == one.expected.map(\.2))
        #expect(days.first?.date == "2026-11-10")
    }

    @Test func aMidnight() {
        #expect(ObjectiveCoverage.midnight(Self.at("10T23:59:59.999")) == Self.at("10T00:00:00"))
        #expect(ObjectiveCoverage.midnight(Self.at("10T00:00:00")) == Self.at("10T00:00:00"))
        #expect(ObjectiveCoverage.midnight(Timestamp(milliseconds: -1)) == Timestamp(milliseconds: -86_400_000))
    }

    /// Against the plainest way to say it: each second is looked at.
    @Test func itAgreesWithLookingAtEachMinute() {
        var random = SplitMix(seed: 7)
        for _ in 0..<60 {
            let begin = Self.at("10T00:00:00")
            func minute(_ range: Range<Int>) -> Int { Int.random(in: range, using: &random) }
            let points = (0..<Int.random(in: 0...8, using: &random)).map { _ in
                let saved = minute(-2000..<2800)
                let from = saved + minute(0..<200)
                let until = Bool.random(using: &random) ? nil : from + minute(1..<3000)
                func time(_ m: Int) -> Timestamp { begin.adding(.seconds(m * 60)) }
                return ObjectiveCoverage.Point(
                    saved: time(saved), usableFrom: time(from), usableUntil: until.map(time))
            }
            var objectives: [AuditReport.Objective] = []
            for start in [-3000, 500, 1700, 2000] where Bool.random(using: &random) {
                let seconds = [nil, 3600, 6 * 3600, 20 * 3600].randomElement(using: &random)!
                objectives.append(.init(from: begin.adding(.seconds(start * 60)), seconds: seconds))
            }
            let known = begin.adding(.seconds(minute(-2500..<1000) * 60))
            let days = ObjectiveCoverage.days(
                points: points, objectives: objectives, known: [known], since: begin,
                until: begin.adding(.seconds(2 * 86_400)))
            for (index, day) in days.enumerated() {
                var (worst, late, isAsked) = (Int64(0), Int64(0), false)
                for offset in 0..<1440 {
                    let from = begin.adding(.seconds((index * 1440 + offset) * 60))
                    let to = from.adding(.seconds(60))
                    guard from >= known, let allowed = objectives.last(where: { $0.from <= from })?.seconds else {
                        continue
                    }
                    isAsked = true
                    let usable = points.filter { $0.usableFrom <= from && ($0.usableUntil ?? to) >= to }
                    let newest = usable.map(\.saved).max() ?? known
                    let age = to.since(newest).milliseconds / 1000
                    worst = max(worst, age)
                    if age > Int64(allowed) { late += min(60, age - Int64(allowed)) }
                }
                #expect(
                    day.state == (!isAsked ? (day.state == .unknown ? .unknown : .free) : late > 0 ? .missed : .met))
                if isAsked {
                    #expect(Int64(day.worst ?? -1) == worst)
                    #expect(Int64(day.late ?? 0) == late)
                }
            }
        }
    }
}

/// The same numbers in each run.
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
