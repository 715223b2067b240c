import FleetCrypto
import FleetProtocol
import FleetSystem
import Glibc
import Testing

@testable import FleetAgent

@Suite struct JobTests {
    /// A coordinator that keeps what is uploaded in a directory.
    private struct Store: CoordinatorPort {
        var directory: String
        var failure: FleetError?
        var refusesConfiguration = false
        let told = Monitor<[SnapshotFacts]>([])

        func keep(_ configuration: @escaping ConfigurationSender.Collect) async throws(FleetError) {
            _ = try configuration()
            if refusesConfiguration { throw FleetError(.busy, "others are sending") }
        }
        func upload(job: String, snapshot: String, facts: SnapshotFacts, file: String) async throws(FleetError) {
            if let failure { throw failure }
            told.withLock { $0.append(facts) }
            let target = directory + "/" + snapshot
            try await onDisk { () throws(FleetError) in try FileSystem.copyDurably(file, to: target, mode: 0o600) }
        }
        func fetch(job: String, program: ProgramRecord, to path: String) async throws(FleetError) {
            throw FleetError(.notFound, "no such program")
        }
        func fetch(job: String, snapshot record: SnapshotRecord, to path: String) async throws(FleetError) {
            throw FleetError(.notFound, "no such snapshot")
        }
    }

    private struct Node {
        let tree: NodeTree
        let key: PrivateKey
        let gate: JobGate

        init() throws {
            tree = try NodeTree(["/store/x": ""])
            key = try PrivateKey.generateEd25519()
            gate = JobGate(node: "n1", cluster: "c1", key: try VerifyingKey(raw: try key.rawPublicKey()))
        }
        var paths: AgentPaths { AgentPaths(state: tree.root + "/state") }

        func runner(
            _ failure: FleetError? = nil, _ etcd: RealEtcd? = nil, port: Store? = nil,
            discovering: @escaping @Sendable () throws(FleetError) -> Void = {}
        ) -> JobRunner {
            let found = try? NodeTree(Layouts.kubespray).discover()
            let instance = etcd?.instance
            return JobRunner(
                paths: paths, gate: gate, port: port ?? Store(directory: tree.root + "/store", failure: failure),
                log: .silent,
                faults: .none
            ) { () throws(FleetError) in
                try discovering()
                guard var found, let instance else { throw FleetError(.noEtcd, "none", hint: "none") }
                found.instance = instance
                return found
            }
        }

        func envelope(
            _ id: String, counter: UInt64, node: String = "n1", expires: Timestamp = .now().adding(.seconds(3600)),
            snapshot: String = "s1", key other: PrivateKey? = nil
        ) throws -> Envelope {
            let job = Job(
                id: id, node: node, cluster: "c1", counter: counter, issued: .now(), expires: expires,
                operation: .backup(.init(snapshot: snapshot)))
            return try JobSigner(key: other ?? key).sign(job)
        }
    }

    private func refusal(_ runner: JobRunner, _ envelope: Envelope) async -> FleetError.Code? {
        do {
            try await runner.accept(envelope)
            return nil
        } catch { return error.code }
    }

    /// All events of a job up to its outcome, acknowledged one by one.
    private func outcome(_ runner: JobRunner, _ job: String) async throws -> (JobOutcome, [JobEvent]) {
        var events: [JobEvent] = []
        for _ in 0..<10_000 {
            guard let event = await runner.outbox.nextUnacknowledged() else {
                try await Task.sleep(for: .milliseconds(5))
                continue
            }
            try await runner.acknowledge(event.job, event.sequence)
            if event.job != job { continue }
            events.append(event)
            if let outcome = event.outcome { return (outcome, events) }
        }
        throw FleetError(.timedOut, "no outcome")
    }

    @Test func gateRefuses() async throws {
        let node = try Node()
        let runner = node.runner()
        #expect(await refusal(runner, try node.envelope("j", counter: 1, key: .generateEd25519())) == .badSignature)
        var changed = try node.envelope("j", counter: 1)
        changed.payload = try node.envelope("k", counter: 1).payload
        #expect(await refusal(runner, changed) == .badSignature)
        #expect(await refusal(runner, try node.envelope("j", counter: 1, node: "n2")) == .wrongNode)
        let past = Timestamp.now().adding(.seconds(-1))
        #expect(await refusal(runner, try node.envelope("j", counter: 1, expires: past)) == .expiredJob)
        #expect(await refusal(runner, try node.envelope("../j", counter: 1)) == .malformed)
        #expect(await refusal(runner, try node.envelope("j", counter: 1, snapshot: "../../x")) == .malformed)
        #expect(try await runner.lastCounter() == 0)
        #expect(!FileSystem.exists(node.paths.jobs + "/j"))
    }

