import FleetSystem
import Testing

/// What people type, right and wrong, against a real fleet of two clusters.
@Suite(.serialized, .enabled(if: Lab.isAvailable), .timeLimit(.minutes(45)))
struct CommandTests {
    @Test func twoClusters() async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("one", ["--kind", "external", "--layout", "debian"])
            try await fleet.addCluster("two", ["--kind", "external", "--layout", "config-file"])
            try await fleet.etcdctl("one", "put", "/k", "v")

            let all = try await fleet.fleetctl("backup", "--all")
            #expect(all.output.contains("one  ok") && all.output.contains("two  ok"))

            // A partial failure has its own status and names who failed and why.
            try await fleet.exec("two", "systemctl", "stop", "fleet-agent")
            try await fleet.eventually("the coordinator knows") {
                try await fleet.fleetctl("agent", "list", "two", "-o", "json").output.contains(#""connected" : false"#)
            }
            let partial = try await fleet.tryFleetctl("backup", "--all")
            #expect(partial.status == 3 && partial.output.contains("one  ok") && partial.output.contains("two  FAILED"))
            #expect(partial.errors.contains("failed: two") && partial.errors.contains("hint:"))
            #expect(try await fleet.tryFleetctl("status").status == 3)
            try await fleet.exec("two", "systemctl", "start", "fleet-agent")
            try await fleet.waitForAgent("two")

            // Snapshots by id, beginning, time; and none of another cluster unless that is said.
            let snapshot = try await fleet.latestSnapshot("one")
            #expect(
                try await fleet.fleetctl("snapshot", "show", String(snapshot.dropLast(2))).output.contains(snapshot))
            let other = try await fleet.tryFleetctl("restore", "two", "--at", snapshot, "--yes")
            #expect(
                other.status == 1 && other.errors.contains("of cluster one, not of two")
                    && other.errors.contains("--from-other-cluster"))
            let early = try await fleet.tryFleetctl("restore", "one", "--at", "2020-01-01", "--yes")
            #expect(early.status == 1 && early.errors.contains("there is no snapshot"))
            let unknown = try await fleet.tryFleetctl("restore", "one", "--at", "20200101-000000-aaaa", "--yes")
            #expect(unknown.status == 1 && unknown.errors.contains("there is no snapshot"))
            let ambiguous = try await fleet.tryFleetctl("snapshot", "show", "20")
            #expect(ambiguous.status == 1 && ambiguous.errors.contains("give more of it"))

            // Without a terminal nobody can say yes.
            let asked = try await fleet.tryFleetctl("restore", "one", "--at", "latest")
            #expect(asked.status == 6 && asked.errors.contains("nothing was done"))

            // Exported bytes are a snapshot that etcd's own tool accepts.
            try await fleet.exec("hub", "fleetctl", "snapshot", "export", snapshot, "-f", "/root/one.db")
            let again = try await fleet.tryFleetctl("snapshot", "export", snapshot, "-f", "/root/one.db")
            #expect(again.status == 1 && again.errors.contains("exists already"))
            let root = try await Lab.check("root", fleet.lab, "hub")
            let status = try await Lab.run([
                "etcdctl", fleet.lab, "one", "--", "snapshot", "status", root + "/root/one.db",
            ])
            #expect(status.succeeded, "\(status.complaint)")

            // What is in it, read where it is stored; the node's etcd and the coordinator say the same of it.
            let shown = try await fleet.fleetctl("snapshot", "show", snapshot).output
            #expect(shown.contains("and the node's etcd says the same"), "\(shown)")
            #expect(try await fleet.fleetctl("snapshot", "ls", snapshot).output.contains(" /k\n"))
            #expect(try await fleet.fleetctl("snapshot", "cat", snapshot, "/k").output == "v")
            try await fleet.etcdctl("one", "put", "/registry/secrets/a/b", "hunter2")
            try await fleet.fleetctl("backup", "one")
            let later = try await fleet.latestSnapshot("one")
            let diff = try await fleet.fleetctl("snapshot", "diff", snapshot, later)
            #expect(diff.output.hasSuffix("\n+ /registry/secrets/a/b\n"), "\(diff.output)")
            let hidden = try await fleet.tryFleetctl("snapshot", "cat", later, "/registry/secrets/a/b")
            #expect(hidden.status == 1 && hidden.output.isEmpty && hidden.errors.contains("--show-secrets"))

            // The same file for the same cluster is there already; for another one it is foreign.
            let twice = try await fleet.tryFleetctl("snapshot", "import", "/root/one.db", "--cluster", "one")
            // (Backups of an idle etcd are the same file, byte for byte: any of them may be named.)
            #expect(twice.status == 1 && twice.errors.contains("has this very file already"), "\(twice.errors)")
            let imported = try await fleet.fleetctl("snapshot", "import", "/root/one.db", "--cluster", "two")
            #expect(imported.output.contains("  foreign  two  "))

            // ctrl-c ends the watching, and says that it does no more.
            let left = try await fleet.attempt(
                "hub", "timeout", "-s", "INT", "1", "fleetctl", "restore", "one", "--at", snapshot, "--yes")
            #expect(left.status == 124 && left.errors.contains("the restore goes on by itself; see 'fleetctl job"))
            let id = try #require(
                left.errors.split(separator: "\n").first { $0.hasPrefix("job ") }.map { String($0.dropFirst(4)) })
            // Whoever looks in later follows it to its end.
            let watched = try await fleet.tryFleetctl("job", "watch", id)
            #expect(watched.status == 0 && watched.output.contains("verify done"), "\(watched.output)")
            #expect(watched.output.contains("\nok  restored \(snapshot)"), "\(watched.output)")
            try await expectLogs(fleet, of: id)

            // Whoever is not root does not get in by the socket.
            let nobody = try await fleet.attempt("hub", "runuser", "-u", "nobody", "--", "fleetctl", "cluster", "list")
            #expect(nobody.status != 0)

            // Wrong tokens.
            let token = try await fleet.fleetctl("agent", "token", "one").output.trimmed
            for (text, complaint) in [(String(token.dropLast()), ""), ("nonsense", "not a join token")] {
                let refused = try await Lab.run(
                    [
                        "exec", fleet.lab, "two", "--", "fleet-agent", "enroll", "-", "--force", "--state",
                        "/root/other",
                    ], input: text + "\n")
                #expect(!refused.succeeded && String(decoding: refused.errors, as: UTF8.self).contains(complaint))
            }
            for (succeeds, complaint) in [(true, ""), (false, "was used already")] {
                let outcome = try await Lab.run(
                    [
                        "exec", fleet.lab, "two", "--", "fleet-agent", "enroll", "-", "--force", "--state",
                        "/root/other", "--name", "spare",
                    ], input: token + "\n")
                #expect(
                    outcome.succeeded == succeeds && String(decoding: outcome.errors, as: UTF8.self).contains(complaint)
                )
            }

            // Everything of this is on record, and the record is whole.
            let log = try await fleet.fleetctl("audit", "log", "--limit", "1000").output
            for action in [
                "cluster.add", "token.create", "enrol", "job.create", "snapshot.store", "snapshot.export", "refused",
            ] {
                #expect(log.contains(action), "\(action)")
            }
            #expect(try await fleet.fleetctl("audit", "verify").output.contains("the chain holds"))

            // An edited event is found.
            try await fleet.exec("hub", "systemctl", "stop", "fleet-coordinator")
            let edit =
                "import sqlite3; c = sqlite3.connect('/var/lib/fleet-coordinator/catalogue.db'); "
                + "c.execute('PRAGMA writable_schema=ON'); "
                + "[c.execute('DROP TRIGGER ' + n) for (n,) in c.execute(\"SELECT name FROM sqlite_master WHERE type='trigger' AND tbl_name='audit_events'\").fetchall()]; "
                + "c.execute(\"UPDATE audit_events SET body = replace(body, 'cluster.add', 'cluster.odd') WHERE sequence = 1\"); c.commit()"
            let database = try await Lab.check("root", fleet.lab, "hub") + "/var/lib/fleet-coordinator/catalogue.db"
            let edited = edit.replacing("/var/lib/fleet-coordinator/catalogue.db", with: database)
            _ = try await Blocking.run { try Subprocess.check("/usr/bin/python3", ["-c", edited]) }
            try await fleet.exec("hub", "systemctl", "start", "fleet-coordinator")
            let broken = try await fleet.tryFleetctl("audit", "verify")
            #expect(
                broken.status == 3 && broken.output.contains("BROKEN at event 1"), "\(broken.output)\(broken.errors)")
        }
    }

    /// The catalogue is lost, the store is not.
    @Test func theCatalogueIsRebuilt() async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("one", ["--kind", "external", "--layout", "debian"])
            try await fleet.fleetctl("backup", "one")
            let snapshot = try await fleet.latestSnapshot("one")
            try await fleet.exec("hub", "systemctl", "stop", "fleet-coordinator")
            try await fleet.exec("hub", "fleet-coordinator", "export", snapshot, "-f", "/root/offline.db")
            try await fleet.exec(
                "hub", "sh", "-c", "mkdir /root/old && mv /var/lib/fleet-coordinator/catalogue.db* /root/old/")
            let rebuilt = try await fleet.exec(
                "hub", "runuser", "-u", "fleet-coordinator", "--", "fleet-coordinator", "rebuild-catalogue")
            #expect(rebuilt.contains("1 snapshots are in the catalogue again"))
            try await fleet.exec("hub", "systemctl", "start", "fleet-coordinator")
            #expect(try await fleet.latestSnapshot("one") == snapshot)
        }
    }

    /// What both programs said under systemd is one object a line, and the job's id leads from one to the other.
    private func expectLogs(_ fleet: LabFleet, of job: String) async throws {
        for (node, unit, first) in [
            ("hub", "fleet-coordinator", "restore is asked for by root"), ("one", "fleet-agent", "job restore begins"),
        ] {
            let text = try await fleet.exec(
                node, "journalctl", "-o", "cat", "--no-pager", "_SYSTEMD_UNIT=\(unit).service")
            var of: [[String: String]] = []
            for line in text.split(separator: "\n") {
                let fields = try JSON.decode([String: String].self, from: Array(line.utf8))
                if fields["job"] == job { of.append(fields) }
            }
            #expect(of.first?["message"] == first, "\(of)")
            #expect(of.last?["message"]?.contains("succeeded") == true, "\(of)")
        }
    }
}
