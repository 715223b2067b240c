import FleetCrypto
import FleetSchedule
import FleetSystem

/// Something that happens to a cluster by itself.
struct ScheduledTask: Sendable, Hashable {
    /// In the order in which they begin.
    enum Kind: String, Sendable, Codable, CaseIterable { case backup, drill }

    var cluster: String
    var kind: Kind
}

/// When a task is due, and what is done when it fails.
struct TaskRules: Sendable, Equatable {
    var schedule: Schedule
    var zone: TimeZoneRules
    /// A task begins up to this much behind the moment at which it is due, so that a thousand clusters don't at once.
    var jitter: Duration = .zero
    /// It begins while one of these is open; none is always.
    var windows: [Window] = []
    /// Of one run, the first included.
    var attempts = 3
    /// How many tasks of this kind and policy may be open at once.
    var parallel = Int.max
    /// Whose they are.
    var policy = ""
}

/// The last run of a task: what was due, and what came of it.
struct ScheduledRun: Sendable, Equatable {
    enum State: Sendable, Equatable {
        case open
        case succeeded
        /// When the last attempt ended.
        case failed(Timestamp)
    }

    var due: Timestamp
    var attempts: Int
    var state: State
}

/// What the planner knows of a task.
struct TaskHistory: Sendable, Equatable {
    var task: ScheduledTask
    var rules: TaskRules
    /// The task has these schedule and zone since then: what was due before is not made up for.
    var since: Timestamp
    var last: ScheduledRun?
    /// What is due could not begin a moment ago, or is about to.
    var isBusy = false
    /// The open job of the cluster, or of the task.
    var job: String?
}

/// Decides what begins now. Pure: the same histories and the same moment give the same decisions.
///
/// Of what was missed, only the latest is made up for, once. The runs of one task never overlap. An attempt that failed is
/// followed by others, later and later, until the next run is due or all have failed.
enum Planner {
    struct Start: Sendable, Equatable {
        var task: ScheduledTask
        var due: Timestamp
        /// 1 for the first.
        var attempt: Int
    }

    /// What may be open at once is counted by policy and kind.
    struct Slot: Sendable, Hashable {
        var policy: String
        var kind: ScheduledTask.Kind
    }

    struct Plan: Sendable, Equatable {
        /// All that could begin, backups first, then who was served longest ago: as many of each slot as are free begin, and
        /// one that turns out not to be possible takes none. Of a cluster one at a time.
        var ready: [Start] = []
        var free: [Slot: Int] = [:]
        /// How many of each slot are.
        var open: [Slot: Int] = [:]
        /// What is due and can't begin, whatever is free.
        var held: [HeldTask] = []
        /// When it has to be asked again, if nothing happens before.
        var wake: Timestamp?

        /// What begins where nothing stands in the way.
        var starts: [Start] {
            var left = free
            return ready.filter { start in
                guard let slot = slots[start.task], left[slot, default: 0] > 0 else { return false }
                left[slot]! -= 1
                return true
            }
        }
        var slots: [ScheduledTask: Slot] = [:]

        /// What is due and does not begin, where nothing stands in the way of what does.
        var waiting: [HeldTask] {
            let begun = starts
            var open = open
            for start in begun { if let slot = slots[start.task] { open[slot, default: 0] += 1 } }
            return held + turns(of: ready.filter { !begun.contains($0) }, open: open)
        }

        /// - Parameters:
        ///   - passed: ready, and there was no room for them.
        ///   - open: by now.
        func turns(of passed: [Start], open: [Slot: Int]) -> [HeldTask] {
            passed.map { start in
                let slot = slots[start.task]
                let count = slot.flatMap { open[$0] } ?? 0
                return HeldTask(
                    task: start.task, due: start.due, hindrance: .turn(policy: slot?.policy ?? "", open: count))
            }
        }
    }

