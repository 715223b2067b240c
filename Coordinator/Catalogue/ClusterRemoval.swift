import FleetProtocol
import FleetSQLite
import FleetSystem

/// The end of a cluster that has nothing any more. Its row stays for the sake of what refers to it, its jobs above all; whoever
/// lists clusters takes those that are present. Added again, the name begins with nothing but that history.
extension Catalogue {
    /// What came before a cluster was removed is not that of the one that was added again under its name. For queries whose
    /// first value is the cluster.
    static let ownHistory = "coalesce((SELECT removed FROM clusters WHERE name = ?1), 0)"

    /// - Parameter dryRun: only say what would go.
    /// - Throws: `not-found`; `cluster-busy` naming the open job; `conflict` for one that has agents, snapshots or is named by a
    ///   policy or an operator's rights, or is protected.
    func removeCluster(_ name: String, dryRun: Bool, by actor: String) throws(FleetError) -> ClusterRemoval {
        guard !dryRun else { return try removal(of: name) }
        return try act(Act("cluster.remove", by: actor, cluster: name)) { event throws(FleetError) in
            let removal = try removal(of: name)
            try db.run(
                "UPDATE join_tokens SET used = ?1 WHERE cluster = ?2 AND used IS NULL AND expires > ?1", now, name)
            for table in ["etcd_identities", "scheduled_tasks", "node_bundles"] {
                try db.run("DELETE FROM \(table) WHERE cluster = ?", name)
            }
            try db.run("UPDATE agents SET present = 0 WHERE cluster = ?", name)
            // Whatever is enrolled under that name again tells it anew.
            try db.run(
                """
                UPDATE nodes SET instance = NULL, discovery_error = NULL, discovered = NULL, drill_versions = NULL,
                    program = NULL, certificates = NULL, certificates_told = NULL WHERE cluster = ?
                """, name)
            try db.run(
                """
                UPDATE clusters SET present = 0, removed = ?, labels = NULL, retention = NULL, protected = 0,
                    keeps_configuration = 1 WHERE name = ?
                """, now, name)
            if !removal.agents.isEmpty { event.detail["agents"] = removal.agents.joined(separator: ",") }
            if removal.tokens > 0 { event.detail["tokens"] = String(removal.tokens) }
            return removal
        }
    }

    /// When a cluster that is not there any more was removed.
    func removed(_ name: String) throws(FleetError) -> Timestamp? {
        try db.first("SELECT removed FROM clusters WHERE name = ? AND NOT present", name) {
            row throws(FleetError) -> Timestamp? in try row["removed"]
        } ?? nil
    }

    /// For what is asked of a cluster's history: it may have been removed since.
    ///
    /// - Throws: `not-found`.
    func checkKnown(_ name: String) throws(FleetError) {
        if try !clusterExists(name), try removed(name) == nil { throw try unknownCluster(name) }
    }

    private func removal(of name: String) throws(FleetError) -> ClusterRemoval {
        guard try clusterExists(name) else { throw try unknownCluster(name) }
        try checkIdle(name)
        let ties = try ties(of: name)
        guard ties.isEmpty else {
            throw FleetError(
                .conflict, "\(name) can't be removed: \(ties.map(\.what).joined(separator: "; "))",
                hint: ties.map(\.release).joined(separator: "; "))
        }
        let tokens: Int? = try db.first(
            "SELECT count(*) AS count FROM join_tokens WHERE cluster = ? AND used IS NULL AND expires > ?", name, now
        ) { row throws(FleetError) in try row["count"] }
        return ClusterRemoval(cluster: name, agents: try agents(cluster: name).map(\.node), tokens: tokens ?? 0)
    }

    /// What keeps it, and how each is let go, in the order in which that is done.
    private func ties(of name: String) throws(FleetError) -> [(what: String, release: String)] {
        var ties: [(what: String, release: String)] = []
        let agents = try agents(cluster: name).filter { $0.certificate.map { $0.revoked == nil } ?? false }.map(\.node)
        if !agents.isEmpty {
            let names = agents.prefix(5).joined(separator: ", ") + (agents.count > 5 ? ", ..." : "")
            ties.append(("agents are enrolled on \(names)", "revoke each: fleetctl agent revoke \(name) \(agents[0])"))
        }
        let count: Int? = try db.first("SELECT count(*) AS count FROM snapshots WHERE cluster = ?", name) {
            row throws(FleetError) in try row["count"]
        }
        if let count, count > 0 {
            ties.append(
                (
                    "\(count) of its snapshots \(count == 1 ? "is" : "are") in the store",
                    "see 'fleetctl snapshot list \(name)', export what may be wanted, and delete each, the newest with "
                        + "--newest-too: fleetctl snapshot delete SNAPSHOT"
                ))
        }
        let policies = try policies().map(\.policy).filter { $0.clusters.contains(name) }.map(\.name)
        if !policies.isEmpty {
            ties.append(
                (
                    "named by policy \(policies.joined(separator: ", "))",
                    "have the policy select others: fleetctl policy set \(policies[0]) --cluster OTHER, or remove it"
                ))
        }
        // An operator whose one cluster is taken away would have all, and a name that is added again would be theirs again.
        let people = try operators().filter {
            $0.access?.clusters.clusters.contains(name) == true && $0.certificate?.revoked == nil
        }.map(\.name)
        if !people.isEmpty {
            ties.append(
                (
                    "among the clusters of \(people.joined(separator: ", "))",
                    "as root on the coordinator's host: fleetctl operator set \(people[0]) --clusters OTHER, or revoke"
                ))
        }
        if try isProtected(name) {
            ties.append(
                ("protected", "as root on the coordinator's host: fleetctl cluster unprotect \(name)"))
        }
        return ties
    }
}
