import FleetProtocol
import FleetSystem
import Testing

@testable import FleetCoordinator

/// The decider alone, driven as the catalogue drives it.
@Suite("The decisions of a replacement")
struct ReplaceTransactionTests {
    typealias F = ReplaceFixture

    /// Carries a transaction on with what each act comes to.
    private struct Drive {
        var transaction: ReplaceTransaction
        /// "c:stop", in order.
        var given: [String] = []
        private var job = 0

        init(dryRun: Bool = false) {
            transaction = ReplaceTransaction(
                .init(
                    cluster: "x", node: "c", others: ["a", "b"], dryRun: dryRun, waitSeconds: 60, lifetimeSeconds: 60))
        }

        mutating func run(
            _ answer: (String, Operation.Act, Int) -> ReplaceTransaction.End
        ) throws -> (ReplaceTransaction.Verdict, FleetError?) {
            var counts: [String: Int] = [:]
            for _ in 0..<100 {
                switch transaction.next() {
                case .end(let verdict, let error): return (verdict, error)
                case .write(let record): transaction.apply(record)
                case .wait: throw FleetError(.internalError, "it waits for nobody")
                case .assign(let assignments):
                    let batch = transaction.nextBatch
                    var jobs: [(String, ReplaceTransaction.Assignment)] = []
                    for assignment in assignments {
                        job += 1
                        transaction.apply(
                            .assigned(job: "j\(job)", node: assignment.node, assignment.act, batch: batch))
                        jobs.append(("j\(job)", assignment))
                    }
                    for (id, assignment) in jobs {
                        #expect(transaction.next() == .wait)
                        let key = "\(assignment.node):\(assignment.act.name)"
                        given.append(key)
                        counts[key, default: 0] += 1
                        transaction.apply(
                            .ended(job: id, answer(assignment.node, assignment.act, counts[key]!)))
                    }
                }
            }
            throw FleetError(.internalError, "it does not come to an end")
        }
    }

    static func good(_ node: String, _ act: Operation.Act) -> ReplaceTransaction.End {
        var end = ReplaceTransaction.End()
        switch act {
        case .look: end.report = node == "c" ? F.dead("c") : F.healthy(node)
        case .readmit:
            end.report = F.healthy(node)
            end.report?.added = "c2"
        case .promote: end.report = F.healthy(node)
        case .prove:
            var report = F.healthy(node)
            (report.hashKV, report.compactRevision) = (7, 1)
            end.report = report
        default: break
        }
        return end
    }

    private static func failure(_ code: FleetError.Code = "test", _ report: MemberReport? = nil)
        -> ReplaceTransaction.End
    {
        .init(.failed, FleetError(code, "broken"), report)
    }

