import FleetSystem
import Testing

@testable import FleetSchedule

/// What a zone's clocks show, against the C library, which reads the same files by itself.
struct TimeZoneTests {
    private static let zones = [
        "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kolkata",
        "Pacific/Apia", "Africa/Casablanca", "Europe/Dublin", "America/Nuuk", "Etc/GMT+5", "UTC",
    ]

    @Test(arguments: zones)
    func everyThirdHourFrom1990To2060(_ name: String) async throws {
        let zone = try TimeZoneRules(name)
        let times = Array(stride(from: Int64(631_152_000), to: 2_840_140_800, by: 3 * 3600 + 1800))
        let input = times.map { "@\($0)\n" }.joined()
        let outcome = try await Blocking.run {
            try Subprocess.run(
                "/bin/date", ["-f", "-", "+%::z"],
                environment: Subprocess.defaultEnvironment.merging(["TZ": name]) { $1 }, input: Array(input.utf8),
                deadline: .seconds(60), outputLimit: 16 << 20)
        }
        let shown = outcome.outputText.split(separator: "\n")
        try #require(outcome.succeeded && shown.count == times.count)
        var wrong: [String] = []
        for (time, text) in zip(times, shown) where Self.text(zone.offset(at: time)) != text {
            wrong.append("\(time): \(Self.text(zone.offset(at: time))) is \(text)")
        }
        #expect(wrong.isEmpty, "\(wrong.count), \(wrong.prefix(3))")
    }

    private static func text(_ offset: Int) -> String {
        func two(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
        let size = abs(offset)
        return "\(offset < 0 ? "-" : "+")\(two(size / 3600)):\(two(size / 60 % 60)):\(two(size % 60))"
    }

    @Test func whatIsShownTwiceOrNever() throws {
        let zone = try TimeZoneRules("Europe/Berlin")
        func local(_ text: String) -> Int64 { Timestamp(text)!.milliseconds / 1000 }
        #expect(zone.moments(showing: local("2026-06-01T12:00")) == [local("2026-06-01T10:00")])
        #expect(
            zone.moments(showing: local("2026-10-25T02:30")) == [
                local("2026-10-25T00:30"), local("2026-10-25T01:30"),
            ])
        #expect(zone.moments(showing: local("2026-03-29T02:30")).isEmpty)
        #expect(zone.jump(over: local("2026-03-29T02:30")) == local("2026-03-29T01:00"))
        // A day that was never there.
        let apia = try TimeZoneRules("Pacific/Apia")
        #expect(apia.moments(showing: local("2011-12-30T12:00")).isEmpty)
        #expect(apia.jump(over: local("2011-12-30T12:00")) == local("2011-12-30T10:00"))
    }

    /// The same zone without its table of changes: the rule at the end says the rest.
    @Test func theRuleGoesOnWhereTheTableEnds() throws {
        var file = try ZoneFile(FileSystem.read("\(TimeZoneRules.directory)/Europe/Berlin"))
        let whole = file
        file.transitions.removeAll { $0.time >= 946_684_800 }
        #expect(file.rule == (try ZoneRule("CET-1CEST,M3.5.0,M10.5.0/3")))
        #expect(whole.rule == file.rule)
        for year in 2000...2036 {
            let table = whole.transitions.filter {
                GregorianCalendar.date(days: Int($0.time / 86400)).year == year
            }
            if !table.isEmpty { #expect(file.rule!.transitions(year: year) == table) }
        }
    }

    @Test(arguments: [
        ("<-03>3", -3 * 3600), ("IST-5:30", 19800), ("EST5EDT,M3.2.0,M11.1.0", -5 * 3600),
        ("IST-1GMT0,M10.5.0,M3.5.0/1", 3600), ("<-02>2<-01>,M3.5.0/-1,M10.5.0/0", -2 * 3600),
        ("XXX-1YYY,J60,J300/3", 3600), ("XXX-1YYY,59,300", 3600),
    ])
    func aRule(_ text: String, _ standard: Int) throws {
        #expect(try ZoneRule(text).standard == standard)
    }

    @Test(arguments: ["", "CE-1", "CET", "CET-1CEST", "CET-1CEST,M3.5.0", "CET-1CEST,M13.5.0,M10.5.0", "CET-1X Y"])
    func noRule(_ text: String) {
        #expect(throws: FleetError.self) { try ZoneRule(text) }
    }

    @Test(arguments: [
        "", "/etc/passwd", "../../etc/passwd", "Europe/../Europe/Berlin", "Europe/Nowhere", "Europe", "a b",
    ])
    func noZone(_ name: String) {
        #expect { try TimeZoneRules(name) } throws: { ($0 as? FleetError)?.code == .usage }
    }

    /// Cut anywhere, it is refused or read as far as it goes; never a crash.
    @Test func cutAnywhere() throws {
        let bytes = try FileSystem.read("\(TimeZoneRules.directory)/Europe/Berlin")
        for count in 0..<bytes.count - 1 {
            #expect { try ZoneFile(Array(bytes[..<count])) } throws: { ($0 as? FleetError)?.code == .malformed }
        }
        #expect { try ZoneFile([UInt8](repeating: 255, count: 100)) } throws: {
            ($0 as? FleetError)?.code == .malformed
        }
    }
}
