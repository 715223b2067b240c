public import FleetSystem

/// One act that one agent is asked to do. It travels signed (`Envelope`): the agent executes the bytes that were
/// signed, after it has checked that they are meant for it, now, and for the first time.
public struct Job: Codable, Sendable, Equatable {
    public var id: String
    /// The one node that may execute it.
    public var node: String
    public var cluster: String
    /// Rises with every job for this node; the agent persists the last one and refuses what is not above it.
    public var counter: UInt64
    public var issued: Timestamp
    /// After this it is not begun any more. A job that was begun in time is carried to its end.
    public var expires: Timestamp
    public var operation: Operation

    public init(
        id: String, node: String, cluster: String, counter: UInt64, issued: Timestamp, expires: Timestamp,
        operation: Operation
    ) {
        self.id = id
        self.node = node
        self.cluster = cluster
        self.counter = counter
        self.issued = issued
        self.expires = expires
        self.operation = operation
    }
}

/// The typed operations. Nothing in them is a command line.
public enum Operation: Codable, Sendable, Equatable {
    case backup(Backup)
    case restore(Restore)
    case drill(Drill)
    case undo(Undo)
    case cleanup(Cleanup)
    case member(Member)
    case upgrade(Upgrade)

    public var kind: String {
        switch self {
        case .backup: "backup"
        case .restore: "restore"
        case .drill: "drill"
        case .undo: "undo"
        case .cleanup: "cleanup"
        case .member: "member"
        case .upgrade: "upgrade"
        }
    }

    public struct Backup: Codable, Sendable, Equatable {
        /// The id that the snapshot will have.
        public var snapshot: String
        public init(snapshot: String) { self.snapshot = snapshot }
    }

    public struct Restore: Codable, Sendable, Equatable {
        public var snapshot: SnapshotRecord
        /// Only plan: fetch nothing, change nothing, report the plan.
        public var dryRun: Bool
        /// Seconds that each wait of the switch may take: the container gone, etcd healthy, the apiserver ready.
        public var waitSeconds: Int

        /// What `waitSeconds` may be: shorter ones fail on a healthy node, longer ones leave a cluster down for too long.
        public static let waitRange = 10...3600
        /// All members, where there are several; nil for a cluster of one.
        public var group: RestoreGroup?
        /// What is there is saved first; nil where nobody wants that.
        public var safety: SafetySnapshot?
        /// How far revisions go ahead of the snapshot's, the same on all members; nil where nobody wants that.
        public var bump: RevisionBump?

        public init(snapshot: SnapshotRecord, dryRun: Bool, waitSeconds: Int, group: RestoreGroup? = nil) {
            self.snapshot = snapshot
            self.dryRun = dryRun
            self.waitSeconds = waitSeconds
            self.group = group
        }
    }
}

/// How a job ended on its node.
public struct JobOutcome: Codable, Sendable, Equatable {
    public enum Result: String, Codable, Sendable {
        case succeeded
        /// It failed and what it had begun to change was put back; for a backup, nothing was ever changed.
        case failed
        /// A restore failed after the switch had begun; the old configuration is in force again. Whether etcd was seen to
        /// serve it is in `unhealthy`.
        case rolledBack = "rolled-back"
        /// Neither forward nor back was possible: somebody has to look, the error says where and how.
        case stuck
        /// It was never begun: the signature, the addressee, the time or the counter was wrong, or it is not possible now.
        case refused
    }

    public var result: Result
    public var error: FleetError?
    /// One line for people: "restored 20261124-065510-k3f9; old data kept in /var/lib/etcd".
    public var summary: String
    /// The plan of a restore, made in a dry run too.
    public var plan: RestorePlan?
    /// Of a drill that came as far as to restore.
    public var drill: DrillReport?
    /// Of a restore that went back: what was healthy before it and could not be seen to be so again. nil: nothing.
    public var unhealthy: String?
    /// What else people should know of a restore that went through, and what is left for them to do: one sentence each,
    /// the same on like members. nil: nothing.
    public var notes: [String]?
    /// Of an act of a member's replacement: what etcd said behind it, also where the act failed.
    public var member: MemberReport?

    public init(
        result: Result, error: FleetError? = nil, summary: String, plan: RestorePlan? = nil, drill: DrillReport? = nil,
        unhealthy: String? = nil, notes: [String]? = nil, member: MemberReport? = nil
    ) {
        self.result = result
        self.error = error
        self.summary = summary
        self.plan = plan
        self.drill = drill
        self.unhealthy = unhealthy
        self.notes = notes
        self.member = member
    }
}

