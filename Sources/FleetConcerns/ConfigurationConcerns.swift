internal import FleetProtocol
internal import FleetSystem

extension Concern {
    /// Of values that a restore brings back and that nobody reads, since the key lies on nodes that no agent is on.
    static func ofEncryption(_ cluster: ClusterRecord, _ status: FleetStatus) -> Concern? {
        guard let providers = cluster.encryptedAtRest, !providers.isEmpty, cluster.keepsConfiguration != false else {
            return nil
        }
        let own = status.agents.filter { $0.cluster == cluster.name && $0.certificate?.revoked == nil }
        // What came before anybody looked is given the benefit of the doubt.
        let isKept = own.contains { $0.configuration.map { $0.confirmed != nil && $0.decrypts != false } ?? false }
        guard !isKept else { return nil }
        return Concern(
            .decryptionNotKept, cluster: cluster.name,
            "\(cluster.name) has values that kube-apiserver has encrypted (\(providers.joined(separator: ", "))), and the "
                + "configuration that decrypts them is not kept: nobody could read them on a control plane made anew",
            action:
                "put an agent on a control plane too, where etcd is on other hosts: 'fleetctl agent install \(cluster.name) "
                + "--ssh root@NODE'; 'fleetctl bundle show SNAPSHOT' says what is kept of each node")
    }

    /// Of what is kept of a node's configuration.
    static func ofConfiguration(_ agent: AgentRecord, now: Timestamp) -> [Concern] {
        guard let kept = agent.configuration else { return [] }
        var all: [Concern] = []
        let place = "\(agent.node) (\(agent.cluster))"
        let last = kept.confirmed.map { "of \($0.short)" } ?? "none"
        let log = "see 'journalctl -u fleet-agent' there"
        func add(_ subject: String, _ text: String, _ action: String) {
            all.append(
                Concern(
                    .configurationNotKept, cluster: agent.cluster, node: agent.node, subject: subject, text,
                    action: action))
        }
        if let problem = kept.problem {
            add(
                "problem",
                "the configuration of \(place) can't be kept as it is now, the last is \(last): \(problem.message)",
                problem.hint ?? log)
        } else if agent.connected, let confirmed = kept.confirmed, now.since(confirmed) > .seconds(86_400) {
            add(
                "old",
                "the configuration that is kept of \(place) is \(last), and its agent has sent no word of it since", log
            )
        }
        if let left = kept.leftOut, left > 0 {
            add(
                "left-out",
                "\(left) certificates, keys or what decrypts of \(place) are not kept with its configuration: no control plane "
                    + "comes back without them",
                "'fleetctl bundle show SNAPSHOT --node \(agent.node)' says which and why; keep a copy of them, or give their "
                    + "directories to root")
        }
        return all
    }
}
