import FleetProtocol
import FleetSQLite
import FleetSystem

extension SnapshotRecord {
    /// What a snapshot is when its file is what was stored.
    var ownCondition: SnapshotCondition {
        if unsoundProblem != nil { return .damaged }
        return expectedClusterID == nil ? .verified : .foreign
    }

    /// Why `ownCondition` is not `verified`.
    var ownProblem: FleetError? { unsoundProblem ?? foreignProblem }

    var foreignProblem: FleetError? {
        guard let expected = expectedClusterID else { return nil }
        guard imported == nil else { return importProblem(expected) }
        return FleetError(
            .otherCluster, "its etcd cluster is \(facts.clusterID), and \(cluster) is \(expected)",
            hint:
                "see whether \(node) was enrolled with another cluster's token; if this etcd was made anew or restored by "
                + "hand, or the coordinator's catalogue was rebuilt since, say so and back up again: fleetctl cluster accept \(cluster) \(facts.clusterID)"
        )
    }

    /// An operator's word makes no snapshot a cluster's own: its etcd must be one that backups told of.
    private func importProblem(_ expected: String) -> FleetError {
        if imported?.isRawDatabase == true {
            return FleetError(
                .otherCluster, "it is a raw database, which agents don't restore",
                hint: "export it, then on the node: etcdutl snapshot restore FILE --skip-hash-check")
        }
        let what =
            if facts.clusterID.isEmpty {
                "it was imported, and nothing in it tells which etcd cluster it is of"
            } else if expected.isEmpty {
                "it was imported before any backup told which etcd cluster \(cluster) is"
            } else {
                "it was imported, and its members point to the etcd cluster \(facts.clusterID), which \(cluster) never was"
            }
        return FleetError(
            .otherCluster, what,
            hint: "it is never chosen by itself; if it is meant, restore it with --from-other-cluster")
    }
}

/// Which etcd a cluster is. An agent that was enrolled with another cluster's token would otherwise have its backups
/// become that cluster's latest.
extension Catalogue {
    /// - Throws: `already-exists` naming the snapshot of the cluster that is the same file and can be read.
    func refuseDuplicate(_ sha256: String, cluster: String) throws(FleetError) {
        let known: String? = try db.first(
            """
            SELECT id FROM snapshots WHERE cluster = ? AND sha256 = ? AND condition IN ('verified', 'foreign')
            ORDER BY id LIMIT 1
            """, cluster, sha256
        ) { row throws(FleetError) in try row["id"] }
        guard let known else { return }
        throw FleetError(
            .alreadyExists, "\(cluster) has this very file already: it is snapshot \(known)",
            hint: "see it with: fleetctl snapshot show \(known)")
    }

    /// etcd's cluster id that `cluster` should have, where `id` is not it. nil: `id` is the first one, or is known, or
    /// a restore that succeeded since the last snapshot, and did not tell which id it made, explains that there is a new one.
    ///
    /// Decided once, before a snapshot is committed, and kept in its record: a catalogue that is rebuilt has no history.
    func expectedIdentity(_ id: String, cluster: String) throws(FleetError) -> String? {
        let known = try identities(cluster)
        guard let last = known.last, !known.contains(where: { $0.id == id }) else { return nil }
        // Both times are the coordinator's own.
        let isExplained: Bool? = try db.first(
            """
            SELECT EXISTS (SELECT 1 FROM jobs WHERE cluster = ?1 AND kind = 'restore' AND NOT dry_run
                AND NOT EXISTS (SELECT 1 FROM restores r WHERE r.job = jobs.id
                    AND json_extract(r.plan, '$.clusterID') IS NOT NULL)
                AND cleans IS NULL AND state = 'succeeded' AND finished >= (SELECT coalesce(max(stored), 0) FROM snapshots
                    WHERE cluster = ?1 AND condition <> 'foreign' AND json_extract(record, '$.imported') IS NULL
                        AND coalesce(json_extract(record, '$.verification.totalFindings'), 0) = 0)) AS explained
            """, cluster
        ) { row throws(FleetError) in try row["explained"] }
        return isExplained == true ? nil : last.id
    }

