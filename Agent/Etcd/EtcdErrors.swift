public import FleetSystem

extension FleetError.Code {
    /// No etcdctl or etcdutl on the node that can do what is asked.
    public static let noTool: Self = "no-tool"
    /// etcd does not answer, has no leader, or says itself that it is not healthy.
    public static let unhealthy: Self = "unhealthy"
    /// What was asked for is of a revision that etcd has compacted.
    public static let revisionCompacted: Self = "revision-compacted"
    /// etcd has found its own data to be inconsistent.
    public static let corruptAlarm: Self = "corrupt-alarm"
    public static let certificateExpired: Self = "certificate-expired"
    public static let learner: Self = "learner"
    /// A snapshot file is not what it must be: cut off, changed, or not the one that was recorded.
    public static let badSnapshot: Self = "bad-snapshot"
}
