private import Glibc

/// A switch for drills: with `FLEET_AGENT_CRASH_AT=stop-etcd:before` (or `:after`) in its environment the agent kills
/// itself at exactly that point of the next job that comes by, `undo-switch-files:before` on the way back. What
/// such a crash leaves behind is what a power cut at that moment would leave; the next start goes on from it.
///
/// "before" is after the journal says that the step began and before it does anything; "after" is when it has done all
/// and the journal does not say so yet.
struct FaultInjection: Sendable {
    enum Moment: String, Sendable { case before, after }
    private let point: String?

    /// Reads the environment once.
    init() { point = getenv("FLEET_AGENT_CRASH_AT").map { String(cString: $0) } }

    init(point: String?) { self.point = point }

    /// - Parameter step: "switch-files", "undo-switch-files", of a backup "save"; "gate-stop" where a member of several
    ///   tells that it has ended that phase.
    func passing(_ step: String, _ moment: Moment) {
        guard point == "\(step):\(moment.rawValue)" else { return }
        kill(getpid(), SIGKILL)
        pause()
    }
}
