/// One cell of the matrix: something fails on a member of one role, or on the coordinator, when that member has come to
/// a point of the restore.
struct FaultCell: Sendable, CustomStringConvertible {
    enum Fault: String, Sendable, CaseIterable {
        case agentKilled = "agent killed"
        case coordinatorKilled = "coordinator killed"
        case etcdKilled = "etcd killed"
        case cableShort = "cable out 5 s"
        case cableLong = "cable out past the deadline"
        case powerCut = "power cut"
        case agentDiskFull = "agent's disk full"
        case coordinatorDiskFull = "coordinator's disk full"
        case downloadFlipped = "flipped bit in the download"
        case configurationEdited = "configuration edited meanwhile"
        case startRefused = "systemd refuses to start etcd"
        case kubeletDeaf = "kubelet misses changes"
        case kubeletStopped = "kubelet stopped past the deadline"
        case newDirectoryFull = "new directory's disk full"
        case certificateExpired = "etcd's certificate expires"
        case clockAhead = "agent's clock two days ahead"
        case clockBehind = "agent's clock two days behind"
    }

    /// What the members are laid out like.
    struct Ground: Sendable, Hashable, CustomStringConvertible {
        var description: String
        /// As `ops/lab cluster` wants it.
        var layout: [String]
        /// The file that names the data directory.
        var file: String
        /// The directory of the beginning; a restored one is beside it.
        var data: String

        static let kubespray = Ground(
            description: "external, kubespray's layout",
            layout: ["--kind", "external", "--layout", "kubespray"], file: "/etc/etcd.env", data: "/var/lib/etcd")
        /// Its data has a disk of its own, for three directories of 130 MB.
        static let debian = Ground(
            description: "external, Debian's layout on a disk of its own",
            layout: ["--kind", "external", "--layout", "debian", "--disk", "/var/lib/etcd=640M"],
            file: "/etc/default/etcd", data: "/var/lib/etcd/default")
        static let external = [kubespray, debian]
        /// Control planes of kubeadm: their kubelets have a part in it.
        static let stacked = Ground(
            description: "stacked", layout: ["--kind", "stacked"], file: "/etc/kubernetes/manifests/etcd.yaml",
            data: "/var/lib/etcd")
        static let all = external + [stacked]
    }

    enum Role: String, Sendable, CaseIterable { case leader, follower }

    /// What the restore has to come to: where only one way out is safe, the other is a finding.
    enum Expected: Sendable { case restored, old, either }

    var fault: Fault
    /// As in `FLEET_AGENT_HOLD_IN`: "stop-etcd:before".
    var point: String
    var role: Role
    var expected: Expected
    var ground: Ground

    var description: String { "\(fault.rawValue) at \(point) on the \(role.rawValue)" }

    /// From the first step to the last, the gates between the phases included.
    static let points = [
        "fetch:before", "check-snapshot:before", "preflight:before", "restore-data:after", "gate-prepare:after",
        "stop-etcd:before", "stop-etcd:after", "switch-files:after", "start-etcd:before", "start-etcd:after",
        "verify:before", "gate-verify:before", "finish:before",
    ]
    /// One in each phase and two around the switch, for what takes long.
    private static let fewPoints = [
        "preflight:before", "stop-etcd:after", "switch-files:after", "start-etcd:after", "verify:before",
        "finish:before",
    ]
    /// While it runs.
    private static let etcdPoints = ["preflight:before", "stop-etcd:before", "start-etcd:after", "verify:before"]

    static let all: [FaultCell] = {
        var cells: [FaultCell] = []
        /// - Parameter ground: nil for one after the other of the external ones.
        func add(
            _ fault: Fault, _ points: [String], _ roles: [Role], on ground: Ground? = nil,
            _ expected: (String) -> Expected
        ) {
            for (index, point) in points.enumerated() {
                for (number, role) in roles.enumerated() {
                    // Each role has its turn on each of them.
                    let next = Ground.external[(index + number) % Ground.external.count]
                    cells.append(
                        FaultCell(
                            fault: fault, point: point, role: role, expected: expected(point), ground: ground ?? next))
                }
            }
        }
        // Who is back before the deadline goes on where it was.
        add(.agentKilled, points, Role.allCases) { _ in .restored }
        add(.coordinatorKilled, points, [.follower]) { _ in .restored }
        add(.etcdKilled, etcdPoints, Role.allCases) { _ in .restored }
        add(.cableShort, fewPoints, [.follower]) { _ in .restored }
        // Behind the commit there is no way back; before it, all go back without the one that is away.
        add(.cableLong, fewPoints, [.follower]) { point in
            // Much may have to be fetched in the first phase, so it has patience.
            point == "finish:before" ? .restored : point == "preflight:before" ? .either : .old
        }
        add(.powerCut, fewPoints, Role.allCases) { $0 == "finish:before" ? .restored : .either }
        add(.agentDiskFull, ["fetch:before"], [.follower]) { _ in .old }
        add(.agentDiskFull, ["stop-etcd:before"], [.follower]) { _ in .either }
        add(.coordinatorDiskFull, ["preflight:before", "start-etcd:after"], [.follower]) { _ in .either }
        add(.downloadFlipped, ["check-snapshot:before"], Role.allCases) { _ in .old }
        add(.configurationEdited, ["restore-data:after"], [.follower]) { _ in .old }
        add(.startRefused, ["stop-etcd:before"], Role.allCases) { _ in .old }
        add(.newDirectoryFull, ["fetch:before", "restore-data:before"], [.follower], on: .debian) { _ in .old }
        add(.newDirectoryFull, ["start-etcd:before"], Role.allCases, on: .debian) { _ in .either }
        // Behind the commit it is as little of the restore's business as at any other time.
        add(.certificateExpired, ["restore-data:after", "stop-etcd:after", "finish:before"], Role.allCases) { point in
            point == "finish:before" ? .restored : .old
        }
        // Who has a job already needs no clock for it.
        add(.clockAhead, ["preflight:before", "switch-files:after", "finish:before"], [.follower]) { _ in .restored }
        // No certificate is valid yet: as good as a pulled cable.
        add(.clockBehind, ["stop-etcd:after", "finish:before"], [.follower]) { point in
            point == "finish:before" ? .restored : .old
        }
        // A kubelet that only sees what comes and goes is pushed; one that does nothing is waited for, then all go back.
        add(.kubeletDeaf, ["preflight:before"], Role.allCases, on: .stacked) { _ in .restored }
        add(.kubeletStopped, ["stop-etcd:before", "switch-files:after"], Role.allCases, on: .stacked) { _ in .old }
        add(.configurationEdited, ["restore-data:after"], Role.allCases, on: .stacked) { _ in .old }
        add(.agentKilled, fewPoints, [.leader], on: .stacked) { _ in .restored }
        add(.coordinatorKilled, ["stop-etcd:after", "verify:before"], [.leader], on: .stacked) { _ in .restored }
        add(.etcdKilled, ["start-etcd:after"], Role.allCases, on: .stacked) { _ in .restored }
        add(.cableLong, ["stop-etcd:after", "finish:before"], [.leader], on: .stacked) { point in
            point == "finish:before" ? .restored : .old
        }
        add(.powerCut, fewPoints, [.leader], on: .stacked) { $0 == "finish:before" ? .restored : .either }
        return cells
    }()
}