    @Test func allGoesWell() throws {
        var drive = Drive()
        let (verdict, error) = try drive.run { node, act, _ in Self.good(node, act) }
        #expect(verdict == .succeeded && error == nil)
        // The leader changes the membership.
        #expect(
            drive.given == [
                "c:look", "a:look", "b:look", "c:plan", "c:stop", "b:readmit", "c:join", "b:promote", "b:prove",
                "a:prove", "c:prove",
            ])
    }

    @Test func aDryRunEndsBehindThePlan() throws {
        var drive = Drive(dryRun: true)
        #expect(try drive.run { node, act, _ in Self.good(node, act) }.0 == .succeeded)
        #expect(drive.given.last == "c:plan" && !drive.given.contains("c:stop"))
    }

    @Test func aLearnerThatRunsIsOnlyPromoted() throws {
        let members = ["a", "b"].map { F.listed($0) } + [F.listed("c", "c2", learner: true)]
        var drive = Drive()
        let (verdict, _) = try drive.run { node, act, _ in
            guard case .look = act else { return Self.good(node, act) }
            return .init(report: node == "c" ? F.learner("c", "c2") : F.healthy(node, members))
        }
        #expect(verdict == .succeeded)
        #expect(drive.given.dropFirst(3).first == "b:promote")
    }

    /// What fails before the old member is removed leaves all as it was.
    @Test(arguments: ["plan", "stop", "readmit", "readmit refused"])
    func beforeTheRemoval(_ failing: String) throws {
        var drive = Drive()
        let (verdict, error) = try drive.run { node, act, _ in
            guard failing.hasPrefix(act.name) else { return Self.good(node, act) }
            if failing.hasSuffix("refused") { return .init(.refused, FleetError("test", "broken"), nil) }
            return Self.failure("test", F.healthy(node))
        }
        #expect(verdict == .failed && error?.code == "test" && error?.message.contains("broken") == true)
        #expect((drive.given.last == "c:back") == (failing != "plan"), "\(drive.given)")
        #expect(!drive.given.contains("c:join"))
    }

    /// Behind it nothing leads back: it stops where it is, and says which command goes on.
    @Test(arguments: ["readmit", "join", "promote"])
    func behindTheRemoval(_ failing: String) throws {
        var drive = Drive()
        let (verdict, error) = try drive.run { node, act, _ in
            guard act.name == failing else { return Self.good(node, act) }
            return Self.failure("test", F.healthy(node, ["a", "b"].map { F.listed($0) }))
        }
        #expect(verdict == .stuck && error?.code == "test")
        #expect(error?.hint?.contains("fleetctl member replace x c") == true)
        #expect(!drive.given.contains("c:back"))
    }

    /// A change of the membership of which nothing was heard is looked after by the next healthy member.
    @Test func anUnclearChangeIsDoneAgainByAnother() throws {
        var drive = Drive()
        let (verdict, _) = try drive.run { node, act, count in
            if case .readmit = act, node == "b", count == 1 { return Self.failure("unhealthy") }
            return Self.good(node, act)
        }
        #expect(verdict == .succeeded)
        #expect(drive.given.filter { $0.hasSuffix("readmit") } == ["b:readmit", "a:readmit"])
    }

    /// Refused in the second try says nothing of what the first has done.
    @Test func refusedBehindAnUnclearTryIsNotAsBefore() throws {
        var drive = Drive()
        let (verdict, _) = try drive.run { node, act, count in
            guard case .readmit = act else { return Self.good(node, act) }
            if count == 1, node == "b" { return Self.failure("interrupted") }
            return .init(.refused, FleetError("unhealthy", "no quorum"), nil)
        }
        #expect(verdict == .stuck)
        #expect(!drive.given.contains("c:back"))
    }

    @Test(arguments: ["plan", "stop", "readmit", "join", "promote", "prove"])
    func whatWasCutOffIsDoneAgain(_ cut: String) throws {
        var drive = Drive()
        let (verdict, _) = try drive.run { node, act, count in
            act.name == cut && count == 1
                ? Self.failure(cut == "stop" ? .jobLost : "interrupted") : Self.good(node, act)
        }
        #expect(verdict == .succeeded, "\(drive.given)")
        #expect(drive.given.count { $0.hasSuffix(cut) } >= 2)
    }

    @Test func notForEver() throws {
        var drive = Drive()
        let (verdict, error) = try drive.run { node, act, _ in
            act.name == "join" ? Self.failure("interrupted") : Self.good(node, act)
        }
        #expect(verdict == .stuck && error?.code == "interrupted")
        #expect(drive.given.count { $0 == "c:join" } == ReplaceTransaction.tries)
    }

    /// One member has compacted meanwhile: the hashes are asked for again. One that stays different is told.
    @Test func hashesAreCompared() throws {
        var drive = Drive()
        let (verdict, _) = try drive.run { node, act, count in
            var end = Self.good(node, act)
            if case .prove = act, node == "a", count == 1 { end.report?.compactRevision = 9 }
            return end
        }
        #expect(verdict == .succeeded && drive.given.count { $0 == "c:prove" } == 2)

        drive = Drive()
        let (other, error) = try drive.run { node, act, _ in
            var end = Self.good(node, act)
            if case .prove = act, node == "c" { end.report?.hashKV = 8 }
            return end
        }
        #expect(other == .stuck && error?.code == .membersDiffer)
    }

    @Test func etcdThatDoesNotComeBackIsSaid() throws {
        var drive = Drive()
        let (verdict, error) = try drive.run { node, act, _ in
            act.name == "stop" || act.name == "back" ? Self.failure() : Self.good(node, act)
        }
        #expect(verdict == .stuck && error?.message.contains("no member was removed") == true)
    }
}

/// The same in the catalogue: jobs, records, and what survives a restart.
@Suite("Replacements in the catalogue")
struct ReplacementTests {
    typealias F = ReplaceFixture

    private final class Fleet {
        let clock = TestClock()
        let path: String
        private let directory: TemporaryDirectory
        private(set) var catalogue: Catalogue
        private var sequences: [String: Int] = [:]

        init() async throws {
            directory = try TemporaryDirectory()
            path = directory.path + "/c.db"
            catalogue = try Fixture.catalogue(clock, path: path)
            _ = try await catalogue.addCluster("x", by: "root")
            for node in ["a", "b", "c"] {
                try await Fixture.enrol(catalogue, cluster: "x", node: node)
                _ = try await catalogue.registered(
                    NodeName(cluster: "x", node: node), Fixture.registration(), hasJustConnected: true)
            }
        }

        func restart() async throws {
            await catalogue.close()
            catalogue = try Fixture.catalogue(clock, path: path)
        }

