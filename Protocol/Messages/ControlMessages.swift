public import FleetSystem

/// What operators ask of the coordinator, from `fleetctl`. As with agents, a method has one request and one reply
/// type; listings may be longer than a frame and come in pieces.
public enum ControlMethod {
    public static let addCluster = "cluster.add"
    public static let listClusters = "cluster.list"
    public static let showCluster = "cluster.show"
    public static let acceptCluster = "cluster.accept"
    public static let agentToken = "agent.token"
    public static let listAgents = "agent.list"
    public static let operatorToken = "operator.token"
    public static let listOperators = "operator.list"
    public static let revokeAgent = "agent.revoke"
    public static let revokeOperator = "operator.revoke"
    public static let startBackup = "backup.start"
    public static let previewRestore = "restore.preview"
    public static let startRestore = "restore.start"
    public static let startDrill = "drill.start"
    public static let listJobs = "job.list"
    public static let showJob = "job.show"
    public static let watchJob = "job.watch"
    public static let listSnapshots = "snapshot.list"
    public static let showSnapshot = "snapshot.show"
    public static let exportSnapshot = "snapshot.export"
    public static let auditLog = "audit.log"
    public static let verifyAudit = "audit.verify"
    public static let status = "status"
}

/// A request that is no more than a name: of a cluster, a job, a snapshot.
public struct NameRequest: Codable, Sendable {
    public var name: String
    public init(name: String) { self.name = name }
}

/// Which etcd a cluster is now, as somebody says who knows.
public struct AcceptRequest: Codable, Sendable {
    public var cluster: String
    /// etcd's own cluster id, lower-case hexadecimal.
    public var id: String
    public init(cluster: String, id: String) {
        self.cluster = cluster
        self.id = id
    }
}

/// A listing, all of it or one cluster's, the newest `limit` where a limit makes sense.
public struct ListRequest: Codable, Sendable {
    public var cluster: String?
    public var limit: Int?
    /// Of the audit log: only what happened from here on. An older coordinator gives what was before, too.
    public var since: Timestamp?
    public init(cluster: String? = nil, limit: Int? = nil, since: Timestamp? = nil) {
        self.cluster = cluster
        self.limit = limit
        self.since = since
    }
}

public struct TokenRequest: Codable, Sendable {
    /// The cluster for an agent's token, the operator's name for an operator's.
    public var name: String
    public var validSeconds: Int
    public init(name: String, validSeconds: Int) {
        self.name = name
        self.validSeconds = validSeconds
    }

    /// - Throws: `usage`.
    public func check() throws(FleetError) {
        guard (60...(30 * 86_400)).contains(validSeconds) else {
            throw FleetError(
                .usage, "a token is valid for a minute at least and 30 days at most",
                hint: "give --valid, for instance --valid 2h")
        }
    }
}

public struct TokenReply: Codable, Sendable {
    /// `JoinToken.text`; shown once, kept nowhere.
    public var token: String
    public var expires: Timestamp
    public init(token: String, expires: Timestamp) {
        self.token = token
        self.expires = expires
    }
}

/// Revokes all certificates of an agent or an operator.
public struct RevokeRequest: Codable, Sendable {
    /// The node's cluster for an agent; nil for an operator.
    public var cluster: String?
    /// The node's or the operator's name.
    public var name: String
    public init(cluster: String? = nil, name: String) {
        self.cluster = cluster
        self.name = name
    }
}

public struct RevokeReply: Codable, Sendable {
    /// How many certificates stood until now.
    public var certificates: Int
    public init(certificates: Int) { self.certificates = certificates }
}

public struct BackupRequest: Codable, Sendable {
    public var cluster: String
    /// Nodes that were tried just now: another member has the same data.
    public var avoid: [String]?
    public init(cluster: String, avoid: [String]? = nil) {
        self.cluster = cluster
        self.avoid = avoid
    }
}

public struct RestoreRequest: Codable, Sendable {
    public var cluster: String
    /// A snapshot's id or a unique beginning of it, "latest", or a time: the newest at or before it.
    public var at: String
    /// Only plan.
    public var dryRun: Bool
    /// Allows a snapshot of another cluster.
    public var fromOtherCluster: Bool
    /// Seconds that each wait of the switch may take on the node.
    public var waitSeconds: Int
    /// Restore without saving first what is there. nil: no.
    public var withoutSafetySnapshot: Bool?
    /// Leave revisions as the snapshot has them. nil: no.
    public var withoutBump: Bool?

    public init(cluster: String, at: String, dryRun: Bool, fromOtherCluster: Bool, waitSeconds: Int) {
        self.cluster = cluster
        self.at = at
        self.dryRun = dryRun
        self.fromOtherCluster = fromOtherCluster
        self.waitSeconds = waitSeconds
    }
}

