public import FleetProtocol
internal import FleetSystem

/// How bad a concern is for the cluster that it is of; the worst first.
public enum Gravity: Int, Comparable, Sendable, CaseIterable {
    /// There is nothing to restore, nobody to restore it, or it stands half-way.
    case unrestorable
    /// The last backup failed, or is older than it may be.
    case behind
    /// The next backup or restore may fail.
    case endangered
    /// It is to be seen to, and nothing of that.
    case other
    case well

    public static func < (a: Gravity, b: Gravity) -> Bool { a.rawValue < b.rawValue }
}

extension Concern.Kind {
    public var gravity: Gravity {
        switch self {
        case .noBackup, .noAgent, .halfRestored, .memberMissed, .notRestorable, .membersWithoutAgent, .drillFailed:
            .unrestorable
        case .objectiveBroken, .clockWrong, .backupFailed, .foreignBackup, .jobFailed, .noPolicy,
            .noBackupSince:
            .behind
        case .agentLost, .etcdNotFound, .etcdStopped, .taskWaiting, .snapshotUnusable, .configurationNotKept,
            .agentCertificate, .nodeCertificate, .decryptionNotKept:
            .endangered
        // Most of these are the fleet's, and no cluster's.
        case .policyUnusable, .agentsAwaited, .upgradeFellBack, .authorityEnds, .authorityRotation, .coordinatorCopy,
            .retentionWaits, .auditBroken, .storeFull, .alertsHeld, .alertUndelivered, .blind, .unscheduled:
            .other
        }
    }
}

extension FleetStatus {
    /// What a cluster without an objective is measured by.
    private static let usualObjective = Duration.seconds(86_400)

    /// Nobody is there who would restore it: no agent beside an etcd of it is connected, and none is still to come back to a
    /// coordinator that has just begun.
    private func isOutOfReach(_ cluster: String) -> Bool {
        let own = agents.filter { $0.cluster == cluster && $0.certificate?.revoked == nil && !$0.holdsNoEtcd }
        return !own.isEmpty && own.allSatisfy { !$0.connected && !awaits($0) }
    }

    /// The clusters, by the gravest concern of each, then by the age of the newest backup against the objective (a day where
    /// there is none); those that hold verifiers only last. Pure.
    public var worstFirst: [ClusterRecord] {
        let concerns = Dictionary(grouping: Concern.all(self), by: \.cluster)
        func rank(_ cluster: ClusterRecord) -> (Int, Gravity, Double, String) {
            var gravity = (concerns[cluster.name] ?? []).map(\.kind.gravity).min() ?? .well
            // Told of as a failed job, where that is the last one.
            if cluster.halfRestored != nil || isOutOfReach(cluster.name) { gravity = .unrestorable }
            let allowed = cluster.objective.map { Duration.seconds($0) } ?? Self.usualObjective
            let age = cluster.latestSavedAt.map { time.since($0).seconds / allowed.seconds } ?? .infinity
            return (Verifiers.areAll(of: cluster.name, agents) ? 1 : 0, gravity, -age, cluster.name)
        }
        return clusters.map { (rank($0), $0) }.sorted { $0.0 < $1.0 }.map(\.1)
    }
}
