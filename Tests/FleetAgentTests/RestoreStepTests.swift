import FleetProtocol
import FleetSystem
import FleetTLS
import Glibc
import Testing

@testable import FleetAgent

/// The steps that need neither systemd nor a kubelet, on real files and with etcd's real tools.
@Suite struct RestoreStepTests {
    /// A plan of the kubespray layout whose paths all lie below a directory of the test's own.
    struct Node {
        let tree: NodeTree
        var steps: RestoreSteps

        init(_ record: SnapshotRecord = RestorePlannerTests.record, waitSeconds: Int = 10) throws {
            tree = try NodeTree(Layouts.kubespray)
            let restore = FleetProtocol.Operation.Restore(snapshot: record, dryRun: false, waitSeconds: waitSeconds)
            let job = Job(
                id: "j1", node: "n", cluster: "c", counter: 1, issued: .now(), expires: .now().adding(.seconds(3600)),
                operation: .restore(restore))
            var work = try RestorePlanner.plan(try tree.discover(), restore, job: job)
            let root = tree.root
            work.plan.newDataDir = root + work.plan.newDataDir
            work.plan.oldDataDir = root + work.plan.oldDataDir
            work.plan.changes = work.plan.changes.map {
                .init(
                    path: root + $0.path, before: $0.before,
                    after: $0.after.replacing("/var/lib/etcd-restore", with: root + "/var/lib/etcd-restore"))
            }
            work.directories = work.directories.map { .init(old: root + $0.old, new: root + $0.new) }
            (work.instance.cacert, work.instance.cert) = (nil, nil)
            work.holdingDirectory = root + "/hold"
            steps = RestoreSteps(work: work, paths: AgentPaths(state: root + "/state"))
            try FileSystem.makeDirectories(steps.paths.spool("j1"))
        }
    }

    private func code(_ body: () throws -> Void) -> FleetError.Code? {
        do {
            try body()
            return nil
        } catch { return FleetError(error).code }
    }

    @Test(.enabled(if: RealEtcd.isInstalled)) func preparesWhatTheSnapshotHolds() throws {
        let etcd = try RealEtcd()
        try etcd.put("a", "b")
        let spool = try NodeTree()
        let saver = SnapshotSaver(paths: AgentPaths(state: spool.root), instance: etcd.instance)
        let saved = try saver.save(job: "b1", try saver.preflight())
        var record = RestorePlannerTests.record
        (record.size, record.sha256, record.facts) = (saved.facts.size, saved.sha256, saved.facts)
        let node = try Node(record)
        let path = node.steps.snapshotPath
        try FileSystem.copyDurably(saved.file, to: path, mode: 0o600)
        _ = try node.steps.perform(.checkSnapshot)

        let old = node.steps.work.plan.oldDataDir
        try FileSystem.makeDirectories(old + "/member/snap", mode: 0o750)
        // Half of an earlier try of this very job.
        try FileSystem.makeDirectories(node.steps.work.plan.newDataDir + "/member")
        _ = try node.steps.perform(.restoreData)
        let new = node.steps.work.plan.newDataDir
        #expect(try FileSystem.status(new)?.mode == 0o750)
        #expect(try FileSystem.status(new + "/member/snap/db")?.mode == 0o600)
        #expect(try FileSystem.list(old + "/member/snap") == [])
        _ = try node.steps.undo(.restoreData)
        #expect(!FileSystem.exists(new))
        #expect(FileSystem.exists(old))

        // One flipped byte, and another snapshot than the one that was recorded.
        var bytes = try FileSystem.read(path)
        bytes[5000] ^= 1
        try FileSystem.writeDurably(path, bytes)
        #expect(code { _ = try node.steps.perform(.checkSnapshot) } == .badSnapshot)
        bytes[5000] ^= 1
        try FileSystem.writeDurably(path, bytes)
        var other = node.steps
        other.work.snapshot.facts.status.hash ^= 1
        #expect(code { _ = try other.perform(.checkSnapshot) } == .badSnapshot)
        _ = try node.steps.undo(.fetch)
        #expect(!FileSystem.exists(path))
    }