        func start(dryRun: Bool = false) async throws -> (JobRecord, JobEffect) {
            try await catalogue.createReplacement(
                .init(
                    cluster: "x", node: "c", others: ["a", "b"], dryRun: dryRun, waitSeconds: 60, lifetimeSeconds: 3600),
                by: "root")
        }

        /// The agent has done it; what follows.
        func end(_ job: Job, _ outcome: JobOutcome) async throws -> JobEffect {
            _ = try await catalogue.willSend(job.id)
            try await catalogue.answered(job.id)
            sequences[job.id, default: 0] += 1
            return try await catalogue.receive(
                JobEvent(
                    job: job.id, sequence: sequences[job.id]!, time: clock.now, kind: .outcome, outcome: outcome),
                from: NodeName(job))
        }
    }

    private func act(_ job: Job) -> Operation.Act {
        guard case .member(let member) = job.operation else { fatalError("an act") }
        return member.act
    }

    @Test func fromTheFirstLookToTheEnd() async throws {
        let fleet = try await Fleet()
        let (whole, effect) = try await fleet.start()
        #expect(whole.kind == "replace" && whole.node == "c" && whole.state == .running)
        #expect(whole.members?.map(\.id) == (1...3).map { "\(whole.id)-\($0)" })
        var (begun, last, names) = (effect.begun, effect, [String]())
        while !begun.isEmpty {
            // Between any two acts the coordinator may die.
            try await fleet.restart()
            var next: [Job] = []
            for job in begun {
                names.append(act(job).name)
                let end = ReplaceTransactionTests.good(job.node, act(job))
                var outcome = JobOutcome(result: .succeeded, summary: act(job).name, member: end.report)
                if act(job).name == "plan" {
                    outcome.plan = RestorePlan(
                        cluster: "x", node: "c", snapshot: "", topology: .stacked, oldDataDir: "/o", newDataDir: "/n",
                        oldWalDir: nil, newWalDir: nil, clusterToken: "t", changes: [], steps: [])
                    outcome.plan?.oldDirectories = ["/o"]
                }
                last = try await fleet.end(job, outcome)
                next += last.begun
            }
            begun = next
        }
        #expect(
            names == [
                "look", "look", "look", "plan", "stop", "readmit", "join", "promote", "prove", "prove", "prove",
            ])
        #expect(last.closedRestore?.state == .succeeded && last.closedRestore?.id == whole.id)
        let ended = try await fleet.catalogue.job(whole.id)
        #expect(ended.state == .succeeded && ended.outcome?.result == .succeeded && ended.members?.count == 11)
        #expect(ended.events.map(\.kind).allSatisfy { $0 == .decided } && ended.events.count == 11)
        #expect(try await fleet.catalogue.jobs().map(\.id) == [whole.id], "its acts are no jobs of their own in lists")
        #expect(try await fleet.catalogue.job("\(whole.id)-4").replacement == whole.id)
        #expect(try await fleet.catalogue.job(String(whole.id.dropLast(2))).id == whole.id)
        #expect(try await fleet.catalogue.cluster("x").lastJobKind == "replace")
        let actions = try await fleet.catalogue.auditLog().map(\.event.action)
        #expect(actions.contains("member.replace") && actions.contains("replace.end"))
        #expect(actions.count { $0 == "replace.decide" } == 11)
        #expect(try await fleet.catalogue.verifyAudit().isIntact)

