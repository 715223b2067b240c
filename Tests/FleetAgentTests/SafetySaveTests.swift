import FleetProtocol
import FleetSystem
import Testing

@testable import FleetAgent

/// The first step of a restore, on a real etcd.
@Suite struct SafetySaveTests {
    private struct Store: CoordinatorPort {
        var directory: String
        var failure: FleetError?

        func upload(job: String, snapshot: String, facts: SnapshotFacts, file: String) async throws(FleetError) {
            if let failure { throw failure }
            let target = directory + "/" + snapshot
            try await onDisk { () throws(FleetError) in try FileSystem.copyDurably(file, to: target, mode: 0o600) }
        }
        func fetch(job: String, snapshot: SnapshotRecord, to path: String) async {}
        func fetch(job: String, program: ProgramRecord, to path: String) async {}
    }

    private func save(_ tree: NodeTree, _ instance: EtcdInstance?, _ failure: FleetError? = nil) async throws -> String?
    {
        var restore = FleetProtocol.Operation.Restore(
            snapshot: RestorePlannerTests.record, dryRun: false, waitSeconds: 10)
        restore.safety = SafetySnapshot(snapshot: "safe", node: "n")
        let layout = try NodeTree(Layouts.kubespray)
        var work = try RestorePlanner.plan(
            try layout.discover(), restore,
            job: Job(
                id: "j1", node: "n", cluster: "c", counter: 1, issued: .now(), expires: .now(),
                operation: .restore(restore)))
        #expect(work.steps.first == .safetySnapshot && work.plan.safetySnapshot == "safe")
        #expect(work.plan.steps[0].description.contains("as snapshot safe"))
        if let instance {
            work.instance = instance
        } else {
            (work.instance.endpoint, work.instance.cacert, work.instance.cert) = ("http://127.0.0.1:1", nil, nil)
        }
        let steps = RestoreSteps(work: work, paths: AgentPaths(state: tree.root + "/state"))
        let note = try await SafetySave(steps: steps, port: Store(directory: tree.root, failure: failure)).run().note
        #expect(!FileSystem.exists(steps.paths.spool("j1")), "the restored snapshot comes to the same place")
        return note
    }

    @Test(.enabled(if: RealEtcd.isInstalled)) func whatIsThereIsSaved() async throws {
        let (tree, etcd) = (try NodeTree(), try RealEtcd())
        try etcd.put("a", "b")
        #expect(try await save(tree, etcd.instance)?.contains("as safe, at revision 2") == true)
        let file = try SnapshotFile.check(tree.root + "/safe")
        let status = try SnapshotTool(tool: try RealEtcd.tools().offline(for: nil)).status(
            tree.root + "/safe", size: file.size)
        #expect(status.revision == 2)
    }

    /// The agent was killed behind the upload, and saves another file now, which goes: its revision is nobody's.
    @Test(.enabled(if: RealEtcd.isInstalled)) func whatIsStoredAlreadyIsEnough() async throws {
        let (tree, etcd) = (try NodeTree(), try RealEtcd())
        let note = try await save(tree, etcd.instance, FleetError(.alreadyExists, "stored"))
        #expect(note?.contains("as safe") == true && note?.contains("earlier run") == true)
        #expect(note?.contains("revision") == false)
    }

    /// What is stored by an earlier run, and is no good, is not what a restore may build on.
    @Test(.enabled(if: RealEtcd.isInstalled), arguments: ["snapshot-unsound", "snapshot-damaged"])
    func whatIsStoredAndDamagedStopsTheRestore(_ code: String) async throws {
        let (tree, etcd) = (try NodeTree(), try RealEtcd())
        let error = await #expect(throws: FleetError.self) {
            try await save(tree, etcd.instance, FleetError(.init(rawValue: code), "stored, and no good"))
        }
        #expect(error?.code.rawValue == code && error?.message.contains("could not be saved") == true)
    }

    @Test(.enabled(if: RealEtcd.isInstalled)) func aFailureStopsTheRestore() async throws {
        let (tree, etcd) = (try NodeTree(), try RealEtcd())
        let error = await #expect(throws: FleetError.self) {
            try await save(tree, etcd.instance, FleetError(.noSpace, "the store is full"))
        }
        #expect(error?.code == .noSpace && error?.hint?.contains("--no-safety-snapshot") == true)
    }

    @Test(.enabled(if: RealEtcd.isInstalled)) func anEtcdThatDoesNotAnswerIsWhatRestoresAreFor() async throws {
        let note = try await save(try NodeTree(), nil)
        #expect(note?.hasPrefix("what was there was not saved first, since etcd did not answer") == true)
    }

    @Test func onlyOneMemberDoes() throws {
        var restore = FleetProtocol.Operation.Restore(
            snapshot: RestorePlannerTests.record, dryRun: false, waitSeconds: 10)
        restore.safety = SafetySnapshot(snapshot: "safe", node: "another")
        let layout = try NodeTree(Layouts.kubespray)
        let work = try RestorePlanner.plan(
            try layout.discover(), restore,
            job: Job(
                id: "j1", node: "n", cluster: "c", counter: 1, issued: .now(), expires: .now(),
                operation: .restore(restore)))
        #expect(!work.steps.contains(.safetySnapshot) && work.safety == nil)
    }
}
