import FleetCrypto
import FleetProtocol
import FleetSystem
import Testing

@testable import FleetAgent

/// A node as one of several members that are restored together.
@Suite struct MemberTests {
    /// The member of the layout's own name on node n, and two others.
    private func group(_ name: String, _ url: String) -> RestoreGroup {
        RestoreGroup(
            restore: "r1",
            members: [
                .init(node: "a", name: "m-a", peerURLs: ["https://10.0.0.21:2380"]),
                .init(node: "n", name: name, peerURLs: [url]),
                .init(node: "z", name: "m-z", peerURLs: ["https://10.0.0.23:2380", "https://10.0.1.23:2380"]),
            ])
    }

    private func plan(_ tree: NodeTree, _ group: RestoreGroup, members: Int? = 3) throws -> RestoreWork {
        var record = RestorePlannerTests.record
        record.facts.members = members
        let restore = FleetProtocol.Operation.Restore(snapshot: record, dryRun: false, waitSeconds: 10, group: group)
        let job = Job(
            id: "j1", node: "n", cluster: "c", counter: 1, issued: .now(), expires: .now().adding(.seconds(60)),
            operation: .restore(restore))
        return try RestorePlanner.plan(try tree.discover(), restore, job: job)
    }

    /// Of this member among others.
    static func work(_ tree: NodeTree) throws -> RestoreWork {
        let tests = MemberTests()
        return try tests.plan(tree, tests.group("cp1", "https://10.0.0.11:2380"))
    }

    private func code(_ body: () throws -> Void) -> FleetError.Code? {
        do {
            try body()
            return nil
        } catch { return FleetError(error).code }
    }

    // MARK: the plan

