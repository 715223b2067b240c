import FleetSystem
import Glibc
import Testing

/// Back behind a restore on real nodes, and the old data signed off.
@Suite(.serialized, .enabled(if: Lab.isAvailable), .timeLimit(.minutes(45)))
struct UndoTests {
    @Test(
        arguments: Lab.cases(
            1,
            of: [
                ["--kind", "external", "--layout", "rpm"], ["--kind", "stacked"],
                ["--kind", "external", "--layout", "debian"],
            ]))
    func oneMemberGoesBack(_ kind: [String]) async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("one", kind)
            let old = try await fleet.dataDirectory("one")
            try await fleet.etcdctl("one", "put", "/state", "saved")
            try await fleet.fleetctl("backup", "one")
            try await fleet.etcdctl("one", "put", "/state", "old")
            try await fleet.fleetctl("restore", "one", "--at", "latest", "--yes", "--wait", "60s")
            let restore = try await fleet.lastJob("one")
            #expect(try await fleet.value("one", "/state") == "saved")
            let restored = try await fleet.dataDirectory("one")
            try await fleet.etcdctl("one", "put", "/since", "restore")

            let planned = try await fleet.fleetctl("restore", "undo", restore, "--dry-run")
            #expect(planned.output.contains("back to   \(old)") && planned.output.contains("nothing was changed"))
            #expect(try await fleet.value("one", "/state") == "saved", "a dry run changes nothing")
            #expect(try await fleet.fleetctl("job", "show", restore).output.contains("can be undone"))

            let undone = try await fleet.fleetctl("restore", "undo", restore, "--yes", "--wait", "60s")
            #expect(undone.output.contains("undone: \(old) is in force again"), "\(undone.output)")
            #expect(try await fleet.value("one", "/state") == "old")
            #expect(try await fleet.value("one", "/since") == nil)
            #expect(try await fleet.dataDirectory("one") == old)
            #expect(try await fleet.exec("one", "ls", "\(restored)/member").contains("wal"), "it is kept")

            let undo = try await fleet.lastJob("one")
            #expect(try await fleet.fleetctl("job", "show", restore).output.contains("undone by \(undo)"))
            let wrong = try await fleet.tryFleetctl("restore", "cleanup", restore, "--yes")
            #expect(wrong.status == 1 && wrong.errors.contains("in force again"), "\(wrong.errors)")
            try await fleet.fleetctl("restore", "cleanup", undo, "--yes")
            #expect(try await fleet.exec("one", "sh", "-c", "ls -d \(restored)* || true").isEmpty)
            #expect(try await fleet.value("one", "/state") == "old")