    @Test(.enabled(if: RealEtcd.isInstalled)) func noSpaceIsFoundBeforeAnythingIsDone() throws {
        var record = RestorePlannerTests.record
        record.size = 1 << 55
        let node = try Node(record)
        #expect(code { _ = try node.steps.perform(.preflight) } == .noSpace)
        let saver = SnapshotSaver(paths: node.steps.paths, instance: node.steps.work.instance)
        #expect(code { try saver.checkSpace(for: 1 << 55) } == .noSpace)
    }

    @Test func switchesOnlyWhatThePlanSaw() throws {
        let node = try Node()
        let file = node.steps.work.plan.changes[0].path
        let (before, after) = (node.steps.work.plan.changes[0].before!, node.steps.work.plan.changes[0].after)
        try FileSystem.setMode(file, 0o640)
        for _ in 0..<2 { _ = try node.steps.perform(.switchFiles) }
        #expect(try FileSystem.readText(file) == after)
        #expect(try FileSystem.status(file)?.mode == 0o640)
        for _ in 0..<2 { _ = try node.steps.undo(.switchFiles) }
        #expect(try FileSystem.readText(file) == before)
        try FileSystem.writeDurably(file, (before + "# by hand\n").utf8)
        #expect(code { _ = try node.steps.perform(.switchFiles) } == .changedMeanwhile)
        // It leads to the old data as it stands: going back needs nothing of it, and it is left alone.
        #expect(code { _ = try node.steps.undo(.switchFiles) } == nil)
        #expect(try FileSystem.readText(file) == before + "# by hand\n")
        #expect(try node.steps.standing().contains("was changed by somebody else"))
        // This one leads to the new data, and only who changed it knows what it should be.
        try FileSystem.writeDurably(file, (after + "# by hand\n").utf8)
        #expect(code { _ = try node.steps.perform(.switchFiles) } == .changedMeanwhile)
        #expect(code { _ = try node.steps.undo(.switchFiles) } == .changedMeanwhile)
        #expect(try FileSystem.readText(file) == after + "# by hand\n")
    }

    @Test func controlPlaneGoesAndComesBack() throws {
        var node = try Node(waitSeconds: 1)
        let file = node.tree.root + "/manifests/kube-scheduler.yaml"
        try FileSystem.makeDirectories(node.tree.root + "/manifests")
        try FileSystem.writeDurably(file, "x".utf8)
        node.steps.work.controlPlane = [
            .init(component: "kube-scheduler", file: file, command: ["kube-scheduler", "--no-such-flag"])
        ]
        for _ in 0..<2 { _ = try node.steps.perform(.stopControlPlane) }
        #expect(!FileSystem.exists(file))
        #expect(FileSystem.exists(node.tree.root + "/hold/kube-scheduler.yaml"))
        // No such process comes: the manifest is back nevertheless.
        #expect(code { _ = try node.steps.perform(.startControlPlane) } == .notStarted)
        #expect(FileSystem.exists(file))
        _ = try node.steps.perform(.stopControlPlane)
        try FileSystem.writeDurably(file, "written meanwhile".utf8)
        #expect(code { _ = try node.steps.undo(.stopControlPlane) } == .changedMeanwhile)
        #expect(try FileSystem.readText(file) == "written meanwhile")
    }

    /// Manifests leave their directory by a rename, whoever starts etcd: asked before anything is moved.
    @Test func aManifestDirectoryOfItsOwnIsRefused() throws {
        var node = try Node()
        let directory = node.tree.root + "/kubernetes/manifests"
        try FileSystem.makeDirectories(directory)
        node.steps.work.controlPlane = [
            .init(component: "kube-apiserver", file: directory + "/a.yaml", command: ["kube-apiserver"])
        ]
        node.steps.work.holdingDirectory = node.tree.root + "/kubernetes/fleet-agent/j1"
        try node.steps.checkHoldingDirectory()
        guard mount("tmpfs", directory, "tmpfs", 0, "size=64k,mode=0700") == 0 else {
            try Test.cancel("mounting a tmpfs is refused here (\(String(cString: strerror(errno))))")
        }
        defer { umount2(directory, Int32(MNT_DETACH)) }
        #expect(code { try node.steps.checkHoldingDirectory() } == .notEditable)
    }

