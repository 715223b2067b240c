public import FleetSystem

public enum AuditOutcome: String, Codable, Sendable {
    case ok
    /// A rule forbade it.
    case refused
    /// It was allowed and went wrong.
    case failed
}

/// One event of the audit log. Its JSON, keys sorted, is the body that the chain of hashes covers.
public struct AuditEvent: Codable, Sendable, Equatable {
    /// From 1, without a gap.
    public var sequence: Int64
    public var time: Timestamp
    /// "operator:alice", "agent:cluster-a/node-1", "root", "coordinator".
    public var actor: String
    /// "cluster.add", "job.create", "snapshot.store".
    public var action: String
    public var cluster: String?
    /// What was acted on: a job's or a snapshot's id, a node's or an operator's name.
    public var subject: String?
    public var outcome: AuditOutcome
    /// What else is worth knowing; never a secret.
    public var detail: [String: String]

    public init(
        sequence: Int64, time: Timestamp, actor: String, action: String, cluster: String?, subject: String?,
        outcome: AuditOutcome, detail: [String: String]
    ) {
        self.sequence = sequence
        self.time = time
        self.actor = actor
        self.action = action
        self.cluster = cluster
        self.subject = subject
        self.outcome = outcome
        self.detail = detail
    }
}

/// An event with its place in the chain.
public struct AuditRecord: Codable, Sendable, Equatable {
    public var event: AuditEvent
    /// Lower-case hexadecimal; 64 zeros before the first.
    public var previous: String
    public var hash: String

    public init(event: AuditEvent, previous: String, hash: String) {
        self.event = event
        self.previous = previous
        self.hash = hash
    }
}

/// What a walk along the whole chain found.
public struct AuditVerdict: Codable, Sendable, Equatable {
    /// The first place where the chain does not hold.
    public struct Break: Codable, Sendable, Equatable {
        public enum Kind: String, Codable, Sendable {
            /// The event's bytes are not the ones that were hashed.
            case edited
            /// An event before this one is not there.
            case removed
            /// The event does not stand where it was written, or not after the event that it followed.
            case reordered
            /// The last events are not there: the head that is recorded apart is further on.
            case truncated
            /// Events follow the recorded head, or the head is not there at all.
            case head
        }
        public var sequence: Int64
        public var kind: Kind
        public var message: String

        public init(sequence: Int64, kind: Kind, message: String) {
            self.sequence = sequence
            self.kind = kind
            self.message = message
        }
    }

    /// Events that were walked, up to the break.
    public var events: Int64
    /// Hash of the last of them.
    public var head: String
    public var firstBreak: Break?
    /// What is odd and breaks nothing: times that go back.
    public var findings: [String]

    public var isIntact: Bool { firstBreak == nil }

    public init(events: Int64, head: String, firstBreak: Break?, findings: [String]) {
        self.events = events
        self.head = head
        self.firstBreak = firstBreak
        self.findings = findings
    }
}
