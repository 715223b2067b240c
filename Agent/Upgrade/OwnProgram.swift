import FleetProtocol
import FleetSystem

/// The program that this process is, and what is written of it while it runs. Its calls block, but for those that are async.
final class OwnProgram: Sendable {
    private let files: ProgramFiles
    let installed: ProgramChoice.Installed
    private let running: RunningProgram
    private let choice: Monitor<ProgramChoice>
    /// What `choice` says is not on the disk yet: the end of a trial that must not begin anew unwatched.
    private let unwritten: Monitor<Bool>
    /// Why a program that is connected was not proven.
    private let unproven = Monitor<FleetError?>(nil)
    private let log: Log
    /// How long a new program has to stay connected.
    private let probation: Duration
    /// Throws unless somebody starts this agent again when it ends.
    private let checkRestart: @Sendable () throws(FleetError) -> Void
    /// Ends the process, to be started again.
    let restart: @Sendable () -> Void

    init(
        files: ProgramFiles, installed: ProgramChoice.Installed, running: RunningProgram, choice: ProgramChoice,
        isUnwritten: Bool = false, log: Log, probation: Duration = .seconds(20),
        checkRestart: @escaping @Sendable () throws(FleetError) -> Void = { () throws(FleetError) in
            try OwnUnit.checkRestart()
        },
        restart: @escaping @Sendable () -> Void = Execution.terminate
    ) {
        self.files = files
        self.installed = installed
        self.running = running
        self.choice = Monitor(choice)
        unwritten = Monitor(isUnwritten)
        self.log = log
        self.probation = probation
        self.checkRestart = checkRestart
        self.restart = restart
    }

    /// As the coordinator is told; of a fallback only as long as nobody has installed another program since.
    var told: RunningProgram {
        var told = running
        if let fallback = choice.withLock(\.fallback), fallback.installed == installed.sha256 {
            told.fallback = ProgramFallback(
                version: fallback.record?.version, sha256: fallback.record?.sha256, error: fallback.error,
                time: fallback.time)
        }
        return told
    }

    // MARK: on trial

    var isOnTrial: Bool { choice.withLock { isMine($0) && $0.trial != nil } }

    private func isMine(_ choice: ProgramChoice) -> Bool {
        running.isChosen && choice.chosen?.record.sha256 == running.sha256
    }

    /// The coordinator has taken this process' registration: one on trial works if it lives on with that connection for a
    /// while, since one that crashes at its first job has registered as well. Returns when that is on the disk; while it can't
    /// be written the trial goes on, to its end if need be. Of one that is proven a registration says nothing: `staysUp` does.
    func registered() async {
        guard isOnTrial else { return }
        do { try await Task.sleep(for: probation) } catch { return }
        var backoff = Backoff()
        while !Task.isCancelled {
            do throws(FleetError) { return try await onDisk { () throws(FleetError) in try self.prove() } } catch {
                log.error("that this program works could not be written down, and will be tried again", error)
                let reason = error
                unproven.withLock { $0 = reason }
            }
            try? await Task.sleep(for: backoff.next())
        }
    }

    private func prove() throws(FleetError) {
        let kept = try choice.attempt { choice throws(FleetError) -> Set<String>? in
            guard isMine(choice), choice.trial != nil || choice.starts > 0 else { return nil }
            var next = choice
            next.worked()
            try files.write(next)
            choice = next
            return next.kept
        }
        guard let kept else { return }
        Execution.end(afterSeconds: 0)
        do throws(FleetError) { try files.clean(keeping: kept) } catch {
            log.warning("programs that are not used any more could not be removed: \(error.message)")
        }
    }

    /// Waits as long as a trial may take.
    ///
    /// - Parameter problem: what keeps it from the coordinator.
    /// - Returns: whether this process is to end: it was not proven in time, and the next start takes the program of before.
    func isOverdue(_ problem: @Sendable () async -> FleetError?) async -> Bool {
        guard isOnTrial, let now = try? MachineTime.now(), let left = choice.withLock({ $0.trialLeft(now) }) else {
            return false
        }
        do { try await Task.sleep(for: .seconds(left)) } catch { return false }
        guard isOnTrial else { return false }
        var reason = await problem()
        if reason == nil {
            // It is connected, so late that it has not stayed so yet; the kernel waits as long.
            do { try await Task.sleep(for: .seconds(ProgramChoice.graceSeconds)) } catch { return false }
            guard isOnTrial else { return false }
            reason = await problem()
        }
        var error = ProgramChoice.unconnected
        if let reason = unproven.withLock(\.self) ?? reason { error.message += ": \(reason.message)" }
        let why = error
        do throws(FleetError) {
            guard try await onDisk({ () throws(FleetError) in try self.giveUp(why) }) else { return false }
        } catch { log.error("the end of the trial could not be written down; the next start finds it over", error) }
        log.error("this program is given up", why)
        return true
    }

    /// One that was proven once has to start and stay, whether there is a coordinator or not.
    func staysUp(_ time: Duration = .seconds(60)) async {
        do { try await Task.sleep(for: time) } catch { return }
        guard !isOnTrial else { return }
        do throws(FleetError) { try await onDisk { () throws(FleetError) in try self.prove() } } catch {
            log.warning("that this program works could not be written down: \(error.message)")
        }
    }

    /// Told to end, which is no sign that anything is wrong with it.
    func endsAsTold() {
        do throws(FleetError) {
            try choice.attempt { choice throws(FleetError) in
                guard isMine(choice), choice.trial == nil, choice.starts > 0 else { return }
                var next = choice
                next.starts -= 1
                try files.write(next)
                choice = next
            }
        } catch { log.warning("that this start was in order could not be written down: \(error.message)") }
    }

