import FleetCommandLine
import FleetProtocol
import FleetSystem
import Testing

@testable import FleetCoordinator

@Suite("Command of the audit log", .timeLimit(.minutes(5))) struct AuditLogCommandTests {
    @Test func onlyWhatHappenedSince() async throws {
        let server = try await TestServer()
        _ = try await server.catalogue.addCluster("early", by: "root")
        try await Task.sleep(for: .milliseconds(20))
        let between = Timestamp.now()
        try await Task.sleep(for: .milliseconds(20))
        _ = try await server.catalogue.addCluster("late", by: "root")
        let later = await server.fleetctl("audit", "log", "--since", between.description)
        #expect(later.status == .success && later.out.contains("late") && !later.out.contains("early"))
        let all = await server.fleetctl("audit", "log", "--since", "2d")
        #expect(all.out.contains("late") && all.out.contains("early") && all.err.isEmpty)
        let cut = await server.fleetctl("audit", "log", "--since", "2d", "--limit", "1")
        #expect(!cut.out.contains("early") && cut.err.contains("only the newest 1 are shown"))
        #expect(await server.fleetctl("audit", "log", "--since", "yesterday").status == .usage)
        // The coordinator itself gives no more than was asked for.
        let root = try await server.operate()
        let records: [AuditRecord] = try await root.call(ControlMethod.auditLog, ListRequest(since: between))
        #expect(records.map(\.event.cluster) == ["late"])
        await server.stop()
    }
}
