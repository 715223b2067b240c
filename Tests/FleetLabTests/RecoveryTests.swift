import FleetSystem
import Testing

/// The nights when the coordinator's host is lost, with the very commands of Coordinator/RECOVERY.md.
@Suite(.serialized, .enabled(if: Lab.isAvailable), .timeLimit(.minutes(45)))
struct RecoveryTests {
    private static let document =
        "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        + "/Coordinator/RECOVERY.md"
    private static let directory = "/var/lib/fleet-coordinator"

    /// The first block of commands behind the words, without its comments.
    private func commands(after words: String, _ fleet: LabFleet) async throws -> [String] {
        let address = try await Lab.check("address", fleet.lab, "hub")
        let lines = try FileSystem.readText(Self.document).split(separator: "\n", omittingEmptySubsequences: false)
        let start = try #require(lines.firstIndex { $0.contains(words) }, "RECOVERY.md does not say \(words)")
        let block = lines[start...].drop { !$0.hasPrefix("    ") }.prefix { $0.hasPrefix("    ") }
        return block.map { line in
            let command = line.split(separator: "   # ", maxSplits: 1)[0]
            return String(command).trimmed.replacing("fleet.example.org", with: address)
        }
    }

    private func follow(_ words: String, _ fleet: LabFleet) async throws -> String {
        var output = ""
        for command in try await commands(after: words, fleet) {
            let result = try await fleet.attempt("hub", "sh", "-c", command)
            #expect(result.status == 0, "\(command): \(result.errors)")
            output += result.output + result.errors
        }
        return output
    }

    /// A new machine as Install in README.md makes it, and what was kept of the old one.
    private func lose(_ fleet: LabFleet, keeping kept: String) async throws {
        try await fleet.exec("hub", "systemctl", "stop", "fleet-coordinator")
        try await fleet.exec(
            "hub", "sh", "-c",
            """
            rm -rf /srv/copy && mkdir /srv/copy && cd \(Self.directory) && cp -a \(kept) /srv/copy/ \
            && rm -rf \(Self.directory) && install -d -o fleet-coordinator -g fleet-coordinator -m 0700 \(Self.directory) \
            && cp -r --preserve=mode /srv/copy/. \(Self.directory)/ && chown -R root: \(Self.directory)/*
            """)
    }

    private func start(_ fleet: LabFleet) async throws {
        try await fleet.exec("hub", "systemctl", "start", "fleet-coordinator")
    }

    private func enrolAgain(_ node: String, _ fleet: LabFleet) async throws {
        let token = try await fleet.fleetctl("agent", "token", node).output.trimmed
        let enrolled = try await Lab.run(
            ["exec", fleet.lab, node, "--", "fleet-agent", "enroll", "--force", "-"], input: token + "\n")
        #expect(enrolled.succeeded, "\(enrolled.complaint)")
        try await fleet.exec(node, "systemctl", "restart", "fleet-agent")
        try await fleet.waitForAgent(node)
    }

    /// All members wait with etcd off, and whoever was to decide is gone with its catalogue.
    @Test func membersThatWaitForALostCoordinator() async throws {
        try await LabFleet.with { fleet in
            let nodes = try await fleet.saved("ha", ["--kind", "external", "--layout", "kubespray"])
            let snapshot = try await fleet.latestSnapshot("ha")
            try await fleet.armCrash(nodes[1], "gate-stop:before")
            // Whoever watches gives up by hand; the restore goes on without.
            async let watching = fleet.attempt(
                "hub", "timeout", "30", "fleetctl", "restore", "ha", "--at", snapshot, "--yes", "--wait", "60s")
            try await fleet.eventually("the agent died") { try await !fleet.isActive(nodes[1], "fleet-agent") }
            try await lose(fleet, keeping: "keys store")
            try await fleet.disarmCrash(nodes[1])
            _ = try await watching
            _ = try await follow("`keys/` is there", fleet)
            try await start(fleet)

            let look = try await commands(after: "**A restore was under way.**", fleet)
            for node in nodes {
                #expect(try await !fleet.isActive(node, "etcd"))
                var shown = ""
                for command in look { shown += try await fleet.exec(node, "sh", "-c", command) }
                #expect(shown.contains("has ended stop; waits for the others"), "\(node): \(shown)")
                let refused = try await fleet.attempt(node, "fleet-agent", "decide", "commit", "--yes")
                #expect(refused.status == 1 && refused.errors.contains("can't be committed here"), "\(refused.errors)")
            }
            for node in nodes {
                try await fleet.exec(node, "fleet-agent", "decide", "recall", "--yes")
                let token = try await fleet.fleetctl("agent", "token", "ha").output.trimmed
                let enrolled = try await Lab.run(
                    ["exec", fleet.lab, node, "--", "fleet-agent", "enroll", "--force", "-"], input: token + "\n")
                #expect(enrolled.succeeded, "\(enrolled.complaint)")
                try await fleet.exec(node, "systemctl", "start", "fleet-agent")
            }
            try await fleet.waitForAgent("ha", count: 3)
            try await fleet.expectAll(nodes, "/state", "old")
            try await fleet.eventually("it can be backed up again") {
                try await fleet.tryFleetctl("backup", "ha").status == 0
            }
        }
    }

