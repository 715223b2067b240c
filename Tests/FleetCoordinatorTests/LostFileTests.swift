import FleetProtocol
import FleetRepository
import FleetSystem
import RepositoryTestFiles
import Testing

@testable import FleetCoordinator

/// Files of snapshots that are gone: the store alone can't tell that they ever were.
@Suite("Lost snapshot files", .timeLimit(.minutes(5)))
struct LostFileTests {
    private let server: TestServer
    private let connection: Connection

    /// s1, s2 and s3 are of the same cluster; s2 builds on s1, s3 on s2.
    init() async throws {
        server = try await TestServer()
        for (seed, id) in ["s1", "s2", "s3"].enumerated() {
            var sample = SampleSnapshot(id, pages: 40)
            sample.record.facts.savedAt = Timestamp("2026-11-24T0\(seed):00:00Z")!
            try server.server.vault.store.store(sample, key: id)
        }
        _ = try await server.server.vault.reconcile()
        connection = try await server.operate()
    }

    private func check(readData: Bool = true) async throws -> StoreCheckReply {
        try await connection.call(
            ControlMethod.checkStore, StoreCheckRequest(readData: readData), as: StoreCheckReply.self)
    }

    private func latest() async throws -> String {
        try await server.catalogue.findSnapshot("latest", cluster: "a").record.id
    }

    @Test(arguments: [false, true])
    func aLostFileIsAFindingAndIsNotChosen(_ readData: Bool) async throws {
        #expect(try await check(readData: readData).findings.isEmpty)
        let path = "/s/snapshots/s3"
        let bytes = server.files.bytes(path)
        try server.files.remove(path)
        for _ in 0..<2 {
            let reply = try await check(readData: readData)
            #expect(reply.findings.map(\.path) == [path] && reply.findings.map(\.snapshots) == [["s3"]])
            #expect(reply.findings.map(\.problem.code) == [.notFound])
            #expect(reply.snapshots == 2)
            #expect(try await server.catalogue.snapshot("s3").condition == .missing)
            #expect(try await latest() == "s2")
        }
        try server.files.writeDurably(path, bytes)
        #expect(try await check().recovered == ["s3"])
        #expect(try await latest() == "s3")
        await server.stop()
    }

    /// Those that build on it can't be read either; it is one file that has to be put back.
    @Test func aLostFileThatOthersBuildOnIsNamedOnce() async throws {
        try server.files.remove("/s/snapshots/s2")
        let reply = try await check()
        #expect(reply.findings.map(\.path) == ["/s/snapshots/s2"])
        #expect(reply.findings.map(\.snapshots) == [["s2", "s3"]])
        #expect(try await server.catalogue.snapshot("s2").condition == .missing)
        #expect(try await latest() == "s1")
        await server.stop()
    }

    /// Damaged before, gone now: what helps is another thing.
    @Test func aDamagedOneThatIsGoneIsMissing() async throws {
        let damage = FleetError(.snapshotDamaged, "test")
        try await server.catalogue.mark("s3", .damaged, damage, by: "test")
        try server.files.remove("/s/snapshots/s3")
        #expect(try await check().findings.count == 1)
        #expect(try await server.catalogue.snapshot("s3").condition == .missing)
        await server.stop()
    }

    @Test func whatIsBeingDeletedIsNoLoss() async throws {
        _ = try await server.catalogue.retire("s1", because: "test", by: "root")
        try server.server.vault.store.delete("s1")
        #expect(try await check().findings.isEmpty)
        #expect(Retirement.reason(of: try await server.catalogue.snapshot("s1")) == "test")
        await server.stop()
    }
}