            // It is backed up under its old id, and can be restored again.
            try await fleet.fleetctl("backup", "one")
            try await fleet.fleetctl("restore", "one", "--at", "latest", "--yes", "--wait", "60s")
            #expect(try await fleet.value("one", "/state") == "old")
            #expect(try await fleet.fleetctl("audit", "verify").output.contains("the chain holds"))
        }
    }

    /// The data directory is the mount point of a disk that is for etcd alone: all that is made is on that disk.
    @Test(
        arguments: Lab.cases(1, of: [["--kind", "stacked"], ["--kind", "external", "--layout", "kubespray"]]))
    func onADiskOfItsOwn(_ kind: [String]) async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("one", kind + ["--disk", "/var/lib/etcd=900M"])
            let old = try await fleet.dataDirectory("one")
            #expect(old == "/var/lib/etcd")
            func restore() async throws -> (job: String, directory: String) {
                try await fleet.fleetctl("backup", "one")
                try await fleet.fleetctl("restore", "one", "--at", "latest", "--yes", "--wait", "60s")
                let job = try await fleet.lastJob("one")
                let directory = try await fleet.dataDirectory("one")
                #expect(directory == "\(old)/data-restore-\(job)")
                return (job, directory)
            }
            func there() async throws -> Set<String> {
                Set(try await fleet.exec("one", "ls", old).split(separator: "\n").map(String.init))
            }
            // Somebody else's.
            try await fleet.exec("one", "touch", "\(old)/notes")
            try await fleet.etcdctl("one", "put", "/state", "saved")
            let first = try await restore()
            try await fleet.etcdctl("one", "put", "/state", "restored")
            try await fleet.fleetctl("restore", "undo", first.job, "--yes", "--wait", "60s")
            #expect(try await fleet.value("one", "/state") == "saved")
            #expect(try await fleet.dataDirectory("one") == old)
            try await fleet.fleetctl("restore", "cleanup", try await fleet.lastJob("one"), "--yes")
            #expect(try await there() == ["notes", "member"])

            let second = try await restore()
            #expect(
                try await fleet.fleetctl("job", "show", second.job).output.contains("old data kept in \(old)/member"))
            try await fleet.fleetctl("restore", "cleanup", second.job, "--yes")
            #expect(try await there() == ["notes", FileSystem.name(of: second.directory)])
            let third = try await restore()
            try await fleet.fleetctl("restore", "cleanup", third.job, "--yes")
            #expect(try await there() == ["notes", FileSystem.name(of: third.directory)])
            #expect(try await fleet.value("one", "/state") == "saved")
        }
    }

    @Test(
        arguments: Lab.cases(
            1,
            of: [
                ["--kind", "stacked"],
                ["--kind", "external", "--layout", "kubespray,rpm,config-file", "--wal-dir", "/var/lib/etcd-wal/wal"],
            ]))
    func allMembersGoBackAsOne(_ kind: [String]) async throws {
        try await LabFleet.with { fleet in
            let nodes = try await fleet.saved("ha", kind)
            var old: [String: String] = [:]
            for node in nodes { old[node] = try await fleet.dataDirectory(node) }
            try await fleet.fleetctl("restore", "ha", "--at", "latest", "--yes", "--wait", "60s")
            let restore = try await fleet.lastJob("ha")
            try await fleet.expectAll(nodes, "/state", "saved")
            let undone = try await fleet.fleetctl("restore", "undo", restore, "--yes", "--wait", "60s")
            #expect(undone.output.contains("undone on all 3 members"), "\(undone.output)")
            try await fleet.expectAll(nodes, "/state", "old")
            for node in nodes { #expect(try await fleet.dataDirectory(node) == old[node]) }

            // Again, and signed off this time; one node is away meanwhile.
            try await fleet.waitForAgent("ha", count: 3)
            try await fleet.fleetctl("restore", "ha", "--at", "latest", "--yes", "--wait", "60s")
            let second = try await fleet.lastJob("ha")
            try await fleet.exec(nodes[2], "systemctl", "stop", "fleet-agent")
            try await fleet.eventually("the coordinator knows") {
                try await fleet.fleetctl("agent", "list", "ha", "-o", "json").output.contains(#""connected" : false"#)
            }
            let part = try await fleet.tryFleetctl("restore", "cleanup", second, "--yes")
            #expect(part.status == 3 && part.errors.contains("still on \(nodes[2])"), "\(part.output)\(part.errors)")
            try await fleet.exec(nodes[2], "systemctl", "start", "fleet-agent")
            try await fleet.waitForAgent("ha", count: 3)
            try await fleet.fleetctl("restore", "cleanup", second, "--yes")
            for node in nodes {
                #expect(try await fleet.exec(node, "sh", "-c", "ls -d \(old[node]!)/member || true").isEmpty)
            }
            try await fleet.expectAll(nodes, "/state", "saved")
            let late = try await fleet.tryFleetctl("restore", "undo", second, "--yes")
            #expect(late.status == 1 && late.errors.contains("cleaned up on"), "\(late.errors)")
        }
    }

    /// The old data of one member was removed by hand: nothing is touched on any.
    @Test func whatIsGoneIsSaidBeforeAnythingBegins() async throws {
        try await LabFleet.with { fleet in
            let nodes = try await fleet.saved("ha", ["--kind", "external", "--layout", "debian"])
            let old = try await fleet.dataDirectory(nodes[1])
            try await fleet.fleetctl("restore", "ha", "--at", "latest", "--yes", "--wait", "60s")
            let restore = try await fleet.lastJob("ha")
            try await fleet.exec(nodes[1], "rm", "-rf", old)
            let result = try await fleet.tryFleetctl("restore", "undo", restore, "--yes", "--wait", "30s")
            #expect(result.status == 1, "\(result.output)\(result.errors)")
            #expect(result.errors.contains("\(nodes[1]): \(old) is gone"), "\(result.errors)")
            #expect(result.output.contains("nothing was changed on any member"), "\(result.output)")
            try await fleet.expectAll(nodes, "/state", "saved")
        }
    }

    /// Where one member does not start on its old data, all serve the restored data again.
    @Test func anUndoThatFailsIsTakenBack() async throws {
        try await LabFleet.with { fleet in
            let nodes = try await fleet.saved("ha", ["--kind", "external", "--layout", "kubespray"])
            try await fleet.fleetctl("restore", "ha", "--at", "latest", "--yes", "--wait", "60s")
            let restore = try await fleet.lastJob("ha")
            try await fleet.exec(nodes[2], "mkdir", "-p", "/etc/systemd/system/etcd.service.d")
            try await fleet.exec(
                nodes[2], "sh", "-c",
                "printf '[Service]\\nExecStartPre=/bin/sh -c \"grep -q restore- /etc/etcd.env\"\\n' >/etc/systemd/system/etcd.service.d/refuse.conf"
            )
            try await fleet.exec(nodes[2], "systemctl", "daemon-reload")
            let result = try await fleet.tryFleetctl("restore", "undo", restore, "--yes", "--wait", "15s")
            #expect(result.status == 4, "\(result.output)\(result.errors)")
            #expect(result.output.contains("the restored data are in force again"), "\(result.output)")
            try await fleet.expectAll(nodes, "/state", "saved")
            #expect(try await fleet.fleetctl("job", "show", restore).output.contains("can be undone"))
        }
    }
}

extension LabFleet {
    /// The newest job of a cluster that is no dry run.
    func lastJob(_ cluster: String) async throws -> String {
        let lines = try await fleetctl("job", "list", cluster).output.split(separator: "\n").dropFirst()
        let line = lines.first { !$0.contains("(dry run)") && ($0.contains(" restore ") || $0.contains(" undo ")) }
        return line?.split(separator: " ").first.map(String.init) ?? ""
    }
}

/// What a restore replaces, saved before it.
@Suite(.serialized, .enabled(if: Lab.isAvailable), .timeLimit(.minutes(45)))
struct SafetySnapshotTests {
    @Test func whatWasReplacedCanBeRestored() async throws {
        try await LabFleet.with { fleet in
            let nodes = try await fleet.saved("ha", ["--kind", "external", "--layout", "debian"])
            let planned = try await fleet.fleetctl("restore", "ha", "--at", "latest", "--dry-run")
            #expect(planned.output.ranges(of: "safety-snapshot: save what is there").count == 1, "\(planned.output)")
            try await fleet.fleetctl("restore", "ha", "--at", "latest", "--yes", "--wait", "60s")
            let restore = try await fleet.lastJob("ha")
            let list = try await fleet.fleetctl("snapshot", "list", "ha").output
            let line = try #require(list.split(separator: "\n").first { $0.contains("before restore \(restore)") })
            #expect(line.contains("verified, pinned"))
            let safety = String(line.split(separator: " ")[0])
            #expect(
                try await fleet.fleetctl("job", "show", restore).output.contains("saved what is there as \(safety)"))
            try await fleet.expectAll(nodes, "/state", "saved")

            try await fleet.waitForAgent("ha", count: 3)
            try await fleet.fleetctl(
                "restore", "ha", "--at", safety, "--yes", "--wait", "60s", "--no-safety-snapshot")
            try await fleet.expectAll(nodes, "/state", "old")
            let after = try await fleet.fleetctl("snapshot", "list", "ha").output
            #expect(after.ranges(of: "before restore").count == 1, "\(after)")
        }
    }

    /// No quorum, so nothing can be saved: the restore says so and goes on.
    @Test func aDeadClusterIsRestoredAllTheSame() async throws {
        try await LabFleet.with { fleet in
            let nodes = try await fleet.saved("ha", ["--kind", "external", "--layout", "kubespray"])
            for node in nodes { try await fleet.exec(node, "systemctl", "stop", "etcd") }
            let result = try await fleet.fleetctl("restore", "ha", "--at", "latest", "--yes", "--wait", "60s")
            #expect(
                result.errors.contains("what was there was not saved first, since etcd did not answer"),
                "\(result.errors)")
            try await fleet.expectAll(nodes, "/state", "saved")
        }
    }
}

