internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

let memberCommand = Command(
    "member", "One member of a cluster whose others are healthy",
    subcommands: [memberReplaceCommand])

private let memberReplaceCommand = Command(
    "replace", "Replace one broken member, from the others and without a snapshot",
    discussion: """
        For a member whose data is damaged or lost while the others are a healthy quorum. A restore would lose all that was
        written since the snapshot, on all members; this loses nothing: the member is removed from etcd and added again as a
        learner, with a new, empty directory, gets its data from the others, and becomes a voter when it has caught up. Then
        health, members, leader and HashKV are compared on all of them. The old directory stays where it is, and is of no
        use to etcd any more.

        Every other voter has to be healthy, and is asked by its own agent: etcd takes in no member while another voter is
        away. All that can fail is tried before anything is touched: space and owner of the new directory, configuration,
        certificates, tools. A member that serves is refused.

        What fails before the old member is removed leaves all as it was. What fails later stops where it is, and says where
        each part stands; the same command again goes on from there. Once it has begun, it goes on by itself: interrupting
        this command only stops watching; 'fleetctl job watch' follows it again, 'fleetctl job show' tells what became of it.

        Needs etcd 3.4 or newer.
        """,
    arguments: [
        .init("CLUSTER", "its cluster"), .init("NODE", "the node of the member, as 'fleetctl agent list' names it"),
    ],
    options: [
        .init("dry-run", "show the exact plan, with the diff of each file, and change nothing"),
        .init("yes", short: "y", "do not ask, and do not show the plan first"),
        .init("wait", value: "DURATION", "how long each wait on a node may take (default 2m)"), Output.option,
    ],
    examples: [
        .init("fleetctl member replace cluster-a node-2 --dry-run", "what would be done"),
        .init("fleetctl member replace cluster-a node-2", "shows the plan, then asks"),
        .init("fleetctl member replace cluster-a node-2 --yes -o json", "for scripts"),
    ],
    exitStatuses: [
        (.stuck, "it stands half-way; the error says where, and the same command goes on from there"),
        (.declined, "the question was not answered with yes"),
    ]
) { call in
    let control = try await Coordinator.control(call)
    let wait = try call.duration("wait", default: .seconds(120))
    var request = ReplaceRequest(
        cluster: call.argument("CLUSTER")!, node: call.argument("NODE")!,
        dryRun: call.has("dry-run") || !call.has("yes"), waitSeconds: Int(wait.seconds))
    let job: JobRecord = try await control.call(ControlMethod.replaceMember, request)
    let status = try await RestoreFollow.toItsEnd(job, "replacement", control, call)
    guard request.dryRun, !call.has("dry-run"), status == .success else { return status }
    let terminal = call.terminal
    guard terminal.confirms("Replace the member of \(request.cluster) on \(request.node)?") else {
        terminal.note("nothing was done; it goes on with y on a terminal, or with --yes")
        return .declined
    }
    request.dryRun = false
    let begun: JobRecord = try await control.call(ControlMethod.replaceMember, request)
    return try await RestoreFollow.toItsEnd(begun, "replacement", control, call)
}

/// The replacement of a member in words.
enum ReplaceReport {
    static func print(_ job: JobRecord, _ terminal: Terminal) {
        if job.dryRun, let plan = job.outcome?.plan {
            for line in lines(plan) { terminal.print(Terminal.clean(line)) }
        }
        if job.state == .succeeded {
            terminal.print(terminal.green("ok") + "  " + Terminal.clean(job.outcome?.summary ?? "done"))
            for note in RestoreReport.notes(job) { terminal.note("note: \(Terminal.clean(note))") }
            return
        }
        let what = job.state == .stuck ? "the replacement stands half-way" : "no member was removed; all is as it was"
        terminal.print(terminal.red(job.state.rawValue.uppercased()) + "  " + what)
        if let error = job.error { terminal.error(error) }
    }

    static func lines(_ plan: RestorePlan) -> [String] {
        // Where the new data is in the old directory, that is not what is of no use any more.
        let isInside = plan.newDataDir.hasPrefix(plan.oldDataDir + "/")
        let old = isInside ? plan.oldDirectories?.joined(separator: ", ") ?? plan.oldDataDir : plan.oldDataDir
        var lines = [
            "plan for the member of \(plan.cluster) on \(plan.node) (\(plan.topology.rawValue))",
            "  removes   \(plan.oldMemberID.map { "member \($0)" } ?? "no member: none of this node is listed")",
            "  members   \(plan.initialCluster ?? "")",
            "  old data  \(old), which stays and is not used again",
            "  new data  \(plan.newDataDir), from the other members",
        ]
        if let old = plan.oldWalDir, let new = plan.newWalDir { lines.append("  WAL       \(old) -> \(new)") }
        if let aside = plan.holdingDirectory { lines.append("  aside     \(aside)") }
        lines += plan.steps.enumerated().map { "  \($0 + 1). \($1.name): \($1.description)" }
        for change in plan.changes {
            lines.append("")
            let diff = UnifiedDiff.text(path: change.path, before: change.before ?? "", after: change.after)
            lines += diff.split(separator: "\n").map(String.init)
        }
        return lines + [""]
    }
}
