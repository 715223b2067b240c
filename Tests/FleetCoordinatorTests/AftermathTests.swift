import FleetProtocol
import FleetSystem
import Testing

@testable import FleetCoordinator

@Suite("What can be done with what a restore left")
struct AftermathTests {
    private static let time = Timestamp(milliseconds: 5)

    private func state(_ job: String, _ switches: [(String, JobState, String?)], cleaned: Bool = false) -> String {
        let nodes = [RestoreAftermath.Node(node: "n", directories: ["/d"], cleanedUp: cleaned ? Self.time : nil)]
        let all = switches.map { Aftermath.Switch(job: $0.0, state: $0.1, undoes: $0.2, finished: Self.time) }
        guard let found = Aftermath.of(job, among: all, nodes: nodes) else { return "none" }
        return found.state.rawValue + (found.by.map { " \($0)" } ?? "")
    }

    @Test func restoresAreAStack() {
        #expect(state("r1", [("r1", .succeeded, nil)]) == "undoable")
        for over in [JobState.failed, .rolledBack, .refused, .expired] {
            #expect(state("r1", [("r1", over, nil)]) == "none")
            #expect(state("r1", [("r1", .succeeded, nil), ("r2", over, nil)]) == "undoable")
            #expect(state("r1", [("r1", .succeeded, nil), ("u1", over, "r1")]) == "undoable")
        }
        // What may have switched it, has.
        for unclear in [JobState.succeeded, .stuck, .lost, .running] {
            #expect(state("r1", [("r1", .succeeded, nil), ("r2", unclear, nil)]) == "overtaken r2")
        }
        #expect(state("r1", [("r1", .succeeded, nil), ("u1", .stuck, "r1")]) == "overtaken u1")
        #expect(state("r1", [("r1", .succeeded, nil), ("u1", .succeeded, "r1")]) == "undone u1")
        #expect(state("u1", [("r1", .succeeded, nil), ("u1", .succeeded, "r1")]) == "final")
        let two: [(String, JobState, String?)] = [("r1", .succeeded, nil), ("r2", .succeeded, nil)]
        #expect(state("r1", two + [("u2", .succeeded, "r2")]) == "undoable", "the one below is the last again")
        #expect(state("r2", two + [("u2", .succeeded, "r2")]) == "undone u2")
        #expect(state("r1", two + [("u2", .succeeded, "r2"), ("r3", .succeeded, nil)]) == "overtaken r3")
        #expect(state("r1", [("r1", .succeeded, nil)], cleaned: true) == "cleaned-up")
        #expect(state("r2", [("r1", .succeeded, nil)]) == "none")
    }

    @Test func backOnSeveralMembersWithoutASnapshotsRevision() {
        var group = RestoreMembers.group([1, 2, 3].map { RestoreMembersTests.agent($0) }, restore: "u1")
        group.cluster = "cc"
        for index in group.members.indices { group.members[index].id = "\(index + 1)a" }
        #expect(group.isValid)
        let check = ProofCheck(group: group, revision: nil)
        var proofs = RestoreMembersTests.proofs(check)
        #expect(proofs["n1"]?.clusterID == "cc" && check.objection(proofs) == nil)
        proofs["n2"]?.hashKV = 9
        #expect(check.objection(proofs)?.code == .notOneCluster)
        // A client wrote between the two: nothing to compare.
        proofs["n2"]?.revision += 1
        #expect(check.objection(proofs) == nil)
        proofs["n2"]?.memberID = "1"
        #expect(check.objection(proofs)?.code == .notOneCluster)
    }

