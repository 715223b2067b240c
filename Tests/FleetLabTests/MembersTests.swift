import FleetSystem
import Testing

/// Clusters of three members restored as one: afterwards all serve the restored data, or all the old.
@Suite(.serialized, .enabled(if: Lab.isAvailable), .timeLimit(.minutes(45)))
struct MembersTests {
    private static let mixed = [
        "--kind", "external", "--layout", "kubespray,rpm,config-file", "--wal-dir", "/var/lib/etcd-wal/wal",
    ]
    /// In the last one the WAL would be in another file than the data directory.
    private static let others = ["--kind", "external", "--layout", "debian,unit-flags,unit-env"]

    /// Every layout with both versions of etcd.
    @Test(
        arguments: Lab.cases(
            2,
            of: [
                mixed + ["--etcd", "3.5"], ["--kind", "stacked", "--etcd", "3.5"], others + ["--etcd", "3.4"],
                ["--kind", "static", "--etcd", "3.4"], ["--kind", "static", "--etcd", "3.5"],
                ["--kind", "stacked", "--etcd", "3.4"], mixed + ["--etcd", "3.4"], others + ["--etcd", "3.5"],
                ["--kind", "external", "--layout", "kubespray", "--disk", "/var/lib/etcd=900M"],
                ["--kind", "stacked", "--disk", "/var/lib/etcd=900M"],
            ]))
    func keysComeBackOnAll(_ kind: [String]) async throws {
        try await LabFleet.with { fleet in
            let nodes = try await fleet.saved("ha", kind)
            try await fleet.etcdctl("ha", "del", "/kept")
            var oldData: [String: String] = [:]
            for node in nodes { oldData[node] = try await fleet.dataDirectory(node) }

            let planned = try await fleet.fleetctl("restore", "ha", "--at", "latest", "--dry-run")
            #expect(planned.output.contains("plan for ha: 3 members, restored as one"))
            let shown = planned.output.split(separator: "\n").filter { $0.hasPrefix("on ") }.joined()
            for node in nodes { #expect(shown.ranges(of: node).count == 1, "\(shown)") }
            #expect(planned.output.contains("nothing was changed"))
            #expect(try await fleet.value("ha", "/state") == "old", "a dry run changes nothing")

            let restored = try await fleet.fleetctl("restore", "ha", "--at", "latest", "--yes", "--wait", "60s")
            #expect(restored.output.contains("restored") && restored.output.contains("on all 3 members"))
            try await fleet.expectAll(nodes, "/state", "saved")
            #expect(try await fleet.value("ha", "/kept") == "before")
            #expect(
                try await fleet.etcdctl("ha", "member", "list").split(separator: "\n").filter {
                    $0.contains("started")
                }.count == 3)
            for (node, old) in oldData {
                let beside = kind.contains("--disk") ? "\(old)/data-restore-" : "\(old)-restore-"
                #expect(try await fleet.dataDirectory(node).hasPrefix(beside))
                #expect(try await fleet.exec(node, "ls", "\(old)/member").contains("snap"), "the old data is kept")
            }

            // The restored cluster is backed up as before, and can be restored again.
            try await fleet.etcdctl("ha", "put", "/second", "round")
            try await fleet.etcdctl("ha", "del", "/kept")
            try await fleet.compactAll("ha")
            try await fleet.waitForAgent("ha", count: 3)
            try await fleet.fleetctl("backup", "ha")
            try await fleet.etcdctl("ha", "del", "/second")
            try await fleet.fleetctl("restore", "ha", "--at", "latest", "--yes", "--wait", "60s")
            try await fleet.expectAll(nodes, "/second", "round")
            #expect(try await fleet.value("ha", "/kept") == nil, "the deletion that was compacted too")
            #expect(try await fleet.fleetctl("audit", "verify").output.contains("the chain holds"))
        }
    }

    /// What somebody has stopped is not waited for, neither to be asked what is there nor to hand over to the others.
    @Test func oneWhoseEtcdIsStopped() async throws {
        try await LabFleet.with { fleet in
            let nodes = try await fleet.saved("ha", ["--kind", "external", "--layout", "kubespray"])
            try await fleet.exec(nodes[2], "systemctl", "stop", "etcd")
            let restored = try await fleet.fleetctl("restore", "ha", "--at", "latest", "--yes", "--wait", "60s")
            #expect(restored.output.contains("on all 3 members"), "\(restored.output)")
            try await fleet.expectAll(nodes, "/state", "saved")
            let took = try await fleet.stepTimes("ha", on: nodes[2])
            print("steps of a member whose etcd was stopped: \(took)")
            for step in ["preflight", "stop-etcd"] {
                let time = try #require(took[step], "\(step) was told")
                #expect(time < .seconds(5), "\(step)")
            }
        }
    }

