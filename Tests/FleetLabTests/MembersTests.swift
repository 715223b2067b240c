import FleetSystem
import Testing

/// Clusters of three members restored as one, and what goes wrong in between: afterwards all members serve the restored
/// data or all the old, and fleetctl says which.
@Suite(.serialized, .enabled(if: Lab.isAvailable), .timeLimit(.minutes(20)))
struct MembersTests {
    @Test(arguments: [
        ["--kind", "external", "--layout", "debian"], ["--kind", "external", "--layout", "kubespray"],
        ["--kind", "stacked"], ["--kind", "static"],
        ["--kind", "external", "--layout", "kubespray,rpm,config-file", "--wal-dir", "/var/lib/etcd-wal/wal"],
    ])
    func keysComeBackOnAll(_ kind: [String]) async throws {
        try await LabFleet.with { fleet in
            let nodes = try await fleet.saved("ha", kind)
            try await fleet.etcdctl("ha", "del", "/kept")
            var oldData: [String: String] = [:]
            for node in nodes { oldData[node] = try await fleet.dataDirectory(node) }

            let planned = try await fleet.fleetctl("restore", "ha", "--at", "latest", "--dry-run")
            #expect(planned.output.contains("plan for ha: 3 members, restored as one"))
            let shown = planned.output.split(separator: "\n").filter { $0.hasPrefix("on ") }.joined()
            for node in nodes { #expect(shown.ranges(of: node).count == 1, "\(shown)") }
            #expect(planned.output.contains("nothing was changed"))
            #expect(try await fleet.value("ha", "/state") == "old", "a dry run changes nothing")

            let restored = try await fleet.fleetctl("restore", "ha", "--at", "latest", "--yes", "--wait", "60s")
            #expect(restored.output.contains("restored") && restored.output.contains("on all 3 members"))
            try await fleet.expectAll(nodes, "/state", "saved")
            #expect(try await fleet.value("ha", "/kept") == "before")
            #expect(
                try await fleet.etcdctl("ha", "member", "list").split(separator: "\n").filter {
                    $0.contains("started")
                }.count == 3)
            for (node, old) in oldData {
                #expect(try await fleet.dataDirectory(node).hasPrefix("\(old)-restore-"))
                #expect(try await fleet.exec(node, "ls", "\(old)/member").contains("snap"), "the old data is kept")
            }

            // The restored cluster is backed up as before, and can be restored again.
            try await fleet.etcdctl("ha", "put", "/second", "round")
            try await fleet.waitForAgent("ha", count: 3)
            try await fleet.fleetctl("backup", "ha")
            try await fleet.etcdctl("ha", "del", "/second")
            try await fleet.fleetctl("restore", "ha", "--at", "latest", "--yes", "--wait", "60s")
            try await fleet.expectAll(nodes, "/second", "round")
            #expect(try await fleet.fleetctl("audit", "verify").output.contains("the chain holds"))
        }
    }

    @Test func whoIsMissingIsNamedBeforeAnythingBegins() async throws {
        try await LabFleet.with { fleet in
            let nodes = try await fleet.saved("ha", ["--kind", "external", "--layout", "debian"])
            try await fleet.exec(nodes[1], "systemctl", "stop", "fleet-agent")
            try await fleet.eventually("the coordinator knows") {
                try await fleet.fleetctl("agent", "list", "ha", "-o", "json").output.contains(#""connected" : false"#)
            }
            let result = try await fleet.tryFleetctl("restore", "ha", "--at", "latest", "--yes")
            #expect(result.status == 1 && result.errors.contains("not connected: \(nodes[1])"), "\(result.errors)")
            // A backup needs any one of them.
            try await fleet.fleetctl("backup", "ha")
            try await fleet.expectAll(nodes, "/state", "old")
        }
    }

    /// systemd refuses to start one member's etcd on the restored directory.
    @Test func oneThatDoesNotStartTakesAllBack() async throws {
        try await LabFleet.with { fleet in
            let nodes = try await fleet.saved("ha", ["--kind", "external", "--layout", "kubespray"])
            try await fleet.exec(nodes[2], "mkdir", "-p", "/etc/systemd/system/etcd.service.d")
            try await fleet.exec(
                nodes[2], "sh", "-c",
                "printf '[Service]\\nExecStartPre=/bin/sh -c \"! grep -q restore- /etc/etcd.env\"\\n' >/etc/systemd/system/etcd.service.d/refuse.conf"
            )
            try await fleet.exec(nodes[2], "systemctl", "daemon-reload")
            let result = try await fleet.tryFleetctl("restore", "ha", "--at", "latest", "--yes", "--wait", "15s")
            #expect(result.status == 4, "\(result.output)\(result.errors)")
            #expect(result.output.contains("ROLLED-BACK") && result.errors.contains(nodes[2]))
            try await fleet.expectAll(nodes, "/state", "old")
            for node in nodes {
                #expect(
                    try await fleet.exec(node, "cat", "/etc/etcd.env").contains("ETCD_DATA_DIR=/var/lib/etcd\n"))
            }
        }
    }

