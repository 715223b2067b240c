import FleetSystem
import Testing

/// Faults around a backup and a restore: processes killed, cables pulled, disks full, files changed by others. Each ends
/// in a clear error or in success, with nothing lost and nothing half done.
@Suite(.serialized, .enabled(if: Lab.isAvailable), .timeLimit(.minutes(20)))
struct FaultTests {
    // MARK: the stream is cut

    @Test func coordinatorKilledInAStream() async throws {
        try await streaming { fleet in
            try await fleet.exec("hub", "systemctl", "kill", "-s", "KILL", "fleet-coordinator")
        } expecting: { fleet, result in
            #expect(result.status == 0, "\(result.output)\(result.errors)")
            #expect(result.output.contains("one  ok"))
            let journal = try await fleet.exec(
                "hub", "journalctl", "-u", "fleet-coordinator", "-o", "cat", "--no-pager")
            #expect(journal.contains("serving on"))
        }
    }

    @Test func cablePulledInAStream() async throws {
        try await streaming { fleet in
            try await Lab.check("link", fleet.lab, "one", "down")
            try await Task.sleep(for: .seconds(3))
            try await fleet.exec("hub", "systemctl", "kill", "-s", "KILL", "fleet-coordinator")
            try await Lab.check("link", fleet.lab, "one", "up")
        } expecting: { _, result in
            #expect(result.status == 0, "\(result.output)\(result.errors)")
        }
    }

