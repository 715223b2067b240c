import FleetProtocol
import FleetSystem

/// What `fleet-agent run` does first: the installed program decides which one runs, and puts that in its own place. Whatever
/// is wrong with a chosen one, or with what is written of it, the installed one runs.
struct ProgramLaunch: Sendable {
    let files: ProgramFiles
    let gate: JobGate
    let log: Log
    var faults = FaultInjection()

    /// In the environment of a program that the installed one has started: its digest.
    static let mark = "FLEET_AGENT_PROGRAM"

    /// Returns in the process that runs: the chosen one's, or the installed one's where that is to run itself.
    func settle() throws(FleetError) -> OwnProgram {
        let marked = Execution.environment(Self.mark)
        Execution.setEnvironment(Self.mark, nil)
        if let marked, isChosen(marked) { return try chosen(marked) }
        let (sha256, architecture) = try ProgramFiles.own()
        let installed = ProgramChoice.Installed(version: FleetVersion.current, sha256: sha256)
        let stored = read(installed)
        var choice = stored
        var isUnwritten = false
        do throws(FleetError) {
            try decide(&choice, installed)
            clean(choice)
        } catch {
            // The disk is full, say: an agent that runs is worth more than the right one, which has its turn again at the next
            // start.
            log.error("which program is to run could not be written down; the installed one runs", error)
            // A trial is over with that: what is told as failed must not be tried again later, when nobody waits for it.
            isUnwritten = choice.trial != nil || choice.fallback != stored.fallback
            if choice.trial != nil || !isUnwritten { choice.giveUp(error, installed, at: .now()) }
        }
        return OwnProgram(
            files: files, installed: installed,
            running: RunningProgram(
                sha256: sha256, architecture: architecture, isChosen: false, commit: FleetVersion.commit),
            choice: choice,
            isUnwritten: isUnwritten, log: log)
    }

    /// The variable alone proves nothing: what runs has to be that file.
    private func isChosen(_ sha256: String) -> Bool {
        guard ProgramRecord.isDigest(sha256), let own = try? FileSystem.status(Execution.own),
            let file = try? FileSystem.status(files.program(sha256))
        else { return false }
        return own.device == file.device && own.inode == file.inode
    }

    private func chosen(_ sha256: String) throws(FleetError) -> OwnProgram {
        let choice = try files.read()
        let (_, architecture) = try ProgramFiles.own()
        let unknown = ProgramChoice.Installed(version: "", sha256: "")
        return OwnProgram(
            files: files, installed: choice.installed ?? unknown,
            running: RunningProgram(
                sha256: sha256, architecture: architecture, isChosen: true, commit: FleetVersion.commit),
            choice: choice,
            log: log)
    }

    /// What can't be read is kept aside and says nothing any more.
    private func read(_ installed: ProgramChoice.Installed) -> ProgramChoice {
        do throws(FleetError) { return try files.read() } catch {
            log.error("which program is to run can't be read; the installed one runs", error)
            try? FileSystem.rename(files.choice, to: files.choice + ".damaged")
            var (choice, reason) = (ProgramChoice(), error)
            reason.hint = "upgrade again"
            choice.giveUp(reason, installed, at: .now())
            try? files.write(choice)
            return choice
        }
    }

    /// Returns where the installed one is to run.
    private func decide(_ choice: inout ProgramChoice, _ installed: ProgramChoice.Installed) throws(FleetError) {
        // Each turn but the last has one program less to choose from.
        while true {
            let now = try MachineTime.now()
            switch choice.step(installed, now) {
            case .runInstalled: return
            case .clear:
                log.info("the installed program runs from now on, and not the one of an upgrade")
                choice.clear(installed, at: .now())
                try files.write(choice)
            case .giveUp(let error): try giveUp(error, &choice, installed)
            case .start(let program):
                do throws(FleetError) { try files.check(program, gate) } catch {
                    try giveUp(error, &choice, installed)
                    continue
                }
                faults.pass("launch", .before)
                choice.started(installed, now)
                try files.write(choice)
                faults.pass("launch", .after)
                try giveUp(start(program, choice.trialLeft(now)), &choice, installed)
            }
        }
    }

    private func giveUp(
        _ error: FleetError, _ choice: inout ProgramChoice, _ installed: ProgramChoice.Installed
    ) throws(FleetError) {
        log.error("the agent goes back from \(choice.chosen?.record.name ?? "its program")", error)
        choice.giveUp(error, installed, at: .now())
        try files.write(choice)
    }

    /// Returns only where that did not come about.
    ///
    /// - Parameter left: seconds of its trial; nil for one that is proven.
    private func start(_ program: ProgramChoice.Program, _ left: Int64?) -> FleetError {
        log.info("starting the agent \(program.record.name)\(left == nil ? "" : ", on trial")")
        Execution.setEnvironment(Self.mark, program.record.sha256)
        // The kernel ends what does not come back to the coordinator, whatever kind of program it is.
        if let left { Execution.end(afterSeconds: UInt32(left + ProgramChoice.killSeconds)) }
        let error = Execution.replace(
            with: files.program(program.record.sha256), arguments: Array(CommandLine.arguments.dropFirst()))
        Execution.end(afterSeconds: 0)
        Execution.setEnvironment(Self.mark, nil)
        return error
    }

    private func clean(_ choice: ProgramChoice) {
        do throws(FleetError) { try files.clean(keeping: choice.kept) } catch {
            log.warning("programs that are not used any more could not be removed: \(error.message)")
        }
    }
}
