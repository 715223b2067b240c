import FleetConcerns
import FleetProtocol
import FleetSystem

/// What happens by itself: the planner is asked again and again, and what it says can begin is begun.
extension CoordinatorServer {
    /// A task that is due and could not begin.
    struct Postponed: Sendable {
        var due: Timestamp
        /// It is left alone until then.
        var until: Timestamp
        var failures: Int
        var reason: FleetError
    }

    /// Who starts what a policy demands, as jobs and the audit log name it.
    static func actor(of policy: String) -> String { "schedule:\(policy)" }

    func followPolicies() async {
        while !Task.isCancelled {
            var pause = configuration.schedulePause
            do throws(FleetError) {
                let now = Timestamp.now()
                if let wake = try await beginWhatIsDue(now: now) {
                    pause = min(pause, max(.seconds(1), wake.since(now)))
                }
            } catch { log.error("schedules could not be looked at, and will be again", error) }
            try? await Task.sleep(for: pause)
        }
    }

    /// - Returns: when it has to be asked again at the latest.
    @discardableResult
    func beginWhatIsDue(now: Timestamp = .now()) async throws(FleetError) -> Timestamp? {
        // Before the histories: one that ends its preparation in between is not taken for one that never began.
        let preparing = preparing.withLock(\.self)
        var histories = try await catalogue.taskHistories()
        let since = Dictionary(histories.map { ($0.task, $0.since) }) { first, _ in first }
        let away = postponed.withLock { all in
            // Nothing of a task that is gone or has another schedule since, or of a clock that was ahead.
            all = all.filter { task, one in
                guard let since = since[task] else { return false }
                return one.due > since && one.due <= now && one.until < now.adding(Self.longestPostponement * 2)
            }
            return Set(all.filter { $0.value.until > now }.keys)
        }
        for index in histories.indices {
            let task = histories[index].task
            if away.contains(task) || preparing.contains(task) { histories[index].isBusy = true }
        }
        let plan = Planner.plan(histories, now: now)
        guard !plan.ready.isEmpty else {
            queue.withLock { $0.update(plan.held, moved: [], now: now) }
            return plan.wake
        }
        let agents = Dictionary(grouping: try await agents(), by: \.cluster)
        var (free, open) = (plan.free, plan.open)
        for task in preparing {
            guard let slot = plan.slots[task] else { continue }
            free[slot] = max(0, free[slot, default: 0] - 1)
            open[slot, default: 0] += 1
        }
        var passed: [Planner.Start] = []
        var moved: Set<Planner.Slot> = []
        for start in plan.ready {
            guard let slot = plan.slots[start.task], free[slot, default: 0] > 0 else {
                passed.append(start)
                continue
            }
            switch start.task.kind {
            case .backup:
                do throws(FleetError) {
                    try await beginBackup(
                        start, agents: agents[start.task.cluster] ?? [], Self.actor(of: slot.policy))
                } catch {
                    postpone(start, error, now)
                    continue
                }
            case .drill:
                // What it is compared with is read first, which takes as long as the snapshot is large.
                self.preparing.withLock { _ = $0.insert(start.task) }
                Task {
                    do throws(FleetError) { try await beginDrill(start, Self.actor(of: slot.policy)) } catch {
                        postpone(start, error, now)
                    }
                    self.preparing.withLock { _ = $0.remove(start.task) }
                }
            }
            free[slot]! -= 1
            open[slot, default: 0] += 1
            moved.insert(slot)
        }
        let held = plan.held + plan.turns(of: passed, open: open)
        queue.withLock { $0.update(held, moved: moved, now: now) }
        return plan.wake
    }

    /// What waited for an agent is tried again: one has come.
    func retryPostponed(now: Timestamp = .now()) {
        postponed.withLock { all in
            for (task, one) in all where one.reason.code == .noAgent { all[task]?.until = min(one.until, now) }
        }
    }

    private static let longestPostponement = Duration.seconds(1800)