    /// One member's tool bumps revisions and another's does not: found while nothing is touched.
    @Test func membersThatWouldDifferNeverBegin() {
        let group = RestoreMembers.group([1, 2, 3].map { RestoreMembersTests.agent($0) }, restore: "r1")
        var check = ProofCheck(group: group, revision: 42)
        check.bumped = 1042
        var proofs = RestoreMembersTests.proofs(check)
        #expect(check.objection(planned: [:]) == nil, "agents of before say nothing")
        #expect(check.objection(planned: proofs) == nil && check.objection(proofs) == nil, "none bumps")
        proofs["n2"]?.revision = 1042
        #expect(check.objection(planned: proofs)?.hint?.contains("--no-bump-revision") == true)
        #expect(check.objection(proofs)?.code == .notOneCluster)
        for node in proofs.keys { proofs[node]?.revision = 1042 }
        #expect(check.objection(planned: proofs) == nil && check.objection(proofs) == nil, "all do")
        for node in proofs.keys { proofs[node]?.revision = 1041 }
        #expect(check.objection(proofs)?.code == .notOneCluster)
        var transaction = RestoreTransaction(check)
        for member in group.members {
            var proof = proofs[member.node]!
            proof.revision = member.node == "n3" ? 1042 : 42
            transaction.apply(.reached(node: member.node, .prepare, proof))
        }
        guard case .write(.decided(.recall)) = transaction.next() else {
            Issue.record("it goes on")
            return
        }
    }

    @Test func theBumpGoesOnFromTheHighestThatIsKnown() async throws {
        let catalogue = try await Fixture.fleet()
        try await catalogue.add(Fixture.record("s1"), by: "agent")
        var later = Fixture.record("s2")
        later.facts.status.revision = 500
        try await catalogue.add(later, by: "agent")
        var order = RestoreOrder(snapshot: "s1")
        #expect(try await catalogue.bump(order, Fixture.record("s1"), cluster: "a") == nil)
        order.bumpsRevisions = true
        let bump = try #require(try await catalogue.bump(order, Fixture.record("s1"), cluster: "a"))
        #expect(bump == RevisionBump(lastKnown: 500, snapshot: 42) && bump.target == 1_000_000_500)
        #expect(try await catalogue.bump(order, later, cluster: "b")?.lastKnown == 500, "another cluster's snapshot")
    }

    // MARK: in the catalogue

    private static let nodes = ["n1", "n2", "n3"]

    /// Three members behind a committed restore.
    private final class Fleet {
        let catalogue: Catalogue
        let clock = TestClock()
        private var sequences: [String: Int] = [:]

        init() async throws {
            catalogue = try Fixture.catalogue(clock)
            _ = try await catalogue.addCluster("a", by: "root")
            for name in nodes {
                try await Fixture.enrol(catalogue, cluster: "a", node: name)
                var request = Fixture.registration()
                request.instance = RestoreMembersTests.agent(Int(name.dropFirst())!).instance
                _ = try await catalogue.registered(NodeName(cluster: "a", node: name), request, hasJustConnected: true)
            }
            try await catalogue.add(Fixture.record("s1"), by: "agent")
        }

        func restore(cluster: String = "cc", becomes id: String? = nil) async throws -> JobRecord {
            let restore = try await catalogue.createRestore(
                RestoreOrder(snapshot: "s1"), cluster: "a", members: [1, 2, 3].map { RestoreMembersTests.agent($0) },
                lifetime: .seconds(3600), by: "root")
            try await carry(restore, revision: 42, cluster: cluster, becomes: id)
            return try await catalogue.job(restore.id)
        }

        /// To its committed end.
        func carry(
            _ restore: JobRecord, revision: Int64?, cluster: String = "cc", becomes id: String? = nil
        ) async throws {
            let plan = try await catalogue.restorePlan(restore.id)
            let proofs = RestoreMembersTests.proofs(ProofCheck(group: plan.group!, revision: revision))
            for member in restore.members! {
                _ = try await catalogue.willSend(member.id)
                try await catalogue.answered(member.id)
            }
            for phase in RestorePhase.allCases.dropLast() {
                for member in restore.members! {
                    try await tell(
                        member, .reached, phase: phase, proof: phase == .verify ? proofs[member.node] : nil)
                }
            }
            for (index, member) in restore.members!.enumerated() {
                var plan = RestorePlan(
                    cluster: "a", node: member.node, snapshot: "s1", topology: .externalSystemd,
                    oldDataDir: "/var/lib/etcd", newDataDir: "/var/lib/etcd-restore-x", oldWalDir: nil,
                    newWalDir: nil, clusterToken: "t", changes: [], steps: [])
                (plan.oldMemberID, plan.oldClusterID) = ("\(index + 1)a", cluster)
                (plan.oldDirectories, plan.clusterID) = (["/var/lib/etcd"], id)
                try await end(member, JobOutcome(result: .succeeded, summary: "done", plan: plan))
            }
            clock.advance(.seconds(1))
        }

