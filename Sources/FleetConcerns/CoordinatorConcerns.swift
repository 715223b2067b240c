internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

extension Concern {
    /// What is due and can't begin, and what waits in its middle.
    static func ofWork(_ status: FleetStatus) -> [Concern] {
        let waiting = status.waiting ?? []
        var all = waiting.filter { $0.policy == nil }.map { one in
            Concern(
                .taskWaiting, cluster: one.cluster, subject: one.kind,
                "the \(one.kind) of \(one.cluster) is due since \(one.due.short) and can't begin: \(one.reason.message)",
                action: one.reason.hint)
        }
        let turns = Dictionary(grouping: waiting.filter { $0.policy != nil }) { [$0.kind, $0.policy ?? ""] }
        all += turns.sorted { $0.key.joined(separator: " ") < $1.key.joined(separator: " ") }.map { ofTurns($1) }
        // An older coordinator does not say whose they are.
        let unusable = status.unusablePolicies?.map { ($0.policy, $0.problem) }
        for (policy, problem) in unusable ?? (status.policyProblems ?? []).map({ ($0.message, $0) }) {
            all.append(Concern(.policyUnusable, subject: policy, problem.message, action: problem.hint))
        }
        for job in status.openJobs {
            for (agent, action) in job.missed(status.agents) where !status.awaits(agent) {
                all.append(
                    Concern(
                        .memberMissed, cluster: job.cluster, node: agent.node, subject: job.id,
                        "\(job.kind) \(job.id) of \(job.cluster): \(agent.node) is not connected", action: action))
            }
        }
        return all
    }

    /// Clusters that nothing backs up by itself, and never did, in one line. A coordinator that tells of no queue may tell of no
    /// policies either.
    static func ofPolicies(_ status: FleetStatus) -> [Concern] {
        guard status.queue != nil else { return [] }
        let names = status.clusters.filter { cluster in
            cluster.policy == nil && !cluster.isUnscheduled(status.agents)
                && status.agents.contains {
                    $0.cluster == cluster.name && $0.certificate?.revoked == nil && !$0.holdsNoEtcd
                }
        }.map(\.name).sorted()
        guard let first = names.first else { return [] }
        let some = names.prefix(handful).joined(separator: ", ") + (names.count > handful ? ", ..." : "")
        return [
            Concern(
                .unscheduled,
                names.count == 1
                    ? "\(first) follows no policy: nothing backs it up by itself"
                    : "\(names.count) clusters follow no policy, and nothing backs them up by itself: \(some)",
                action:
                    "'fleetctl policy list' has what policies select, 'fleetctl cluster show \(first)' its labels; label it, or "
                    + "name it in a policy")
        ]
    }

    /// Of one policy and kind: what holds up one holds up all of them, and that is one matter.
    private static func ofTurns(_ tasks: [WaitingTask]) -> Concern {
        let first = tasks.min { $0.due < $1.due }!
        let names = tasks.prefix(5).map(\.cluster).joined(separator: ", ") + (tasks.count > 5 ? ", ..." : "")
        let what = tasks.count == 1 ? "a \(first.kind)" : "\(tasks.count) \(first.kind)s"
        return Concern(
            .taskWaiting, subject: "\(first.kind) of policy \(first.policy ?? "")",
            "\(what) of policy \(first.policy ?? "") (\(names)), due since \(first.due.short), can't begin: "
                + first.reason.message,
            action: first.reason.hint)
    }

    static func ofCoordinator(_ status: FleetStatus) -> [Concern] {
        var all: [Concern] = []
        if let problem = status.coordinatorCopyProblem {
            let newest = status.coordinatorCopy.map { "of \($0.short)" } ?? "none"
            all.append(
                Concern(
                    .coordinatorCopy,
                    "the coordinator can't make a copy of itself, the newest is \(newest): \(problem.message)",
                    action: problem.hint))
        }
        if let until = status.retentionWaits {
            all.append(
                Concern(
                    .retentionWaits,
                    "this coordinator was put back from a copy, or its catalogue made again from the store, and deletes nothing by "
                        + "itself until \(until.short)",
                    action:
                        "pin again, and set again, what was pinned and set since then; 'fleetctl retention apply' works as ever"
                ))
        }
        if status.alertsAreHeld == true {
            all.append(
                Concern(
                    .alertsHeld, "this coordinator was put back from a copy, and nobody is told of alerts",
                    action: "when it is the fleet's coordinator, and not a drill: fleetctl alert resume"))
        }
        for target in status.alertTargets ?? [] {
            guard let problem = target.problem else { continue }
            let isReached = target.delivered.map { taken in target.since.map { taken > $0 } ?? false } ?? false
            let what =
                isReached
                ? "\(target.name) does not take every alert (\(target.waiting) waiting)"
                : "alerts don't reach \(target.name) since \(target.since?.short ?? "a while")"
            all.append(
                Concern(
                    .alertUndelivered, subject: target.name, "\(what): \(problem.message)",
                    action: problem.hint ?? "try it with 'fleetctl alert test \(target.name)'"))
        }
        if let authority = status.authority {
            all += rotation(authority)
            if authority.notAfter.since(status.time) < .seconds(180 * 86_400) {
                all.append(
                    Concern(
                        .authorityEnds,
                        "the fleet's authority ends \(authority.notAfter.short), and all certificates with it",
                        action: "on the coordinator's host: 'fleet-coordinator authority rotate --help'"))
            }
        }
        if !status.audit.isIntact {
            all.append(
                Concern(
                    .auditBroken, "the audit chain is broken",
                    action: "'fleetctl audit verify' says where; keep a copy of the catalogue before anything else"))
        }
        if status.storeFree < status.storeReserve {
            all.append(
                status.storeIsHidden == true
                    ? Concern(
                        .storeFull, "the store is nearly full, and backups will fail",
                        action: "tell somebody whose role is for all clusters")
                    : Concern(
                        .storeFull, "less than \(Human.bytes(status.storeReserve)) are free in the store",
                        action:
                            "'fleetctl store stats', 'fleetctl retention apply --all --dry-run', 'fleetctl store gc'"))
        }
        return all
    }

    private static func rotation(_ authority: AuthorityStanding) -> [Concern] {
        guard authority.former != nil else { return [] }
        let (agents, operators) = (authority.agents, authority.operators)
        let text = "a former authority is still good"
        if !agents.isEmpty {
            let names = agents.prefix(5).joined(separator: ", ") + (agents.count > 5 ? ", ..." : "")
            return [
                Concern(
                    .authorityRotation,
                    "\(text), and agents have not come over from it, \(agents.count) in all: \(names)",
                    action: "they do by themselves when they are connected and have no job")
            ]
        }
        let people = operators.isEmpty ? "" : "; these log in again: \(operators.joined(separator: ", "))"
        return [
            Concern(
                .authorityRotation, "\(text), and all agents have come over\(people)",
                action: "on the coordinator's host: fleet-coordinator authority retire")
        ]
    }
}
