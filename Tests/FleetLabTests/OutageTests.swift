import FleetSystem
import Testing

/// The coordinator and the network fail while an agent, alive, is at a step of a restore. Once the snapshot is on the
/// node the restore needs nobody: it goes on, and the coordinator learns of it afterwards. Before that it waits, with
/// nothing touched, for as long as an hour.
@Suite(.serialized, .enabled(if: Lab.isAvailable), .timeLimit(.minutes(45)))
struct OutageTests {
    static let external =
        ["safety-snapshot"] + CrashTests.prepare + ["stop-etcd", "switch-files", "start-etcd", "verify", "finish"]
    static let stacked =
        ["safety-snapshot"] + CrashTests.prepare + [
            "stop-control-plane", "switch-files", "start-etcd", "verify", "start-control-plane", "finish",
        ]

    /// Killed twice a step: when it has begun, and when it is done and the agent has not said so yet.
    @Test func coordinatorKilledAtEveryStep() async throws {
        try await restoring(["--kind", "external", "--layout", "debian"]) { fleet, snapshot in
            for step in Self.external {
                try await fleet.etcdctl("one", "put", "/state", step)
                let points = ["\(step):before", "\(step):after"]
                try await fleet.hold("one", at: points)
                async let restoring = fleet.tryFleetctl("restore", "one", "--at", snapshot, "--yes", "--wait", "30s")
                for point in points {
                    try await fleet.held("one", at: point)
                    try await fleet.killCoordinator()
                    try await fleet.release("one", from: point)
                }
                let result = try await restoring
                #expect(result.status == 0, "\(step): \(result.output)\(result.errors)")
                #expect(try await fleet.value("one", "/state") == "saved", "\(step)")
                try await fleet.checkEvents(result, Self.external)
            }
            #expect(try await fleet.fleetctl("audit", "verify").output.contains("the chain holds"))
        }
    }

    /// The cable is out from the beginning of the step until the restore has ended on the node.
    @Test func cablePulledAtEveryStep() async throws {
        try await restoring(["--kind", "external", "--layout", "kubespray"]) { fleet, snapshot in
            // What is saved first has to reach the coordinator before anything is touched.
            for step in Self.external where step != "safety-snapshot" {
                let point = step == "fetch" ? "fetch:after" : "\(step):before"
                try await fleet.etcdctl("one", "put", "/state", step)
                try await fleet.hold("one", at: [point])
                async let restoring = fleet.tryFleetctl("restore", "one", "--at", snapshot, "--yes", "--wait", "30s")
                try await fleet.held("one", at: point)
                try await fleet.pullCable("one")
                let before = try await fleet.agentSays("one", "job succeeded: restored")
                try await fleet.release("one", from: point)
                try await fleet.eventually("\(step): the restore is done without a network") {
                    try await fleet.agentSays("one", "job succeeded: restored") == before + 1
                }
                #expect(try await fleet.value("one", "/state") == "saved", "\(step)")
                try await fleet.plugCable("one")
                let result = try await restoring
                #expect(result.status == 0, "\(step): \(result.output)\(result.errors)")
                try await fleet.checkEvents(result, Self.external)
            }
        }
    }

    /// One restore of a stacked cluster, through which the cable is out for a moment at every step.
    @Test func cablePulledAtEveryStepOfAStackedOne() async throws {
        try await restoring(["--kind", "stacked"]) { fleet, snapshot in
            try await fleet.etcdctl("one", "put", "/state", "old")
            try await fleet.hold("one", at: Self.stacked.map { "\($0):before" })
            async let restoring = fleet.tryFleetctl("restore", "one", "--at", snapshot, "--yes", "--wait", "60s")
            for step in Self.stacked {
                try await fleet.held("one", at: "\(step):before")
                try await fleet.pullCable("one")
                try await fleet.release("one", from: "\(step):before")
                try await Task.sleep(for: .seconds(1))
                try await fleet.plugCable("one")
            }
            let result = try await restoring
            #expect(result.status == 0, "\(result.output)\(result.errors)")
            #expect(try await fleet.value("one", "/state") == "saved")
            try await fleet.checkEvents(result, Self.stacked)
        }
    }