    static func plan(_ histories: [TaskHistory], now: Timestamp) -> Plan {
        var plan = Plan()
        var ready: [(start: Start, last: Timestamp?)] = []
        for history in histories {
            let slot = Slot(policy: history.rules.policy, kind: history.task.kind)
            plan.slots[history.task] = slot
            plan.free[slot] = history.rules.parallel
            if history.last?.state == .open { plan.open[slot, default: 0] += 1 }
            switch next(history, now) {
            case .start(let start): ready.append((start, history.last?.due))
            case .wait(let until):
                if let until { plan.wake = min(plan.wake ?? until, until) }
            case .held(let start, let hindrance):
                plan.held.append(HeldTask(task: history.task, due: start.due, hindrance: hindrance))
                if case .window(let opens) = hindrance { plan.wake = min(plan.wake ?? opens, opens) }
            }
        }
        for (slot, count) in plan.open { plan.free[slot] = max(0, plan.free[slot]! - count) }
        // Of what is due at the same time every night, those that had no room in the last one go first in the next.
        let never = Timestamp(milliseconds: .min)
        func rank(_ one: (start: Start, last: Timestamp?)) -> (Int, Timestamp, Timestamp, String) {
            let task = one.start.task
            return (task.kind == .backup ? 0 : 1, one.last ?? never, one.start.due, task.cluster)
        }
        var first: [String: ScheduledTask.Kind] = [:]
        for start in ready.sorted(by: { rank($0) < rank($1) }).map(\.start) {
            if let kind = first[start.task.cluster] {
                plan.held.append(HeldTask(task: start.task, due: start.due, hindrance: .other(kind)))
            } else {
                first[start.task.cluster] = start.task.kind
                plan.ready.append(start)
            }
        }
        return plan
    }

    private enum Next {
        case start(Start)
        /// Nil for until something happens.
        case wait(Timestamp?)
        /// It is due.
        case held(Start, Hindrance)
    }

    private static func next(_ history: TaskHistory, _ now: Timestamp) -> Next {
        let due = due(history, now)
        switch due {
        case .wait: return history.last?.state == .open ? .wait(nil) : due
        case .start(let start), .held(let start, _):
            if history.last?.state == .open {
                return history.job.map { .held(start, .job($0)) } ?? .wait(nil)
            }
            guard case .start = due else { return due }
            if history.isBusy { return .wait(nil) }
            return history.job.map { .held(start, .job($0)) } ?? due
        }
    }

    /// By its rules alone.
    private static func due(_ history: TaskHistory, _ now: Timestamp) -> Next {
        let rules = history.rules
        var handled = max(history.since, history.last?.due ?? history.since)
        guard let coming = rules.schedule.next(after: now, in: rules.zone) else { return .wait(nil) }
        // A clock that was far ahead for a while has written this down; one that went back a little has not. Nothing tells what
        // was done before: the latest is made up for, and with that the history is right again.
        if handled > coming { handled = now.adding(.seconds(-366 * 86_400)) }
        let start: Start
        let begins: Timestamp
        if let due = rules.schedule.latest(notAfter: now, after: handled, in: rules.zone) {
            start = Start(task: history.task, due: due, attempt: 1)
            begins = begin(history.task, due, rules)
        } else if let last = history.last, case .failed(let ended) = last.state, last.attempts < rules.attempts,
            last.due > history.since, last.due <= now
        {
            start = Start(task: history.task, due: last.due, attempt: last.attempts + 1)
            begins = min(ended, now).adding(pause(after: last.attempts))
        } else {
            return .wait(begin(history.task, coming, rules))
        }
        guard begins <= now else { return .wait(begins) }
        if !rules.windows.isEmpty, !rules.windows.contains(where: { $0.isOpen(at: now, in: rules.zone) }) {
            guard let opens = rules.windows.map({ $0.opening(after: now, in: rules.zone) }).min() else {
                return .wait(nil)
            }
            return .held(start, .window(opens))
        }
        return .start(start)
    }

    /// The first moment of a run, the same for the same run: behind the one at which it is due, or at which a window opens then,
    /// by less than half of the time until the next run and until that window closes.
    static func begin(_ task: ScheduledTask, _ due: Timestamp, _ rules: TaskRules) -> Timestamp {
        let isOpen = rules.windows.isEmpty || rules.windows.contains { $0.isOpen(at: due, in: rules.zone) }
        let first = isOpen ? due : rules.windows.map { $0.opening(after: due, in: rules.zone) }.min() ?? due
        guard rules.jitter > .zero else { return first }
        let next = rules.schedule.next(after: due, in: rules.zone)
        let open = rules.windows.compactMap { $0.remaining(at: first, in: rules.zone) }.max()
        let bounds = [next.map { $0.since(first) }, open].compactMap { $0.map { $0.milliseconds / 2 } }
        let most = min(rules.jitter.milliseconds, bounds.min() ?? .max)
        guard most > 0 else { return first }
        let digest = SHA256.hash(Array("\(task.cluster) \(task.kind.rawValue) \(due.milliseconds)".utf8))
        let number = digest.prefix(7).reduce(Int64(0)) { $0 << 8 | Int64($1) }
        return first.adding(.milliseconds(number % most))
    }

    /// A minute behind the first attempt, then five times that each time, an hour at most.
    static func pause(after attempts: Int) -> Duration {
        .seconds(min(3600, (1..<max(1, min(attempts, 6))).reduce(60) { time, _ in time * 5 }))
    }
}
