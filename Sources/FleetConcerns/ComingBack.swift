public import FleetProtocol
internal import FleetSystem

/// What a coordinator that has just begun can't know yet: it closed every connection when it ended, and they come back one after
/// the other. Pure.
extension FleetStatus {
    /// The longest that an agent waits before it tries again, and what it takes it to connect.
    static let timeToReturn = Dialler.longestPause + .seconds(15)

    /// The coordinator writes down every five minutes who was there, and when one goes.
    private static let sightings = Duration.seconds(360)

    /// Not everybody who comes back by themselves has had the time to.
    public var isJustBegun: Bool { uptime.map { .seconds($0) < Self.timeToReturn } ?? false }

    /// Whether it is too early to say that the agent is lost. One that was not there when the coordinator ended, as far as that
    /// is known, does not come back by itself.
    public func awaits(_ agent: AgentRecord) -> Bool {
        guard isJustBegun, !agent.connected, let seen = agent.lastSeen, agent.certificate?.revoked == nil else {
            return false
        }
        return lastHeardBefore.map { $0.since(seen) < Self.sightings } ?? true
    }
}

extension Concern {
    static func ofReturn(_ status: FleetStatus) -> [Concern] {
        let awaited = status.agents.filter(status.awaits)
        guard !awaited.isEmpty, let uptime = status.uptime else { return [] }
        let names = awaited.prefix(5).map { "\($0.node) (\($0.cluster))" }.joined(separator: ", ")
        let all = status.agents.count { $0.certificate?.revoked == nil }
        return [
            Concern(
                .agentsAwaited,
                "the coordinator began \(uptime) s ago, and of \(all) agents \(awaited.count) "
                    + "\(awaited.count == 1 ? "is" : "are") not back yet: \(names)\(awaited.count > 5 ? ", ..." : "")",
                action: "they come back by themselves, within about a minute; then look again")
        ]
    }
}
