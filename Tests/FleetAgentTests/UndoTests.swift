import FleetProtocol
import FleetSystem
import Testing

@testable import FleetAgent

/// Back behind a restore, from its journal and the node's own files.
@Suite struct UndoTests {
    /// The beginning of a write-ahead log as etcd makes one.
    static func log(member: UInt64, cluster: UInt64) -> [UInt8] {
        func varint(_ value: UInt64) -> [UInt8] {
            var (rest, bytes) = (value, [UInt8]())
            while rest >= 0x80 {
                bytes.append(UInt8(rest & 0x7F) | 0x80)
                rest >>= 7
            }
            return bytes + [UInt8(rest)]
        }
        func frame(_ record: [UInt8]) -> [UInt8] {
            let padding = (8 - record.count % 8) % 8
            let word = UInt64(record.count) | (padding > 0 ? UInt64(0x80 | padding) << 56 : 0)
            return (0..<8).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) } + record
                + [UInt8](repeating: 0, count: padding)
        }
        let metadata = [0x08] + varint(member) + [0x10] + varint(cluster)
        return frame([0x08, 4, 0x10, 0]) + frame([0x08, 1, 0x10, 9, 0x1A, UInt8(metadata.count)] + metadata)
            + [UInt8](repeating: 0, count: 64)
    }

    /// A node behind a restore: planned, journalled, switched.
    private struct Node {
        let tree: NodeTree
        let done: RestoreWork
        var journal: [RestoreEntry] {
            [.planned(done, boot: BootIdentity(bootID: "b", firstProcessStart: 1)), .concluded(.succeeded)]
        }

        init(
            _ layout: [String: String], links: [String: String] = [:], member: UInt64 = 0xA, cluster: UInt64 = 0xC
        ) throws {
            tree = try NodeTree(layout, links: links)
            let found = try tree.discover()
            try Self.writeLog(tree, found.instance, member, cluster)
            let restore = FleetProtocol.Operation.Restore(
                snapshot: RestorePlannerTests.record, dryRun: false, waitSeconds: 60)
            done = try RestorePlanner.plan(found, restore, job: Self.job(.restore(restore), "j1"))
            for change in done.plan.changes { try tree.write(change.path, change.after) }
            try FileSystem.makeDirectories(tree.root + done.plan.newDataDir)
        }

        static func writeLog(_ tree: NodeTree, _ instance: EtcdInstance, _ member: UInt64, _ cluster: UInt64) throws {
            let place = tree.root + (instance.walDir ?? instance.dataDir + "/member/wal")
            try FileSystem.makeDirectories(tree.root + instance.dataDir)
            try FileSystem.makeDirectories(place)
            try tree.write(instance.dataDir + "/member/snap/db", "a database")
            try FileSystem.writeDurably(
                place + "/0000000000000000-0000000000000000.wal", UndoTests.log(member: member, cluster: cluster))
        }

        static func job(_ operation: FleetProtocol.Operation, _ id: String) -> Job {
            Job(
                id: id, node: "n", cluster: "c", counter: 1, issued: .now(), expires: .now().adding(.seconds(60)),
                operation: operation)
        }

        func undo(_ journal: [RestoreEntry]? = nil, group: RestoreGroup? = nil) throws -> RestoreWork {
            let undo = FleetProtocol.Operation.Undo(restored: "j1", dryRun: false, waitSeconds: 30, group: group)
            return try UndoPlanner.plan(
                try tree.discover(), undo, job: Self.job(.undo(undo), "u1"), journal: journal ?? self.journal)
        }

        func refusal(_ journal: [RestoreEntry]? = nil, group: RestoreGroup? = nil) -> FleetError? {
            do {
                _ = try undo(journal, group: group)
                return nil
            } catch { return FleetError(error) }
        }
    }

    @Test(arguments: ["kubeadm", "kubespray", "debian", "rpm"]) func eachFileIsAsBefore(_ layout: String) throws {
        let files = [
            "kubeadm": Layouts.kubeadm, "kubespray": Layouts.kubespray, "debian": Layouts.debian,
            "rpm": Layouts.rpm,
        ][layout]!
        let node = try Node(files, links: layout == "debian" ? Layouts.debianLinks : [:])
        let work = try node.undo()
        #expect(work.plan.newDataDir == node.done.plan.oldDataDir && work.plan.oldDataDir == node.done.plan.newDataDir)
        #expect(work.directories.map(\.new) == node.done.directories.map(\.old))
        #expect((work.memberID, work.clusterID) == (0xA, 0xC), "the ids are those that the old data has")
        #expect(!work.steps.contains(.restoreData) && !work.steps.contains(.fetch))
        for (change, before) in zip(work.plan.changes, node.done.plan.changes) {
            #expect(change.before == before.after && change.result == before.before)
        }
        #expect(work.plan.revisions?.contains("workers too") == (layout == "kubeadm"))
        // Through the journal and back: what an agent that was killed goes on with.
        let again = try JSON.decode(RestoreWork.self, from: try JSON.encode(work))
        #expect(again == work)
    }

    /// Beside an etcd of systemd's too.
    @Test func theControlPlaneIsStopped() throws {
        let node = try Node(
            Layouts.kubespray.merging(
                ["/etc/kubernetes/manifests/kube-apiserver.yaml": Layouts.apiserverManifest]) { $1 })
        let work = try node.undo()
        #expect(
            work.steps == [
                .preflight, .stopControlPlane, .stopEtcd, .switchFiles, .startEtcd, .verify, .startControlPlane,
                .finish,
            ])
        #expect(work.plan.holdingDirectory == "/etc/kubernetes/fleet-agent/u1")
        #expect(try Node(Layouts.kubespray).undo().plan.holdingDirectory == nil)
    }

    /// A drop-in that the restore had added goes again, and comes back when the undo is taken back.
    @Test func whatTheRestoreAddedGoes() throws {
        let tree = try NodeTree()
        let file = tree.root + "/unit.d/zz.conf"
        try tree.write("/unit.d/zz.conf", "added\n")
        let node = try Node(Layouts.kubespray)
        var work = try node.undo()
        work.plan.changes = [.init(path: file, before: "added\n", after: nil)]
        let steps = RestoreSteps(work: work, paths: AgentPaths(state: tree.root + "/state"))
        for _ in 0..<2 { _ = try steps.perform(.switchFiles) }
        #expect(!FileSystem.exists(file))
        for _ in 0..<2 { _ = try steps.undo(.switchFiles) }
        #expect(try FileSystem.readText(file) == "added\n")
    }

    @Test func whatIsNotAsTheRestoreLeftItIsRefused() throws {
        let edited = try Node(Layouts.kubespray)
        let path = edited.done.plan.changes[0].path
        try edited.tree.write(path, edited.done.plan.changes[0].after + "# by hand\n")
        #expect(edited.refusal()?.code == .changedMeanwhile)
        #expect(edited.refusal()?.message.contains(path) == true)

        let later = try Node(Layouts.kubespray)
        try later.tree.write(path, later.done.plan.changes[0].after.replacing("-restore-j1", with: "-restore-j2"))
        #expect(later.refusal()?.code == .changedMeanwhile)
        #expect(later.refusal()?.message.contains("-restore-j2") == true)

        let gone = try Node(Layouts.kubespray)
        try FileSystem.removeTree(gone.tree.root + gone.done.plan.oldDataDir)
        #expect(gone.refusal()?.code == .oldDataGone)
        try FileSystem.makeDirectories(gone.tree.root + gone.done.plan.oldDataDir)
        #expect(gone.refusal()?.code == .oldDataGone, "an empty one is no data either")

        let half = try Node(Layouts.kubespray)
        try FileSystem.removeTree(half.tree.root + half.done.plan.oldDataDir + "/member/snap")
        #expect(half.refusal()?.code == .oldDataGone, "a log without a database, as half of a cleanup leaves")

        let other = try Node(Layouts.kubespray)
        try Node.writeLog(other.tree, other.done.instance, 0xA, 0xD)
        #expect(other.refusal()?.code == .oldDataGone)

        let node = try Node(Layouts.kubespray)
        #expect(node.refusal() == nil)
        #expect(node.refusal([])?.code == .notRestoredHere)
        #expect(node.refusal([node.journal[0], .concluded(.rolledBack)])?.code == .notRestoredHere)
    }

    @Test func aMemberGoesBackWithItsOwnCluster() throws {
        let node = try Node(Layouts.kubeadm)
        var group = RestoreGroup(
            restore: "u1",
            members: [
                .init(node: "a", name: "m-a", peerURLs: ["https://10.0.0.21:2380"], id: "b"),
                .init(node: "n", name: "cp1", peerURLs: ["https://10.0.0.11:2380"], id: "a"),
            ], cluster: "c")
        #expect(group.isValid && group.clusterID == 0xC && group.memberIDs == [0xB, 0xA])
        let work = try node.undo(group: group)
        #expect(work.steps.contains(.stopEtcd) == node.done.steps.contains(.stopEtcd))
        #expect(work.memberIDs.sorted() == [0xA, 0xB])
        group.cluster = "d"
        #expect(node.refusal(group: group)?.code == .oldDataGone)
        group.cluster = "c"
        group.members[1].id = "e"
        #expect(node.refusal(group: group)?.code == .oldDataGone)
        group.members[1].id = nil
        #expect(!group.isValid, "all ids are known or none")
    }

    /// Somebody edits a file in the middle of an undo: going back leaves it alone where it leads to the restored data.
    @Test func anEditInBetweenIsNotOverwritten() throws {
        let node = try Node(Layouts.kubespray)
        var work = try node.undo()
        let root = node.tree.root
        work.plan.changes = work.plan.changes.map { .init(path: root + $0.path, before: $0.before, after: $0.result) }
        let steps = RestoreSteps(work: work, paths: AgentPaths(state: root + "/state"))
        let path = work.plan.changes[0].path
        let edit = work.plan.changes[0].before! + "# by hand\n"
        try FileSystem.writeDurably(path, edit.utf8)
        #expect(throws: FleetError.self) { try steps.perform(.switchFiles) }
        _ = try steps.undo(.switchFiles)
        #expect(try FileSystem.readText(path) == edit)
        // This one leads to the old data, and nobody knows what it should be.
        try FileSystem.writeDurably(path, (work.plan.changes[0].result! + "# by hand\n").utf8)
        #expect(throws: FleetError.self) { try steps.undo(.switchFiles) }
    }

    @Test func anUndoHasNoDirectoryToTakeBack() throws {
        let node = try Node(Layouts.kubespray)
        let steps = RestoreSteps(work: try node.undo(), paths: AgentPaths(state: node.tree.root + "/state"))
        #expect(throws: FleetError.self) { try steps.undo(.restoreData) }
        #expect(FileSystem.exists(node.tree.root + node.done.plan.oldDataDir))
    }

    // MARK: what the old data is

    @Test(.enabled(if: RealEtcd.isInstalled)) func theLogTellsTheIds() throws {
        let separate = try NodeTree()
        for wal in [nil, separate.root + "/wal"] {
            let etcd = try RealEtcd(walDir: wal)
            let client = EtcdClient(tool: try RealEtcd.tools().client(for: nil), instance: etcd.instance)
            let status = try client.status()
            let read = OldIdentity.read(dataDir: etcd.dataDir, walDir: wal)
            #expect(read == OldIdentity(member: status.memberID, cluster: status.clusterID))
        }
        #expect(OldIdentity.read(dataDir: separate.root, walDir: nil) == nil)
    }

    @Test func aDamagedLogTellsNothing() {
        let log = Self.log(member: 0x8e9e_05c5_2164_694d, cluster: 0xcdf8_181e_3a8c_4a5b)
        let whole = OldIdentity(member: 0x8e9e_05c5_2164_694d, cluster: 0xcdf8_181e_3a8c_4a5b)
        #expect(OldIdentity.parse(log) == whole)
        #expect(OldIdentity.parse(Array(log.prefix(40))) == nil)
        for length in 0..<log.count { _ = OldIdentity.parse(Array(log.prefix(length))) }
        for bit in 0..<(log.count * 8) {
            var flipped = log
            flipped[bit / 8] ^= 1 << (bit % 8)
            _ = OldIdentity.parse(flipped)
        }
        #expect(OldIdentity.parse([UInt8](repeating: 0xFF, count: 512)) == nil)
    }
}
