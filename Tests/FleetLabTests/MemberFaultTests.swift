import FleetSystem
import Testing

/// What does not react or can't be reached while three members are restored as one: afterwards all members serve the
/// restored data or all the old, and fleetctl says which.
@Suite(.serialized, .enabled(if: Lab.isAvailable), .timeLimit(.minutes(45)))
struct MemberFaultTests {
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

    /// Longer away than a phase may take: the others go back and serve, and the node does its part when it is there.
    @Test(arguments: Lab.cases(1, of: [["--kind", "static"], ["--kind", "external", "--layout", "debian"]]))
    func aCablePulledForTooLong(_ kind: [String]) async throws {
        try await LabFleet.with { fleet in
            let nodes = try await fleet.saved("ha", kind)
            let snapshot = try await fleet.latestSnapshot("ha")
            try await fleet.armCrash(nodes[2], "stop-etcd:after")
            async let restoring = fleet.tryFleetctl("restore", "ha", "--at", snapshot, "--yes", "--wait", "20s")
            try await fleet.eventually("the agent died") { try await !fleet.isActive(nodes[2], "fleet-agent") }
            try await Lab.check("link", fleet.lab, nodes[2], "down")
            try await fleet.disarmCrash(nodes[2])
            try await fleet.eventually("the others are back", within: .seconds(240)) {
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
}
