internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem
internal import FleetTLS

let clusterProtectCommand = Command(
    "protect", "Let a cluster's data be replaced only by two people",
    discussion: """
        A restore of it, or the undo of one, is then begun only with a second operator's approval: one plans it with --dry-run,
        another looks at that plan and approves it with 'fleetctl restore approve', signed with their own key, and within a
        day any operator but that one begins it. Only root on the coordinator's host can lift this, or enrol agents of the
        cluster, whose backups could be of anything; join tokens for its nodes that operators have made and nobody has used
        are void. A cleanup of old data, the deletion of a snapshot and the replacement of a member take one person as
        before.
        """,
    arguments: [.init("CLUSTER", "its name")],
    examples: [.init("fleetctl cluster protect cluster-a", "from now on")]
) { call in
    let cluster: ClusterRecord = try await Coordinator.control(call).call(
        ControlMethod.protectCluster, ProtectRequest(cluster: call.argument("CLUSTER")!, isProtected: true))
    call.terminal.print("\(cluster.name) is protected: a restore of it takes a second operator's approval")
    return .success
}

let clusterUnprotectCommand = Command(
    "unprotect", "Let one person replace a cluster's data again",
    discussion:
        "For root on the coordinator's host alone: who may restore must not be able to lift what keeps them from it.",
    arguments: [.init("CLUSTER", "its name")],
    examples: [.init("fleetctl cluster unprotect cluster-a", "as root on the coordinator's host")]
) { call in
    let cluster: ClusterRecord = try await Coordinator.control(call).call(
        ControlMethod.protectCluster, ProtectRequest(cluster: call.argument("CLUSTER")!, isProtected: false))
    call.terminal.print("\(cluster.name) is not protected any more: a restore of it takes one operator")
    return .success
}

/// What an approval is worth, in words.
enum ApprovalWords {
    static let own = "you planned this yourself: it counts only where another operator than you begins it"

    static func use(_ approval: ApprovalRecord, now: Timestamp) -> String {
        let (expires, used) = (approval.statement.expires, approval.usedBy)
        guard used == nil || approval.isUnused == true else { return "used by \(used ?? "")" }
        if approval.isVoid == true { return "void: who gave it has lost the right to" }
        let good = expires > now ? "good until \(expires.short)" : "ran out at \(expires.short)"
        return used.map { "\(good) (\($0) ended before it touched anything)" } ?? good
    }
}

let restoreApproveCommand = Command(
    "approve", "Approve a planned restore, which another than you then begins",
    discussion: """
        Shows the plan of a dry run of a restore or of an undo, asks, and signs it with the key of your operator's certificate.
        Any other operator can begin it within a day, once, with the same snapshot and options, while the same members have
        their data in the same places; whoever approved it can't. What you planned yourself you may approve, and another than
        you begins it then. One that ended before it touched anything can be begun again.
        """,
    arguments: [.init("JOB", "the dry run's job: its id, or a unique beginning of it")],
    options: [.init("yes", short: "y", "do not ask"), Output.option],
    examples: [.init("fleetctl restore approve 20261124-0655", "shows the plan and asks")],
    exitStatuses: [(.declined, "the question was not answered with yes")]
) { call in
    let context = try Coordinator.chosen(call)
    let control = try await Coordinator.control(call)
    let terminal = call.terminal
    let preview: ApprovalPreview = try await control.ask(
        ControlMethod.previewApproval, NameRequest(name: call.argument("JOB")!))
    let (job, statement) = (preview.job, preview.statement)
    // What is signed is what is shown here, and nothing that was only said to be.
    guard try statement.planDigest == ApprovalStatement.digest(of: job), statement.plan == job.id,
        statement.kind == job.kind, statement.snapshot == job.snapshot, statement.cluster == job.cluster,
        statement.undoes == job.undoes, statement.replaces == ApprovalStatement.replaces(job),
        (preview.restore?.snapshot.record.id ?? statement.snapshot) == statement.snapshot
    else {
        throw FleetError(
            .malformed, "the coordinator asks for an approval of another plan than it shows",
            hint: "give fleetctl and the coordinator the same version; if they have it, trust neither")
    }
    guard let identity = try context.identity() else {
        throw FleetError(
            .usage, "an approval is signed with an operator's own key, and \(context.name) has none",
            hint: "log in as an operator: fleetctl login -")
    }
    // An older coordinator does not say who asks.
    let me: WhoAmIReply? = try? await control.ask(ControlMethod.whoAmI, ListRequest())
    let isOwn = me?.actor == job.requestedBy
    if !Output.isJSON(call) {
        terminal.note("planned   \(job.created.short) by \(job.requestedBy), job \(job.id)")
        for line in preview.restore.map(RestoreReport.lines) ?? [] { terminal.note(line) }
        if let undone = statement.undoes {
            terminal.note("undo      \(undone) of \(job.cluster), on \(job.node)")
            terminal.note("          what was written since that restore is lost to etcd, and kept on disk")
        } else if statement.withoutSafetySnapshot {
            terminal.note("CAUTION   what is there is not saved first (--no-safety-snapshot)")
        }
        if statement.withoutBump {
            terminal.note("CAUTION   revisions go on where the snapshot has them (--no-bump-revision)")
        }
        let plans = (job.members ?? [job]).compactMap { $0.outcome?.plan }
        for line in RestorePlanText.lines(plans) { terminal.note(Terminal.clean(line)) }
        if isOwn { terminal.note("CAUTION   \(ApprovalWords.own)") }
    }
    if !call.has("yes"), !terminal.confirms("Approve this?") {
        terminal.note("nothing was done; it goes on with y on a terminal, or with --yes")
        return .declined
    }
    let envelope = try Envelope.approval(statement, key: identity.key, certificate: identity.certificate)
    let given: ApprovalRecord = try await control.call(
        ControlMethod.approveRestore, ApproveRequest(job: job.id, envelope: envelope))
    if Output.isJSON(call) {
        try Output.json(given, call)
    } else {
        terminal.print(
            "approved \(job.kind) \(job.id) of \(job.cluster)\(isOwn ? ", which you planned yourself" : ""); another operator "
                + "than you can begin it until \(statement.expires.short)")
    }
    return .success
}
