import FleetProtocol
import FleetSQLite
import FleetSystem
import Testing

@testable import FleetCoordinator

/// A restore of three members in the catalogue: what is recorded, what is to be sent, and what survives a restart.
@Suite("Restores of several members")
struct MemberRestoreTests {
    private static let nodes = ["n1", "n2", "n3"]
    private static func node(_ name: String) -> NodeName { NodeName(cluster: "a", node: name) }

    /// A catalogue with such a cluster and a snapshot of it, and what its agents have sent.
    private final class Fleet {
        let clock = TestClock()
        let path: String
        private let directory: TemporaryDirectory
        private(set) var catalogue: Catalogue
        private var sequences: [String: Int] = [:]

        /// - Parameter compacted: up to which revision its snapshot is, where that is known.
        init(compacted: Int64? = nil) async throws {
            directory = try TemporaryDirectory()
            path = directory.path + "/c.db"
            catalogue = try Fixture.catalogue(clock, path: path)
            _ = try await catalogue.addCluster("a", by: "root")
            for name in nodes {
                try await Fixture.enrol(catalogue, cluster: "a", node: name)
                _ = try await register(name)
            }
            var record = Fixture.record("s1")
            if let compacted {
                record.verification = SnapshotVerification(
                    status: record.facts.status, compactRevision: compacted, findings: [], totalFindings: 0)
            }
            try await catalogue.add(record, by: "agent")
        }

        /// The coordinator was killed.
        func restart() async throws {
            await catalogue.close()
            catalogue = try Fixture.catalogue(clock, path: path)
        }

        func register(_ name: String, active: [String] = [], counter: UInt64 = 0) async throws -> [JobEffect] {
            var request = Fixture.registration(active: active, counter: counter)
            request.instance = RestoreMembersTests.agent(Int(name.dropFirst())!).instance
            return try await catalogue.registered(node(name), request, hasJustConnected: true)
        }

        func start(dryRun: Bool = false, wait: Int = 30) async throws -> JobRecord {
            let agents = [1, 2, 3].map { RestoreMembersTests.agent($0) }
            return try await catalogue.createRestore(
                RestoreOrder(snapshot: "s1", dryRun: dryRun, waitSeconds: wait), cluster: "a", members: agents,
                lifetime: .seconds(3600), by: "root")
        }

        /// All agents have the job.
        func accepted(_ restore: JobRecord) async throws {
            for job in restore.members ?? [] {
                _ = try await catalogue.willSend(job.id)
                try await catalogue.answered(job.id)
            }
        }

        @discardableResult
        func tell(
            _ restore: JobRecord, _ name: String, _ kind: JobEvent.Kind, phase: RestorePhase? = nil,
            error: FleetError? = nil, outcome: JobOutcome? = nil, proof: MemberProof? = nil
        ) async throws -> JobEffect {
            let job = restore.members!.first { $0.node == name }!.id
            sequences[job, default: 0] += 1
            return try await catalogue.receive(
                JobEvent(
                    job: job, sequence: sequences[job]!, time: clock.now, kind: kind, error: error, outcome: outcome,
                    phase: phase, proof: proof), from: node(name))
        }

        /// All members have ended a phase; what follows from the last one's word.
        func all(_ restore: JobRecord, reach phase: RestorePhase, hash: UInt32? = nil) async throws -> JobEffect {
            let plan = try await catalogue.restorePlan(restore.id)
            var proofs = RestoreMembersTests.proofs(
                ProofCheck(group: plan.group!, revision: plan.snapshot.newestRevision))
            if let hash { proofs["n3"]?.hashKV = hash }
            var last = JobEffect()
            for name in nodes {
                last = try await tell(
                    restore, name, .reached, phase: phase, proof: phase == .verify ? proofs[name] : nil)
            }
            return last
        }

