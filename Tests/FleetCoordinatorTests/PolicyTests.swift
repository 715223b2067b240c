import FleetConcerns
import FleetProtocol
import FleetSQLite
import FleetSchedule
import FleetSystem
import Testing

@testable import FleetCoordinator

/// Policies in the catalogue: who follows which, and what is due by them.
@Suite("Policies", .timeLimit(.minutes(5)))
struct PolicyTests {
    private let clock = TestClock()
    private let catalogue: Catalogue

    init() async throws { catalogue = try await Fixture.fleet(clock) }

    private func policy(_ name: String, _ change: (inout FleetPolicy) -> Void = { _ in }) -> FleetPolicy {
        var policy = FleetPolicy(name: name)
        policy.schedule = "@every 6h"
        change(&policy)
        return policy
    }

    private func followed() async throws -> [String: String] {
        try await catalogue.policiesByCluster().mapValues(\.name)
    }

    @Test func aClusterFollowsTheFirstThatSelectsIt() async throws {
        #expect(try await followed().isEmpty)
        _ = try await catalogue.label(.init(cluster: "a", set: ["env": "prod", "x": "1"], remove: []), by: "root")
        let changes = try await catalogue.applyPolicies(
            PolicySet(
                policies: [
                    policy("prod") { $0.labels = ["env": "prod"] }, policy("named") { $0.clusters = ["a", "b"] },
                    policy("rest"),
                ], dryRun: false), by: "root")
        #expect(changes.map(\.kind) == [.added, .added, .added])
        #expect(try await followed() == ["a": "prod", "b": "named"])
        #expect(try await catalogue.policies().map(\.clusters) == [["a"], ["b"], []])
        _ = try await catalogue.label(.init(cluster: "a", set: [:], remove: ["env"]), by: "root")
        #expect(try await followed() == ["a": "named", "b": "named"])
        let swapped = try await catalogue.policies().map(\.policy).reversed()
        let moved = try await catalogue.applyPolicies(PolicySet(policies: Array(swapped), dryRun: true), by: "root")
        #expect(moved.map(\.name) == ["rest", "named", "prod"] && moved.map(\.kind) == [.moved, .unchanged, .moved])
        #expect(try await followed() == ["a": "named", "b": "named"], "a dry run changes nothing")
        _ = try await catalogue.applyPolicies(PolicySet(policies: Array(swapped), dryRun: false), by: "root")
        #expect(try await followed() == ["a": "rest", "b": "rest"])
        _ = try await catalogue.removePolicy("rest", by: "root")
        #expect(try await followed() == ["a": "named", "b": "named"])
        #expect(try await catalogue.cluster("a").policy == "named")
        let actions = try await catalogue.auditLog().map(\.event).filter { $0.action.hasPrefix("policy.") }
        #expect(
            actions.map(\.action).sorted() == [
                "policy.added", "policy.added", "policy.added", "policy.moved", "policy.moved", "policy.removed",
            ])
        #expect(try await catalogue.verifyAudit().isIntact)
    }

    private func withoutPolicy() async throws -> [String?] {
        let status = FleetStatus(
            version: "1", time: clock.now, clusters: try await catalogue.clusters(),
            agents: try await catalogue.agents(), openJobs: [], storeFree: 5, storeUsed: 7,
            audit: try await catalogue.verifyAudit())
        return Concern.all(status).filter { $0.kind == .noPolicy }.map(\.cluster)
    }

    /// A label that was mistyped looks like one that was meant: its objective is gone with the policy.
    @Test func aClusterThatFallsOutOfEveryPolicyIsToldOf() async throws {
        _ = try await catalogue.label(.init(cluster: "a", set: ["env": "prod"], remove: []), by: "root")
        let prod = policy("p") { ($0.labels, $0.objective) = (["env": "prod"], 3600) }
        _ = try await catalogue.setPolicy(prod, by: "root")
        #expect(try await withoutPolicy() == [], "b never had one")
        clock.advance(.seconds(60))
        let typo = try await catalogue.label(.init(cluster: "a", set: ["env": "prdo"], remove: []), by: "root")
        #expect(typo.policy == nil && typo.objective == nil && typo.unscheduledSince == clock.now)
        #expect(try await withoutPolicy() == ["a"])
        let right = try await catalogue.label(.init(cluster: "a", set: ["env": "prod"], remove: []), by: "root")
        #expect(right.policy == "p" && right.unscheduledSince == nil)
        #expect(try await withoutPolicy() == [])
        // A policy that goes leaves it the same way; one that backs up nothing is what somebody has said.
        _ = try await catalogue.removePolicy("p", by: "root")
        #expect(try await withoutPolicy() == ["a"])
        _ = try await catalogue.setPolicy(policy("by-hand") { $0.schedule = nil }, by: "root")
        #expect(try await withoutPolicy() == [])
        _ = try await catalogue.removePolicy("by-hand", by: "root")
        // What has no etcd of its own has nothing to back up.
        var registration = Fixture.registration()
        (registration.instance, registration.discoveryError) = (nil, FleetError("no-etcd", "none"))
        registration.drillVersions = ["3.5.1"]
        _ = try await catalogue.registered(NodeName(cluster: "a", node: "n1"), registration, hasJustConnected: true)
        #expect(try await withoutPolicy() == [])
    }

    @Test func whatIsWrongChangesNothing() async throws {
        let good = policy("good")
        let bad: [FleetPolicy] = [
            policy("x") { $0.schedule = "61 * * * *" }, policy("x") { $0.timezone = "Nowhere/Else" },
            policy("x") { $0.windows = ["always"] }, policy("x") { $0.attempts = 0 }, policy("x") { $0.parallel = 0 },
            policy("x") { $0.jitter = -1 }, policy("x") { $0.objective = 5 }, policy("x") { $0.drill = "@often" },
            policy("x") { $0.retention = RetentionPolicy() }, policy("x") { $0.labels = ["a b": "c"] },
            policy("x") { $0.clusters = ["zzz"] }, policy("No Name"), policy("good"),
        ]
        for one in bad {
            let error = await #expect(throws: FleetError.self) {
                try await catalogue.applyPolicies(PolicySet(policies: [good, one], dryRun: false), by: "root")
            }
            #expect(error?.hint != nil, "\(error.map { "\($0)" } ?? "")")
            #expect(try await catalogue.policies().isEmpty)
        }
    }

    private func due() async throws -> [Planner.Start] {
        Planner.plan(try await catalogue.taskHistories(), now: clock.now).starts
    }

    private func end(_ job: JobRecord, _ result: JobOutcome.Result) async throws {
        _ = try await catalogue.receive(
            JobEvent(
                job: job.id, sequence: 1, time: clock.now, kind: .outcome,
                outcome: JobOutcome(
                    result: result, error: result == .succeeded ? nil : FleetError(.noSpace, "full"), summary: "")),
            from: NodeName(cluster: job.cluster, node: job.node))
    }

    private func begin(_ start: Planner.Start) async throws -> JobRecord {
        clock.advance(.seconds(1))
        return try await catalogue.createBackup(
            cluster: start.task.cluster, node: "n1", lifetime: .seconds(600), by: "schedule:p", run: start)
    }

    @Test func aRunIsBegunOnceAndTriedAgain() async throws {
        // It is 06:55:10; the next is due at 12:00.
        _ = try await catalogue.setPolicy(policy("p") { $0.clusters = ["a"] }, by: "root")
        #expect(try await due().isEmpty, "what was due before is not made up for")
        clock.advance(.seconds(6 * 3600))
        let first = try await due()
        #expect(first.map(\.task.cluster) == ["a"] && first.map(\.due) == [Timestamp("2026-11-24T12:00")!])
        // Somebody else is at it.
        let byHand = try await catalogue.createBackup(
            cluster: "a", node: "n1", lifetime: .seconds(600), by: "root")
        #expect(try await due().isEmpty)
        #expect(await code { _ = try await begin(first[0]) } == .clusterBusy)
        try await end(byHand, .failed)
        #expect(try await due() == first, "what could not begin has not been begun")
        let job = try await begin(first[0])
        #expect(try await due().isEmpty)
        try await end(job, .failed)
        #expect(try await due().isEmpty, "not at once")
        clock.advance(.seconds(60))
        let second = try await due()
        #expect(second.map(\.attempt) == [2] && second.map(\.due) == first.map(\.due))
        #expect(try await catalogue.triedNodes(second[0]) == ["n1"])
        let again = try await begin(second[0])
        clock.advance(.seconds(30 * 3600))
        #expect(try await due().isEmpty, "runs of one cluster never overlap")
        try await end(again, .failed)
        // Of five that were missed, the latest.
        #expect(try await due().map(\.due) == [Timestamp("2026-11-25T18:00")!])
        let created = try await catalogue.auditLog().map(\.event).filter {
            $0.actor == "schedule:p" && $0.outcome == .ok
        }
        #expect(created.first?.detail["due"] == Timestamp("2026-11-24T12:00")!.description)
    }

    /// What is wrong with one member is not found by every run anew.
    @Test func aMemberWhoseBackupFailedIsAskedLast() async throws {
        func backup(_ node: String, _ result: JobOutcome.Result) async throws {
            clock.advance(.seconds(60))
            try await ended(
                try await catalogue.createBackup(cluster: "a", node: node, lifetime: .seconds(600), by: "root"), result)
        }
        func ended(_ job: JobRecord, _ result: JobOutcome.Result) async throws {
            try await end(job, .failed)
            guard result == .succeeded else { return }
            try await catalogue.script("UPDATE jobs SET state = 'succeeded' WHERE id = '\(job.id)'")
        }
        // What never came to the agent says nothing of it.
        clock.advance(.seconds(60))
        let late = try await catalogue.createBackup(cluster: "a", node: "n1", lifetime: .seconds(600), by: "root")
        try await catalogue.script(
            "UPDATE jobs SET state = 'expired', finished = created + 1000, agents_word = 0 WHERE id = '\(late.id)'")
        #expect(try await catalogue.failingNodes(of: "a").isEmpty)
        try await backup("n1", .succeeded)
        try await backup("n1", .failed)
        #expect(try await catalogue.failingNodes(of: "a") == ["n1"])
        clock.advance(.seconds(60))
        let open = try await catalogue.createBackup(cluster: "a", node: "n1", lifetime: .seconds(600), by: "root")
        #expect(try await catalogue.failingNodes(of: "a") == ["n1"], "nothing is known of it yet")
        #expect(try await catalogue.failingNodes(of: "b").isEmpty)
        try await ended(open, .succeeded)
        #expect(try await catalogue.failingNodes(of: "a").isEmpty)
        try await backup("n1", .failed)
        clock.advance(Catalogue.failureMemory + .seconds(1))
        #expect(try await catalogue.failingNodes(of: "a").isEmpty, "somebody may have seen to it")
        // A clock that was ahead: what it wrote is not the newest for a year.
        try await catalogue.script("UPDATE jobs SET created = created + 31536000000 WHERE state = 'failed'")
        #expect(try await catalogue.failingNodes(of: "a").isEmpty)
    }

    /// Its failure counts less than that another's etcd does not run or knows no leader, and more than who leads.
    @Test func whoFailedGoesBehindOthersThatCan() throws {
        func agent(_ node: String, _ part: MemberPart, runs: Bool = true) -> AgentRecord {
            var agent = AgentRecord(
                cluster: "a", node: node, enrolled: clock.now, lastSeen: clock.now, connected: true, version: nil,
                instance: Fixture.registration().instance, discoveryError: nil, certificate: nil)
            agent.instance?.pid = runs ? 7 : nil
            agent.instance?.part = part
            return agent
        }
        func chosen(_ agents: [AgentRecord], avoiding: [String] = [], failing: [String]) throws -> String {
            try AgentChoice.choose(agents, cluster: "a", avoiding: avoiding, failing: failing).node
        }
        let well = [agent("n1", .follower), agent("n2", .follower), agent("n3", .leader)]
        #expect(try chosen(well, failing: []) == "n1")
        #expect(try chosen(well, failing: ["n1"]) == "n2")
        #expect(try chosen(well, failing: ["n1", "n2"]) == "n3")
        #expect(try chosen(well, failing: ["n1", "n2", "n3"]) == "n1")
        #expect(try chosen(well, avoiding: ["n1"], failing: ["n1", "n2", "n3"]) == "n2")
        #expect(try chosen([agent("n1", .follower), agent("n2", .leader, runs: false)], failing: ["n1"]) == "n1")
        #expect(try chosen([agent("n1", .follower), agent("n2", .leaderless)], failing: ["n1"]) == "n1")
        #expect(try chosen([agent("n1", .follower), agent("n2", .behind)], failing: ["n1"]) == "n1")
    }

    @Test func aChangeCountsFromWhenItWasMade() async throws {
        _ = try await catalogue.setPolicy(policy("p") { $0.schedule = nil }, by: "root")
        clock.advance(.seconds(86_400))
        #expect(try await due().isEmpty)
        _ = try await catalogue.setPolicy(policy("p"), by: "root")
        #expect(try await due().isEmpty)
        clock.advance(.seconds(6 * 3600))
        #expect(try await due().count == 2)
        // A cluster that comes to follow it later has missed nothing either.
        _ = try await catalogue.addCluster("c", by: "root")
        #expect(try await due().count == 2)
        // What has nothing to do with when it is due takes nothing away that is.
        _ = try await catalogue.label(.init(cluster: "a", set: ["env": "prod"], remove: []), by: "root")
        _ = try await catalogue.setPolicy(policy("p") { $0.objective = 3600 }, by: "root")
        #expect(try await due().count == 2)
        // Falling to another policy makes nothing up that was due by it before.
        _ = try await catalogue.setPolicy(policy("old") { $0.schedule = "@every 1h" }, by: "root")
        clock.advance(.seconds(86_400))
        _ = try await catalogue.removePolicy("p", by: "root")
        #expect(try await due().isEmpty)
        clock.advance(.seconds(3600))
        #expect(try await due().count == 3)
    }

    /// The coordinator's clock was years ahead for a while: what it wrote down then stops nothing.
    @Test func aClockThatWasAhead() async throws {
        clock.advance(.seconds(5 * 366 * 86_400))
        _ = try await catalogue.setPolicy(policy("p") { $0.clusters = ["a"] }, by: "root")
        clock.advance(.seconds(6 * 3600))
        try await end(try await begin(try #require(try await due().first)), .succeeded)
        clock.advance(.seconds(-5 * 366 * 86_400))
        let first = try await due()
        #expect(first.map(\.due) == [Timestamp("2026-11-24T12:00")!])
        try await end(try await begin(first[0]), .succeeded)
        #expect(try await due().isEmpty, "once")
        clock.advance(.seconds(6 * 3600))
        #expect(try await due().map(\.due) == [Timestamp("2026-11-24T18:00")!])
    }

    /// What somebody has planned to restore is there while it may be approved.
    @Test func whatWasPlannedIsNotDeletedMeanwhile() async throws {
        try await catalogue.add(Fixture.record("s1", job: "j1", saved: "2026-11-21T06:00:00Z"), by: "agent")
        try await catalogue.add(Fixture.record("s2", job: "j2", saved: "2026-11-22T06:00:00Z"), by: "agent")
        let job = try await catalogue.createRestore(
            RestoreOrder(snapshot: "s1", dryRun: true), cluster: "a", node: "n1", lifetime: .seconds(600), by: "root")
        try await end(job, .failed)
        func held() async throws -> [String] {
            try await catalogue.restorePoints("a").filter { $0.holds.contains(.planned) }.map(\.id)
        }
        #expect(try await held() == ["s1"])
        clock.advance(.seconds(2 * 86_400 + 1))
        #expect(try await held().isEmpty)
    }

    /// One that can't be read is named, hides nothing else, and is set anew or removed.
    @Test func oneThatCantBeReadStopsNothingElse() async throws {
        _ = try await catalogue.applyPolicies(
            PolicySet(
                policies: [policy("first") { $0.clusters = ["a"] }, policy("bad"), policy("rest")], dryRun: false),
            by: "root")
        try await catalogue.script("UPDATE policies SET policy = '{' WHERE name = 'bad'")
        #expect(try await followed() == ["a": "first"], "what stands behind it may have been meant for it")
        #expect(try await catalogue.clusters().map(\.policy) == ["first", nil])
        let problems = try await catalogue.policies().map(\.problem?.code)
        #expect(problems == [nil, .databaseCorrupt, nil])
        _ = try await catalogue.setPolicy(policy("rest") { $0.jitter = 5 }, by: "root")
        _ = try await catalogue.removePolicy("bad", by: "root")
        #expect(try await followed() == ["a": "first", "b": "rest"])
        // A field that an older program did not write.
        try await catalogue.script(#"UPDATE policies SET policy = '{"name":"rest"}' WHERE name = 'rest'"#)
        #expect(try await followed() == ["a": "first", "b": "rest"])
    }

    /// What would be deleted is said before it is.
    @Test func aDryRunCountsWhatRetentionWouldDelete() async throws {
        for number in 1...5 {
            try await catalogue.add(
                Fixture.record("s\(number)", job: "j\(number)", saved: "2026-11-1\(number)T06:00:00Z"), by: "agent")
        }
        let set = PolicySet(
            policies: [policy("p") { $0.retention = RetentionPolicy(last: 2) }], dryRun: true)
        #expect(try await catalogue.applyPolicies(set, by: "root").map(\.deletes) == [3])
        try await catalogue.setRetention("a", nil, keepsAll: true, by: "root")
        #expect(try await catalogue.applyPolicies(set, by: "root").map(\.deletes) == [0])
    }

    @Test func aClustersOwnRetentionGoesFirst() async throws {
        _ = try await catalogue.setPolicy(policy("p") { $0.retention = RetentionPolicy(last: 3) }, by: "root")
        #expect(try await catalogue.retentionsInForce("a").first?.policy == RetentionPolicy(last: 3))
        try await catalogue.setRetention("a", RetentionPolicy(last: 9), by: "root")
        #expect(try await catalogue.retentionsInForce("a").first?.policy == RetentionPolicy(last: 9))
        #expect(try await catalogue.retentionsInForce("b").first?.policy == RetentionPolicy(last: 3))
        try await catalogue.setRetention("b", nil, keepsAll: true, by: "root")
        #expect(try await catalogue.retentionsInForce("b").map(\.policy) == [nil], "everything is kept, policy or not")
        try await catalogue.setRetention("b", nil, by: "root")
        #expect(try await catalogue.retentionsInForce("b").first?.policy == RetentionPolicy(last: 3))
    }
}

extension ServerTests {
    /// A policy, an agent that is there, and what is due: the job is sent, and once.
    @Test func whatIsDueBegins() async throws {
        let server = try await TestServer()
        let root = try await server.operate()
        let _: ClusterRecord = try await root.call(ControlMethod.addCluster, NameRequest(name: "a"))
        var policy = FleetPolicy(name: "p")
        policy.schedule = "@every 1h"
        let _: PolicyRecord = try await root.call(ControlMethod.setPolicy, policy)
        let later = Timestamp.now().adding(.seconds(3600))
        try await server.server.beginWhatIsDue(now: later)
        #expect(try await server.catalogue.jobs().isEmpty, "nobody is there who could do it")
        try await server.server.beginWhatIsDue(now: later.adding(.seconds(59)))
        #expect(server.server.waitingTasks(now: later).long.map(\.reason.code) == [.noAgent])

        let delivered = Monitor(0)
        let agent = try await server.dial(.agent(cluster: "a", node: "n1")) { stream in
            delivered.withLock { $0 += 1 }
            try? await stream.finish(Acknowledgement())
        }
        let _: Acknowledgement = try await agent.call(Method.register, Fixture.registration())
        // One has come: at once, and once.
        for _ in 0..<2 { try await server.server.beginWhatIsDue(now: later.adding(.seconds(1))) }
        #expect(server.server.waitingTasks(now: later).long.isEmpty)
        let jobs = try await server.catalogue.jobs()
        #expect(jobs.map(\.kind) == ["backup"] && jobs.map(\.requestedBy) == ["schedule:p"])
        for _ in 0..<200 where delivered.withLock(\.self) == 0 { try await Task.sleep(for: .milliseconds(20)) }
        #expect(delivered.withLock(\.self) == 1)
        await server.stop()
    }

    /// One backup hangs, and the other cluster's is due: the status says so, shortly as a queue and then as what is wrong.
    @Test func whatWaitsForItsTurnIsTold() async throws {
        let server = try await TestServer(schedulePause: .seconds(3600))
        let root = try await server.operate()
        for name in ["a", "b"] {
            let _: ClusterRecord = try await root.call(ControlMethod.addCluster, NameRequest(name: name))
            let agent = try await server.dial(.agent(cluster: name, node: "n1")) { stream in
                try? await stream.finish(Acknowledgement())
            }
            let _: Acknowledgement = try await agent.call(Method.register, Fixture.registration())
        }
        var policy = FleetPolicy(name: "p")
        policy.schedule = "@every 1h"
        policy.parallel = 1
        let _: PolicyRecord = try await root.call(ControlMethod.setPolicy, policy)
        let later = Timestamp.now().adding(.seconds(3600))
        try await server.server.beginWhatIsDue(now: later)
        let jobs = try await server.catalogue.jobs()
        #expect(jobs.map(\.cluster) == ["a"])
        try await server.server.beginWhatIsDue(now: later.adding(.seconds(60)))
        let short = server.server.waitingTasks(now: later.adding(.seconds(3599)))
        #expect(short.long.isEmpty && short.short.map(\.cluster) == ["b"])
        #expect(short.short.first?.reason.message == "it waits for its turn: 1 of policy p is under way")
        let long = server.server.waitingTasks(now: later.adding(.seconds(3600)))
        #expect(long.short.isEmpty && long.long.map(\.policy) == ["p"])
        // The next run is due, of the one that hangs too.
        try await server.server.beginWhatIsDue(now: later.adding(.seconds(3600)))
        let all = server.server.waitingTasks(now: later.adding(.seconds(3600)))
        #expect(all.long.map(\.cluster) == ["b"] && all.short.map(\.cluster) == ["a"])
        #expect(all.short.first?.reason.message == "another job of the cluster is under way: \(jobs[0].id)")

        var status = try await root.call(ControlMethod.status, ListRequest(), as: FleetStatus.self)
        #expect(Set((status.queue ?? []).map(\.cluster)) == ["a", "b"])
        func concerns() -> [Concern] { Concern.all(status).filter { $0.kind == .taskWaiting } }
        #expect(concerns().isEmpty, "it has just begun to wait")
        status.waiting = all.long + [WaitingTask(cluster: "c", kind: "backup", due: later, reason: all.long[0].reason)]
        status.waiting?[1].policy = "p"
        #expect(concerns().map(\.key) == ["task-waiting|||backup of policy p"])
        #expect(concerns().first?.text.hasPrefix("2 backups of policy p (b, c), due since ") == true)
        await server.stop()
    }
}
