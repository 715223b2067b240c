import FleetProtocol
import FleetSystem
import Glibc
import Testing

@testable import FleetAgent

@Suite struct RestorePlannerTests {
    static let record = SnapshotRecord(
        id: "20261124-065510-k3f9", cluster: "c", node: "n", job: "b1", storedAt: Timestamp(milliseconds: 0),
        size: 20512, sha256: "00",
        facts: SnapshotFacts(
            status: SnapshotStatus(hash: 1, revision: 6, totalKey: 9, totalSize: 20480), tool: "etcdctl 3.4.23",
            etcdVersion: "3.4.23", clusterID: "1", memberID: "2", memberName: "m", size: 20512,
            savedAt: Timestamp(milliseconds: 0), certificates: [], warnings: []))

    private func plan(_ tree: NodeTree, job: String = "j1", members: Int? = 1) throws -> RestoreWork {
        var record = Self.record
        record.facts.members = members
        let job = Job(
            id: job, node: "n", cluster: "c", counter: 1, issued: .now(), expires: .now().adding(.seconds(3600)),
            operation: .restore(.init(snapshot: record, dryRun: false, waitSeconds: 60)))
        guard case .restore(let restore) = job.operation else { fatalError("a restore") }
        return try RestorePlanner.plan(try tree.discover(), restore, job: job)
    }

    /// What changes, without the lines around it.
    private func diff(_ work: RestoreWork) -> String {
        work.plan.changes.map { change in
            UnifiedDiff.text(path: change.path, before: change.before ?? "", after: change.after)
                .split(separator: "\n").filter { !$0.hasPrefix(" ") && !$0.hasPrefix("@") }.map { $0 + "\n" }.joined()
        }.joined()
    }

    private func code(_ tree: NodeTree, members: Int? = 1) -> FleetError.Code? {
        do {
            _ = try plan(tree, members: members)
            return nil
        } catch { return FleetError(error).code }
    }