private let bumpingEtcd = getenv("ETCD3516_DIR").map { String(cString: $0) }

/// Revisions on nodes whose etcd and tools can bump them (ETCD3516_DIR).
@Suite(.serialized, .enabled(if: Lab.isAvailable && bumpingEtcd != nil), .timeLimit(.minutes(45)))
struct RevisionLabTests {
    @Test func aWatcherOfThreeMembersIsToldToListAgain() async throws {
        try await LabFleet.with { fleet in
            let nodes = try await fleet.makeMembers("ha", ["--kind", "external", "--layout", "kubespray"])
            for node in nodes {
                for program in ["etcd", "etcdctl", "etcdutl"] {
                    try await fleet.exec(node, "sh", "-c", "rm -f $(command -v \(program))")
                    try await Lab.check(
                        "push", fleet.lab, node, "\(bumpingEtcd!)/\(program)", "/usr/local/bin/\(program)", "--mode",
                        "0755")
                }
                try await fleet.exec(node, "systemctl", "restart", "etcd")
            }
            try await fleet.etcdctl("ha", "put", "/registry/pods/a", "saved")
            try await fleet.fleetctl("backup", "ha")
            for round in 0..<5 { try await fleet.etcdctl("ha", "put", "/registry/pods/a", "\(round)") }
            async let watched = Lab.run(["watch", fleet.lab, "ha", "--until", "compacted", "--seconds", "120"])
            try await Task.sleep(for: .seconds(3))
            let planned = try await fleet.fleetctl("restore", "ha", "--at", "latest", "--dry-run")
            #expect(planned.output.ranges(of: "bumped by 1000000000").count == 1, "\(planned.output)")
            try await fleet.fleetctl("restore", "ha", "--at", "latest", "--yes", "--wait", "60s")
            try await fleet.expectAll(nodes, "/registry/pods/a", "saved")
            let saw = try await watched
            #expect(saw.succeeded && saw.outputText.contains("\"compacted\""), "\(saw.outputText)\(saw.complaint)")
        }
    }
}