    /// No agent is there, or there is nothing to drill yet: it stays due, and is tried again in a minute, then in two, and so on.
    private func postpone(_ start: Planner.Start, _ reason: FleetError, _ now: Timestamp) {
        let failures = postponed.withLock { all in
            let before = all[start.task].map { $0.due == start.due ? $0.failures : 0 } ?? 0
            let pause = min(Self.longestPostponement, .seconds(60 << min(before, 5)))
            all[start.task] = Postponed(
                due: start.due, until: now.adding(pause), failures: before + 1, reason: reason)
            return before + 1
        }
        if failures == 1 {
            log.info(
                "the \(start.task.kind.rawValue) of \(start.task.cluster) is due and can't begin: \(reason.message)")
        }
    }

    /// What is due and has not begun, for people: what could not or is held back for long, and what has its turn to come.
    func waitingTasks(now: Timestamp = .now()) -> (long: [WaitingTask], short: [WaitingTask]) {
        let postponed = postponed.withLock(\.self)
        var long = postponed.map { task, one in
            WaitingTask(cluster: task.cluster, kind: task.kind.rawValue, due: one.due, reason: one.reason)
        }
        var short: [WaitingTask] = []
        for (task, place) in queue.withLock(\.places) where postponed[task] == nil {
            var one = WaitingTask(
                cluster: task.cluster, kind: task.kind.rawValue, due: place.held.due,
                reason: place.held.hindrance.reason)
            one.since = place.since
            if case .turn(let policy, _) = place.held.hindrance { one.policy = policy }
            if now.since(place.since) >= TaskQueue.patience { long.append(one) } else { short.append(one) }
        }
        func sorted(_ all: [WaitingTask]) -> [WaitingTask] {
            all.sorted { ($0.due, $0.cluster, $0.kind) < ($1.due, $1.cluster, $1.kind) }
        }
        return (sorted(long), sorted(short))
    }

    private func beginBackup(_ start: Planner.Start, agents: [AgentRecord], _ actor: String) async throws(FleetError) {
        let cluster = start.task.cluster
        let tried = try await catalogue.triedNodes(start)
        let failing = try await catalogue.failingNodes(of: cluster)
        let other = try? AgentChoice.choose(agents, cluster: cluster, avoiding: tried, failing: failing)
        let agent: AgentRecord
        if let other {
            agent = other
        } else {
            agent = try AgentChoice.choose(agents, cluster: cluster, failing: failing)
        }
        // Whoever does not take it soon is not there: then another does.
        let job = try await catalogue.createBackup(
            cluster: cluster, node: agent.node, lifetime: .seconds(300), by: actor, run: start)
        postponed.withLock { $0[start.task] = nil }
        try await begin(job)
    }

    private func beginDrill(_ start: Planner.Start, _ actor: String) async throws(FleetError) {
        let job = try await makeDrill(
            try await catalogue.findSnapshot("latest", cluster: start.task.cluster), on: nil, actor, run: start)
        postponed.withLock { $0[start.task] = nil }
        try await begin(job)
    }

    /// Behind a backup that a policy demanded: what no rule keeps any more goes.
    func applyRetention(behind backup: JobRecord) async {
        guard backup.kind == "backup", backup.state == .succeeded, backup.requestedBy.hasPrefix(Self.actor(of: ""))
        else { return }
        do throws(FleetError) {
            guard try await catalogue.retentionWaits() == nil else { return }
            guard try await catalogue.retentionsInForce(backup.cluster).first?.policy != nil else { return }
            let decided = try await vault.applyRetention(backup.cluster, confirmed: nil, by: backup.requestedBy)
            guard decided.lines.contains(where: { !$0.isKept }) else { return }
            _ = try await vault.applyRetention(backup.cluster, confirmed: decided.digest, by: backup.requestedBy)
        } catch {
            log.with("cluster", backup.cluster).error("retention was not applied; the next backup does it", error)
        }
    }
}