    @Test func allMembersAreInThePlan() throws {
        let group = group("cp1", "https://10.0.0.11:2380")
        let work = try plan(try NodeTree(Layouts.kubeadm), group)
        #expect(
            work.initialCluster
                == "m-a=https://10.0.0.21:2380,cp1=https://10.0.0.11:2380,m-z=https://10.0.0.23:2380,m-z=https://10.0.1.23:2380"
        )
        #expect(work.plan.initialCluster == work.initialCluster)
        #expect(work.plan.clusterToken == "fleet-restore-r1")
        #expect(work.plan.newDataDir == "/var/lib/etcd-restore-r1", "one name on all nodes")
        #expect(work.holdingDirectory == "/etc/kubernetes/fleet-agent/j1")
        #expect(
            work.plan.steps.map(\.name) == [
                "fetch", "check-snapshot", "preflight", "restore-data", "stop-control-plane", "stop-etcd",
                "switch-files", "start-etcd", "verify", "start-control-plane", "finish",
            ])
        #expect(work.memberID == group.memberID(group.members[1]))
        #expect(work.clusterID == group.clusterID && work.memberIDs.contains(work.memberID))
        #expect(work.plan.memberID == String(work.memberID, radix: 16))
    }

    @Test func anotherMemberThanWasMeantIsRefused() throws {
        let tree = try NodeTree(Layouts.kubeadm)
        #expect(code { _ = try plan(tree, group("cp2", "https://10.0.0.11:2380")) } == .notTheMember)
        #expect(code { _ = try plan(tree, group("cp1", "https://10.0.0.12:2380")) } == .notTheMember)
        var elsewhere = group("cp1", "https://10.0.0.11:2380")
        elsewhere.members[1].node = "m"
        #expect(code { _ = try plan(tree, elsewhere) } == .notTheMember)
        // It knows of a member that the restore leaves out.
        try tree.write(
            "/etc/kubernetes/manifests/etcd.yaml",
            Layouts.kubeadmManifest.replacing(
                "--initial-cluster=cp1=", with: "--initial-cluster=cp9=https://10.0.0.19:2380,cp1="))
        #expect(code { _ = try plan(tree, group("cp1", "https://10.0.0.11:2380")) } == .severalMembers)
    }

    @Test func whatWouldNotBeOneMemberEachIsNoGroup() {
        let good = group("cp1", "https://10.0.0.11:2380")
        #expect(good.isValid)
        let bad: [(inout RestoreGroup) -> Void] = [
            { $0.members[0].name = "cp1" }, { $0.members[0].node = "n" }, { $0.members[0].name = "a,b" },
            { $0.members[0].name = "" }, { $0.members[0].name = "--data-dir" }, { $0.members[0].peerURLs = [] },
            { $0.members[0].peerURLs = ["https://10.0.0.11:2380"] }, { $0.members[0].peerURLs = ["https://a=b"] },
            { $0.members.removeLast(2) }, { $0.restore = "../x" },
        ]
        for (index, change) in bad.enumerated() {
            var group = good
            change(&group)
            #expect(!group.isValid, "\(index)")
        }
    }

    // MARK: the steps of a static pod

    /// All old etcds are off before the first new one comes, so the manifest waits aside and is changed there.
    @Test func aStaticPodsManifestWaitsAside() throws {
        let tree = try NodeTree(Layouts.kubeadm)
        var work = try plan(tree, group("cp1", "https://10.0.0.11:2380"))
        let manifest = tree.root + "/etc/kubernetes/manifests/etcd.yaml"
        work.launch = .staticPod(
            manifest: manifest, manifestDirectory: tree.root + "/etc/kubernetes/manifests", dataPath: "/var/lib/etcd")
        work.plan.changes = work.plan.changes.map {
            .init(path: tree.root + $0.path, before: $0.before, after: $0.after)
        }
        work.holdingDirectory = tree.root + "/hold"
        work.plan.newDataDir = tree.root + work.plan.newDataDir
        work.plan.oldDataDir = tree.root + work.plan.oldDataDir
        work.wasHealthy = false
        let steps = RestoreSteps(work: work, paths: AgentPaths(state: tree.root + "/state"))
        let held = tree.root + "/hold/etcd.yaml"
        let (before, after) = (work.plan.changes[0].before!, work.plan.changes[0].after)

        for _ in 0..<2 { _ = try steps.perform(.stopEtcd) }
        #expect(!FileSystem.exists(manifest))
        for _ in 0..<2 { _ = try steps.perform(.switchFiles) }
        #expect(!FileSystem.exists(manifest), "it stays away until all members are off")
        #expect(try FileSystem.readText(held) == after)
        #expect(try steps.standing().contains(": etcd.yaml"))
        for _ in 0..<2 { _ = try steps.undo(.switchFiles) }
        #expect(try FileSystem.readText(held) == before && !FileSystem.exists(manifest))
        for _ in 0..<2 { _ = try steps.undo(.stopEtcd) }
        #expect(try FileSystem.readText(manifest) == before && !FileSystem.exists(held))

        // The new etcd was told to start already: it goes before the files are the old ones again.
        _ = try steps.perform(.stopEtcd)
        _ = try steps.perform(.switchFiles)
        try FileSystem.rename(held, to: manifest)
        _ = try steps.undo(.startEtcd)
        #expect(FileSystem.exists(held))
        _ = try steps.undo(.switchFiles)
        _ = try steps.undo(.stopEtcd)
        #expect(try FileSystem.readText(manifest) == before)
    }

    // MARK: the coordinator's word

    private struct Node {
        let tree: NodeTree
        let key: PrivateKey
        let runner: JobRunner
        var paths: AgentPaths { AgentPaths(state: tree.root + "/state") }

        init() throws {
            tree = try NodeTree()
            key = try PrivateKey.generateEd25519()
            struct Nobody: CoordinatorPort {
                func upload(job: String, snapshot: String, facts: SnapshotFacts, file: String) async {}
                func fetch(job: String, snapshot: SnapshotRecord, to path: String) async {}
                func fetch(job: String, program: ProgramRecord, to path: String) async {}
            }
            runner = JobRunner(
                paths: AgentPaths(state: tree.root + "/state"),
                gate: JobGate(node: "n", cluster: "c", key: try VerifyingKey(raw: try key.rawPublicKey())),
                port: Nobody(), log: .silent, faults: .none
            ) { () throws(FleetError) in throw FleetError(.noEtcd, "none", hint: "none") }
        }

        func decision(
            _ counter: UInt64, job: String = "j1", node: String = "n", key other: PrivateKey? = nil
        ) throws -> Envelope {
            try JobSigner(key: other ?? key).sign(
                JobDecision(
                    job: job, node: node, cluster: "c", counter: counter,
                    decision: .recall(FleetError(.timedOut, "test"))))
        }

        func job(_ counter: UInt64) throws -> Envelope {
            let restore = FleetProtocol.Operation.Restore(
                snapshot: RestorePlannerTests.record, dryRun: false, waitSeconds: 10)
            return try JobSigner(key: key).sign(
                Job(
                    id: "j1", node: "n", cluster: "c", counter: counter, issued: .now(),
                    expires: .now().adding(.seconds(60)), operation: .restore(restore)))
        }

        func refusal(_ envelope: Envelope) async -> FleetError.Code? {
            do {
                _ = try await runner.decide(envelope)
                return nil
            } catch { return error.code }
        }
    }

    @Test func aDecisionIsForThisNodeAndOnce() async throws {
        let node = try Node()
        #expect(await node.refusal(try node.decision(1, key: .generateEd25519())) == .badSignature)
        // Signed by the right key, but as something else.
        #expect(await node.refusal(try node.job(1)) == .badSignature)
        var dressed = try node.job(1)
        dressed.payloadType = Envelope.decisionType
        #expect(await node.refusal(dressed) == .badSignature)
        #expect(await node.refusal(try node.decision(1, node: "m")) == .wrongNode)
        #expect(await node.refusal(try node.decision(1, job: "../x")) == .malformed)
        #expect(try await node.runner.lastCounter() == 0)
        #expect(await node.refusal(try node.decision(7)) == nil)
        #expect(await node.refusal(try node.decision(7)) == .replayedJob)
        #expect(try await node.runner.lastCounter() == 7)
    }

    /// Taken back before it had begun: the job, wherever it is on its way, is not begun any more.
    @Test func aRecallOvertakesItsJob() async throws {
        let node = try Node()
        #expect(try await !node.runner.decide(try node.decision(5)).begun)
        let error = await #expect(throws: FleetError.self) { try await node.runner.accept(try node.job(4)) }
        #expect(error?.code == .replayedJob)
        #expect(await node.runner.activeJobs == [])
    }

    @Test func aJobThatIsOnTheDiskWasBegun() async throws {
        let node = try Node()
        try await node.runner.start()
        try await node.runner.accept(try node.job(4))
        #expect(try await node.runner.decide(try node.decision(5)).begun)
    }

    @Test func onlyTheNewestDecisionCounts() async {
        func decision(_ counter: UInt64, _ decision: RestoreDecision) -> JobDecision {
            JobDecision(job: "j", node: "n", cluster: "c", counter: counter, decision: decision)
        }
        let box = DecisionBox()
        #expect(await box.take() == nil)
        await box.offer(decision(3, .proceed(.stop)))
        await box.offer(decision(2, .proceed(.quiesce)))
        await box.wait(atMost: .seconds(60))
        #expect(await box.take() == .proceed(.stop))
        // Sent again because its answer was lost.
        await box.offer(decision(4, .proceed(.stop)))
        #expect(await box.take() == nil)
        async let waiting: Void = box.wait(atMost: .seconds(60))
        await box.offer(decision(5, .recall(FleetError(.timedOut, "test"))))
        await waiting
        #expect(await box.take() == .recall(FleetError(.timedOut, "test")))
    }

    /// What a driver tells, and the words that it is given for it.
    private actor Coordinator {
        private(set) var told: [RestorePhase] = []
        let box = DecisionBox()
        private var answers: [RestoreDecision]
        private var counter: UInt64 = 0
        init(_ answers: [RestoreDecision]) { self.answers = answers }

        func hear(_ phase: RestorePhase) async -> Bool {
            told.append(phase)
            guard !answers.isEmpty else { return true }
            counter += 1
            await box.offer(
                JobDecision(
                    job: "j1", node: "n", cluster: "c", counter: counter, decision: answers.removeFirst()))
            return true
        }
    }

    private func drive(
        _ tree: NodeTree, _ coordinator: Coordinator
    ) async throws -> (RestoreMachine.Verdict, FleetError?) {
        var work = try plan(try NodeTree(Layouts.kubeadm), group("cp1", "https://10.0.0.11:2380"))
        work.steps = [.fetch, .finish]
        work.snapshot.size = 1
        struct Nobody: CoordinatorPort {
            func upload(job: String, snapshot: String, facts: SnapshotFacts, file: String) async {}
            func fetch(job: String, snapshot: SnapshotRecord, to path: String) async {}
            func fetch(job: String, program: ProgramRecord, to path: String) async {}
        }
        let journal = try Journal<RestoreEntry>(tree.root + "/journal")
        let boot = BootIdentity(bootID: "b", firstProcessStart: 1)
        var machine = RestoreMachine(work, boot)
        for entry in journal.recovered { machine.apply(entry) }
        let driver = RestoreDriver(
            journal: journal, steps: RestoreSteps(work: work, paths: AgentPaths(state: tree.root + "/state")),
            port: Nobody(), faults: .none, decisions: coordinator.box,
            report: { _, _, _, _ in }, waits: { phase, _, _ in await coordinator.hear(phase) })
        return try await driver.run(&machine)
    }

    /// It has nothing to do in most phases here, and yet it passes none of them by itself.
    @Test(.timeLimit(.minutes(5))) func itWaitsForEachWord() async throws {
        let reason = FleetError(.timedOut, "another one")
        let coordinator = Coordinator(
            [.quiesce, .stop, .start].map { RestoreDecision.proceed($0) } + [.recall(reason)])
        let result = try await drive(try NodeTree(), coordinator)
        #expect(await coordinator.told == [.prepare, .quiesce, .stop, .start])
        #expect(result.0 == .failed, "none of its steps touched the running cluster")
    }

    @Test(.timeLimit(.minutes(5))) func aRecallTakesItBack() async throws {
        let reason = FleetError(.timedOut, "another one")
        let tree = try NodeTree()
        let result = try await drive(tree, Coordinator([.recall(reason)]))
        #expect(result.0 == .failed && result.1 == reason)
        let entries = try Journal<RestoreEntry>.records(tree.root + "/journal")
        #expect(entries.contains(.decided(.recall(reason))) && entries.contains(.undone(.fetch)))
    }
}
