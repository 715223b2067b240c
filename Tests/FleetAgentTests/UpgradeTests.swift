import FleetCrypto
import FleetProtocol
import FleetSystem
import Testing

@testable import FleetAgent

/// What the agent makes of an upgrade job, and of one that its own end has interrupted.
@Suite struct UpgradeTests {
    /// A coordinator that sends these bytes, whatever is asked for.
    private struct Sender: CoordinatorPort {
        var bytes: [UInt8] = []
        func upload(job: String, snapshot: String, facts: SnapshotFacts, file: String) async {}
        func fetch(job: String, snapshot: SnapshotRecord, to path: String) async {}
        func fetch(job: String, program: ProgramRecord, to path: String) async throws(FleetError) {
            let bytes = self.bytes
            try await onDisk { () throws(FleetError) in try FileSystem.writeDurably(path, bytes) }
        }
    }

    private let tree: NodeTree
    private let key: PrivateKey
    private let restarts = Monitor(0)
    private var paths: AgentPaths { AgentPaths(state: tree.root + "/state") }
    private var files: ProgramFiles { paths.ownPrograms }
    private let installed = ProgramChoice.Installed(version: "0.1.0", sha256: String(repeating: "0", count: 64))

    init() throws {
        tree = try NodeTree(["/state/x": ""])
        key = try PrivateKey.generateEd25519()
    }

    /// As the file of an agent begins, and no more.
    private func bytes(_ version: String, machine: UInt8 = 62) -> [UInt8] {
        [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0] + [UInt8](repeating: 0, count: 8) + [3, 0, machine, 0]
            + [UInt8](repeating: 0, count: 44) + Array(("etcd-backup-fleet program " + "fleet-agent \(version);").utf8)
    }
    private func record(_ bytes: [UInt8], _ version: String, _ architecture: String = "x86_64") -> ProgramRecord {
        ProgramRecord(
            sha256: SHA256.hash(bytes).hex, size: Int64(bytes.count), version: version, architecture: architecture)
    }

    private func own(
        _ choice: ProgramChoice = ProgramChoice(), running: String? = nil, isUnwritten: Bool = false,
        probation: Duration = .zero, unit: [String: String] = ["MainPID": "7", "Restart": "always"]
    ) -> OwnProgram {
        let restarts = self.restarts
        return OwnProgram(
            files: files, installed: installed,
            running: RunningProgram(
                sha256: running ?? installed.sha256, architecture: "x86_64", isChosen: running != nil),
            choice: choice, isUnwritten: isUnwritten, log: .silent, probation: probation,
            checkRestart: { () throws(FleetError) in try OwnUnit.check("fleet-agent.service", unit, pid: 7) },
            restart: { restarts.withLock { $0 += 1 } })
    }

    private func runner(_ own: OwnProgram?, _ bytes: [UInt8] = []) throws -> JobRunner {
        let gate = JobGate(node: "n1", cluster: "c1", key: try VerifyingKey(raw: try key.rawPublicKey()))
        return JobRunner(
            paths: paths, gate: gate, port: Sender(bytes: bytes), log: .silent, faults: .none, program: own)
    }

    private func envelope(_ id: String, counter: UInt64, _ program: ProgramRecord) throws -> Envelope {
        try JobSigner(key: key).sign(
            Job(
                id: id, node: "n1", cluster: "c1", counter: counter, issued: .now(),
                expires: .now().adding(.seconds(60)),
                operation: .upgrade(.init(program: program))))
    }

    private func outcome(_ runner: JobRunner, _ job: String) async throws -> JobOutcome {
        for _ in 0..<4000 {
            guard let event = await runner.outbox.nextUnacknowledged() else {
                try await Task.sleep(for: .milliseconds(5))
                continue
            }
            try await runner.acknowledge(event.job, event.sequence)
            if event.job == job, let outcome = event.outcome { return outcome }
        }
        throw FleetError(.timedOut, "no outcome")
    }

