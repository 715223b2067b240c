public import FleetSystem

/// Where a job stands, as the coordinator knows it.
public enum JobState: String, Codable, Sendable, CaseIterable {
    /// It waits for the node's agent to be connected.
    case queued
    /// It was sent; the agent has not answered yet.
    case delivered
    /// The agent has accepted it and answers for it.
    case running
    case succeeded
    /// It failed, and nothing is changed on the node.
    case failed
    /// A restore failed after the switch had begun; the old configuration and data are in force again.
    case rolledBack = "rolled-back"
    /// Neither forward nor back was possible: somebody has to look.
    case stuck
    /// The agent would not begin it.
    case refused
    /// It was not begun in time, and never will be.
    case expired
    /// The coordinator does not know how it ended: the agent was not heard of again, or forgot it. If the agent comes
    /// back with the outcome, that replaces this.
    case lost

    /// Whether the job still occupies its cluster.
    public var isOpen: Bool {
        switch self {
        case .queued, .delivered, .running: true
        case .succeeded, .failed, .rolledBack, .stuck, .refused, .expired, .lost: false
        }
    }
}

/// One signed copy of a job. A job gets another one, with a counter of its own, when the agent has used the counter up
/// without beginning.
public struct JobAttempt: Codable, Sendable, Equatable {
    /// From 1.
    public var number: Int
    public var counter: UInt64
    public var issued: Timestamp
    public var expires: Timestamp
    /// When it was first sent.
    public var delivered: Timestamp?

    public init(number: Int, counter: UInt64, issued: Timestamp, expires: Timestamp, delivered: Timestamp? = nil) {
        self.number = number
        self.counter = counter
        self.issued = issued
        self.expires = expires
        self.delivered = delivered
    }
}

/// A job with its history.
public struct JobRecord: Codable, Sendable, Equatable {
    public var id: String
    public var cluster: String
    public var node: String
    /// "backup", "restore", "drill", "undo", "cleanup", "replace" or one act of that, "member", "upgrade".
    public var kind: String
    /// The snapshot that a backup makes, or a restore or drill reads; empty where there is none.
    public var snapshot: String
    /// A restore that only plans.
    public var dryRun: Bool
    public var state: JobState
    public var requestedBy: String
    public var created: Timestamp
    /// When the agent accepted it.
    public var started: Timestamp?
    public var finished: Timestamp?
    /// The last sign of life of this job from its agent.
    public var lastHeard: Timestamp?
    /// What the agent reported at the end; nil where it never did.
    public var outcome: JobOutcome?
    /// Why it did not succeed.
    public var error: FleetError?
    public var attempts: [JobAttempt]
    /// In the agent's order; empty in listings.
    public var events: [JobEvent]
    /// Of a restore, as its events tell; nil in listings and for a backup.
    public var steps: [RestoreStepRecord]?
    /// The restore of several members that this job is one member's part of.
    public var restore: String?
    /// The replacement of a member that this job is one act of; its own acts are `members`, in their order.
    public var replacement: String?
    /// Of such a restore: each member's own job. Its own `state` is what became of all of them together.
    public var members: [JobRecord]?
    /// Of such a restore: what all members were told last.
    public var decision: RestoreDecision?
    /// Of such a restore: the nodes that it waits for, and until when before it is taken back. What was committed or recalled
    /// has no deadline: a member that is away for a day without a sign counts as stuck then.
    public var waitsFor: [String]?
    public var deadline: Timestamp?
    /// Of a member's job: how far it has come.
    public var reached: RestorePhase?
    /// The restore that this job undoes.
    public var undoes: String?
    /// The restore whose old directories this job removes.
    public var cleans: String?
    /// Of a restore that was committed: what can still be done with what it left. nil in listings.
    public var aftermath: RestoreAftermath?
    /// Of a dry run: who said that it may be done. nil in listings.
    public var approvals: [ApprovalRecord]?

    public init(
        id: String, cluster: String, node: String, kind: String, snapshot: String, dryRun: Bool, state: JobState,
        requestedBy: String, created: Timestamp, started: Timestamp?, finished: Timestamp?, lastHeard: Timestamp?,
        outcome: JobOutcome?, error: FleetError?, attempts: [JobAttempt], events: [JobEvent],
        steps: [RestoreStepRecord]? = nil, restore: String? = nil, members: [JobRecord]? = nil,
        decision: RestoreDecision? = nil, reached: RestorePhase? = nil
    ) {
        self.id = id
        self.cluster = cluster
        self.node = node
        self.kind = kind
        self.snapshot = snapshot
        self.dryRun = dryRun
        self.state = state
        self.requestedBy = requestedBy
        self.created = created
        self.started = started
        self.finished = finished
        self.lastHeard = lastHeard
        self.outcome = outcome
        self.error = error
        self.attempts = attempts
        self.events = events
        self.steps = steps
        self.restore = restore
        self.members = members
        self.decision = decision
        self.reached = reached
    }
}

/// One step of a restore on one node, made from the agent's events.
public struct RestoreStepRecord: Codable, Sendable, Equatable {
    public enum State: String, Codable, Sendable { case started, done, failed }

    public var node: String
    public var name: String
    public var state: State
    public var started: Timestamp?
    public var ended: Timestamp?
    public var detail: String?
    public var error: FleetError?

    public init(
        node: String, name: String, state: State, started: Timestamp?, ended: Timestamp?, detail: String?,
        error: FleetError?
    ) {
        self.node = node
        self.name = name
        self.state = state
        self.started = started
        self.ended = ended
        self.detail = detail
        self.error = error
    }
}
