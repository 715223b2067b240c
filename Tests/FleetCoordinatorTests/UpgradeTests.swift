import FleetCrypto
import FleetProtocol
import FleetSystem
import Testing

@testable import FleetCoordinator

/// A program as far as one can be told from its bytes.
private enum SampleProgram {
    static func bytes(_ version: String = "0.3.0", size: Int = 4000, machine: UInt8 = 62) -> [UInt8] {
        let header: [UInt8] =
            [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0] + [UInt8](repeating: 0, count: 8) + [3, 0, machine, 0]
        let mark = "etcd-backup-fleet program " + "fleet-agent \(version);"
        return header + [UInt8](repeating: 0, count: 44) + Array(mark.utf8) + [UInt8](repeating: 7, count: size)
    }

    static func record(_ version: String = "0.3.0", machine: UInt8 = 62) -> ProgramRecord {
        let bytes = bytes(version, machine: machine)
        return ProgramRecord(
            sha256: SHA256.hash(bytes).hex, size: Int64(bytes.count), version: version,
            architecture: machine == 62 ? "x86_64" : "aarch64")
    }
}

extension Fixture {
    fileprivate static func registration(
        program sha256: String?, active: [String] = [], counter: UInt64 = 0, architecture: String = "x86_64"
    ) -> RegisterRequest {
        var request = registration(active: active, counter: counter)
        request.program = sha256.map { RunningProgram(sha256: $0, architecture: architecture, isChosen: false) }
        return request
    }
}

/// The way of an upgrade on the coordinator.
@Suite("Upgrade course") struct UpgradeCourseTests {
    private let clock = TestClock()
    private let node = NodeName(cluster: "a", node: "n1")
    private let program = SampleProgram.record()
    private let old = String(repeating: "0", count: 64)

    private func fleet(_ running: String?) async throws -> Catalogue {
        let catalogue = try await Fixture.fleet(clock)
        _ = try await catalogue.registered(node, Fixture.registration(program: running), hasJustConnected: true)
        return catalogue
    }

    private func begin(_ catalogue: Catalogue, by actor: String = "root") async throws -> JobRecord {
        var agent = try #require(try await catalogue.agents(cluster: "a").first)
        agent.connected = true
        return try await catalogue.createUpgrade(to: program, on: agent, lifetime: .seconds(120), by: actor)
    }

    private func event(_ job: String, _ sequence: Int, _ result: JobOutcome.Result, _ error: FleetError? = nil)
        -> JobEvent
    {
        JobEvent(
            job: job, sequence: sequence, time: clock.now, kind: .outcome, error: error,
            outcome: JobOutcome(result: result, error: error, summary: "s"))
    }

    /// Delivered, restarted, back under the new program: only then, and only by that, has it succeeded.
    @Test func succeedsOnlyUnderTheNewProgram() async throws {
        let catalogue = try await fleet(old)
        let job = try await begin(catalogue)
        #expect(job.kind == "upgrade" && job.state == .queued)
        let message = try #require(try await catalogue.willSend(job.id).deliver)
        #expect(message.operation == .upgrade(.init(program: program)))
        try await catalogue.answered(job.id)
        // Away, and back with the new program; the job goes on.
        let back = Fixture.registration(program: program.sha256, active: [job.id], counter: message.counter)
        _ = try await catalogue.registered(node, back, hasJustConnected: true)
        #expect(try await catalogue.job(job.id).state == .running)
        _ = try await catalogue.receive(event(job.id, 1, .succeeded), from: node)
        #expect(try await catalogue.job(job.id).state == .succeeded)
        #expect(try await catalogue.agents(cluster: "a").first?.program?.sha256 == program.sha256)
    }

    @Test func anAgentsWordAloneIsNotEnough() async throws {
        let catalogue = try await fleet(old)
        let job = try await begin(catalogue)
        _ = try await catalogue.willSend(job.id)
        _ = try await catalogue.receive(event(job.id, 1, .succeeded), from: node)
        let ended = try await catalogue.job(job.id)
        #expect(ended.state == .failed && ended.error?.code == .otherProgram)
    }

