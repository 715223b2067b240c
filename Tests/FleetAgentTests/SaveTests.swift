import FleetCrypto
import FleetProtocol
import FleetSystem
import Testing

@testable import FleetAgent

@Suite(.enabled(if: RealEtcd.isInstalled)) struct SaveTests {
    @Test func savesChecksAndRestores() throws {
        let tree = try NodeTree()
        let paths = AgentPaths(state: tree.root + "/state")
        let etcd = try RealEtcd()
        for index in 0..<5 { try etcd.put("key-\(index)", "value") }
        let saver = SnapshotSaver(paths: paths, instance: etcd.instance)
        let saved = try saver.save(job: "j1", try saver.preflight())
        #expect(saved.facts.status.revision == 6)
        #expect(saved.facts.liveKeys == 5)
        #expect(saved.facts.members == 1)
        #expect(saved.facts.etcdVersion == "3.4.23")
        #expect(saved.facts.size % 512 == 32)
        #expect(saved.facts.warnings.contains { $0.contains("14355") } == false)
        #expect(saved.facts.warnings.contains { $0.contains("bbolt#1058") })
        #expect(try FileSystem.status(saved.file)?.mode == 0o600)
        #expect(try FileSystem.list(paths.spool) == ["fleet-job-j1"])

        let token = "restore-token-1"
        let newDir = tree.root + "/restored"
        let tool = SnapshotTool(tool: try RealEtcd.tools().offline(for: EtcdVersion("3.4.23")))
        try tool.restore(
            .init(
                snapshot: saved.file, name: "m1", initialCluster: "m1=\(etcd.peer)", token: token,
                peerURLs: [etcd.peer], dataDir: newDir),
            size: saved.facts.size)
        let restored = try RealEtcdAt(newDir, peer: etcd.peer, token: token)
        let status = try restored.client.status()
        let member = MemberIdentity.member(peerURLs: [etcd.peer], token: token)
        #expect(status.memberID == member)
        #expect(status.clusterID == MemberIdentity.cluster(members: [member]))
        #expect(status.revision == 6)
        #expect(try restored.client.keyCount(revision: 6) == 5)
    }

    /// An etcd on a restored directory, beside the one it was saved from: other client and listen ports.
    private final class RealEtcdAt {
        let etcd: RealEtcd
        let client: EtcdClient
        init(_ directory: String, peer: String, token: String) throws {
            etcd = try RealEtcd(dataDir: directory)
            client = EtcdClient(tool: try RealEtcd.tools().client(for: nil), instance: etcd.instance)
        }
    }

    @Test func refusesDamagedFiles() throws {
        let tree = try NodeTree()
        let etcd = try RealEtcd()
        let saver = SnapshotSaver(paths: AgentPaths(state: tree.root), instance: etcd.instance)
        let file = try saver.save(job: "j", try saver.preflight()).file
        let bytes = try FileSystem.read(file)
        #expect(try SnapshotFile.check(file).sha256 == SHA256.hash(bytes).hex)
        func code(_ bytes: [UInt8]) throws -> FleetError.Code? {
            try FileSystem.writeDurably(file, bytes)
            do {
                _ = try SnapshotFile.check(file)
                return nil
            } catch { return error.code }
        }
        var flipped = bytes
        flipped[bytes.count / 2] ^= 1
        #expect(try code(flipped) == .badSnapshot)
        #expect(try code(Array(bytes.dropLast())) == .badSnapshot)
        #expect(try code(Array(bytes.dropLast(512))) == .badSnapshot)
        #expect(try code([]) == .badSnapshot)
        #expect(try code(bytes) == nil)
    }

    @Test func nothingIsLeftOfAFailure() throws {
        let tree = try NodeTree()
        let paths = AgentPaths(state: tree.root)
        var instance: EtcdInstance
        do {
            let etcd = try RealEtcd()
            instance = etcd.instance
            let saver = SnapshotSaver(paths: paths, instance: instance)
            var preflight = try saver.preflight()
            preflight.client.tool.path = "/bin/false"
            #expect(throws: FleetError.self) { try saver.save(job: "j", preflight) }
            #expect(try FileSystem.list(paths.spool) == [])
        }
        let error = #expect(throws: FleetError.self) {
            try SnapshotSaver(paths: paths, instance: instance).preflight()
        }
        #expect(error?.code == .unhealthy)
    }

    @Test func cleansOnlyItsOwnSpool() throws {
        let tree = try NodeTree(["/s/fleet-job-old/snapshot.db": "x", "/s/fleet-job-new/a": "x", "/s/mine/a": "x"])
        try Spool.clean(AgentPaths(state: tree.root, spool: tree.root + "/s"), keeping: ["new"])
        #expect(try FileSystem.list(tree.root + "/s") == ["fleet-job-new", "mine"])
    }
}
