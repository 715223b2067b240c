import FleetSystem
import Testing

/// A cluster is given up, and its name is used anew, by the same node.
@Suite(.serialized, .enabled(if: Lab.isAvailable), .timeLimit(.minutes(30)))
struct RemovalTests {
    @Test func aClusterGoesAndItsNameComesAgain() async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("one", ["--kind", "external", "--layout", "debian"])
            try await fleet.fleetctl("backup", "one")
            let snapshot = try await fleet.latestSnapshot("one")

            let held = try await fleet.tryFleetctl("cluster", "remove", "one", "--yes")
            #expect(held.status == 1 && held.errors.contains("agents are enrolled on one"), "\(held)")
            #expect(held.errors.contains("1 of its snapshots is in the store"))
            try await fleet.fleetctl("agent", "revoke", "one", "one", "--yes")
            let newest = try await fleet.tryFleetctl("snapshot", "delete", snapshot, "--yes")
            #expect(newest.status == 1 && newest.errors.contains("--newest-too"), "\(newest)")
            try await fleet.fleetctl("snapshot", "delete", snapshot, "--newest-too", "--yes")
            #expect(try await fleet.tryFleetctl("cluster", "remove", "one").status == 6, "nobody said yes")
            try await fleet.fleetctl("cluster", "remove", "one", "--yes")

            #expect(try await fleet.fleetctl("cluster", "list").output.isEmpty)
            #expect(try await !fleet.tryFleetctl("status").output.contains("! one"))
            #expect(try await fleet.fleetctl("agent", "list", "--all").output.isEmpty)
            #expect(try await fleet.fleetctl("job", "list", "one").output.contains("backup"))
            try await fleet.killCoordinator()
            try await fleet.eventually("it is gone behind a restart as well") {
                try await fleet.fleetctl("cluster", "list").output.isEmpty
            }
            let report = try await fleet.fleetctl("audit", "report", "--format", "md", "--cluster", "one").output
            #expect(report.contains("removed "), "\(report.prefix(3000))")

            // The agent goes on from the counter that it has; all else is new.
            try await fleet.fleetctl("cluster", "add", "one")
            let token = try await fleet.fleetctl("agent", "token", "one").output.trimmed
            let enrolled = try await Lab.run(
                ["exec", fleet.lab, "one", "--", "fleet-agent", "enroll", "-", "--force"], input: token + "\n")
            #expect(enrolled.succeeded, "\(enrolled.complaint)")
            try await fleet.exec("one", "systemctl", "restart", "fleet-agent")
            try await fleet.waitForAgent("one")
            #expect(try await fleet.fleetctl("backup", "one").output.contains("one  ok"))
            let status = try await fleet.tryFleetctl("status")
            #expect(status.status == 0, "\(status.output)")
            #expect(try await fleet.fleetctl("audit", "verify").output.contains("the chain holds"))
        }
    }
}
