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