    @Test func stackedChangesOnlyTheHostPath() throws {
        let work = try plan(try NodeTree(Layouts.kubeadm))
        #expect(
            diff(work) == """
                --- /etc/kubernetes/manifests/etcd.yaml
                +++ /etc/kubernetes/manifests/etcd.yaml
                -      path: /var/lib/etcd   # the data
                +      path: /var/lib/etcd-restore-j1   # the data

                """)
        #expect(work.plan.newDataDir == "/var/lib/etcd-restore-j1")
        #expect(work.holdingDirectory == "/etc/kubernetes/fleet-agent/j1")
        #expect(
            work.plan.steps.map(\.name) == [
                "fetch", "check-snapshot", "preflight", "restore-data", "stop-control-plane", "switch-files",
                "start-etcd", "verify", "start-control-plane", "finish",
            ])
        #expect(work.initialCluster == "cp1=https://10.0.0.11:2380")
        #expect(work.controlPlane.first?.probe?.path == "/readyz")
    }

    @Test func earlierSuffixIsReplaced() throws {
        #expect(RestorePlanner.newName("/a/etcd-restore-20261124-065510-k3f9", job: "j2") == "/a/etcd-restore-j2")
        #expect(RestorePlanner.newName("/a-restore-x/etcd", job: "j2") == "/a-restore-x/etcd-restore-j2")
        #expect(RestorePlanner.newName("/a/b-restore-c-restore-d", job: "e") == "/a/b-restore-c-restore-e")
    }

    @Test func subdirectoryOfTheMountAndItsWal() throws {
        let tree = try NodeTree(Layouts.kubeadm)
        try tree.write(
            "/etc/kubernetes/manifests/etcd.yaml",
            Layouts.kubeadmManifest.replacing(
                "--data-dir=/var/lib/etcd", with: "--data-dir=/var/lib/etcd/data\n    - --wal-dir=/var/lib/etcd/wal"))
        let work = try plan(tree)
        #expect(work.plan.newDataDir == "/var/lib/etcd-restore-j1/data")
        #expect(work.plan.newWalDir == "/var/lib/etcd-restore-j1/wal")
        #expect(work.directories == [.init(old: "/var/lib/etcd", new: "/var/lib/etcd-restore-j1")])
        #expect(work.plan.changes.count == 1)
    }

    @Test func separateWalVolume() throws {
        let tree = try NodeTree(Layouts.kubeadm)
        try tree.write(
            "/etc/kubernetes/manifests/etcd.yaml",
            Layouts.kubeadmManifest
                .replacing("--name=cp1", with: "--name=cp1\n    - --wal-dir=/wal")
                .replacing("    volumeMounts:\n", with: "    volumeMounts:\n    - {mountPath: /wal, name: w}\n")
                .replacing(
                    "  volumes:\n",
                    with: "  volumes:\n  - name: w\n    hostPath: {path: '/fast/wal', type: Directory}\n"))
        let work = try plan(tree)
        #expect(work.plan.newWalDir == "/fast/wal-restore-j1")
        #expect(work.directories.count == 2)
        #expect(diff(work).contains("+    hostPath: {path: '/fast/wal-restore-j1', type: Directory}\n"))
    }

    @Test func environmentFile() throws {
        let work = try plan(try NodeTree(Layouts.kubespray))
        #expect(
            diff(work) == """
                --- /etc/etcd.env
                +++ /etc/etcd.env
                -ETCD_DATA_DIR=/var/lib/etcd
                +ETCD_DATA_DIR=/var/lib/etcd-restore-j1

                """)
        #expect(work.launch == .unit(name: "etcd.service", reload: false))
        #expect(work.plan.steps.map(\.name).contains("stop-etcd"))
        #expect(!work.plan.steps.map(\.name).contains("stop-control-plane"))
    }

    /// kubespray's own: it would write into the restored data, which may yet be taken back, and serve what it had cached.
    @Test func aControlPlaneBesideAUnitIsStopped() throws {
        var files = Layouts.kubespray
        files["/etc/kubernetes/manifests/kube-apiserver.yaml"] = Layouts.apiserverManifest
        let tree = try NodeTree(files)
        let work = try plan(tree)
        #expect(work.plan.topology == .externalSystemd && work.controlPlane.map(\.component) == ["kube-apiserver"])
        #expect(
            work.plan.steps.map(\.name) == [
                "fetch", "check-snapshot", "preflight", "restore-data", "stop-control-plane", "stop-etcd",
                "switch-files", "start-etcd", "verify", "start-control-plane", "finish",
            ])
        #expect(work.plan.holdingDirectory == "/etc/kubernetes/fleet-agent/j1")
        #expect(work.held(work.controlPlane[0].file) == "/etc/kubernetes/fleet-agent/j1/kube-apiserver.yaml")
        #expect(work.manifestDirectory == "/etc/kubernetes/manifests")
        #expect(work.whatToRestart.contains("kubelet on every node"))
        #expect(!work.notes.joined().contains("kubeadm"))
        // Without one nothing is moved, and nothing has to be writable.
        let bare = try plan(try NodeTree(Layouts.kubespray))
        #expect(bare.holdingDirectory.isEmpty && bare.plan.holdingDirectory == nil && bare.manifestDirectory == nil)
        // Kept elsewhere, it waits beside where its directory is.
        let linked = try NodeTree(
            Layouts.kubespray.merging(["/srv/k8s/manifests/kube-apiserver.yaml": Layouts.apiserverManifest]) { $1 },
            links: ["/etc/kubernetes/manifests": "/srv/k8s/manifests"])
        #expect(try plan(linked).holdingDirectory == "/srv/k8s/fleet-agent/j1")
    }

    /// Its apiserver has its etcd elsewhere: it is none of this one's business.
    @Test func anothersControlPlaneGoesOn() throws {
        func planned(_ servers: String) throws -> RestoreWork {
            let manifest = Layouts.apiserverManifest.replacing("https://127.0.0.1:2379", with: servers)
            return try plan(
                try NodeTree(
                    Layouts.kubespray.merging(["/etc/kubernetes/manifests/kube-apiserver.yaml": manifest]) { $1 }))
        }
        let others = try planned("https://10.9.9.9:2379,https://10.9.9.8:2379")
        #expect(others.controlPlane.isEmpty && others.holdingDirectory.isEmpty)
        #expect(!others.plan.steps.map(\.name).contains("stop-control-plane"))
        #expect(try planned("https://10.9.9.9:2379,https://10.0.0.13:2379").controlPlane.count == 1)
    }

    @Test func packagedUnitIsOverridden() throws {
        let tree = try NodeTree(Layouts.debian, links: Layouts.debianLinks)
        let work = try plan(tree)
        #expect(
            diff(work) == """
                --- /dev/null
                +++ /etc/systemd/system/etcd.service.d/zz-fleet-agent.conf
                +# Written by fleet-agent at a restore: overrides the packaged unit.
                +[Service]
                +Environment="ETCD_DATA_DIR=/var/lib/etcd/default-restore-j1"

                """)
        #expect(work.launch == .unit(name: "etcd.service", reload: true))
        // The next one changes the drop-in itself, in place.
        try tree.write(work.plan.changes[0].path, work.plan.changes[0].after)
        let next = try plan(tree, job: "j2")
        #expect(next.plan.oldDataDir == "/var/lib/etcd/default-restore-j1")
        #expect(next.plan.newDataDir == "/var/lib/etcd/default-restore-j2")
        #expect(next.plan.changes[0].after == work.plan.changes[0].after.replacing("j1", with: "j2"))
    }

    /// What is written is where the link leads, and systemd has it from the link: without a reload it would start etcd with
    /// what it read before.
    @Test func linkedUnitFilesAreReadAgain() throws {
        let command = "[Service]\nExecStart=/opt/etcd/etcd --name=m1 --data-dir=/srv/etcd\n"
        let unit = try NodeTree(
            ["/opt/etcd/etcd.service": command],
            links: ["/etc/systemd/system/etcd.service": "/opt/etcd/etcd.service"])
        let work = try plan(unit)
        #expect(work.plan.changes.map(\.path) == ["/opt/etcd/etcd.service"])
        #expect(work.launch == .unit(name: "etcd.service", reload: true))
        #expect(work.plan.steps.contains { $0.description.hasPrefix("reload systemd") })
        let dropIn = try NodeTree(
            [
                "/lib/systemd/system/etcd.service": "[Service]\nExecStart=/usr/bin/etcd\n",
                "/srv/config/data.conf": "[Service]\nEnvironment=ETCD_DATA_DIR=/srv/etcd\n",
            ],
            links: ["/etc/systemd/system/etcd.service.d": "/srv/config"])
        #expect(try plan(dropIn).plan.changes.map(\.path) == ["/srv/config/data.conf"])
        #expect(try plan(dropIn).launch == .unit(name: "etcd.service", reload: true))
        // An environment file is read at every start, wherever it is.
        let variables = try NodeTree([
            "/etc/systemd/system/etcd.service": "[Service]\nEnvironmentFile=/etc/systemd/etcd.env\nExecStart=/x/etcd\n",
            "/etc/systemd/etcd.env": "ETCD_DATA_DIR=/srv/etcd\n",
        ])
        #expect(try plan(variables).launch == .unit(name: "etcd.service", reload: false))
    }

    @Test func packagedCommandIsRepeated() throws {
        let tree = try NodeTree([
            "/usr/lib/systemd/system/etcd.service": """
            [Service]
            ExecStart=/usr/bin/etcd --name "%N x" \\
              --data-dir=/var/lib/etcd $MORE
            """
        ])
        let work = try plan(tree)
        #expect(work.plan.changes[0].after.contains("ExecStart=\nExecStart=/usr/bin/etcd --name \"%N x\""))
        #expect(work.plan.changes[0].after.contains(" --data-dir=/var/lib/etcd-restore-j1 $MORE\n"))
        let variable = try NodeTree([
            "/usr/lib/systemd/system/etcd.service": """
            [Service]
            Environment="ARGS=--name=a --data-dir=/d" X=y
            ExecStart=/usr/bin/etcd $ARGS
            """
        ])
        #expect(
            try plan(variable).plan.changes[0].after.contains(
                "Environment=\"ARGS=--name=a --data-dir=/d-restore-j1\"\n"))
    }

    @Test func configurationFile() throws {
        let work = try plan(try NodeTree(Layouts.configFile))
        #expect(
            diff(work) == """
                --- /etc/etcd/etcd.conf.yml
                +++ /etc/etcd/etcd.conf.yml
                -data-dir: "/srv/etcd"  # on the fast disk
                +data-dir: "/srv/etcd-restore-j1"  # on the fast disk

                """)
        let tree = try NodeTree(Layouts.configFile)
        try tree.write("/etc/etcd/etcd.conf.yml", "name: m1")
        #expect(try plan(tree).plan.changes[0].after == "name: m1\ndata-dir: '/m1.etcd-restore-j1'\n")
    }

    @Test func shellAndFlagsAndDefaults() throws {
        #expect(
            diff(try plan(try NodeTree(Layouts.rpm))).contains(
                "+ETCD_DATA_DIR=\"/var/lib/etcd/default.etcd-restore-j1\"\n"))
        let flags = diff(try plan(try NodeTree(Layouts.unitFlags)))
        #expect(flags.contains("+  -data-dir /srv/data/n1-restore-j1 \\\n"))
        #expect(flags.contains("+  --wal-dir=/wal/n1-restore-j1\n"))
        let upstream = diff(try plan(try NodeTree(Layouts.upstream)))
        #expect(
            upstream.contains(
                "+Environment=ETCD_DATA_DIR=/var/lib/etcd-restore-j1 \"ETCD_WAL_DIR=/fast disk/wal-restore-j1\"\n"))
        let bare = try NodeTree([
            "/etc/systemd/system/etcd.service": "[Service]\nWorkingDirectory=/srv\nExecStart=/x/etcd\n"
        ])
        #expect(diff(try plan(bare)).contains("+Environment=\"ETCD_DATA_DIR=/srv/default.etcd-restore-j1\"\n"))
    }

    @Test func refusals() throws {
        let members = try NodeTree(Layouts.kubeadm)
        try members.write(
            "/etc/kubernetes/manifests/etcd.yaml",
            Layouts.kubeadmManifest.replacing("--initial-cluster=cp1", with: "--initial-cluster=cp2=https://x:2380,cp1")
        )
        #expect(code(members) == .severalMembers)
        // kubeadm's first control plane names only itself for ever.
        #expect(code(try NodeTree(Layouts.kubeadm), members: 3) == .severalMembers)
        let there = try NodeTree(Layouts.kubespray)
        try there.write("/var/lib/etcd-restore-j1/x", "")
        #expect(code(there) == .alreadyExists)
        let pieces = try NodeTree(Layouts.kubespray)
        try pieces.write(
            "/etc/etcd.env",
            Layouts.kubespray["/etc/etcd.env"]!.replacing(
                "ETCD_DATA_DIR=/var/lib/etcd", with: "ETCD_DATA_DIR='/var/lib'/etcd"))
        #expect(code(pieces) == .notEditable)
        // The certificates are on the data's volume: they would not be there any more.
        let shared = try NodeTree(Layouts.kubeadm)
        try shared.write(
            "/etc/kubernetes/manifests/etcd.yaml",
            Layouts.kubeadmManifest.replacing("/etc/kubernetes/pki/etcd/", with: "/var/lib/etcd/pki/"))
        for file in ["ca.crt", "server.crt", "server.key"] { try shared.write("/var/lib/etcd/pki/\(file)", "") }
        #expect(code(shared) == .missingCertificate)
    }

    /// A power cut between two files would have systemd start etcd with the new data and the old log, which it writes on.
    @Test func dataAndLogSetInTwoFilesAreRefused() throws {
        let spread = try NodeTree(Layouts.debian, links: Layouts.debianLinks)
        let variables = Layouts.debian["/etc/default/etcd"]!
        // The data-dir is the packaged unit's, which a drop-in overrides.
        for wal in ["/fast/wal", "/var/lib/etcd/default/wal"] {
            try spread.write("/etc/default/etcd", variables + "\nETCD_WAL_DIR=\(wal)\n")
            let error = #expect(throws: FleetError.self) { _ = try plan(spread) }
            #expect(error?.code == .notEditable && error?.hint?.contains("one file") == true)
            #expect(error?.message.contains("/etc/default/etcd") == true, "\(error?.message ?? "")")
        }
        try spread.write("/etc/default/etcd", variables + "\nETCD_WAL_DIR=/fast/wal\nETCD_DATA_DIR=/srv/etcd\n")
        #expect(try plan(spread).plan.changes.map(\.path) == ["/etc/default/etcd"])
    }

    /// Beside the mount point it would be on another file system than the volume that is meant for it.
    @Test func onAFileSystemOfItsOwnTheNewDirectoryIsInTheOldOne() throws {
        let tree = try NodeTree(Layouts.kubespray)
        let directory = tree.root + "/var/lib/etcd"
        try FileSystem.makeDirectories(directory)
        #expect(code(tree) == nil)
        #expect(try RestorePlanner.obstacle(tree.discover()) == nil)
        guard mount("tmpfs", directory, "tmpfs", 0, "size=64k,mode=0700") == 0 else {
            try Test.cancel("mounting a tmpfs is refused here (\(String(cString: strerror(errno))))")
        }
        defer { umount2(directory, Int32(MNT_DETACH)) }
        let inside = try plan(tree)
        #expect(inside.plan.newDataDir == "/var/lib/etcd/data-restore-j1")
        #expect(inside.directories == [.init(old: "/var/lib/etcd", new: "/var/lib/etcd/data-restore-j1")])
        #expect(inside.plan.oldDirectories == ["/var/lib/etcd/member"])
        #expect(try RestorePlanner.obstacle(tree.discover()) == nil)
        // The next one comes beside it, as any other does.
        try FileSystem.makeDirectories(directory + "/data-restore-j1")
        try tree.write("/etc/etcd.env", inside.plan.changes[0].result!)
        #expect(try plan(tree, job: "j2").plan.newDataDir == "/var/lib/etcd/data-restore-j2")
        #expect(try plan(tree, job: "j2").plan.oldDirectories == ["/var/lib/etcd/data-restore-j1"])
        // Whoever has it one level higher keeps it so.
        try FileSystem.makeDirectories(directory + "/data")
        try tree.write(
            "/etc/etcd.env",
            Layouts.kubespray["/etc/etcd.env"]!.replacing(
                "ETCD_DATA_DIR=/var/lib/etcd", with: "ETCD_DATA_DIR=/var/lib/etcd/data"))
        #expect(try plan(tree, job: "j3").plan.newDataDir == "/var/lib/etcd/data-restore-j3")
    }

    /// kubeadm writes the manifest anew from its own configuration, which knows nothing of the new directory.
    @Test func kubeadmsOwnConfigurationIsNamed() throws {
        let stacked = try plan(try NodeTree(Layouts.kubeadm))
        for text in [stacked.plan.steps.last!.description, stacked.notes.joined()] {
            #expect(text.contains("kubeadm-config") && text.contains("etcd.local.dataDir"))
            #expect(text.contains("/var/lib/etcd-restore-j1"))
        }
        #expect(!(try plan(try NodeTree(Layouts.kubespray)).notes.joined().contains("kubeadm")))
    }

    @Test func newTokenAndIdentity() throws {
        let (a, b) = (try plan(try NodeTree(Layouts.kubespray)), try plan(try NodeTree(Layouts.kubespray), job: "j2"))
        #expect(a.plan.clusterToken != b.plan.clusterToken)
        #expect(a.memberID != b.memberID && a.clusterID != b.clusterID)
        #expect(try JSON.decode(RestoreWork.self, from: try JSON.encode(a)) == a)
    }
}