    var isUnwritten: Bool { unwritten.withLock(\.self) }

    /// Returns when the end of a trial is on the disk that could not be written at the start.
    func writeDown() async {
        var backoff = Backoff()
        while isUnwritten, !Task.isCancelled {
            do throws(FleetError) { return try await onDisk { () throws(FleetError) in try self.writeAgain() } } catch {
                log.error("that the trial is over could not be written down, and will be tried again", error)
            }
            try? await Task.sleep(for: backoff.next())
        }
    }

    private func writeAgain() throws(FleetError) {
        try choice.attempt { choice throws(FleetError) in
            guard isUnwritten else { return }
            try files.write(choice)
            unwritten.withLock { $0 = false }
        }
    }

    private func giveUp(_ error: FleetError) throws(FleetError) -> Bool {
        try choice.attempt { choice throws(FleetError) in
            guard isMine(choice), choice.trial != nil else { return false }
            var next = choice
            next.giveUp(error, installed, at: .now())
            try files.write(next)
            choice = next
            return true
        }
    }

    // MARK: upgrades

    /// What would make an upgrade pointless.
    ///
    /// - Throws: `refused-here`.
    func check(_ program: ProgramRecord) throws(FleetError) {
        guard program.architecture == running.architecture else {
            throw FleetError(
                .refusedHere, "the program is for \(program.architecture), this node is \(running.architecture)",
                hint: "give the program of the same release for \(running.architecture)")
        }
        try checkRestart()
        guard !ProgramVersion.isNewer(installed.version, than: program.version) else {
            throw FleetError(
                .refusedHere,
                "the installed program is \(installed.version), newer than \(program.version), and would go before it",
                hint: "to go back to an older one, install its package")
        }
    }

    /// Where its bytes are brought; an earlier attempt's are gone on behind.
    func place(for program: ProgramRecord) throws(FleetError) -> String {
        try FileSystem.makeDirectories(files.directory(program.sha256))
        let free = try FileSystem.freeSpace(files.directory)
        guard free >= program.size + Self.margin else {
            throw FleetError(
                .noSpace, "\(files.directory) has \(free) bytes free; the program needs \(program.size) and some room",
                hint: "free some space there")
        }
        return files.part(program.sha256)
    }

    private static let margin: Int64 = 64 << 20

    /// Gives what was fetched its name and sees whether it starts here at all: its file system, its libraries, its processor.
    func tryOut(_ program: ProgramRecord) throws(FleetError) {
        let (part, path) = (files.part(program.sha256), files.program(program.sha256))
        do throws(FleetError) {
            if FileSystem.exists(part) {
                try FileSystem.setMode(part, 0o700)
                try FileSystem.rename(part, to: path)
            }
            let file = try ProgramScan.record(of: path)
            guard file == program else {
                throw FleetError(
                    .programDamaged, "what arrived is \(file.name), and not \(program.name)", hint: "upgrade again")
            }
            try Self.answers(path, "fleet-agent \(program.version)")
        } catch {
            if !choice.withLock(\.kept).contains(program.sha256) {
                try? FileSystem.removeTree(files.directory(program.sha256))
            }
            throw error
        }
    }

    private static func answers(_ path: String, _ expected: String) throws(FleetError) {
        let hint = "nothing was changed on the node; try the program there by hand: it has to run with --version"
        let outcome: Subprocess.Outcome
        do throws(FleetError) {
            outcome = try Subprocess.run(path, ["--version"], deadline: .seconds(20), outputLimit: 4096)
        } catch {
            throw FleetError(.programUnusable, "the program does not start on this node: \(error.message)", hint: hint)
        }
        guard outcome.succeeded, outcome.outputText.split(separator: "\n").first.map(String.init) == expected else {
            throw FleetError(
                .programUnusable, "the program does not run on this node: \(Self.said(outcome))", hint: hint)
        }
    }

    private static func said(_ outcome: Subprocess.Outcome) -> String {
        if !outcome.complaint.isEmpty { return outcome.complaint }
        return outcome.signal.map { "it ended by signal \($0)" }
            ?? "with --version it says \(String(outcome.outputText.prefix(80)).debugDescription), exit status \(outcome.status ?? -1)"
    }

    /// Durable: the next start tries it.
    func choose(_ program: ProgramRecord, job: String, _ envelope: Envelope) throws(FleetError) {
        try choice.attempt { choice throws(FleetError) in
            var next = choice
            next.choose(.init(job: job, record: program, envelope: envelope, installed: installed.sha256))
            next.installed = installed
            do throws(FleetError) { try files.write(next) } catch {
                // It may be there all the same, and not be durable: what is told must be so.
                try? files.write(choice)
                throw error
            }
            choice = next
            unwritten.withLock { $0 = false }
        }
    }

    /// How far an upgrade has come that the agent's end has interrupted, be it wanted or not.
    enum Standing: Sendable, Equatable {
        /// This is it; its job has succeeded when the coordinator has taken its registration.
        case runs
        case fellBack(FleetError)
        /// It was not chosen yet.
        case cutOff
    }

    func standing(_ job: String, _ program: ProgramRecord) -> Standing {
        if running.sha256 == program.sha256 { return .runs }
        if let fallback = choice.withLock(\.fallback), fallback.job == job { return .fellBack(fallback.error) }
        return .cutOff
    }
}

extension FleetError.Code {
    /// An upgrade makes no sense on this node.
    static let refusedHere: Self = "refused-here"
    /// A program of the agent does not run on this node.
    static let programUnusable: Self = "program-unusable"
}