/// Something that happened in a job, numbered from 1 by the agent. The agent keeps an event until the coordinator
/// has acknowledged it, and sends it again after a lost connection; the coordinator takes each number once.
public struct JobEvent: Codable, Sendable, Equatable {
    public enum Kind: String, Codable, Sendable {
        case accepted
        case stepStarted = "step-started"
        case stepDone = "step-done"
        case stepFailed = "step-failed"
        case note, outcome
        /// A member of several has ended `phase` and waits for the others; behind `verify` with its `proof`.
        case reached
        /// It can't go on, `error` says why, and it waits for the restore to be taken back.
        case held
        /// What the coordinator has decided about a restore of several members, in `detail`; numbered by it.
        case decided
        /// How far a transfer is, in `detail` ("12.0 MB of 40.0 MB"): told by the coordinator to those who watch, recorded
        /// nowhere, without a number of its own (0).
        case progress
    }

    public var job: String
    public var sequence: Int
    public var time: Timestamp
    public var kind: Kind
    /// The step's name for the step kinds: "save", "stream", "stop-etcd".
    public var step: String?
    public var detail: String?
    public var error: FleetError?
    public var outcome: JobOutcome?
    public var phase: RestorePhase?
    public var proof: MemberProof?

    public init(
        job: String, sequence: Int, time: Timestamp, kind: Kind, step: String? = nil, detail: String? = nil,
        error: FleetError? = nil, outcome: JobOutcome? = nil, phase: RestorePhase? = nil, proof: MemberProof? = nil
    ) {
        self.job = job
        self.sequence = sequence
        self.time = time
        self.kind = kind
        self.step = step
        self.detail = detail
        self.error = error
        self.outcome = outcome
        self.phase = phase
        self.proof = proof
    }
}

/// What a restore will do on a node, exactly, step by step, before anything is done.
public struct RestorePlan: Codable, Sendable, Equatable {
    /// One file that the switch changes, whole before and whole after.
    public struct FileChange: Codable, Sendable, Equatable {
        public var path: String
        /// nil: the file does not exist before (a drop-in that is added).
        public var before: String?
        public var after: String
        /// The file goes: a drop-in that a restore had added. `after` is empty then.
        public var isRemoved: Bool?
        /// nil: there is no file afterwards.
        public var result: String? { isRemoved == true ? nil : after }

        public init(path: String, before: String?, after: String?) {
            self.path = path
            self.before = before
            self.after = after ?? ""
            if after == nil { isRemoved = true }
        }
    }

    public struct Step: Codable, Sendable, Equatable {
        /// "stop-etcd"; the names are the ones that events and the journal use.
        public var name: String
        /// "stop etcd.service and be sure that its process is gone".
        public var description: String
        /// Of several members: what all of them have to have come to before any begins the next. nil from older agents.
        public var phase: RestorePhase?

        public init(name: String, description: String, phase: RestorePhase? = nil) {
            self.name = name
            self.description = description
            self.phase = phase
        }
    }

    public var cluster: String
    public var node: String
    /// Empty where none is restored: a member that is replaced gets its data from the others.
    public var snapshot: String
    public var topology: Topology
    public var oldDataDir: String
    public var newDataDir: String
    public var oldWalDir: String?
    public var newWalDir: String?
    public var clusterToken: String
    /// All members of the restored cluster, as etcd's own option has them.
    public var initialCluster: String?
    /// What this member and the cluster will be, lower-case hexadecimal.
    public var memberID: String?
    public var clusterID: String?
    /// Where manifests are while they are out of the kubelet's directory; nil where there are none.
    public var holdingDirectory: String?
    public var changes: [FileChange]
    public var steps: [Step]
    /// What the old data says it is, read off it: what an undo has to find there again. nil where it says nothing.
    public var oldMemberID: String?
    public var oldClusterID: String?
    /// What etcd was at when the plan was made; nil where it did not answer.
    public var liveRevision: Int64?
    /// The directories that are kept, whole: a volume's where etcd's data is below one.
    public var oldDirectories: [String]?
    /// Of an undo: this node's job of the restore that is undone.
    public var undoes: String?
    /// What this node saves before anything is touched, if etcd answers.
    public var safetySnapshot: String?
    /// What becomes of revisions, and what follows for those who watch: one line for people.
    public var revisions: String?

    public init(
        cluster: String, node: String, snapshot: String, topology: Topology, oldDataDir: String, newDataDir: String,
        oldWalDir: String?, newWalDir: String?, clusterToken: String, initialCluster: String? = nil,
        memberID: String? = nil, clusterID: String? = nil, holdingDirectory: String? = nil, changes: [FileChange],
        steps: [Step]
    ) {
        self.cluster = cluster
        self.node = node
        self.snapshot = snapshot
        self.topology = topology
        self.oldDataDir = oldDataDir
        self.newDataDir = newDataDir
        self.oldWalDir = oldWalDir
        self.newWalDir = newWalDir
        self.clusterToken = clusterToken
        self.initialCluster = initialCluster
        self.memberID = memberID
        self.clusterID = clusterID
        self.holdingDirectory = holdingDirectory
        self.changes = changes
        self.steps = steps
    }
}