/// What a restore would replace and with what: shown before the question.
public struct RestorePreview: Codable, Sendable {
    public var snapshot: SnapshotEntry
    public var cluster: ClusterRecord
    /// Of all members.
    public var agents: [AgentRecord]
    /// How what would be replaced came not to go on from the snapshot; nil where it does, or an older coordinator answers.
    public var leftBy: Departure?
    /// Nodes of the cluster's control planes whose agents have no etcd beside them; nil from older coordinators.
    public var controlPlanes: [String]?
    public init(snapshot: SnapshotEntry, cluster: ClusterRecord, agents: [AgentRecord]) {
        self.snapshot = snapshot
        self.cluster = cluster
        self.agents = agents
    }
}

public struct ClusterDetail: Codable, Sendable {
    public var cluster: ClusterRecord
    public var agents: [AgentRecord]
    /// Its jobs that are not finished; nil where the coordinator is older than this field.
    public var openJobs: [JobRecord]?

    public init(cluster: ClusterRecord, agents: [AgentRecord], openJobs: [JobRecord]? = nil) {
        self.cluster = cluster
        self.agents = agents
        self.openJobs = openJobs
    }
}

/// The authority that vouches for everybody, and who has not come over from the one before.
public struct AuthorityStanding: Codable, Sendable, Equatable {
    /// SHA-256 of its certificate, lower-case hexadecimal.
    public var fingerprint: String
    public var notAfter: Timestamp
    /// That of the one before, until it is retired.
    public var former: String?
    /// Who has only the former one's certificates: agents as CLUSTER/NODE.
    public var agents: [String]
    public var operators: [String]
    public init(
        fingerprint: String, notAfter: Timestamp, former: String? = nil, agents: [String] = [], operators: [String] = []
    ) {
        self.fingerprint = fingerprint
        self.notAfter = notAfter
        self.former = former
        self.agents = agents
        self.operators = operators
    }
}

/// The whole fleet on one screen.
public struct FleetStatus: Codable, Sendable {
    public var version: String
    public var time: Timestamp
    public var clusters: [ClusterRecord]
    public var agents: [AgentRecord]
    /// Jobs that are not finished.
    public var openJobs: [JobRecord]
    /// Bytes that are free where snapshots are stored.
    public var storeFree: Int64
    /// Bytes that the stored snapshots take there.
    public var storeUsed: Int64
    /// For who may not see the whole fleet: of these two only whether it is full is told.
    public var storeIsHidden: Bool?
    public var audit: AuditVerdict

    /// What is due by a policy and can't begin, and what is held back for long.
    public var waiting: [WaitingTask]?
    /// What is due and has its turn to come; nil from older coordinators.
    public var queue: [WaitingTask]?
    /// When the newest copy of the coordinator itself was made; nil where there is none, or an older coordinator answers.
    public var coordinatorCopy: Timestamp?
    /// Why the coordinator can't make copies of itself.
    public var coordinatorCopyProblem: FleetError?
    /// Until when nothing is deleted by itself; nil where retention is applied as ever.
    public var retentionWaits: Timestamp?
    /// Of policies that nobody can follow; for who does not know the next field.
    public var policyProblems: [FleetError]?
    /// The same with their names; nil from older coordinators.
    public var unusablePolicies: [UnusablePolicy]?
    /// Who is told of alerts.
    public var alertTargets: [AlertTarget]?
    /// Nobody is told of anything, since this coordinator was put back from a copy.
    public var alertsAreHeld: Bool?
    /// nil from older coordinators, and for who may not see the whole fleet.
    public var authority: AuthorityStanding?
    /// For how many seconds the coordinator has been at work; nil from older coordinators.
    public var uptime: Int?
    /// When the coordinator before this one last heard of any agent, give or take minutes; nil where that is not known.
    public var lastHeardBefore: Timestamp?

    public init(
        version: String, time: Timestamp, clusters: [ClusterRecord], agents: [AgentRecord], openJobs: [JobRecord],
        storeFree: Int64, storeUsed: Int64, audit: AuditVerdict
    ) {
        self.version = version
        self.time = time
        self.clusters = clusters
        self.agents = agents
        self.openJobs = openJobs
        self.storeFree = storeFree
        self.storeUsed = storeUsed
        self.audit = audit
    }

    /// Less than this should never be free in the store.
    public var storeReserve: Int64 { max(storeUsed / 10, 1 << 30) }

    public mutating func hideStore() {
        (storeFree, storeUsed) = (storeFree < storeReserve ? 0 : .max, 0)
        storeIsHidden = true
    }
}
