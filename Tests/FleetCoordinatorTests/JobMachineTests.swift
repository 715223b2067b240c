import FleetProtocol
import FleetSystem
import Testing

@testable import FleetCoordinator

@Suite("Job machine")
struct JobMachineTests {
    static let start = Timestamp("2026-11-24T06:55:10Z")!

    private static func machine(_ kind: JobMachine.Kind = .backup, _ state: JobState = .queued) -> JobMachine {
        var machine = JobMachine(
            kind: kind, counter: 5, created: start, issued: start, expires: start.adding(.seconds(600)))
        machine.state = state
        if state == .running { machine.lastHeard = start }
        return machine
    }

    private static func event(_ kind: JobEvent.Kind, _ result: JobOutcome.Result? = nil) -> JobMachine.Input {
        .event(
            JobEvent(
                job: "j", sequence: 1, time: start, kind: kind, step: "save",
                outcome: result.map { JobOutcome(result: $0, summary: "s") }), isNew: true)
    }

    private static let soon = Duration.seconds(10)
    private static let late = Duration.seconds(601)
    private static let never = Duration.seconds(30 * 86400)

    struct Row: Sendable {
        var kind = JobMachine.Kind.backup
        var from: JobState
        var input: JobMachine.Input
        var after = JobMachineTests.soon
        var isStored = false
        var attempt = 1
        var to: JobState
        var command: String?
    }

    /// What is asked for, without the event or the error that it carries.
    private static func name(_ command: JobMachine.Command) -> String? {
        switch command {
        case .deliver: "deliver"
        case .renew: "renew"
        case .record: nil
        case .close: "close"
        }
    }

    static let active = JobMachine.Input.registered(isActive: true, lastCounter: 5)
    static let unknown = JobMachine.Input.registered(isActive: false, lastCounter: 4)
    static let usedUp = JobMachine.Input.registered(isActive: false, lastCounter: 5)
    static let refused = JobMachine.Input.refused(FleetError(.malformed, "no"))

