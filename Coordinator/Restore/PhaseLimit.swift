import FleetProtocol

/// How long all members together may take to end a phase before the restore is taken back.
enum PhaseLimit {
    /// - Parameter wait: what one wait on a node may take. A step has two of them at the most, and a node that gives up
    ///   by itself says why, so it gets the time to.
    /// - Returns: nil for the last, behind which there is no way back.
    static func limit(_ phase: RestorePhase, wait: Int) -> Duration? {
        switch phase {
        // A large snapshot over a slow line: the old cluster serves meanwhile.
        case .prepare: .seconds(3600)
        case .quiesce, .stop, .start, .verify: .seconds(2 * wait + 15)
        case .commit: nil
        }
    }
}