    @Test func aNewCoordinator() async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("one", ["--kind", "external", "--layout", "debian"])
            try await fleet.etcdctl("one", "put", "/k", "before")
            try await fleet.fleetctl("backup", "one")
            let snapshot = try await fleet.latestSnapshot("one")
            try await fleet.exec("hub", "systemctl", "stop", "fleet-coordinator")
            let printed = try await fleet.exec(
                "hub", "runuser", "-u", "fleet-coordinator", "--", "fleet-coordinator", "rekey", "--new-recovery-key")
            let key = try #require(printed.split(separator: "\n").first { $0.hasPrefix("recovery key: ") })
            try await fleet.exec(
                "hub", "sh", "-c", "umask 077; echo '\(key.dropFirst(14).lowercased())' > /root/recovery.txt")

            // As root, into the directory of another user, nothing is done.
            try await lose(fleet, keeping: "keys store")
            for command in ["init --advertise h:7400", "rebuild-catalogue", "rekey"] {
                let refused = try await fleet.attempt("hub", "sh", "-c", "fleet-coordinator \(command)")
                #expect(refused.status == 2 && refused.errors.contains("runuser -u"), "\(command): \(refused.errors)")
            }

            // Keys and store are left.
            let kept = try await follow("`keys/` is there", fleet)
            #expect(kept.contains("agents of that fleet will obey it") && kept.contains("rebuild-catalogue"), "\(kept)")
            #expect(kept.contains("1 snapshots are in the catalogue again"), "\(kept)")
            try await start(fleet)
            try await enrolAgain("one", fleet)
            try await fleet.etcdctl("one", "put", "/k", "after")
            try await fleet.fleetctl("restore", "one", "--at", snapshot, "--yes")
            #expect(try await fleet.value("one", "/k") == "before")

            // The catalogue, too: the agent is known as before, and nothing has to be enrolled.
            try await lose(fleet, keeping: "keys store catalogue.db*")
            let whole = try await commands(after: "`keys/` is there", fleet).filter { !$0.contains("rebuild") }
            for command in whole { try await fleet.exec("hub", "sh", "-c", command) }
            try await start(fleet)
            try await fleet.waitForAgent("one")
            try await fleet.fleetctl("backup", "one")
            try await fleet.fleetctl("audit", "verify")

            // The store alone, and the paper, where it has a copy of what else there was.
            try await fleet.fleetctl("coordinator", "backup", "-f", "/root/fleet.copy")
            #expect(try await fleet.fleetctl("coordinator", "copies").output.split(separator: "\n").count >= 2)
            try await lose(fleet, keeping: "store")
            let same = try await follow("## The same coordinator", fleet)
            #expect(same.contains("is the coordinator of"), "\(same)")
            try await fleet.waitForAgent("one")
            try await fleet.fleetctl("backup", "one")
            #expect(try await fleet.fleetctl("audit", "log").output.contains("coordinator.restore"))
            try await fleet.fleetctl("audit", "verify")

            // The store alone, without one.
            try await fleet.exec("hub", "sh", "-c", "rm -rf \(Self.directory)/store/state")
            try await lose(fleet, keeping: "store")
            let alone = try await follow("`keys/` is lost", fleet)
            #expect(alone.contains("the authority is new") && alone.contains("4 snapshots are in the"), "\(alone)")
            #expect(try await fleet.attempt("hub", "ls", "\(Self.directory)/recovery.txt").status != 0)
            try await start(fleet)
            try await enrolAgain("one", fleet)
            try await fleet.etcdctl("one", "put", "/k", "after")
            try await fleet.fleetctl("restore", "one", "--at", snapshot, "--yes")
            #expect(try await fleet.value("one", "/k") == "before")
            try await fleet.fleetctl("store", "check", "--read-data")

            // What is in the log is for people: nothing but what the programs say of their work, and what systemd does.
            for (node, unit) in [("hub", "fleet-coordinator"), ("one", "fleet-agent")] {
                let log = try await fleet.exec(node, "journalctl", "-u", unit, "-o", "cat", "--no-pager")
                #expect(!log.contains("thread priority"), "\(log)")
            }
        }
    }
}