    @Test func agentKilledInAStream() async throws {
        try await streaming { fleet in
            try await fleet.exec("one", "systemctl", "kill", "-s", "KILL", "fleet-agent")
        } expecting: { fleet, result in
            #expect(result.status == 1)
            #expect(
                result.output.contains("FAILED") && result.output.contains("nothing was changed")
                    || result.errors.contains("nothing was changed"))
            #expect(
                try await fleet.fleetctl("snapshot", "list", "one", "-o", "json").output.trimmed == "[\n\n]",
                "what did not arrive whole is not a snapshot")
            #expect(try await fleet.spooled("one").isEmpty)
            // And the next one is as if nothing had been.
            try await fleet.waitForAgent("one")
            try await fleet.fleetctl("backup", "one")
        }
    }

    @Test func etcdThatIsDown() async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("one", ["--kind", "external", "--layout", "kubespray"])
            try await fleet.exec("one", "systemctl", "stop", "etcd")
            let result = try await fleet.tryFleetctl("backup", "one")
            #expect(result.status == 1 && result.output.contains("FAILED"))
            #expect(try await fleet.spooled("one").isEmpty)
        }
    }

    /// A backup of 40 MB over a slow cable; `fault` happens when some of it has arrived.
    private func streaming(
        _ fault: (LabFleet) async throws -> Void, expecting check: (LabFleet, LabFleet.Result) async throws -> Void
    ) async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("one", ["--kind", "external", "--layout", "kubespray"])
            try await fleet.fill("one", megabytes: 40)
            try await fleet.slowDown("one", megabitsASecond: 60)
            async let running = fleet.tryFleetctl("backup", "one")
            try await fleet.eventually("bytes arrive", within: .seconds(40)) {
                let sizes = try await fleet.exec(
                    "hub", "find", "/var/lib/fleet-coordinator/store/packs", "-type", "f", "-size", "+4096k")
                return !sizes.trimmed.isEmpty
            }
            try await fault(fleet)
            try await check(fleet, try await running)
            if let snapshot = try? await fleet.latestSnapshot("one"), !snapshot.isEmpty {
                // Byte for byte what etcd's own tool accepts.
                try await fleet.exec("hub", "fleetctl", "snapshot", "export", snapshot, "-f", "/root/exported.db")
            }
            let left = try await fleet.exec("hub", "find", "/var/lib/fleet-coordinator/store/incoming", "-type", "f")
            #expect(left.trimmed.isEmpty)
        }
    }

    // MARK: killed in a save

    @Test func agentKilledInASave() async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("one", ["--kind", "external", "--layout", "kubespray"])
            for point in ["preflight:after", "save:before", "save:after", "stream:before", "stream:after"] {
                try await fleet.armCrash("one", point)
                async let running = fleet.tryFleetctl("backup", "one")
                try await fleet.eventually("the agent died at \(point)") {
                    try await !fleet.isActive("one", "fleet-agent")
                }
                try await fleet.disarmCrash("one")
                let result = try await running
                let stored = try await fleet.fleetctl("snapshot", "list", "one", "-o", "json").output.contains(
                    "verified")
                // Once the snapshot is stored the backup has succeeded, whatever became of the agent afterwards.
                #expect(result.status == (stored ? 0 : 1), "\(point): \(result.output)\(result.errors)")
                #expect(stored == (point == "stream:after"), "\(point)")
                try await fleet.waitForAgent("one")
                #expect(try await fleet.spooled("one").isEmpty, "\(point)")
            }
            try await fleet.fleetctl("backup", "one")
        }
    }

    // MARK: the coordinator and the network in a restore

    /// The agent is dead at a step while the coordinator is killed; then both come back.
    @Test func coordinatorKilledInARestore() async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("one", ["--kind", "external", "--layout", "debian"])
            try await fleet.etcdctl("one", "put", "/state", "saved")
            try await fleet.fleetctl("backup", "one")
            let snapshot = try await fleet.latestSnapshot("one")
            for point in [
                "fetch:before", "restore-data:after", "stop-etcd:after", "switch-files:after", "verify:after",
                "finish:after",
            ] {
                try await fleet.etcdctl("one", "put", "/state", point)
                try await fleet.armCrash("one", point)
                async let restoring = fleet.tryFleetctl("restore", "one", "--at", snapshot, "--yes", "--wait", "60s")
                try await fleet.eventually("the agent died") { try await !fleet.isActive("one", "fleet-agent") }
                try await fleet.exec("hub", "systemctl", "kill", "-s", "KILL", "fleet-coordinator")
                try await fleet.disarmCrash("one")
                try await fleet.checkOutcome(
                    "one", try await restoring, saved: "saved", old: point, at: "coordinator killed at \(point)")
            }
            #expect(try await fleet.fleetctl("audit", "verify").output.contains("the chain holds"))
        }
    }

    /// Once the snapshot is on the node the restore needs nobody: it goes on without the network, and the coordinator
    /// learns of it when the cable is back.
    @Test func cablePulledInARestore() async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("one", ["--kind", "external", "--layout", "kubespray"])
            try await fleet.etcdctl("one", "put", "/state", "saved")
            try await fleet.fleetctl("backup", "one")
            try await fleet.etcdctl("one", "put", "/state", "old")
            try await fleet.armCrash("one", "restore-data:after")
            async let restoring = fleet.tryFleetctl("restore", "one", "--at", "latest", "--yes", "--wait", "60s")
            try await fleet.eventually("the agent died") { try await !fleet.isActive("one", "fleet-agent") }
            try await Lab.check("link", fleet.lab, "one", "down")
            try await fleet.disarmCrash("one")
            try await fleet.eventually("the restore is done without a network") {
                try await fleet.value("one", "/state") == "saved"
            }
            try await Lab.check("link", fleet.lab, "one", "up")
            try await fleet.checkOutcome("one", try await restoring, saved: "saved", old: "old", at: "cable pulled")
        }
    }

    // MARK: rollback

    @Test func aKubeletThatDoesNotReact() async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("one", ["--kind", "stacked"])
            try await fleet.etcdctl("one", "put", "/state", "saved")
            try await fleet.fleetctl("backup", "one")
            try await fleet.etcdctl("one", "put", "/state", "old")
            let before = try await fleet.exec("one", "cat", "/etc/kubernetes/manifests/etcd.yaml")
            try await fleet.exec("one", "systemctl", "stop", "kubelet")
            let result = try await fleet.tryFleetctl("restore", "one", "--at", "latest", "--yes", "--wait", "10s")
            #expect(result.status == 1 || result.status == 4, "\(result.output)\(result.errors)")
            #expect(try await fleet.exec("one", "cat", "/etc/kubernetes/manifests/etcd.yaml") == before)
            let manifests = try await fleet.exec("one", "ls", "/etc/kubernetes/manifests")
            #expect(manifests.contains("kube-apiserver.yaml") && manifests.contains("kube-scheduler.yaml"))
            #expect(try await fleet.value("one", "/state") == "old")
            // With the kubelet back, so is the restore.
            try await fleet.exec("one", "systemctl", "start", "kubelet")
            try await fleet.fleetctl("restore", "one", "--at", "latest", "--yes", "--wait", "90s")
            #expect(try await fleet.value("one", "/state") == "saved")
        }
    }

    @Test func anEtcdThatDoesNotStart() async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("one", ["--kind", "external", "--layout", "kubespray"])
            try await fleet.etcdctl("one", "put", "/state", "saved")
            try await fleet.fleetctl("backup", "one")
            try await fleet.etcdctl("one", "put", "/state", "old")
            // systemd refuses to start it on a restored directory.
            try await fleet.exec("one", "mkdir", "-p", "/etc/systemd/system/etcd.service.d")
            try await fleet.exec(
                "one", "sh", "-c",
                "printf '[Service]\\nExecStartPre=/bin/sh -c \"! grep -q restore- /etc/etcd.env\"\\n' >/etc/systemd/system/etcd.service.d/refuse.conf"
            )
            try await fleet.exec("one", "systemctl", "daemon-reload")
            let result = try await fleet.tryFleetctl("restore", "one", "--at", "latest", "--yes", "--wait", "15s")
            #expect(result.status == 4, "\(result.output)\(result.errors)")
            #expect(result.output.contains("ROLLED-BACK") && result.errors.contains("hint:"))
            #expect(try await fleet.value("one", "/state") == "old")
            #expect(try await fleet.exec("one", "cat", "/etc/etcd.env").contains("ETCD_DATA_DIR=/var/lib/etcd\n"))
        }
    }

    @Test func aManifestThatSomebodyElseEdits() async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("one", ["--kind", "stacked"])
            try await fleet.etcdctl("one", "put", "/state", "saved")
            try await fleet.fleetctl("backup", "one")
            try await fleet.etcdctl("one", "put", "/state", "old")
            try await fleet.armCrash("one", "stop-control-plane:after")
            async let restoring = fleet.tryFleetctl("restore", "one", "--at", "latest", "--yes", "--wait", "60s")
            try await fleet.eventually("the agent died") { try await !fleet.isActive("one", "fleet-agent") }
            try await fleet.exec(
                "one", "sed", "-i", "$ a # edited by somebody else", "/etc/kubernetes/manifests/etcd.yaml")
            try await fleet.disarmCrash("one")
            let result = try await restoring
            #expect(result.status == 1 || result.status == 4, "\(result.output)\(result.errors)")
            let manifest = try await fleet.exec("one", "cat", "/etc/kubernetes/manifests/etcd.yaml")
            #expect(manifest.contains("# edited by somebody else") && !manifest.contains("-restore-"))
            #expect(try await fleet.exec("one", "ls", "/etc/kubernetes/manifests").contains("kube-apiserver.yaml"))
            try await fleet.eventually("etcd answers") { try await fleet.value("one", "/state") == "old" }
        }
    }

    // MARK: disks and bytes

    @Test func noSpaceOnTheNode() async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster(
                "one", ["--kind", "external", "--layout", "kubespray", "--disk", "/var/lib/fleet-agent=16M"])
            try await fleet.fill("one", megabytes: 30)
            let result = try await fleet.tryFleetctl("backup", "one")
            #expect(
                result.status == 1 && result.output.contains("no-space") && result.errors.contains("hint:"),
                "\(result.output)\(result.errors)")
            #expect(try await fleet.spooled("one").isEmpty)
        }
    }

    @Test func noSpaceOnTheCoordinator() async throws {
        try await LabFleet.with(hubDisk: "90M") { fleet in
            try await fleet.addCluster("one", ["--kind", "external", "--layout", "kubespray"])
            try await fleet.etcdctl("one", "put", "/state", "small")
            try await fleet.fleetctl("backup", "one")
            try await fleet.fill("one", megabytes: 60)
            let result = try await fleet.tryFleetctl("backup", "one")
            #expect(
                result.status == 1 && result.output.contains("no-space") && result.errors.contains("hint:"),
                "\(result.output)\(result.errors)")
            // The coordinator still serves, and what it has can be restored.
            #expect(try await fleet.fleetctl("snapshot", "list", "one").output.contains("verified"))
            try await fleet.fleetctl("restore", "one", "--at", "latest", "--yes", "--wait", "60s")
            #expect(try await fleet.value("one", "/state") == "small")
        }
    }

    @Test func aStoredSnapshotWithAFlippedByte() async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("one", ["--kind", "external", "--layout", "debian"])
            try await fleet.etcdctl("one", "put", "/state", "saved")
            try await fleet.fleetctl("backup", "one")
            let snapshot = try await fleet.latestSnapshot("one")
            try await fleet.etcdctl("one", "put", "/state", "old")
            // In the middle of the pack, whatever its size.
            let flip = """
                pack=$(ls /var/lib/fleet-coordinator/store/packs/*.pack)
                printf '\\125\\252' | dd of="$pack" bs=1 seek=$(($(stat -c %s "$pack") / 2)) conv=notrunc status=none
                """
            try await fleet.exec("hub", "sh", "-c", flip)
            // It has just read the snapshot through to verify it, and would serve it from memory, rightly.
            try await fleet.exec("hub", "systemctl", "restart", "fleet-coordinator")
            try await fleet.waitForAgent("one")
            let data = try await fleet.dataDirectory("one")
            let result = try await fleet.tryFleetctl("restore", "one", "--at", snapshot, "--yes", "--wait", "30s")
            #expect(
                result.status == 1 && result.errors.contains("not what was"), "\(result.output)\(result.errors)")
            #expect(try await fleet.value("one", "/state") == "old")
            #expect(try await fleet.dataDirectory("one") == data)
            #expect(
                try await !fleet.exec("one", "ls", "/var/lib/etcd").contains("restore"),
                "nothing is left of the attempt")
        }
    }
}