        func end(_ restore: JobRecord, _ name: String, _ result: JobOutcome.Result) async throws -> JobEffect {
            try await tell(
                restore, name, .outcome,
                outcome: JobOutcome(
                    result: result, error: result == .succeeded ? nil : FleetError("stuck", "test"),
                    summary: "\(result)"
                ))
        }

        func decision(_ restore: JobRecord, _ name: String) async throws -> RestoreDecision? {
            let job = restore.members!.first { $0.node == name }!.id
            return try await catalogue.nextDecision(job)?.decision
        }
    }

    @Test func oneRestoreAndAJobForEachMember() async throws {
        let fleet = try await Fleet()
        let restore = try await fleet.start()
        #expect(restore.node == "n1, n2, n3" && restore.state == .running)
        #expect(restore.members?.map(\.id) == (1...3).map { "\(restore.id)-\($0)" })
        for member in restore.members! {
            guard case .restore(let operation) = try await fleet.catalogue.message(member.id).operation else {
                Issue.record("no restore")
                return
            }
            #expect(operation.group?.restore == restore.id && operation.group?.members.count == 3)
        }
        // To operators it is one, by its id, a beginning of it, in listings and as the cluster's last job.
        #expect(try await fleet.catalogue.job(restore.id).id == restore.id)
        #expect(try await fleet.catalogue.job(String(restore.id.dropLast(2))).id == restore.id)
        #expect(try await fleet.catalogue.job("\(restore.id)-2").node == "n2")
        #expect(try await fleet.catalogue.jobs().map(\.id) == [restore.id])
        #expect(try await fleet.catalogue.cluster("a").lastJob == restore.id)
        #expect(
            await code {
                _ = try await fleet.catalogue.createBackup(cluster: "a", node: "n1", lifetime: .seconds(1), by: "root")
            } == .clusterBusy)
        #expect(await code { _ = try await fleet.start() } == .clusterBusy)
    }

    /// The last entry is of revision 42, and what etcd 3.5.1 begins at, and its members hash, is where it was compacted to.
    @Test(arguments: [(nil, 42), (40, 42), (45, 45)] as [(Int64?, Int64)])
    func whatIsProvenIsWhereEtcdBegins(_ compacted: Int64?, _ revision: Int64) async throws {
        let fleet = try await Fleet(compacted: compacted)
        let restore = try await fleet.start()
        #expect(try await fleet.catalogue.restorePlan(restore.id).snapshot.newestRevision == revision)
        try await fleet.accepted(restore)
        for phase in RestorePhase.allCases.dropLast() { _ = try await fleet.all(restore, reach: phase) }
        for name in Self.nodes { #expect(try await fleet.decision(restore, name) == .proceed(.commit)) }
    }

    @Test func fromPhaseToPhaseThroughRestarts() async throws {
        let fleet = try await Fleet()
        let restore = try await fleet.start()
        try await fleet.accepted(restore)
        for phase in RestorePhase.allCases.dropLast() {
            try await fleet.tell(restore, "n1", .reached, phase: phase)
            #expect(try await fleet.decision(restore, "n1") == nil, "nobody goes on before all have come so far")
            try await fleet.restart()
            let effect = try await fleet.all(restore, reach: phase)
            #expect(effect.decide.count == 3 && effect.news.count == 1)
            try await fleet.restart()
            for name in Self.nodes { #expect(try await fleet.decision(restore, name) == .proceed(phase.next!)) }
        }
        var effect = JobEffect()
        for name in Self.nodes {
            #expect(try await fleet.catalogue.job(restore.id).state == .running)
            effect = try await fleet.end(restore, name, .succeeded)
        }
        #expect(effect.closedRestore?.state == .succeeded)
        let ended = try await fleet.catalogue.job(restore.id)
        #expect(ended.state == .succeeded && ended.error == nil && ended.finished != nil)
        #expect(ended.events.map(\.phase) == [.quiesce, .stop, .start, .verify, .commit])
        #expect(try await fleet.catalogue.auditLog().filter { $0.event.action == "restore.decide" }.count == 5)
        #expect(try await fleet.catalogue.jobs(JobFilter(openOnly: true)).isEmpty)
        // An auditor is told of one restore, with what was decided and how each part ended.
        let report = try await fleet.catalogue.report(
            since: fleet.clock.now.adding(.seconds(-3600)), until: nil, only: []
        ).report
        let told = try #require(report.restores.rows.first)
        #expect(report.restores.rows.count == 1 && told.id == restore.id && told.nodes == Self.nodes)
        #expect(told.state == "succeeded" && told.by == "root" && told.snapshot == "s1")
        #expect(told.steps.count { $0.node == nil } == 5)
        #expect(Set(told.steps.compactMap(\.node)) == Set(Self.nodes) && report.clusters.first?.restores == 1)
        #expect(report.failures.rows.isEmpty)
    }

    /// A decision never has a counter that its node has seen.
    @Test func eachDecisionHasACounterOfItsOwn() async throws {
        let fleet = try await Fleet()
        let restore = try await fleet.start()
        try await fleet.accepted(restore)
        _ = try await fleet.all(restore, reach: .prepare)
        let id = restore.members![0].id
        var last = try await fleet.catalogue.message(id).counter
        for _ in 0..<3 {
            let next = try #require(try await fleet.catalogue.nextDecision(id)).counter
            #expect(next > last)
            last = next
            try await fleet.restart()
        }
    }

    @Test func otherDataOnOneMemberTakesAllBack() async throws {
        let fleet = try await Fleet()
        let restore = try await fleet.start()
        try await fleet.accepted(restore)
        for phase in RestorePhase.allCases where phase < .verify { _ = try await fleet.all(restore, reach: phase) }
        _ = try await fleet.all(restore, reach: .verify, hash: 8)
        guard case .recall(let reason)? = try await fleet.decision(restore, "n1") else {
            Issue.record("not recalled")
            return
        }
        #expect(reason.code == .notOneCluster && reason.message.contains("n3"))
        for name in Self.nodes { _ = try await fleet.end(restore, name, .rolledBack) }
        let ended = try await fleet.catalogue.job(restore.id)
        #expect(ended.state == .rolledBack && ended.error?.code == .notOneCluster)
    }

    @Test func oneThatIsHeldTakesAllBack() async throws {
        let fleet = try await Fleet()
        let restore = try await fleet.start()
        try await fleet.accepted(restore)
        _ = try await fleet.all(restore, reach: .prepare)
        let effect = try await fleet.tell(restore, "n2", .held, phase: .quiesce, error: FleetError(.noSpace, "full"))
        #expect(effect.decide.count == 3)
        for name in Self.nodes {
            #expect(try await fleet.decision(restore, name) == .recall(FleetError(.noSpace, "n2: full")))
        }
        // What comes late changes nothing of that.
        _ = try await fleet.all(restore, reach: .quiesce)
        for name in ["n1", "n3"] { _ = try await fleet.end(restore, name, .rolledBack) }
        #expect(try await fleet.catalogue.job(restore.id).state == .running, "n2 has not ended")
        _ = try await fleet.end(restore, "n2", .rolledBack)
        #expect(try await fleet.catalogue.job(restore.id).state == .rolledBack)
    }

    /// One refuses before anything was begun: those that have not begun are told so instead of getting the job.
    @Test func aRefusalOfOneIsTheEndForAll() async throws {
        let fleet = try await Fleet()
        let restore = try await fleet.start()
        let jobs = restore.members!.map(\.id)
        for id in jobs { _ = try await fleet.catalogue.willSend(id) }
        try await fleet.catalogue.answered(jobs[0])
        try await fleet.catalogue.answered(jobs[1], refusal: FleetError(.noSpace, "full"))
        let again = try await fleet.register("n3")
        #expect(again.contains { $0.decide == [jobs[2]] } && again.allSatisfy { $0.deliver == nil })
        #expect(try await fleet.catalogue.willSend(jobs[2]).deliver == nil)
        _ = try await fleet.catalogue.answered(jobs[2], refusal: FleetError(.recalled, "never begun"))
        #expect(try await fleet.end(restore, "n1", .failed).closedRestore?.state == .failed)
        #expect(try await fleet.catalogue.job(restore.id).error?.message == "n2: full")
    }

    @Test func aPhaseThatTakesTooLongTakesAllBack() async throws {
        let fleet = try await Fleet()
        let restore = try await fleet.start(wait: 30)
        try await fleet.accepted(restore)
        _ = try await fleet.all(restore, reach: .prepare)
        let limit = PhaseLimit.limit(.quiesce, of: try await fleet.catalogue.restorePlan(restore.id))!
        try await fleet.tell(restore, "n1", .reached, phase: .quiesce)
        fleet.clock.advance(limit - .seconds(1))
        #expect(try await fleet.catalogue.overdueRestores().isEmpty)
        // A coordinator that was away all the time gives everybody the time to speak.
        try await fleet.restart()
        fleet.clock.advance(.seconds(2))
        #expect(try await fleet.catalogue.overdueRestores().isEmpty)
        fleet.clock.advance(limit)
        #expect(try await fleet.catalogue.overdueRestores().map(\.decide.count) == [3])
        guard case .recall(let reason)? = try await fleet.decision(restore, "n3") else {
            Issue.record("not recalled")
            return
        }
        #expect(reason.code == .timedOut && reason.message.hasPrefix("n2, n3 did not end quiesce"))
        _ = try await fleet.end(restore, "n1", .rolledBack)
        let recalled = try await fleet.catalogue.job(restore.id)
        #expect(recalled.waitsFor == ["n2", "n3"] && recalled.deadline == nil)
        #expect(try await fleet.catalogue.overdueRestores().isEmpty)
    }

    /// Half a wait until a kubelet is pushed, the push with half a minute at the least, and a wait until etcd runs.
    @Test(arguments: [10, 15, 60, 3600]) func whatANodeDoesInTimeIsNotLate(wait: Int) {
        var restore = FleetProtocol.Operation.Restore(
            snapshot: Fixture.record("s1"), dryRun: false, waitSeconds: wait,
            group: RestoreMembers.group((1...5).map { RestoreMembersTests.agent($0) }, restore: "r"))
        #expect(PhaseLimit.limit(.start, of: restore)! > .seconds(wait / 2 + max(wait, 30) + wait))
        // An etcd without its quorum takes what systemd gives it, and the leader lets the others go first.
        #expect(PhaseLimit.limit(.stop, of: restore)! > .seconds(5 + max(wait, 100) + wait))
        // 8 GB to each of five from one coordinator at 100 Mbit/s, with the safety snapshot of one before that.
        restore.snapshot.size = 8_000_000_000
        #expect(PhaseLimit.limit(.prepare, of: restore)! > .seconds(6 * 8_000_000_000 / 12_500_000))
        #expect(PhaseLimit.limit(.commit, of: restore) == nil)
    }

    @Test func itSaysForWhomItWaitsAndUntilWhen() async throws {
        let fleet = try await Fleet()
        let restore = try await fleet.start(wait: 30)
        try await fleet.accepted(restore)
        _ = try await fleet.all(restore, reach: .prepare)
        try await fleet.tell(restore, "n1", .reached, phase: .quiesce)
        let now = try await fleet.catalogue.job(restore.id)
        #expect(now.waitsFor == ["n2", "n3"])
        #expect(now.deadline == fleet.clock.now.adding(.seconds(75)))
        #expect(now.events.last?.detail?.hasSuffix("(within 75 s, else it is taken back)") == true)
    }

    /// The node is gone for good: revoking its agent says so, and the cluster is free for what comes next.
    @Test func aMemberThatIsRevokedIsNotWaitedFor() async throws {
        let fleet = try await Fleet()
        let restore = try await fleet.start()
        try await fleet.accepted(restore)
        _ = try await fleet.all(restore, reach: .prepare)
        _ = try await fleet.catalogue.revoke(.agent(cluster: "a", node: "n3"), by: "root")
        let effects = try await fleet.catalogue.endRevoked()
        #expect(effects.map(\.decide.count) == [3])
        #expect(try await fleet.decision(restore, "n1") != nil)
        for name in ["n1", "n2"] { _ = try await fleet.end(restore, name, .rolledBack) }
        let ended = try await fleet.catalogue.job(restore.id)
        #expect(ended.state == .stuck && ended.finished != nil)
        #expect(ended.error?.message == "n3: the agent was revoked before it told how the job ended")
        #expect(try await fleet.catalogue.jobs(JobFilter(openOnly: true)).isEmpty)
        fleet.clock.advance(.seconds(1))
        let backup = try await fleet.catalogue.createBackup(
            cluster: "a", node: "n1", lifetime: .seconds(1), by: "root")
        // A later backup does not hide it.
        let cluster = try await fleet.catalogue.cluster("a")
        #expect(cluster.lastJob == backup.id && cluster.halfRestored == restore.id)
        // It came back after all: nobody is told any more to keep its etcd from running.
        let back = try await fleet.end(restore, "n3", .rolledBack)
        #expect(back.closedRestore?.state == .rolledBack && back.closedRestore?.error?.hint == nil)
        #expect(try await fleet.catalogue.cluster("a").halfRestored == nil)
    }

    /// A row that can't be read any more keeps nobody else's job from its end.
    @Test func aBrokenRowHoldsUpNobodyElse() async throws {
        let fleet = try await Fleet()
        let restore = try await fleet.start()
        try await fleet.accepted(restore)
        for name in ["n1", "n2", "n3"] {
            _ = try await fleet.catalogue.revoke(.agent(cluster: "a", node: name), by: "root")
        }
        let broken = restore.members![0].id
        try await fleet.catalogue.script("UPDATE jobs SET operation = '{' WHERE id = '\(broken)'")
        _ = try await fleet.catalogue.tick(connected: [])
        let open = try await fleet.catalogue.openIDs()
        #expect(open == [broken])
    }

    /// Nor the deadlines of others, nor its own agent from the coordinator.
    @Test func aBrokenRestoreKeepsNoAgentOut() async throws {
        let fleet = try await Fleet()
        let restore = try await fleet.start()
        try await fleet.accepted(restore)
        try await fleet.catalogue.script("UPDATE member_restores SET plan = '{'; UPDATE jobs SET operation = '{'")
        fleet.clock.advance(.seconds(3600 * 2))
        #expect(try await fleet.catalogue.overdueRestores().isEmpty)
        let active = [restore.members![0].id]
        #expect(try await fleet.register("n1", active: active, counter: 7) == [JobEffect(decide: active)])
        // Nor does it hide anything else, or let another begin beside it.
        #expect(try await fleet.catalogue.jobs().isEmpty)
        #expect(await code { _ = try await fleet.start() } == .clusterBusy)
    }

    /// One word to a member that comes back may be refused there, because its disk is full, say.
    @Test func aMemberThatIsBackIsToldAgainUntilAnotherRestore() async throws {
        let fleet = try await Fleet()
        let restore = try await fleet.start()
        try await fleet.accepted(restore)
        _ = try await fleet.all(restore, reach: .prepare)
        _ = try await fleet.tell(restore, "n1", .held, phase: .quiesce, error: FleetError(.noSpace, "full"))
        for name in ["n1", "n2"] { _ = try await fleet.end(restore, name, .rolledBack) }
        fleet.clock.advance(.seconds(8 * 24 * 3600))
        _ = try await fleet.catalogue.tick(connected: [])
        #expect(try await fleet.catalogue.job(restore.id).state == .stuck)
        #expect(try await fleet.catalogue.tick(connected: []).flatMap(\.decide) == [])
        #expect(try await fleet.catalogue.stuckParts() == restore.members!.map(\.id))
        #expect(try await fleet.decision(restore, "n3") == .recall(FleetError(.noSpace, "n1: full")))
        fleet.clock.advance(.seconds(1))
        let next = try await fleet.start()
        #expect(try await fleet.catalogue.stuckParts() == [])
        #expect(try await fleet.catalogue.tick(connected: []).flatMap(\.decide) == next.members!.map(\.id))
    }

    /// Two are stuck, and one of them is helped: then the other is the one to look at.
    @Test func theErrorNamesWhoIsStuckNow() async throws {
        let fleet = try await Fleet()
        let restore = try await fleet.start()
        try await fleet.accepted(restore)
        _ = try await fleet.all(restore, reach: .prepare)
        _ = try await fleet.tell(restore, "n3", .held, phase: .quiesce, error: FleetError(.noSpace, "full"))
        for name in ["n1", "n2"] { _ = try await fleet.end(restore, name, .stuck) }
        _ = try await fleet.end(restore, "n3", .rolledBack)
        #expect(try await fleet.catalogue.job(restore.id).error?.message == "n1: test")
        _ = try await fleet.end(restore, "n1", .rolledBack)
        #expect(try await fleet.catalogue.job(restore.id).error?.message == "n2: test")
        fleet.clock.advance(.seconds(60))
        _ = try await fleet.end(restore, "n2", .rolledBack)
        let ended = try await fleet.catalogue.job(restore.id)
        #expect(ended.state == .rolledBack && ended.finished == fleet.clock.now)
    }

    /// It was given up for lost and comes back: it is told what was decided all the same, and the verdict follows.
    @Test func aMemberThatComesBackAfterDays() async throws {
        let fleet = try await Fleet()
        let restore = try await fleet.start()
        try await fleet.accepted(restore)
        _ = try await fleet.all(restore, reach: .prepare)
        _ = try await fleet.tell(restore, "n1", .held, phase: .quiesce, error: FleetError(.noSpace, "full"))
        for name in ["n1", "n2"] { _ = try await fleet.end(restore, name, .rolledBack) }
        fleet.clock.advance(.seconds(8 * 24 * 3600))
        _ = try await fleet.catalogue.tick(connected: [])
        let lost = try await fleet.catalogue.job(restore.id)
        #expect(lost.state == .stuck && lost.error?.code == .jobLost)
        let id = restore.members![2].id
        #expect(try await fleet.register("n3", active: [id]).contains { $0.decide == [id] })
        #expect(try await fleet.decision(restore, "n3") == .recall(FleetError(.noSpace, "n1: full")))
        #expect(try await fleet.end(restore, "n3", .rolledBack).closedRestore?.state == .rolledBack)
        #expect(try await fleet.decision(restore, "n3") == nil)
    }

    @Test func aDryRunDecidesNothing() async throws {
        let fleet = try await Fleet()
        let restore = try await fleet.start(dryRun: true)
        try await fleet.accepted(restore)
        _ = try await fleet.end(restore, "n1", .succeeded)
        _ = try await fleet.end(restore, "n2", .refused)
        #expect(try await fleet.end(restore, "n3", .succeeded).closedRestore?.state == .failed)
        #expect(try await fleet.catalogue.job(restore.id).error?.message == "n2: test")
        #expect(try await fleet.decision(restore, "n1") == nil)
        let second = try await fleet.start(dryRun: true)
        try await fleet.accepted(second)
        for name in Self.nodes { _ = try await fleet.end(second, name, .succeeded) }
        #expect(try await fleet.catalogue.job(second.id).state == .succeeded)
    }
}
