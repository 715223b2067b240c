internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

let policyListCommand = Command(
    "list", "List policies, a line each, in their order", options: [Output.option],
    examples: [.init("fleetctl policy list", "what there is; 'policy show' has all of each")]
) { call in
    let control = try await Coordinator.control(call)
    let records: [PolicyRecord] = try await control.ask(ControlMethod.listPolicies, ListRequest())
    if Output.isJSON(call) {
        try Output.json(records, call)
        return .success
    }
    var table = Table(["POLICY", "SELECTS", "BACKUPS", "OBJECTIVE", "DRILLS", "FOLLOWED BY"])
    for record in records {
        let policy = record.policy
        table.add([
            policy.name, PolicyWords.selector(policy),
            policy.schedule.map { "\($0) (\(policy.timezone))" } ?? "by hand only",
            policy.objective.map { Human.duration(.seconds($0)) } ?? "", policy.drill ?? "",
            record.clusters.isEmpty ? "no cluster" : PolicyWords.names(record.clusters),
        ])
    }
    if table.isEmpty { call.terminal.note(await PolicyWords.none(control)) } else { table.print(call.terminal) }
    for record in records {
        if let problem = record.problem { call.terminal.note(Terminal.clean(problem.message)) }
        if let nobody = PolicyWords.nobody(record.policy.name, record.selects) { call.terminal.note(nobody) }
    }
    if !table.isEmpty, await !PolicyWords.seesAll(control) {
        call.terminal.note(PolicyWords.othersHidden)
    }
    return .success
}

let policyShowCommand = Command(
    "show", "Show policies and who follows them",
    arguments: [.init("POLICY", "only this one", count: .optional)], options: [Output.option],
    examples: [.init("fleetctl policy show", "all of them, in their order")]
) { call in
    let control = try await Coordinator.control(call)
    var records: [PolicyRecord] = try await control.ask(ControlMethod.listPolicies, ListRequest())
    if let name = call.argument("POLICY") {
        records = records.filter { $0.policy.name == name }
        guard !records.isEmpty else {
            throw FleetError(.notFound, "there is no policy \(Names.quote(name))", hint: "see: fleetctl policy list")
        }
    }
    if Output.isJSON(call) {
        try Output.json(records, call)
    } else if records.isEmpty {
        call.terminal.note(await PolicyWords.none(control))
    } else {
        for (index, record) in records.enumerated() {
            if index > 0 { call.terminal.print("") }
            for line in PolicyWords.lines(record) { call.terminal.print(Terminal.clean(line)) }
        }
        if call.argument("POLICY") == nil, await !PolicyWords.seesAll(control) {
            call.terminal.note(PolicyWords.othersHidden)
        }
    }
    return .success
}
