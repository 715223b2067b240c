internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

let jobWatchCommand = Command(
    "watch", "Follow a job to its end, whoever began it",
    discussion: """
        Shows what has happened so far, then each thing as it happens, as the command that began the job does; the progress of
        a transfer is drawn on a terminal. A job that has ended is shown with its outcome at once. It is the whole of a restore,
        undo, cleanup or replacement, or one member's part of it, as JOB says. Where the coordinator is out of reach, it asks again
        and goes on.

        Interrupting it (ctrl-c) ends the watching only. It ends as the command does that began such a job.
        """,
    arguments: [.init("JOB", "its id, or a unique beginning of it; 'fleetctl job list' has them")],
    options: [Output.option],
    examples: [
        .init("fleetctl job watch 20261124-0655", "a restore that a colleague began"),
        .init("fleetctl job watch 20261124-0655 -o json", "waits for the end, then prints the job with all its events"),
    ],
    exitStatuses: [
        (.partialFailure, "a cleanup: some nodes still have old data; they are named"),
        (.rolledBack, "it failed after the switch had begun; what was in force before it is in force again"),
        (.stuck, "it stands half-way and needs a person; the error says where and what to do"),
    ]
) { call in
    let control = try await Coordinator.control(call)
    let terminal = call.terminal
    let job: JobRecord = try await control.ask(ControlMethod.showJob, NameRequest(name: call.argument("JOB")!))
    if !Output.isJSON(call) {
        terminal.print(
            "\(job.dryRun ? "\(job.kind) (dry run)" : job.kind) \(job.id) of \(job.cluster) on \(job.node), asked for "
                + "\(job.created.short) by \(job.requestedBy)")
        for line in try await waits(job, control) { terminal.print(Terminal.clean(line)) }
    }
    let what = job.kind == "replace" ? "replacement" : job.kind
    let ended = try await JobFollow.toItsEnd(
        job, control, call, goesOn: "the \(what) goes on by itself; see 'fleetctl job watch \(job.id)'",
        say: { terminal.print($0) })
    if Output.isJSON(call) {
        try Output.json(ended, call)
    } else {
        RestoreReport.print(ended, terminal, dryRun: ended.dryRun)
        if let finished = ended.finished {
            terminal.note("ended \(finished.short), after \(Human.duration(finished.since(ended.created)))")
        }
    }
    let status = ended.state.exitStatus
    guard let restore = ended.cleans else { return status }
    return try await CleanupReport.status(ended, restore, status, control, terminal)
}

/// Whom a job that is under way waits for, where that is known.
private func waits(_ job: JobRecord, _ control: Control) async throws(FleetError) -> [String] {
    guard job.state.isOpen else { return [] }
    let agents: [AgentRecord] = try await control.ask(ControlMethod.listAgents, ListRequest(cluster: job.cluster))
    if let waits = RestoreReport.waits(job) { return ["waits for \(waits)"] + RestoreReport.missed(job, agents) }
    guard job.members == nil, agents.contains(where: { $0.isAway(at: job) }) else { return [] }
    return ["waits for \(job.node), which is not connected"]
}
