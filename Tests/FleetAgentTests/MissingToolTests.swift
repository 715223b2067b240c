import FleetProtocol
import FleetSystem
import Testing

@testable import FleetAgent

/// A node without etcdctl could restore and switch, but never verify: it is found before anything is touched.
@Suite(.enabled(if: RealEtcd.isInstalled)) struct MissingToolTests {
    /// A node on which nothing but etcdutl is found, which restores.
    private func node(group: Bool) throws -> RestoreStepTests.Node {
        var node = try RestoreStepTests.Node()
        node.steps.work.snapshot.facts.members = 1
        node.steps.toolDirectories = [node.tree.root + "/bin"]
        let tool = FileSystem.exists("/usr/bin/etcdutl") ? "/usr/bin/etcdutl" : "/usr/bin/etcdctl"
        try FileSystem.makeDirectories(node.tree.root + "/bin")
        try FileSystem.copyDurably(tool, to: node.tree.root + "/bin/etcdutl", mode: 0o755)
        if group { node.steps.work.group = RestoreGroup(restore: "r", members: []) }
        return node
    }

    @Test(arguments: [true, false]) func isRefusedInThePreparation(_ group: Bool) throws {
        var node = try node(group: group)
        #expect(try node.steps.offlineTool().kind == .etcdutl)
        let error = #expect(throws: FleetError.self) { _ = try node.steps.perform(.preflight) }
        #expect(error?.code == .noTool && error?.message.contains("etcdctl") == true)
        node.steps.work.undoes = "r0"
        #expect(throws: FleetError.self) { _ = try node.steps.perform(.preflight) }
    }

    /// "etcd does not answer" would be untrue, and the restore would go on without having saved anything.
    @Test func isNotTakenForAnEtcdThatDoesNotAnswer() async throws {
        struct Nobody: CoordinatorPort {
            func upload(job: String, snapshot: String, facts: SnapshotFacts, file: String) async {}
            func fetch(job: String, snapshot: SnapshotRecord, to path: String) async {}
            func fetch(job: String, program: ProgramRecord, to path: String) async {}
        }
        var node = try node(group: false)
        node.steps.work.safety = "safe"
        let steps = node.steps
        let error = await #expect(throws: FleetError.self) {
            _ = try await SafetySave(steps: steps, port: Nobody()).run()
        }
        #expect(error?.code == .noTool)
    }
}
