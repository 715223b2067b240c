internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

private let roles = """
    viewer    sees the fleet, its jobs, snapshots and audit log, and nothing of what is in a snapshot but the names of keys
              whose values others looked at, as the audit log has them
    operator  also backs up, drills and pins, and sees the names of keys
    restorer  also restores, undoes, replaces members, imports, and approves plans that others begin; exports snapshots and
              sees values
    admin     also clusters, labels, agents, policies, retention, and what deletes; not other operators
    """

private let hostOnly = "For root on the coordinator's host: an operator who could make others could be two people."

private let nameArgument = Command.Argument("NAME", "the operator's name, as the audit log will show it")
private let validOption = Command.Option("valid", value: "DURATION", "how long the token can be used (default 1h)")
private let roleOption = Command.Option(
    "role", value: "ROLE", "what they may", choices: OperatorRole.allCases.map(\.rawValue))
private let clustersOption = Command.Option(
    "clusters", value: "SELECTOR", "names or labels: cluster-a,cluster-b or env=production; 'all' (the default) is all")

let operatorCommand = Command(
    "operator", "People who may use this coordinator, and what they may", discussion: roles,
    subcommands: [addCommand, setCommand, tokenCommand, listCommand, revokeCommand])

private let addCommand = Command(
    "add", "Let somebody use this coordinator, and make the token with which they log in",
    discussion: roles + "\n\n" + hostOnly, arguments: [nameArgument],
    options: [roleOption, clustersOption, validOption, Output.option],
    examples: [
        .init("fleetctl operator add alice --role restorer", "alice then runs 'fleetctl login -' on her own machine"),
        .init("fleetctl operator add bob --role operator --clusters env=staging", "only clusters with that label"),
    ]
) { call in
    guard let role = try role(call) else {
        throw FleetError(.usage, "an operator needs a role", hint: "give one: --role \(OperatorRole.names)")
    }
    let control = try await Coordinator.control(call)
    let name = call.argument("NAME")!
    let change = OperatorChange(name: name, role: role, clusters: try selector(call))
    let valid = try call.duration("valid", default: .seconds(3600))
    let token = TokenRequest(name: name, validSeconds: Int(valid.seconds))
    // Before anything is made: a wrong time would leave an operator without a token.
    try token.check()
    let made: OperatorRecord = try await control.call(ControlMethod.addOperator, change)
    let reply: TokenReply = try await control.call(ControlMethod.operatorToken, token)
    call.terminal.note("\(name) is \(made.access?.text ?? "unknown")")
    await noteIfNone(made, control, call)
    try printToken(reply, call, next: "on the operator's machine: fleetctl login -")
    return .success
}

private let setCommand = Command(
    "set", "Give an operator another role or other clusters, at once",
    discussion: roles + "\n\n" + hostOnly, arguments: [nameArgument],
    options: [roleOption, clustersOption, Output.option],
    examples: [.init("fleetctl operator set bob --role viewer --clusters all", "from bob's next request on")]
) { call in
    let change = OperatorChange(name: call.argument("NAME")!, role: try role(call), clusters: try selector(call))
    guard change.role != nil || change.clusters != nil else {
        throw FleetError(.usage, "nothing is to be changed", hint: "give --role, --clusters or both")
    }
    let control = try await Coordinator.control(call)
    let changed: OperatorRecord = try await control.call(ControlMethod.setOperator, change)
    if Output.isJSON(call) {
        try Output.json(changed, call)
    } else {
        call.terminal.print("\(changed.name) is \(changed.access?.text ?? "unknown") now")
    }
    if change.clusters != nil { await noteIfNone(changed, control, call) }
    return .success
}

private let tokenCommand = Command(
    "token", "Make another token for an operator, who keeps their role",
    discussion: hostOnly, arguments: [nameArgument], options: [validOption, Output.option],
    examples: [.init("fleetctl operator token alice", "for another machine, or when her certificate has expired")]
) { call in
    let control = try await Coordinator.control(call)
    let valid = try call.duration("valid", default: .seconds(3600))
    let reply: TokenReply = try await control.call(
        ControlMethod.operatorToken, TokenRequest(name: call.argument("NAME")!, validSeconds: Int(valid.seconds)))
    try printToken(reply, call, next: "on the operator's machine: fleetctl login -")
    return .success
}

