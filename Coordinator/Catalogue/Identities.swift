import FleetProtocol
import FleetSQLite
import FleetSystem

extension SnapshotRecord {
    /// What a snapshot is when its file is what was stored.
    var ownCondition: SnapshotCondition {
        if unsoundProblem != nil { return .damaged }
        return expectedClusterID == nil && wentBack == nil ? .verified : .foreign
    }

    /// Why `ownCondition` is not `verified`.
    var ownProblem: FleetError? { unsoundProblem ?? foreignProblem }

    var foreignProblem: FleetError? {
        guard let expected = expectedClusterID else { return wentBackProblem }
        guard imported == nil else { return importProblem(expected) }
        return FleetError(
            .otherCluster, "its etcd cluster is \(facts.clusterID), and \(cluster) is \(expected)",
            hint:
                "see whether \(node) was enrolled with another cluster's token; if this etcd was made anew or restored by "
                + "hand, or the coordinator's catalogue was rebuilt since, say so and back up again: fleetctl cluster accept \(cluster) \(facts.clusterID)"
        )
    }

    /// etcd's revision only grows. One that does not has lost data, or was restored by hand; with the same members and the same
    /// token that leaves its id as it was.
    private var wentBackProblem: FleetError? {
        guard let earlier = wentBack else { return nil }
        let revision = newestRevision
        let what =
            if let since = earlier.since {
                "its etcd had lost what was in snapshot \(earlier.snapshot) (revision \(earlier.revision)) when snapshot \(since) was "
                    + "saved; that it is at revision \(revision) by now brings nothing back"
            } else if revision < earlier.revision {
                "its etcd is at revision \(revision), and at \(earlier.revision) it was in snapshot \(earlier.snapshot): what was "
                    + "there is gone, and no restore of the fleet explains that"
            } else {
                "its etcd was made anew since snapshot \(earlier.snapshot) (revision \(earlier.revision)), which has not the keys "
                    + "that are the oldest now: what was there is gone, and no restore of the fleet explains that"
            }
        return FleetError(
            .wentBack, what,
            hint:
                "see what etcd on \(node) has, and whether it works in the directory that has its data; if it was made anew, "
                + "was restored by hand, or has its data again, say so and back up again: fleetctl cluster accept \(cluster) "
                + facts.clusterID
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
                    WHERE cluster = ?1 AND stored <= ?2 AND condition <> 'foreign'
                        AND json_extract(record, '$.imported') IS NULL
                        AND coalesce(json_extract(record, '$.verification.totalFindings'), 0) = 0)) AS explained
            """, cluster, soon
        ) { row throws(FleetError) in try row["explained"] }
        return isExplained == true ? nil : last.id
    }

    /// The newest backup of the same etcd, where `record` can't be what became of that: its revision is lower, or its history is
    /// another. Each went on from the one before it, or somebody has said that it is right; behind such a word only those
    /// since then count.
    ///
    /// Decided once, as the identity is. What a later job has saved may have overtaken it on its way, and does not count. (The ids
    /// of jobs begin with their time.)
    func earlierRevision(_ record: SnapshotRecord) throws(FleetError) -> EarlierRevision? {
        let newest: SnapshotRecord? =
            try db.first(
                """
                SELECT record FROM snapshots
                WHERE cluster = ?1 AND condition = 'verified' AND json_extract(record, '$.imported') IS NULL
                    AND json_extract(record, '$.beforeRestore') IS NULL AND json_extract(record, '$.facts.clusterID') = ?2
                    AND saved < ?3 AND job < ?4
                    AND stored > coalesce((SELECT accepted FROM etcd_identities WHERE cluster = ?1 AND id = ?2), 0)
                ORDER BY saved DESC, id DESC LIMIT 1
                """, record.cluster, record.facts.clusterID, record.facts.savedAt, record.job
            ) { row throws(FleetError) -> SnapshotRecord? in try row.json(SnapshotRecord.self, "record") } ?? nil
        let earlier = newest.map { EarlierRevision(snapshot: $0.id, revision: $0.newestRevision) }
        if let earlier, earlier.revision > record.newestRevision { return earlier }
        let history = newest.map { Lineage.compare(record, $0) } ?? .isUnknown
        if let unexplained = try unexplained(record, isConsistent: history == .isConsistent) { return unexplained }
        return history == .isAnother ? earlier : nil
    }

    /// A member that had gone back, by its last snapshot, has all the same lost what was there when its revision has passed the
    /// former one. Somebody's word ends that; or that this is not what became of the one that had lost it, but of the one
    /// before: its data is there again. The other members' data may be all there, and a member that was replaced has another id.
    private func unexplained(_ record: SnapshotRecord, isConsistent: Bool) throws(FleetError) -> EarlierRevision? {
        let facts = record.facts
        let last: SnapshotRecord? =
            try db.first(
                """
                SELECT record FROM snapshots
                WHERE cluster = ?1 AND node = ?2 AND json_extract(record, '$.facts.clusterID') = ?3
                    AND json_extract(record, '$.facts.memberID') = ?4 AND json_extract(record, '$.beforeRestore') IS NULL
                    AND coalesce(json_extract(record, '$.verification.totalFindings'), 0) = 0 AND saved < ?5 AND job < ?6
                    AND stored > coalesce((SELECT accepted FROM etcd_identities WHERE cluster = ?1 AND id = ?3), 0)
                ORDER BY saved DESC, id DESC LIMIT 1
                """, record.cluster, record.node, facts.clusterID, facts.memberID, facts.savedAt, record.job
            ) { row throws(FleetError) -> SnapshotRecord? in try row.json(SnapshotRecord.self, "record") } ?? nil
        guard let last, let earlier = last.wentBack else { return nil }
        // Told by an older coordinator, which took a compacted deletion for a loss.
        if earlier.since == nil, earlier.revision <= last.newestRevision, last.verification?.oldestKeys == nil {
            return nil
        }
        if isConsistent, Lineage.compare(record, last) == .isAnother { return nil }
        return EarlierRevision(
            snapshot: earlier.snapshot, revision: earlier.revision, since: earlier.since ?? last.id)
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
        if let earlier = record.wentBack {
            var event = Act(
                "snapshot.foreign", by: "agent:\(record.cluster)/\(record.node)", cluster: record.cluster,
                subject: record.id)
            event.detail = [
                "etcdClusterID": id, "revision": String(record.newestRevision),
                "earlier": "\(earlier.revision) in \(earlier.snapshot)", "job": record.job,
            ]
            event.detail["since"] = earlier.since
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
            if try identities(cluster).contains(where: { $0.id == id }) { return try acceptRevision(id, cluster) }
            try noteIdentity(id, cluster, from: "accepted by \(actor)", by: actor)
        }
    }

    /// Where its last backups were refused because its revision went back: it may begin from there.
    private func acceptRevision(_ id: String, _ cluster: String) throws(FleetError) {
        let isWaiting: Bool? = try db.first(
            """
            SELECT EXISTS (SELECT 1 FROM snapshots s JOIN etcd_identities i ON i.cluster = s.cluster AND i.id = ?2
                WHERE s.cluster = ?1 AND json_extract(s.record, '$.wentBack') IS NOT NULL
                    AND json_extract(s.record, '$.facts.clusterID') = ?2 AND s.stored > coalesce(i.accepted, 0)
                    AND s.saved > coalesce((SELECT max(v.saved) FROM snapshots v WHERE v.cluster = ?1
                        AND v.node = s.node AND v.condition = 'verified' AND v.saved <= ?3
                        AND json_extract(v.record, '$.beforeRestore') IS NULL), 0)) AS waiting
            """, cluster, id, soon
        ) { row throws(FleetError) in try row["waiting"] }
        guard isWaiting == true else {
            throw FleetError(.alreadyExists, "\(cluster) is known as \(id) already", hint: "back it up")
        }
        // Whatever the clock said when those before were stored; one that was far ahead would speak for all that come.
        try db.run(
            """
            UPDATE etcd_identities SET accepted = max(?1, (SELECT coalesce(max(stored), 0) FROM snapshots
                WHERE cluster = ?2 AND stored <= ?4)) WHERE cluster = ?2 AND id = ?3
            """, now, cluster, id, soon)
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

    /// The id that an undo has put in force again, where it is the last that is known of the cluster's etcd.
    func identityAgain(_ cluster: ClusterRecord) throws(FleetError) -> String? {
        guard cluster.identities.count > 1, let last = cluster.identities.last else { return nil }
        let undone = try db.first(
            """
            SELECT json_extract(r.plan, '$.clusterID') AS id, j.undoes, j.finished FROM jobs j
                LEFT JOIN restores r ON r.job = j.id
                WHERE j.cluster = ?1 AND j.kind = 'restore' AND j.state = 'succeeded' AND NOT j.dry_run
                    AND j.cleans IS NULL AND j.created > \(Self.ownHistory)
                ORDER BY j.created DESC, j.id DESC LIMIT 1
            """, cluster.name
        ) { row throws(FleetError) -> String? in
            let (undoes, id): (String?, String?) = (try row["undoes"], try row["id"])
            let finished: Timestamp = try row["finished"]
            return undoes != nil && finished >= last.firstSeen ? id : nil
        }
        guard let id = undone ?? nil, id != last.id else { return nil }
        return cluster.identities.contains { $0.id == id } ? id : nil
    }

    func identities(_ cluster: String) throws(FleetError) -> [EtcdIdentity] {
        try db.all(
            "SELECT id, first_seen, snapshot FROM etcd_identities WHERE cluster = ? ORDER BY first_seen, rowid", cluster
        ) { row throws(FleetError) in
            EtcdIdentity(id: try row["id"], firstSeen: try row["first_seen"], snapshot: try row["snapshot"])
        }
    }
}
