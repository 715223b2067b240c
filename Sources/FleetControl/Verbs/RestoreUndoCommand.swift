internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

/// What can be done with the old data that a restore has kept.
let restoreUndoCommand = Command(
    "undo", "Go back behind a restore, to the data from before it",
    discussion: """
        Puts the configuration back that was in force before the restore, on all members as one act: the same steps,
        deadlines and ways back as a restore, without a snapshot. What was written since the restore stays in the directory
        that the restore had made.

        Refused, with nothing changed, where it would be a guess: an old directory is gone (removed by hand, or cleaned up)
        or holds other data than the restore left there, a file was changed since the restore wrote it, members were added,
        or the cluster was restored again since. An undo itself is not undone.
        """,
    arguments: [.init("JOB", "the restore's job: its id, or a unique beginning of it")],
    options: [
        .init("dry-run", "show the exact plan, with the diff of each file, and change nothing"),
        .init("yes", short: "y", "do not ask"),
        .init("wait", value: "DURATION", "how long each wait on the node may take (default 2m)"), Output.option,
    ],
    examples: [
        .init("fleetctl restore undo 20261124-0655 --dry-run", "what would be done"),
        .init("fleetctl restore undo 20261124-0655", "asks first"),
    ],
    exitStatuses: [
        (
            .rolledBack,
            "it failed after the switch had begun; the restored configuration and data are in force again, and where etcd was not seen to be healthy, that is said"
        ),
        (.stuck, "it stands half-way and needs a person; the error says where and what to do"),
        (.declined, "the question was not answered with yes"),
    ]
) { call in
    let control = try await Coordinator.control(call)
    let wait = try call.duration("wait", default: .seconds(120))
    let terminal = call.terminal
    let dryRun = call.has("dry-run")
    var request = UndoRequest(job: call.argument("JOB")!, dryRun: dryRun, waitSeconds: Int(wait.seconds))
    let restored: JobRecord = try await control.ask(ControlMethod.previewUndo, request)
    request.job = restored.id
    if !Output.isJSON(call) {
        terminal.note("undo      \(restored.kind) \(restored.id) of \(restored.cluster), on \(restored.node)")
        for node in restored.aftermath?.nodes ?? [] {
            terminal.note("back to   \(Terminal.clean(node.directories.joined(separator: ", "))) on \(node.node)")
        }
        terminal.note(
            "          what was written since is lost to etcd, and kept in the directory that the restore made")
    }
    if !dryRun, !call.has("yes"), !terminal.confirms("Put the data of \(restored.cluster) from before it in force?") {
        terminal.note("nothing was done; it goes on with y on a terminal, or with --yes")
        return .declined
    }
    let job: JobRecord = try await control.call(ControlMethod.undoRestore, request)
    return try await RestoreFollow.toItsEnd(job, "undo", control, call)
}

let restoreCleanupCommand = Command(
    "cleanup", "Sign off a restore: remove the old data that it has kept",
    discussion: """
        Removes the old data directories on every node of a restore (or what a restore had made, when JOB is the undo of
        it), or that of a member that was replaced. Only directories that the node's journal of that job names as old,
        never one that etcd is configured for or works in at that moment, never through a symbolic link or across a
        mount point. Afterwards that restore can't be undone.

        Nodes that are not connected keep theirs; run it again when they are back.
        """,
    arguments: [.init("JOB", "the job of the restore, undo or replacement: its id, or a unique beginning of it")],
    options: [
        .init("dry-run", "look on each node what would be removed, and remove nothing"),
        .init("yes", short: "y", "do not ask"), Output.option,
    ],
    examples: [.init("fleetctl restore cleanup 20261124-0655 --dry-run", "which directories, and how large")],
    exitStatuses: [
        (.partialFailure, "some nodes still have old data; they are named"),
        (.declined, "the question was not answered with yes"),
    ]
) { call in
    let control = try await Coordinator.control(call)
    let terminal = call.terminal
    let dryRun = call.has("dry-run")
    var request = CleanupRequest(job: call.argument("JOB")!, dryRun: dryRun)
    let restored: JobRecord = try await control.ask(ControlMethod.previewCleanup, request)
    request.job = restored.id
    if !Output.isJSON(call) {
        for node in restored.aftermath?.nodes ?? [] where node.cleanedUp == nil {
            terminal.note("removes   \(Terminal.clean(node.directories.joined(separator: ", "))) on \(node.node)")
        }
    }
    if !dryRun, !call.has("yes"),
        !terminal.confirms(
            "Remove them for good?" + (restored.kind == "restore" ? " \(restored.id) can't be undone then." : ""))
    {
        terminal.note("nothing was done; it goes on with y on a terminal, or with --yes")
        return .declined
    }
    let job: JobRecord = try await control.call(ControlMethod.cleanUpRestore, request)
    let status = try await RestoreFollow.toItsEnd(job, "cleanup", control, call)
    return try await CleanupReport.status(job, restored.id, status, control, terminal)
}

enum CleanupReport {
    /// How a cleanup ended, by what the nodes of `restore` still have, which is told.
    ///
    /// - Parameter status: by the job alone.
    static func status(
        _ cleanup: JobRecord, _ restore: String, _ status: ExitStatus, _ control: Control, _ terminal: Terminal
    ) async throws(FleetError) -> ExitStatus {
        guard !cleanup.dryRun else { return status }
        let after: JobRecord = try await control.ask(ControlMethod.showJob, NameRequest(name: restore))
        let left = (after.aftermath?.nodes ?? []).filter { $0.cleanedUp == nil }
        if left.isEmpty { return status }
        for node in left {
            terminal.note("still on \(node.node): \(Terminal.clean(node.directories.joined(separator: ", ")))")
        }
        terminal.note("hint: correct what the errors say, start agents that are away, then run it again")
        return left.count < after.aftermath?.nodes.count ?? 0 ? .partialFailure : .failure
    }
}

/// A restore, an undo or a cleanup that was begun: told of to its end.
enum RestoreFollow {
    static func toItsEnd(
        _ job: JobRecord, _ what: String, _ control: Control, _ call: Invocation,
        then: (JobRecord) throws(FleetError) -> Void = { _ throws(FleetError) in }
    ) async throws(FleetError) -> ExitStatus {
        let terminal = call.terminal
        let (isJSON, dryRun) = (Output.isJSON(call), job.dryRun)
        if !isJSON { terminal.note("job \(job.id)") }
        let ended = try await JobFollow.toItsEnd(
            job, control, call,
            goesOn: dryRun
                ? "the plan is still made; see 'fleetctl job show \(job.id)'"
                : "the \(what) goes on by itself; see 'fleetctl job watch \(job.id)'",
            say: dryRun ? nil : { terminal.note($0) })
        if isJSON { try Output.json(ended, call) } else { RestoreReport.print(ended, terminal, dryRun: dryRun) }
        try then(ended)
        return ended.state.exitStatus
    }
}