    /// It is pushed before that is given up, and the node says what is wrong rather than that it is late.
    @Test func oneKubeletThatDoesNotReact() async throws {
        try await LabFleet.with { fleet in
            let nodes = try await fleet.saved("ha", ["--kind", "stacked"])
            try await fleet.allowHolds(nodes[1], of: "ha", count: 3)
            try await fleet.hold(nodes[1], at: ["switch-files:after"])
            async let restoring = fleet.tryFleetctl("restore", "ha", "--at", "latest", "--yes", "--wait", "15s")
            try await fleet.held(nodes[1], at: "switch-files:after")
            try await fleet.exec(nodes[1], "systemctl", "stop", "kubelet")
            try await fleet.release(nodes[1], from: "switch-files:after")
            try await fleet.eventually("the node has given up", within: .seconds(120)) {
                try await fleet.agentSays(nodes[1], "the kubelet did not start etcd") > 0
            }
            try await fleet.exec(nodes[1], "systemctl", "start", "kubelet")
            let result = try await restoring
            #expect(result.status == 4, "\(result.output)\(result.errors)")
            #expect(result.errors.contains("the kubelet did not start etcd on"), "\(result.errors)")
            #expect(result.errors.contains("although its manifest was moved out and back"), "\(result.errors)")
            try await fleet.expectAll(nodes, "/state", "old")
        }
    }

    /// `kill -9` of one agent where it tells that it has ended a phase, before and after it has told.
    @Test(arguments: [["--kind", "external", "--layout", "debian"], ["--kind", "stacked"]])
    func anAgentKilledAtEachGate(_ kind: [String]) async throws {
        try await LabFleet.with { fleet in
            let nodes = try await fleet.saved("ha", kind)
            let snapshot = try await fleet.latestSnapshot("ha")
            for point in ["gate-prepare:after", "gate-stop:before", "gate-start:after", "gate-verify:after"] {
                try await fleet.etcdctl("ha", "put", "/state", point)
                let result = try await fleet.restoring(nodes, crashing: nodes[1], at: point, snapshot) {
                    try await fleet.disarmCrash(nodes[1])
                }
                #expect(result.status == 0, "\(point): \(result.output)\(result.errors)")
                try await fleet.expectAll(nodes, "/state", "saved")
                try await fleet.waitForAgent("ha", count: 3)
            }
        }
    }

    @Test func theCoordinatorKilledBetweenPhases() async throws {
        try await LabFleet.with { fleet in
            let nodes = try await fleet.saved("ha", ["--kind", "external", "--layout", "kubespray"])
            let snapshot = try await fleet.latestSnapshot("ha")
            for point in ["restore-data:after", "gate-quiesce:before", "gate-stop:before", "start-etcd:after"] {
                try await fleet.etcdctl("ha", "put", "/state", point)
                // While one agent is dead the others wait, so nothing goes on behind this point.
                let result = try await fleet.restoring(nodes, crashing: nodes[0], at: point, snapshot) {
                    try await fleet.exec("hub", "systemctl", "kill", "-s", "KILL", "fleet-coordinator")
                    try await fleet.disarmCrash(nodes[0])
                }
                #expect(result.status == 0, "\(point): \(result.output)\(result.errors)")
                try await fleet.expectAll(nodes, "/state", "saved")
                try await fleet.waitForAgent("ha", count: 3)
            }
            #expect(try await fleet.fleetctl("audit", "verify").output.contains("the chain holds"))
        }
    }

