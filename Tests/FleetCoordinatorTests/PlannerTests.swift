import FleetSchedule
import FleetSystem
import Testing

@testable import FleetCoordinator

/// What the planner decides, by table.
struct PlannerTests {
    private static let task = ScheduledTask(cluster: "a", kind: .backup)
    private static let since = time("2026-11-01T00:00")

    private static func time(_ text: String) -> Timestamp { Timestamp(text)! }

    private func history(
        _ schedule: String = "0 */6 * * *", last: ScheduledRun? = nil, jitter: Duration = .zero,
        windows: [String] = [], zone: String = "UTC"
    ) throws -> TaskHistory {
        var rules = TaskRules(schedule: try Schedule(schedule), zone: try TimeZoneRules(zone), jitter: jitter)
        rules.windows = try windows.map { text throws(FleetError) in try Window(text) }
        return TaskHistory(task: Self.task, rules: rules, since: Self.since, last: last)
    }

    private struct Decision: Equatable {
        var starts: [Planner.Start] = []
        var wake: Timestamp?
    }

    private func plan(_ history: TaskHistory, at text: String) -> Decision {
        let plan = Planner.plan([history], now: Self.time(text))
        return Decision(starts: plan.starts, wake: plan.wake)
    }

    private func start(_ due: String, attempt: Int = 1) -> Planner.Start {
        Planner.Start(task: Self.task, due: Self.time(due), attempt: attempt)
    }

