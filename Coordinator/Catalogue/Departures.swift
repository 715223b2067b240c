import FleetProtocol
import FleetSQLite
import FleetSystem

extension Catalogue {
    /// How what the cluster of a snapshot has now came to go on from something else; nil where it goes on from it, or where
    /// nothing ties the two.
    func departure(from entry: SnapshotEntry) throws(FleetError) -> Departure? {
        guard entry.condition != .foreign else { return nil }
        let record = entry.record
        let begun: Timestamp? = try db.first("SELECT created FROM jobs WHERE id = ?", record.job) {
            row throws(FleetError) in try row["created"]
        }
        return try departure(from: record.id, begun: begun ?? record.facts.savedAt, cluster: record.cluster)
    }

    /// - Parameter begun: when its backup was begun; of an import, what it says itself of when it was saved.
    func departure(from snapshot: String, begun: Timestamp, cluster: String) throws(FleetError) -> Departure? {
        let mine = "cluster = ?1 AND NOT dry_run AND cleans IS NULL AND created > \(Self.ownHistory)"
        // Of several members, the data is another from the commit on, whatever becomes of a member that is away then. A backup's
        // job outlives its snapshot.
        let commit = try JSON.text(RestoreTransaction.Record.decided(.proceed(.commit)))
        let switches = try db.all(
            """
            SELECT w.id, w.undoes, w.snapshot, w.finished, CASE WHEN s.id IS NOT NULL THEN coalesce(j.created, s.saved)
                WHEN NOT EXISTS (SELECT 1 FROM snapshots f WHERE f.id = w.snapshot) THEN
                    (SELECT b.created FROM jobs b WHERE b.snapshot = w.snapshot AND b.cluster = ?1 AND b.kind = 'backup')
                END AS origin FROM (
                SELECT id, undoes, snapshot, (SELECT min(r.time) FROM restore_records r
                    WHERE r.restore = member_restores.id AND r.record = ?4) AS finished FROM member_restores WHERE \(mine)
                UNION ALL SELECT id, undoes, snapshot, finished FROM jobs
                    WHERE \(mine) AND kind = 'restore' AND restore IS NULL AND state = 'succeeded'
            ) w
            LEFT JOIN snapshots s ON s.id = w.snapshot AND s.cluster = ?1 AND s.condition <> 'foreign'
            LEFT JOIN jobs j ON j.id = s.job
            WHERE w.finished > ?2 AND w.finished <= ?3
            ORDER BY w.finished, w.id
            """, cluster, begun, soon, commit
        ) { row throws(FleetError) in
            DataHistory.Switch(
                job: try row["id"], undoes: try row["undoes"], snapshot: try row["snapshot"],
                origin: try row["origin"], finished: try row["finished"])
        }
        return DataHistory.departure(from: snapshot, begun: begun, among: switches)
    }
}
