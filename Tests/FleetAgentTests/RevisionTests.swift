import FleetProtocol
import FleetSystem
import Glibc
import RealEtcdProcess
import Testing

@testable import FleetAgent

/// Revisions only ever rise, where etcd's tool can see to that: with a real one that can (ETCD3516_DIR).
@Suite struct RevisionTests {
    private static let programs = getenv("ETCD3516_DIR").map { String(cString: $0) }
    private static var isThere: Bool { programs.map { FileSystem.exists($0 + "/etcdutl") } ?? false }

    @Test func whichToolsBump() {
        let can = ["3.4.27", "3.4.30", "3.5.10", "3.5.16", "3.6.0", "3.7.1", "4.0.0"]
        let cannot = ["3.3.99", "3.4.23", "3.4.26", "3.5.0", "3.5.9"]
        for version in can { #expect(EtcdVersion(version)!.bumpsRevisions, "\(version)") }
        for version in cannot { #expect(!EtcdVersion(version)!.bumpsRevisions, "\(version)") }
    }

    private func planned(_ tool: EtcdTool?, _ bump: RevisionBump?) throws -> RestoreWork {
        let layout = try NodeTree(Layouts.kubespray)
        var restore = FleetProtocol.Operation.Restore(
            snapshot: RestorePlannerTests.record, dryRun: false, waitSeconds: 10)
        restore.bump = bump
        var work = try RestorePlanner.plan(
            try layout.discover(), restore,
            job: Job(
                id: "j1", node: "n", cluster: "c", counter: 1, issued: .now(), expires: .now(),
                operation: .restore(restore)))
        work.settleRevisions(tool)
        return work
    }

    @Test func thePlanSaysWhatBecomesOfRevisions() throws {
        let bump = RevisionBump(lastKnown: 100, snapshot: 6)
        #expect(bump.amount == 1_000_000_094 && bump.target == 1_000_000_100)
        #expect(RevisionBump(lastKnown: 3, snapshot: 6).amount == 1_000_000_000, "never below the snapshot's")
        let new = try planned(EtcdTool(kind: .etcdutl, path: "", version: EtcdVersion(3, 5, 16)), bump)
        #expect(new.bump == bump && new.revision == 1_000_000_100)
        #expect(new.plan.revisions?.contains("bumped by 1000000094 (94 up to the last one known") == true)
        for (tool, wanted) in [
            (EtcdTool(kind: .etcdctl, path: "", version: EtcdVersion(3, 4, 23)), bump), (nil, bump),
            (EtcdTool(kind: .etcdutl, path: "", version: EtcdVersion(3, 5, 16)), nil),
        ] {
            let old = try planned(tool, wanted)
            #expect(old.bump == nil && old.revision == 6)
            #expect(old.plan.revisions?.contains("not bumped") == true)
            #expect(old.plan.revisions?.contains("watchers would see revisions go back") == true)
            #expect(old.notes.contains { $0.contains("not bumped") }, "the outcome says it too")
        }
        #expect(
            try planned(EtcdTool(kind: .etcdctl, path: "", version: EtcdVersion(3, 4, 23)), bump).plan.revisions?
                .contains("etcdctl 3.4.23 can't") == true)
        var live = try planned(EtcdTool(kind: .etcdutl, path: "", version: EtcdVersion(3, 5, 16)), bump)
        live.plan.liveRevision = bump.target
        let steps = RestoreSteps(work: live, paths: AgentPaths(state: "/nonexistent"))
        #expect(throws: FleetError.self) { try steps.checkBump() }
    }

    /// Several members are hashed at the bumped revision, which is compacted: an etcd that may not tell that is not bumped.
    @Test func anOldEtcdOfSeveralIsNotBumped() throws {
        let bump = RevisionBump(lastKnown: 100, snapshot: 6)
        var tool = EtcdTool(kind: .etcdutl, path: "", version: EtcdVersion(3, 5, 16))
        let group = RestoreGroup(restore: "r", members: [])
        func settled(_ etcd: String?, saved: String, alone: Bool = false) throws -> RestoreWork {
            var work = try planned(nil, nil)
            (work.bump, work.group) = (bump, alone ? nil : group)
            (work.instance.version, work.snapshot.facts.etcdVersion) = (etcd, saved)
            work.settleRevisions(tool)
            return work
        }
        for (etcd, saved) in [("3.5.9", "3.5.9"), ("3.4.26", "3.4.26"), (nil, "3.5.1")] {
            let old = try settled(etcd, saved: saved)
            #expect(old.bump == nil && old.revision == 6)
            #expect(old.plan.revisions?.contains("since etcd \(etcd ?? saved) can't") == true)
            // Nothing is compared of one member.
            #expect(try settled(etcd, saved: saved, alone: true).bump == bump)
        }
        for (etcd, saved) in [("3.5.10", "3.5.9"), ("3.4.27", ""), (nil, "3.6.0"), (nil, "")] {
            #expect(try settled(etcd, saved: saved).bump == bump)
        }
        // The container's own tool: etcd was upgraded since the snapshot.
        tool.isCopy = true
        #expect(try settled(nil, saved: "3.5.9").bump == bump)
    }

    private func etcdctl(_ etcd: LoopbackEtcd, _ words: String...) throws -> Subprocess.Outcome {
        try Subprocess.run(
            Self.programs! + "/etcdctl", ["--endpoints=\(etcd.client)"] + words, environment: EtcdClient.environment,
            deadline: .seconds(10))
    }

    private func instance(_ etcd: LoopbackEtcd, _ dataDir: String) -> EtcdInstance {
        EtcdInstance(
            topology: .externalSystemd, name: "m1", dataDir: dataDir, endpoint: etcd.client, peerURLs: [etcd.peer],
            initialCluster: "m1=\(etcd.peer)", version: "3.5.16", sources: [:])
    }

    /// Saved, restored with a bump, started, verified: and who watched is told to list again.
    @Test(.enabled(if: isThere)) func aWatcherSeesACompactionInsteadOfThePast() throws {
        let tree = try NodeTree()
        let paths = AgentPaths(state: tree.root + "/state")
        try FileSystem.makeDirectories(paths.tools)
        for tool in ["etcdctl", "etcdutl"] {
            try FileSystem.copyDurably("\(Self.programs!)/\(tool)", to: "\(paths.tools)/\(tool)-1-1", mode: 0o700)
        }
        let source = try LoopbackEtcd(programs: Self.programs!)
        for value in 1...5 { #expect(try etcdctl(source, "put", "/registry/pods/a", "\(value)").succeeded) }
        #expect(try etcdctl(source, "put", "/registry/pods/b", "x").succeeded)
        let saver = SnapshotSaver(paths: paths, instance: instance(source, source.directory + "/data"))
        let saved = try saver.save(job: "j1", try saver.preflight())
        // What the cluster wrote since, and the watcher saw.
        for value in 6...30 { #expect(try etcdctl(source, "put", "/registry/pods/a", "\(value)").succeeded) }

        let bump = RevisionBump(lastKnown: 32, snapshot: saved.facts.status.revision)
        var work = try planned(EtcdTool(kind: .etcdutl, path: "", version: EtcdVersion(3, 5, 16)), bump)
        work.instance = instance(source, source.directory + "/data")
        (work.snapshot.facts, work.snapshot.size) = (saved.facts, saved.facts.size)
        work.bump = bump
        work.plan.newDataDir = tree.root + "/new"
        work.plan.newWalDir = nil
        work.directories = [.init(old: tree.root + "/old", new: tree.root + "/new")]
        work.memberID = MemberIdentity.member(peerURLs: [source.peer], token: work.plan.clusterToken)
        work.clusterID = MemberIdentity.cluster(members: [work.memberID])
        _ = try RestoreSteps(work: work, paths: paths).perform(.restoreData)

        let restored = try LoopbackEtcd(programs: Self.programs!, dataDir: tree.root + "/new")
        work.instance = instance(restored, tree.root + "/new")
        let steps = RestoreSteps(work: work, paths: paths)
        #expect(try steps.perform(.verify).note?.contains("2 keys") == true)
        let proof = try steps.proof()
        #expect(proof.revision == bump.target && proof.hashKV != 0)
        let watch = try etcdctl(restored, "watch", "--prefix", "/registry/", "--rev=20")
        #expect((watch.outputText + watch.complaint).contains("compacted"), "\(watch.outputText) \(watch.complaint)")
        // The verification can fail: an etcd that is not where the bump leads is not what was meant.
        var short = steps
        short.work.bump = RevisionBump(lastKnown: 1 << 40, snapshot: bump.snapshot)
        #expect(throws: FleetError.self) { try short.perform(.verify) }
    }
}