    @Test func waitsUntilItIsDue() throws {
        let last = ScheduledRun(due: Self.time("2026-11-29T00:00"), attempts: 1, state: .succeeded)
        #expect(
            plan(try history(last: last), at: "2026-11-29T05:59:59")
                == Decision(wake: Self.time("2026-11-29T06:00")))
        #expect(plan(try history(last: last), at: "2026-11-29T06:00").starts == [start("2026-11-29T06:00")])
    }

    @Test func whatWasDueBeforeThePolicyIsNotMadeUpFor() throws {
        #expect(plan(try history(), at: "2026-11-01T00:01").starts.isEmpty)
        #expect(plan(try history(), at: "2026-11-01T06:00").starts == [start("2026-11-01T06:00")])
    }

    @Test func ofWhatWasMissedOnlyTheLatestIsMadeUpFor() throws {
        let last = ScheduledRun(due: Self.time("2026-11-20T00:00"), attempts: 1, state: .succeeded)
        #expect(plan(try history(last: last), at: "2026-11-29T07:13").starts == [start("2026-11-29T06:00")])
        let made = ScheduledRun(due: Self.time("2026-11-29T06:00"), attempts: 1, state: .succeeded)
        #expect(
            plan(try history(last: made), at: "2026-11-29T07:20")
                == Decision(wake: Self.time("2026-11-29T12:00")))
    }

    @Test func nothingBeginsBesideAnOpenOne() throws {
        let open = ScheduledRun(due: Self.time("2026-11-29T00:00"), attempts: 1, state: .open)
        #expect(plan(try history(last: open), at: "2026-11-29T12:00") == Decision())
        var busy = try history()
        busy.isBusy = true
        #expect(plan(busy, at: "2026-11-29T12:00") == Decision())
    }

    @Test func aFailureIsTriedAgainLaterAndLaterAndNotForEver() throws {
        func failed(_ attempts: Int, _ at: String) -> ScheduledRun {
            ScheduledRun(due: Self.time("2026-11-29T00:00"), attempts: attempts, state: .failed(Self.time(at)))
        }
        let once = try history(last: failed(1, "2026-11-29T00:02"))
        #expect(plan(once, at: "2026-11-29T00:02:59") == Decision(wake: Self.time("2026-11-29T00:03")))
        #expect(plan(once, at: "2026-11-29T00:03").starts == [start("2026-11-29T00:00", attempt: 2)])
        let twice = try history(last: failed(2, "2026-11-29T00:04"))
        #expect(plan(twice, at: "2026-11-29T00:05") == Decision(wake: Self.time("2026-11-29T00:09")))
        let thrice = try history(last: failed(3, "2026-11-29T00:10"))
        #expect(plan(thrice, at: "2026-11-29T01:00") == Decision(wake: Self.time("2026-11-29T06:00")))
        // The next run is due meanwhile: that one it is.
        #expect(plan(once, at: "2026-11-29T06:00").starts == [start("2026-11-29T06:00")])
        #expect(
            (1...9).map { Planner.pause(after: $0).seconds } == [60, 300, 1500, 3600, 3600, 3600, 3600, 3600, 3600])
    }

    @Test func jitterIsTheSameForTheSameRunAndShorterThanHalfTheDistance() throws {
        var delays: Set<Int64> = []
        for day in 10...29 {
            let due = Self.time("2026-11-\(day)T06:00")
            let rules = try history(jitter: .seconds(36000)).rules
            let delay = Planner.begin(Self.task, due, rules).since(due)
            #expect(delay == Planner.begin(Self.task, due, rules).since(due))
            #expect(delay >= .zero && delay < .seconds(3 * 3600))
            delays.insert(delay.milliseconds)
            let all = try history(jitter: .seconds(36000))
            let plan = Planner.plan([all], now: due)
            #expect(plan.starts.isEmpty && plan.wake == due.adding(delay))
            #expect(Planner.plan([all], now: due.adding(delay)).starts == [start("2026-11-\(day)T06:00")])
        }
        #expect(delays.count == 20)
    }

    @Test func aRunWaitsForItsWindow() throws {
        let history = try history("0 12 * * *", windows: ["mon-fri 22:00-05:30"], zone: "Europe/Berlin")
        // Due on Friday at noon; in Berlin it is 11:00 UTC, and the window opens at 21:00 UTC.
        #expect(plan(history, at: "2026-11-27T11:00") == Decision(wake: Self.time("2026-11-27T21:00")))
        #expect(plan(history, at: "2026-11-27T21:00").starts == [start("2026-11-27T11:00")])
        // Saturday before dawn it is still open, at noon there is Monday to wait for.
        #expect(plan(history, at: "2026-11-28T04:29").starts == [start("2026-11-27T11:00")])
        #expect(plan(history, at: "2026-11-28T04:30") == Decision(wake: Self.time("2026-11-30T21:00")))
    }

    @Test(arguments: [
        "", "22:00", "mon 22:00-22:00", "mon 25:00-26:00", "foo 1:00-2:00", "24:00-25:00", "mon 1:00-2:00 x",
        "mon-fri 22:00-06:61", "10:00-24:01", "8 10:00-11:00",
    ])
    func noWindow(_ text: String) {
        #expect { try Window(text) } throws: { ($0 as? FleetError)?.code == .usage }
    }

    /// Where the clocks of the window are open when it is due, a run begins before they close.
    @Test func jitterKeepsWithinTheWindow() throws {
        for day in 10...29 {
            let due = Self.time("2026-11-\(day)T22:00")
            let history = try history("0 22 * * *", jitter: .seconds(43_200), windows: ["22:00-22:30"])
            let begins = Planner.begin(Self.task, due, history.rules)
            #expect(begins < due.adding(.seconds(900)))
            #expect(Planner.plan([history], now: begins).starts.map(\.due) == [due])
            // Due before the window opens: spread behind the opening.
            let early = try self.history("0 12 * * *", jitter: .seconds(43_200), windows: ["22:00-22:30"])
            let noon = Self.time("2026-11-\(day)T12:00")
            let later = Planner.begin(Self.task, noon, early.rules)
            #expect(later >= due && later < due.adding(.seconds(900)))
            #expect(Planner.plan([early], now: later).starts.map(\.due) == [noon])
        }
    }

    /// A clock that was far ahead and is right again stops nothing; one that goes back a little begins nothing twice.
    @Test func clocksGoBack() throws {
        let ahead = ScheduledRun(due: Self.time("2030-01-01T00:00"), attempts: 1, state: .succeeded)
        var history = try history(last: ahead)
        #expect(plan(history, at: "2026-11-29T11:59").starts == [start("2026-11-29T06:00")], "made up for, once")
        history.last = ScheduledRun(due: Self.time("2026-11-29T06:00"), attempts: 1, state: .succeeded)
        #expect(plan(history, at: "2026-11-29T11:59").wake == Self.time("2026-11-29T12:00"))
        #expect(plan(history, at: "2026-11-29T12:00").starts == [start("2026-11-29T12:00")])
        let just = ScheduledRun(due: Self.time("2026-11-29T12:00"), attempts: 1, state: .succeeded)
        let back = try self.history(last: just)
        #expect(plan(back, at: "2026-11-29T11:59:58").starts.isEmpty)
        #expect(plan(back, at: "2026-11-29T12:00").starts.isEmpty)
        #expect(plan(back, at: "2026-11-29T18:00").starts == [start("2026-11-29T18:00")])
    }

    /// What was due by an earlier schedule is not tried again by this one.
    @Test func aFailureFromBeforeIsOver() throws {
        let old = ScheduledRun(
            due: Self.time("2026-10-01T00:00"), attempts: 1, state: .failed(Self.time("2026-10-01T00:01")))
        #expect(plan(try history(last: old), at: "2026-11-01T00:01").starts.isEmpty)
    }

    private func histories(_ names: [String], parallel: Int, kind: ScheduledTask.Kind = .backup) throws -> [TaskHistory]
    {
        try names.map { name in
            var one = try history(name == "d" ? "0 4 * * *" : "0 6 * * *")
            one.task = ScheduledTask(cluster: name, kind: kind)
            one.rules.policy = "nightly"
            one.rules.parallel = parallel
            return one
        }
    }

    @Test func noMoreThanThePolicyAllowsAtOnceAndWhoWaitedLongestFirst() throws {
        var histories = try histories(["c", "b", "a", "d"], parallel: 2)
        let now = Self.time("2026-11-02T07:00")
        #expect(Planner.plan(histories, now: now).starts.map(\.task.cluster) == ["d", "a"])
        histories[0].last = ScheduledRun(due: now, attempts: 1, state: .open)
        #expect(Planner.plan(histories, now: now).starts.map(\.task.cluster) == ["d"])
        // Those that had no room the last time go first.
        let before = ScheduledRun(due: Self.time("2026-11-01T06:00"), attempts: 1, state: .succeeded)
        histories[0].last = nil
        histories[2].last = before
        histories[3].last = before
        #expect(Planner.plan(histories, now: now).starts.map(\.task.cluster) == ["b", "c"])
    }

    /// Drills wait for drills, and of a cluster one thing begins at a time.
    @Test func drillsTakeNoBackupsPlace() throws {
        let now = Self.time("2026-11-02T07:00")
        let drills = try histories(["a", "b", "c"], parallel: 1, kind: .drill)
        let backups = try histories(["c", "e"], parallel: 1)
        let plan = Planner.plan(drills + backups, now: now)
        #expect(plan.starts.map(\.task) == [backups[0].task, drills[0].task])
        #expect(plan.ready.map(\.task.cluster) == ["c", "e", "a", "b"])
    }
}

