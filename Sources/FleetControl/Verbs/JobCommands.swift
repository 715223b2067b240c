internal import FleetCommandLine
internal import FleetConcerns
internal import FleetProtocol
internal import FleetSystem

let jobCommand = Command(
    "job", "Jobs, past and under way",
    discussion: """
        All that agents are asked to do is a job: backups, restores, undos and cleanups, drills, replacements of members, and
        upgrades of agents, whoever or whatever schedule asked for it. A restore of several members and a replacement are one job
        each, with a job for every member's part. An id, or a unique beginning of one, names it everywhere, in the log of the
        coordinator and in that of the agent ('journalctl -u fleet-agent') too.
        """,
    subcommands: [
        Command(
            "list", "List jobs, newest first", arguments: [.init("CLUSTER", "only this cluster's", count: .optional)],
            options: [.init("limit", value: "N", "at most so many (default 50)"), Output.option],
            examples: [.init("fleetctl job list cluster-a", "what was done on cluster-a")]
        ) { call in
            let control = try await Coordinator.control(call)
            let jobs: [JobRecord] = try await control.ask(
                ControlMethod.listJobs,
                ListRequest(cluster: call.argument("CLUSTER"), limit: try call.number("limit", default: 50)))
            if Output.isJSON(call) {
                try Output.json(jobs, call)
                return .success
            }
            var table = Table(["JOB", "KIND", "CLUSTER", "NODE", "STATE", "STARTED", "TOOK", "BY", "WHY"])
            for job in jobs {
                table.add(
                    [
                        job.id, job.dryRun ? "\(job.kind) (dry run)" : job.kind, job.cluster, job.node,
                        job.state.rawValue, job.created.short,
                        job.finished.map { Human.duration($0.since(job.created)) } ?? "", job.requestedBy,
                        job.error?.message ?? "",
                    ], paint: [4: job.state.paint(call.terminal)])
            }
            if table.isEmpty { call.terminal.note("there are no jobs yet") } else { table.print(call.terminal) }
            return .success
        },
        Command(
            "show", "Show a job with all its events", arguments: [.init("JOB", "its id, or a unique beginning of it")],
            options: [Output.option],
            examples: [.init("fleetctl job show 20261124-0655", "what happened, step by step")]
        ) { call in
            let control = try await Coordinator.control(call)
            let job: JobRecord = try await control.ask(
                ControlMethod.showJob, NameRequest(name: call.argument("JOB")!))
            if Output.isJSON(call) {
                try Output.json(job, call)
                return .success
            }
            let agents: [AgentRecord] =
                job.waitsFor == nil
                ? [] : try await control.ask(ControlMethod.listAgents, ListRequest(cluster: job.cluster))
            show(job, agents, call.terminal)
            return .success
        },
        jobWatchCommand,
    ])

private func show(_ job: JobRecord, _ agents: [AgentRecord], _ terminal: Terminal) {
    terminal.print("job        \(job.id)")
    terminal.print("kind       \(job.kind)\(job.dryRun ? " (dry run)" : "")")
    let isReplacement = job.kind == "replace"
    let hasNodes = job.members != nil && !isReplacement
    terminal.print("cluster    \(job.cluster), \(hasNodes ? "nodes" : "node") \(job.node)")
    if let restore = job.restore { terminal.print("restore    \(restore), of which this is one member's part") }
    if let whole = job.replacement { terminal.print("replace    \(whole), of which this is one act") }
    if let undone = job.undoes { terminal.print("undoes     \(undone)") }
    if let cleaned = job.cleans { terminal.print("cleans up  \(cleaned)") }
    if !job.snapshot.isEmpty { terminal.print("snapshot   \(job.snapshot)") }
    terminal.print("state      \(job.state.paint(terminal)(job.state.rawValue))")
    terminal.print("asked for  \(job.created.short) by \(job.requestedBy)")
    if let waits = RestoreReport.waits(job) { terminal.print("waits for  \(Terminal.clean(waits))") }
    for line in RestoreReport.missed(job, agents) { terminal.print("missing    \(Terminal.clean(line))") }
    if let finished = job.finished {
        terminal.print("finished   \(finished.short), after \(Human.duration(finished.since(job.created)))")
    }
    if let summary = job.outcome?.summary { terminal.print("outcome    \(Terminal.clean(summary))") }
    for note in RestoreReport.notes(job) { terminal.print("note       \(Terminal.clean(note))") }
    if let error = job.error {
        terminal.print("error      \(Terminal.clean(error.message)) (\(error.code))")
        if let hint = error.hint { terminal.print("hint       \(Terminal.clean(hint))") }
    }
    if let down = DownTime.of(job) { terminal.print("down       \(Human.duration(down)), until etcd was verified") }
    for line in RestoreReport.unwell(job) { terminal.print("unhealthy  \(Terminal.clean(line))") }
    for line in job.aftermath.map({ RestoreReport.lines($0, job: job.id) }) ?? [] {
        terminal.print("undo       \(Terminal.clean(line))")
    }
    for approval in job.approvals ?? [] {
        terminal.print(
            "approved   \(approval.given.short) by \(approval.by), \(ApprovalWords.use(approval, now: .now()))")
    }
    for member in job.members ?? [] {
        let isWaitedFor = member.state.isOpen && job.waitsFor?.contains(member.node) == true
        terminal.print(
            "\(isReplacement ? "act   " : "member")     \(RestoreReport.line(member, isWaitedFor: isWaitedFor, terminal))"
        )
        if member.state == .stuck || member.state == .lost, let error = member.error {
            terminal.print("           \(Terminal.clean(error.message))")
            if let hint = error.hint { terminal.print("           hint: \(Terminal.clean(hint))") }
        }
    }
    let events = (job.events + (job.members ?? []).flatMap(\.events)).sorted { $0.time < $1.time }
    // By the nodes' own clocks: who was last is not known.
    var lines = JobLines(job, isLive: false)
    if !events.isEmpty { terminal.print("") }
    for event in events { if let line = lines.line(event) { terminal.print(Terminal.clean(line)) } }
}