    @Test func aFallbackIsAFailureWithItsReason() async throws {
        let catalogue = try await fleet(old)
        let job = try await begin(catalogue)
        _ = try await catalogue.willSend(job.id)
        let why = FleetError("upgrade-fell-back", "it did not reach the coordinator")
        var back = Fixture.registration(program: old, active: [job.id], counter: 1)
        back.program?.fallback = ProgramFallback(
            version: program.version, sha256: program.sha256, error: why, time: clock.now)
        _ = try await catalogue.registered(node, back, hasJustConnected: true)
        _ = try await catalogue.receive(event(job.id, 1, .failed, why), from: node)
        let ended = try await catalogue.job(job.id)
        #expect(ended.state == .failed && ended.error == why)
        #expect(try await catalogue.agents(cluster: "a").first?.program?.fallback?.error == why)
        // Another attempt may follow.
        _ = try await begin(catalogue)
    }

    /// Nobody waits for ever for an agent that does not come back, and its late word still counts.
    @Test func anAgentThatStaysAwayIsGivenUp() async throws {
        let catalogue = try await fleet(old)
        let job = try await begin(catalogue)
        _ = try await catalogue.willSend(job.id)
        try await catalogue.answered(job.id)
        clock.advance(.seconds(599))
        _ = try await catalogue.tick(connected: [])
        #expect(try await catalogue.job(job.id).state == .running)
        clock.advance(.seconds(1))
        _ = try await catalogue.tick(connected: [])
        let lost = try await catalogue.job(job.id)
        #expect(lost.state == .lost && lost.error?.hint?.contains("choice.json") == true)
        let back = Fixture.registration(program: program.sha256, active: [job.id], counter: 1)
        _ = try await catalogue.registered(node, back, hasJustConnected: true)
        _ = try await catalogue.receive(event(job.id, 1, .succeeded), from: node)
        #expect(try await catalogue.job(job.id).state == .succeeded)
    }

    /// One act at a time in a cluster, whichever came first.
    @Test func excludesEverythingElseInItsCluster() async throws {
        let catalogue = try await fleet(old)
        let job = try await begin(catalogue)
        #expect(
            await code {
                _ = try await catalogue.createBackup(cluster: "a", node: "n1", lifetime: .seconds(60), by: "root")
            } == .clusterBusy)
        _ = try await catalogue.willSend(job.id)
        _ = try await catalogue.receive(event(job.id, 1, .failed, FleetError("x", "x")), from: node)
        let backup = try await catalogue.createBackup(cluster: "a", node: "n1", lifetime: .seconds(60), by: "root")
        #expect(await code { _ = try await begin(catalogue) } == .clusterBusy)
        _ = try await catalogue.willSend(backup.id)
    }

    /// Bytes go only to whom a job of its own names them, as long as that is open.
    @Test func onlyTheJobsOwnNodeFetches() async throws {
        let catalogue = try await fleet(old)
        let job = try await begin(catalogue)
        let good = ProgramFetchRequest(job: job.id, sha256: program.sha256, offset: 0)
        try await catalogue.checkFetch(good, from: node)
        var other = good
        other.sha256 = old
        #expect(await code { try await catalogue.checkFetch(other, from: node) } == .notFound)
        #expect(
            await code { try await catalogue.checkFetch(good, from: NodeName(cluster: "b", node: "n1")) } == .notFound)
        #expect(try await catalogue.programsInUse() == [program.sha256])
        _ = try await catalogue.receive(event(job.id, 1, .failed, FleetError("x", "x")), from: node)
        #expect(await code { try await catalogue.checkFetch(good, from: node) } == .notFound)
        #expect(try await catalogue.programsInUse().isEmpty)
    }

    struct GuardRow: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var running: RunningProgram? = RunningProgram(sha256: "0", architecture: "x86_64", isChosen: false)
        var isConnected = true
        var isProtected = false
        var actor = "operator:eve"
        var expected: FleetError.Code?
    }

    @Test(arguments: [
        GuardRow(testDescription: "able"),
        GuardRow(testDescription: "away", isConnected: false, expected: .noAgent),
        GuardRow(testDescription: "of before upgrades", running: nil, expected: .notUpgradable),
        GuardRow(
            testDescription: "another processor",
            running: RunningProgram(sha256: "0", architecture: "aarch64", isChosen: false), expected: .notUpgradable),
        GuardRow(
            testDescription: "there already",
            running: RunningProgram(sha256: SampleProgram.record().sha256, architecture: "x86_64", isChosen: true),
            expected: .alreadyExists),
        GuardRow(testDescription: "protected, by one alone", isProtected: true, expected: .permissionDenied),
        GuardRow(testDescription: "protected, by root", isProtected: true, actor: "root"),
    ])
    func whoMayBeGivenIt(_ row: GuardRow) async {
        let agent = AgentRecord(
            cluster: "a", node: "n1", enrolled: clock.now, lastSeen: nil, connected: row.isConnected, version: "0.1.0",
            instance: nil, discoveryError: nil, certificate: nil, program: row.running)
        #expect(
            await code { try UpgradeGuard.check(agent, program, isProtected: row.isProtected, actor: row.actor) }
                == row.expected)
    }
}

