public import FleetSystem

/// Why a job is refused.
extension FleetError.Code {
    public static let badSignature: Self = "bad-signature"
    public static let wrongNode: Self = "wrong-node"
    public static let expiredJob: Self = "expired-job"
    public static let replayedJob: Self = "replayed-job"
    /// The node is at another job.
    public static let busy: Self = "busy"
    /// A backup was cut off by the agent's own end.
    public static let interrupted: Self = "interrupted"
}
