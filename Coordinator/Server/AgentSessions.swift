import FleetProtocol
import FleetSystem

/// Which agents are connected now. Memory only: after a restart they all connect again.
actor AgentSessions {
    private var connections: [NodeName: Connection] = [:]

    /// The agent's newest connection replaces an older one, which is most likely dead without having noticed.
    ///
    /// - Returns: false when it was the node's connection already.
    func add(_ node: NodeName, _ connection: Connection) async -> Bool {
        let former = connections.updateValue(connection, forKey: node)
        if former === connection { return false }
        if let former {
            await former.close(FleetError("replaced", "this agent has connected anew", retryable: true))
        }
        return true
    }

    /// True when it was still the node's connection.
    func remove(_ node: NodeName, _ connection: Connection) -> Bool {
        guard connections[node] === connection else { return false }
        connections[node] = nil
        return true
    }

    func connection(_ node: NodeName) -> Connection? { connections[node] }
    var connected: Set<NodeName> { Set(connections.keys) }
}

extension NodeName {
    init(_ job: Job) { self.init(cluster: job.cluster, node: job.node) }
    init(_ agent: AgentRecord) { self.init(cluster: agent.cluster, node: agent.node) }
}