/// A year of a fleet, hour by hour of several zones: coordinators that are down for days, members that are away, backups
/// that fail, people that back up by hand.
struct PlannedYearTests {
    /// splitmix64: the same year for the same seed.
    private struct Chance {
        var state: UInt64
        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var z = state
            z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
            return z ^ (z >> 31)
        }
        mutating func below(_ limit: Int) -> Int { Int(next() % UInt64(limit)) }
    }

    /// A task of the year, and all that became of it.
    private struct Life {
        var history: TaskHistory
        var ends: Timestamp?
        var willFail = false
        var blockedUntil: Timestamp?
        /// Nothing of the cluster ever fails, is in the way or waits for others.
        var isSmooth = false
        var blocks: [(from: Timestamp, to: Timestamp)] = []
        var starts: [(due: Timestamp, at: Timestamp, attempt: Int)] = []
    }

    @Test(arguments: [UInt64(1), 2]) func aYear(_ seed: UInt64) async throws {
        try await Blocking.run { try Self.live(seed) }
    }

    private static func live(_ seed: UInt64) throws {
        var chance = Chance(state: seed)
        let (begin, end) = (Timestamp("2026-01-01T00:00")!, Timestamp("2027-01-01T00:00")!)
        let schedules = ["30 2 * * *", "0 */6 * * *", "@every 4h", "15 1-3 * * 0", "45 23 * * mon-fri", "0 */2 * * *"]
        let zones = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]
        var lives: [Life] = []
        for number in 0..<12 {
            var rules = TaskRules(
                schedule: try Schedule(schedules[number % schedules.count]),
                zone: try TimeZoneRules(zones[(number + Int(seed)) % zones.count]),
                jitter: .seconds(number % 3 * 600))
            rules.policy = number < 6 ? "narrow" : "wide"
            rules.parallel = number < 6 ? 2 : 100
            if number % 4 == 1 { rules.windows = [try Window("20:00-08:00"), try Window("sat,sun 00:00-24:00")] }
            lives.append(
                Life(
                    history: TaskHistory(
                        task: ScheduledTask(cluster: "c\(number)", kind: .backup), rules: rules, since: begin),
                    isSmooth: number >= 8))
        }
        var outages: [(from: Timestamp, to: Timestamp)] = []
        for _ in 0..<8 {
            let from = begin.adding(.seconds(chance.below(364 * 86400)))
            outages.append((from, from.adding(.seconds(600 + chance.below(3 * 86400)))))
        }
        var now = begin
        while now < end {
            if let outage = outages.first(where: { $0.from <= now && now < $0.to }) { now = outage.to }
            for index in lives.indices {
                if let ends = lives[index].ends, ends <= now {
                    lives[index].ends = nil
                    let isFailed = lives[index].willFail
                    lives[index].history.last?.state = isFailed ? .failed(ends) : .succeeded
                }
                if let until = lives[index].blockedUntil, until <= now { lives[index].blockedUntil = nil }
                lives[index].history.isBusy = lives[index].blockedUntil != nil
            }
            let plan = Planner.plan(lives.map(\.history), now: now)
            for start in plan.starts {
                let index = lives.firstIndex { $0.history.task == start.task }!
                #expect(lives[index].ends == nil, "two runs of \(start.task.cluster) at once")
                lives[index].history.last = ScheduledRun(due: start.due, attempts: start.attempt, state: .open)
                lives[index].starts.append((start.due, now, start.attempt))
                lives[index].ends = now.adding(.seconds(20 + chance.below(1200)))
                lives[index].willFail = !lives[index].isSmooth && chance.below(10) == 0
            }
            #expect(lives[..<6].count { $0.ends != nil } <= 2)
            let blocked = chance.below(lives.count)
            if chance.below(40) == 0, !lives[blocked].isSmooth {
                let until = now.adding(.seconds(chance.below(7200)))
                lives[blocked].blockedUntil = until
                lives[blocked].blocks.append((now, until))
            }
            let moments = [plan.wake] + lives.flatMap { [$0.ends, $0.blockedUntil] } + outages.map { $0.from }
            now = moments.compactMap { $0 }.filter { $0 > now }.min() ?? end
        }
        for life in lives { check(life, outages, until: end) }
    }

    private static func check(_ life: Life, _ outages: [(from: Timestamp, to: Timestamp)], until end: Timestamp) {
        let (rules, name) = (life.history.rules, life.history.task.cluster)
        #expect(life.starts.count > 40, "\(name)")
        var attempts: [Timestamp: Int] = [:]
        for (index, start) in life.starts.enumerated() {
            #expect(start.at >= start.due)
            attempts[start.due, default: 0] += 1
            #expect(start.attempt == attempts[start.due], "attempts are counted")
            #expect(start.attempt <= rules.attempts)
            if index > 0 { #expect(life.starts[index - 1].due <= start.due, "none is made up for behind a later one") }
        }
        // Each that was due was begun, unless something was in the way until the one behind it was due.
        var due = life.history.since
        while let next = rules.schedule.next(after: due, in: rules.zone), next < end.adding(.seconds(-86_400 * 4)) {
            due = next
            let begun = life.starts.filter { $0.due == next }
            let following = rules.schedule.next(after: next, in: rules.zone)!
            let limit = min(following, next.adding(rules.jitter + .seconds(1800)))
            let isDown = outages.contains { $0.from <= limit && next <= $0.to }
            if life.isSmooth, rules.windows.isEmpty, !isDown {
                #expect(begun.count == 1, "\(name): due at \(next)")
                #expect(begun.allSatisfy { $0.at <= next.adding(rules.jitter) }, "\(name): due at \(next)")
            }
            if begun.isEmpty {
                let isBlocked = life.blocks.contains { $0.from < following && next <= $0.to }
                // Of this task's own earlier run, or of those of the same policy.
                let isHeldUp = life.starts.contains {
                    $0.due < next && $0.at.adding(.seconds(1300)) >= next && $0.at < following
                }
                let isClosed =
                    !rules.windows.contains { window in
                        window.isOpen(at: next, in: rules.zone)
                            || window.opening(after: next, in: rules.zone) < following
                    } && !rules.windows.isEmpty
                #expect(
                    isDown || isBlocked || isHeldUp || isClosed || rules.parallel < 100,
                    "\(name): what was due at \(next) never began")
            }
        }
    }
}
