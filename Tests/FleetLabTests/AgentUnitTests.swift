import FleetSystem
import Testing

/// The agent's unit takes away what the agent does not need, and says so where a node needs more.
@Suite(.serialized, .enabled(if: Lab.isAvailable), .timeLimit(.minutes(15)))
struct AgentUnitTests {
    /// A node that keeps etcd's data where the unit lets nobody write: backups work, and that a restore would not is known
    /// long before anybody tries.
    @Test func whatTheUnitForbidsIsToldBeforeARestore() async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("one", ["--kind", "external", "--layout", "kubespray"])
            func problem() async throws -> Bool {
                try await fleet.tryFleetctl("status").output.contains("ReadWritePaths=/var/lib,")
            }
            #expect(try await !problem())
            try await fleet.etcdctl("one", "put", "/kept", "before")

            let dropIn = "/etc/systemd/system/fleet-agent.service.d/narrow.conf"
            try await fleet.exec("one", "mkdir", "-p", FileSystem.parent(of: dropIn))
            try await fleet.exec(
                "one", "sh", "-c", "printf '[Service]\\nReadWritePaths=\\nReadWritePaths=/etc\\n' >\(dropIn)")
            try await fleet.restartAgent("one")
            try await fleet.fleetctl("backup", "one")
            try await fleet.eventually("status tells of it") { try await problem() }

            let pid = try await fleet.exec("one", "systemctl", "show", "--property=MainPID", "etcd")
            let refused = try await fleet.tryFleetctl("restore", "one", "--at", "latest", "--yes")
            #expect(refused.status == 1 && refused.errors.contains("the agent can't write in /var/lib"))
            #expect(try await fleet.exec("one", "systemctl", "show", "--property=MainPID", "etcd") == pid)

            // What the hint says.
            try await fleet.exec(
                "one", "sh", "-c", "printf '[Service]\\nReadWritePaths=/var/lib\\n' >>\(dropIn)")
            try await fleet.restartAgent("one")
            try await fleet.eventually("status tells of it no more") { try await !problem() }
            try await fleet.etcdctl("one", "del", "/kept")
            try await fleet.fleetctl("restore", "one", "--at", "latest", "--yes", "--wait", "90s")
            #expect(try await fleet.value("one", "/kept") == "before")
        }
    }
}

extension LabFleet {
    /// With its unit as it is now.
    func restartAgent(_ node: String) async throws {
        try await exec(node, "systemctl", "daemon-reload")
        try await exec(node, "systemctl", "restart", "fleet-agent")
        try await waitForAgent(node)
    }
}