    /// Before anything was chosen nothing has changed, whatever was wrong.
    @Test func whatIsNoGoodIsNotChosen() async throws {
        let good = bytes("0.2.0")
        let cases: [(String, OwnProgram?, ProgramRecord, [UInt8], JobOutcome.Result, FleetError.Code)] = [
            ("an agent that can't", nil, record(good, "0.2.0"), good, .refused, .refusedHere),
            (
                "nobody starts it again", own(unit: ["MainPID": "7", "Restart": "on-failure"]), record(good, "0.2.0"),
                good, .refused, .refusedHere
            ),
            (
                "started by hand", own(unit: ["MainPID": "0", "Restart": "always"]), record(good, "0.2.0"), good,
                .refused, .refusedHere
            ),
            ("another processor", own(), record(good, "0.2.0", "aarch64"), good, .refused, .refusedHere),
            ("older than the installed one", own(), record(bytes("0.0.9"), "0.0.9"), good, .refused, .refusedHere),
            ("other bytes", own(), record(good, "0.2.0"), good + [1], .failed, .programDamaged),
            ("another version", own(), record(good, "0.3.0"), good, .failed, .programDamaged),
            ("no program", own(), record(Array("x".utf8), "0.2.0"), Array("x".utf8), .failed, .notAnAgent),
            ("one that does not start", own(), record(good, "0.2.0"), good, .failed, .programUnusable),
        ]
        for (index, (name, own, program, sent, result, code)) in cases.enumerated() {
            let runner = try runner(own, sent)
            try await runner.start()
            try await runner.accept(try envelope("j\(index)", counter: UInt64(index + 1), program))
            let outcome = try await outcome(runner, "j\(index)")
            #expect(outcome.result == result && outcome.error?.code == code, "\(name): \(outcome)")
            #expect(!FileSystem.exists(files.choice) && !FileSystem.exists(files.directory(program.sha256)), "\(name)")
        }
        #expect(restarts.withLock { $0 } == 0)
    }

    /// A job in the midst of which the agent ended, as it finds it at its next start.
    private func interrupted(_ program: ProgramRecord) async throws {
        try FileSystem.makeDirectories(paths.job("j1"))
        try FileSystem.writeDurably(paths.envelope("j1"), try JSON.encode(try envelope("j1", counter: 1, program)))
        let outbox = Outbox(paths: paths)
        try await outbox.post("j1", .accepted)
    }

    private func choice(_ program: ProgramRecord, trial: Bool) throws -> ProgramChoice {
        ProgramChoice(
            chosen: .init(
                job: "j1", record: program, envelope: try envelope("j1", counter: 1, program),
                installed: installed.sha256), trial: trial ? .init() : nil, starts: 1, installed: installed)
    }

    @Test func oneThatWasCutOffBeforeItsChoiceHasFailed() async throws {
        let program = record(bytes("0.2.0"), "0.2.0")
        try await interrupted(program)
        let runner = try runner(own())
        try await runner.start()
        let outcome = try await outcome(runner, "j1")
        #expect(outcome.result == .failed && outcome.error?.code == .interrupted)
    }

    @Test func theFormerProgramTellsWhyItIsBack() async throws {
        let program = record(bytes("0.2.0"), "0.2.0")
        try await interrupted(program)
        var choice = try choice(program, trial: true)
        let why = FleetError(.upgradeFellBack, "it ended")
        choice.giveUp(why, installed, at: .now())
        let own = own(choice)
        #expect(own.told.fallback?.version == "0.2.0" && own.told.fallback?.error == why)
        let runner = try runner(own)
        try await runner.start()
        let outcome = try await outcome(runner, "j1")
        #expect(outcome.result == .failed && outcome.error == why)
    }

    /// Not before the coordinator has taken its registration, and not before that is on the disk. Until then the node is busy.
    @Test(arguments: [true, false]) func theNewProgramHasSucceededWhenItIsRegistered(_ isOnTrial: Bool) async throws {
        let program = record(bytes("0.2.0"), "0.2.0")
        try await interrupted(program)
        let choice = try choice(program, trial: isOnTrial)
        try files.write(choice)
        // What is not kept any more goes then.
        let old = files.directory(String(repeating: "e", count: 64))
        try FileSystem.makeDirectories(old)
        let own = own(choice, running: program.sha256)
        #expect(own.isOnTrial == isOnTrial)
        let runner = try runner(own)
        try await runner.start()
        #expect(await runner.activeJobs == ["j1"])
        let another = try envelope("j2", counter: 2, program)
        do throws(FleetError) {
            try await runner.accept(another)
            Issue.record("accepted")
        } catch { #expect(error.code == .busy) }
        let told = await runner.outbox.nextUnacknowledged()
        #expect(told?.kind == .accepted, "no word of an end")
        await runner.registered()
        let outcome = try await outcome(runner, "j1")
        #expect(outcome.result == .succeeded && !own.isOnTrial)
        let written = try files.read()
        // Of one that is proven a registration is no news: it may crash behind it, again and again.
        #expect(written.trial == nil && written.starts == (isOnTrial ? 0 : 1) && written.chosen == choice.chosen)
        #expect(FileSystem.exists(old) == !isOnTrial)
        #expect(await runner.activeJobs.isEmpty)
    }

    /// One that registers and then loses the connection, or crashes, is no proof.
    @Test func aRegistrationAloneProvesNothing() async throws {
        let program = record(bytes("0.2.0"), "0.2.0")
        try await interrupted(program)
        let choice = try choice(program, trial: true)
        try files.write(choice)
        let own = own(choice, running: program.sha256, probation: .seconds(60))
        let runner = try runner(own)
        try await runner.start()
        let connection = Task { await runner.registered() }
        try await Task.sleep(for: .milliseconds(50))
        #expect(try files.read() == choice && own.isOnTrial)
        connection.cancel()
        await connection.value
        #expect(try files.read() == choice && own.isOnTrial)
        #expect(await runner.outbox.nextUnacknowledged()?.kind == .accepted, "no word of an end")
        #expect(await runner.activeJobs == ["j1"])
    }

    /// The connection is lost before the success is written down: it is told all the same.
    @Test func aSuccessOutlivesItsConnection() async throws {
        let program = record(bytes("0.2.0"), "0.2.0")
        try await interrupted(program)
        let choice = try choice(program, trial: false)
        let runner = try runner(own(choice, running: program.sha256))
        try await runner.start()
        let connection = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            await runner.registered()
        }
        await connection.value
        #expect(try await outcome(runner, "j1").result == .succeeded)
        #expect(await runner.activeJobs.isEmpty)
    }

