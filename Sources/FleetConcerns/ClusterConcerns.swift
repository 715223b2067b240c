internal import FleetCommandLine
public import FleetProtocol
internal import FleetSystem

extension Concern {
    static func ofCluster(_ cluster: ClusterRecord, _ status: FleetStatus) -> [Concern] {
        var all: [Concern] = []
        func add(_ kind: Kind, of subject: String? = nil, level: Int? = nil, _ text: String, _ action: String) {
            all.append(Concern(kind, cluster: cluster.name, subject: subject, level: level, text, action: action))
        }
        let name = cluster.name
        let own = status.agents.filter { $0.cluster == name && $0.certificate?.revoked == nil }
        // Those that only drill are meant; a control plane without its etcd's agents is not.
        if cluster.agents == 0 || (own.contains(where: \.isControlPlane) && own.allSatisfy(\.holdsNoEtcd)) {
            add(
                .noAgent, "\(name) has no agent\(cluster.agents == 0 ? "" : " beside an etcd")",
                "'fleetctl agent install \(name) --ssh root@NODE', or a token: 'fleetctl agent token \(name)'; if it is none any "
                    + "more: 'fleetctl cluster remove \(name)'")
        }
        if cluster.latestSnapshot == nil, !Verifiers.areAll(of: name, status.agents) {
            add(.noBackup, "\(name) has no backup that can be restored", "run 'fleetctl backup \(name)'")
        }
        if let latest = cluster.latestSnapshot, let left = cluster.latestLeftBy {
            let (what, data) =
                left.undoes.map {
                    ("was taken back to before restore \($0) (undo \(left.job))", "what that restore had made")
                }
                ?? ("was restored to \(left.snapshot) (restore \(left.job))", "the data before that")
            add(
                .noBackupSince,
                "\(name) \(what) at \(left.time.short), and no backup has been made since: the latest, \(latest), is of "
                    + data,
                "run 'fleetctl backup \(name)'")
        }
        if let since = cluster.unscheduledSince, cluster.isUnscheduled(status.agents) {
            add(
                .noPolicy, "\(name) follows no policy since \(since.short), and is not backed up by itself any more",
                "'fleetctl cluster show \(name)' has its labels, 'fleetctl policy list' what policies select; where that is meant, "
                    + "give it a policy without a schedule: 'fleetctl policy set --help'")
        }
        if let objective = cluster.objective, cluster.latestSavedAt == nil, cluster.lastBackup != nil {
            add(
                .objectiveBroken,
                "\(name) has no backup that can be restored any more, and policy \(cluster.policy ?? "") allows "
                    + "\(Human.duration(.seconds(objective))) without one", "run 'fleetctl backup \(name)'")
        }
        if let saved = cluster.latestSavedAt, status.time.since(saved) < .seconds(-600) {
            add(
                .clockWrong,
                "\(name)'s newest backup is of \(saved.short), which is not yet, and nothing tells how old it is",
                "set the clock here or on its node, then 'fleetctl backup \(name)'")
        } else if let ahead = cluster.datedAhead {
            add(
                .clockWrong,
                "\(name)'s backup \(ahead) is dated ahead of the present, and passed over for others: a clock is wrong, or was",
                "see that the clock here is right; then, if nobody needs that backup, 'fleetctl snapshot delete \(ahead)': it would be "
                    + "the latest again when its time comes")
        }
        if let objective = cluster.objective, let saved = cluster.latestSavedAt {
            let age = status.time.since(saved)
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
                .snapshotUnusable, level: cluster.unusableSnapshots,
                "\(cluster.unusableSnapshots) of \(name)'s snapshots can't be used",
                "'fleetctl snapshot list \(name)' names them, 'fleetctl snapshot show' says why")
        }
        if let drill = cluster.lastDrill, drill.verdict == .failed {
            add(
                .drillFailed,
                "the last drill of \(name) failed, with snapshot \(drill.snapshot): "
                    + (drill.problem?.message ?? "no reason given"),
                "see 'fleetctl job show \(drill.job)', then 'fleetctl drill \(name)'")
        } else if let last = cluster.lastDrillJob, last.state != .succeeded {
            // Whether its backups restore is as unknown as without drills.
            add(
                .drillFailed,
                "the last drill of \(name) could not be made, and proved nothing: "
                    + (last.error ?? "it \(last.state.asVerb)"),
                "see 'fleetctl job show \(last.job)', then 'fleetctl drill \(name)'")
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
            $0.cluster == name && $0.certificate?.revoked == nil && !$0.holdsNoEtcd
        }
        if let members = cluster.members, agents > 0, agents < members {
            add(
                .membersWithoutAgent,
                "\(name) had \(members) members at its latest backup, and agents are on \(agents): all members are restored together",
                "enrol the others ('fleetctl agent install \(name) --ssh root@NODE'), or take one that is gone for good out of etcd (etcdctl "
                    + "member remove) and back up again")
        }
        if let concern = ofEncryption(cluster, status) { all.append(concern) }
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

extension ClusterRecord {
    /// It has an etcd that a policy had backed up, and none has now: a label that was mistyped looks like one that was meant.
    public func isUnscheduled(_ agents: [AgentRecord]) -> Bool {
        unscheduledSince != nil
            && agents.contains { $0.cluster == name && $0.certificate?.revoked == nil && !$0.isVerifier }
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
