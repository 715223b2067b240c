import FleetSQLite
import FleetSystem

extension Catalogue {
    /// Of the newest backups and of all jobs, what metrics tell besides the status.
    func metricFacts() throws(FleetError) -> MetricFacts {
        var facts = MetricFacts()
        facts.backups = try db.all(
            """
            SELECT s.cluster, s.size, j.finished - j.created AS milliseconds FROM clusters c
            JOIN snapshots s ON s.id = (SELECT id FROM snapshots l WHERE l.cluster = c.name AND l.condition = 'verified'
                AND json_extract(l.record, '$.beforeRestore') IS NULL ORDER BY saved DESC, id DESC LIMIT 1)
            LEFT JOIN jobs j ON j.id = s.job ORDER BY s.cluster
            """
        ) { row throws(FleetError) in
            let milliseconds: Int64? = try row["milliseconds"]
            return MetricFacts.Backup(
                cluster: try row["cluster"], size: try row["size"],
                seconds: milliseconds.map { Double($0) / 1000 })
        }
        facts.ends = try db.all(
            """
            SELECT kind, state, count(*) AS count FROM whole_jobs WHERE finished IS NOT NULL
            GROUP BY kind, state ORDER BY kind, state
            """
        ) { row throws(FleetError) in
            MetricFacts.Ends(kind: try row["kind"], state: try row["state"], count: try row["count"])
        }
        return facts
    }
}
