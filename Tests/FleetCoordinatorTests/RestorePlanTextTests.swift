import FleetProtocol
import FleetSystem
import Testing

@testable import FleetControl

@Suite("What people read of a restore before they say yes") struct RestorePlanTextTests {
    private func plan(
        _ node: String, id: String?, data: String = "/d", before: String = "dir: /d\n", phases: Bool = true
    ) -> RestorePlan {
        let steps: [(String, RestorePhase)] = [
            ("fetch", .prepare), ("stop-etcd", .stop), ("switch-files", .start), ("start-etcd", .start),
            ("verify", .verify), ("finish", .commit),
        ]
        return RestorePlan(
            cluster: "c", node: node, snapshot: "s", topology: .externalStaticPod, oldDataDir: data,
            newDataDir: data + "-new",
            oldWalDir: nil, newWalDir: nil, clusterToken: "t", initialCluster: "a=https://a:2380", memberID: id,
            clusterID: "cc", holdingDirectory: phases ? "/aside/\(node)" : nil,
            changes: [.init(path: "/f", before: before, after: "dir: /d-new\n")],
            steps: steps.map { .init(name: $0.0, description: "do it", phase: phases ? $0.1 : nil) })
    }

    @Test func aPlanFileSaysWhoseItIsAndHowToDoIt() throws {
        var job = JobRecord(
            id: "20261124-0655-x", cluster: "c", node: "a", kind: "restore", snapshot: "s", dryRun: true,
            state: .succeeded, requestedBy: "operator:alice", created: Timestamp("2026-11-24T06:55:00Z")!, started: nil,
            finished: nil, lastHeard: nil, outcome: nil, error: nil, attempts: [], events: [])
        job.outcome = JobOutcome(result: .succeeded, summary: "planned", plan: plan("a", id: "1"))
        let text = RestorePlanFile.text(["to        s"], job, command: "fleetctl restore c --at s")
        #expect(
            text.hasPrefix(
                """
                planned   2026-11-24T06:55:00.000Z by operator:alice, job 20261124-0655-x; nothing was changed
                to        s
                to do it  fleetctl restore c --at s

                plan for c on a (external-static-pod)
                """))
        let directory = try TemporaryDirectory()
        let path = directory.path + "/plan.txt"
        try RestorePlanFile.write(text, to: path)
        #expect(try FileSystem.readText(path) == text + "\n")
        #expect { try RestorePlanFile.check(path) } throws: { ($0 as? FleetError)?.code == .alreadyExists }
    }

    @Test func membersThatAreAlikeAreShownOnce() {
        let plans = [plan("a", id: "1"), plan("b", id: "2"), plan("c", id: nil, data: "/e", before: "dir: /e\n")]
        let text = RestorePlanText.lines(plans)
        #expect(
            text
                == """
                plan for c: 3 members, restored as one
                  All wait for each other at each '--'. What fails before the last of them takes all back.
                  members   a=https://a:2380
                  token     t
                            (token, ids and new directories are this plan's: the restore names them after itself)
                  new ids   cluster cc, a 1, b 2, c unknown

                on a, b (external-static-pod)
                  old data  /d
                  new data  /d-new
                  aside     /aside/a on a
                  aside     /aside/b on b
                  -- etcd serves, and nothing of it is touched
                  1. fetch: do it
                  -- when all have ended that: etcd is down from here
                  2. stop-etcd: do it
                  -- when etcd is off on all
                  3. switch-files: do it
                  4. start-etcd: do it
                  -- when etcd runs on all
                  5. verify: do it
                  -- when all are one cluster with the same data: from here nothing is taken back by itself
                  6. finish: do it

                on c (external-static-pod)
                  old data  /e
                  new data  /e-new
                  aside     /aside/c
                  -- etcd serves, and nothing of it is touched
                  1. fetch: do it
                  -- when all have ended that: etcd is down from here
                  2. stop-etcd: do it
                  -- when etcd is off on all
                  3. switch-files: do it
                  4. start-etcd: do it
                  -- when etcd runs on all
                  5. verify: do it
                  -- when all are one cluster with the same data: from here nothing is taken back by itself
                  6. finish: do it

                changes on a, b:
                --- /f
                +++ /f
                @@ -1,1 +1,1 @@
                -dir: /d
                +dir: /d-new

                changes on c:
                --- /f
                +++ /f
                @@ -1,1 +1,1 @@
                -dir: /e
                +dir: /d-new

                """.split(separator: "\n", omittingEmptySubsequences: false).map(String.init))
    }

    @Test func oneMemberAloneWaitsForNobody() {
        let text = RestorePlanText.lines([plan("a", id: "1", phases: false)])
        #expect(text.first == "plan for c on a (external-static-pod)")
        #expect(text.contains("  new ids   cluster cc, member 1"))
        #expect(!text.contains { $0.contains("--") && !$0.contains("/f") })
        #expect(!text.contains { $0.contains("aside") })
    }

    @Test func nothingIsPlanned() { #expect(RestorePlanText.lines([]).isEmpty) }
}
