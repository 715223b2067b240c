import FleetSystem
import Testing

/// The Debian packages on real nodes: installed, used, upgraded, removed. `ops/test` says where they are.
@Suite(.serialized, .enabled(if: Lab.isAvailable && Lab.packages != nil), .timeLimit(.minutes(15)))
struct PackageTests {
    @Test func fromInstallationToPurge() async throws {
        try await LabFleet.withLab { fleet in
            try await Lab.check("node", fleet.lab, "hub", "--kind", "plain")
            try await Lab.check("node", fleet.lab, "one", "--kind", "external", "--layout", "kubespray")
            for name in ["fleet-coordinator", "fleetctl"] { try await fleet.installPackage(name, on: "hub") }
            #expect(
                try await fleet.attempt("hub", "systemctl", "is-enabled", "fleet-coordinator").output == "disabled\n")
            try await fleet.initialise()
            try await fleet.exec("hub", "systemctl", "enable", "--quiet", "--now", "fleet-coordinator")

            try await fleet.fleetctl("cluster", "add", "one")
            let told = try await fleet.installPackage("fleet-agent", on: "one")
            #expect(told.contains("fleet-agent enroll -") && !told.contains("by hand"))
            try await fleet.enroll("one", of: "one")
            try await fleet.waitForAgent("one")
            try await fleet.fleetctl("backup", "one")
            let version = try await fleet.exec("one", "fleet-agent", "--version").split(separator: "\n")
            #expect(version.count == 2 && version[1].hasPrefix("commit "), "\(version)")
            #expect(
                try await fleet.fleetctl("agent", "list").output.contains(String(version[1].dropFirst("commit ".count)))
            )

            // What would be started in the place of what is in the package.
            try await fleet.exec("one", "touch", "/usr/local/bin/fleet-agent")
            #expect(
                try await fleet.installPackage("fleet-agent", on: "one").contains("rm /usr/local/bin/fleet-agent\n"))
            try await fleet.exec("one", "rm", "/usr/local/bin/fleet-agent")
            try await fleet.waitForAgent("one")

            // The same version once more is an upgrade: what runs runs again, from the new files.
            for (name, node) in [("fleet-agent", "one"), ("fleet-coordinator", "hub")] {
                let before = try await fleet.exec(node, "systemctl", "show", "--property=MainPID", name)
                try await fleet.installPackage(name, on: node)
                try await fleet.eventually("\(name) runs again") { try await fleet.isActive(node, name) }
                #expect(try await fleet.exec(node, "systemctl", "show", "--property=MainPID", name) != before)
            }
            try await fleet.waitForAgent("one")
            try await fleet.fleetctl("restore", "one", "--at", "latest", "--yes", "--wait", "90s")

            // As it was a moment before the restore's end, when nobody must take the agent away, or put another in its place.
            let journal = try await fleet.exec("one", "sh", "-c", "ls /var/lib/fleet-agent/jobs/*/journal").trimmed
            try await fleet.exec("one", "sh", "-ec", "cp \(journal) /root/whole; sed -i '$d' \(journal)")
            let refused = try await fleet.attempt("one", "dpkg", "--remove", "fleet-agent")
            #expect(refused.status != 0 && refused.errors.contains("in the middle of a restore"), "\(refused.errors)")
            #expect(refused.errors.contains(journal))
            #expect(try await fleet.isActive("one", "fleet-agent"))
            let pid = try await fleet.exec("one", "systemctl", "show", "--property=MainPID", "fleet-agent")
            let held = try await fleet.attempt("one", "sh", "-c", "dpkg --install /root/fleet-agent_*.deb")
            #expect(
                held.status != 0 && held.errors.contains("not upgraded, this node is in the middle"), "\(held.errors)")
            #expect(
                try await fleet.exec("one", "dpkg-query", "-W", "-f", "${db:Status-Status}", "fleet-agent")
                    == "installed")
            #expect(try await fleet.exec("one", "systemctl", "show", "--property=MainPID", "fleet-agent") == pid)
            // Where the agent is off, it may be what helps.
            try await fleet.exec("one", "systemctl", "stop", "fleet-agent")
            try await fleet.exec("one", "sh", "-c", "dpkg --install /root/fleet-agent_*.deb")
            try await fleet.exec("one", "sh", "-c", "cat /root/whole >\(journal)")
            try await fleet.exec("one", "systemctl", "start", "fleet-agent")
            try await fleet.exec("one", "mkdir", "-p", "/var/lib/fleet-agent/program/x")

            // Nobody loses keys or snapshots by a word to a package manager.
            for (name, node, kept) in [
                ("fleet-agent", "one", "identity"), ("fleet-coordinator", "hub", "keys"),
            ] {
                let purged = try await fleet.exec(node, "dpkg", "--purge", name)
                #expect(purged.contains("kept /var/lib/\(name)"), "\(purged)")
                #expect(try await fleet.attempt(node, "systemctl", "is-active", name).status != 0)
                #expect(try await !fleet.exec(node, "ls", "/var/lib/\(name)/\(kept)").isEmpty)
            }
            #expect(try await fleet.attempt("one", "test", "-e", "/var/lib/fleet-agent/program").status == 1)
        }
    }
}
