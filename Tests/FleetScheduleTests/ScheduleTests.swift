import FleetSystem
import Testing

@testable import FleetSchedule

/// When a schedule is due, by table and against a clock that is looked at each minute of a year.
struct ScheduleTests {
    @Test(arguments: [
        ("0 3 * * *", "UTC", "2026-11-29T02:59:59.999", "2026-11-29T03:00"),
        ("0 3 * * *", "UTC", "2026-11-29T03:00", "2026-11-30T03:00"),
        ("*/15 * * * *", "UTC", "2026-11-29T03:01", "2026-11-29T03:15"),
        ("30 22 * * mon-fri", "UTC", "2026-11-27T22:30", "2026-11-30T22:30"),
        ("0 3 * * mon-sun", "UTC", "2026-11-28T03:00", "2026-11-29T03:00"),
        ("0 3 * * fri-sun", "UTC", "2026-11-29T03:00", "2026-12-04T03:00"),
        ("0 0 29 2 *", "UTC", "2096-03-01T00:00", "2104-02-29T00:00"),
        ("0 12 13 * 5", "UTC", "2026-11-01T00:00", "2026-11-06T12:00"),
        ("0 12 */2 * 5", "UTC", "2026-11-01T00:00", "2026-11-13T12:00"),
        ("5/20 4 1,15 JAN,jul sun", "UTC", "2026-07-12T05:00", "2026-07-15T04:05"),
        ("0 0 * * 7", "UTC", "2026-11-29T00:00", "2026-12-06T00:00"),
        ("@daily", "Asia/Kolkata", "2026-11-29T00:00", "2026-11-29T18:30"),
        ("@every 6h", "Europe/Berlin", "2026-11-29T06:00", "2026-11-29T12:00"),
        ("@every 90m", "UTC", "2026-11-29T00:00", "2026-11-29T01:30"),
        // Clocks go from 2 to 3: due once, at that moment, also where two times of it are missing.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", "2026-03-29T01:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-03-29T01:00", "2026-03-30T00:30"),
        ("0,30 2 * * *", "Europe/Berlin", "2026-03-29T01:00", "2026-03-30T00:00"),
        // Clocks go from 3 to 2: due the first time only.
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:00", "2026-10-25T00:30"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30", "2026-10-26T01:30"),
        // Each hour that passes.
        ("30 * * * *", "Europe/Berlin", "2026-10-25T00:30", "2026-10-25T01:30"),
        ("30 * * * *", "Europe/Berlin", "2026-03-29T00:30", "2026-03-29T01:30"),
        // Clocks are set back at midnight, to the day before.
        ("30 23 * * *", "America/Havana", "2026-11-01T03:30", "2026-11-02T04:30"),
    ])
    func next(_ text: String, _ zone: String, _ after: String, _ expected: String) throws {
        let schedule = try Schedule(text)
        #expect(schedule.next(after: Timestamp(after)!, in: try TimeZoneRules(zone)) == Timestamp(expected)!)
    }

    @Test(arguments: [
        ("0 3 * * *", "2026-11-29T03:00", "2026-11-01T00:00", "2026-11-29T03:00"),
        ("0 3 * * *", "2026-11-29T02:59", "2026-11-01T00:00", "2026-11-28T03:00"),
        ("0 3 * * *", "2026-11-29T02:59", "2026-11-28T03:00", nil),
        ("0 3 1 1 *", "2026-11-29T02:59", "2016-11-28T03:00", "2026-01-01T03:00"),
        ("@every 6h", "2026-11-29T05:59", "2026-11-28T23:59", "2026-11-29T00:00"),
        ("@every 6h", "2026-11-29T05:59", "2026-11-29T00:00", nil),
        ("@every 6h", "2026-11-29T05:59", "2026-11-30T00:00", nil),
    ])
    func latest(_ text: String, _ time: String, _ after: String, _ expected: String?) throws {
        let found = try Schedule(text).latest(
            notAfter: Timestamp(time)!, after: Timestamp(after)!, in: .utc)
        #expect(found == expected.map { Timestamp($0)! })
    }

    @Test(arguments: [
        "", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "*/0 * * * *",
        "5-1 * * * *", "1,,2 * * * *", "a * * * *", "* * * foo *", "-1 * * * *", "0 0 30 2 *", "0 0 31 4,6 *", "@often",
        "@every", "@every 6", "@every 30s", "@every 99999d", "@every 6h 5m", "1-2-3 * * * *", "*-5 * * * *",
    ])
    func noSchedule(_ text: String) {
        #expect { try Schedule(text) } throws: {
            ($0 as? FleetError)?.code == .usage && ($0 as? FleetError)?.hint != nil
        }
    }

    /// A year, five minutes by five: due is exactly when the clocks show what the fields say, less what is shown again, more
    /// what is never shown.
    @Test(arguments: ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana", "UTC"])
    func aYearOfMinutes(_ name: String) throws {
        let zone = try TimeZoneRules(name)
        let texts = ["30 2 * * *", "*/20 * * * *", "15 1-3 * * *", "0 */6 * * 1-5", "45 23 1 * *", "10 0 * * sun"]
        let start = Timestamp("2026-01-01T00:00")!
        let end = Timestamp("2027-01-01T00:00")!
        for text in texts {
            let (schedule, fields) = (try Schedule(text), try CronFields(text))
            var due: [Int64] = []
            var time = start.adding(.milliseconds(-1))
            while let next = schedule.next(after: time, in: zone), next < end {
                due.append(next.milliseconds / 1000)
                #expect(schedule.latest(notAfter: next, after: time, in: zone) == next)
                time = next
            }
            var shown: [Int64] = []
            var seen: Set<Int64> = []
            for moment in stride(from: start.milliseconds / 1000, to: end.milliseconds / 1000, by: 300) {
                let local = moment + Int64(zone.offset(at: moment))
                let minutes = Int(local.floored(60) - local.floored(86400) * 1440)
                let isShown =
                    fields.includes(day: Int(local.floored(86400))) && fields.hours.contains(minutes / 60)
                    && fields.minutes.contains(minutes % 60)
                if isShown, seen.insert(local).inserted || fields.isEveryHour { shown.append(moment) }
            }
            if fields.isEveryHour {
                #expect(due == shown, "\(text) in \(name)")
                continue
            }
            // What is due and not shown is where clocks were set forward.
            #expect(Set(shown).isSubset(of: due), "\(text) in \(name)")
            for extra in Set(due).subtracting(shown) {
                #expect(zone.offset(at: extra) > zone.offset(at: extra - 1), "\(text) in \(name) at \(extra)")
            }
            #expect(due == due.sorted() && Set(due).count == due.count)
        }
    }
}