    /// The kubelet follows links; away from its directory a relative one leads nowhere, and has to come back all the same.
    @Test func aControlPlaneOfLinksComesBack() throws {
        var node = try Node(waitSeconds: 1)
        let root = node.tree.root
        try node.tree.write("/static/kube-scheduler.yaml", "x")
        try FileSystem.makeDirectories(root + "/manifests")
        let file = root + "/manifests/kube-scheduler.yaml"
        _ = try Subprocess.check("/bin/ln", ["-s", "../static/kube-scheduler.yaml", file])
        // From where it waits, it must lead nowhere.
        node.steps.work.holdingDirectory = root + "/held/aside/j1"
        let held = node.steps.held(file)
        node.steps.work.wasHealthy = false
        node.steps.work.controlPlane = [
            .init(component: "kube-scheduler", file: file, command: ["kube-scheduler", "--no-such-flag"])
        ]
        for isForward in [true, false] {
            // Twice: as after a crash in its middle.
            for _ in 0..<2 { _ = try node.steps.perform(.stopControlPlane) }
            #expect(!FileSystem.isThere(file) && FileSystem.isThere(held) && !FileSystem.exists(held))
            #expect(node.steps.work.heldManifests == [file])
            #expect(try node.steps.standing().contains("j1: kube-scheduler.yaml"))
            // No such process comes, which is told behind the return of the manifest.
            if isForward {
                #expect(code { _ = try node.steps.perform(.startControlPlane) } == .notStarted)
            } else {
                _ = try node.steps.undo(.stopControlPlane)
                #expect(!FileSystem.exists(node.steps.work.holdingDirectory))
            }
            #expect(try FileSystem.readLink(file) == "../static/kube-scheduler.yaml")
            #expect(try FileSystem.readText(file) == "x")
        }
        // Another in its place is nobody's to overwrite, even where it leads nowhere.
        _ = try node.steps.perform(.stopControlPlane)
        _ = try Subprocess.check("/bin/ln", ["-s", "/no/such/file", file])
        #expect(code { _ = try node.steps.undo(.stopControlPlane) } == .changedMeanwhile)
        #expect(try FileSystem.readLink(file) == "/no/such/file")
    }

    @Test func processesAreKnownByTheirCommand() {
        let manifest = ControlPlaneManifest(
            component: "kube-apiserver", file: "/f",
            command: ["/usr/local/bin/kube-apiserver", "--a=b", "--secure-port=7"])
        #expect(manifest.isProcess(["kube-apiserver", "--a=b", "--secure-port=7"]))
        #expect(manifest.isProcess(["/bin/sh", "/usr/bin/kube-apiserver", "--a=b", "--secure-port=7"]))
        #expect(!manifest.isProcess(["kube-apiserver", "--a=c", "--secure-port=7"]))
        #expect(!manifest.isProcess(["vi", "x", "kube-apiserver"]))
        #expect(manifest.securePort == 7)
    }

    @Test(.enabled(if: RealEtcd.isInstalled)) func probes() throws {
        let etcd = try RealEtcd()
        let port = UInt16(etcd.client.split(separator: ":").last!)!
        #expect(try HTTPProbe.status(host: "127.0.0.1", port: port, path: "/health", isTLS: false) == 200)
        #expect(try HTTPProbe.status(host: "127.0.0.1", port: port, path: "/none", isTLS: false) == 404)
        #expect(HTTPProbe.isListening(host: "127.0.0.1", port: port))
        #expect(!HTTPProbe.isListening(host: "127.0.0.1", port: 1))
        #expect(code { _ = try HTTPProbe.status(host: "127.0.0.1", port: port, path: "/", isTLS: true) } != nil)
    }

