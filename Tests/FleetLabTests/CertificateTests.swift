import FleetSystem
import Testing

/// Certificates that renew themselves, on a real node.
@Suite(.serialized, .enabled(if: Lab.isAvailable), .timeLimit(.minutes(15)))
struct CertificateTests {
    private struct Agent: Decodable {
        struct Certificate: Decodable {
            var fingerprint: String
            var notAfter: Timestamp
        }
        var connected: Bool
        var certificate: Certificate
    }

    /// The first certificate has long ended when the agent is still served.
    @Test func anAgentOutlivesItsCertificate() async throws {
        try await LabFleet.with { fleet in
            let settings = "/var/lib/fleet-coordinator/settings.json"
            try await fleet.exec(
                "hub", "sed", "-i", #"s/"certificateLifetime" : [0-9]*/"certificateLifetime" : 80/"#, settings)
            try await fleet.exec("hub", "systemctl", "restart", "fleet-coordinator")
            try await fleet.makeCluster("one", ["--kind", "external", "--layout", "debian"])
            let first = try await agent(fleet)
            #expect(first.certificate.notAfter < Timestamp.now().adding(.seconds(90)))
            let identity = "/var/lib/fleet-agent/identity"
            try await fleet.eventually("it has another certificate", within: .seconds(60)) {
                try await agent(fleet).certificate.fingerprint != first.certificate.fingerprint
            }
            try await fleet.eventually("the first has ended", within: .seconds(120)) {
                Timestamp.now() > first.certificate.notAfter.adding(.seconds(5))
            }
            try await fleet.waitForAgent("one")
            try await fleet.fleetctl("backup", "one")
            // A kill right behind a renewal finds one identity that is whole.
            try await fleet.exec("one", "systemctl", "kill", "-s", "KILL", "fleet-agent")
            try await fleet.waitForAgent("one")
            let files = try await fleet.exec("one", "ls", identity).split(separator: "\n").sorted()
            #expect(files.count == 6 && !files.contains("agent.crt") && !files.contains("agent.key"), "\(files)")
            let audit = try await fleet.fleetctl("audit", "log", "-o", "json").output
            #expect(audit.contains("certificate.renew") && audit.contains("certificate.retire"))
        }
    }

    private func agent(_ fleet: LabFleet) async throws -> Agent {
        let list = try await fleet.fleetctl("agent", "list", "one", "-o", "json").output
        return try #require(try JSON.decode([Agent].self, from: Array(list.utf8)).first)
    }
}