    static let table: [Row] = [
        // Delivery.
        Row(from: .queued, input: .sending, to: .delivered),
        Row(from: .queued, input: .sending, after: late, to: .expired, command: "close"),
        Row(from: .delivered, input: .sending, to: .delivered),
        Row(from: .running, input: .sending, to: .running),
        Row(from: .failed, input: .sending, to: .failed),
        Row(from: .delivered, input: .accepted, to: .running),
        Row(from: .queued, input: .accepted, to: .running),
        Row(from: .lost, input: .accepted, to: .lost),
        Row(from: .delivered, input: refused, to: .refused, command: "close"),
        Row(from: .delivered, input: .refused(FleetError(.jobReplayed, "again")), to: .delivered),
        // Only an act of a replacement waits until the agent has time.
        Row(from: .delivered, input: .refused(FleetError(.busy, "a drill")), to: .refused, command: "close"),
        Row(kind: .member, from: .delivered, input: .refused(FleetError(.busy, "a drill")), to: .delivered),
        Row(from: .running, input: refused, to: .running),
        Row(from: .succeeded, input: refused, to: .succeeded),
        // Events.
        Row(from: .delivered, input: event(.accepted), to: .running),
        Row(from: .delivered, input: event(.stepStarted), to: .running),
        Row(from: .running, input: event(.outcome, .failed), to: .failed, command: "close"),
        Row(from: .running, input: event(.outcome, .succeeded), isStored: true, to: .succeeded, command: "close"),
        Row(from: .running, input: event(.outcome, .succeeded), to: .failed, command: "close"),
        Row(kind: .restore, from: .running, input: event(.outcome, .succeeded), to: .succeeded, command: "close"),
        Row(kind: .restore, from: .running, input: event(.outcome, .rolledBack), to: .rolledBack, command: "close"),
        Row(kind: .restore, from: .running, input: event(.outcome, .stuck), to: .stuck, command: "close"),
        Row(from: .running, input: event(.outcome, .refused), to: .refused, command: "close"),
        Row(from: .running, input: event(.outcome), to: .failed, command: "close"),
        // The coordinator's own verdicts give way to the agent's word.
        Row(kind: .restore, from: .lost, input: event(.outcome, .succeeded), to: .succeeded, command: "close"),
        Row(from: .expired, input: event(.outcome, .failed), to: .failed, command: "close"),
        Row(from: .lost, input: event(.stepDone), to: .lost),
        // The agent comes back.
        Row(from: .queued, input: unknown, to: .queued, command: "deliver"),
        Row(from: .queued, input: unknown, after: late, to: .expired, command: "close"),
        Row(from: .queued, input: usedUp, to: .queued, command: "renew"),
        Row(from: .delivered, input: unknown, to: .delivered, command: "deliver"),
        Row(from: .delivered, input: unknown, after: late, to: .expired, command: "close"),
        Row(from: .delivered, input: active, to: .running),
        Row(from: .delivered, input: usedUp, to: .queued, command: "renew"),
        Row(from: .delivered, input: usedUp, attempt: 3, to: .lost, command: "close"),
        Row(kind: .restore, from: .delivered, input: usedUp, to: .lost, command: "close"),
        Row(from: .running, input: active, to: .running),
        Row(from: .running, input: unknown, to: .failed, command: "close"),
        Row(from: .running, input: unknown, isStored: true, to: .succeeded, command: "close"),
        Row(kind: .restore, from: .running, input: unknown, to: .lost, command: "close"),
        Row(from: .succeeded, input: active, to: .succeeded),
        // Time passes.
        Row(from: .queued, input: .tick(isConnected: true), to: .queued),
        Row(from: .queued, input: .tick(isConnected: true), after: .seconds(30), to: .queued, command: "deliver"),
        Row(from: .delivered, input: .tick(isConnected: true), to: .delivered),
        Row(from: .delivered, input: .tick(isConnected: true), after: .seconds(30), to: .delivered, command: "deliver"),
        Row(from: .delivered, input: .tick(isConnected: true), after: late, to: .delivered),
        Row(from: .queued, input: .tick(isConnected: true), after: late, to: .expired, command: "close"),
        Row(from: .queued, input: .tick(isConnected: false), to: .queued),
        Row(from: .queued, input: .tick(isConnected: false), after: late, to: .expired, command: "close"),
        Row(from: .delivered, input: .tick(isConnected: false), after: late, to: .delivered),
        Row(from: .delivered, input: .tick(isConnected: false), after: .seconds(7800), to: .lost, command: "close"),
        Row(from: .delivered, input: .tick(isConnected: true), after: .seconds(7800), to: .lost, command: "close"),
        Row(from: .running, input: .tick(isConnected: false), after: .seconds(1199), to: .running),
        Row(from: .running, input: .tick(isConnected: false), after: .seconds(1200), to: .lost, command: "close"),
        Row(kind: .drill, from: .running, input: .tick(isConnected: false), after: .seconds(7199), to: .running),
        Row(
            kind: .drill, from: .running, input: .tick(isConnected: false), after: .seconds(7200), to: .lost,
            command: "close"),
        Row(from: .running, input: .tick(isConnected: true), after: .seconds(7200), to: .running),
        Row(from: .running, input: .tick(isConnected: true), after: never, to: .lost, command: "close"),
        Row(
            from: .running, input: .tick(isConnected: false), after: never, isStored: true, to: .succeeded,
            command: "close"),
        Row(kind: .restore, from: .running, input: .tick(isConnected: false), after: .seconds(7200), to: .running),
        Row(kind: .restore, from: .running, input: .tick(isConnected: true), after: never, to: .lost, command: "close"),
        Row(from: .failed, input: .tick(isConnected: false), after: never, to: .failed),
        // A node that is off must not keep its cluster from being backed up for long.
        Row(kind: .cleanup, from: .running, input: .tick(isConnected: false), after: .seconds(599), to: .running),
        Row(
            kind: .cleanup, from: .running, input: .tick(isConnected: false), after: .seconds(600), to: .lost,
            command: "close"),
        Row(kind: .cleanup, from: .running, input: unknown, to: .failed, command: "close"),
        // A new program has its time to come back, and the former one behind it.
        Row(kind: .upgrade, from: .running, input: .tick(isConnected: false), after: .seconds(599), to: .running),
        Row(
            kind: .upgrade, from: .running, input: .tick(isConnected: false), after: .seconds(600), to: .lost,
            command: "close"),
        Row(kind: .upgrade, from: .running, input: active, to: .running),
        Row(kind: .upgrade, from: .running, input: unknown, to: .failed, command: "close"),
        // Nothing more will be heard.
        Row(from: .queued, input: .revoked, to: .failed, command: "close"),
        Row(from: .running, input: .revoked, to: .failed, command: "close"),
        Row(from: .running, input: .revoked, isStored: true, to: .succeeded, command: "close"),
        Row(kind: .restore, from: .running, input: .revoked, to: .lost, command: "close"),
        Row(kind: .restore, from: .delivered, input: .revoked, to: .lost, command: "close"),
        Row(kind: .restore, from: .queued, input: .revoked, to: .failed, command: "close"),
        Row(kind: .restore, from: .rolledBack, input: .revoked, to: .rolledBack),
        Row(from: .running, input: .transferring, to: .running),
        Row(from: .expired, input: .transferring, to: .expired),
    ]

