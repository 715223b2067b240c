import FleetProtocol
import FleetSQLite
import FleetSystem

/// What a drill may take of the host that it runs on.
enum DrillLimits {
    static let cpuPercent = 100

    /// While it drills, its cluster can be neither backed up nor restored: a slow disk of 5 MB/s, and five minutes on top.
    static func seconds(_ size: Int64) -> Int {
        min(Operation.Drill.limitRange.upperBound, 300 + Int(size / 5_000_000))
    }

    /// etcd's index and its own needs, and the pages of the database, of which the kernel can take back what is too many.
    static func memoryBytes(_ size: Int64) -> Int64 { 1 << 30 + size }
}

extension Catalogue {
    /// A job that drills a snapshot on an agent of whatever cluster, and what it has to find.
    ///
    /// - Throws: `not-found`, `cluster-busy` naming the open job.
    func createDrill(
        _ record: SnapshotRecord, expecting expected: DrillExpectation, on agent: AgentRecord, lifetime: Duration,
        by actor: String, run: Planner.Start? = nil
    ) throws(FleetError) -> JobRecord {
        let id = try newIdentifier()
        let operation = Operation.drill(
            .init(
                snapshot: record, memoryBytes: DrillLimits.memoryBytes(record.size), cpuPercent: DrillLimits.cpuPercent,
                limitSeconds: DrillLimits.seconds(record.size)))
        var event = Act("job.create", by: actor, cluster: record.cluster, subject: id)
        event.detail = ["kind": operation.kind, "node": "\(agent.cluster)/\(agent.node)", "snapshot": record.id]
        event.detail["due"] = run?.due.description
        try act(event) { _ throws(FleetError) in
            try checkIdle(agent.cluster)
            if let run { try recordRun(run, job: id) }
            try insertJob(
                id, operation, snapshot: record.id, dryRun: false, cluster: agent.cluster, node: agent.node,
                lifetime: lifetime, by: actor)
            let isVerified: Bool? = try db.first(
                "SELECT condition = 'verified' AS found FROM snapshots WHERE id = ?", record.id
            ) { row throws(FleetError) in try row["found"] }
            try db.run(
                """
                INSERT INTO drills (job, snapshot, cluster, expected, saved, of_backup, created)
                VALUES (?, ?, ?, ?, ?, ?, ?)
                """, id, record.id, record.cluster, try JSON.text(expected), record.facts.savedAt,
                isVerified == true && record.beforeRestore == nil, now)
        }
        return try job(id)
    }

    /// Clusters with an open job: their agents are not asked for another.
    func busyClusters() throws(FleetError) -> Set<String> { Set(try openJobs().keys) }

    /// By cluster, its open job; of several the first.
    func openJobs() throws(FleetError) -> [String: String] {
        let all = try db.all(
            "SELECT cluster, min(id) AS job FROM whole_jobs WHERE finished IS NULL GROUP BY cluster"
        ) { row throws(FleetError) -> (String, String) in (try row["cluster"], try row["job"]) }
        return Dictionary(all) { first, _ in first }
    }

    /// What speaks against an agent's word that it was all there; nil where nothing does, and for what is no drill.
    func objection(to event: JobEvent) throws(FleetError) -> FleetError? {
        guard let outcome = event.outcome, outcome.result == .succeeded else { return nil }
        let expected = try db.first("SELECT expected FROM drills WHERE job = ?", event.job) { row throws(FleetError) in
            try row.json(DrillExpectation.self, "expected")
        }
        guard let expected = expected ?? nil else { return nil }
        guard let report = outcome.drill else {
            return FleetError(.malformed, "the agent reported a drill without its report", hint: "upgrade the agent")
        }
        return DrillCheck.problem(report, expected)
    }

    /// Inside a transaction: the job has ended. Where nothing was tried, nothing is said of the snapshot.
    func recordDrill(_ id: String, state: JobState, _ error: FleetError?) throws(FleetError) {
        guard var report = try job(id).outcome?.drill, state == .succeeded || state == .failed else { return }
        // It is in every listing from now on.
        report.limits = Act.clip(report.limits, 300)
        report.tool = Act.clip(report.tool, 64)
        report.etcd = Act.clip(report.etcd, 64)
        let verdict: DrillRecord.Verdict = state == .succeeded ? .proven : .failed
        try db.run(
            "UPDATE drills SET finished = ?, verdict = ?, problem = ?, report = ? WHERE job = ?", now, verdict.rawValue,
            try error.map { value throws(FleetError) in try JSON.text(value) }, try JSON.text(report), id)
        let about = try db.first("SELECT snapshot, cluster, of_backup FROM drills WHERE job = ?", id) {
            row throws(FleetError) in
            let (snapshot, cluster): (String, String) = (try row["snapshot"], try row["cluster"])
            let isOfBackup: Bool = try row["of_backup"]
            return (snapshot, cluster, isOfBackup)
        }
        guard let (snapshot, cluster, isOfBackup) = about else { return }
        var event = Act("snapshot.drill", by: "coordinator", cluster: cluster, subject: snapshot)
        event.detail = ["job": id, "verdict": verdict.rawValue, "seconds": "\(report.seconds)", "etcd": report.etcd]
        event.detail["code"] = error?.code.rawValue
        event.detail["error"] = error?.message
        if !isOfBackup { event.detail["notBackup"] = "true" }
        try append(event, state == .succeeded ? .ok : .failed)
    }