    @Test func whoIsMissingIsNamedBeforeAnythingBegins() async throws {
        try await LabFleet.with { fleet in
            let nodes = try await fleet.saved("ha", ["--kind", "external", "--layout", "debian"])
            try await fleet.exec(nodes[1], "systemctl", "stop", "fleet-agent")
            try await fleet.eventually("the coordinator knows") {
                try await fleet.fleetctl("agent", "list", "ha", "-o", "json").output.contains(#""connected" : false"#)
            }
            let result = try await fleet.tryFleetctl("restore", "ha", "--at", "latest", "--yes")
            #expect(result.status == 1 && result.errors.contains("not connected: \(nodes[1])"), "\(result.errors)")
            // A backup needs any one of them.
            try await fleet.fleetctl("backup", "ha")
            try await fleet.expectAll(nodes, "/state", "old")
        }
    }

    /// systemd refuses to start one member's etcd on the restored directory.
    @Test func oneThatDoesNotStartTakesAllBack() async throws {
        try await LabFleet.with { fleet in
            let nodes = try await fleet.saved("ha", ["--kind", "external", "--layout", "kubespray"])
            try await fleet.exec(nodes[2], "mkdir", "-p", "/etc/systemd/system/etcd.service.d")
            try await fleet.exec(
                nodes[2], "sh", "-c",
                "printf '[Service]\\nExecStartPre=/bin/sh -c \"! grep -q restore- /etc/etcd.env\"\\n' >/etc/systemd/system/etcd.service.d/refuse.conf"
            )
            try await fleet.exec(nodes[2], "systemctl", "daemon-reload")
            let result = try await fleet.tryFleetctl("restore", "ha", "--at", "latest", "--yes", "--wait", "15s")
            #expect(result.status == 4, "\(result.output)\(result.errors)")
            #expect(result.output.contains("ROLLED-BACK") && result.errors.contains(nodes[2]))
            try await fleet.expectAll(nodes, "/state", "old")
            for node in nodes {
                #expect(
                    try await fleet.exec(node, "cat", "/etc/etcd.env").contains("ETCD_DATA_DIR=/var/lib/etcd\n"))
            }
        }
    }
}

extension LabFleet {
    /// A cluster of three with a snapshot in which `/state` is "saved" and `/kept` "before"; now `/state` is "old".
    func saved(_ name: String, _ kind: [String]) async throws -> [String] {
        let nodes = try await makeMembers(name, kind)
        try await etcdctl(name, "put", "/state", "saved")
        try await etcdctl(name, "put", "/kept", "before")
        try await fleetctl("backup", name)
        try await etcdctl(name, "put", "/state", "old")
        return nodes
    }

    /// Up to the newest revision, as etcd's own recipe against a full database does.
    func compactAll(_ node: String) async throws {
        let status = try await etcdctl(node, "endpoint", "status", "--write-out=json")
        let revision = status.split(separator: "\"revision\":").dropFirst().first?.prefix { $0.isNumber }
        try await etcdctl(node, "compact", String(try #require(revision)))
    }

    /// How long each step of the cluster's last restore took on a node.
    func stepTimes(_ cluster: String, on node: String) async throws -> [String: Duration] {
        struct Job: Decodable {
            struct Event: Decodable {
                var time: Timestamp
                var kind: String
                var step: String?
            }
            var id: String
            var kind: String
            var node: String
            var events: [Event]?
            var members: [Job]?
        }
        let jobs = try JSON.decode(
            [Job].self, from: try await fleetctl("job", "list", cluster, "-o", "json").output.utf8)
        let last = try #require(jobs.filter { $0.kind == "restore" }.max { $0.id < $1.id })
        let shown = try JSON.decode(
            Job.self, from: try await fleetctl("job", "show", last.id, "-o", "json").output.utf8)
        let own = try #require(([shown] + (shown.members ?? [])).first { $0.node == node })
        var began: [String: Timestamp] = [:]
        var times: [String: Duration] = [:]
        for event in own.events ?? [] {
            guard let step = event.step else { continue }
            if event.kind == "step-started" { began[step] = event.time }
            if event.kind == "step-done", let start = began[step] { times[step] = event.time.since(start) }
        }
        return times
    }

    /// A restore during which one node's agent dies at a point; `then` happens after that.
    func restoring(
        _ nodes: [String], crashing node: String, at point: String, _ snapshot: String, wait: String = "60s",
        _ then: () async throws -> Void
    ) async throws -> Result {
        try await armCrash(node, point)
        async let restoring = tryFleetctl("restore", "ha", "--at", snapshot, "--yes", "--wait", wait)
        try await eventually("the agent died at \(point)") { try await !isActive(node, "fleet-agent") }
        try await then()
        return try await restoring
    }

    /// Every member serves this value, each asked by itself.
    func expectAll(_ nodes: [String], _ key: String, _ expected: String) async throws {
        for node in nodes {
            var served: String?
            try await eventually("etcd on \(node) answers") {
                served = try await value(node, key)
                return true
            }
            #expect(served == expected, "\(node)")
        }
    }
}
