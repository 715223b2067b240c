import FleetSystem
import Testing

/// `kill -9` of the agent at every step of a restore, before and after the step's work: afterwards etcd serves the
/// restored data or the old data, fleetctl says which, and nothing was deleted.
@Suite(.serialized, .enabled(if: Lab.isAvailable), .timeLimit(.minutes(45)))
struct CrashTests {
    static let prepare = ["fetch", "check-snapshot", "preflight", "restore-data"]

    @Test func externalAtEveryStep() async throws {
        try await everyStep(
            ["--kind", "external", "--layout", "kubespray"],
            Self.prepare + ["stop-etcd", "switch-files", "start-etcd", "verify", "finish"])
    }

    @Test func stackedAtEveryStep() async throws {
        try await everyStep(
            ["--kind", "stacked"],
            Self.prepare + [
                "stop-control-plane", "switch-files", "start-etcd", "verify", "start-control-plane", "finish",
            ])
    }

    private func everyStep(_ kind: [String], _ steps: [String]) async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("one", kind)
            try await fleet.etcdctl("one", "put", "/state", "saved")
            try await fleet.fleetctl("backup", "one")
            let snapshot = try await fleet.latestSnapshot("one")
            for step in steps {
                for moment in ["before", "after"] {
                    try await fleet.etcdctl("one", "put", "/state", "\(step) \(moment)")
                    try await fleet.armCrash("one", "\(step):\(moment)")
                    async let restoring = fleet.tryFleetctl(
                        "restore", "one", "--at", snapshot, "--yes", "--wait", "60s")
                    try await fleet.eventually("the agent died at \(step):\(moment)") {
                        try await !fleet.isActive("one", "fleet-agent")
                    }
                    try await fleet.disarmCrash("one")
                    let result = try await restoring
                    try await fleet.checkOutcome(
                        "one", result, saved: "saved", old: "\(step) \(moment)", at: "\(step):\(moment)")
                }
            }
            #expect(try await fleet.fleetctl("audit", "verify").output.contains("the chain holds"))
        }
    }

    /// The power goes in the middle of the switch: what starts at boot may be the old configuration, and the agent
    /// brings the restore to an end all the same.
    @Test(arguments: Lab.cases(1, of: [["--kind", "stacked"], ["--kind", "external", "--layout", "debian"]]))
    func powerCutInTheSwitch(_ kind: [String]) async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("one", kind)
            try await fleet.etcdctl("one", "put", "/state", "saved")
            try await fleet.fleetctl("backup", "one")
            let snapshot = try await fleet.latestSnapshot("one")
            for point in ["switch-files:before", "switch-files:after"] {
                try await fleet.etcdctl("one", "put", "/state", point)
                try await fleet.armCrash("one", point)
                async let restoring = fleet.tryFleetctl("restore", "one", "--at", snapshot, "--yes", "--wait", "60s")
                try await fleet.eventually("the agent died at \(point)") {
                    try await !fleet.isActive("one", "fleet-agent")
                }
                try await fleet.exec("one", "rm", "-r", "/etc/systemd/system/fleet-agent.service.d")
                try await Lab.check("power-off", fleet.lab, "one")
                try await Lab.check("boot", fleet.lab, "one", "--no-wait")
                let result = try await restoring
                try await fleet.checkOutcome("one", result, saved: "saved", old: point, at: "power cut at \(point)")
            }
        }
    }
}

extension LabFleet {
    func latestSnapshot(_ cluster: String) async throws -> String {
        try await fleetctl("snapshot", "list", cluster).output.split(separator: "\n").dropFirst().first
            .flatMap { $0.split(separator: " ").first.map(String.init) } ?? ""
    }

    func isActive(_ node: String, _ unit: String) async throws -> Bool {
        try await attempt(node, "systemctl", "is-active", "--quiet", unit).status == 0
    }

    /// The agent restarts with the crash armed, and systemd does not start it again after it died.
    func armCrash(_ node: String, _ point: String) async throws {
        try await exec(node, "mkdir", "-p", "/etc/systemd/system/fleet-agent.service.d")
        try await exec(
            node, "sh", "-c",
            "printf '[Service]\\nRestartPreventExitStatus=SIGKILL\\nEnvironment=FLEET_AGENT_CRASH_AT=%s\\n' \"$1\" >/etc/systemd/system/fleet-agent.service.d/crash.conf",
            "sh",
            point)
        try await exec(node, "systemctl", "daemon-reload")
        try await exec(node, "systemctl", "restart", "fleet-agent")
        let cluster = node.split(separator: "-").first.map(String.init) ?? node
        try await waitForAgent(cluster, count: cluster == node ? 1 : 3)
    }

    func disarmCrash(_ node: String) async throws {
        try await exec(node, "rm", "-r", "/etc/systemd/system/fleet-agent.service.d")
        try await exec(node, "systemctl", "daemon-reload")
        try await exec(node, "systemctl", "reset-failed", "fleet-agent")
        try await exec(node, "systemctl", "start", "fleet-agent")
    }

    /// Whatever happened: what fleetctl says is what etcd serves.
    func checkOutcome(_ node: String, _ result: Result, saved: String, old: String, at point: String) async throws {
        let expected: String
        switch result.status {
        case 0: expected = saved
        case 1, 4: expected = old
        default:
            throw FleetError(
                .internalError, "\(point): exit status \(result.status ?? -1): \(result.output) \(result.errors)")
        }
        var served: String?
        try await eventually("\(point): etcd answers") {
            served = try await value(node, "/state")
            return true
        }
        #expect(served == expected, "\(point): exit status \(result.status ?? -1): \(result.output)\(result.errors)")
        print(
            "\(point): exit status \(result.status ?? -1), etcd serves \(served == saved ? "the restored" : "the old") data"
        )
        try await waitForAgent(node)
    }
}
