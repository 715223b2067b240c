public import FleetSystem

extension ControlMethod {
    public static let labelCluster = "cluster.label"
    public static let listPolicies = "policy.list"
    public static let setPolicy = "policy.set"
    public static let removePolicy = "policy.remove"
    public static let applyPolicies = "policy.apply"
}

/// What happens by itself to the clusters that it selects. The policies of a fleet have an order: a cluster follows the first
/// that selects it.
public struct FleetPolicy: Codable, Sendable, Equatable {
    public var name: String
    /// By name; with `labels`, one of the two is enough. Neither: every cluster.
    public var clusters: [String] = []
    /// All of them, with these values.
    public var labels: [String: String] = [:]
    /// When a backup is due: a crontab's five fields or "@every 6h". nil: never by itself.
    public var schedule: String?
    /// In which the clocks are that schedules and windows are about: "Europe/Berlin".
    public var timezone = "UTC"
    /// Seconds by which a run may begin later than it is due.
    public var jitter = 0
    /// In which a run may begin: "mon-fri 22:00-06:00"; none is always.
    public var windows: [String] = []
    /// Of one backup or drill, the first included.
    public var attempts = 3
    /// Clusters of this policy that are backed up at once, and that are drilled at once.
    public var parallel = 4
    /// Bytes a second that all its backups together may send; nil: as fast as they can.
    public var bandwidth: Int?
    /// Seconds: the recovery point objective. The newest verified backup is to be no older.
    public var objective: Int?
    /// Applied behind each backup that the schedule made; a cluster's own goes before it.
    public var retention: RetentionPolicy?
    /// When the newest backup is drilled.
    public var drill: String?

    public init(name: String) { self.name = name }

    /// What is not there is as it is by default: an older program does not know of it.
    public init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        self.init(name: try fields.decode(String.self, forKey: .name))
        clusters = try fields.decodeIfPresent([String].self, forKey: .clusters) ?? clusters
        labels = try fields.decodeIfPresent([String: String].self, forKey: .labels) ?? labels
        schedule = try fields.decodeIfPresent(String.self, forKey: .schedule)
        timezone = try fields.decodeIfPresent(String.self, forKey: .timezone) ?? timezone
        jitter = try fields.decodeIfPresent(Int.self, forKey: .jitter) ?? jitter
        windows = try fields.decodeIfPresent([String].self, forKey: .windows) ?? windows
        attempts = try fields.decodeIfPresent(Int.self, forKey: .attempts) ?? attempts
        parallel = try fields.decodeIfPresent(Int.self, forKey: .parallel) ?? parallel
        bandwidth = try fields.decodeIfPresent(Int.self, forKey: .bandwidth)
        objective = try fields.decodeIfPresent(Int.self, forKey: .objective)
        retention = try fields.decodeIfPresent(RetentionPolicy.self, forKey: .retention)
        drill = try fields.decodeIfPresent(String.self, forKey: .drill)
    }

    public func selects(_ cluster: String, labels: [String: String]) -> Bool {
        ClusterSelector(clusters: clusters, labels: self.labels).selects(cluster, labels: labels)
    }
}

/// A policy as the fleet has it.
public struct PolicyRecord: Codable, Sendable, Equatable {
    public var policy: FleetPolicy
    /// When it was made or last changed: what was due before is not made up for.
    public var since: Timestamp
    /// Those that follow it, by name.
    public var clusters: [String]
    /// How many it selects, whether they follow it or one before it; nil from an older coordinator.
    public var selects: Int?
    /// Why it is not followed.
    public var problem: FleetError?
    public init(policy: FleetPolicy, since: Timestamp, clusters: [String]) {
        self.policy = policy
        self.since = since
        self.clusters = clusters
    }
}

/// All policies of a fleet, in their order.
public struct PolicySet: Codable, Sendable {
    public var policies: [FleetPolicy]
    /// Only say what would change.
    public var dryRun: Bool
    public init(policies: [FleetPolicy], dryRun: Bool) {
        self.policies = policies
        self.dryRun = dryRun
    }
}

/// What became of each policy that is or was.
public struct PolicyChange: Codable, Sendable, Equatable {
    public enum Kind: String, Codable, Sendable { case added, changed, moved, removed, unchanged }
    public var name: String
    public var kind: Kind
    /// Of a dry run: so many snapshots its retention would delete behind the next backups.
    public var deletes: Int?
    /// Of a dry run: clusters that would come to follow it, and those that would leave it.
    public var comes: [PolicyMove]?
    public var leaves: [PolicyMove]?
    /// Of a dry run: what it is now, and what it would be.
    public var before: FleetPolicy?
    public var after: FleetPolicy?
    /// How many clusters it selects then; nil for one that is removed, and from an older coordinator.
    public var selects: Int?
    public init(name: String, kind: Kind) {
        self.name = name
        self.kind = kind
    }
}

/// A cluster that would follow another policy.
public struct PolicyMove: Codable, Sendable, Equatable {
    public var cluster: String
    /// nil: none, and nothing happens to it by itself.
    public var from: String?
    public var to: String?
    /// So many of its snapshots the retention of `to` would delete behind the next backups.
    public var deletes: Int
    public init(cluster: String, from: String?, to: String?, deletes: Int) {
        self.cluster = cluster
        self.from = from
        self.to = to
        self.deletes = deletes
    }
}

/// A policy that nobody can follow.
public struct UnusablePolicy: Codable, Sendable, Equatable {
    public var policy: String
    public var problem: FleetError
    public init(policy: String, problem: FleetError) {
        self.policy = policy
        self.problem = problem
    }
}

/// A backup or drill that is due and has not begun.
public struct WaitingTask: Codable, Sendable, Equatable {
    public var cluster: String
    /// "backup" or "drill".
    public var kind: String
    public var due: Timestamp
    public var reason: FleetError
    /// Since when nothing has moved for it; nil where it was tried, and from older coordinators.
    public var since: Timestamp?
    /// It waits until others of this policy have ended; nil where it waits for something else.
    public var policy: String?
    public init(cluster: String, kind: String, due: Timestamp, reason: FleetError) {
        self.cluster = cluster
        self.kind = kind
        self.due = due
        self.reason = reason
    }
}

public struct LabelRequest: Codable, Sendable {
    public var cluster: String
    public var set: [String: String]
    public var remove: [String]
    public init(cluster: String, set: [String: String], remove: [String]) {
        self.cluster = cluster
        self.set = set
        self.remove = remove
    }
}
