import FleetProtocol
import FleetSystem

/// Which program of the agent this node runs, as it is on the disk. The installed one reads it at each start, and whichever
/// runs writes it: a later version may add fields, as optional ones, and must keep these.
struct ProgramChoice: Codable, Sendable, Equatable {
    /// One that a signed job has brought.
    struct Program: Codable, Sendable, Equatable {
        var job: String
        var record: ProgramRecord
        /// The job, as it was signed: what is started is what this names.
        var envelope: Envelope
        /// The installed one's digest when this was chosen.
        var installed: String
    }

    /// Chosen, and not seen yet to work here.
    struct Trial: Codable, Sendable, Equatable {
        /// Of its first start.
        var began: MachineTime?
    }

    /// Why the last upgrade came to nothing.
    struct Fallback: Codable, Sendable, Equatable {
        var job: String?
        var record: ProgramRecord?
        var error: FleetError
        var time: Timestamp
        /// The installed one's digest then: with another one it is history.
        var installed: String
    }

    struct Installed: Codable, Sendable, Equatable {
        var version: String
        var sha256: String
    }

    /// nil: the installed one.
    var chosen: Program?
    /// nil: `chosen` is proven.
    var trial: Trial?
    /// Proven before `chosen`.
    var former: Program?
    /// Of `chosen`, since it was last seen to work.
    var starts = 0
    var fallback: Fallback?
    /// As it was at its last start.
    var installed: Installed?
}

/// A moment that a clock that is set does not move, and that another boot makes meaningless.
struct MachineTime: Codable, Sendable, Equatable {
    var boot: BootIdentity
    /// Since that boot.
    var seconds: Int64

    static func now() throws(FleetError) -> MachineTime {
        MachineTime(boot: try .current(), seconds: try Execution.uptime())
    }
}

// MARK: what follows from it; pure

extension ProgramChoice {
    enum Step: Sendable, Equatable {
        case runInstalled
        /// The installed one is what was chosen, is newer, or was installed since.
        case clear
        case giveUp(FleetError)
        /// If it is there and is what was signed.
        case start(Program)
    }

    /// Of one on trial. Then it has come neither back nor to its own end.
    static let trialStarts = 3
    static let trialSeconds: Int64 = 120
    /// Behind that, for one that has just connected to stay so, and to say why it ends; then the kernel ends it.
    static let graceSeconds: Int64 = 25
    static let killSeconds = graceSeconds + 15
    /// Of one that worked once: what it needs may have gone from the node.
    static let provenStarts = 5

    func step(_ installed: Installed, _ now: MachineTime) -> Step {
        guard let chosen else { return .runInstalled }
        let isNewer = ProgramVersion.isNewer(installed.version, than: chosen.record.version)
        // A package that was installed since is a later word than the upgrade, be it the older one.
        let isLater = installed.sha256 != chosen.installed
        if isNewer || isLater || installed.sha256 == chosen.record.sha256 { return .clear }
        guard let trial else {
            guard starts < Self.provenStarts else { return .giveUp(Self.ended(starts, "it ran before")) }
            return .start(chosen)
        }
        guard starts < Self.trialStarts else {
            return .giveUp(Self.ended(starts, "it did not stay connected to the coordinator"))
        }
        if let began = trial.began, began.boot == now.boot, now.seconds >= began.seconds + Self.trialSeconds {
            return .giveUp(Self.unconnected)
        }
        return .start(chosen)
    }

    /// Seconds until the trial is over; nil where there is none.
    func trialLeft(_ now: MachineTime) -> Int64? {
        guard let trial else { return nil }
        guard let began = trial.began, began.boot == now.boot else { return Self.trialSeconds }
        return max(1, began.seconds + Self.trialSeconds - now.seconds)
    }

    private static func ended(_ starts: Int, _ what: String) -> FleetError {
        FleetError(
            .upgradeFellBack, "the new agent ended \(starts) times at its start; \(what)",
            hint: "what it said is in the node's journal: journalctl -u fleet-agent")
    }

    static let unconnected = FleetError(
        .upgradeFellBack, "the new agent did not reach the coordinator within \(trialSeconds) s",
        hint: "what it said is in the node's journal: journalctl -u fleet-agent")

    mutating func choose(_ program: Program) {
        // What was on trial is no way back.
        if trial == nil, let chosen, chosen.record.sha256 != program.record.sha256 { former = chosen }
        (chosen, trial, starts, fallback) = (program, Trial(), 0, nil)
    }

    /// Written down before it is started.
    mutating func started(_ installed: Installed, _ now: MachineTime) {
        starts += 1
        self.installed = installed
        if trial != nil, trial?.began == nil { trial?.began = now }
    }

    mutating func worked() { (trial, starts) = (nil, 0) }

    mutating func giveUp(_ error: FleetError, _ installed: Installed, at time: Timestamp) {
        fallback = Fallback(
            job: chosen?.job, record: chosen?.record, error: error, time: time, installed: installed.sha256)
        (chosen, trial, former, starts) = (former, nil, nil, 0)
    }

    mutating func clear(_ installed: Installed, at time: Timestamp) {
        if trial != nil, let chosen, chosen.record.sha256 != installed.sha256 {
            giveUp(
                FleetError(
                    .upgradeFellBack, "\(installed.version) was installed meanwhile and goes before it",
                    hint: "the installed program runs; upgrade again if another is meant"), installed, at: time)
        }
        (chosen, trial, former, starts) = (nil, nil, nil, 0)
    }

    /// Digests of the programs that are kept.
    var kept: Set<String> { Set([chosen, former].compactMap { $0?.record.sha256 }) }
}

extension FleetError.Code {
    /// A new program of the agent was started and left again.
    static let upgradeFellBack: Self = "upgrade-fell-back"
}
