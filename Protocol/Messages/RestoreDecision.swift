public import FleetSystem

/// The parts of a restore that all members of a cluster pass together: none begins one before all have ended the one
/// before it, and the coordinator has said so.
public enum RestorePhase: String, Codable, Sendable, CaseIterable, Comparable {
    /// Nothing of the running cluster is touched.
    case prepare
    /// The control planes go: nobody writes any more.
    case quiesce
    /// The old etcds go.
    case stop
    /// The new ones come.
    case start
    /// They are looked at as a cluster; back is still possible.
    case verify
    /// The control planes write to it: from here there is no way back that loses nothing.
    case commit

    private var position: Int { Self.allCases.firstIndex(of: self)! }

    public static func < (a: RestorePhase, b: RestorePhase) -> Bool { a.position < b.position }

    /// nil after the last.
    public var next: RestorePhase? { Self.allCases.first { $0 > self } }
}

/// What the coordinator has decided about a restore of several members. Each says all that was decided before it: a
/// node that misses some is right with the last.
public enum RestoreDecision: Codable, Sendable, Equatable {
    /// Everything up to this phase may be done.
    case proceed(RestorePhase)
    /// Everything is taken back. Never follows `proceed(.commit)`, and nothing follows it.
    case recall(FleetError)
}

/// The signed form of a decision: like a job it is for one node, and once. Unlike a job it does not expire: none that was
/// decided is ever wrong later, and a node whose clock is wrong after a reboot must learn it all the same.
public struct JobDecision: Codable, Sendable, Equatable {
    /// The member's own job.
    public var job: String
    public var node: String
    public var cluster: String
    /// From the same row of counters as jobs.
    public var counter: UInt64
    public var decision: RestoreDecision

    public init(
        job: String, node: String, cluster: String, counter: UInt64, decision: RestoreDecision
    ) {
        self.job = job
        self.node = node
        self.cluster = cluster
        self.counter = counter
        self.decision = decision
    }
}

public struct DecideRequest: Codable, Sendable {
    public var envelope: Envelope
    public init(envelope: Envelope) { self.envelope = envelope }
}

public struct DecideReply: Codable, Sendable {
    /// false: this agent never began the job, and now never will.
    public var begun: Bool
    public init(begun: Bool) { self.begun = begun }
}
