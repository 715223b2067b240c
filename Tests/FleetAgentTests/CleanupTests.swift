import FleetProtocol
import FleetSystem
import Testing

@testable import FleetAgent

/// The one thing that deletes an etcd's data: what it must never touch, on real directories.
@Suite struct CleanupTests {
    private struct Node {
        let tree: NodeTree
        var done: RestoreWork
        var old: String { done.directories[0].old }
        var new: String { done.directories[0].new }

        init() throws {
            tree = try NodeTree(Layouts.kubespray)
            let restore = FleetProtocol.Operation.Restore(
                snapshot: RestorePlannerTests.record, dryRun: false, waitSeconds: 60)
            done = try RestorePlanner.plan(
                try tree.discover(), restore,
                job: Job(
                    id: "j1", node: "n", cluster: "c", counter: 1, issued: .now(), expires: .now(),
                    operation: .restore(restore)))
            let root = tree.root
            done.directories = done.directories.map { .init(old: root + $0.old, new: root + $0.new) }
            done.plan.oldDataDir = root + done.plan.oldDataDir
            for path in [old, new] { try FileSystem.makeDirectories(path + "/member/snap") }
            try FileSystem.writeDurably(old + "/member/snap/db", Array("old".utf8))
        }

        /// As discovery finds it, etcd's data being in `path`.
        func found(in path: String) throws -> DiscoveredEtcd {
            var found = try tree.discover()
            found.dataDir.path = path
            found.files = NodeFiles()
            return found
        }

        /// etcd's own data is there, and something of somebody else beside it.
        func addSnapshotBeside() throws { try FileSystem.writeDurably(old + "/snap.db", Array("by hand".utf8)) }

        func remove(
            inForce path: String? = nil, _ processes: [EtcdProcess] = [], dryRun: Bool = false
        ) throws -> OldDirectories.Result {
            try OldDirectories(done: done, restored: "j1").remove(
                try found(in: path ?? new), processes, dryRun: dryRun)
        }

        func refusal(inForce path: String? = nil, _ processes: [EtcdProcess] = []) -> FleetError.Code? {
            do {
                _ = try remove(inForce: path, processes)
                return nil
            } catch { return FleetError(error).code }
        }
    }

