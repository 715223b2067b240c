import FleetCommandLine
import FleetProtocol
import FleetSystem
import Testing

@testable import FleetCoordinator

/// What `fleetctl restore approve` says to whoever planned the restore, and to others.
@Suite("Command of approval", .timeLimit(.minutes(5))) struct ApproveCommandTests {
    @Test func whoPlannedItIsToldWhatTheirApprovalIsWorth() async throws {
        let server = try await TestServer()
        let catalogue = server.catalogue
        _ = try await catalogue.addCluster("a", by: "root")
        try await Fixture.enrol(catalogue, cluster: "a", node: "n1")
        _ = try await catalogue.registered(
            NodeName(cluster: "a", node: "n1"), Fixture.registration(), hasJustConnected: true)
        try await catalogue.add(Fixture.record("s1"), by: "agent")
        let job = try await catalogue.createRestore(
            RestoreOrder(snapshot: "s1", dryRun: true, safetyNode: "n1", bumpsRevisions: true), cluster: "a",
            node: "n1",
            lifetime: .seconds(600), by: "operator:alice")
        let plan = RestorePlan(
            cluster: "a", node: "n1", snapshot: "s1", topology: .stacked, oldDataDir: "/var/lib/etcd",
            newDataDir: "/n", oldWalDir: nil, newWalDir: nil, clusterToken: "t", clusterID: "beef", changes: [],
            steps: [])
        _ = try await catalogue.receive(
            JobEvent(
                job: job.id, sequence: 1, time: .now(), kind: .outcome,
                outcome: JobOutcome(result: .succeeded, summary: "planned", plan: plan)),
            from: NodeName(cluster: "a", node: "n1"))

        let (alice, bob) = (try await server.login("alice"), try await server.login("bob"))
        let own = await TestServer.fleetctl(["restore", "approve", job.id, "--yes"] + alice)
        #expect(own.status == .success, "\(own.err)")
        #expect(own.err.contains("CAUTION   you planned this yourself"))
        #expect(own.out.contains("which you planned yourself; another operator than you can begin it until"))
        let others = await TestServer.fleetctl(["restore", "approve", job.id, "--yes"] + bob)
        #expect(others.status == .success && !others.err.contains("you planned this"), "\(others.err)")
        #expect(others.out.contains("of a; another operator than you can begin it"))
        await server.stop()
    }
}