    @Test func executesOnceAndRemembersIt() async throws {
        let node = try Node()
        let runner = node.runner()
        try await runner.start()
        #expect(await refusal(runner, try node.envelope("j1", counter: 5)) == nil)
        // Delivered again because its acknowledgement was lost: accepted, executed once.
        #expect(await refusal(runner, try node.envelope("j1", counter: 5)) == nil)
        let (result, events) = try await outcome(runner, "j1")
        #expect(result.result == .failed && result.error?.code == .noEtcd)
        #expect(events.map(\.sequence) == Array(1...events.count))
        #expect(events.map(\.kind) == [.accepted, .stepStarted, .stepFailed, .outcome])
        #expect(await refusal(runner, try node.envelope("j1", counter: 5)) == .replayedJob)
        // A new run of the agent knows the counter.
        #expect(await refusal(node.runner(), try node.envelope("j2", counter: 5)) == .replayedJob)
        #expect(try FileSystem.list(node.paths.jobs) == [])
    }

    /// A stalled network brings the job and its second copy at once: whatever comes of it, comes of both.
    @Test func copiesThatComeTogetherGetOneAnswer() async throws {
        let node = try Node()
        let runner = node.runner()
        #expect(await runner.acceptTogether(try node.envelope("j1", counter: 1), copies: 3) == [nil, nil, nil])
        let (_, events) = try await outcome(runner, "j1")
        #expect(events.map(\.kind) == [.accepted, .stepStarted, .stepFailed, .outcome])

        // No counter can be written there.
        let other = try Node()
        try FileSystem.makeDirectories(other.paths.counter)
        let codes = await other.runner().acceptTogether(try other.envelope("j1", counter: 1), copies: 2)
        #expect(codes[0] != nil && codes[0] != .busy)
        #expect(codes[1] == codes[0])
    }

    @Test func aCopyIsNotAcknowledgedBeforeTheJobIsOnTheDisk() async throws {
        let node = try Node()
        let runner = node.runner()
        try FileSystem.makeDirectories(node.paths.state)
        // Who reads the counter waits until somebody writes it.
        try #require(mkfifo(node.paths.counter, 0o600) == 0)
        let envelope = try node.envelope("j1", counter: 1)
        async let first = refusal(runner, envelope)
        let (path, isAnswered) = (node.paths.counter, Monitor(false))
        let counter = Monitor<Int32>(-1)
        try await onDisk { () throws(FleetError) in
            let writer = Glibc.open(path, O_WRONLY)
            counter.withLock { $0 = writer }
        }
        async let second = {
            let code = await refusal(runner, envelope)
            isAnswered.withLock { $0 = true }
            return code
        }()
        try await Task.sleep(for: .milliseconds(300))
        let isEarly = isAnswered.withLock { $0 }
        #expect(!isEarly)
        try FileSystem.remove(path)
        try FileSystem.writeDurably(path, "none".utf8)
        close(counter.withLock { $0 })
        #expect(await first == .malformed)
        #expect(await second == .malformed)
    }