private let listCommand = Command(
    "list", "List operators", options: [Output.option],
    examples: [.init("fleetctl operator list", "who may use this coordinator, and what they may")]
) { call in
    let control = try await Coordinator.control(call)
    let operators: [OperatorRecord] = try await control.ask(ControlMethod.listOperators, ListRequest())
    if Output.isJSON(call) {
        try Output.json(operators, call)
        return .success
    }
    var table = Table(["OPERATOR", "ROLE", "CLUSTERS", "SINCE", "CERTIFICATE UNTIL"])
    for one in operators {
        let retired = one.certificate?.isRetired == true ? "ended with a retired authority; log in again" : nil
        let revoked = one.certificate?.revoked.map { "revoked at \($0.short)" }
        let clusters = one.access.map { $0.clusters.isEverything ? "all" : Terminal.clean($0.clusters.text) }
        table.add([
            one.name, one.access?.role.rawValue ?? "unknown", clusters ?? "unknown", one.created.short,
            revoked ?? retired ?? one.certificate?.notAfter.short ?? "not logged in yet",
        ])
    }
    if table.isEmpty {
        call.terminal.note("there are none; root on the coordinator's host needs no name")
    } else {
        table.print(call.terminal)
    }
    return .success
}

private let revokeCommand = Command(
    "revoke", "Take an operator's right to use this coordinator, at once",
    discussion: """
        Their certificates, the tokens they have not used, and the join tokens they made for nodes that have not come yet, all
        count for nothing from now on.
        """,
    arguments: [.init("NAME", "the operator's name")],
    examples: [
        .init("fleetctl operator revoke alice", "all of alice's certificates count for nothing from now on")
    ]
) { call in
    let control = try await Coordinator.control(call)
    let name = call.argument("NAME")!
    let reply: RevokeReply = try await control.call(
        ControlMethod.revokeOperator, RevokeRequest(cluster: nil, name: name))
    call.terminal.print(
        "\(name) may not use this coordinator any more, with a token from before neither; certificates revoked: \(reply.certificates)"
    )
    return .success
}

let whoAmICommand = Command(
    "whoami", "Say who the coordinator takes you for, and what you may", options: [Output.option],
    examples: [.init("fleetctl whoami", "your name, role and clusters")]
) { call in
    let control = try await Coordinator.control(call)
    let reply: WhoAmIReply = try await control.call(ControlMethod.whoAmI, ListRequest())
    if Output.isJSON(call) {
        try Output.json(reply, call)
        return .success
    }
    guard let access = reply.access else {
        call.terminal.print("\(reply.actor), on the coordinator's host: everything")
        return .success
    }
    call.terminal.print("\(reply.actor), \(Terminal.clean(access.text))")
    if let clusters = reply.clusters {
        call.terminal.print("clusters now: \(clusters.isEmpty ? "none" : clusters.joined(separator: ", "))")
    }
    return .success
}

/// A name or a label that was mistyped looks like one that is still to come.
private func noteIfNone(_ one: OperatorRecord, _ control: Control, _ call: Invocation) async {
    let clusters: [ClusterRecord]? = try? await control.ask(ControlMethod.listClusters, ListRequest())
    guard let clusters, let note = OperatorWords.ofNone(one, among: clusters) else { return }
    call.terminal.note("note: \(Terminal.clean(note))")
}

enum OperatorWords {
    /// nil where they may see some cluster, or all that there will be.
    static func ofNone(_ one: OperatorRecord, among clusters: [ClusterRecord]) -> String? {
        guard let selector = one.access?.clusters, !selector.isEverything,
            !clusters.contains(where: { selector.selects($0.name, labels: $0.labels ?? [:]) })
        else { return nil }
        return "no cluster is \(selector.text) now, and \(one.name) sees none until one is; 'fleetctl "
            + "cluster list' has the names, 'fleetctl cluster show' the labels of each"
    }
}

private func role(_ call: Invocation) throws(FleetError) -> OperatorRole? {
    call.value("role").flatMap(OperatorRole.init(rawValue:))
}

private func selector(_ call: Invocation) throws(FleetError) -> ClusterSelector? {
    guard let text = call.value("clusters") else { return nil }
    return text == "all" ? ClusterSelector() : try ClusterSelector(text)
}
