internal import FleetSystem

/// All that a snapshot says of itself, and what is wrong with it. As JSON these are the fields of `fleetctl inspect`.
public struct SnapshotReport: Codable, Sendable, Equatable {
    /// The digest that `snapshot save` puts behind the pages, and what the pages give.
    public struct Digest: Codable, Sendable, Equatable {
        /// Lower-case hexadecimal.
        public var stored: String
        public var computed: String
        public var ok: Bool
    }

    // As 'etcdctl snapshot status' and 'etcdutl snapshot status' of 3.4 and 3.5 give them.

    /// CRC-32C over the names of all buckets and their keys and values.
    public var hash: UInt32
    /// The newest revision.
    public var revision: Int64
    /// Entries of all buckets, old revisions and deletions included.
    public var totalKey: Int64
    /// Bytes of all pages, the digest not included.
    public var totalSize: Int64

    /// User keys that are there at the newest revision: what etcd 3.6 calls total keys. nil with a finding when they
    /// are too many to be counted in bounded memory.
    public var liveKeys: Int64?
    /// 'snapshot restore --bump-revision' left its mark: an entry with an empty key, which `liveKeys` counts and no
    /// client of etcd ever sees.
    public var isBumped: Bool
    /// nil for a raw database, which has none.
    public var sha256: Digest?
    /// CRC-32C over the keys as `etcdctl endpoint hashkv` gives it, to be compared with a member's only where
    /// `hashRevision` and `compactRevision` are equal too. nil with a finding, as `liveKeys`, or without keys at all.
    public var hashKV: UInt32?
    /// The revision that `hashKV` is of: the newest, or the compacted one where nothing newer is left.
    public var hashRevision: Int64?
    /// By which it is told from a snapshot of another history; nil as `hashKV` is.
    public var oldestKeys: OldestKeys?
    public var pageSize: Int
    /// Bytes of the file.
    public var fileSize: Int64

    public var clusterVersion: String?
    /// From 3.6 on.
    public var storageVersion: String?
    public var members: [SnapshotMember]
    public var removedMembers: Int
    public var alarms: [SnapshotAlarm]
    public var leases: Int
    public var auth: SnapshotAuth
    /// Providers with which kube-apiserver has encrypted values, in alphabetical order; "other" for one that is not known.
    public var encryptedAtRest: [String]
    /// By what live values are encrypted: "aescbc/key1", "kms/PLUGIN"; the provider alone where its key has no name that is
    /// repeated, "other" for one that is not known. nil as `hashKV` is.
    public var encryptionKeys: [String]?
    /// There are live keys or values of kube-apiserver's; nil as `hashKV` is.
    public var holdsKubernetes: Bool?
    /// The revision compacted last; nil when there was no compaction.
    public var compactRevision: Int64?
    public var consistentIndex: UInt64?
    /// From 3.5 on.
    public var term: UInt64?

    /// At most `Findings.limit` of them.
    public var findings: [Finding]
    /// How many there are.
    public var totalFindings: Int

    public var isSound: Bool { totalFindings == 0 }

    init(
        _ layout: Layout, fileSize: Int, content: ContentVisitor, live: Int?, sha256: Digest?, hashKV: HashKV?,
        oldestKeys: OldestKeys?, values: LiveValues?, _ findings: Findings
    ) {
        let facts = content.cluster.facts
        hash = content.checksum.value
        revision = content.keys.lastRevision
        totalKey = content.total
        totalSize = layout.totalSize
        liveKeys = live.map(Int64.init)
        isBumped = content.keys.isBumped
        self.sha256 = sha256
        self.hashKV = hashKV?.hash
        hashRevision = hashKV?.revision
        self.oldestKeys = oldestKeys
        pageSize = layout.pageSize
        self.fileSize = Int64(fileSize)
        clusterVersion = facts.clusterVersion
        storageVersion = facts.storageVersion
        members = facts.members
        removedMembers = facts.removedMembers
        alarms = facts.alarms
        leases = facts.leases
        auth = facts.auth
        encryptedAtRest = content.keys.encryption.providers
        encryptionKeys = values?.encryptionKeys
        holdsKubernetes = values?.holdsKubernetes
        compactRevision = facts.compactRevision
        consistentIndex = facts.consistentIndex
        term = facts.term
        self.findings = findings.listed
        totalFindings = findings.total
    }
}