        func end(_ member: JobRecord, _ outcome: JobOutcome) async throws {
            try await tell(member, .outcome, outcome: outcome)
        }

        private func tell(
            _ member: JobRecord, _ kind: JobEvent.Kind, phase: RestorePhase? = nil, proof: MemberProof? = nil,
            outcome: JobOutcome? = nil
        ) async throws {
            sequences[member.id, default: 0] += 1
            _ = try await catalogue.receive(
                JobEvent(
                    job: member.id, sequence: sequences[member.id]!, time: clock.now, kind: kind, outcome: outcome,
                    phase: phase, proof: proof), from: NodeName(cluster: "a", node: member.node))
        }

        func undo(_ job: String, dryRun: Bool = false) async throws -> JobRecord {
            try await catalogue.createUndo(
                of: job, dryRun: dryRun, waitSeconds: 30, lifetime: .seconds(3600), by: "root")
        }

        func cleanup(_ job: String, _ nodes: [String] = nodes) async throws -> JobRecord {
            try await catalogue.createCleanup(
                of: job, on: Set(nodes), dryRun: false, lifetime: .seconds(3600), by: "root")
        }
    }

    @Test func anUndoIsOneActOfAllMembers() async throws {
        let fleet = try await Fleet()
        let restore = try await fleet.restore()
        #expect(restore.state == .succeeded && restore.aftermath?.state == .undoable)
        let undo = try await fleet.undo(String(restore.id.dropLast(2)))
        #expect(undo.kind == "undo" && undo.undoes == restore.id && undo.state == .running)
        for (member, part) in zip(undo.members!, restore.members!) {
            guard case .undo(let operation) = try await fleet.catalogue.message(member.id).operation else {
                Issue.record("no undo")
                return
            }
            #expect(operation.restored == part.id && member.node == part.node)
            #expect(operation.group?.isKnown == true && operation.group?.clusterID == 0xCC)
        }
        #expect(await code { _ = try await fleet.undo(restore.id) } == .clusterBusy)
        // Before anybody is asked, too.
        #expect(await code { _ = try await fleet.catalogue.undoable(restore.id) } == .clusterBusy)
        #expect(await code { _ = try await fleet.catalogue.cleanable(restore.id) } == .clusterBusy)
        try await fleet.carry(undo, revision: nil)
        #expect(try await fleet.catalogue.job(undo.id).state == .succeeded)
        let after = try await fleet.catalogue.job(restore.id)
        #expect(after.aftermath?.state == .undone && after.aftermath?.by == undo.id)
        #expect(try await fleet.catalogue.job(undo.id).aftermath?.state == .final)
        #expect(await code { _ = try await fleet.undo(restore.id) } == .notUndoable)
        #expect(await code { _ = try await fleet.undo(undo.id) } == .notUndoable, "an undo is not undone")
        #expect(await code { _ = try await fleet.cleanup(restore.id) } == .notCleanable, "it is in force again")
        #expect(try await fleet.catalogue.jobs().map(\.kind) == ["undo", "restore"])
        #expect(try await fleet.catalogue.cluster("a").lastJobKind == "undo")
        #expect(try await fleet.catalogue.verifyAudit().firstBreak == nil)
    }

