import FleetProtocol
import FleetSQLite
import FleetSystem

extension Catalogue {
    /// The row of a snapshot that the store has made durable, its etcd identity and the audit event, in one
    /// transaction. The same record a second time changes nothing: an agent may ask for its receipt again.
    ///
    /// - Parameters:
    ///   - reconciled: the row was missing and is made from the manifest.
    ///   - damage: what is wrong with its file; nil where that is sound.
    /// - Throws: `already-exists` where another snapshot has the id.
    func add(_ record: SnapshotRecord, reconciled: Bool = false, damage: FleetError? = nil, by actor: String)
        throws(FleetError)
    {
        let condition = damage == nil ? record.ownCondition : .damaged
        let problem = try (damage ?? record.ownProblem).map { value throws(FleetError) in try JSON.text(value) }
        if let known = try entry(record.id), known.record == record, known.condition == condition { return }
        let isImport = record.imported != nil
        var event = Act(
            isImport ? "snapshot.import" : "snapshot.store", by: actor, cluster: record.cluster, subject: record.id)
        event.detail = ["sha256": record.sha256, "size": String(record.size)]
        event.detail["saved"] = record.facts.savedAt.description
        event.detail["condition"] = condition.rawValue
        event.detail[EndingCertificates.field] = try endingCertificates(record)
        event.detail["revision"] = String(record.facts.status.revision)
        event.detail["beforeRestore"] = record.beforeRestore
        if let imported = record.imported {
            event.detail["file"] = imported.file
            if imported.isRawDatabase { event.detail["raw"] = "true" }
            event.detail["foreign"] = record.foreignProblem?.message
        } else {
            event.detail["job"] = record.job
            event.detail["node"] = record.node
        }
        if reconciled { event.detail["reconciled"] = "true" }
        event.detail["damage"] = (damage ?? record.unsoundProblem)?.message
        if let verification = record.verification { event.detail["findings"] = String(verification.totalFindings) }
        try act(event) { _ throws(FleetError) in
            if let known = try entry(record.id) {
                guard known.record == record else {
                    throw FleetError(.alreadyExists, "another snapshot has the id \(record.id)")
                }
                try db.run(
                    "UPDATE snapshots SET condition = ?, problem = ? WHERE id = ?", condition.rawValue, problem,
                    record.id)
                return
            }
            // A catalogue that is rebuilt learns of its clusters from their snapshots.
            if try !clusterExists(record.cluster) { try insertCluster(record.cluster) }
            try db.run(
                """
                INSERT INTO snapshots (id, cluster, node, job, saved, stored, size, sha256, record, condition,
                    problem, pinned)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """, record.id, record.cluster, record.node, record.job, record.facts.savedAt, record.storedAt,
                record.size, record.sha256, try JSON.text(record), condition.rawValue, problem,
                record.beforeRestore != nil)
            if reconciled { try seedBundles(record) }
            if let problem = record.unsoundProblem {
                // It says nothing that can be relied upon, not of which etcd it is either.
                var event = Act("snapshot.unsound", by: actor, cluster: record.cluster, subject: record.id)
                event.detail = ["code": problem.code.rawValue, "error": problem.message]
                if !record.job.isEmpty { event.detail["job"] = record.job }
                try append(event, .failed)
            } else {
                try noteIdentity(record)
            }
        }
    }

    /// Newest first. A row that can't be read is left out and logged: one odd entry never hides the others.
    func snapshots(
        cluster: String? = nil, scope: Scope = .all, limit: Int = 10_000
    ) throws(FleetError) -> [SnapshotEntry] {
        let rows = try db.all(
            """
            SELECT id, record, condition, problem, pinned FROM snapshots WHERE (?1 IS NULL OR cluster = ?1)
                AND (?3 IS NULL OR cluster IN (SELECT value FROM json_each(?3)))
            ORDER BY saved DESC, id DESC LIMIT ?2
            """, cluster, limit, try scope.json()
        ) { row throws(FleetError) -> SnapshotEntry? in
            do throws(FleetError) { return try self.entry(row) } catch {
                let id: String = try row["id"]
                log.error("the row of snapshot \(id) can't be read", error)
                return nil
            }
        }
        return rows.compactMap(\.self)
    }

    /// By the exact id; nil where there is none.
    func entry(_ id: String) throws(FleetError) -> SnapshotEntry? {
        try db.first("SELECT record, condition, problem, pinned FROM snapshots WHERE id = ?", id, read: entry)
    }

    /// By the exact id.
    ///
    /// - Throws: `not-found`.
    func snapshot(_ id: String) throws(FleetError) -> SnapshotEntry {
        guard let found = try entry(id) else {
            throw FleetError(
                .notFound, "there is no snapshot \(Names.quote(id))",
                hint: "list them with: fleetctl snapshot list")
        }
        return found
    }

