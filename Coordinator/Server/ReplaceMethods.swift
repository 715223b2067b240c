import FleetProtocol
import FleetSystem

/// The replacement of a member, as an operator asks for it.
extension CoordinatorServer {
    /// - Returns: false for another method.
    func serveReplacement(_ stream: FleetProtocol.Stream, _ actor: String) async throws(FleetError) -> Bool {
        guard stream.method == ControlMethod.replaceMember else { return false }
        let request = try JSON.decode(ReplaceRequest.self, from: stream.request)
        guard Operation.Restore.waitRange.contains(request.waitSeconds) else {
            throw FleetError(
                .usage, "a wait of \(request.waitSeconds) s is not possible", hint: "give --wait between 10s and 1h")
        }
        let agents = try await agents(request.cluster)
        // Before a member is missed that takes part in what goes on.
        try await catalogue.checkIdle(request.cluster)
        let others = try ReplaceNodes.others(agents, of: request.node, cluster: request.cluster)
        let terms = ReplaceTransaction.Order(
            cluster: request.cluster, node: request.node, others: others, dryRun: request.dryRun,
            waitSeconds: request.waitSeconds, lifetimeSeconds: Int(configuration.jobLifetime.seconds))
        let (job, effect) = try await catalogue.createReplacement(terms, by: actor)
        note(made: job)
        try await stream.finish(job)
        await carryOut([effect])
        return true
    }
}

/// Which agents take part in a replacement. Pure.
enum ReplaceNodes {
    /// Those that are there; whether they are enough, etcd's own list of members tells.
    ///
    /// - Throws: `not-found` for a node that is none of the cluster's, `no-agent`.
    static func others(
        _ agents: [AgentRecord], of node: String, cluster: String
    ) throws(FleetError) -> [String] {
        // While its manifest is aside, a node looks like a verifier; the one that was named is meant.
        let present = agents.filter { $0.certificate?.revoked == nil && ($0.node == node || !$0.holdsNoEtcd) }
        guard let own = present.first(where: { $0.node == node }) else {
            let known = present.map(\.node).sorted().joined(separator: ", ")
            throw FleetError(
                .notFound, "cluster \(cluster) has no agent on \(Names.isValid(node) ? node : Names.quote(node))",
                hint: known.isEmpty
                    ? "enrol its nodes: fleetctl agent install \(cluster) --ssh root@NODE" : "its nodes are: \(known)")
        }
        guard own.connected else {
            throw FleetError(
                .noAgent, "the agent on \(node) is not connected\(own.lastSeen.map { " since \($0)" } ?? "")",
                hint: "boot the node if it is off, else there: systemctl start fleet-agent", retryable: true)
        }
        let others = present.filter { $0.node != node && $0.connected }.map(\.node).sorted()
        guard !others.isEmpty else {
            throw FleetError(
                .noAgent, "no other agent of \(cluster) is connected: nobody can remove and add a member",
                hint: "start the agents beside the healthy members: systemctl start fleet-agent", retryable: true)
        }
        return others
    }
}