    /// Whatever became of its job: what may be gone in a minute takes none.
    @Test func aTrialTakesNoJobs() async throws {
        let program = record(bytes("0.2.0"), "0.2.0")
        let runner = try runner(own(try choice(program, trial: true), running: program.sha256))
        try await runner.start()
        let job = try envelope("j2", counter: 2, program)
        do throws(FleetError) {
            try await runner.accept(job)
            Issue.record("accepted")
        } catch { #expect(error.code == .busy) }
    }

    /// A failure is told when it can't become anything else any more.
    @Test func aTrialsEndIsToldWhenItIsOnTheDisk() async throws {
        let program = record(bytes("0.2.0"), "0.2.0")
        try await interrupted(program)
        var choice = try choice(program, trial: true)
        choice.giveUp(FleetError(.noSpace, "full"), installed, at: .now())
        // A file where the directory is to be: nothing can be written.
        try FileSystem.writeDurably(files.directory, "x".utf8)
        let runner = try runner(own(choice, isUnwritten: true))
        try await runner.start()
        try await Task.sleep(for: .milliseconds(50))
        #expect(await runner.activeJobs == ["j1"])
        #expect(await runner.outbox.nextUnacknowledged()?.kind == .accepted, "no word of an end")
        try FileSystem.remove(files.directory)
        let outcome = try await outcome(runner, "j1")
        #expect(outcome.result == .failed && outcome.error?.code == .noSpace)
        #expect(try files.read() == choice)
    }

    @Test(arguments: [
        ("0::/system.slice/fleet-agent.service\n", "fleet-agent.service"),
        ("1:name=systemd:/system.slice/a.service\n0::/\n", "a.service"), ("2:cpu:/system.slice/b.service\n", nil),
        ("0::/user.slice/user-0.slice/user@0.service/app.slice/run-1.scope\n", nil), ("0::/\n", nil), ("", nil),
    ])
    func theUnitIsKnownByItsControlGroup(_ text: String, _ name: String?) {
        #expect(OwnUnit.name(cgroup: text) == name)
    }

    @Test func beingToldToEndIsNoFailedStart() async throws {
        let program = record(bytes("0.2.0"), "0.2.0")
        for (isOnTrial, starts) in [(true, 1), (false, 0)] {
            let choice = try choice(program, trial: isOnTrial)
            try files.write(choice)
            own(choice, running: program.sha256).endsAsTold()
            #expect(try files.read().starts == starts)
        }
    }

    /// A coordinator that is away for days is no reason to leave a program that works.
    @Test(arguments: [true, false]) func oneThatStaysUpCountsFromNothing(_ isOnTrial: Bool) async throws {
        let program = record(bytes("0.2.0"), "0.2.0")
        var choice = try choice(program, trial: isOnTrial)
        choice.starts = 2
        try files.write(choice)
        let own = own(choice, running: program.sha256)
        await own.staysUp(.zero)
        #expect(try files.read().starts == (isOnTrial ? 2 : 0) && own.isOnTrial == isOnTrial)
    }

    /// A trial that has given itself up is not proven by a registration that comes too late.
    @Test func aTrialThatIsOverStaysOver() async throws {
        let program = record(bytes("0.2.0"), "0.2.0")
        var choice = try choice(program, trial: true)
        choice.trial?.began = MachineTime(boot: try .current(), seconds: try Execution.uptime() - 119)
        try files.write(choice)
        let own = own(choice, running: program.sha256)
        let isOver = await own.isOverdue { FleetError("x", "connection refused") }
        #expect(isOver)
        await own.registered()
        let written = try files.read()
        #expect(written.chosen == nil && written.fallback?.error.message.hasSuffix(": connection refused") == true)
        // And one that was proven in time is never overdue.
        var proven = try self.choice(program, trial: true)
        proven.worked()
        let other = await OwnProgram(
            files: files, installed: installed,
            running: RunningProgram(sha256: program.sha256, architecture: "x86_64", isChosen: true), choice: proven,
            log: .silent
        ).isOverdue { nil }
        #expect(!other)
    }
}