    /// The coordinator, the agent and the cable in the middle of the bytes: what arrived is kept, the rest follows, and until
    /// then nothing is touched.
    @Test func theFetchIsCut() async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("one", ["--kind", "external", "--layout", "kubespray"])
            try await fleet.fill("one", megabytes: 20)
            try await fleet.etcdctl("one", "put", "/state", "saved")
            try await fleet.fleetctl("backup", "one")
            try await fleet.etcdctl("one", "put", "/state", "old")
            let data = try await fleet.dataDirectory("one")
            try await fleet.slowDown("hub", megabitsASecond: 16)
            async let restoring = fleet.tryFleetctl(
                "restore", "one", "--at", "latest", "--yes", "--wait", "30s", "--no-safety-snapshot")

            try await fleet.fetched("one", more: 2 << 20)
            try await fleet.killCoordinator()
            let first = try await fleet.fetchedBytes("one")
            try await fleet.fetched("one", more: first + 2 << 20)
            try await fleet.exec("one", "systemctl", "kill", "-s", "KILL", "fleet-agent")
            let second = try await fleet.fetchedBytes("one")
            try await fleet.eventually("the agent runs again") { try await fleet.isActive("one", "fleet-agent") }
            #expect(try await fleet.fetchedBytes("one") >= second, "what the killed agent had is kept")
            try await fleet.fetched("one", more: second + 2 << 20)
            try await fleet.pullCable("one")
            try await Task.sleep(for: .seconds(3))
            let third = try await fleet.fetchedBytes("one")
            #expect(first < second && second < third)
            #expect(try await fleet.value("one", "/state") == "old")
            #expect(try await fleet.dataDirectory("one") == data)
            try await fleet.plugCable("one")

            let result = try await restoring
            #expect(result.status == 0, "\(result.output)\(result.errors)")
            #expect(try await fleet.value("one", "/state") == "saved")
            #expect(try await fleet.agentSays("one", "was interrupted and will go on") >= 1)
        }
    }

    private func restoring(
        _ kind: [String], _ body: (LabFleet, _ snapshot: String) async throws -> Void
    ) async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("one", kind)
            try await fleet.etcdctl("one", "put", "/state", "saved")
            try await fleet.fleetctl("backup", "one")
            let snapshot = try await fleet.latestSnapshot("one")
            try await fleet.allowHolds("one")
            try await body(fleet, snapshot)
        }
    }
}

extension LabFleet {
    /// What the coordinator has of the restore that `result` shows: each step begun once and done once, in order.
    fileprivate func checkEvents(_ result: Result, _ steps: [String]) async throws {
        let job = result.errors.split(separator: "\n").first { $0.hasPrefix("job ") }?.dropFirst(4) ?? ""
        let shown = try await fleetctl("job", "show", String(job)).output.split(separator: "\n")
        let told = shown.compactMap { line -> String? in
            let words = line.split(separator: " ").dropFirst()
            guard words.count >= 2 else { return nil }
            let (step, what) = (words[words.startIndex], words[words.startIndex + 1])
            return what == "..." || what.hasPrefix("done") ? "\(step) \(what.prefix(4))" : nil
        }
        #expect(told == steps.flatMap { ["\($0) ...", "\($0) done"] }, "\(shown.joined(separator: "\n"))")
    }

    fileprivate func fetchedBytes(_ node: String) async throws -> Int {
        let sizes = try await exec(
            node, "find", "/var/lib/fleet-agent/spool", "-type", "f", "-printf", "%s\\n")
        return sizes.split(separator: "\n").compactMap { Int($0) }.max() ?? 0
    }

    fileprivate func fetched(_ node: String, more bytes: Int) async throws {
        try await eventually("\(bytes) bytes are fetched") { try await fetchedBytes(node) > bytes }
    }
}
