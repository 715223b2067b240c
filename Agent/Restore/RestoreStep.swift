/// The steps of a restore under the names that events, the journal and the plan use.
enum RestoreStep: String, Codable, Sendable, CaseIterable {
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

    /// A restore of several members passes from one phase to the next on all nodes together.
    enum Phase: Int, Codable, Sendable, Comparable {
        /// Nothing of the running cluster is touched.
        case prepare
        /// The old etcd goes, the new one comes.
        case switchOver
        /// The new one serves and is looked at; back is still possible.
        case verify
        /// The control plane writes to it: from here there is no way back that loses nothing.
        case commit

        static func < (a: Phase, b: Phase) -> Bool { a.rawValue < b.rawValue }
    }

    var phase: Phase {
        switch self {
        case .fetch, .checkSnapshot, .preflight, .restoreData: .prepare
        case .stopControlPlane, .stopEtcd, .switchFiles, .startEtcd: .switchOver
        case .verify: .verify
        case .startControlPlane, .finish: .commit
        }
    }
}
