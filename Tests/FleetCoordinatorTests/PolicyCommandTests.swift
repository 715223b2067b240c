import FleetCommandLine
import FleetProtocol
import FleetSystem
import Glibc
import Testing

@testable import FleetCoordinator

/// What `fleetctl policy` says before and behind a change.
@Suite("Commands about policies", .timeLimit(.minutes(5)))
struct PolicyCommandTests {
    private let server: TestServer
    private var catalogue: Catalogue { server.catalogue }

    /// Cluster a with three snapshots and b without; both follow nightly, a would follow rest.
    init() async throws {
        server = try await TestServer()
        for cluster in ["a", "b"] { _ = try await server.catalogue.addCluster(cluster, by: "root") }
        for day in 1...3 {
            try await server.catalogue.add(
                Fixture.record("s\(day)", job: "j\(day)", saved: "2026-11-2\(day)T06:00:00Z"), by: "root")
        }
        var nightly = FleetPolicy(name: "nightly")
        (nightly.schedule, nightly.objective) = ("30 2 * * *", 26 * 3600)
        var rest = FleetPolicy(name: "rest")
        (rest.clusters, rest.schedule, rest.retention) = (["a"], "@every 6h", RetentionPolicy(last: 1))
        _ = try await server.catalogue.applyPolicies(PolicySet(policies: [nightly, rest], dryRun: false), by: "root")
    }

