import FleetProtocol
import FleetSystem
import RepositoryTestFiles
import Testing

@testable import FleetCoordinator

/// What an enrolled agent says is foreign input all the same.
@Suite("Hostile input")
struct HostileInputTests {
    private let node = NodeName(cluster: "a", node: "n1")

    private static let oddFacts: [@Sendable (inout SnapshotFacts) -> Void] = [
        { $0.size = .max }, { $0.size = 0 }, { $0.size = -1 }, { $0.size = (64 << 30) + 1 },
        { $0.status.totalSize = (64 << 30) + 1 },
        { $0.status.totalSize = .max }, { $0.status.totalSize = -1 }, { $0.status.revision = -1 },
        { $0.status.totalKey = -1 }, { $0.liveKeys = -1 },
        { $0.clusterID = String(repeating: "a", count: 200) }, { $0.clusterID = "" }, { $0.clusterID = "../x" },
        { $0.memberID = "X" }, { $0.etcdVersion = String(repeating: "3", count: 200) },
        { $0.warnings = [String(repeating: "x", count: 200_000)] },
    ]

    @Test(arguments: 0..<oddFacts.count)
    func factsThatNoSnapshotHasAreRefused(_ index: Int) async throws {
        let catalogue = try await Fixture.fleet()
        let vault = Vault(store: try RepositoryStore.test("/s", files: PowerCutFiles()), catalogue: catalogue)
        let job = try await catalogue.createBackup(cluster: "a", node: "n1", lifetime: .seconds(600), by: "root")
        var facts = Fixture.facts()
        Self.oddFacts[index](&facts)
        let request = UploadRequest(job: job.id, snapshot: job.snapshot, facts: facts)
        #expect(await code { _ = try await vault.begin(request, from: node) } == .malformed)
        #expect(try vault.store.incoming().isEmpty)
    }

    @Test func lengthsAtTheEndsOfTheirRangeAreFindings() {
        var record = Fixture.record("s1")
        record.facts.status.totalSize = .max
        for length in [Int64.min, .max] {
            record.size = length
            #expect(!SnapshotShape.findings(SnapshotHasher().result(), of: record).isEmpty)
        }
    }

    @Test(arguments: [UInt64(1) << 62 + 1, UInt64(Int64.max), .max])
    func aCounterWithoutRoomAboveItIsRefused(_ counter: UInt64) async throws {
        let catalogue = try await Fixture.fleet()
        let request = Fixture.registration(counter: counter)
        #expect(await code { _ = try await catalogue.registered(node, request, hasJustConnected: true) } == .malformed)
        let job = try await catalogue.createBackup(cluster: "a", node: "n1", lifetime: .seconds(600), by: "root")
        #expect(try await catalogue.message(job.id).counter == 1)
    }

    @Test func theEventsOfAJobAreBounded() async throws {
        let catalogue = try await Fixture.fleet()
        let job = try await catalogue.createBackup(cluster: "a", node: "n1", lifetime: .seconds(600), by: "root")
        func send(_ sequence: Int, _ kind: JobEvent.Kind = .note, bytes: Int = 1) async -> FleetError.Code? {
            await code {
                _ = try await catalogue.receive(
                    JobEvent(
                        job: job.id, sequence: sequence, time: job.created, kind: kind,
                        detail: String(repeating: "x", count: bytes)), from: node)
            }
        }
        #expect(await send(1) == nil)
        #expect(await send(10_000) == nil)
        #expect(await send(10_001) == .malformed)
        #expect(await send(2, bytes: 70_000) == .malformed)
        // A plan with the files that it changes may be long; there is only one.
        #expect(await send(3, .outcome, bytes: 200_000) == nil)
        #expect(await send(4, .outcome, bytes: 1 << 20) == .malformed)
        // What a decision or an end waits for is taken behind however many others.
        #expect(await send(10_002, .held) == nil)
        for sequence in 10..<500 where await send(sequence, bytes: 60_000) != nil {
            #expect(sequence > 100)
            #expect(await send(10_003, .outcome, bytes: 200_000) == nil)
            for more in 10_004..<10_100 where await send(more, .outcome, bytes: 200_000) != nil { return }
            break
        }
        Issue.record("the events of one job take as much as they like")
    }

    @Test func errorsRepeatLittleOfWhatTheyRefuse() async throws {
        let catalogue = try await Fixture.fleet()
        let long = String(repeating: "x", count: 10_000)
        let store = try RepositoryStore.test("/s", files: PowerCutFiles())
        let job = try await catalogue.createBackup(cluster: "a", node: "n1", lifetime: .seconds(600), by: "root")
        func size(_ body: () async throws -> Void) async -> Int {
            do { try await body() } catch { return FleetError(error).message.utf8.count }
            return .max
        }
        let request = UploadRequest(job: job.id, snapshot: long, facts: Fixture.facts())
        #expect(await size { try await catalogue.checkUpload(request, from: node) } < 300)
        #expect(await size { try await catalogue.checkOwner(long, node) } < 300)
        #expect(await size { _ = try await catalogue.job(long) } < 300)
        #expect(await size { _ = try await catalogue.snapshot(long) } < 300)
        #expect(await size { _ = try await catalogue.cluster(long) } < 300)
        #expect(await size { _ = try await catalogue.addCluster(long, by: "root") } < 300)
        #expect(await size { _ = try SnapshotChoice(long) } < 300)
        #expect(await size { _ = try store.open(long) } < 300)
        for finding in SnapshotShape.findings(SnapshotHasher().result(), length: 0, sha256: long) {
            #expect(finding.message.utf8.count < 300)
        }
        var agent = try #require(try await catalogue.agents(cluster: "a").first)
        (agent.connected, agent.instance, agent.discoveryError) = (true, nil, FleetError(.notFound, long))
        let agents = [agent]
        #expect(await size { _ = try AgentChoice.choose(agents, cluster: "a") } < 500)
        let event = try #require(try await catalogue.auditLog().last?.event)
        #expect(event.action == "cluster.add")
        #expect((event.cluster?.utf8.count ?? 0) <= 100)
    }
}
