internal import FleetCommandLine
public import FleetProtocol
internal import FleetSystem

extension Concern {
    /// Who was turned out is not missed.
    static func ofAgent(_ agent: AgentRecord, _ status: FleetStatus) -> [Concern] {
        guard agent.certificate?.revoked == nil else { return [] }
        var all: [Concern] = []
        let place = "\(agent.node) (\(agent.cluster))"
        func add(_ kind: Kind, _ text: String, _ action: String?) {
            all.append(Concern(kind, agent: agent, text, action: action))
        }
        if !agent.connected, !status.awaits(agent) {
            add(
                .agentLost,
                "the agent on \(place) is not connected; last seen \(agent.lastSeen?.ago(status.time) ?? "never")",
                "boot the node if it is off, else there: systemctl restart fleet-agent")
        }
        if let error = agent.discoveryError, !agent.holdsNoEtcd {
            if error.code == "busy" {
                // Where this coordinator knows of it, the job says more: an open one, or one that ended half-way.
                let isKnown = status.openJobs.contains { $0.movesEtcd(of: agent) }
                let isHalf = status.clusters.contains { $0.name == agent.cluster && $0.halfRestored != nil }
                if !isKnown, !isHalf, agent.connected {
                    add(
                        .etcdNotFound, "the agent on \(place) is in the middle of a restore that is not open here",
                        "see its log, and RECOVERY.md, 'A restore was under way'")
                }
            } else {
                add(.etcdNotFound, "the agent on \(place) finds no etcd: \(error.message)", error.hint)
            }
        }
        if let etcd = agent.stopped(status.openJobs) {
            // Whoever is called by it may not have the rest before them.
            add(
                .etcdStopped, "etcd on \(place) did not run when its agent looked last",
                "on \(agent.node), see why: \(etcd.place)"
                    + (etcd.unit.map { "; then start it there: systemctl start \($0)" } ?? ""))
        }
        all += ofCertificates(agent, now: status.time)
        all += ofConfiguration(agent, now: status.time)
        if let fallback = fellBack(agent) { all.append(fallback) }
        if let problem = agent.instance?.restoreProblem {
            add(
                .notRestorable, "\(agent.cluster) can't be restored as \(agent.node) is laid out: \(problem.message)",
                problem.hint)
        }
        // Renewed after two thirds of its life: with less than a quarter left, something keeps the agent from it.
        if let certificate = agent.certificate,
            certificate.notAfter.since(status.time) < certificate.notAfter.since(certificate.issued) / 4
        {
            add(
                .agentCertificate,
                "the certificate of the agent on \(place) ends \(certificate.notAfter.short) and was not renewed",
                "'journalctl -u fleet-agent' there says why; once it has ended: 'fleet-agent enroll --force -' with a token "
                    + "from 'fleetctl agent token \(agent.cluster)'")
        }
        return all
    }

    /// An upgrade of the agent that its node has taken back.
    public static func fellBack(_ agent: AgentRecord) -> Concern? {
        guard let fallback = agent.program?.fallback else { return nil }
        return Concern(
            .upgradeFellBack, cluster: agent.cluster, node: agent.node, subject: fallback.version,
            "the agent on \(agent.node) (\(agent.cluster)) went back to \(agent.version ?? "its version") from "
                + "\(fallback.version ?? "the one that was chosen"), \(fallback.time.short): \(fallback.error.message)",
            action: fallback.error.hint)
    }
}