    @Test func whatFollowsARemovalIsSaidBeforeIt() async throws {
        let rehearsal = await server.fleetctl("policy", "remove", "nightly", "--dry-run")
        #expect(rehearsal.status == .success)
        #expect(
            rehearsal.out == """
                b follows no policy then: nothing happens by itself
                a follows policy rest then; behind the next backups retention deletes 2 of the snapshots that there are now

                """)
        #expect(rehearsal.err.contains("nothing was changed"))
        #expect(try await catalogue.policies().map(\.policy.name) == ["nightly", "rest"])
        #expect(await server.fleetctl("policy", "remove", "none", "--yes").status == .failure)
        let last = await server.fleetctl("policy", "remove", "rest", "--dry-run")
        #expect(last.out == "rest is followed by no cluster\n")
        await server.stop()
    }

    /// Whoever can't be asked has not said yes.
    @Test(.enabled(if: isatty(0) == 0)) func aRemovalIsAskedFor() async throws {
        let asked = await server.fleetctl("policy", "remove", "nightly")
        #expect(asked.status == .declined && asked.out.isEmpty)
        #expect(asked.err.contains("retention deletes 2") && asked.err.contains("nothing was done"))
        #expect(try await catalogue.policies().count == 2)
        let done = await server.fleetctl("policy", "remove", "nightly", "--yes")
        #expect(done.status == .success && done.out == "nightly removed\n")
        #expect(try await catalogue.cluster("a").policy == "rest")
        await server.stop()
    }

    private func file(_ text: String) throws -> (TemporaryDirectory, path: String) {
        let directory = try TemporaryDirectory()
        try FileSystem.writeDurably(directory.path + "/p.yaml", text.utf8)
        return (directory, directory.path + "/p.yaml")
    }

    /// What a file would change, field by field and cluster by cluster.
    @Test func aRehearsalShowsWhatChanges() async throws {
        let (directory, path) = try file(
            """
            policies:
              - name: new
                clusters: [b]
                schedule: "@daily"
              - name: nightly
                labels: {env: nowhere}
                schedule: "30 4 * * *"
                objective: 26h
                windows: ["mon-fri 02:00-06:00"]
              - name: rest
                clusters: [a]
                schedule: "@every 6h"
                retention: {last: 1}
            """)
        let rehearsal = await server.fleetctl("policy", "apply", path, "--dry-run")
        #expect(
            rehearsal.out == """
                new  added
                  selects    b
                  backups    @daily (UTC)
                  at once    4; 3 attempts each
                  comes      b, from policy nightly
                nightly  changed
                  selects    every cluster -> env=nowhere
                  backups    30 2 * * * (UTC) -> 30 4 * * * (UTC)
                  window     none -> mon-fri 02:00-06:00 (UTC)
                  leaves     b, to policy new
                  leaves     a, to policy rest
                  policy nightly selects no cluster at present
                rest  unchanged; behind the next backups retention deletes 2 of the snapshots that there are now
                  comes      a, from policy nightly

                """)
        #expect(rehearsal.status == .success && rehearsal.err == "nothing was changed\n")
        let root = try await server.operate()
        let policies = try await catalogue.policies().map(\.policy)
        let gone: [PolicyChange] = try await root.call(
            ControlMethod.applyPolicies, PolicySet(policies: [], dryRun: true))
        #expect(gone.map(\.before) == policies && gone.allSatisfy { $0.after == nil && $0.comes == [] })
        #expect(
            gone.first?.leaves == ["a", "b"].map { PolicyMove(cluster: $0, from: "nightly", to: nil, deletes: 0) })
        withExtendedLifetime(directory) {}
        await server.stop()
    }

    @Test func aLineAPolicy() async throws {
        let list = await server.fleetctl("policy", "list")
        #expect(
            list.out == """
                POLICY   SELECTS        BACKUPS           OBJECTIVE  DRILLS  FOLLOWED BY
                nightly  every cluster  30 2 * * * (UTC)  1 d 2 h    -       a, b
                rest     a              @every 6h (UTC)   -          -       no cluster

                """)
        #expect(list.err.isEmpty)
        await server.stop()
    }

    @Test func whatALabelDidIsSaid() async throws {
        _ = try await catalogue.applyPolicies(PolicySet(policies: [], dryRun: false), by: "root")
        _ = try await catalogue.addCluster("c", by: "root")
        _ = await server.fleetctl("policy", "set", "prod", "--label", "env=prod", "--schedule", "@daily")
        let never = await server.fleetctl("cluster", "label", "c", "env=prdo")
        #expect(never.err == "c follows no policy: nothing happens by itself\n")
        #expect(await server.fleetctl("cluster", "label", "c", "env=prod").err == "c follows policy prod\n")
        let typo = await server.fleetctl("cluster", "label", "c", "env=prdo")
        #expect(typo.out == "c  env=prdo\n" && typo.err == "c follows no policy any more: nothing happens by itself\n")
        await server.stop()
    }

    /// It is taken, and said: a label may be mistyped, or its cluster come later.
    @Test func oneThatSelectsNoClusterIsTold() async throws {
        let set = await server.fleetctl("policy", "set", "lost", "--label", "env=prdo", "--schedule", "@daily")
        let nobody = "policy lost selects no cluster at present\n"
        #expect(set.status == .success && set.err == nobody && set.out.contains("env=prdo (no cluster at present)"))
        #expect(await server.fleetctl("policy", "list").err == nobody)
        let (directory, path) = try file("policies: [{name: lost, labels: {env: prdo}}]")
        let applied = await server.fleetctl("policy", "apply", path, "--yes")
        #expect(applied.out.contains("  " + nobody), "\(applied.out)")
        withExtendedLifetime(directory) {}
        _ = try await catalogue.label(LabelRequest(cluster: "b", set: ["env": "prdo"], remove: []), by: "root")
        #expect(await server.fleetctl("policy", "list").err.isEmpty)
        await server.stop()
    }

    /// Whoever has some clusters does not take what is not shown for nothing.
    @Test func whoMayNotSeeAllIsToldSo() async throws {
        let a = OperatorAccess(role: .viewer, clusters: ClusterSelector(clusters: ["a"]))
        let c = OperatorAccess(role: .viewer, clusters: ClusterSelector(labels: ["of": "nobody"]))
        let (alice, carol) = (try await server.login("alice", as: a), try await server.login("carol", as: c))
        let hers = await TestServer.fleetctl(["policy", "show"] + alice)
        #expect(hers.out.contains("followed   by a\n") && !hers.out.contains("by a, b"))
        #expect(hers.out.contains("policy     rest") && hers.err == "policies of others are not shown\n")
        let none = await TestServer.fleetctl(["policy", "show"] + carol)
        #expect(
            none.out.isEmpty && none.err == "no policy selects a cluster of yours; policies of others are not shown\n")
        let status = await TestServer.fleetctl(["status"] + alice)
        #expect(status.out.contains("audit ") && !status.out.contains("store "))
        #expect(await server.fleetctl("status").out.contains("store "))
        #expect(await server.fleetctl("policy", "show").err.isEmpty)
        await server.stop()
    }

    /// What a policy was is in the audit log behind its change, and behind its end.
    @Test func theAuditLogHasWhatItWas() async throws {
        let first = try await #require(catalogue.policies().first).policy
        var changed = first
        changed.objective = 3600
        _ = try await catalogue.setPolicy(changed, by: "root")
        _ = try await catalogue.removePolicy("nightly", by: "root")
        let events = try await catalogue.auditLog().map(\.event).filter { $0.subject == "nightly" }
        func policy(_ event: AuditEvent?, _ field: String) throws -> FleetPolicy? {
            try event?.detail[field].map { try JSON.decode(FleetPolicy.self, from: Array($0.utf8)) }
        }
        #expect(events.map(\.action) == ["policy.added", "policy.changed", "policy.removed"])
        #expect(try policy(events[1], "before") == first && policy(events[1], "policy") == changed)
        #expect(try policy(events[2], "before") == changed)
        await server.stop()
    }

    /// One that can't be read goes with the text that it had.
    @Test func whatCantBeReadIsKeptAsItWas() async throws {
        try await catalogue.script("UPDATE policies SET policy = '{' WHERE name = 'nightly'")
        let rehearsal = await server.fleetctl("policy", "remove", "nightly", "--dry-run")
        #expect(rehearsal.out.hasPrefix("a follows policy rest then; behind the next backups retention deletes 2 "))
        _ = try await catalogue.removePolicy("nightly", by: "root")
        #expect(try await catalogue.auditLog().last?.event.detail["before"] == "{")
        await server.stop()
    }
}