        // Nothing leads back, and its old data is signed off on its one node.
        #expect(ended.aftermath == RestoreAftermath(state: .final, nodes: [.init(node: "c", directories: ["/o"])]))
        #expect(await code { _ = try await fleet.catalogue.undoable(whole.id) } == .notUndoable)
        let cleanup = try await fleet.catalogue.createCleanup(
            of: whole.id, on: ["c"], dryRun: false, lifetime: .seconds(600), by: "root")
        let message = try await fleet.catalogue.message(cleanup.id)
        #expect(message.operation == .cleanup(.init(restored: whole.id, dryRun: false)) && message.node == "c")
        _ = try await fleet.end(message, JobOutcome(result: .succeeded, summary: "removed"))
        let after = try await fleet.catalogue.job(whole.id).aftermath
        #expect(after?.nodes.map(\.cleanedUp) == [fleet.clock.now])
    }

    /// The member serves and says what is old behind all that was tried; whether all serve the same or not, that can be signed
    /// off with the job that made it serve.
    @Test(arguments: [true, false]) func theMemberSaysWhatIsOld(agree: Bool) async throws {
        let fleet = try await Fleet()
        let (whole, effect) = try await fleet.start()
        var begun = effect.begun
        while !begun.isEmpty {
            var next: [Job] = []
            for job in begun {
                var end = ReplaceTransactionTests.good(job.node, act(job))
                if job.node == "c", case .prove = act(job), !agree { end.report?.hashKV = 8 }
                var outcome = JobOutcome(result: .succeeded, summary: act(job).name, member: end.report)
                var plan = RestorePlan(
                    cluster: "x", node: "c", snapshot: "", topology: .stacked, oldDataDir: "/o", newDataDir: "/n",
                    oldWalDir: nil, newWalDir: nil, clusterToken: "t", changes: [], steps: [])
                plan.oldDirectories = ["/o"]
                if act(job).name == "plan" { outcome.plan = plan }
                if job.node == "c", act(job).name == "prove" {
                    plan.oldDirectories = ["/o", "/before"]
                    outcome.plan = plan
                }
                next += try await fleet.end(job, outcome).begun
            }
            begun = next
        }
        let ended = try await fleet.catalogue.job(whole.id)
        #expect(ended.state == (agree ? .succeeded : .stuck))
        if !agree { #expect(ended.error?.hint?.contains("member replace") == false, "that would be refused") }
        let nodes = [RestoreAftermath.Node(node: "c", directories: ["/o", "/before"])]
        #expect(ended.aftermath == RestoreAftermath(state: .final, nodes: nodes))
        _ = try await fleet.catalogue.createCleanup(
            of: whole.id, on: ["c"], dryRun: false, lifetime: .seconds(600), by: "root")
    }

    @Test func oneThingAtATime() async throws {
        let fleet = try await Fleet()
        let (whole, _) = try await fleet.start()
        let backup = await code {
            _ = try await fleet.catalogue.createBackup(
                cluster: "x", node: "a", lifetime: .seconds(60), by: "root")
        }
        #expect(backup == .clusterBusy)
        #expect(await code { _ = try await fleet.start() } == .clusterBusy)
        #expect(try await fleet.catalogue.busyClusters() == ["x"])
        #expect(try await fleet.catalogue.jobs(JobFilter(cluster: "x", openOnly: true)).map(\.id) == [whole.id])
    }

    /// The healthy member is refused by what the looks say, and the refusal is on record.
    @Test func aRefusalEndsIt() async throws {
        let fleet = try await Fleet()
        let (whole, effect) = try await fleet.start()
        var last = JobEffect()
        for job in effect.begun {
            last = try await fleet.end(
                job, JobOutcome(result: .succeeded, summary: "look", member: F.healthy(job.node)))
        }
        #expect(last.closedRestore?.state == .failed && last.closedRestore?.error?.code == .memberHealthy)
        #expect(last.begun.isEmpty)
        let ended = try await fleet.catalogue.job(whole.id)
        #expect(ended.outcome?.summary.contains("no member was removed") == true)
        // The cluster is free again.
        _ = try await fleet.start()
    }

    /// One that stands half-way is what status shows until a later one has ended well; no restore can be undone across it.
    @Test func halfWayIsShown() async throws {
        let fleet = try await Fleet()
        let (whole, effect) = try await fleet.start()
        var begun = effect.begun
        while let job = begun.first {
            begun.removeFirst()
            let name = act(job).name
            let end = ReplaceTransactionTests.good(job.node, act(job))
            let outcome =
                name == "join"
                ? JobOutcome(result: .failed, error: FleetError("not-started", "it does not start"), summary: "join")
                : JobOutcome(result: .succeeded, summary: name, member: end.report)
            begun += try await fleet.end(job, outcome).begun
        }
        let ended = try await fleet.catalogue.job(whole.id)
        #expect(ended.state == .stuck && ended.error?.code == "not-started")
        #expect(ended.error?.hint?.contains("fleetctl member replace x c") == true)
        #expect(try await fleet.catalogue.cluster("x").halfRestored == whole.id)
    }

    /// An agent that is killed tells it at its next start: the act is given again.
    @Test func aCutActIsGivenAgain() async throws {
        let fleet = try await Fleet()
        let (_, effect) = try await fleet.start()
        var begun = effect.begun
        for job in effect.begun {
            begun = try await fleet.end(
                job,
                JobOutcome(
                    result: .succeeded, summary: "look",
                    member: ReplaceTransactionTests.good(job.node, .look).report)
            ).begun
        }
        let plan = try #require(begun.first)
        let cut = try await fleet.end(
            plan,
            JobOutcome(
                result: .failed, error: FleetError("interrupted", "killed", retryable: true), summary: "cut off"))
        #expect(cut.begun.map(act) == [act(plan)] && cut.begun[0].id != plan.id && cut.begun[0].counter > plan.counter)
    }
}
