import FleetProtocol
import FleetSystem

extension FleetError.Code {
    static let otherCluster: Self = "other-cluster"
    /// Of an etcd whose revision is lower than it was.
    static let wentBack: Self = "went-back"
    static let snapshotUnusable: Self = "snapshot-unusable"
    static let versionTooOld: Self = "version-too-old"
    static let manyMembers: Self = "many-members"
    /// No agent of the cluster could do it now.
    static let noAgent: Self = "no-agent"
}

/// Whether a snapshot may be restored to a cluster. Pure.
enum RestoreGuard {
    struct Options: Sendable, Equatable {
        /// The operator said explicitly that the snapshot of another cluster is meant.
        var allowOtherCluster = false
    }

    /// - Parameters:
    ///   - target: with the history of etcd's own ids: a cluster that was restored before has a new one, and its older
    ///     snapshots are its own all the same.
    ///   - agents: those of the target cluster.
    /// - Throws: `snapshot-unusable`, `other-cluster`, `version-too-old`.
    static func check(
        _ entry: SnapshotEntry, target: ClusterRecord, agents: [AgentRecord], _ options: Options = Options()
    ) throws(FleetError) {
        let snapshot = entry.record
        guard entry.condition == .verified || entry.condition == .foreign else {
            throw FleetError(
                .snapshotUnusable, "snapshot \(snapshot.id) is \(entry.condition.rawValue)",
                hint: "choose another one: fleetctl snapshot list \(snapshot.cluster)")
        }
        guard snapshot.imported?.isRawDatabase != true else {
            throw FleetError(
                .snapshotUnusable, "snapshot \(snapshot.id) is a raw database, which agents don't restore",
                hint: "export it, then on the node: etcdutl snapshot restore FILE --skip-hash-check")
        }
        if !options.allowOtherCluster {
            guard snapshot.cluster == target.name else {
                throw FleetError(
                    .otherCluster, "snapshot \(snapshot.id) is of cluster \(snapshot.cluster), not of \(target.name)",
                    hint: "if that is really meant, add --from-other-cluster")
            }
            guard entry.condition != .foreign else {
                throw FleetError(
                    .otherCluster,
                    "snapshot \(snapshot.id): \(entry.problem?.message ?? "it is of another etcd cluster")",
                    hint: "if that is really meant, add --from-other-cluster")
            }
            guard !snapshot.facts.clusterID.isEmpty else {
                throw FleetError(
                    .otherCluster, "nothing tells which etcd cluster snapshot \(snapshot.id) is of",
                    hint: "if that is really meant, add --from-other-cluster")
            }
            let own = target.identities.map(\.id)
            guard own.isEmpty || own.contains(snapshot.facts.clusterID) else {
                throw FleetError(
                    .otherCluster,
                    "snapshot \(snapshot.id) is of the etcd cluster \(snapshot.facts.clusterID), which \(target.name) never was",
                    hint: "if that is really meant, add --from-other-cluster")
            }
        }
        // Nodes whose agent was revoked are not of the cluster any more.
        let beside = agents.filter { $0.instance != nil && $0.certificate?.revoked == nil }
        for agent in beside {
            guard let instance = agent.instance else { continue }
            guard let have = instance.version.flatMap(Minor.init), let need = Minor(snapshot.facts.etcdVersion),
                have < need
            else { continue }
            throw FleetError(
                .versionTooOld,
                "etcd on \(agent.node) is \(have), older than the \(need) that the snapshot was saved from",
                hint: "an older etcd can't read it: bring etcd to \(need) first")
        }
    }

    /// "3.5.1" as far as it matters: the data format belongs to the minor version.
    struct Minor: Comparable, CustomStringConvertible {
        var major: Int, minor: Int

        init?(_ version: String) {
            let parts = version.split(separator: ".", omittingEmptySubsequences: false)
            guard parts.count >= 2, let major = Int(parts[0].drop { $0 == "v" }), let minor = Int(parts[1]) else {
                return nil
            }
            (self.major, self.minor) = (major, minor)
        }

        static func < (a: Minor, b: Minor) -> Bool { (a.major, a.minor) < (b.major, b.minor) }
        var description: String { "\(major).\(minor)" }
    }
}

/// Which agent of a cluster does a job. Pure.
enum AgentChoice {
    /// A connected one that knows its etcd. Of several members each has the data: one whose etcd runs goes first, a follower
    /// before the leader, which has enough to do, and both before one that is behind or knows no leader; then one that
    /// was heard of lately, and by name where all were. A learner never.
    ///
    /// - Parameters:
    ///   - avoiding: nodes that were tried just now.
    ///   - failing: nodes whose last backup failed: any other whose etcd runs and has a leader goes before them.
    /// - Throws: `no-agent`, saying for each why not.
    static func choose(
        _ agents: [AgentRecord], cluster: String, avoiding tried: [String] = [], failing: [String] = []
    ) throws(FleetError) -> AgentRecord {
        guard !agents.isEmpty else {
            throw FleetError(
                .noAgent, "cluster \(cluster) has no agent",
                hint: "enrol its nodes: fleetctl agent install \(cluster) --ssh root@NODE")
        }
        let able = agents.filter {
            $0.connected && $0.instance != nil && $0.certificate?.revoked == nil && !tried.contains($0.node)
                && $0.instance?.part != .learner
        }
        func rank(_ agent: AgentRecord) -> (Int, Int, Int, Int, Int) {
            let part =
                switch agent.instance?.part {
                case .follower: 3
                case .leader, nil: 2
                case .behind: 1
                case .leaderless, .learner: 0
                }
            return (
                agent.instance?.pid == nil ? 0 : 1, part >= 2 ? 1 : 0, failing.contains(agent.node) ? 0 : 1, part,
                agent.isHeard(among: able) ? 1 : 0
            )
        }
        let best = able.max { a, b in rank(a) == rank(b) ? a.node > b.node : rank(a) < rank(b) }
        if let best { return best }
        let reasons = agents.map { agent in
            if tried.contains(agent.node) { return "\(agent.node) was tried" }
            if let revoked = agent.certificate?.revoked { return "\(agent.node) was revoked at \(revoked)" }
            guard agent.connected else {
                return "\(agent.node) is not connected\(agent.lastSeen.map { " since \($0)" } ?? "")"
            }
            if agent.instance?.part == .learner { return "\(agent.node) is a learner" }
            return "\(agent.node): \(agent.discoveryError.map { Act.clip($0.message, 300) } ?? "found no etcd")"
        }
        throw FleetError(
            .noAgent, "no agent of \(cluster) can do it: \(reasons.joined(separator: "; "))",
            hint: agents.contains(where: \.connected)
                ? "see what the agent finds on its node with: fleet-agent discover"
                : "start the agent on the node: systemctl restart fleet-agent", retryable: true)
    }
}

extension AgentRecord {
    /// Whether it was heard of about when the others were. Two heartbeats are nothing to choose by: it would be another node each
    /// time, whose pages lie elsewhere than those of the last snapshot.
    func isHeard(among others: [AgentRecord]) -> Bool {
        guard let newest = others.compactMap(\.lastSeen).max() else { return true }
        return lastSeen.map { newest.since($0) <= .seconds(30) } ?? false
    }
}
