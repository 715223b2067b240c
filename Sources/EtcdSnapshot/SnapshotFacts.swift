/// A member as the bucket `members` has it.
public struct SnapshotMember: Codable, Sendable, Equatable {
    /// Lower-case hexadecimal, as etcd prints ids.
    public var id: String
    public var name: String
    public var peerURLs: [String]
    public var clientURLs: [String]
    public var isLearner: Bool
}

/// An alarm that was raised when the snapshot was saved.
public struct SnapshotAlarm: Codable, Sendable, Equatable {
    /// Id of the member, lower-case hexadecimal.
    public var member: String
    /// "NOSPACE", "CORRUPT"; a number for one that etcd got later.
    public var alarm: String
}

public struct SnapshotAuth: Codable, Sendable, Equatable {
    public var enabled = false
    public var users = 0
    public var roles = 0
    /// etcd's count of changes to users and roles; nil before the first.
    public var revision: UInt64?
}

/// What the buckets beside `key` say of the cluster.
struct ClusterFacts {
    var clusterVersion: String?
    var storageVersion: String?
    var members: [SnapshotMember] = []
    var removedMembers = 0
    var alarms: [SnapshotAlarm] = []
    var leases = 0
    var auth = SnapshotAuth()
    var consistentIndex: UInt64?
    var term: UInt64?
    /// Of the compaction asked for last, and of the one that was finished last.
    var scheduledCompaction: Int64?
    var finishedCompaction: Int64?
}

extension ClusterFacts {
    /// The revision that a server which opens this holds to be compacted: it takes up a scheduled compaction that was
    /// not finished before it serves (etcd `mvcc/kvstore.go`, restore).
    var compactRevision: Int64? { [scheduledCompaction, finishedCompaction].compactMap(\.self).max() }
}
