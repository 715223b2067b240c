import FleetProtocol
import FleetSQLite
import FleetSystem

/// The time of an imported file is an operator's word, or that of a copy; `latest` and retention go by it. What the cluster's own
/// backups tell of that time is not to be contradicted.
extension Catalogue {
    /// etcd's revision only grows, so that it tells which of two snapshots of the same etcd is the older one.
    ///
    /// - Parameters:
    ///   - saved: when it is said to be saved.
    ///   - id: etcd's id of its cluster, one that `cluster` has had.
    /// - Returns: what is wrong with that time, `usage`; nil where nothing contradicts it.
    func contradiction(
        to saved: Timestamp, revision: Int64, etcd id: String, cluster: String
    ) throws(FleetError) -> FleetError? {
        // Behind somebody's word that it may go back, the former revisions say nothing.
        let word: Timestamp? = try db.first(
            "SELECT coalesce(accepted, 0) AS accepted FROM etcd_identities WHERE cluster = ? AND id = ?", cluster, id
        ) { row throws(FleetError) in try row["accepted"] }
        let accepted = word ?? Timestamp(milliseconds: 0)
        guard saved > accepted else { return nil }
        if let before = try neighbour(.before, saved, cluster) {
            if before.etcd != id {
                let since = try identities(cluster).first { $0.id == before.etcd }?.firstSeen ?? before.saved
                return wrongTime(
                    "it is of the etcd cluster \(id), and by \(before.saved) \(cluster) was \(before.etcd) (snapshot "
                        + "\(before.snapshot)): it is older than \(saved)", "before \(min(since, before.saved))")
            }
            if before.stored > accepted, before.revision > revision {
                return wrongTime(
                    "its revision is \(revision), and by \(before.saved) its etcd was at \(before.revision) (snapshot "
                        + "\(before.snapshot)): it is older than \(saved)", "before \(before.saved)")
            }
        }
        if let after = try neighbour(.after, saved, cluster, etcd: id), after.stored > accepted,
            after.revision < revision
        {
            return wrongTime(
                "its revision is \(revision), and at \(after.saved) its etcd was at \(after.revision) only (snapshot "
                    + "\(after.snapshot)): it is younger than \(saved)", "after \(after.saved)")
        }
        return nil
    }

    private func wrongTime(_ what: String, _ right: String) -> FleetError {
        FleetError(
            .usage, what,
            hint: "say when it was saved, \(right), with --saved-at TIME; without it, the time of the file is taken")
    }

    private enum Side { case before, after }

    private struct Neighbour {
        var snapshot: String
        var saved: Timestamp
        var stored: Timestamp
        var etcd: String
        var revision: Int64
    }

    /// The backup next to a time that an agent made and that is sound.
    private func neighbour(
        _ side: Side, _ saved: Timestamp, _ cluster: String, etcd id: String? = nil
    ) throws(FleetError) -> Neighbour? {
        let (isThere, order) = side == .before ? ("saved <= ?2", "DESC") : ("saved >= ?2", "ASC")
        return try db.first(
            """
            SELECT id, saved, stored, json_extract(record, '$.facts.clusterID') AS etcd,
                max(json_extract(record, '$.facts.status.revision'),
                    coalesce(json_extract(record, '$.verification.compactRevision'), 0)) AS revision
            FROM snapshots WHERE cluster = ?1 AND condition = 'verified' AND \(isThere)
                AND json_extract(record, '$.imported') IS NULL AND json_extract(record, '$.beforeRestore') IS NULL
                AND (?3 IS NULL OR json_extract(record, '$.facts.clusterID') = ?3)
            ORDER BY saved \(order), id \(order) LIMIT 1
            """, cluster, saved, id
        ) { row throws(FleetError) in
            Neighbour(
                snapshot: try row["id"], saved: try row["saved"], stored: try row["stored"], etcd: try row["etcd"],
                revision: try row["revision"])
        }
    }
}