    @Test func oneJobAtATime() async throws {
        let node = try Node()
        let runner = node.runner()
        let envelopes = try (1...20).map { try node.envelope("j\($0)", counter: UInt64($0)) }
        let codes = await withTaskGroup(of: FleetError.Code?.self) { group in
            for envelope in envelopes { group.addTask { await refusal(runner, envelope) } }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(codes.contains(nil))
        #expect(codes.allSatisfy { [nil, .busy, .replayedJob].contains($0) })
    }

    @Test func whatWasCutOffIsSaid() async throws {
        let node = try Node()
        try FileSystem.makeDirectories(node.paths.job("j1"))
        try FileSystem.writeDurably(node.paths.envelope("j1"), "x".utf8)
        try FileSystem.makeDirectories(node.paths.spool("j1"))
        let runner = node.runner()
        try await runner.start()
        #expect(await runner.activeJobs == ["j1"])
        #expect(try await outcome(runner, "j1").0.error?.code == .interrupted)
        #expect(try FileSystem.list(node.paths.spool) == [])
    }

    /// Events only tell of a job: a damaged file of theirs is kept aside, and neither the agent's start nor another job
    /// suffers from it.
    @Test func damagedEventsAreKeptAside() async throws {
        let node = try Node()
        do {
            let outbox = Outbox(paths: node.paths)
            for index in 1...3 { try await outbox.post("j1", .note, detail: "event \(index)") }
            try await outbox.post("j2", .accepted)
        }
        let path = node.paths.events("j1")
        let text = try FileSystem.readText(path)
        try FileSystem.writeDurably(path, text.replacing("event 2", with: "event 2 ").utf8)
        let runner = node.runner()
        try await runner.start()
        #expect(await runner.activeJobs == ["j1", "j2"])
        #expect(FileSystem.exists(path + ".damaged"))
        let (result, events) = try await outcome(runner, "j1")
        #expect(result.error?.code == .interrupted)
        #expect(events.compactMap(\.detail) == ["event 1", "event 3"])
        // No number is given twice: the coordinator would take the second for the first.
        #expect(events.last!.sequence > 4)
    }

    /// A disk that is full when a job ends: its outcome is written as soon as there is space, and the job counts as
    /// under way until then.
    @Test func anOutcomeIsWrittenWhenItCanBe() async throws {
        let node = try Node()
        let (state, filler) = (node.paths.state, node.paths.state + "/filler")
        try FileSystem.makeDirectories(state)
        guard mount("tmpfs", state, "tmpfs", 0, "size=256k,mode=0700") == 0 else {
            try Test.cancel("mounting a tmpfs is refused here (\(String(cString: strerror(errno))))")
        }
        defer { umount2(state, Int32(MNT_DETACH)) }
        let runner = node.runner { () throws(FleetError) in
            // All of the disk, page by page, and an outcome that is longer than what is left of its journal's last one.
            let file = try Descriptor.open(filler, O_WRONLY | O_CREAT)
            do throws(FleetError) { while true { try file.write([UInt8](repeating: 1, count: 4096)) } } catch {}
            throw FleetError(.noEtcd, String(repeating: "a", count: 3500), hint: String(repeating: "b", count: 3500))
        }
        try await runner.start()
        try await runner.accept(try node.envelope("j1", counter: 1))
        for _ in 0..<1000 where !FileSystem.exists(filler) { try await Task.sleep(for: .milliseconds(5)) }
        try await Task.sleep(for: .milliseconds(300))
        while let event = await runner.outbox.nextUnacknowledged() {
            #expect(event.outcome == nil)
            try? await runner.acknowledge("j1", event.sequence)
        }
        #expect(await runner.activeJobs == ["j1"])
        #expect(await refusal(runner, try node.envelope("j2", counter: 2)) == .busy)
        try FileSystem.remove(filler)
        #expect(try await outcome(runner, "j1").0.error?.code == .noEtcd)
    }

    @Test(.enabled(if: RealEtcd.isInstalled)) func backup() async throws {
        let node = try Node()
        let etcd = try RealEtcd()
        try etcd.put("a", "b")
        let runner = node.runner(nil, etcd)
        try await runner.accept(try node.envelope("j1", counter: 1, snapshot: "s1"))
        let (result, events) = try await outcome(runner, "j1")
        #expect(result.result == .succeeded, "\(String(describing: result.error))")
        #expect(events.compactMap(\.step) == ["preflight", "preflight", "save", "save", "stream", "stream"])
        _ = try SnapshotFile.check(node.tree.root + "/store/s1")
        let failing = node.runner(FleetError(.noSpace, "the store is full", hint: "add disks"), etcd)
        try await failing.accept(try node.envelope("j2", counter: 2, snapshot: "s2"))
        #expect(try await outcome(failing, "j2").0.error?.code == .noSpace)
        #expect(try FileSystem.list(node.paths.spool) == [])
        // Without the node's configuration it is a backup all the same, and says so.
        let port = Store(directory: node.tree.root + "/store", refusesConfiguration: true)
        let without = node.runner(nil, etcd, port: port)
        try await without.accept(try node.envelope("j3", counter: 3, snapshot: "s3"))
        let (third, _) = try await outcome(without, "j3")
        #expect(third.result == .succeeded && third.summary.contains("configuration could not be kept: others are"))
        let warnings = port.told.withLock { $0.first?.warnings ?? [] }
        #expect(warnings.contains { $0.contains("not of now: others are sending") })
    }
}

extension JobRunner {
    /// All copies wait for the actor before the first can begin, so none finds what another has come to.
    fileprivate func acceptTogether(_ envelope: Envelope, copies: Int) async -> [FleetError.Code?] {
        let tasks = (0..<copies).map { _ in
            Task { () -> FleetError.Code? in
                do throws(FleetError) { try await accept(envelope) } catch { return error.code }
                return nil
            }
        }
        var codes: [FleetError.Code?] = []
        for task in tasks { codes.append(await task.value) }
        return codes
    }
}