/// Uploads, over a real connection.
@Suite("Program uploads", .timeLimit(.minutes(5))) struct ProgramUploadTests {
    private func upload(
        _ connection: Connection, _ bytes: [UInt8], announced: StreamDigest? = nil, end: StreamDigest? = nil
    ) async throws -> ProgramRecord {
        let digest = StreamDigest(length: Int64(bytes.count), sha256: SHA256.hash(bytes).hex)
        let stream = try await connection.open(ControlMethod.uploadProgram, try JSON.encode(announced ?? digest))
        let offset = try await stream.receiveMessage(UploadOffset.self).offset
        let rest = bytes.dropFirst(Int(offset))
        if !rest.isEmpty { try await stream.send(Array(rest)) }
        try await stream.finish(end ?? digest)
        return try JSON.decode(ProgramRecord.self, from: try await stream.receiveReply())
    }

    @Test func storedOnceAndAudited() async throws {
        let server = try await TestServer()
        let connection = try await server.operate()
        let bytes = SampleProgram.bytes()
        let record = try await upload(connection, bytes)
        #expect(record == SampleProgram.record())
        let again = try await upload(connection, bytes)
        #expect(again == record)
        let events = try await server.events("program.store")
        #expect(events.count == 1 && events[0].subject == record.sha256 && events[0].detail["version"] == "0.3.0")
        #expect(
            try FileSystem.list(server.programs) == [record.sha256, record.sha256 + ".json"],
            "no more than the program and what is known of it")
        await server.stop()
    }

    @Test func hostileUploadsLeaveNothing() async throws {
        let server = try await TestServer()
        let connection = try await server.operate()
        let bytes = SampleProgram.bytes()
        let good = StreamDigest(length: Int64(bytes.count), sha256: SHA256.hash(bytes).hex)
        func change(_ change: (inout StreamDigest) -> Void) -> StreamDigest {
            var digest = good
            change(&digest)
            return digest
        }
        let cases: [(String, [UInt8], StreamDigest?, StreamDigest?, FleetError.Code)] = [
            ("no size", bytes, change { $0.length = 0 }, nil, .malformed),
            ("negative", bytes, change { $0.length = -1 }, nil, .malformed),
            ("huge", bytes, change { $0.length = 1 << 40 }, nil, .malformed),
            ("a path", bytes, change { $0.sha256 = "../../../etc/passwd" }, nil, .malformed),
            ("upper case", bytes, change { $0.sha256 = $0.sha256.uppercased() }, nil, .malformed),
            ("more than announced", bytes + [1], good, nil, .malformed),
            ("less than announced", Array(bytes.dropLast()), good, nil, .programDamaged),
            ("other bytes", Array(bytes.dropLast()) + [1], good, good, .programDamaged),
            ("no program", Array("#!/bin/sh\n".utf8), nil, nil, .notAnAgent),
            ("another program", Array(bytes.prefix(64)) + [UInt8](repeating: 1, count: 99), nil, nil, .notAnAgent),
        ]
        for (name, bytes, announced, end, expected) in cases {
            #expect(
                await code { _ = try await upload(connection, bytes, announced: announced, end: end) } == expected,
                "\(name)")
            #expect(((try? FileSystem.list(server.programs)) ?? []).isEmpty, "\(name)")
        }
        // Every one of them is on record, and the next one that is good is taken.
        #expect(try await server.events(ControlMethod.uploadProgram).count == cases.count)
        #expect(try await upload(connection, bytes) == SampleProgram.record())
        await server.stop()
    }

    /// Who sends goes away in the middle: nothing of it stays, and the next is taken.
    @Test func aConnectionThatIsLostLeavesNothing() async throws {
        let server = try await TestServer()
        let bytes = SampleProgram.bytes(size: 300_000)
        let digest = StreamDigest(length: Int64(bytes.count), sha256: SHA256.hash(bytes).hex)
        let first = try await server.operate()
        let stream = try await first.open(ControlMethod.uploadProgram, try JSON.encode(digest))
        _ = try await stream.receiveMessage(UploadOffset.self)
        try await stream.send(Array(bytes.prefix(100_000)))
        let second = try await server.operate()
        #expect(await code { _ = try await upload(second, bytes) } == .busy, "one at a time")
        await first.close(FleetError("test", "gone"))
        var record: ProgramRecord?
        for _ in 0..<200 where record == nil {
            record = try? await upload(second, bytes)
            if record == nil { try await Task.sleep(for: .milliseconds(10)) }
        }
        #expect(record?.sha256 == digest.sha256)
        #expect(try FileSystem.list(server.programs) == [digest.sha256, digest.sha256 + ".json"])
        await server.stop()
    }

    @Test func onlyAnAdminOfAllClustersUploadsAndUpgrades() async throws {
        let server = try await TestServer()
        _ = try await server.catalogue.addCluster("a", by: "root")
        var some = ClusterSelector()
        some.clusters = ["a"]
        for (name, access) in [
            ("rita", OperatorAccess(role: .restorer)), ("adam", OperatorAccess(role: .admin, clusters: some)),
        ] {
            let connection = try await server.dial(.operator(name: name), as: access)
            #expect(await code { _ = try await upload(connection, SampleProgram.bytes()) } == .permissionDenied)
            let request = UpgradeRequest(cluster: "a", node: "n1", sha256: SampleProgram.record().sha256)
            #expect(
                await code { _ = try await connection.call(ControlMethod.upgradeAgent, request, as: JobRecord.self) }
                    == .permissionDenied)
        }
        await server.stop()
    }

    /// From the upload to the end: the job is signed for the node, the bytes go where it says, from wherever they are asked for,
    /// and it has succeeded when the agent is back with them.
    @Test func fromTheUploadToTheEnd() async throws {
        let server = try await TestServer()
        _ = try await server.catalogue.addCluster("a", by: "root")
        let delivered = Monitor<Envelope?>(nil)
        let agent = try await server.dial(.agent(cluster: "a", node: "n1")) { stream in
            guard let request = try? JSON.decode(DeliverRequest.self, from: stream.request) else { return }
            delivered.withLock { $0 = request.envelope }
            try? await stream.finish(Acknowledgement())
        }
        func register(_ sha256: String, active: [String]) async throws {
            let request = Fixture.registration(program: sha256, active: active, counter: 1)
            _ = try await agent.call(Method.register, request, as: Acknowledgement.self)
        }
        try await register(String(repeating: "0", count: 64), active: [])
        let connection = try await server.operate()
        let bytes = SampleProgram.bytes(size: 700_000)
        let program = try await upload(connection, bytes)
        let request = UpgradeRequest(cluster: "a", node: "n1", sha256: program.sha256)
        let job = try await connection.call(ControlMethod.upgradeAgent, request, as: JobRecord.self)
        #expect(
            await code { _ = try await connection.call(ControlMethod.upgradeAgent, request, as: JobRecord.self) }
                == .clusterBusy)
        let refusals = try await server.events(ControlMethod.upgradeAgent)
        #expect(refusals.isEmpty, "who waits asks every few seconds")

        var envelope: Envelope?
        for _ in 0..<500 where envelope == nil {
            try await Task.sleep(for: .milliseconds(10))
            envelope = delivered.withLock(\.self)
        }
        let key = try VerifyingKey(raw: try #require([UInt8](base64: server.server.keys.jobKey)))
        let signed = try #require(envelope).job(verifiedBy: key)
        #expect(signed.id == job.id && signed.operation == .upgrade(.init(program: program)))

        for offset in [0, 1, 300_000, bytes.count] {
            let fetch = ProgramFetchRequest(job: job.id, sha256: program.sha256, offset: Int64(offset))
            let stream = try await agent.open(Method.fetchProgram, try JSON.encode(fetch), ends: true)
            var got: [UInt8] = []
            receiving: while true {
                switch try await stream.receive() {
                case .data(let piece): got += piece
                case .message: Issue.record("a message")
                case .end(let body):
                    let digest = try JSON.decode(StreamDigest.self, from: body)
                    #expect(digest == StreamDigest(length: program.size, sha256: program.sha256))
                    break receiving
                }
            }
            #expect(got == Array(bytes.dropFirst(offset)), "from \(offset)")
        }
        // What rots on the coordinator's disk is not said to be what was signed.
        var rotten = bytes
        rotten[500_000] ^= 1
        try FileSystem.writeDurably("\(server.programs)/\(program.sha256)", rotten)
        let fetch = ProgramFetchRequest(job: job.id, sha256: program.sha256, offset: 0)
        #expect(
            await code {
                let stream = try await agent.open(Method.fetchProgram, try JSON.encode(fetch), ends: true)
                while true { if case .end = try await stream.receive() { break } }
            } == .programDamaged)
        #expect(try FileSystem.list(server.programs).isEmpty)

        try await register(program.sha256, active: [job.id])
        let outcome = JobEvent(
            job: job.id, sequence: 1, time: .now(), kind: .outcome,
            outcome: JobOutcome(result: .succeeded, summary: "s"))
        _ = try await agent.call(Method.event, outcome, as: Acknowledgement.self)
        #expect(try await server.catalogue.job(job.id).state == .succeeded)
        await server.stop()
    }

    /// The oldest go, but never one that an agent is about to fetch.
    @Test func fewAreKept() throws {
        let directory = try TemporaryDirectory()
        let store = ProgramStore(directory: directory.path)
        var records: [ProgramRecord] = []
        for number in 0..<7 {
            let bytes = SampleProgram.bytes("0.\(number).0")
            let digest = StreamDigest(length: Int64(bytes.count), sha256: SHA256.hash(bytes).hex)
            let upload = try store.begin(digest)
            try upload.take(bytes)
            records.append(try store.finish(upload, digest, keeping: records.isEmpty ? [] : [records[0].sha256]))
            store.end()
        }
        let there = try records.map { try store.record($0.sha256) != nil }
        #expect(there[0] && there[6] && there.count(where: \.self) <= ProgramStore.kept)
        // What was cut, or lost its other half, is not there, and makes room for itself.
        try FileSystem.remove("\(directory.path)/\(records[0].sha256).json")
        #expect(try store.record(records[0].sha256) == nil)
        try FileSystem.writeDurably("\(directory.path)/\(records[6].sha256)", "x".utf8)
        #expect(try store.record(records[6].sha256) == nil)
        // Halves, and what a crash has left of an upload, go with the next.
        let lost = String(repeating: "e", count: 64)
        for name in [lost + ".json", lost + ".part-abcdef", lost + ".json.part-abcdef"] {
            try FileSystem.writeDurably("\(directory.path)/\(name)", "x".utf8)
        }
        let bytes = SampleProgram.bytes("0.8.0")
        let digest = StreamDigest(length: Int64(bytes.count), sha256: SHA256.hash(bytes).hex)
        let upload = try store.begin(digest)
        try upload.take(bytes)
        _ = try store.finish(upload, digest, keeping: [])
        store.end()
        let names = try FileSystem.list(directory.path)
        #expect(!names.contains { $0.hasPrefix(lost) || $0 == records[0].sha256 }, "\(names)")
        #expect(names.contains(digest.sha256) && names.contains(digest.sha256 + ".json"))
    }

    /// Bytes that rot in the coordinator's directory are found when they leave, and do not stay.
    @Test func rottenBytesAreFound() throws {
        let directory = try TemporaryDirectory()
        let store = ProgramStore(directory: directory.path)
        let bytes = SampleProgram.bytes()
        let digest = StreamDigest(length: Int64(bytes.count), sha256: SHA256.hash(bytes).hex)
        let upload = try store.begin(digest)
        try upload.take(bytes)
        _ = try store.finish(upload, digest, keeping: [])
        store.end()
        let half = try store.open(digest.sha256, from: 1000).file
        while !(try half.read(1000)).isEmpty {}
        #expect(half.digest == digest.sha256, "what was sent before counts too")
        #expect(throws: FleetError.self) { try store.open(digest.sha256, from: 1 << 20) }
        #expect(throws: FleetError.self) { try store.open(digest.sha256, from: -1) }
        store.discard(digest.sha256)
        #expect(try store.record(digest.sha256) == nil && FileSystem.list(directory.path).isEmpty)
    }
}