    @Test(arguments: table)
    func transition(_ row: Row) {
        var machine = Self.machine(row.kind, row.from)
        machine.isSnapshotStored = row.isStored
        machine.attempt = row.attempt
        let commands = machine.handle(row.input, at: Self.start.adding(row.after))
        #expect(machine.state == row.to)
        #expect(commands.compactMap(Self.name) == (row.command.map { [$0] } ?? []))
    }

    /// The agent died after the last byte and before the receipt: it says that it was cut off, the store says more.
    @Test(arguments: [JobOutcome.Result.failed, .succeeded])
    func aStoredSnapshotIsASuccessWhateverTheAgentSays(_ result: JobOutcome.Result) {
        var machine = Self.machine(.backup, .running)
        machine.isSnapshotStored = true
        _ = machine.handle(Self.event(.outcome, result), at: Self.start)
        #expect(machine.state == .succeeded)
    }

    @Test func anOutcomeOfTheAgentIsFinal() {
        var machine = Self.machine(.restore, .running)
        _ = machine.handle(Self.event(.outcome, .rolledBack), at: Self.start)
        for input in [
            Self.event(.outcome, .succeeded), Self.active, Self.unknown, Self.refused, .sending, .accepted,
            .tick(isConnected: false),
        ] {
            _ = machine.handle(input, at: Self.start.adding(Self.never))
            #expect(machine.state == .rolledBack)
        }
    }

    /// It refused one copy of the job and has carried out another: what it did counts.
    @Test func anOutcomeIsWorthMoreThanARefusal() {
        var machine = Self.machine(.restore, .delivered)
        _ = machine.handle(.refused(FleetError(.busy, "at this very job")), at: Self.start)
        #expect(machine.state == .refused)
        _ = machine.handle(.accepted, at: Self.start)
        #expect(machine.state == .refused)
        #expect(machine.handle(Self.event(.outcome, .rolledBack), at: Self.start).compactMap(Self.name) == ["close"])
        #expect(machine.state == .rolledBack && machine.isAgentsWord)
    }

    /// Somebody looked at the node, and its agent carried the restore to an end after all.
    @Test(arguments: [(JobOutcome.Result.succeeded, JobState.succeeded), (.rolledBack, .rolledBack), (.stuck, .stuck)])
    func aStuckRestoreMayStillEnd(_ result: JobOutcome.Result, _ state: JobState) {
        var machine = Self.machine(.restore, .running)
        _ = machine.handle(Self.event(.outcome, .stuck), at: Self.start)
        #expect(machine.handle(Self.event(.stepDone), at: Self.start).count == 1)
        #expect(machine.state == .stuck)
        #expect(machine.handle(Self.event(.outcome, result), at: Self.start).compactMap(Self.name) == ["close"])
        #expect(machine.state == state)
    }

    @Test func whatComesTwiceChangesNothing() {
        var machine = Self.machine(.backup, .running)
        guard case .event(let event, _) = Self.event(.outcome, .failed) else { return }
        #expect(machine.handle(.event(event, isNew: false), at: Self.start).isEmpty)
        #expect(machine.state == .running)
    }
}
