internal import FleetProtocol

/// What there is to say of a step, besides that it was done or taken back.
struct StepReport: Sendable, Equatable {
    /// For people who follow it.
    var note: String?
    /// What the outcome says again.
    var remark: String?
    /// On the way back: what was healthy before and could not be seen to be so again.
    var unhealthy: String?
}

/// The steps of a restore under the names that events, the journal and the plan use.
enum RestoreStep: String, Codable, Sendable, CaseIterable {
    case safetySnapshot = "safety-snapshot"
    case fetch
    case checkSnapshot = "check-snapshot"
    case preflight
    case restoreData = "restore-data"
    case stopControlPlane = "stop-control-plane"
    case stopEtcd = "stop-etcd"
    case switchFiles = "switch-files"
    case startEtcd = "start-etcd"
    case verify
    case startControlPlane = "start-control-plane"
    case finish

    /// Whether there is something to take back; a safety snapshot stays, whatever becomes of the restore.
    var leavesTraces: Bool {
        switch self {
        case .safetySnapshot, .checkSnapshot, .preflight, .verify, .finish: false
        case .fetch, .restoreData, .stopControlPlane, .stopEtcd, .switchFiles, .startEtcd, .startControlPlane: true
        }
    }

    /// A restore of several members passes from one phase to the next on all nodes together.
    var phase: RestorePhase {
        switch self {
        case .safetySnapshot, .fetch, .checkSnapshot, .preflight, .restoreData: .prepare
        case .stopControlPlane: .quiesce
        case .stopEtcd: .stop
        case .switchFiles, .startEtcd: .start
        case .verify: .verify
        case .startControlPlane, .finish: .commit
        }
    }
}
