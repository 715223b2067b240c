import FleetSystem
import Testing

/// The main job on real nodes: a backup, damage, a restore, for every layout that the lab knows.
@Suite(.serialized, .enabled(if: Lab.isAvailable), .timeLimit(.minutes(45)))
struct RestoreTests {
    @Test(
        arguments: Lab.cases(
            2,
            of: [
                ["--kind", "stacked"], ["--kind", "external", "--layout", "debian"],
                ["--kind", "external", "--layout", "unit-flags"], ["--kind", "external", "--layout", "unit-env"],
                ["--kind", "external", "--layout", "kubespray"], ["--kind", "external", "--layout", "rpm"],
                ["--kind", "external", "--layout", "config-file"],
            ]))
    func keysComeBack(_ kind: [String]) async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("one", kind)
            let oldData = try await fleet.dataDirectory("one")
            try await fleet.etcdctl("one", "put", "/kept", "before")
            try await fleet.fleetctl("backup", "one")
            try await fleet.etcdctl("one", "del", "/kept")
            try await fleet.etcdctl("one", "put", "/lost", "after")
            let running = try await fleet.keptFiles("one", oldData).files
            #expect(
                running.keys.contains { $0.hasSuffix("/snap/db") } && running.keys.contains { $0.hasSuffix(".wal") })

            let isStacked = kind.contains("stacked")
            let kubelet = isStacked ? try await fleet.kubelet("one") : ""

            let planned = try await fleet.fleetctl("restore", "one", "--at", "latest", "--dry-run")
            #expect(planned.output.contains("-restore-") && planned.output.contains("nothing was changed"))
            #expect(try await fleet.value("one", "/lost") == "after", "a dry run changes nothing")

            // The old etcd is off there: as one unit it is stopped, as a static pod it is replaced.
            let off = isStacked ? "start-etcd:after" : "stop-etcd:after"
            try await fleet.allowHolds("one")
            try await fleet.hold("one", at: [off])
            async let restoring = fleet.fleetctl("restore", "one", "--at", "latest", "--yes", "--wait", "90s")
            try await fleet.held("one", at: off)
            let stopped = try await fleet.keptFiles("one", oldData).files
            try await fleet.release("one", from: off)
            let restored = try await restoring
            #expect(restored.output.contains("old data kept in \(oldData)"))
            #expect(try await fleet.value("one", "/kept") == "before")
            if isStacked {
                #expect(try await fleet.kubelet("one") != kubelet, "the kubelet was restarted")
                #expect(!restored.errors.contains("by hand"), "\(restored.errors)")
            }
            #expect(try await fleet.value("one", "/lost") == nil)
            let shown = try await fleet.fleetctl("cluster", "show", "one").output
            let newData = try await fleet.dataDirectory("one")
            #expect(shown.contains(newData), "once it has ended, the node's new directory is known: \(shown)")
            #expect(newData != oldData && newData.hasPrefix("\(oldData)-restore-"))
            #expect(stopped.mapValues(\.inode) == running.mapValues(\.inode), "they are the same files")
            #expect(
                try await fleet.keptFiles("one", oldData).files == stopped,
                "nothing has touched the old data since its etcd was off")
            let owner = try await fleet.exec("one", "stat", "-c", "%U:%G %a", oldData)
            #expect(try await fleet.exec("one", "stat", "-c", "%U:%G %a", newData) == owner)

            // The restored cluster has another id: it is backed up as before, and can be restored again.
            try await fleet.etcdctl("one", "put", "/second", "round")
            try await fleet.fleetctl("backup", "one")
            try await fleet.etcdctl("one", "del", "/second")
            try await fleet.fleetctl("restore", "one", "--at", "latest", "--yes", "--wait", "90s")
            #expect(try await fleet.value("one", "/second") == "round")
            let third = try await fleet.dataDirectory("one")
            #expect(
                third != newData && third.hasPrefix("\(oldData)-restore-"),
                "the former suffix is replaced, not piled up")
            #expect(try await fleet.fleetctl("audit", "verify").output.contains("the chain holds"))
        }
    }
}

extension LabFleet {
    func addCluster(_ name: String, _ kind: [String]) async throws { try await makeCluster(name, kind) }

    func kubelet(_ node: String) async throws -> String {
        try await exec(node, "systemctl", "show", "--property=MainPID", "kubelet")
    }

    /// As discovery finds it on the node.
    func dataDirectory(_ node: String) async throws -> String {
        try await exec(node, "fleet-agent", "discover").split(separator: "\n").first { $0.hasPrefix("dataDir") }
            .flatMap { $0.split(separator: " ").dropFirst().first.map(String.init) } ?? ""
    }
}