    /// kubectl exec etcd -- etcdctl snapshot save /var/lib/etcd/snap.db: it is the only place that can be written there.
    @Test func whatEtcdDidNotMakeStays() throws {
        let node = try Node()
        try node.addSnapshotBeside()
        for dryRun in [true, false] {
            #expect { try node.remove(dryRun: dryRun) } throws: { error in
                (error as? FleetError)?.code == .notEtcds && (error as? FleetError)?.message.contains("snap.db") == true
            }
        }
        #expect(try FileSystem.read(node.old + "/snap.db") == Array("by hand".utf8))
        #expect(FileSystem.exists(node.old + "/member/snap/db"))
    }

    /// The agent's unit mounts the places where it may write, which are none of the host's mount points.
    @Test func whatIsMountedForTheAgentAlone() {
        func info(_ points: String...) -> String {
            points.map { "227 184 0:39 / \($0) rw,relatime shared:79 - ext4 /dev/sda1 rw\n" }.joined()
        }
        func mounts(_ path: String, _ own: String, _ host: String?) -> OldDirectories.Mounts {
            OldDirectories.mounts(path, own: own, host: host)
        }
        #expect(mounts("/data", info("/", "/data"), info("/")) == .agentsOwn)
        #expect(mounts("/data", info("/", "/data"), nil) == .below("/data"), "nobody knows whose it is")
        #expect(mounts("/data", info("/", "/data"), info("/", "/data")) == .below("/data"))
        #expect(mounts("/data", info("/", "/data", "/data/wal"), info("/", "/data/wal")) == .below("/data/wal"))
        #expect(mounts("/data", info("/", "/data", "/data/a\\040b"), info("/")) == .below("/data/a b"))
        #expect(mounts("/data", info("/"), info("/", "/data")) == .below("/data"))
        #expect(mounts("/data/etcd", info("/", "/data", "/data/etcd2"), info("/")) == .none)
    }

    @Test func theOldDirectoryGoesAndNothingElse() throws {
        let node = try Node()
        let planned = try node.remove(dryRun: true)
        #expect(planned.removed.map(\.path) == [node.old] && planned.removed[0].size == 3)
        #expect(FileSystem.exists(node.old + "/member/snap/db"), "a dry run removes nothing")
        #expect(try node.remove().removed.map(\.path) == [node.old])
        #expect(!FileSystem.exists(node.old) && FileSystem.exists(node.new + "/member/snap"))
        #expect(try FileSystem.list(FileSystem.parent(of: node.old)) == [FileSystem.name(of: node.new)])
        let again = try node.remove()
        #expect(again.gone == [node.old] && again.removed.isEmpty)
    }

    /// The new data is in the old directory, since that is a file system of its own: only what etcd made there goes, and with
    /// an undo only what the restore had made.
    @Test func ofAFileSystemOfItsOwnOnlyTheOldPartsGo() throws {
        var node = try Node()
        let root = node.old
        let inside = root + "/data-restore-j1"
        try FileSystem.makeDirectories(inside + "/member/snap")
        try FileSystem.makeDirectories(root + "/lost+found")
        try node.addSnapshotBeside()
        node.done.directories = [.init(old: root, new: inside)]
        node.done.plan.newDataDir = inside
        #expect(node.refusal(inForce: root) == .inForce, "it was put back by hand")
        #expect(node.refusal(inForce: root + "/member/below") == .inForce)
        #expect(try node.remove(inForce: inside).removed.map(\.path) == [root + "/member"])
        #expect(try FileSystem.list(root).sorted() == ["data-restore-j1", "lost+found", "snap.db"])
        #expect(try node.remove(inForce: inside).gone == [root + "/member"])

        try FileSystem.makeDirectories(root + "/member/snap")
        node.done.directories = [.init(old: inside, new: root)]
        (node.done.plan.oldDataDir, node.done.plan.newDataDir) = (inside, root)
        #expect(node.refusal(inForce: inside) == .inForce)
        #expect(node.refusal(inForce: inside + "/below") == .inForce)
        #expect(try node.remove(inForce: root).removed.map(\.path) == [inside])
        #expect(try FileSystem.list(root).sorted() == ["lost+found", "member", "snap.db"])
    }

    /// The WAL has a disk of its own too.
    @Test func ofALogOnAFileSystemOfItsOwnOnlyItsFilesGo() throws {
        var node = try Node()
        let wal = node.tree.root + "/fast"
        let inside = wal + "/data-restore-j1"
        try FileSystem.makeDirectories(inside)
        let segment = "0000000000000000-0000000000000000.wal"
        let etcds = [wal + "/" + segment, wal + "/1.tmp"]
        let others = [wal + "/backup.db.tmp", wal + "/README", wal + "/old.wal"]
        for path in etcds + others + [inside + "/" + segment] { try FileSystem.writeDurably(path, [1]) }
        try FileSystem.makeDirectories(wal + "/2.tmp")
        node.done.directories.append(.init(old: wal, new: inside))
        (node.done.plan.oldWalDir, node.done.plan.newWalDir) = (wal, inside)
        #expect(try node.remove(dryRun: true).removed.map(\.path) == [node.old] + etcds)
        #expect(RestoreWork.keptData(node.done.directories, node.done.plan) == [node.old, wal + "/*.wal"])
        _ = try node.remove()
        let left = ["2.tmp", "README", "backup.db.tmp", "data-restore-j1", "old.wal"]
        #expect(try FileSystem.list(wal).sorted() == left)
        #expect(try FileSystem.list(inside) == [segment])

        // The undo of it: the log is in force where it was.
        let found = try node.found(in: node.old)
        node.done.directories = [.init(old: inside, new: wal)]
        (node.done.plan.oldWalDir, node.done.plan.newWalDir) = (inside, wal)
        let done = node.done
        func remove(logIn path: String) throws -> [String] {
            var found = found
            found.walDir = found.dataDir
            found.walDir?.path = path
            return try OldDirectories(done: done, restored: "j2").remove(found, [], dryRun: false).removed.map(\.path)
        }
        let error = #expect(throws: FleetError.self) { try remove(logIn: inside) }
        #expect(error?.code == .inForce)
        #expect(try remove(logIn: wal) == [inside])
        #expect(try FileSystem.list(wal).sorted() == left.filter { $0 != "data-restore-j1" })
    }

    /// A directory of the log alone goes whole, unless something else is in it.
    @Test func inTheLogsDirectoryOnlyEtcdsOwnFilesAreEtcds() throws {
        var node = try Node()
        let wal = node.tree.root + "/fast/wal"
        let segment = wal + "/0000000000000000-0000000000000000.wal"
        node.done.directories.append(.init(old: wal, new: wal + "-restore-j1"))
        (node.done.plan.oldWalDir, node.done.plan.newWalDir) = (wal, wal + "-restore-j1")
        for other in ["backup.db.tmp", "old.wal", "x.broken", "2.tmp/"] {
            try FileSystem.makeDirectories(wal)
            try FileSystem.writeDurably(segment, [1])
            if other.hasSuffix("/") {
                try FileSystem.makeDirectories("\(wal)/\(other)")
            } else {
                try FileSystem.writeDurably("\(wal)/\(other)", [1])
            }
            #expect(node.refusal() == .notEtcds, "\(other)")
            #expect(FileSystem.exists(segment) && FileSystem.exists(node.old))
            try FileSystem.removeTree("\(wal)/\(other)")
        }
        try FileSystem.writeDurably(wal + "/1.tmp", [1])
        #expect(try node.remove().removed.map(\.path) == [node.old, wal])
    }

    /// The log has a disk of its own that is mounted in the data directory, whether that is one too or not.
    @Test(arguments: [true, false]) func aLogMountedInTheDataDirectory(isMounted: Bool) throws {
        var node = try Node()
        let (old, wal) = (node.old, node.old + "/wal")
        let (data, log) = (isMounted ? old + "/data-restore-j1" : node.new, wal + "/data-restore-j1")
        let segment = wal + "/0000000000000000-0000000000000000.wal"
        for directory in [data + "/member", log] { try FileSystem.makeDirectories(directory) }
        try FileSystem.writeDurably(segment, [1])
        try FileSystem.writeDurably(log + "/0.tmp", [1])
        node.done.directories = [.init(old: old, new: data), .init(old: wal, new: log)]
        (node.done.plan.newDataDir, node.done.plan.oldWalDir, node.done.plan.newWalDir) = (data, wal, log)
        #expect(node.done.keptData == [old + "/member", wal + "/*.wal"])
        var found = try node.found(in: data)
        found.walDir = found.dataDir
        found.walDir?.path = log
        let removed = try OldDirectories(done: node.done, restored: "j1").remove(found, [], dryRun: false)
        #expect(removed.removed.map(\.path) == [old + "/member", segment])
        #expect(FileSystem.exists(data + "/member") && FileSystem.exists(log + "/0.tmp"))
    }

    /// A cleanup that was cut off had moved it aside: the next one goes on with that.
    @Test func halfOfItIsNeverTakenForTheOldData() throws {
        let node = try Node()
        let aside = node.old + ".removed-by-j1"
        try FileSystem.rename(node.old, to: aside)
        try FileSystem.removeTree(aside + "/member/snap")
        #expect(try node.remove().removed.map(\.path) == [aside])
        #expect(!FileSystem.exists(aside))
        // Somebody put one there again.
        try FileSystem.makeDirectories(node.old)
        try FileSystem.makeDirectories(aside)
        #expect(try node.remove().removed.map(\.path) == [node.old, aside])
        #expect(!FileSystem.exists(node.old) && !FileSystem.exists(aside))
    }

    @Test func whatIsInForceStays() throws {
        let node = try Node()
        for path in [node.old, node.old + "/below", FileSystem.parent(of: node.old)] {
            #expect(node.refusal(inForce: path) == .inForce, "\(path)")
        }
        // Under another name: by a link that the configuration goes through.
        let link = node.tree.root + "/link"
        _ = try Subprocess.check("/bin/ln", ["-s", node.old, link])
        #expect(node.refusal(inForce: link) == .inForce)
        #expect(FileSystem.exists(node.old + "/member/snap/db"))
    }

    @Test(.enabled(if: RealEtcd.isInstalled)) func whatAnEtcdWorksInStays() throws {
        var node = try Node()
        let etcd = try RealEtcd()
        node.done.directories[0].old = etcd.dataDir
        #expect(node.refusal(try ProcessTable.etcds()) == .inForce)
        #expect(FileSystem.exists(etcd.dataDir + "/member/snap/db"))
    }

    @Test func nothingGoesThroughALink() throws {
        var node = try Node()
        let link = node.tree.root + "/link"
        _ = try Subprocess.check("/bin/ln", ["-s", node.old, link])
        let old = node.old
        node.done.directories[0].old = link
        #expect(node.refusal() == .symbolicLink)
        _ = try Subprocess.check("/bin/ln", ["-s", FileSystem.parent(of: old), link + "2"])
        node.done.directories[0].old = link + "2/" + FileSystem.name(of: old)
        #expect(node.refusal() == .symbolicLink)
        #expect(FileSystem.exists(old + "/member/snap/db"))
    }

    /// What a member that was replaced has left; before it serves, nothing is signed off.
    @Test func theOldDataOfAReplacedMember() async throws {
        let node = try Node()
        let paths = AgentPaths(state: node.tree.root + "/state")
        let found = try node.found(in: node.new)
        let run = CleanupRun(paths: paths, discover: { () throws(FleetError) in found }, processes: { [] })
        try FileSystem.makeDirectories(paths.jobs)
        for (stage, code) in [(JoinRecord.Stage.returning, FleetError.Code.notRestoredHere), (.joining, nil)] {
            try JoinRecord(replacement: "r1", work: node.done, stage: stage).write(paths)
            #expect(await run.run(.init(restored: "r1", dryRun: false)).error?.code == .notRestoredHere)
            try JoinRecord.close(paths, end: "r1")
            #expect(await run.run(.init(restored: "r1", dryRun: true)).error?.code == code)
            #expect(FileSystem.exists(node.old + "/member/snap/db"))
        }
        #expect(await run.run(.init(restored: "r1", dryRun: false)).summary.contains("removed \(node.old)"))
        #expect(!FileSystem.exists(node.old))
    }

    /// The first replacement switched the files and came no further; the second had a directory of its own, and the third only
    /// to make a voter of it: what was there before all of them is signed off with the third.
    @Test func theOldDataBehindSeveralReplacements() async throws {
        let node = try Node()
        let paths = AgentPaths(state: node.tree.root + "/state")
        try FileSystem.makeDirectories(paths.jobs)
        var second = node.done
        second.directories = [.init(old: node.new, new: node.new + "-2")]
        (second.plan.oldDataDir, second.plan.newDataDir) = (node.new, node.new + "-2")
        second.plan.oldDirectories = second.keptData
        var first = node.done
        first.plan.oldDirectories = first.keptData
        try FileSystem.makeDirectories(node.new + "-2/member")

        try JoinRecord(replacement: "r1", work: first, stage: .joining).write(paths)
        // One that goes back leaves what was before it.
        try JoinRecord.planned("r0", second, after: try .any(paths)).write(paths)
        #expect(try JoinRecord.close(paths, end: "r0") == nil)
        #expect(try JoinRecord.any(paths)?.replacement == "r1")

        try JoinRecord.planned("r2", second, after: try .any(paths)).write(paths)
        var record = try JoinRecord.read(paths, of: "r2")
        record.stage = .joining
        try record.write(paths)
        let plan = try JoinRecord.close(paths, end: "r3")
        #expect(plan?.oldDirectories == [node.new, node.old] && plan?.newDataDir == node.new + "-2")
        #expect(try JoinRecord.close(paths, end: "r3") == plan, "asked again")

        let found = try node.found(in: node.new + "-2")
        let run = CleanupRun(paths: paths, discover: { () throws(FleetError) in found }, processes: { [] })
        try node.addSnapshotBeside()
        #expect(await run.run(.init(restored: "r3", dryRun: false)).error?.code == .notEtcds)
        #expect(FileSystem.exists(node.new), "all are looked at before the first is touched")
        try FileSystem.remove(node.old + "/snap.db")
        let removed = await run.run(.init(restored: "r3", dryRun: false))
        #expect(removed.result == .succeeded, "\(removed.summary)")
        #expect(!FileSystem.exists(node.old) && !FileSystem.exists(node.new))
        #expect(FileSystem.exists(node.new + "-2/member"))
    }

    @Test func onlyWhatAJournalNames() async throws {
        let node = try Node()
        let paths = AgentPaths(state: node.tree.root + "/state")
        let found = try node.found(in: node.new)
        let run = CleanupRun(paths: paths, discover: { () throws(FleetError) in found }, processes: { [] })
        let none = await run.run(.init(restored: "j1", dryRun: false))
        #expect(none.result == .failed && none.error?.code == .notRestoredHere)
        try FileSystem.makeDirectories(paths.job("j1"))
        let journal = try Journal<RestoreEntry>(paths.journal("j1"))
        try journal.append(.planned(node.done, boot: BootIdentity(bootID: "b", firstProcessStart: 1)))
        #expect(await run.run(.init(restored: "j1", dryRun: false)).error?.code == .notRestoredHere)
        try journal.append(.concluded(.succeeded))
        let unknown = CleanupRun(paths: paths, discover: { () throws(FleetError) in throw FleetError(.noEtcd, "none") })
        #expect(await unknown.run(.init(restored: "j1", dryRun: false)).error?.code == .noEtcd)
        #expect(FileSystem.exists(node.old), "where nothing tells what is in force, nothing goes")
        let removed = await run.run(.init(restored: "j1", dryRun: false))
        #expect(removed.result == .succeeded && removed.summary.contains("removed \(node.old)"))
    }
}