    /// A backup of what a restore had made is the newest behind its undo too, and not of what is in force then.
    @Test func theNewestBackupMayBeOfWhatIsInForceNoMore() async throws {
        let fleet = try await Fleet()
        let catalogue = fleet.catalogue
        func expectLatest(_ id: String, leftBy departure: Departure? = nil, _ why: Comment? = nil) async throws {
            let cluster = try await catalogue.cluster("a")
            #expect(cluster.latestSnapshot == id && cluster.latestLeftBy == departure, why)
        }
        let restore = try await fleet.restore()
        try await expectLatest("s1", "it is the one that was restored")
        try await catalogue.add(Fixture.record("s2", saved: "2026-11-24T06:55:11Z", sha256: "02"), by: "agent")
        fleet.clock.advance(.seconds(60))
        let dry = try await fleet.undo(restore.id, dryRun: true)
        for member in dry.members! { try await fleet.end(member, JobOutcome(result: .succeeded, summary: "planned")) }
        fleet.clock.advance(.seconds(60))
        try await expectLatest("s2")
        let undo = try await fleet.undo(restore.id)
        try await expectLatest("s2", "it is under way")
        try await fleet.carry(undo, revision: nil)
        let ended = try #require(try await catalogue.job(undo.id).finished)
        let departure = Departure(job: undo.id, undoes: restore.id, snapshot: "s1", time: ended)
        try await expectLatest("s2", leftBy: departure)
        #expect(try await catalogue.departure(from: catalogue.snapshot("s2")) == departure)
        #expect(try await catalogue.departure(from: catalogue.snapshot("s1")) == nil, "of the time before the restore")
        let cleanup = try await fleet.cleanup(undo.id)
        for member in cleanup.members! {
            try await fleet.end(member, JobOutcome(result: .succeeded, summary: "removed"))
        }
        try await expectLatest("s2", leftBy: departure)
        // The job of a backup tells when it was begun, whatever the clock of its node said.
        let backup = try await catalogue.createBackup(
            cluster: "a", node: "n1", lifetime: .seconds(60), by: "schedule:x")
        try await catalogue.add(
            Fixture.record("s3", job: backup.id, saved: "2026-11-24T06:55:12Z", sha256: "03"), by: "agent")
        try await expectLatest("s3")
    }

    /// Other data is in force from the commit on, however late the last member is, and whether it ever comes.
    @Test func aRestoreCountsFromItsCommit() async throws {
        let fleet = try await Fleet()
        let (catalogue, clock) = (fleet.catalogue, fleet.clock)
        func left(_ id: String) async throws -> String? {
            try await catalogue.departure(from: catalogue.snapshot(id))?.job
        }
        func saved(_ id: String, job: String? = nil) async throws {
            clock.advance(.seconds(60))
            try await catalogue.add(
                Fixture.record(id, job: job ?? "20261124-065511-none", saved: "\(clock.now)", sha256: id), by: "agent")
            clock.advance(.seconds(60))
        }
        try await saved("s2")
        let backup = try await catalogue.createBackup(cluster: "a", node: "n1", lifetime: .seconds(60), by: "root")
        try await saved(backup.snapshot, job: backup.id)
        try await catalogue.script("UPDATE jobs SET state = 'succeeded', finished = created + 1000")
        try await saved("s3")
        let restore = try await fleet.restore()
        clock.advance(.seconds(60))
        #expect(try await left("s3") == restore.id)
        try await saved("s4")
        try await catalogue.script("UPDATE member_restores SET state = 'stuck', finished = finished + 172800000")
        #expect(try await left("s3") == restore.id)
        #expect(try await left("s4") == nil)
        clock.advance(.seconds(3 * 86_400))
        try await catalogue.script("UPDATE member_restores SET state = 'succeeded'")
        #expect(try await left("s3") == restore.id)
        #expect(try await left("s4") == nil)

        // What was saved before the restored one is behind it, also when that has been deleted.
        try await catalogue.script("UPDATE member_restores SET snapshot = '\(backup.snapshot)'")
        #expect(try await left("s2") == nil)
        #expect(try await left("s3") == restore.id)
        try await catalogue.script("DELETE FROM snapshots WHERE id = '\(backup.snapshot)'")
        #expect(try await left("s2") == nil)
        #expect(try await left("s3") == restore.id)
    }

