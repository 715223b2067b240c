public import FleetSystem

/// etcd's own id of a cluster, as a verified backup told it. A restore gives a cluster a new one, so there is a history.
public struct EtcdIdentity: Codable, Sendable, Equatable {
    /// Lower-case hexadecimal.
    public var id: String
    public var firstSeen: Timestamp
    /// The snapshot that told of it first; or in words what else did: a restore, or somebody who accepted it.
    public var snapshot: String

    public init(id: String, firstSeen: Timestamp, snapshot: String) {
        self.id = id
        self.firstSeen = firstSeen
        self.snapshot = snapshot
    }

    /// For people: where it is known from.
    public var source: String { snapshot.contains(" ") ? snapshot : "snapshot \(snapshot)" }
}

/// A cluster as the inventory has it, with what `fleetctl cluster list` and `status` say of it.
public struct ClusterRecord: Codable, Sendable, Equatable {
    public var name: String
    public var created: Timestamp
    /// Oldest first; the last one is the present one, unless `identityAgain` names another.
    public var identities: [EtcdIdentity]
    /// The one that an undo has put in force again, behind which there was no newer; nil otherwise, and from older coordinators.
    public var identityAgain: String?
    /// Agents that are enrolled, connected or not.
    public var agents: Int
    /// Snapshots that can be restored: verified, and their file is there.
    public var snapshots: Int
    /// Those that can't be read, or had something wrong in them when they came.
    public var unusableSnapshots: Int
    public var latestSnapshot: String?
    /// When the save of `latestSnapshot` began: all that was written before is in it.
    public var latestSavedAt: Timestamp?
    /// How what the cluster has came not to go on from `latestSnapshot`; nil where it does, or an older coordinator answers.
    public var latestLeftBy: Departure?
    /// Members of the etcd cluster when `latestSnapshot` was saved.
    public var members: Int?
    /// A backup that can be restored and is dated later than it is now: a clock was ahead. It is passed over for others.
    public var datedAhead: String?
    /// The newest backup that a member made, where that is of an etcd cluster that this one never was, and is younger than the
    /// ids that are known.
    public var newerForeign: String?
    /// The last restore or undo, where it stands half-way on a member; later backups don't change that.
    public var halfRestored: String?
    /// Its data is replaced only where a second operator has approved that.
    public var isProtected: Bool?
    public var labels: [String: String]?
    /// The policy that it follows.
    public var policy: String?
    /// Since when it follows none, where one had it backed up before.
    public var unscheduledSince: Timestamp?
    /// Seconds that the newest backup may be old, by that policy.
    public var objective: Int?
    /// Its nodes' configuration is kept with its snapshots.
    public var keepsConfiguration: Bool?
    /// The newest job of the cluster, open or not; rehearsals of restores do not count.
    public var lastJob: String?
    public var lastJobKind: String?
    public var lastJobState: JobState?
    /// The newest backup that has ended, whatever is under way since.
    public var lastBackup: JobEnd?
    /// The newest restore, undo, cleanup or replacement that has ended; nil where a backup that somebody asked for succeeded since:
    /// they have seen to it.
    public var lastChange: JobEnd?
    /// The newest drill of its backups; one that failed, until a backup that is no older is proven.
    public var lastDrill: DrillRecord?
    /// When a drill proved any of its backups last, whatever later ones found.
    public var lastProven: Timestamp?
    /// Of the latest snapshot, see `SnapshotVerification`.
    public var encryptedAtRest: [String]?
    /// Whether what is kept with the latest snapshot decrypts those; nil where that can't be told.
    public var decryption: Decryption?
    /// The newest drill of its backups that has ended, also where it could not be made.
    public var lastDrillJob: JobEnd?
    /// Since when its policy has it drilled as it does now; nil where none does.
    public var drillsSince: Timestamp?

