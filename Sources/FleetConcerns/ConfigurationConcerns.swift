public import FleetProtocol
internal import FleetSystem

extension ClusterRecord {
    /// Values of its newest snapshot are encrypted by what is not in the configuration that is kept with it.
    public func lacksDecryption(_ agents: [AgentRecord]) -> Bool {
        guard let encryptedAtRest, !encryptedAtRest.isEmpty, keepsConfiguration != false else { return false }
        if let decryption { return !decryption.isKept }
        // Of one that was imported, or told by an older coordinator, it counts that any has come.
        return !agents.contains { $0.cluster == name && $0.certificate?.revoked == nil && $0.keepsDecryption }
    }
}

extension AgentRecord {
    /// What came before anybody looked is given the benefit of the doubt.
    fileprivate var keepsDecryption: Bool { configuration.map { $0.confirmed != nil && $0.decrypts != false } ?? false }
}

extension Concern {
    /// Of values that a restore brings back and that nobody reads: their key lies on nodes that no agent is on, or is in no
    /// configuration any more.
    static func ofEncryption(_ cluster: ClusterRecord, _ status: FleetStatus) -> Concern? {
        guard cluster.lacksDecryption(status.agents) else { return nil }
        let name = cluster.name
        let missing = cluster.decryption?.missing ?? cluster.encryptedAtRest ?? []
        let has: String
        var action: String
        if let decryption = cluster.decryption, decryption.offered?.isEmpty == false {
            has = "by \(EncryptionKeyName.words(missing)), and the kept configuration has \(decryption.offer)"
            action =
                "see --encryption-provider-config on each control plane, keep a copy of the file that has what is missing, and put an "
                + "agent there: 'fleetctl agent install \(name) --ssh root@NODE'"
        } else {
            let by = missing.map { EncryptionKeyName.words([$0]) }.joined(separator: ", ")
            has = "(\(by)), and the configuration that decrypts them is not kept"
            action =
                "put an agent on a control plane too, where etcd is on other hosts: 'fleetctl agent install \(name) "
                + "--ssh root@NODE'"
        }
        if cluster.decryption != nil, hasCome(missing, to: cluster, status.agents) {
            action = "'fleetctl backup \(name)' makes a snapshot with what its agents have sent since the newest"
        }
        return Concern(
            .decryptionNotKept, cluster: name,
            "\(name) has values that kube-apiserver has encrypted \(has): nobody could read them on a control plane made "
                + "anew",
            action:
                "\(action); 'fleetctl bundle show \(cluster.latestSnapshot ?? "SNAPSHOT")' says what is kept of each node"
        )
    }

    /// Whether the nodes' configuration has it by now.
    private static func hasCome(_ missing: [String], to cluster: ClusterRecord, _ agents: [AgentRecord]) -> Bool {
        let kept = agents.filter { $0.cluster == cluster.name && $0.certificate?.revoked == nil }
            .compactMap(\.configuration).filter { $0.confirmed != nil && $0.decrypts == true }
        let offered = Set(kept.flatMap { $0.encryptionKeys ?? [] })
        return !kept.isEmpty
            && (kept.contains { $0.encryptionKeys == nil }
                || missing.allSatisfy { Decryption.offers(offered, $0) })
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
