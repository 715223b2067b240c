internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

let policyRemoveCommand = Command(
    "remove", "Remove a policy",
    discussion: """
        Says who follows it, what they follow then, and how many snapshots are deleted by that; then it asks. Its clusters
        follow the next that selects them, if any; what runs goes on to its end.
        """,
    arguments: [.init("POLICY", "its name")],
    options: [.init("dry-run", "only say what would follow"), .init("yes", short: "y", "do not ask")],
    examples: [.init("fleetctl policy remove nightly", "says what follows, and asks")],
    exitStatuses: [(.declined, "the question was not answered with yes")]
) { call in
    let (name, terminal) = (call.argument("POLICY")!, call.terminal)
    let control = try await Coordinator.control(call)
    let records: [PolicyRecord] = try await control.ask(ControlMethod.listPolicies, ListRequest())
    guard records.contains(where: { $0.policy.name == name }) else {
        throw FleetError(.notFound, "there is no policy \(Names.quote(name))", hint: "see: fleetctl policy list")
    }
    if call.has("dry-run") || !call.has("yes") {
        // An older coordinator would take a rehearsal of the removal itself for the removal.
        let others = records.map(\.policy).filter { $0.name != name }
        let planned: [PolicyChange] = try await control.call(
            ControlMethod.applyPolicies, PolicySet(policies: others, dryRun: true))
        let lines = PolicyWords.removal(of: name, planned)
        if call.has("dry-run") {
            for line in lines { terminal.print(line) }
            terminal.note("nothing was changed")
            return .success
        }
        for line in lines { terminal.note(line) }
        guard terminal.confirms("Remove policy \(name)?") else {
            terminal.note("nothing was done; it goes on with y on a terminal, or with --yes")
            return .declined
        }
    }
    let gone: PolicyChange = try await control.call(ControlMethod.removePolicy, NameRequest(name: name))
    terminal.print("\(gone.name) removed")
    return .success
}