    public init(
        name: String, created: Timestamp, identities: [EtcdIdentity], agents: Int, snapshots: Int,
        unusableSnapshots: Int = 0, latestSnapshot: String?, latestSavedAt: Timestamp?, members: Int? = nil,
        newerForeign: String? = nil, lastJob: String?,
        lastJobKind: String?,
        lastJobState: JobState?, lastDrill: DrillRecord? = nil
    ) {
        self.name = name
        self.created = created
        self.identities = identities
        self.agents = agents
        self.snapshots = snapshots
        self.unusableSnapshots = unusableSnapshots
        self.latestSnapshot = latestSnapshot
        self.latestSavedAt = latestSavedAt
        self.members = members
        self.newerForeign = newerForeign
        self.lastJob = lastJob
        self.lastJobKind = lastJobKind
        self.lastJobState = lastJobState
        self.lastDrill = lastDrill
    }
}

/// How a job ended.
public struct JobEnd: Codable, Sendable, Equatable {
    public var job: String
    public var kind: String
    public var state: JobState
    /// Why it did not succeed.
    public var error: String?
    public init(job: String, kind: String, state: JobState, error: String? = nil) {
        self.job = job
        self.kind = kind
        self.state = state
        self.error = error
    }
}

/// An agent and the node it runs on.
public struct AgentRecord: Codable, Sendable, Equatable {
    public var cluster: String
    public var node: String
    public var enrolled: Timestamp
    /// When it was last heard of; of one that is connected that is at most a few heartbeats ago.
    public var lastSeen: Timestamp?
    /// Known to the process that holds the connections; the catalogue itself always says false.
    public var connected: Bool
    /// Since when it is connected; nil where it is not, or an older coordinator answers.
    public var connectedSince: Timestamp?
    public var version: String?
    public var instance: EtcdInstance?
    /// Why there is no `instance`.
    public var discoveryError: FleetError?
    /// The newest certificate.
    public var certificate: CertificateRecord?
    /// Versions of etcd that it can start in a drill; nil where it never told.
    public var drillVersions: [String]?
    /// Which program it runs; nil where it never told, or can't be upgraded by a job.
    public var program: RunningProgram?
    /// Of the node: what etcd, the control plane and the kubelet use; nil where it never told.
    public var nodeCertificates: [CertificateExpiry]?
    /// Of the node's configuration; nil where none is kept, or none was offered.
    public var configuration: BundleState?

    /// It is there to drill: no etcd runs beside it, and it has the programs.
    public var isVerifier: Bool {
        instance == nil && discoveryError?.code == "no-etcd" && drillVersions?.isEmpty == false
    }

    /// It is there for the configuration of a control plane whose etcd is on other hosts.
    public var isControlPlane: Bool { instance == nil && discoveryError?.code == "etcd-elsewhere" }

    /// No etcd belongs beside it.
    public var holdsNoEtcd: Bool { isVerifier || isControlPlane }

    public init(
        cluster: String, node: String, enrolled: Timestamp, lastSeen: Timestamp?, connected: Bool, version: String?,
        instance: EtcdInstance?, discoveryError: FleetError?, certificate: CertificateRecord?,
        drillVersions: [String]? = nil, program: RunningProgram? = nil
    ) {
        self.cluster = cluster
        self.node = node
        self.enrolled = enrolled
        self.lastSeen = lastSeen
        self.connected = connected
        self.version = version
        self.instance = instance
        self.discoveryError = discoveryError
        self.certificate = certificate
        self.drillVersions = drillVersions
        self.program = program
    }
}

/// A client certificate that the fleet's authority issued.
public struct CertificateRecord: Codable, Sendable, Equatable {
    /// SHA-256 of the certificate (DER), lower-case hexadecimal.
    public var fingerprint: String
    /// Lower-case hexadecimal.
    public var serial: String
    public var issued: Timestamp
    public var notAfter: Timestamp
    public var revoked: Timestamp?
    /// The SHA-256 of the authority's certificate that issued it; nil where it was not put down: of the fleet's first, or read from an older coordinator.
    public var authority: String?
    /// That authority was retired, and nobody is let in with it any more. nil: no, or nobody looked.
    public var isRetired: Bool?

    public init(fingerprint: String, serial: String, issued: Timestamp, notAfter: Timestamp, revoked: Timestamp? = nil)
    {
        self.fingerprint = fingerprint
        self.serial = serial
        self.issued = issued
        self.notAfter = notAfter
        self.revoked = revoked
    }
}
