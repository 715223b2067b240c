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

    /// A second authority, on nodes that nobody visits; one of them is away meanwhile.
    @Test func theAuthorityIsAnotherAndNobodyWasVisited() async throws {
        try await LabFleet.with { fleet in
            try await fleet.makeCluster("one", ["--kind", "external", "--layout", "debian"])
            try await fleet.makeCluster("two", ["--kind", "external", "--layout", "kubespray"])
            func authority(_ words: String...) async throws -> LabFleet.Result {
                try await fleet.exec("hub", "systemctl", "stop", "fleet-coordinator")
                let words = (["fleet-coordinator", "authority"] + words).joined(separator: " ")
                let result = try await fleet.attempt(
                    "hub", "runuser", "-u", "fleet-coordinator", "--", "sh", "-c", words)
                try await fleet.exec("hub", "systemctl", "start", "fleet-coordinator")
                return result
            }
            try await fleet.exec("two", "systemctl", "stop", "fleet-agent")
            let first = try await authority("show")
            let rotated = try await authority("rotate")
            #expect(rotated.status == 0 && rotated.output.contains("good until"), "\(rotated)")
            #expect(!rotated.errors.contains("error"), "\(rotated.errors)")
            try await fleet.waitForAgent("one")
            try await fleet.eventually("one has come over, and two has not") {
                let status = try await fleet.tryFleetctl("status").output
                return status.contains("have not come over from it, 1 in all") && status.contains("two/")
            }
            try await fleet.fleetctl("backup", "one")
            let refused = try await authority("retire")
            #expect(refused.status != 0 && refused.errors.contains("two/"), "\(refused)")
            try await fleet.exec("two", "systemctl", "start", "fleet-agent")
            try await fleet.eventually("all have come over") {
                try await fleet.tryFleetctl("status").output.contains("all agents have come over")
            }
            let retired = try await authority("retire")
            #expect(retired.status == 0 && first.output.contains(retired.output.prefix(64)), "\(retired)")
            for name in ["one", "two"] {
                try await fleet.waitForAgent(name)
                try await fleet.fleetctl("backup", name)
                try await fleet.exec(name, "systemctl", "restart", "fleet-agent")
                try await fleet.waitForAgent(name)
            }
            #expect(try await !fleet.tryFleetctl("status").output.contains("authority"))
            let audit = try await fleet.fleetctl("audit", "log", "-o", "json").output
            #expect(audit.contains("authority.rotate") && audit.contains("authority.retire"))
            // The coordinator's copy that the rotation made is whole.
            let copies = try await fleet.fleetctl("coordinator", "copies").output.split(separator: "\n").count
            #expect(copies >= 3, "one of the rotation, one of the retirement")
        }
    }

    private func agent(_ fleet: LabFleet) async throws -> Agent {
        let list = try await fleet.fleetctl("agent", "list", "one", "-o", "json").output
        return try #require(try JSON.decode([Agent].self, from: Array(list.utf8)).first)
    }
}