    /// A node is one of several members where anything says so, and where nothing can tell.
    @Test(.enabled(if: RealEtcd.isInstalled)) func oneOfSeveralMembersIsRefused() throws {
        var node = try Node()
        node.steps.work.instance.endpoint = "http://127.0.0.1:1"
        node.steps.work.snapshot.facts.members = 3
        #expect(code { _ = try node.steps.perform(.preflight) } == .severalMembers)
        node.steps.work.snapshot.facts.members = nil
        #expect(code { _ = try node.steps.perform(.preflight) } == .severalMembers)
        node.steps.work.snapshot.facts.members = 1
        #expect(code { _ = try node.steps.perform(.preflight) } == nil)
        // A running one tells, whatever was recorded.
        let etcd = try RealEtcd()
        node.steps.work.instance.endpoint = etcd.client
        node.steps.work.snapshot.facts.members = nil
        #expect(code { _ = try node.steps.perform(.preflight) } == nil)
        node.steps.work.snapshot.facts.members = 1
        _ = try Subprocess.check(
            "/usr/bin/etcdctl",
            ["--endpoints=\(etcd.client)", "member", "add", "m2", "--peer-urls=http://127.0.0.1:1"],
            environment: EtcdClient.environment)
        #expect(code { _ = try node.steps.perform(.preflight) } == .severalMembers)
    }

    /// Going back with an etcd that was not healthy before: the new one is waited for all the same, or its data could
    /// not be removed.
    @Test func theNewPodGoesBeforeAnythingElseComesBack() throws {
        var node = try Node(waitSeconds: 20)
        let work = node.steps.work
        let manifest = node.tree.root + "/manifests/etcd.yaml"
        try node.tree.write("/manifests/etcd.yaml", Layouts.kubeadmManifest)
        node.steps.work.launch = .staticPod(
            manifest: manifest, manifestDirectory: node.tree.root + "/manifests", dataPath: "/no/such/directory")
        node.steps.work.wasHealthy = false
        _ = try node.steps.perform(.switchFiles)
        let database = work.plan.newDataDir + "/member/snap/db"
        try FileSystem.makeDirectories(FileSystem.parent(of: database))
        try FileSystem.writeDurably(database, "x".utf8)
        // A stand-in that shows the same in /proc as an etcd does, and goes a while after it is told to.
        _ = try Subprocess.check(
            "/bin/bash", ["-c", "exec -a etcd sleep 4 9<\(database) > /dev/null 2>&1 < /dev/null &"])
        let isThere = {
            try ProcessTable.etcds().contains { LiveDirectory.isSame($0, $0.openDataDir, work.plan.newDataDir) }
        }
        #expect(
            try Waiting.until(3) { () throws(FleetError) in
                try ProcessTable.etcds().contains { $0.openDataDir == work.plan.newDataDir }
            })
        _ = try node.steps.undo(.switchFiles)
        #expect(try !isThere())
        #expect(FileSystem.exists(manifest))
        _ = try node.steps.undo(.restoreData)
        #expect(!FileSystem.exists(work.plan.newDataDir))
    }

    /// When everything is restored and serves, what can't be tidied up is no reason to call it anything else.
    @Test func leftoversDoNotSpoilTheEnd() throws {
        let node = try Node()
        try FileSystem.writeDurably(node.tree.root + "/hold", "a file in the way".utf8)
        let note = try node.steps.perform(.finish).note
        #expect(note?.contains("/hold") == true)
        #expect(!FileSystem.exists(node.steps.paths.spool("j1")))
    }

    /// A journal that can't be made: nothing was begun, so nothing is stuck.
    @Test(.enabled(if: RealEtcd.isInstalled)) func noJournalIsAFailure() async throws {
        let node = try Node()
        let paths = node.steps.paths
        try FileSystem.makeDirectories(paths.journal("j1"))
        struct Nobody: CoordinatorPort {
            func upload(job: String, snapshot: String, facts: SnapshotFacts, file: String) async {}
            func fetch(job: String, snapshot: SnapshotRecord, to path: String) async {}
            func fetch(job: String, program: ProgramRecord, to path: String) async {}
        }
        let found = try node.tree.discover()
        let run = RestoreRun(
            paths: paths, outbox: Outbox(paths: paths), port: Nobody(), faults: .none,
            discover: { () throws(FleetError) in found }, log: .silent)
        let restore = FleetProtocol.Operation.Restore(
            snapshot: RestorePlannerTests.record, dryRun: false, waitSeconds: 10)
        let job = Job(
            id: "j1", node: "n", cluster: "c", counter: 1, issued: .now(), expires: .now().adding(.seconds(3600)),
            operation: .restore(restore))
        let outcome = await run.begin(job, restore)
        #expect(outcome.result == .failed && outcome.error?.hint != nil)
    }
}
