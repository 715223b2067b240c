import FleetProtocol
import FleetSystem

/// Which agents are connected now. Memory only: after a restart they all connect again.
actor AgentSessions {
    private struct Session {
        var connection: Connection
        /// When what it said first was recorded: from then on it is spoken to.
        var registered: Timestamp?
    }

    /// Of an agent that is connected.
    struct Sighting: Sendable {
        var since: Timestamp
        var lastHeard: Timestamp
    }
    private var sessions: [NodeName: Session] = [:]
    /// The newest connection that each node ever had, also where it is gone.
    private var newest: [NodeName: Int] = [:]
    /// All of each node's connections by their numbers, registered or not: they end with its certificate.
    private var present: [NodeName: [Int: Connection]] = [:]
    /// By job: where a copy of it was sent that is not answered.
    private var unanswered: [String: Connection] = [:]

    /// - Returns: whether it is new here; then `left` has to follow.
    func entered(_ node: NodeName, _ connection: Connection) -> Bool {
        present[node, default: [:]].updateValue(connection, forKey: connection.number) == nil
    }

    func left(_ node: NodeName, _ connection: Connection) {
        present[node]?[connection.number] = nil
        if present[node]?.isEmpty == true { present[node] = nil }
    }

    /// The agent's newest connection replaces an older one, which is most likely dead without having noticed. That is closed
    /// before anything of the new one is recorded: what it still has on its way is of before.
    ///
    /// - Returns: whether the agent has yet to register on it.
    /// - Throws: `connection-lost` where there is a newer one by now.
    func meet(_ node: NodeName, _ connection: Connection) async throws(FleetError) -> Bool {
        if let session = sessions[node], session.connection === connection { return session.registered == nil }
        // By its own close this one can't be told, which may only be on its way.
        guard newest[node, default: 0] <= connection.number else {
            throw FleetError(.connectionLost, "\(node) has connected anew since", retryable: true)
        }
        newest[node] = connection.number
        let former = sessions.updateValue(Session(connection: connection), forKey: node)
        await former?.connection.close(FleetError("replaced", "this agent has connected anew", retryable: true))
        return true
    }

    /// What the agent said first on it is recorded. Nothing happens where it was replaced meanwhile.
    func registered(_ node: NodeName, _ connection: Connection) {
        guard let session = sessions[node], session.connection === connection, session.registered == nil else { return }
        sessions[node]?.registered = .now()
    }

    /// True when it was still the node's connection.
    func remove(_ node: NodeName, _ connection: Connection) -> Bool {
        guard sessions[node]?.connection === connection else { return false }
        sessions[node] = nil
        return true
    }

    /// Of a job's copies one at a time is on a connection: with two there, the refusal of one says nothing of the other.
    ///
    /// - Returns: whether it may be sent; then `answered` has to follow.
    func sending(_ job: String, on connection: Connection) -> Bool {
        guard unanswered[job] !== connection else { return false }
        unanswered[job] = connection
        return true
    }

    /// The answer is recorded, or will never come.
    func answered(_ job: String, on connection: Connection) {
        if unanswered[job] === connection { unanswered[job] = nil }
    }

    /// Ends the node's connections, also those on which it has registered nothing: a transfer may run there.
    func close(_ node: NodeName, _ error: FleetError) async {
        for connection in Array((present[node] ?? [:]).values) { await connection.close(error) }
    }

    func closeAll(_ error: FleetError) async {
        for session in sessions.values { await session.connection.close(error) }
    }

    func connection(_ node: NodeName) -> Connection? {
        sessions[node].flatMap { $0.registered == nil ? nil : $0.connection }
    }
    var connected: Set<NodeName> { Set(sessions.filter { $0.value.registered != nil }.keys) }
    var sightings: [NodeName: Sighting] {
        sessions.compactMapValues { session in
            session.registered.map { Sighting(since: $0, lastHeard: session.connection.lastHeard) }
        }
    }
}

extension NodeName {
    init(_ job: Job) { self.init(cluster: job.cluster, node: job.node) }
    init(_ agent: AgentRecord) { self.init(cluster: agent.cluster, node: agent.node) }
}
