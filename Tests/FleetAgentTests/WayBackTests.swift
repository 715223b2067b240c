import FleetProtocol
import FleetSystem
import Testing

@testable import FleetAgent

/// The way back: what was not there before is not made, and what was not seen is not claimed.
@Suite struct WayBackTests {
    /// There is no systemd where these tests run, so whatever would start a unit fails here.
    private func node(wasRunning: Bool?, hasData: Bool) throws -> RestoreStepTests.Node {
        var node = try RestoreStepTests.Node(waitSeconds: 1)
        (node.steps.work.wasRunning, node.steps.work.hadOldData, node.steps.work.wasHealthy) = (
            wasRunning, hasData, false
        )
        if hasData {
            let log = node.steps.work.plan.oldDataDir + "/member/wal"
            try FileSystem.makeDirectories(log)
            try FileSystem.writeDurably(log + "/0000000000000000-0000000000000000.wal", "x".utf8)
        }
        return node
    }

    @Test(arguments: [true, false]) func whatWasStoppedStaysStopped(_ hasData: Bool) throws {
        let report = try node(wasRunning: false, hasData: hasData).steps.undo(.stopEtcd)
        #expect(report.remark?.contains("etcd is stopped, as it was before") == true)
    }

    /// With initial-cluster-state=new it would begin an empty cluster there and serve that.
    @Test(arguments: [true, nil]) func withoutDataNothingIsStarted(_ wasRunning: Bool?) throws {
        let node = try node(wasRunning: wasRunning, hasData: false)
        let report = try node.steps.undo(.stopEtcd)
        #expect(report.remark?.contains("etcd was not started") == true)
        #expect(report.unhealthy == nil)
        // Neither is data an empty directory, nor a database without its log, which may lie elsewhere.
        try FileSystem.makeDirectories(node.steps.work.plan.oldDataDir + "/member/snap")
        #expect(try node.steps.undo(.stopEtcd).remark?.contains("etcd was not started") == true)
        // Somebody took the data away from under a running etcd.
        var healthy = node.steps
        healthy.work.wasHealthy = true
        #expect(try healthy.undo(.stopEtcd).unhealthy?.contains("etcd was not started") == true)
    }

    @Test(arguments: [true, nil]) func whatRanIsStarted(_ wasRunning: Bool?) throws {
        var node = try node(wasRunning: wasRunning, hasData: true)
        #expect(throws: FleetError.self) { try node.steps.undo(.stopEtcd) }
        // Its log of its own place is gone.
        node.steps.work.plan.oldWalDir = node.tree.root + "/wal"
        #expect(try node.steps.undo(.stopEtcd).remark?.contains("etcd was not started") == true)
    }

