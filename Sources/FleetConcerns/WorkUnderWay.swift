public import FleetProtocol

extension JobRecord {
    /// It stops and starts the etcd of this node, which is not looked at meanwhile.
    public func movesEtcd(of agent: AgentRecord) -> Bool {
        guard cluster == agent.cluster, !dryRun, ["restore", "undo", "replace"].contains(kind) else { return false }
        // What it has others do for a replacement touches no etcd of theirs.
        guard kind != "replace", let members else { return node == agent.node }
        return members.contains {
            $0.node == agent.node && ($0.state.isOpen || $0.state == .stuck || $0.state == .lost)
        }
    }

    /// Those that a decided restore waits for and that are not there, and what to do about each.
    public func missed(_ agents: [AgentRecord]) -> [(agent: AgentRecord, action: String)] {
        guard deadline == nil, let waited = waitsFor else { return [] }
        return agents.filter { waited.contains($0.node) && $0.cluster == cluster && !$0.connected }.map { agent in
            let action =
                "boot it, and it does its part; after a day without a sign of it the \(kind) counts as stuck; gone for good? "
                + "fleetctl agent revoke \(cluster) \(agent.node)"
            return (agent, action)
        }
    }
}

extension AgentRecord {
    /// Its etcd, where that did not run when it was looked at last, and no job of these has stopped it.
    public func stopped(_ open: [JobRecord]) -> EtcdInstance? {
        guard let instance, connected, instance.pid == nil else { return nil }
        return open.contains { $0.movesEtcd(of: self) } ? nil : instance
    }
}

extension EtcdInstance {
    /// Where its log is.
    public var place: String { unit.map { "journalctl -u \($0)" } ?? "the kubelet's log and that of its container" }
}

/// Agents that are there to drill, with no etcd beside them.
public enum Verifiers {
    /// Whether a cluster has nothing else: then there is nothing in it to back up.
    public static func areAll(of cluster: String, _ agents: [AgentRecord]) -> Bool {
        let own = agents.filter { $0.cluster == cluster && $0.certificate?.revoked == nil }
        return !own.isEmpty && own.allSatisfy(\.isVerifier)
    }
}
