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
        let mine = """
            WHERE cluster = ?1 AND state = 'succeeded' AND NOT dry_run AND cleans IS NULL AND created > \(Self.ownHistory)
                AND finished > ?2 AND finished <= ?3
            """
        let switches = try db.all(
            """
            SELECT w.id, w.undoes, w.snapshot, w.finished, coalesce(j.created, s.saved) AS origin FROM (
                SELECT id, undoes, snapshot, finished FROM member_restores \(mine)
                UNION ALL SELECT id, undoes, snapshot, finished FROM jobs \(mine) AND kind = 'restore' AND restore IS NULL
            ) w
            LEFT JOIN snapshots s ON s.id = w.snapshot AND s.cluster = ?1 AND s.condition <> 'foreign'
            LEFT JOIN jobs j ON j.id = s.job
            ORDER BY w.finished, w.id
            """, cluster, begun, soon
        ) { row throws(FleetError) in
            DataHistory.Switch(
                job: try row["id"], undoes: try row["undoes"], snapshot: try row["snapshot"],
                origin: try row["origin"], finished: try row["finished"])
        }
        return DataHistory.departure(from: snapshot, begun: begun, among: switches)
    }
}
