import FleetProtocol
import FleetSQLite
import FleetSystem

extension Catalogue {
    /// Of the newest backups and of all jobs, what metrics tell besides the status.
    func metricFacts() throws(FleetError) -> MetricFacts {
        var facts = MetricFacts()
        facts.backups = try db.all(
            """
            SELECT s.cluster, s.size, j.finished - j.created AS milliseconds FROM clusters c
            JOIN snapshots s ON s.id = \(Self.newestBackup(of: "c.name", soon: "?1"))
            LEFT JOIN jobs j ON j.id = s.job ORDER BY s.cluster
            """, soon
        ) { row throws(FleetError) in
            let milliseconds: Int64? = try row["milliseconds"]
            return MetricFacts.Backup(
                cluster: try row["cluster"], size: try row["size"],
                seconds: milliseconds.map { Double($0) / 1000 })
        }
        facts.policies = try policies().map { .init(name: $0.policy.name, isUnusable: $0.problem != nil) }
        facts.ends = try db.all(
            """
            SELECT CASE WHEN undone THEN 'undo' WHEN cleaned THEN 'cleanup' ELSE kind END AS kind, state,
                sum(count) AS count
            FROM (
                SELECT kind, undoes IS NOT NULL AS undone, cleans IS NOT NULL AS cleaned, state, count(*) AS count
                    FROM jobs WHERE finished IS NOT NULL AND restore IS NULL AND replacement IS NULL AND NOT dry_run
                    GROUP BY kind, undoes, cleans, state
                UNION ALL SELECT 'restore', undoes IS NOT NULL, cleans IS NOT NULL, state, count(*)
                    FROM member_restores WHERE finished IS NOT NULL AND NOT dry_run GROUP BY undoes, cleans, state
                UNION ALL SELECT 'replace', 0, 0, state, count(*)
                    FROM replacements WHERE finished IS NOT NULL AND NOT dry_run GROUP BY state
            ) GROUP BY 1, 2 ORDER BY 1, 2
            """
        ) { row throws(FleetError) in
            MetricFacts.Ends(kind: try row["kind"], state: try row["state"], count: try row["count"])
        }
        return facts
    }
}
