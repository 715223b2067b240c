import FleetSchedule
import FleetSystem
import Testing

@testable import FleetCoordinator

/// A year of a fleet, hour by hour of several zones: coordinators that are down for days, members that are away, backups and
/// drills that fail, people that back up by hand.
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

    private typealias Span = (from: Timestamp, to: Timestamp)

    private struct Run {
        var due: Timestamp
        var at: Timestamp
        var attempt: Int
        var ends: Timestamp
        var fails: Bool
    }

    /// A task of the year, and all that became of it. Of a cluster, the backup comes before the drill.
    private struct Life {
        var history: TaskHistory
        /// Nothing of the cluster ever fails or is in the way.
        var isSmooth: Bool
        /// Its drills are made on its own nodes, and not while it is backed up.
        var drillsAtHome: Bool
        var isOpen = false
        var runs: [Run] = []
        var isBackup: Bool { history.task.kind == .backup }
    }

    /// A coordinator asks the planner again after this, at the latest.
    private static let pause = Duration.seconds(15)
    private static let longestRun = 1220
    private static let (narrow, parallel) = (6, 2)

    @Test(arguments: [UInt64(1), 2]) func aYear(_ seed: UInt64) async throws {
        try await Blocking.run { try Self.live(seed) }
    }

    private static func lives(_ seed: UInt64, from begin: Timestamp) throws -> [Life] {
        let schedules = ["30 2 * * *", "0 */6 * * *", "@every 4h", "15 1-3 * * 0", "45 23 * * mon-fri", "0 */2 * * *"]
        let drills = ["0 5 * * sun", "30 4 * * *", "@every 36h"]
        let zones = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]
        var lives: [Life] = []
        for number in 0..<12 {
            var rules = TaskRules(
                schedule: try Schedule(schedules[number % schedules.count]),
                zone: try TimeZoneRules(zones[(number + Int(seed)) % zones.count]),
                jitter: .seconds(number % 3 * 600))
            rules.policy = number < narrow ? "narrow" : "wide"
            rules.parallel = number < narrow ? parallel : 100
            if number % 4 == 1 { rules.windows = [try Window("20:00-08:00"), try Window("sat,sun 00:00-24:00")] }
            for kind in [ScheduledTask.Kind.backup, .drill] {
                if kind == .drill { rules.schedule = try Schedule(drills[number % drills.count]) }
                lives.append(
                    Life(
                        history: TaskHistory(
                            task: ScheduledTask(cluster: "c\(number)", kind: kind), rules: rules, since: begin),
                        isSmooth: number >= 8, drillsAtHome: number < 8))
            }
        }
        return lives
    }

    private static func live(_ seed: UInt64) throws {
        var chance = Chance(state: seed)
        let (begin, end) = (Timestamp("2026-01-01T00:00")!, Timestamp("2027-01-01T00:00")!)
        var lives = try lives(seed, from: begin)
        let outages: [Span] = (0..<8).map { _ in
            let from = begin.adding(.seconds(chance.below(364 * 86400)))
            return (from, from.adding(.seconds(600 + chance.below(3 * 86400))))
        }
        var blockedUntil: [String: Timestamp] = [:]
        var blocks: [String: [Span]] = [:]
        var now = begin
        while now < end {
            while let outage = outages.first(where: { $0.from <= now && now < $0.to }) { now = outage.to }
            blockedUntil = blockedUntil.filter { $0.value > now }
            for index in lives.indices where lives[index].isOpen && lives[index].runs.last!.ends <= now {
                let run = lives[index].runs.last!
                lives[index].isOpen = false
                lives[index].history.last?.state = run.fails ? .failed(run.ends) : .succeeded
            }
            for index in lives.indices {
                lives[index].history.isBusy =
                    blockedUntil[lives[index].history.task.cluster] != nil
                    || lives[index].drillsAtHome && lives[index ^ 1].isOpen
            }
            let plan = Planner.plan(lives.map(\.history), now: now)
            for start in plan.starts {
                let index = lives.firstIndex { $0.history.task == start.task }!
                let life = lives[index]
                #expect(!life.isOpen, "two runs of \(start.task) at once")
                #expect(!life.drillsAtHome || !lives[index ^ 1].isOpen, "\(start.task) beside the other")
                lives[index].history.last = ScheduledRun(due: start.due, attempts: start.attempt, state: .open)
                lives[index].isOpen = true
                lives[index].runs.append(
                    Run(
                        due: start.due, at: now, attempt: start.attempt,
                        ends: now.adding(.seconds(longestRun - chance.below(1200))),
                        fails: !life.isSmooth && chance.below(10) == 0))
            }
            for kind in ScheduledTask.Kind.allCases {
                #expect(lives[..<(2 * narrow)].count { $0.isOpen && $0.history.task.kind == kind } <= parallel)
            }
            let blocked = lives[chance.below(lives.count)]
            if chance.below(40) == 0, !blocked.isSmooth {
                let cluster = blocked.history.task.cluster
                let until = max(blockedUntil[cluster] ?? now, now.adding(.seconds(chance.below(7200))))
                blockedUntil[cluster] = until
                blocks[cluster, default: []].append((now, until))
            }
            var moments = Array(blockedUntil.values) + outages.map(\.from)
            moments += lives.filter(\.isOpen).map { $0.runs.last!.ends }
            if let wake = plan.wake { moments.append(wake) }
            // Of a cluster one begins at a time; what is made elsewhere has its turn the next time.
            if plan.starts.contains(where: { start in
                lives.contains { $0.history.task == start.task && !$0.drillsAtHome }
            }) {
                moments.append(now.adding(pause))
            }
            now = moments.filter { $0 > now }.min() ?? end
        }
        for (index, life) in lives.enumerated() {
            var inTheWay = outages + (blocks[life.history.task.cluster] ?? [])
            if life.drillsAtHome { inTheWay += lives[index ^ 1].runs.map { ($0.at, $0.ends) } }
            check(life, inTheWay: united(inTheWay), until: end)
        }
    }

    /// In order, none beside another.
    private static func united(_ spans: [Span]) -> [Span] {
        var united: [Span] = []
        for span in spans.sorted(by: { $0.from < $1.from }) {
            if let last = united.last, span.from <= last.to {
                united[united.count - 1].to = max(last.to, span.to)
            } else {
                united.append(span)
            }
        }
        return united
    }

    /// How long one waits that nothing of its own keeps: for none of the wide policy, and of the narrow one for the five others.
    private static func patience(_ life: Life) -> Duration {
        let own = life.isBackup ? Duration.zero : pause
        return life.history.rules.parallel == parallel ? own + .seconds(3 * longestRun) : own
    }

    private static func check(_ life: Life, inTheWay: [Span], until end: Timestamp) {
        let (rules, name) = (life.history.rules, "\(life.history.task)")
        #expect(life.runs.count > 30, "\(name)")
        // By the other way through the schedule than the planner's.
        var dues: [Timestamp] = []
        while let due = rules.schedule.next(after: dues.last ?? life.history.since, in: rules.zone) {
            dues.append(due)
            if due > end.adding(.seconds(10 * 86_400)) { break }
        }
        var (attempts, latest): ([Timestamp: Int], Int) = ([:], 0)
        for run in life.runs {
            attempts[run.due, default: 0] += 1
            #expect(run.attempt == attempts[run.due], "attempts of \(name) are counted")
            #expect(run.attempt <= rules.attempts)
            while dues[latest + 1] <= run.at { latest += 1 }
            #expect(
                run.due == dues[latest], "\(name): at \(run.at) this is what was due last, and nothing is made up for")
        }
        // Each that was due began as soon as nothing was in the way, unless the one behind it was due before that, and so did each
        // further attempt.
        let begun = Dictionary(grouping: life.runs, by: \.due)
        var former: Timestamp?
        for (due, next) in zip(dues, dues.dropFirst()) where due < end.adding(.seconds(-4 * 86_400)) {
            let runs = begun[due] ?? []
            func begins(_ attempt: Int, from: Timestamp) {
                let latest = free(from, life, inTheWay).adding(patience(life))
                guard latest < next else { return }
                let isBegun = runs.contains { $0.attempt == attempt && $0.at <= latest }
                #expect(isBegun, "\(name): attempt \(attempt) of what was due at \(due) did not begin by \(latest)")
            }
            let isOpen = rules.windows.isEmpty || rules.windows.contains { $0.isOpen(at: due, in: rules.zone) }
            let first = isOpen ? due : rules.windows.map { $0.opening(after: due, in: rules.zone) }.min()!
            begins(1, from: max(first.adding(rules.jitter), former ?? first))
            for run in runs where run.fails && run.attempt < rules.attempts {
                begins(run.attempt + 1, from: run.ends.adding(Planner.pause(after: run.attempt)))
            }
            former = runs.last?.ends ?? former
        }
    }

    /// The first moment from which on nothing is in the way for as long as the task has patience.
    private static func free(_ from: Timestamp, _ life: Life, _ inTheWay: [Span]) -> Timestamp {
        let (rules, patience) = (life.history.rules, patience(life))
        var (free, low, high) = (from, 0, inTheWay.count)
        while low < high {
            let middle = (low + high) / 2
            if inTheWay[middle].to <= from { low = middle + 1 } else { high = middle }
        }
        while true {
            if low < inTheWay.count, inTheWay[low].from <= free.adding(patience) {
                free = max(free, inTheWay[low].to)
                low += 1
            } else if !rules.windows.isEmpty,
                !rules.windows.contains(where: { ($0.remaining(at: free, in: rules.zone) ?? .zero) > patience })
            {
                free = rules.windows.map { $0.opening(after: free, in: rules.zone) }.min()!
            } else {
                return free
            }
        }
    }
}