    /// Longer away than a phase may take: the others go back and serve, and the node does its part when it is there.
    @Test(arguments: [["--kind", "external", "--layout", "debian"], ["--kind", "static"]])
    func aCablePulledForTooLong(_ kind: [String]) async throws {
        try await LabFleet.with { fleet in
            let nodes = try await fleet.saved("ha", kind)
            let snapshot = try await fleet.latestSnapshot("ha")
            try await fleet.armCrash(nodes[2], "stop-etcd:after")
            async let restoring = fleet.tryFleetctl("restore", "ha", "--at", snapshot, "--yes", "--wait", "20s")
            try await fleet.eventually("the agent died") { try await !fleet.isActive(nodes[2], "fleet-agent") }
            try await Lab.check("link", fleet.lab, nodes[2], "down")
            try await fleet.disarmCrash(nodes[2])
            try await fleet.eventually("the others are back", within: .seconds(150)) {
                let served = [try await fleet.value(nodes[0], "/state"), try await fleet.value(nodes[1], "/state")]
                return served == ["old", "old"]
            }
            let open = try await fleet.fleetctl("job", "list", "ha", "-o", "json").output
            #expect(open.contains(#""state" : "running""#), "it is not over before the third has done its part")
            try await Lab.check("link", fleet.lab, nodes[2], "up")
            let result = try await restoring
            #expect(result.status == 4, "\(result.output)\(result.errors)")
            #expect(result.errors.contains("did not end stop in time"), "\(result.errors)")
            try await fleet.expectAll(nodes, "/state", "old")
        }
    }

    /// Behind the commit there is no way back: a node that can't go on needs a person, is said to, and goes on then.
    @Test func oneThatNeedsAPersonBehindTheCommit() async throws {
        try await LabFleet.with { fleet in
            let nodes = try await fleet.saved("ha", ["--kind", "stacked"])
            let snapshot = try await fleet.latestSnapshot("ha")
            let result = try await fleet.restoring(
                nodes, crashing: nodes[1], at: "gate-verify:after", snapshot, wait: "15s"
            ) {
                try await fleet.exec(nodes[1], "systemctl", "stop", "kubelet")
                try await fleet.disarmCrash(nodes[1])
            }
            #expect(result.status == 5, "\(result.output)\(result.errors)")
            #expect(result.errors.contains("on \(nodes[1])") && result.errors.contains("systemctl restart fleet-agent"))
            try await fleet.expectAll(nodes, "/state", "saved")
            let status = try await fleet.tryFleetctl("status")
            #expect(status.status == 3 && status.output.contains("is stuck"))

            try await fleet.exec(nodes[1], "systemctl", "start", "kubelet")
            try await fleet.exec(nodes[1], "systemctl", "restart", "fleet-agent")
            try await fleet.eventually("the restore has succeeded after all") {
                try await !fleet.fleetctl("job", "list", "ha").output.contains("stuck")
            }
        }
    }

    /// All power goes in the middle: what starts at boot is the old etcd on some and perhaps the new on others.
    @Test func allPowerGoes() async throws {
        try await LabFleet.with { fleet in
            let nodes = try await fleet.saved("ha", ["--kind", "external", "--layout", "debian"])
            let snapshot = try await fleet.latestSnapshot("ha")
            let result = try await fleet.restoring(nodes, crashing: nodes[1], at: "switch-files:after", snapshot) {
                try await fleet.exec(nodes[1], "rm", "-r", "/etc/systemd/system/fleet-agent.service.d")
                let off = try await Lab.run(["power-off", fleet.lab] + nodes)
                try #require(off.succeeded, "\(off.complaint)")
                let on = try await Lab.run(["boot", fleet.lab] + nodes + ["--no-wait"])
                try #require(on.succeeded, "\(on.complaint)")
            }
            #expect(result.status == 0 || result.status == 4, "\(result.output)\(result.errors)")
            try await fleet.expectAll(nodes, "/state", result.status == 0 ? "saved" : "old")
        }
    }
}

extension LabFleet {
    /// A cluster of three with a snapshot in which `/state` is "saved" and `/kept` "before"; now `/state` is "old".
    func saved(_ name: String, _ kind: [String]) async throws -> [String] {
        let nodes = try await makeMembers(name, kind)
        try await etcdctl(name, "put", "/state", "saved")
        try await etcdctl(name, "put", "/kept", "before")
        try await fleetctl("backup", name)
        try await etcdctl(name, "put", "/state", "old")
        return nodes
    }

    /// A restore during which one node's agent dies at a point; `then` happens after that.
    func restoring(
        _ nodes: [String], crashing node: String, at point: String, _ snapshot: String, wait: String = "60s",
        _ then: () async throws -> Void
    ) async throws -> Result {
        try await armCrash(node, point)
        async let restoring = tryFleetctl("restore", "ha", "--at", snapshot, "--yes", "--wait", wait)
        try await eventually("the agent died at \(point)") { try await !isActive(node, "fleet-agent") }
        try await then()
        return try await restoring
    }

    /// Every member serves this value, each asked by itself.
    func expectAll(_ nodes: [String], _ key: String, _ expected: String) async throws {
        for node in nodes {
            var served: String?
            try await eventually("etcd on \(node) answers") {
                served = try await value(node, key)
                return true
            }
            #expect(served == expected, "\(node)")
        }
    }
}
