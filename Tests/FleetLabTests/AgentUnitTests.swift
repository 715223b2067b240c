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
            // By hand it is not held to that.
            let seen = try await fleet.attempt("one", "fleet-agent", "discover")
            #expect(seen.status == 0 && seen.errors.contains("'fleetctl status'"), "\(seen.errors)")
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

    /// The unit becomes stricter while a restore is in its middle: it is neither failed nor stuck, and goes on when it may.
    @Test func aRestoreIsHeldWhereItMayNotWrite() async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("one", ["--kind", "external", "--layout", "kubespray"])
            try await fleet.etcdctl("one", "put", "/kept", "before")
            try await fleet.fleetctl("backup", "one")
            try await fleet.etcdctl("one", "del", "/kept")
            let snapshot = try await fleet.latestSnapshot("one")
            try await fleet.armCrash("one", "restore-data:before")
            async let restoring = fleet.tryFleetctl("restore", "one", "--at", snapshot, "--yes", "--wait", "90s")
            try await fleet.eventually("the agent died") { try await !fleet.isActive("one", "fleet-agent") }
            // With /etc alone.
            try await fleet.exec(
                "one", "sh", "-ec",
                "cd /etc/systemd/system/fleet-agent.service.d; rm crash.conf; "
                    + "printf '[Service]\\nReadWritePaths=\\nReadWritePaths=/etc\\n' >narrow.conf; "
                    + "systemctl daemon-reload; systemctl reset-failed fleet-agent; systemctl start fleet-agent")
            try await fleet.eventually("it is told") {
                let job = try await fleet.lastJob("one")
                let shown = try await fleet.fleetctl("job", "show", job).output
                return shown.contains("held: the agent can't write in /var/lib; ")
                    && shown.contains("ReadWritePaths=/var/lib,")
            }
            try await fleet.exec(
                "one", "sh", "-ec",
                "rm /etc/systemd/system/fleet-agent.service.d/narrow.conf; systemctl daemon-reload; "
                    + "systemctl restart fleet-agent")
            let result = try await restoring
            #expect(result.status == 0, "\(result.output) \(result.errors)")
            #expect(try await fleet.value("one", "/kept") == "before")
        }
    }

    /// A data directory right below the root, and one that is one of the unit's own places: the new one comes beside it, which
    /// takes another setting than for any other place. The unit makes a mount of that place, which nobody can unmount.
    @Test func dataRightBelowTheRoot() async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("one", ["--kind", "external", "--layout", "kubespray"])
            try await fleet.exec(
                "one", "sh", "-ec",
                "systemctl stop etcd; mkdir -m 0700 /data; mv /var/lib/etcd/* /data; systemctl stop fleet-agent; "
                    + "sed -i 's|^ETCD_DATA_DIR=.*|ETCD_DATA_DIR=/data|' /etc/etcd.env; systemctl start etcd")
            try await fleet.restartAgent("one")
            try await fleet.eventually("status tells of it") {
                try await fleet.tryFleetctl("status").output.contains("[Service] and ProtectSystem=yes,")
            }
            let dropIn = "/etc/systemd/system/fleet-agent.service.d/root.conf"
            try await fleet.exec("one", "mkdir", "-p", FileSystem.parent(of: dropIn))
            try await fleet.exec("one", "sh", "-c", "printf '[Service]\\nProtectSystem=yes\\n' >\(dropIn)")
            try await fleet.restartAgent("one")
            try await fleet.etcdctl("one", "put", "/kept", "before")
            try await fleet.fleetctl("backup", "one")
            try await fleet.etcdctl("one", "del", "/kept")
            try await fleet.fleetctl("restore", "one", "--at", "latest", "--yes", "--wait", "90s")
            #expect(try await fleet.value("one", "/kept") == "before")

            let places = "ls -d /data-restore-* && ls -A /data"
            #expect(try await fleet.exec("one", "sh", "-c", places).contains("\nmember\n"))
            try await fleet.fleetctl("restore", "cleanup", try await fleet.lastJob("one"), "--yes")
            #expect(try await !fleet.exec("one", "sh", "-c", places).contains("\nmember\n"))
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