    /// Inside a transaction: what a stored snapshot says of its cluster. A new id is an event of its own, and one that
    /// nothing explains is recorded as refused.
    func noteIdentity(_ record: SnapshotRecord) throws(FleetError) {
        let id = record.facts.clusterID
        if let expected = record.expectedClusterID {
            // Who imports says so, and the import's own event has it.
            guard record.imported == nil else { return }
            var event = Act(
                "snapshot.foreign", by: "agent:\(record.cluster)/\(record.node)", cluster: record.cluster,
                subject: record.id)
            event.detail = ["etcdClusterID": id, "expected": expected, "job": record.job]
            return try append(event, .refused)
        }
        let known = try identities(record.cluster)
        guard !known.contains(where: { $0.id == id }) else { return }
        try db.run(
            "INSERT INTO etcd_identities (cluster, id, first_seen, snapshot) VALUES (?, ?, ?, ?)", record.cluster, id,
            record.facts.savedAt, record.id)
        var event = Act("cluster.identity", by: "coordinator", cluster: record.cluster, subject: record.id)
        event.detail["etcdClusterID"] = id
        event.detail["previous"] = known.last?.id
        let elsewhere: [String] = try db.all(
            "SELECT cluster FROM etcd_identities WHERE id = ? AND cluster <> ? ORDER BY cluster", id, record.cluster
        ) { row throws(FleetError) in try row["cluster"] }
        if !elsewhere.isEmpty { event.detail["alsoSeenIn"] = elsewhere.joined(separator: ",") }
        try append(event, .ok)
    }

    /// Inside a transaction: a restore was committed, so its etcd has the id that was computed for it.
    func noteRestored(_ job: String, cluster: String) throws(FleetError) {
        let id: String?? = try db.first(
            """
            SELECT json_extract(r.plan, '$.clusterID') AS id FROM restores r JOIN jobs j ON j.id = r.job
            WHERE r.job = ? AND NOT j.dry_run
            """, job
        ) { row throws(FleetError) in try row["id"] }
        guard let id = id ?? nil else { return }
        try noteIdentity(id, cluster, from: "restore \(job)", by: "coordinator")
    }

    /// An operator says which etcd a cluster is now, where nothing else tells: it was restored by hand, or the catalogue
    /// that knew of the restore is lost. Backups from now on are the cluster's own.
    ///
    /// - Throws: `not-found`, `malformed` for what is no id, `already-exists`.
    func acceptIdentity(_ id: String, cluster: String, by actor: String) throws(FleetError) {
        let isHexadecimal =
            (1...16).contains(id.utf8.count) && id.utf8.allSatisfy { "0123456789abcdef".utf8.contains($0) }
        try act(Act("cluster.accept", by: actor, cluster: cluster, subject: id)) { _ throws(FleetError) in
            guard try clusterExists(cluster) else { throw try unknownCluster(cluster) }
            guard isHexadecimal else {
                throw FleetError(
                    .malformed, "\(Names.quote(id)) is no etcd cluster id",
                    hint:
                        "'fleetctl snapshot show' gives it in lower-case hexadecimal, and so does 'etcdctl endpoint status -w json --hex'"
                )
            }
            guard try !identities(cluster).contains(where: { $0.id == id }) else {
                throw FleetError(.alreadyExists, "\(cluster) is known as \(id) already", hint: "back it up")
            }
            try noteIdentity(id, cluster, from: "accepted by \(actor)", by: actor)
        }
    }

    private func noteIdentity(
        _ id: String, _ cluster: String, from source: String, by actor: String
    ) throws(FleetError) {
        let known = try identities(cluster)
        guard !known.contains(where: { $0.id == id }) else { return }
        try db.run(
            "INSERT INTO etcd_identities (cluster, id, first_seen, snapshot) VALUES (?, ?, ?, ?)", cluster, id, now,
            source)
        var event = Act("cluster.identity", by: actor, cluster: cluster, subject: source)
        event.detail["etcdClusterID"] = id
        event.detail["previous"] = known.last?.id
        try append(event, .ok)
    }

    func identities(_ cluster: String) throws(FleetError) -> [EtcdIdentity] {
        try db.all(
            "SELECT id, first_seen, snapshot FROM etcd_identities WHERE cluster = ? ORDER BY first_seen, rowid", cluster
        ) { row throws(FleetError) in
            EtcdIdentity(id: try row["id"], firstSeen: try row["first_seen"], snapshot: try row["snapshot"])
        }
    }
}
