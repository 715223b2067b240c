import FleetSystem
import Testing

/// Faults of the node around a restore and a backup: a kubelet or an etcd that does not start, files that others change, full
/// disks, damaged bytes. Each ends in a clear error or in success, with nothing lost and nothing half done.
@Suite(.serialized, .enabled(if: Lab.isAvailable), .timeLimit(.minutes(45)))
struct FaultTests {
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

            // Stopped by somebody, and its data taken away: what would be started there is an empty cluster.
            try await fleet.exec("one", "sh", "-c", "systemctl stop etcd && mv /var/lib/etcd /var/lib/etcd.bad")
            let stopped = try await fleet.tryFleetctl("restore", "one", "--at", "latest", "--yes", "--wait", "15s")
            #expect(stopped.status == 4, "\(stopped.output)\(stopped.errors)")
            #expect(stopped.output.contains("/var/lib/etcd was gone before"), "\(stopped.output)")
            #expect(stopped.output.contains("etcd is stopped, as it was before"), "\(stopped.output)")
            #expect(try await !fleet.isActive("one", "etcd"))
            #expect(try await fleet.attempt("one", "test", "-e", "/var/lib/etcd").status == 1)
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
            // There is no room to save first what is replaced: that is said before anything is touched.
            let unsaved = try await fleet.tryFleetctl("restore", "one", "--at", "latest", "--yes", "--wait", "60s")
            #expect(unsaved.status == 1 && unsaved.errors.contains("--no-safety-snapshot"), "\(unsaved.errors)")
            try await fleet.fleetctl(
                "restore", "one", "--at", "latest", "--yes", "--wait", "60s", "--no-safety-snapshot")
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
