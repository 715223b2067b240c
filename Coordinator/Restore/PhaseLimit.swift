import FleetProtocol

/// How long all members together may take to end a phase before the restore is taken back.
enum PhaseLimit {
    /// A node that gives up by itself says why, so it gets the time to.
    ///
    /// - Parameter wait: what one wait on a node may take.
    /// - Returns: nil for the last, behind which there is no way back.
    static func limit(_ phase: RestorePhase, wait: Int) -> Duration? {
        switch phase {
        // A large snapshot over a slow line: the old cluster serves meanwhile.
        case .prepare: .seconds(3600)
        // A step has two waits at the most.
        case .quiesce, .stop, .verify: .seconds(2 * wait + 15)
        // A kubelet that has not noticed in half a wait is pushed, which takes half a minute at the least, and is waited
        // for once more.
        case .start: .seconds(wait / 2 + max(wait, 30) + wait + 15)
        case .commit: nil
        }
    }
}
