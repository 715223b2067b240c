internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

let clusterRemoveCommand = Command(
    "remove", "Take a cluster that has nothing any more out of the fleet",
    discussion: """
        For a name that was mistyped, or a cluster that is gone. Refused while it has snapshots, agents that are not revoked or
        something under way, while a policy or an operator's rights name it, and while it is protected; the error says what to
        do. Join tokens for it are void then. Its jobs and its part of the audit log stay, and its name can be added again.
        """,
    arguments: [.init("CLUSTER", "its name")],
    options: [.init("dry-run", "only say what would go"), .init("yes", short: "y", "do not ask"), Output.option],
    examples: [.init("fleetctl cluster remove cluster-b", "says what goes, and asks")],
    exitStatuses: [(.declined, "the question was not answered with yes")]
) { call in
    let (name, terminal) = (call.argument("CLUSTER")!, call.terminal)
    let control = try await Coordinator.control(call)
    if call.has("dry-run") || !call.has("yes") {
        let planned: ClusterRemoval = try await control.call(
            ControlMethod.removeCluster, ClusterRemovalRequest(name: name, dryRun: true))
        if call.has("dry-run") {
            if Output.isJSON(call) { try Output.json(planned, call) } else { terminal.print(text(planned)) }
            terminal.note("nothing was changed")
            return .success
        }
        terminal.note(text(planned))
        guard terminal.confirms("Remove cluster \(name)?") else {
            terminal.note("nothing was done; it goes on with y on a terminal, or with --yes")
            return .declined
        }
    }
    let gone: ClusterRemoval = try await control.call(
        ControlMethod.removeCluster, ClusterRemovalRequest(name: name, dryRun: false))
    if Output.isJSON(call) { try Output.json(gone, call) } else { terminal.print("cluster \(gone.cluster) removed") }
    return .success
}

private func text(_ removal: ClusterRemoval) -> String {
    var what: [String] = []
    if !removal.agents.isEmpty { what.append("its revoked agents on \(PolicyWords.names(removal.agents))") }
    if removal.tokens > 0 { what.append(removal.tokens == 1 ? "a join token" : "\(removal.tokens) join tokens") }
    let also = what.isEmpty ? "" : ", with \(what.joined(separator: " and "))"
    return "\(removal.cluster) goes\(also); its jobs and its part of the audit log stay"
}