    @Test func anUndoPutsTheFormerIdInForceAgain() async throws {
        let fleet = try await Fleet()
        let restore = try await fleet.restore(becomes: "dd")
        var cluster = try await fleet.catalogue.cluster("a")
        #expect(cluster.identities.map(\.id) == ["cafe", "dd"] && cluster.identityAgain == nil)
        let undo = try await fleet.undo(restore.id)
        try await fleet.carry(undo, revision: nil, becomes: "cafe")
        cluster = try await fleet.catalogue.cluster("a")
        #expect(cluster.identities.map(\.id) == ["cafe", "dd"] && cluster.identityAgain == "cafe")
        _ = try await fleet.restore(becomes: "ee")
        cluster = try await fleet.catalogue.cluster("a")
        #expect(cluster.identities.last?.id == "ee" && cluster.identityAgain == nil)
    }

    @Test func whatIsNoWholeRestoreIsNotUndone() async throws {
        let fleet = try await Fleet()
        let restore = try await fleet.restore()
        #expect(await code { _ = try await fleet.undo("\(restore.id)-1") } == .notUndoable)
        let dry = try await fleet.undo(restore.id, dryRun: true)
        for member in dry.members! { try await fleet.end(member, JobOutcome(result: .succeeded, summary: "planned")) }
        #expect(try await fleet.catalogue.job(dry.id).state == .succeeded)
        #expect(await code { _ = try await fleet.undo(dry.id) } == .notUndoable)
        #expect(try await fleet.catalogue.job(restore.id).aftermath?.state == .undoable, "a dry run undoes nothing")
    }

    /// Old data of which nothing tells whose it is was lost before the restore.
    @Test func withoutTheirIdsMembersDoNotGoBack() throws {
        let group = RestoreMembers.group([1, 2, 3].map { RestoreMembersTests.agent($0) }, restore: "r1")
        #expect(throws: FleetError.self) { try Catalogue.group(group, of: [], restore: "u1") }
    }

    @Test func aCleanupSaysWhichNodeStillHasWhat() async throws {
        let fleet = try await Fleet()
        let restore = try await fleet.restore()
        let first = try await fleet.cleanup(restore.id, ["n1", "n2"])
        #expect(first.kind == "cleanup" && first.members?.map(\.node) == ["n1", "n2"])
        try await fleet.end(first.members![0], JobOutcome(result: .succeeded, summary: "removed /var/lib/etcd"))
        #expect(try await fleet.catalogue.job(first.id).state == .running)
        try await fleet.end(
            first.members![1],
            JobOutcome(
                result: .failed, error: FleetError(.system, "still on this node: /var/lib/etcd"), summary: "failed"))
        let ended = try await fleet.catalogue.job(first.id)
        #expect(ended.state == .failed && ended.error?.message.contains("n2") == true)
        let after = try #require(try await fleet.catalogue.job(restore.id).aftermath)
        #expect(after.state == .cleanedUp)
        #expect(after.nodes.filter { $0.cleanedUp == nil }.map(\.node) == ["n2", "n3"])
        #expect(after.nodes.allSatisfy { $0.directories == ["/var/lib/etcd"] })
        #expect(await code { _ = try await fleet.undo(restore.id) } == .notUndoable)
        // The rest, later.
        let second = try await fleet.cleanup(restore.id)
        for member in second.members! {
            try await fleet.end(member, JobOutcome(result: .succeeded, summary: "removed"))
        }
        #expect(try await fleet.catalogue.job(second.id).state == .succeeded)
        #expect(
            try await fleet.catalogue.job(restore.id).aftermath?.nodes.allSatisfy { $0.cleanedUp != nil } == true)
    }
}
