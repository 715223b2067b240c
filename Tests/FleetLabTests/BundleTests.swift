import FleetSystem
import Testing

/// The configuration of a control plane, kept with its snapshots, on a real node.
@Suite(.serialized, .enabled(if: Lab.isAvailable), .timeLimit(.minutes(20)))
struct BundleTests {
    /// "DIGEST  PATH" of the files below a directory that stands for the root.
    private func digests(_ fleet: LabFleet, _ node: String, _ root: String) async throws -> [String: String] {
        let listing = try await fleet.exec(node, "sh", "-c", "cd \(root) && find . -type f -exec sha256sum {} +")
        var found: [String: String] = [:]
        for line in listing.split(separator: "\n") {
            let words = line.split(separator: " ", maxSplits: 1).map { String($0).trimmed }
            if words.count == 2 { found[String(words[1].dropFirst())] = words[0] }
        }
        return found
    }

    private func onNode(_ fleet: LabFleet, _ paths: some Sequence<String>) async throws -> [String: String] {
        var found: [String: String] = [:]
        let list = paths.joined(separator: " ")
        for line in try await fleet.exec("cp", "sh", "-c", "sha256sum \(list)").split(separator: "\n") {
            let words = line.split(separator: " ", maxSplits: 1).map { String($0).trimmed }
            if words.count == 2 { found[words[1]] = words[0] }
        }
        return found
    }

    private func store(_ fleet: LabFleet) async throws -> Set<String> {
        let listing = try await fleet.attempt("hub", "ls", "/var/lib/fleet-coordinator/store/bundles")
        return Set(listing.output.split(separator: "\n").map(String.init))
    }