    /// What an operator means by "latest", a time or the beginning of an id.
    ///
    /// - Parameter cluster: where it is looked for. nil: everywhere, which suits an id only.
    /// - Throws: `usage`, `not-found`, `ambiguous`.
    func findSnapshot(
        _ text: String, cluster: String? = nil, in scope: Scope = .all
    ) throws(FleetError) -> SnapshotEntry {
        let choice = try SnapshotChoice(text)
        if case .id(let prefix) = choice {
            let found = try db.all(
                """
                SELECT record, condition, problem, pinned FROM snapshots WHERE id >= ?1 AND id < ?2
                    AND (?3 IS NULL OR cluster = ?3)
                    AND (?4 IS NULL OR cluster IN (SELECT value FROM json_each(?4))) ORDER BY id LIMIT 1000
                """, prefix, prefix + "~", cluster, try scope.json(), read: entry)
            return try choice.choose(from: found, soon: soon, scope: cluster.map { " of \($0)" } ?? "")
        }
        guard let cluster else {
            throw FleetError(.usage, "\(text) names no snapshot without a cluster", hint: "give the id of a snapshot")
        }
        if try !clusterExists(cluster) { throw try unknownCluster(cluster) }
        // The newest that may be it, dated ahead or not, and the oldest for the error, instead of a year of rows.
        var latest: Timestamp?
        if case .at(let time) = choice { latest = time }
        let candidates = try db.all(
            """
            SELECT * FROM (SELECT record, condition, problem, pinned FROM snapshots WHERE cluster = ?1
                AND condition = 'verified' AND saved <= min(coalesce(?2, ?3), ?3)
                AND json_extract(record, '$.beforeRestore') IS NULL ORDER BY saved DESC, id DESC LIMIT 1)
            UNION ALL
            SELECT * FROM (SELECT record, condition, problem, pinned FROM snapshots WHERE cluster = ?1
                AND condition = 'verified' AND (?2 IS NULL OR saved <= ?2)
                AND json_extract(record, '$.beforeRestore') IS NULL ORDER BY saved DESC, id DESC LIMIT 1)
            UNION ALL
            SELECT * FROM (SELECT record, condition, problem, pinned FROM snapshots WHERE cluster = ?1
                AND condition = 'verified' AND json_extract(record, '$.beforeRestore') IS NULL
                 ORDER BY saved, id LIMIT 1)
            """, cluster, latest, soon, read: entry)
        return try choice.choose(from: candidates, soon: soon, scope: " of \(cluster)")
    }

    /// "latest" and a time mean the cluster's own snapshots, and so does the beginning of an id where it has one that begins
    /// so; otherwise an id names any, and the guard has its say.
    ///
    /// - Throws: as `findSnapshot`.
    func snapshotToRestore(
        _ text: String, to cluster: String, in scope: Scope = .all
    ) throws(FleetError) -> SnapshotEntry {
        guard case .id = try SnapshotChoice(text) else { return try findSnapshot(text, cluster: cluster) }
        do throws(FleetError) { return try findSnapshot(text, cluster: cluster) } catch {
            guard error.code == .notFound else { throw error }
            return try findSnapshot(text, in: scope)
        }
    }

    /// The condition of a snapshot's file has changed; the row stays, whatever it is.
    ///
    /// - Parameters:
    ///   - since: what was known before a look that took its time; what others found meanwhile is not overruled.
    ///   - endsDeletion: whoever looks while the files go has nothing to say of a row that is being deleted. Only who
    ///     ends the deletion has.
    func mark(
        _ id: String, _ condition: SnapshotCondition, _ problem: FleetError?, since: SnapshotEntry? = nil,
        endsDeletion: Bool = false, by actor: String
    ) throws(FleetError) {
        let entry = try snapshot(id)
        guard endsDeletion || Retirement.reason(of: entry) == nil else { return }
        if let since, since.condition != entry.condition || since.problem != entry.problem { return }
        guard entry.condition != condition || entry.problem != problem else { return }
        var event = Act("snapshot.condition", by: actor, cluster: entry.record.cluster, subject: id)
        event.detail = ["condition": condition.rawValue]
        event.detail["problem"] = problem?.message
        try act(event) { _ throws(FleetError) in
            try db.run(
                "UPDATE snapshots SET condition = ?, problem = ? WHERE id = ?", condition.rawValue,
                try problem.map { value throws(FleetError) in try JSON.text(value) }, id)
        }
    }

    private func entry(_ row: SQLiteRow) throws(FleetError) -> SnapshotEntry {
        guard let record = try row.json(SnapshotRecord.self, "record") else {
            throw FleetError(.databaseCorrupt, "a snapshot has no record")
        }
        let condition: String = try row["condition"]
        return SnapshotEntry(
            record: record, condition: SnapshotCondition(rawValue: condition) ?? .damaged,
            problem: try row.json(FleetError.self, "problem"), pinned: try row["pinned"],
            drill: try lastDrill(snapshot: record.id))
    }
}
