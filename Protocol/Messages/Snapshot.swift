public import FleetSystem

/// What etcd's own tool says of a snapshot file (`snapshot status -w json`), under its names.
public struct SnapshotStatus: Codable, Sendable, Equatable {
    /// CRC-32C over buckets, keys and values, as etcd computes it.
    public var hash: UInt32
    public var revision: Int64
    /// All entries of all buckets up to etcd 3.5; the live keys from 3.6 on.
    public var totalKey: Int64
    /// Bytes of all pages, without the digest at the end.
    public var totalSize: Int64

    public init(hash: UInt32, revision: Int64, totalKey: Int64, totalSize: Int64) {
        self.hash = hash
        self.revision = revision
        self.totalKey = totalKey
        self.totalSize = totalSize
    }
}

/// A certificate of a node, and when it ends.
public struct CertificateExpiry: Codable, Sendable, Equatable {
    public var path: String
    public var notAfter: Timestamp
    /// The common name, or else the organization, of whom it is for; nil where nobody read it.
    public var subject: String?
    /// It vouches for others; nil where nobody looked.
    public var isAuthority: Bool?
    public var notBefore: Timestamp?

    public init(
        path: String, notAfter: Timestamp, subject: String? = nil, isAuthority: Bool? = nil, notBefore: Timestamp? = nil
    ) {
        self.path = path
        self.notAfter = notAfter
        self.subject = subject
        self.isAuthority = isAuthority
        self.notBefore = notBefore
    }
}

/// What the agent learned while it saved a snapshot.
public struct SnapshotFacts: Codable, Sendable, Equatable {
    public var status: SnapshotStatus
    /// The tool that saved it, "etcdctl 3.5.1".
    public var tool: String
    public var etcdVersion: String
    /// etcd's own ids, lower-case hexadecimal.
    public var clusterID: String
    public var memberID: String
    public var memberName: String
    /// Length of the file, digest included.
    public var size: Int64
    /// When `snapshot save` was started: the snapshot holds at least all that was written before.
    public var savedAt: Timestamp
    public var certificates: [CertificateExpiry]
    /// Keys that were alive at the snapshot's revision, asked of etcd itself; nil where it could not tell any more.
    public var liveKeys: Int64?
    /// Members of the cluster, learners included, when it was saved: a snapshot of several is not restored on one node
    /// alone. nil where etcd could not tell.
    public var members: Int?
    /// For people: a version known to be bad, a certificate near its end.
    public var warnings: [String]

    public init(
        status: SnapshotStatus, tool: String, etcdVersion: String, clusterID: String, memberID: String,
        memberName: String, size: Int64, savedAt: Timestamp, certificates: [CertificateExpiry],
        liveKeys: Int64? = nil, members: Int? = nil, warnings: [String]
    ) {
        self.status = status
        self.tool = tool
        self.etcdVersion = etcdVersion
        self.clusterID = clusterID
        self.memberID = memberID
        self.memberName = memberName
        self.size = size
        self.savedAt = savedAt
        self.certificates = certificates
        self.liveKeys = liveKeys
        self.members = members
        self.warnings = warnings
    }
}

/// The revision of another snapshot.
public struct EarlierRevision: Codable, Sendable, Equatable {
    public var snapshot: String
    public var revision: Int64
    /// The snapshot, of the same member as this one, by which that was seen first; nil: it is this one.
    public var since: String?

    public init(snapshot: String, revision: Int64, since: String? = nil) {
        (self.snapshot, self.revision, self.since) = (snapshot, revision, since)
    }
}

/// A snapshot in the store: the row of the catalogue, and, as it stands, the manifest beside the file.
public struct SnapshotRecord: Codable, Sendable, Equatable {
    public var id: String
    public var cluster: String
    public var node: String
    public var job: String
    /// When it was committed to the store.
    public var storedAt: Timestamp
    public var size: Int64
    /// SHA-256 of the whole file, lower-case hexadecimal.
    public var sha256: String
    public var facts: SnapshotFacts
    /// The etcd cluster id that `cluster` was known by when a snapshot with another one came, and no restore explained
    /// it. nil where the snapshot is its cluster's own.
    public var expectedClusterID: String?
    /// An earlier snapshot of the same etcd cluster whose data is not in this one: its revision is higher, or its history another,
    /// and nothing the fleet did explains that. nil where there is none.
    public var wentBack: EarlierRevision?
    /// What the coordinator itself found in it; nil for one that was stored before coordinators looked.
    public var verification: SnapshotVerification?
    /// nil for one that an agent of the fleet saved. Otherwise `node` and `job` are empty.
    public var imported: SnapshotImport?
    /// The restore that it was saved before: the data that this restore replaced. It is no backup of a healthy cluster, so
    /// neither `latest` nor a time finds it, and it is pinned when it comes.
    public var beforeRestore: String?
    /// The configuration of the cluster's nodes when it was stored; nil where none was kept.
    public var bundles: [NodeBundle]?

    public init(
        id: String, cluster: String, node: String, job: String, storedAt: Timestamp, size: Int64, sha256: String,
        facts: SnapshotFacts, expectedClusterID: String? = nil, verification: SnapshotVerification? = nil,
        imported: SnapshotImport? = nil
    ) {
        self.id = id
        self.cluster = cluster
        self.node = node
        self.job = job
        self.storedAt = storedAt
        self.size = size
        self.sha256 = sha256
        self.facts = facts
        self.expectedClusterID = expectedClusterID
        self.verification = verification
        self.imported = imported
    }

    /// Where etcd begins on it. Up to 3.5.15 and 3.4.33 a compaction takes a deletion at its own revision along, and then the
    /// last entry, which `snapshot status` goes by, is older than that; what is older can't be asked for.
    public var newestRevision: Int64 { max(facts.status.revision, verification?.compactRevision ?? 0) }
}
