import FleetSystem
import Testing

/// A kubelet that does not notice that a manifest has changed, only that one goes or comes: the agent moves etcd's
/// manifest out and back, on the way to the restored data and on the way back, and says so.
@Suite(.serialized, .enabled(if: Lab.isAvailable), .timeLimit(.minutes(45)))
struct KubeletTests {
    private static let middleOfAPush = "move-manifest-out:after"
    private static let note = "the kubelet did not notice the changed manifest: it was moved out and back"

    @Test func isPushedToTheRestoredData() async throws {
        try await withSlowKubelet { fleet, restore in
            try await fleet.etcdctl("one", "put", "/state", "old")
            let result = try await restore()
            #expect(result.status == 0, "\(result.output)\(result.errors)")
            #expect(result.errors.contains("start-etcd done: \(Self.note)"), "\(result.errors)")
            #expect(try await fleet.value("one", "/state") == "saved")
            try await fleet.checkManifests("one")
            let job = result.errors.split(separator: "\n").first { $0.hasPrefix("job ") }?.dropFirst(4) ?? ""
            #expect(try await fleet.fleetctl("job", "show", String(job)).output.contains(Self.note))

            // The agent is killed while the manifest is in neither place that anybody looks at.
            try await fleet.etcdctl("one", "put", "/state", "old")
            try await fleet.hold("one", at: [Self.middleOfAPush])
            async let restoring = restore()
            try await fleet.held("one", at: Self.middleOfAPush)
            #expect(try await fleet.attempt("one", "test", "-e", Self.manifest).status == 1)
            try await fleet.killAgent("one", at: Self.middleOfAPush)
            let second = try await restoring
            #expect(second.status == 0, "\(second.output)\(second.errors)")
            #expect(second.errors.contains("start-etcd done: \(Self.note)"), "\(second.errors)")
            #expect(try await fleet.value("one", "/state") == "saved")
            try await fleet.checkManifests("one")
        }
    }

    /// The old manifest returns, and that is not noticed either.
    @Test func isPushedBackToTheOldData() async throws {
        try await withSlowKubelet { fleet, restore in
            // An etcd that ends again and again is not there most of the time: it can't be seen to go.
            try await goingBack(fleet, restore, failing: "restore-data:after") {
                try await fleet.exec(
                    "one", "sh", "-c",
                    "dd if=/dev/urandom bs=4096 count=2 conv=notrunc status=none of=$(ls -dt /var/lib/etcd-restore-* | head -n 1)/member/snap/db"
                )
            }
            // No etcd at all, and the agent is killed while the manifest is away.
            try await goingBack(fleet, restore, failing: "verify:before") {
                try await fleet.exec("one", "sh", "-c", "podman stop $(podman ps --quiet --filter name=etcd-etcd)")
                try await fleet.hold("one", at: [Self.middleOfAPush])
            } meanwhile: {
                try await fleet.held("one", at: Self.middleOfAPush)
                try await fleet.killAgent("one", at: Self.middleOfAPush)
            }
        }
    }

    private func goingBack(
        _ fleet: LabFleet, _ restore: @escaping Restore, failing point: String, by fault: () async throws -> Void,
        meanwhile: () async throws -> Void = {}
    ) async throws {
        try await fleet.etcdctl("one", "put", "/state", "old")
        let data = try await fleet.dataDirectory("one")
        let before = try await fleet.exec("one", "cat", Self.manifest)
        try await fleet.hold("one", at: [point])
        async let restoring = restore()
        try await fleet.held("one", at: point)
        try await fault()
        try await fleet.release("one", from: point)
        try await meanwhile()
        let result = try await restoring
        #expect(
            result.status == 4 && result.output.contains("ROLLED-BACK") && result.errors.contains("hint:"),
            "\(result.output)\(result.errors)")
        #expect(result.errors.contains("switch-files was taken back; \(Self.note)"), "\(result.errors)")
        #expect(try await fleet.value("one", "/state") == "old")
        #expect(try await fleet.dataDirectory("one") == data)
        #expect(try await fleet.exec("one", "cat", Self.manifest) == before)
        try await fleet.checkManifests("one")
    }

    private typealias Restore = @Sendable () async throws -> LabFleet.Result
    private static let manifest = "/etc/kubernetes/manifests/etcd.yaml"

    private func withSlowKubelet(
        _ body: (LabFleet, _ restore: @escaping Restore) async throws -> Void
    ) async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("one", ["--kind", "stacked"])
            try await fleet.etcdctl("one", "put", "/state", "saved")
            try await fleet.fleetctl("backup", "one")
            let snapshot = try await fleet.latestSnapshot("one")
            try await fleet.allowHolds("one")
            try await fleet.exec("one", "touch", "/run/kubelet-misses-changes")
            try await body(fleet) {
                try await fleet.tryFleetctl("restore", "one", "--at", snapshot, "--yes", "--wait", "15s")
            }
        }
    }
}

extension LabFleet {
    /// All are where the kubelet looks, and nothing is left where they were meanwhile.
    fileprivate func checkManifests(_ node: String) async throws {
        let there = try await exec(node, "ls", "/etc/kubernetes", "/etc/kubernetes/manifests")
        for name in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
            #expect(there.contains("\(name).yaml"), "\(there)")
        }
        #expect(!there.contains("fleet"), "\(there)")
    }

    /// systemd starts it again two seconds later.
    fileprivate func killAgent(_ node: String, at point: String) async throws {
        try await exec(node, "systemctl", "kill", "-s", "KILL", "fleet-agent")
        try await release(node, from: point)
    }
}
