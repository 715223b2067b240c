import FleetProtocol
import FleetSystem

extension FleetError.Code {
    /// A member of the cluster has no agent, so it can't be restored with the others.
    static let memberMissing: Self = "member-missing"
    /// Two members have one name or one peer URL.
    static let membersAlike: Self = "members-alike"
}

/// Which nodes a restore of a cluster is about: all of its members, or it is refused with the names of who is missing. A
/// member that is left out would go on with the old data beside the restored ones. Pure.
///
/// The agents' word is what there is before anything is begun; each of them asks the running etcd too, in its preparation.
enum RestoreMembers {
    /// - Returns: one agent for each member, in the order of their nodes, all of them connected.
    /// - Throws: `no-agent`, `member-missing`, `many-members`, `members-alike`.
    static func find(
        _ agents: [AgentRecord], _ snapshot: SnapshotRecord, cluster: String
    ) throws(FleetError) -> [AgentRecord] {
        // A node whose agent was revoked is not of the cluster any more, and one without an etcd is no member.
        let beside = agents.filter { $0.instance != nil && $0.certificate?.revoked == nil }.sorted { $0.node < $1.node }
        if beside.isEmpty { return [try AgentChoice.choose(agents, cluster: cluster)] }
        try checkNames(beside, among: agents, cluster)
        let recorded = snapshot.facts.members ?? 1
        guard beside.count > 1 || recorded == 1 else {
            throw FleetError(
                .manyMembers,
                "snapshot \(snapshot.id) was saved of a cluster of \(recorded) members, and only \(beside[0].node) has an agent",
                hint:
                    "enrol an agent on every member (fleetctl agent install \(cluster) --ssh root@NODE); all are restored together"
            )
        }
        let away = beside.filter { !$0.connected }
        guard away.isEmpty else {
            let names = away.map { "\($0.node)\($0.lastSeen.map { " (not since \($0))" } ?? "")" }
            throw FleetError(
                .noAgent, "not connected: \(names.joined(separator: ", "))",
                hint: "every member takes part in a restore: boot the node if it is off, else start the agent there "
                    + "(systemctl start fleet-agent)",
                retryable: true)
        }
        return beside
    }

    static func group(_ agents: [AgentRecord], restore: String) -> RestoreGroup {
        RestoreGroup(
            restore: restore,
            members: agents.compactMap { agent in
                agent.instance.map { .init(node: agent.node, name: $0.name, peerURLs: $0.peerURLs) }
            }.sorted { $0.name < $1.name })
    }

    private static func checkNames(
        _ beside: [AgentRecord], among agents: [AgentRecord], _ cluster: String
    ) throws(FleetError) {
        let names = beside.compactMap(\.instance?.name)
        var namedBy: [String: String] = [:]
        for agent in beside {
            for entry in (agent.instance?.initialCluster ?? "").split(separator: ",") {
                let name = entry.prefix { $0 != "=" }.filter { !$0.isWhitespace }
                if !names.contains(name) { namedBy[name] = agent.node }
            }
        }
        guard namedBy.isEmpty else {
            let missing = namedBy.sorted { $0.key < $1.key }.map { "\($0.key) (initial-cluster on \($0.value))" }
            let blind = agents.filter { $0.instance == nil && $0.certificate?.revoked == nil }.map { agent in
                "\(agent.node): \(agent.discoveryError.map { Act.clip($0.message, 300) } ?? "found no etcd")"
            }
            throw FleetError(
                .memberMissing,
                "members without an agent: \((missing + blind).joined(separator: "; "))",
                hint:
                    "enrol an agent on each (fleetctl agent install \(cluster) --ssh root@NODE); where a member is gone for good, take it out "
                    + "of initial-cluster; the agents tell of that within half a minute")
        }
        guard beside.count == 1 || group(beside, restore: "check").isValid else {
            throw FleetError(
                .membersAlike,
                "the members can't be told apart: "
                    + beside.map {
                        "\($0.node) is \($0.instance?.name ?? "") at \($0.instance?.peerURLs.joined(separator: ",") ?? "")"
                    }
                    .joined(separator: "; "),
                hint: "give each etcd a name and peer URLs of its own, then restore again")
        }
    }
}