extension LabFleet {
    /// Files in the agent's spool.
    func spooled(_ node: String) async throws -> String {
        try await exec(
            node, "sh", "-c", "! test -d /var/lib/fleet-agent/spool || find /var/lib/fleet-agent/spool -type f"
        ).trimmed
    }

    /// Values that do not compress and keys of their own.
    func fill(_ node: String, megabytes: Int) async throws {
        let script =
            "for i in $(seq \(megabytes)); do head -c 750000 /dev/urandom | base64 -w0 >/root/value; cat /root/value; echo; done >/root/values"
        try await exec(node, "sh", "-c", script)
        let values = try await exec(node, "cat", "/root/values").split(separator: "\n")
        for (i, value) in values.enumerated() {
            let outcome = try await Lab.run(["etcdctl", lab, node, "--", "put", "/filler/\(i)"], input: String(value))
            guard outcome.succeeded else { throw FleetError(.childFailed, "fill: \(outcome.complaint)") }
        }
        try await exec(node, "rm", "/root/value", "/root/values")
    }

    /// What the node sends goes no faster than this, so that a stream takes long enough to be disturbed.
    func slowDown(_ node: String, megabitsASecond rate: Int) async throws {
        let interface = try await exec(
            node, "sh", "-c", "ip -o link show | awk -F': ' '$2 !~ /^lo/ {sub(/@.*/, \"\", $2); print $2; exit}'"
        ).trimmed
        try await exec(
            node, "tc", "qdisc", "add", "dev", interface, "root", "tbf", "rate", "\(rate)mbit", "burst", "64kb",
            "latency", "100ms")
    }
}