    @Test func aControlPlane() async throws {
        try await LabFleet.with { fleet in
            try await fleet.makeCluster("cp", ["--kind", "stacked"])
            // A manifest that names an encryption configuration, as the kubelet finds it.
            try await fleet.exec(
                "cp", "sh", "-c",
                """
                mkdir -p /etc/kubernetes/enc && umask 077 && echo 'kind: EncryptionConfiguration # c2VjcmV0LWtleQ' \
                > /etc/kubernetes/enc/config.yaml && cd /etc/kubernetes/manifests && \
                sed -e 's|^    - --allow-privileged=true|&\\n    - --encryption-provider-config=/enc/config.yaml|' \
                -e 's|^    volumeMounts:|&\\n    - mountPath: /enc\\n      name: enc|' \
                -e 's|^  volumes:|&\\n  - hostPath:\\n      path: /etc/kubernetes/enc\\n    name: enc|' \
                kube-apiserver.yaml > /root/apiserver.yaml && cp /root/apiserver.yaml kube-apiserver.yaml
                """)
            try await fleet.fleetctl("backup", "cp")
            let first = try await fleet.latestSnapshot("cp")

            let shown = try await fleet.fleetctl("bundle", "show", first).output
            for path in [
                "/etc/kubernetes/manifests/etcd.yaml", "/etc/kubernetes/pki/ca.key",
                "/etc/kubernetes/pki/etcd/server.crt",
                "/etc/kubernetes/enc/config.yaml", "/var/lib/kubelet/config.yaml",
            ] { #expect(shown.contains(path), "\(shown)") }
            let said = try await fleet.attempt("hub", "fleetctl", "bundle", "export", first, "--to", "/root/first")
            #expect(
                said.status == 0 && said.errors.contains("secret: /root/first/cp/etc/kubernetes/pki/ca.key"), "\(said)")
            let exported = try await digests(fleet, "hub", "/root/first/cp")
            #expect(
                exported.count > 15 && exported["/etc/kubernetes/enc/config.yaml"] != nil, "\(exported.keys.sorted())")
            #expect(try await onNode(fleet, exported.keys) == exported)
            let pki = try await fleet.exec("cp", "find", "/etc/kubernetes", "-type", "f").split(separator: "\n").map(
                String.init)
            #expect(Set(pki).isSubset(of: exported.keys), "\(Set(pki).subtracting(exported.keys))")
            // Nobody else gets in; each file is as it was.
            let open = try await fleet.exec("hub", "find", "/root/first", "-maxdepth", "1", "-perm", "/077")
            #expect(open.isEmpty, "\(open)")
            let modes = "find etc/kubernetes -type f -printf '%m %p\\n' | sort"
            let (here, there) = (
                try await fleet.exec("hub", "sh", "-c", "cd /root/first/cp && \(modes)"),
                try await fleet.exec("cp", "sh", "-c", "cd / && \(modes)")
            )
            #expect(here == there)
            let again = try await fleet.tryFleetctl("bundle", "export", first, "--to", "/root/first")
            #expect(again.status != 0 && again.errors.contains("no empty directory"), "\(again)")
            #expect(try await fleet.fleetctl("audit", "log").output.contains("bundle.export"))

            // Nothing changed: the same is kept once. A change comes with the next backup, and not with the former.
            try await fleet.fleetctl("backup", "cp")
            let kept = try await store(fleet)
            #expect(kept.count <= 2, "what was there before the manifest was changed, and behind it")
            try await fleet.exec("cp", "sh", "-c", "echo '# changed' >> /etc/kubernetes/manifests/kube-scheduler.yaml")
            try await fleet.exec("cp", "cp", "/etc/kubernetes/pki/ca.crt", "/etc/kubernetes/pki/added.crt")
            try await fleet.fleetctl("backup", "cp")
            let second = try await fleet.latestSnapshot("cp")
            try await fleet.fleetctl("bundle", "export", second, "--to", "/root/second", "--node", "cp")
            let later = try await digests(fleet, "hub", "/root/second/cp")
            #expect(try await onNode(fleet, later.keys) == later)
            #expect(later["/etc/kubernetes/pki/added.crt"] != nil && exported["/etc/kubernetes/pki/added.crt"] == nil)
            try await fleet.fleetctl("bundle", "export", first, "--to", "/root/first-again")
            #expect(try await digests(fleet, "hub", "/root/first-again/cp") == exported)

            // Certificates.
            let cluster = try await fleet.fleetctl("cluster", "show", "cp").output
            #expect(cluster.contains("/etc/kubernetes/pki/apiserver.crt ends"), "\(cluster)")

            // Turned off, nothing more comes, and what is there stays.
            let off = try await fleet.fleetctl("bundle", "off", "cp")
            #expect(off.errors.contains("3 snapshots have one"), "\(off)")
            try await fleet.exec("cp", "sh", "-c", "echo '# again' >> /etc/kubernetes/manifests/kube-scheduler.yaml")
            let before = try await store(fleet)
            try await fleet.fleetctl("backup", "cp")
            let without = try await fleet.latestSnapshot("cp")
            #expect(try await fleet.tryFleetctl("bundle", "show", without).status == 3)
            #expect(try await store(fleet) == before)
            #expect(try await fleet.fleetctl("bundle", "show", second).output.contains("added.crt"))

            // No key in the clear anywhere: a line of each, as it stands in the file.
            let keys = try await fleet.exec(
                "cp", "sh", "-c", "find /etc/kubernetes -name '*.key' -exec sed -n 2p {} \\; ; echo c2VjcmV0LWtleQ")
            let lines = keys.split(separator: "\n").map(String.init)
            #expect(lines.count > 5)
            for line in lines {
                let found = try await fleet.attempt("hub", "grep", "-rlF", "--", line, "/var/lib/fleet-coordinator")
                #expect(found.status == 1 && found.output.isEmpty, "\(found.output)")
            }

            // A catalogue made again from the store, and the store alone, know them.
            try await fleet.exec("hub", "systemctl", "stop", "fleet-coordinator")
            try await fleet.exec(
                "hub", "sh", "-c", "mkdir /root/lost && mv /var/lib/fleet-coordinator/catalogue.db* /root/lost")
            try await fleet.exec(
                "hub", "runuser", "-u", "fleet-coordinator", "--", "fleet-coordinator", "rebuild-catalogue")
            try await fleet.exec(
                "hub", "fleet-coordinator", "export", first, "-f", "/root/a.db", "--bundles", "/root/alone")
            #expect(try await digests(fleet, "hub", "/root/alone/cp") == exported)
            try await fleet.exec("hub", "systemctl", "start", "fleet-coordinator")
            try await fleet.eventually("it serves") { try await fleet.tryFleetctl("cluster", "list").status == 0 }
            try await fleet.fleetctl("bundle", "export", second, "--to", "/root/rebuilt")
            #expect(try await digests(fleet, "hub", "/root/rebuilt/cp") == later)

            // What no snapshot has any more goes, and what one has stays.
            try await fleet.fleetctl("store", "check")
            try await fleet.fleetctl("snapshot", "delete", second, "--yes")
            let collected = try await fleet.fleetctl("store", "gc").output
            #expect(
                collected.contains("/bundles/"),
                "behind a rebuild no node is enrolled that it could be of: \(collected)")
            try await fleet.fleetctl("bundle", "show", first)
            let damaged = try #require(try await store(fleet).sorted().first)
            try await fleet.exec(
                "hub", "sh", "-c",
                "printf x | dd of=/var/lib/fleet-coordinator/store/bundles/\(damaged) bs=1 seek=99 conv=notrunc")
            let check = try await fleet.tryFleetctl("store", "check")
            #expect(check.status == 3 && check.output.contains("bundles/\(damaged)"), "\(check)")
        }
    }

    /// As Coordinator/RECOVERY.md has it: nothing is left of the node but its machine.
    @Test func aControlPlaneFromNothing() async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("cp", ["--kind", "stacked"])
            try await fleet.etcdctl("cp", "put", "/state", "saved")
            try await fleet.fleetctl("backup", "cp")
            // Behind a restore etcd's data is elsewhere than it was installed, and only the manifest tells where.
            try await fleet.fleetctl("restore", "cp", "--at", "latest", "--yes")
            var (snapshot, tries) = ("", 0)
            try await fleet.eventually("the manifest of now is kept", within: .seconds(180)) {
                tries += 1
                try await fleet.fleetctl("backup", "cp")
                snapshot = try await fleet.latestSnapshot("cp")
                try await fleet.fleetctl("bundle", "export", snapshot, "--to", "/root/try-\(tries)")
                let kept = "/root/try-\(tries)/cp/etc/kubernetes/manifests/etcd.yaml"
                return try await fleet.exec("hub", "cat", kept).contains("/var/lib/etcd-restore-")
            }
            let before = try await digests(fleet, "cp", "/etc/kubernetes")
            let listing = "cd /etc/kubernetes && find . -type f -printf '%m %u %p\\n' | sort"
            let permissions = try await fleet.exec("cp", "sh", "-c", listing)
            let manifest = try await fleet.exec("cp", "cat", "/etc/kubernetes/manifests/etcd.yaml")
            func flag(_ name: String) throws -> String {
                let line = try #require(manifest.split(separator: "\n").first { $0.contains("--\(name)=") })
                return String(line.split(separator: "=", maxSplits: 1)[1]).trimmed
            }
            let (name, url) = (try flag("name"), try flag("initial-advertise-peer-urls"))
            let paths = manifest.split(separator: "\n").filter { $0.contains("path: /var/lib/etcd") }
            let hostPath = String(try #require(paths.first).split(separator: " ").last ?? "")

            // Everything stops and goes; what is left are programs, which a new machine would have.
            try await fleet.exec("cp", "systemctl", "stop", "fleet-agent")
            try await fleet.exec(
                "cp", "sh", "-c",
                "cp $(ls -t /var/lib/fleet-agent/tools/etcdctl-* | head -1) /root/etcdctl && mv "
                    + "/etc/kubernetes/manifests /root/old")
            try await fleet.eventually("the control plane is off", within: .seconds(120)) {
                try await fleet.exec("cp", "podman", "pod", "ps", "--quiet").trimmed.isEmpty
            }
            try await fleet.exec("cp", "systemctl", "stop", "kubelet")
            try await fleet.exec(
                "cp", "sh", "-c", "rm -rf /etc/kubernetes /root/old /var/lib/etcd* /var/lib/kubelet/config.yaml")

            try await fleet.fleetctl("bundle", "export", snapshot, "--to", "/root/nodes")
            try await fleet.fleetctl("snapshot", "export", snapshot, "-f", "/root/nodes/a.db")
            try await fleet.exec("hub", "tar", "-C", "/root/nodes", "-czf", "/root/nodes.tgz", ".")
            let passing = "/tmp/fleet-lab-\(Randomness.token(8)).tgz"
            defer { try? FileSystem.remove(passing) }
            try await Lab.check("pull", fleet.lab, "hub", "/root/nodes.tgz", passing)
            try await Lab.check("push", fleet.lab, "cp", passing, "/root/nodes.tgz", "--mode", "0600")
            try await fleet.exec(
                "cp", "sh", "-c",
                """
                set -e; mkdir -m 0700 /root/nodes; tar -C /root/nodes -xzf /root/nodes.tgz; cd /root/nodes/cp
                tar -C /root/nodes/cp -c --exclude ./etc/kubernetes/manifests . | tar -C / -x -p --no-overwrite-dir --no-same-owner
                test "$(stat -c %a / /etc /var | sort -u)" = 755
                ETCDCTL_API=3 /root/etcdctl snapshot restore /root/nodes/a.db --data-dir \(hostPath) --name \(name) \
                --initial-cluster \(name)=\(url) --initial-advertise-peer-urls \(url)
                cp -r etc/kubernetes/manifests /etc/kubernetes/
                systemctl start kubelet
                """)
            try await fleet.eventually("etcd serves what was saved", within: .seconds(120)) {
                try await fleet.value("cp", "/state") == "saved"
            }
            #expect(try await digests(fleet, "cp", "/etc/kubernetes") == before)
            #expect(try await fleet.exec("cp", "sh", "-c", listing) == permissions)
            try await fleet.eventually("the control plane runs") {
                let pods = try await fleet.exec("cp", "podman", "pod", "ps", "--filter", "status=running")
                return ["kube-apiserver", "kube-controller-manager", "kube-scheduler"].allSatisfy { pods.contains($0) }
            }
        }
    }

    /// Every control plane of a cluster, also one that is gone by the time of the backup; and certificates near their end.
    @Test func severalControlPlanes() async throws {
        try await LabFleet.with { fleet in
            let nodes = try await fleet.makeMembers("ha", ["--kind", "stacked"])
            var snapshot = ""
            try await fleet.eventually("each has sent its configuration") {
                try await fleet.fleetctl("backup", "ha")
                snapshot = try await fleet.latestSnapshot("ha")
                let shown = try await fleet.fleetctl("bundle", "show", snapshot).output
                return nodes.allSatisfy { shown.contains("node      \($0), as it was from ") }
            }
            let gone = nodes[2]
            try await fleet.exec(gone, "systemctl", "stop", "fleet-agent")
            // Its whole life is five days: it ends in five days all the same.
            try await fleet.exec(
                nodes[0], "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc",
                "-days", "5", "-subj", "/CN=short", "-keyout", "/root/short.key", "-out",
                "/etc/kubernetes/pki/short.crt")
            try await fleet.eventually("the certificate is told of", within: .seconds(90)) {
                let status = try await fleet.tryFleetctl("status").output
                return status.contains("a certificate on \(nodes[0]) (ha), /etc/kubernetes/pki/short.crt, ends ")
            }
            let cluster = try await fleet.fleetctl("cluster", "show", "ha").output
            #expect(cluster.contains("/etc/kubernetes/pki/short.crt ends") && cluster.contains("(short)"), "\(cluster)")

            try await fleet.fleetctl("backup", "ha")
            let later = try await fleet.latestSnapshot("ha")
            #expect(later != snapshot)
            try await fleet.fleetctl("bundle", "export", later, "--to", "/root/later", "--node", gone)
            let exported = try await digests(fleet, "hub", "/root/later/\(gone)")
            #expect(exported["/etc/kubernetes/pki/etcd/server.key"] != nil)
            let kept = try await digests(fleet, gone, "/etc/kubernetes/pki")
            for (path, digest) in kept { #expect(exported["/etc/kubernetes/pki" + path] == digest, "\(path)") }
        }
    }
}
