internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

extension Concern {
    static func ofCluster(_ cluster: ClusterRecord, _ status: FleetStatus) -> [Concern] {
        var all: [Concern] = []
        func add(_ kind: Kind, of subject: String? = nil, _ text: String, _ action: String) {
            all.append(Concern(kind, cluster: cluster.name, subject: subject, text, action: action))
        }
        let name = cluster.name
        if cluster.agents == 0 {
            add(
                .noAgent, "\(name) has no agent",
                "'fleetctl agent install \(name) --ssh root@NODE', or a token: 'fleetctl agent token \(name)'; if it is none any "
                    + "more: 'fleetctl cluster remove \(name)'")
        }
        if cluster.latestSnapshot == nil, !Verifiers.areAll(of: name, status.agents) {
            add(.noBackup, "\(name) has no backup that can be restored", "run 'fleetctl backup \(name)'")
        }
        if let objective = cluster.objective, cluster.latestSavedAt == nil, cluster.lastBackup != nil {
            add(
                .objectiveBroken,
                "\(name) has no backup that can be restored any more, and policy \(cluster.policy ?? "") allows "
                    + "\(Human.duration(.seconds(objective))) without one", "run 'fleetctl backup \(name)'")
        }
        if let objective = cluster.objective, let saved = cluster.latestSavedAt {
            let age = status.time.since(saved)
            if age < .seconds(-600) {
                add(
                    .clockWrong,
                    "\(name)'s newest backup is of \(saved.short), which is not yet, and nothing tells how old it is",
                    "set the clock here or on its node, then 'fleetctl backup \(name)'")
            }
            if age > .seconds(objective) {
                add(
                    .objectiveBroken,
                    "\(name)'s newest backup is \(Human.duration(age)) old, and policy \(cluster.policy ?? "") allows "
                        + Human.duration(.seconds(objective)),
                    "see 'fleetctl job list \(name)', or run 'fleetctl backup \(name)'")
            }
        }
        if cluster.unusableSnapshots > 0 {
            add(
                // More of them are another matter.
                .snapshotUnusable, of: "\(cluster.unusableSnapshots)",
                "\(cluster.unusableSnapshots) of \(name)'s snapshots can't be used",
                "'fleetctl snapshot list \(name)' names them, 'fleetctl snapshot show' says why")
        }
        if let drill = cluster.lastDrill, drill.verdict == .failed {
            add(
                .drillFailed,
                "the last drill of \(name) failed, with snapshot \(drill.snapshot): "
                    + (drill.problem?.message ?? "no reason given"),
                "see 'fleetctl job show \(drill.job)', then 'fleetctl drill \(name)'")
        }
        if let foreign = cluster.newerForeign {
            add(
                .foreignBackup,
                "\(name): a member's newest backup is of an etcd cluster that is not known to be this one, or has lost what it "
                    + "had, and is no 'latest'",
                "see 'fleetctl snapshot show \(foreign)', which says why; if it is right all the same (restored by hand, or the "
                    + "catalogue was rebuilt), 'fleetctl cluster accept', then back it up")
        }
        let agents = status.agents.count {
            $0.cluster == name && $0.certificate?.revoked == nil && !$0.isVerifier
        }
        if let members = cluster.members, agents > 0, agents < members {
            add(
                .membersWithoutAgent,
                "\(name) had \(members) members at its latest backup, and agents are on \(agents): all members are restored together",
                "enrol the others ('fleetctl agent install \(name) --ssh root@NODE'), or take one that is gone for good out of etcd (etcdctl "
                    + "member remove) and back up again")
        }
        if let half = cluster.halfRestored, half != cluster.lastChange?.job {
            add(
                .halfRestored, "a restore or replacement of \(name) stands half-way on a member",
                "see 'fleetctl job show \(half)'")
        }
        // The next attempt may be under way already: it is over when one has succeeded.
        if let last = cluster.lastBackup, last.state != .succeeded {
            let why = last.error.map { ": \($0)" } ?? ""
            add(
                .backupFailed, "the last backup of \(name) \(last.state.asVerb)\(why)",
                "see 'fleetctl job show \(last.job)'")
        }
        // Whatever came behind it, backups and drills that are made by themselves above all.
        if let last = cluster.lastChange, last.state != .succeeded {
            add(
                .jobFailed, of: last.job, "the last \(last.kind) of \(name) \(last.state.asVerb)",
                "see 'fleetctl job show \(last.job)'")
        }
        return all
    }
}

extension JobState {
    fileprivate var asVerb: String {
        switch self {
        case .stuck: "is stuck"
        case .rolledBack: "was rolled back"
        default: "has failed"
        }
    }
}
