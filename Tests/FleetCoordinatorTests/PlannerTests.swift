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

    /// Whatever is due and does not begin is told, and why.
    @Test func whatIsDueAndHeldBackHasItsReason() throws {
        func history(_ cluster: String, _ kind: ScheduledTask.Kind = .backup) throws -> TaskHistory {
            var one = try self.history()
            one.task = ScheduledTask(cluster: cluster, kind: kind)
            one.rules.policy = "p"
            one.rules.parallel = 1
            return one
        }
        func waiting(_ histories: TaskHistory...) -> [HeldTask] { Planner.plan(histories, now: noon).waiting }
        let noon = Self.time("2026-11-29T12:00")
        func held(_ cluster: String, _ hindrance: Hindrance, _ kind: ScheduledTask.Kind = .backup) -> HeldTask {
            HeldTask(task: ScheduledTask(cluster: cluster, kind: kind), due: noon, hindrance: hindrance)
        }
        let (first, second) = (try history("a"), try history("b"))
        #expect(Planner.plan([first, second], now: noon).starts.map(\.task.cluster) == ["a"])
        #expect(waiting(first, second) == [held("b", .turn(policy: "p", open: 1))])
        #expect(
            waiting(first, second)[0].hindrance.reason.message
                == "it waits for its turn: 1 of policy p is under way")
        #expect(waiting(first).isEmpty)
        // One that hangs starves all others, its own next run too.
        var open = first
        open.last = ScheduledRun(due: Self.time("2026-11-29T06:00"), attempts: 1, state: .open)
        open.job = "j1"
        #expect(waiting(open, second) == [held("a", .job("j1")), held("b", .turn(policy: "p", open: 1))])
        open.last?.due = noon
        #expect(waiting(open) == [], "it is under way, and nothing else is due")
        // Another job of the cluster, a restore.
        var busy = second
        busy.job = "j2"
        #expect(waiting(busy) == [held("b", .job("j2"))])
        // What was tried a moment ago says itself why it could not.
        busy.isBusy = true
        #expect(waiting(busy).isEmpty)
        #expect(waiting(first, try history("a", .drill)) == [held("a", .other(.backup), .drill)])
        // Before its time, it waits for nothing.
        #expect(Planner.plan([first], now: Self.time("2026-11-01T05:59")).waiting.isEmpty)
        var late = first
        late.rules.windows = [try Window("12:00-12:30")]
        #expect(
            Planner.plan([late], now: Self.time("2026-11-29T12:31")).waiting.map(\.hindrance) == [
                .window(Self.time("2026-11-30T12:00"))
            ])
        late.rules.windows = [try Window("13:00-13:30")]
        #expect(waiting(late).isEmpty, "its window is to come")
    }

    /// A queue that moves is as it should be; one that does not is told of by how long.
    @Test func sinceWhenNothingMoves() throws {
        var queue = TaskQueue()
        let start = Self.time("2026-11-29T12:00")
        let waits = HeldTask(task: Self.task, due: start, hindrance: .turn(policy: "p", open: 4))
        let slot = Planner.Slot(policy: "p", kind: .backup)
        func since(_ held: HeldTask?, moved: Set<Planner.Slot> = [], at seconds: Int) -> Int64? {
            queue.update(held.map { [$0] } ?? [], moved: moved, now: start.adding(.seconds(seconds)))
            return queue.places[Self.task].map { $0.since.since(start).milliseconds / 1000 }
        }
        #expect(since(waits, at: 0) == 0 && since(waits, at: 600) == 0)
        #expect(since(waits, moved: [slot], at: 700) == 700 && since(waits, at: 900) == 700)
        #expect(since(waits, moved: [Planner.Slot(policy: "p", kind: .drill)], at: 950) == 700)
        // The next run is due, and waits as the last one did.
        var later = waits
        later.due = start.adding(.seconds(900))
        #expect(since(later, at: 1000) == 700)
        later.hindrance = .job("j")
        #expect(since(later, moved: [slot], at: 1100) == 700)
        #expect(since(nil, at: 1200) == nil && since(waits, at: 1300) == 1300)
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
