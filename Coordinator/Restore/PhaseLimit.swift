import FleetProtocol

/// How long all members together may take to end a phase before the restore is taken back.
enum PhaseLimit {
    /// A node that gives up by itself says why, so it gets the time to.
    ///
    /// - Returns: nil for the last, behind which there is no way back.
    static func limit(_ phase: RestorePhase, of restore: Operation.Restore) -> Duration? {
        let wait = restore.waitSeconds
        switch phase {
        case .prepare: return preparation(restore)
        // A step has two waits at the most.
        case .quiesce: return .seconds(2 * wait + margin)
        // And the hash of a large database behind it may take one more.
        case .verify: return .seconds(3 * wait + margin)
        // The unit's own limit for a stop, which is 90 s unless it says otherwise, and a wait until nothing of it is left.
        case .stop: return .seconds(max(wait, 110) + wait + margin)
        // A kubelet that has not noticed in half a wait is pushed, which takes half a minute at the least, and is waited
        // for once more.
        case .start: return .seconds(wait / 2 + max(wait, 30) + wait + margin)
        case .commit: return nil
        }
    }

    private static let margin = 15

    /// The old cluster serves meanwhile: an hour, and what a line of 5 MB/s takes to bring the snapshot to all members,
    /// where there is one, after the safety snapshot has come over it.
    private static func preparation(_ restore: Operation.Restore) -> Duration {
        let copies = Int64(restore.group?.members.count ?? 1) + 1
        return .seconds(3600 + copies * (restore.snapshot.size / 5_000_000))
    }
}
