/// What the coordinator found when it read a snapshot itself, before it stored it. It is sealed with the snapshot, so
/// it has a bounded size, and nothing of any key's value is in it.
public struct SnapshotVerification: Codable, Sendable, Equatable {
    public struct Finding: Codable, Sendable, Equatable {
        /// "page", "order", "trailer": the kinds of `fleetctl inspect`; "tool" where etcd's own tool says otherwise.
        public var kind: String
        public var page: UInt64?
        public var bucket: String?
        public var reason: String

        public init(kind: String, page: UInt64? = nil, bucket: String? = nil, reason: String) {
            self.kind = kind
            self.page = page
            self.bucket = bucket
            self.reason = reason
        }
    }

    /// The live keys that were created first: what a later snapshot of the same history has of them, this one has too.
    public struct OldestKeys: Codable, Sendable, Equatable {
        public struct Birth: Codable, Sendable, Hashable {
            public var revision: Int64
            /// The first 4 bytes of the key's SHA-256, in lower-case hexadecimal.
            public var key: String

            public init(revision: Int64, key: String) { (self.revision, self.key) = (revision, key) }

            /// "2-0123abcd": there are some in each record.
            public init(from decoder: any Decoder) throws {
                let container = try decoder.singleValueContainer()
                let parts = try container.decode(String.self).split(separator: "-", maxSplits: 1)
                guard parts.count == 2, let revision = Int64(parts[0]) else {
                    throw DecodingError.dataCorruptedError(in: container, debugDescription: "not a revision and a key")
                }
                self.init(revision: revision, key: String(parts[1]))
            }

            public func encode(to encoder: any Encoder) throws {
                var container = encoder.singleValueContainer()
                try container.encode("\(revision)-\(key)")
            }
        }

        public var births: [Birth]
        /// Every live key that was created up to this revision is among them.
        public var through: Int64

        public init(births: [Birth], through: Int64) { (self.births, self.through) = (births, through) }
    }

    /// As `etcdutl snapshot status` of 3.5 gives them. nil: the file is no snapshot at all.
    public var status: SnapshotStatus?
    /// User keys at the newest revision, as 3.6 counts them.
    public var liveKeys: Int64?
    /// As `etcdctl endpoint hashkv` gives it at `hashRevision`, for a member that has compacted to `compactRevision`.
    public var hashKV: UInt32?
    public var hashRevision: Int64?
    public var compactRevision: Int64?
    /// nil where they could not be told, or by a coordinator that did not look.
    public var oldestKeys: OldestKeys?
    public var clusterVersion: String?
    public var storageVersion: String?
    public var members: Int
    /// etcd's id of the cluster as it follows from the ids of its members: right as long as they are those it began with.
    public var derivedClusterID: String?
    /// 'snapshot restore --bump-revision' left an entry that `liveKeys` counts and no client of etcd sees.
    public var isBumped: Bool
    public var leases: Int
    /// "NOSPACE of 8e9e05c52164694d", the first few.
    public var alarms: [String]
    public var authEnabled: Bool
    /// Providers with which kube-apiserver has encrypted values ("aescbc", "kms", ...); empty: none. nil: it was not looked at.
    public var encryptedAtRest: [String]?
    /// By what those of now are encrypted, see `EncryptionKeyName`; "other" for a provider that is not known. nil: that could not be
    /// told, or was not looked at.
    public var encryptionKeys: [String]?
    /// kube-apiserver keeps something in it; nil as `encryptionKeys` is.
    public var holdsKubernetes: Bool?
    /// The first few, disagreements with etcd's tool before all others.
    public var findings: [Finding]
    public var totalFindings: Int

    public init(
        status: SnapshotStatus?, liveKeys: Int64? = nil, hashKV: UInt32? = nil, hashRevision: Int64? = nil,
        compactRevision: Int64? = nil, clusterVersion: String? = nil, storageVersion: String? = nil, members: Int = 0,
        derivedClusterID: String? = nil, isBumped: Bool = false, leases: Int = 0, alarms: [String] = [],
        authEnabled: Bool = false, encryptedAtRest: [String]? = nil, findings: [Finding], totalFindings: Int
    ) {
        self.status = status
        self.liveKeys = liveKeys
        self.hashKV = hashKV
        self.hashRevision = hashRevision
        self.compactRevision = compactRevision
        self.clusterVersion = clusterVersion
        self.storageVersion = storageVersion
        self.members = members
        self.derivedClusterID = derivedClusterID
        self.isBumped = isBumped
        self.leases = leases
        self.alarms = alarms
        self.authEnabled = authEnabled
        self.encryptedAtRest = encryptedAtRest
        self.findings = findings
        self.totalFindings = totalFindings
    }

    public var isSound: Bool { totalFindings == 0 }
}

/// Where a snapshot comes from that no agent of the fleet saved.
public struct SnapshotImport: Codable, Sendable, Equatable {
    /// "operator:alice"
    public var by: String
    /// The file's name on the operator's machine, without its directory.
    public var file: String
    /// A stopped member's `member/snap/db`: no digest at its end protects it.
    public var isRawDatabase: Bool

    public init(by: String, file: String, isRawDatabase: Bool) {
        self.by = by
        self.file = file
        self.isRawDatabase = isRawDatabase
    }
}
