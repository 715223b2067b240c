import FleetSystem
import Testing

/// What dies while three members are restored as one: afterwards all members serve the restored data or all the old, and
/// fleetctl says which.
@Suite(.serialized, .enabled(if: Lab.isAvailable), .timeLimit(.minutes(45)))
struct MemberCrashTests {
    /// `kill -9` of one agent where it tells that it has ended a phase, before and after it has told.
    @Test(arguments: Lab.cases(1, of: [["--kind", "external", "--layout", "debian"], ["--kind", "stacked"]]))
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
