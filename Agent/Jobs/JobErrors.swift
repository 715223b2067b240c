public import FleetSystem

/// Why a job is refused, besides a bad signature.
extension FleetError.Code {
    public static let wrongNode: Self = "wrong-node"
    public static let expiredJob: Self = "expired-job"
    public static let replayedJob: Self = "replayed-job"
    /// A job was cut off by the agent's own end before it changed anything.
    public static let interrupted: Self = "interrupted"
}