    @Test func theSummarySaysWhatIsThere() throws {
        var work = try node(wasRunning: true, hasData: true).steps.work
        work.plan.oldDataDir = "/none/etcd"
        #expect(work.takenBack([], []).hasSuffix("in force again; etcd was not healthy before, and was not waited for"))
        #expect(
            work.takenBack(["etcd is stopped, as it was before"], []).hasSuffix("; etcd is stopped, as it was before"))
        work.wasHealthy = true
        #expect(work.takenBack([], []) == "rolled back: the old configuration and /none/etcd are in force again")
        #expect(work.oldData == "old data kept in /none/etcd")
        work.hadOldData = false
        let gone = work.takenBack(["etcd is stopped, as it was before"], [])
        #expect(gone.contains("the old configuration is in force again") && !gone.contains("are in force"))
        #expect(gone.contains("/none/etcd was gone before") && gone.contains("stopped, as it was before"))
        #expect(work.oldData == "/none/etcd was gone before")
    }

    /// One of several is healthy only with the others: it has done its part, and says what it did not see.
    @Test func whatWasNotSeenToServeIsSaid() async throws {
        var node = try node(wasRunning: true, hasData: true)
        (node.steps.work.plan.oldDataDir, node.steps.work.wasHealthy) = ("/none/etcd", true)
        let path = node.steps.paths.journal("j1")
        try FileSystem.makeDirectories(FileSystem.parent(of: path))
        func failing() throws(FleetError) { throw FleetError(.unhealthy, "no leader") }
        #expect(throws: FleetError.self) { try node.steps.asFarAsItGoes("etcd", failing) }
        node.steps.work.group = RestoreGroup(restore: "r", members: [])
        let report = try node.steps.asFarAsItGoes("etcd", failing)
        #expect(report.unhealthy == "etcd was not healthy within 1 s: no leader" && report.note == report.unhealthy)
        #expect(try node.steps.asFarAsItGoes("etcd") {} == StepReport())

        // It comes through the journal, and the agent's own end, into the outcome.
        let journal = try Journal<RestoreEntry>(path)
        let boot = try BootIdentity.current()
        for entry: RestoreEntry in [
            .planned(node.steps.work, boot: boot), .started(.stopEtcd), .failed(.stopEtcd, FleetError(.timedOut, "x")),
            .decided(.recall(FleetError(.timedOut, "x"))), .undoStarted(.stopEtcd),
            .undone(.stopEtcd, unhealthy: report.unhealthy), .concluded(.rolledBack),
        ] { try journal.append(entry) }
        struct Nobody: CoordinatorPort {
            func upload(job: String, snapshot: String, facts: SnapshotFacts, file: String) async {}
            func fetch(job: String, snapshot: SnapshotRecord, to path: String) async {}
            func fetch(job: String, program: ProgramRecord, to path: String) async {}
        }
        let run = RestoreRun(
            paths: node.steps.paths, outbox: Outbox(paths: node.steps.paths), port: Nobody(), faults: .none,
            discover: { () throws(FleetError) in throw FleetError(.internalError, "not asked") }, log: .silent)
        let outcome = await run.resume("j1")
        #expect(outcome.result == .rolledBack && outcome.unhealthy == report.unhealthy)
        #expect(
            outcome.summary
                == "rolled back: the old configuration and /none/etcd are in force again, but etcd was not healthy within "
                + "1 s: no leader")
    }

    /// The agent has come back under a unit that does not let it write where the restore does.
    @Test(.timeLimit(.minutes(1))) func whatCannotBeWrittenIsNotBegunAgain() async throws {
        var node = try node(wasRunning: true, hasData: true)
        node.steps.work.expires = .now()
        let (paths, work) = (node.steps.paths, node.steps.work)
        try FileSystem.makeDirectories(paths.job("j1"))
        let before: [RestoreEntry] = [.planned(work, boot: try .current()), .started(.preflight)]
        let journal = try Journal<RestoreEntry>(paths.journal("j1"))
        for entry in before { try journal.append(entry) }
        struct Nobody: CoordinatorPort {
            func upload(job: String, snapshot: String, facts: SnapshotFacts, file: String) async {}
            func fetch(job: String, snapshot: SnapshotRecord, to path: String) async {}
            func fetch(job: String, program: ProgramRecord, to path: String) async {}
        }
        let outbox = Outbox(paths: paths)
        let isOpen = Monitor(false)
        var run = RestoreRun(
            paths: paths, outbox: outbox, port: Nobody(), faults: .none,
            discover: { () throws(FleetError) in throw FleetError(.internalError, "not asked") }, log: .silent)
        run.isWritable = { _ in isOpen.withLock { $0 } }
        async let outcome = run.resume("j1")
        var told: JobEvent?
        while told == nil {
            told = await outbox.nextUnacknowledged()
            try await Task.sleep(for: .milliseconds(20))
        }
        #expect(told?.kind == .note && told?.error?.code == .notWritable)
        #expect(told?.detail?.hasPrefix("held: the agent can't write in") == true)
        #expect(told?.detail?.contains("systemctl edit fleet-agent") == true)
        #expect(try Journal<RestoreEntry>.records(paths.journal("j1")) == before)
        isOpen.withLock { $0 = true }
        #expect(await outcome.result == .failed, "its time was over in the preparation")
        #expect(try Journal<RestoreEntry>.records(paths.journal("j1")).last == .concluded(.failed))
    }

    /// The node can't be looked at, and yet the error that it is stuck with is the one that people need.
    @Test(.timeLimit(.minutes(5))) func whyItIsStuckIsSaidInAnyCase() async throws {
        let node = try node(wasRunning: true, hasData: true)
        // Where a configuration was, a directory is now: reading it fails.
        let file = node.steps.work.plan.changes[0].path
        try FileSystem.remove(file)
        try FileSystem.makeDirectories(file)
        struct Nobody: CoordinatorPort {
            func upload(job: String, snapshot: String, facts: SnapshotFacts, file: String) async {}
            func fetch(job: String, snapshot: SnapshotRecord, to path: String) async {}
            func fetch(job: String, program: ProgramRecord, to path: String) async {}
        }
        var machine = RestoreMachine(node.steps.work, BootIdentity(bootID: "b", firstProcessStart: 1))
        for entry: RestoreEntry in [
            .started(.stopEtcd), .failed(.stopEtcd, FleetError(.timedOut, "x")), .undoStarted(.stopEtcd),
            .undoFailed(.stopEtcd, FleetError(.notStarted, "etcd does not start", hint: "see its log")),
        ] { machine.apply(entry) }
        let driver = RestoreDriver(
            journal: try Journal(node.tree.root + "/journal"), steps: node.steps, port: Nobody(), faults: .none,
            decisions: DecisionBox(), report: { _, _, _, _ in }, waits: { _, _, _ in true })
        let (verdict, error) = try await driver.run(&machine)
        #expect(verdict == .stuck && error?.code == .stuck)
        #expect(error?.message.hasPrefix("etcd does not start; where the node stands could not be read") == true)
        #expect(error?.hint?.hasPrefix("see its log") == true)
    }

    /// Said once, though a reboot had the step done twice, and not of data that is not in force any more.
    @Test func theOutcomeSaysWhatAStepDid() throws {
        let work = try node(wasRunning: true, hasData: true).steps.work
        let boot = BootIdentity(bootID: "b", firstProcessStart: 1)
        var machine = RestoreMachine(work, boot)
        machine.apply(.started(.stopEtcd))
        for _ in 0..<2 { machine.apply(.done(.verify, note: "n", remark: "disarmed")) }
        #expect(machine.remarks == ["disarmed"] && machine.remarksBack.isEmpty)
        machine.apply(.undone(.stopEtcd, remark: "stopped"))
        #expect(machine.remarks == ["disarmed"] && machine.remarksBack == ["stopped"])
    }

    /// Of a journal that an agent of before has begun: nothing is known but what is there.
    @Test func aJournalOfBefore() throws {
        let node = try node(wasRunning: nil, hasData: false)
        var work = node.steps.work
        work.hadOldData = nil
        let text = String(decoding: try JSON.encode(RestoreEntry.done(.verify, note: "x")), as: UTF8.self)
        #expect(!text.contains("remark"))
        #expect(try JSON.decode(RestoreEntry.self, from: text.utf8) == .done(.verify, note: "x"))
        let undone = #"{"undone":{"_0":"stop-etcd"}}"#
        #expect(try JSON.decode(RestoreEntry.self, from: undone.utf8) == .undone(.stopEtcd))
        let encoded = String(decoding: try JSON.encode(work), as: UTF8.self)
        #expect(!encoded.contains("wasRunning") && !encoded.contains("hadOldData"))
        #expect(try JSON.decode(RestoreWork.self, from: encoded.utf8) == work)
        #expect(work.oldData.contains("was gone before"))
        try FileSystem.makeDirectories(work.plan.oldDataDir + "/member")
        #expect(work.oldData.contains("old data kept in"))
    }
}
