import FleetProtocol
import FleetSQLite
import FleetSystem

/// Which jobs are wanted; newest first.
struct JobFilter: Sendable {
    var cluster: String?
    var scope = Scope.all
    var openOnly = false
    var limit = 100
}

extension Catalogue {
    /// With its attempts and events.
    ///
    /// - Parameters:
    ///   - prefix: the id, or a beginning of it that no other job has.
    ///   - scope: jobs of other clusters are not there.
    /// - Throws: `not-found`, `ambiguous`.
    func job(_ prefix: String, in scope: Scope = .all) throws(FleetError) -> JobRecord {
        // '~' sorts behind every character of an id. A restore of several members stands for its members' jobs.
        let ids: [String] = try db.all(
            """
            WITH found (id) AS (
                SELECT id FROM member_restores WHERE id >= ?1 AND id < ?2
                UNION ALL SELECT id FROM replacements WHERE id >= ?1 AND id < ?2
                UNION ALL SELECT id FROM jobs WHERE id >= ?1 AND id < ?2
                    AND (restore IS NULL OR NOT (restore >= ?1 AND restore < ?2))
                    AND (replacement IS NULL OR NOT (replacement >= ?1 AND replacement < ?2)))
            SELECT id FROM found WHERE ?3 IS NULL OR EXISTS (SELECT 1 FROM (
                SELECT cluster FROM jobs WHERE id = found.id
                UNION ALL SELECT cluster FROM member_restores WHERE id = found.id
                UNION ALL SELECT cluster FROM replacements WHERE id = found.id
                -- A drill is its agent's cluster's job, and the business of those whose snapshot it proves.
                UNION ALL SELECT cluster FROM drills WHERE job = found.id)
                WHERE cluster IN (SELECT value FROM json_each(?3)))
            ORDER BY id LIMIT 6
            """, prefix, prefix + "~", try scope.json()
        ) { row throws(FleetError) in try row["id"] }
        guard Identifier.isValid(prefix), let first = ids.first else {
            throw FleetError(
                .notFound, "there is no job \(Names.quote(prefix))", hint: "list them with: fleetctl job list")
        }
        guard ids.count == 1 || first == prefix else {
            throw FleetError(
                .ambiguous, "several jobs begin with \(prefix)",
                hint: "give more of it: \(ids.prefix(6).joined(separator: ", "))"
            )
        }
        if var restore = try memberRestores("id = ?", first).first {
            restore.aftermath = try aftermath(of: restore)
            if restore.dryRun { restore.approvals = try approvals(of: first) }
            return restore
        }
        if var replacement = try replacements("id = ?", first).first {
            replacement.aftermath = try aftermath(of: replacement)
            return replacement
        }
        guard var record = try records("id = ?", first).first else {
            throw FleetError(.internalError, "job \(first) went away")
        }
        record.events = try db.all("SELECT event FROM job_events WHERE job = ? ORDER BY sequence", first) {
            row throws(FleetError) in
            guard let event = try row.json(JobEvent.self, "event") else {
                throw FleetError(.databaseCorrupt, "an event of job \(first) is empty")
            }
            return event
        }
        if !["backup", "drill", "member", "upgrade"].contains(record.kind) { record.steps = try restoreSteps(first) }
        record.aftermath = try aftermath(of: record)
        if record.dryRun { record.approvals = try approvals(of: first) }
        return record
    }

    /// Newest first, with their attempts and without their events. A restore of several members is one of them.
    func jobs(_ filter: JobFilter = JobFilter()) throws(FleetError) -> [JobRecord] {
        let found = try db.all(
            """
            SELECT id, has_members FROM whole_jobs w WHERE (?1 IS NULL OR cluster = ?1)
                \(filter.openOnly ? "AND finished IS NULL" : "")
                AND (?3 IS NULL OR cluster IN (SELECT value FROM json_each(?3)) OR EXISTS (SELECT 1 FROM drills d
                    WHERE d.job = w.id AND d.cluster IN (SELECT value FROM json_each(?3))))
            ORDER BY created DESC, id DESC LIMIT ?2
            """, filter.cluster, filter.limit, try filter.scope.json()
        ) { row throws(FleetError) in
            let id: String = try row["id"]
            let hasMembers: Bool = try row["has_members"]
            return (id, hasMembers)
        }
        // One that can't be read hides none of the others; asked for by its own id, it says so.
        var all: [JobRecord] = []
        for (id, hasMembers) in found {
            do throws(FleetError) {
                all +=
                    hasMembers
                    ? try memberRestores("id = ?", id, detailed: false) + replacements("id = ?", id, detailed: false)
                    : try records("id = ?", id)
            } catch { log.with("job", id).error("a job's rows can't be read, and it is left out of a listing", error) }
        }
        return all
    }

    /// What is signed: the job with the counter and the times of its present attempt.
    func message(_ id: String) throws(FleetError) -> Job {
        let found = try db.first(
            """
            SELECT j.*, a.counter, a.issued, a.expires FROM jobs j JOIN job_attempts a ON a.job = j.id
            WHERE j.id = ? ORDER BY a.number DESC LIMIT 1
            """, id
        ) { row throws(FleetError) in
            guard let operation = try row.json(Operation.self, "operation") else {
                throw FleetError(.databaseCorrupt, "job \(id) has no operation")
            }
            let counter: Int64 = try row["counter"]
            return Job(
                id: id, node: try row["node"], cluster: try row["cluster"], counter: UInt64(counter),
                issued: try row["issued"], expires: try row["expires"], operation: operation)
        }
        guard let found else { throw FleetError(.notFound, "there is no job \(id)") }
        return found
    }

    func records(_ condition: String, _ values: (any SQLiteBindable)?...) throws(FleetError) -> [JobRecord] {
        try records(condition, values: values)
    }

    private func records(_ condition: String, values: [(any SQLiteBindable)?]) throws(FleetError) -> [JobRecord] {
        try db.all("SELECT * FROM jobs WHERE \(condition)", values: values) { row throws(FleetError) in
            let id: String = try row["id"]
            guard let state = try row.state("state") else { throw FleetError(.databaseCorrupt, "job without a state") }
            let (undoes, cleans): (String?, String?) = (try row["undoes"], try row["cleans"])
            let kind: String = try row["kind"]
            var record = JobRecord(
                id: id, cluster: try row["cluster"], node: try row["node"],
                kind: undoes != nil ? "undo" : cleans != nil ? "cleanup" : kind,
                snapshot: try row["snapshot"], dryRun: try row["dry_run"], state: state,
                requestedBy: try row["requested_by"], created: try row["created"], started: try row["started"],
                finished: try row["finished"], lastHeard: try row["last_heard"],
                outcome: try row.json(JobOutcome.self, "outcome"), error: try row.json(FleetError.self, "error"),
                attempts: try self.attempts(id), events: [], restore: try row["restore"])
            (record.undoes, record.cleans) = (undoes, cleans)
            record.replacement = try row["replacement"]
            return record
        }
    }

    private func attempts(_ job: String) throws(FleetError) -> [JobAttempt] {
        try db.all("SELECT * FROM job_attempts WHERE job = ? ORDER BY number", job) { row throws(FleetError) in
            let counter: Int64 = try row["counter"]
            return JobAttempt(
                number: try row["number"], counter: UInt64(counter), issued: try row["issued"],
                expires: try row["expires"], delivered: try row["delivered"])
        }
    }
}