    /// Inside a transaction: the job has proven its snapshot. That an older one restores says nothing of one that did not, nor
    /// does one that is no backup of the cluster. One of a time that is not yet, by a clock that was wrong, is not waited for.
    ///
    /// - Returns: the job of a drill that failed and stands all the same.
    func settleDrills(provenBy job: String) throws(FleetError) -> String? {
        let cluster: String? = try db.first("SELECT cluster FROM drills WHERE job = ?", job) {
            row throws(FleetError) in try row["cluster"]
        }
        guard let cluster else { return nil }
        try db.run(
            """
            UPDATE drills SET settled = 1 WHERE cluster = ?1 AND \(Self.standing("drills"))
                AND EXISTS (SELECT 1 FROM drills p WHERE p.job = ?2 AND p.of_backup
                    AND (drills.saved <= p.saved OR drills.saved > ?3))
            """, cluster, job, now)
        return try lastDrill("\(Self.ownBackups) AND \(Self.standing("d"))", cluster)?.job
    }

    /// As the index has it.
    private static func standing(_ table: String) -> String {
        "\(table).verdict = 'failed' AND \(table).of_backup AND NOT \(table).settled"
    }

    /// The last that said anything of the snapshot.
    func lastDrill(snapshot: String) throws(FleetError) -> DrillRecord? { try lastDrill("d.snapshot = ?", snapshot) }

    /// Of its backups, also of one that is not kept any more: that they restore was seen all the same. One that failed stands
    /// until a backup that is no older is proven; else the newest.
    func lastDrill(cluster: String) throws(FleetError) -> DrillRecord? {
        if let failed = try lastDrill("\(Self.ownBackups) AND \(Self.standing("d"))", cluster) { return failed }
        return try lastDrill(Self.ownBackups, cluster)
    }

    private static let ownBackups = "d.cluster = ?1 AND d.of_backup AND d.finished > \(ownHistory)"

    /// The newest of its backups that has ended, whatever was learned: one that could not be made proves nothing either.
    func lastDrillJob(of cluster: String) throws(FleetError) -> JobEnd? {
        let newest = """
            SELECT j.id, j.state, j.error, d.created FROM drills d JOIN jobs j ON j.id = d.job
            WHERE d.cluster = ?1 AND d.of_backup AND d.created > \(Self.ownHistory) AND j.finished IS NOT NULL
            """
        // Two looks into an index, of which the second is for what a wrong clock has dated ahead.
        return try db.first(
            """
            SELECT id, state, error FROM (
                SELECT * FROM (\(newest) AND d.created <= ?2 ORDER BY d.created DESC, d.job DESC LIMIT 1)
                UNION ALL SELECT * FROM (\(newest) ORDER BY d.created DESC, d.job DESC LIMIT 1)
            ) ORDER BY created > ?2, created DESC LIMIT 1
            """, cluster, soon
        ) { row throws(FleetError) -> JobEnd? in
            let (job, state): (String, JobState?) = (try row["id"], try row.state("state"))
            let error = (try? row.json(FleetError.self, "error")) ?? nil
            return state.map { JobEnd(job: job, kind: "drill", state: $0, error: error?.message) }
        } ?? nil
    }

    func lastProven(cluster: String) throws(FleetError) -> Timestamp? {
        let newest = """
            SELECT finished FROM drills WHERE cluster = ?1 AND verdict = 'proven' AND of_backup
                AND finished > \(Self.ownHistory)
            """
        return try db.first(
            """
            SELECT finished FROM (
                SELECT * FROM (\(newest) AND finished <= ?2 ORDER BY finished DESC LIMIT 1)
                UNION ALL SELECT * FROM (\(newest) ORDER BY finished DESC LIMIT 1)
            ) ORDER BY finished > ?2, finished DESC LIMIT 1
            """, cluster, soon
        ) { row throws(FleetError) in try row["finished"] }
    }

    private func lastDrill(_ condition: String, _ value: String) throws(FleetError) -> DrillRecord? {
        try db.first(
            """
            SELECT d.*, j.cluster AS at, j.node FROM drills d JOIN jobs j ON j.id = d.job
            WHERE \(condition) AND d.verdict IS NOT NULL ORDER BY d.finished DESC, d.job DESC LIMIT 1
            """, value
        ) { row throws(FleetError) -> DrillRecord? in
            let verdict: String = try row["verdict"]
            guard let report = try row.json(DrillReport.self, "report") else { return nil }
            let (cluster, node): (String, String) = (try row["at"], try row["node"])
            return DrillRecord(
                snapshot: try row["snapshot"], job: try row["job"], node: "\(cluster)/\(node)",
                finished: try row["finished"], verdict: .init(rawValue: verdict) ?? .failed,
                problem: try row.json(FleetError.self, "problem"), report: report)
        } ?? nil
    }
}
