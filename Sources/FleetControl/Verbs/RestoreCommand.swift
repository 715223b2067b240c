internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

let restoreCommand = Command(
    "restore", "Restore a cluster's etcd from a snapshot",
    discussion: """
        Everything that can fail is tried before anything is stopped. The snapshot is restored into a new directory, then
        etcd is switched to it and checked. If that fails, the old configuration and the old data are put in force again.
        The old data directory is never changed, and deleted only by 'restore cleanup'. Until then 'restore undo' goes back
        to it.

        A cluster of several members is restored as one: each step is done on all nodes before the next is begun on any,
        and until the restored members are proven to be one cluster with the same data, any failure puts the old data
        back on all of them. Every member needs an agent, and all have to be connected.

        --at takes a snapshot's id or a unique beginning of it, 'latest', or a time: then it is the newest snapshot that
        was saved at or before it. A time is written like 2026-11-24T06:00Z; without a zone it is UTC.

        Before anything else, one member saves what is there as a snapshot, as a backup does: pinned, marked with this
        restore, and found by its id only, never as 'latest' or by a time. If that fails, nothing is touched; if etcd does not
        answer, the restore says so and goes on. --no-safety-snapshot leaves it out.

        Revisions go on far above all that the cluster ever had (and count as compacted below), where the node's tool can do
        that: from 3.4.27, 3.5.10 and 3.6 on. So clients that watch list again instead of going back in time. The plan says
        by how much and why, or that the tool can't and what follows. --no-bump-revision leaves it out.

        A cluster that is protected ('fleetctl cluster protect') is restored only as a second operator has approved: plan it
        with --dry-run, and let them run 'fleetctl restore approve' with the dry run's job.

        Once it has begun, it goes on by itself: interrupting this command (which then ends by the signal, 130 in a shell)
        only stops watching. 'fleetctl job watch' follows it again, and 'fleetctl job show' tells what became of it, for whom it
        waits and until when.
        """,
    arguments: [.init("CLUSTER", "the cluster to restore")],
    options: [
        .init("at", value: "SNAPSHOT", "what to restore: an id, 'latest' or a time"),
        .init("dry-run", "show the exact plan, with the diff of each file, and change nothing"),
        .init("plan-file", value: "FILE", "with --dry-run: write the plan there too, for a second person"),
        .init("yes", short: "y", "do not ask"),
        .init("from-other-cluster", "allow a snapshot that was taken of another cluster"),
        .init("no-safety-snapshot", "do not save first what is there"),
        .init("no-bump-revision", "leave revisions as the snapshot has them"),
        .init(
            "wait", value: "DURATION",
            "how long each wait on a node may take (default 2m); of several members, one that does not end a phase in a few of these takes all back, and 'job show' says when"
        ), Output.option,
    ],
    examples: [
        .init("fleetctl restore cluster-a --at latest --dry-run", "what would be done"),
        .init(
            "fleetctl restore cluster-a --at latest --dry-run --plan-file plan.txt", "the same for somebody else's eyes"
        ),
        .init("fleetctl restore cluster-a --at 20261124-0655 --yes", "without a question, for scripts"),
        .init("fleetctl restore cluster-a --at 2026-11-24T06:00Z", "the newest snapshot saved at or before that time"),
    ],
    exitStatuses: [
        (
            .rolledBack,
            "it failed after the switch had begun; the old configuration and data are in force again, and where etcd was not seen to be healthy, that is said"
        ),
        (.stuck, "it stands half-way and needs a person; the error says where and what to do"),
        (.declined, "the question was not answered with yes"),
    ], subcommands: [restoreApproveCommand, restoreUndoCommand, restoreCleanupCommand]
) { call in
    guard let at = call.value("at") else {
        throw FleetError(
            .usage, "--at is missing",
            hint:
                "give --at with a snapshot's id, 'latest' or a time; 'fleetctl snapshot list \(call.argument("CLUSTER")!)' shows them"
        )
    }
    if let path = call.value("plan-file") {
        guard call.has("dry-run") else {
            throw FleetError(.usage, "--plan-file goes with --dry-run", hint: "plan first, then restore without both")
        }
        try RestorePlanFile.check(path)
    }
    let control = try await Coordinator.control(call)
    let wait = try call.duration("wait", default: .seconds(120))
    var request = RestoreRequest(
        cluster: call.argument("CLUSTER")!, at: at, dryRun: call.has("dry-run"),
        fromOtherCluster: call.has("from-other-cluster"),
        waitSeconds: Int(wait.seconds))
    if call.has("no-safety-snapshot") { request.withoutSafetySnapshot = true }
    if call.has("no-bump-revision") { request.withoutBump = true }
    let preview: RestorePreview = try await control.ask(ControlMethod.previewRestore, request)
    // What was shown is what is restored, whatever is stored in between.
    request.at = preview.snapshot.record.id
    let terminal = call.terminal
    let heading =
        RestoreReport.lines(preview) + [
            call.has("no-safety-snapshot")
                ? "CAUTION   what is there is not saved first (--no-safety-snapshot)"
                : "first     what is there is saved as a snapshot, if etcd answers",
            // Only a figure: a restore is not kept from its work for it.
            "down      \((try? await DownTime.expected(request.cluster, control)) ?? "how long is not known")",
        ]
    if !Output.isJSON(call) { for line in heading { terminal.note(line) } }
    if !request.dryRun, !call.has("yes") {
        guard terminal.confirms("Replace the present data of \(request.cluster)?") else {
            terminal.note("nothing was done; it goes on with y on a terminal, or with --yes")
            return .declined
        }
    }
    let job: JobRecord = try await control.call(ControlMethod.startRestore, request)
    return try await RestoreFollow.toItsEnd(job, "restore", control, call) { ended throws(FleetError) in
        if request.dryRun, preview.cluster.isProtected == true, ended.state == .succeeded {
            terminal.note(
                "\(request.cluster) is protected; another operator approves: fleetctl restore approve \(ended.id)")
        }
        guard let path = call.value("plan-file"), ended.state == .succeeded else { return }
        var command = "fleetctl restore \(request.cluster) --at \(request.at)"
        for flag in ["from-other-cluster", "no-safety-snapshot", "no-bump-revision"] where call.has(flag) {
            command += " --\(flag)"
        }
        if let wait = call.value("wait") { command += " --wait \(wait)" }
        try RestorePlanFile.write(
            RestorePlanFile.text(heading, ended, isProtected: preview.cluster.isProtected == true, command: command),
            to: path)
        terminal.note("the plan is in \(path)")
    }
}
