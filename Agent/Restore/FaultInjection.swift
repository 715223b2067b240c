internal import FleetSystem
private import Glibc

/// Switches for drills, by the name of a point: `stop-etcd:before` (or `:after`), `undo-switch-files:before` on the way
/// back, of a backup `save:before`. "before" is after the journal says that the step began and before it does anything;
/// "after" is when it has done all and the journal does not say so yet. `move-manifest-out:after` is in the middle of a
/// step: etcd's manifest is out of the kubelet's directory and not yet back.
///
/// - With `FLEET_AGENT_CRASH_AT=POINT` in its environment the agent kills itself there. What such a crash leaves behind is
///   what a power cut at that moment would leave; the next start goes on from it.
/// - With `FLEET_AGENT_HOLD_IN=DIRECTORY` it stays at each point that a file in that directory is named after, alive and
///   connected, so that something else can fail meanwhile. It renames the file to `POINT.held` and goes on when that is
///   removed, after two minutes at the latest.
struct FaultInjection: Sendable {
    enum Moment: String, Sendable { case before, after }

    private let crashPoint: String?
    private let holds: String?
    private static let longestHold = 120

    /// Reads the environment once.
    init() {
        func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
        self.init(crashPoint: variable("FLEET_AGENT_CRASH_AT"), holds: variable("FLEET_AGENT_HOLD_IN"))
    }

    init(crashPoint: String? = nil, holds: String?) {
        self.crashPoint = crashPoint
        self.holds = holds
    }

    /// No switch is on.
    static let none = FaultInjection(holds: nil)

    /// - Parameter step: "switch-files", "undo-switch-files", of a backup "save"; "gate-stop" where a member of several
    ///   tells that it has ended that phase.
    func passing(_ step: String, _ moment: Moment) async {
        guard crashPoint != nil || holds != nil else { return }
        try? await onDisk { () throws(FleetError) in pass(step, moment) }
    }

    /// The same on a thread that may block.
    func pass(_ step: String, _ moment: Moment) {
        let point = "\(step):\(moment.rawValue)"
        if point == crashPoint {
            kill(getpid(), SIGKILL)
            pause()
        }
        guard let holds, FileSystem.exists("\(holds)/\(point)") else { return }
        let held = "\(holds)/\(point).held"
        do throws(FleetError) {
            try FileSystem.rename("\(holds)/\(point)", to: held)
            _ = try Waiting.until(Self.longestHold) { () throws(FleetError) in !FileSystem.exists(held) }
        } catch { return }
    }
}
