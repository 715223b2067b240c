import FleetProtocol
import FleetSQLite
import FleetSystem

extension Catalogue {
    /// - Throws: `malformed` for a name that is none, `already-exists`.
    func addCluster(_ name: String, by actor: String) throws(FleetError) -> ClusterRecord {
        try act(Act("cluster.add", by: actor, cluster: name)) { _ throws(FleetError) in
            try Names.check(name, "cluster")
            guard name != "all" else {
                throw FleetError(.malformed, "'all' means all clusters", hint: "choose another name")
            }
            guard try !clusterExists(name) else {
                throw FleetError(
                    .alreadyExists, "cluster \(name) exists already",
                    hint: "enrol its nodes: fleetctl agent install \(name) --ssh root@NODE")
            }
            try insertCluster(name)
        }
        return try cluster(name)
    }

    /// All of them, by name.
    func clusters() throws(FleetError) -> [ClusterRecord] {
        try clusters(named: nil)
    }

    /// - Throws: `not-found`.
    func cluster(_ name: String) throws(FleetError) -> ClusterRecord {
        guard let found = try clusters(named: name).first else { throw try unknownCluster(name) }
        return found
    }

    func clusterExists(_ name: String) throws(FleetError) -> Bool {
        try db.first("SELECT 1 AS found FROM clusters WHERE name = ? AND present", name) { row throws(FleetError) in
            try row["found"]
        } ?? false
    }

    func unknownCluster(_ name: String) throws(FleetError) -> FleetError {
        let known: [String] = try db.all("SELECT name FROM clusters WHERE present ORDER BY name LIMIT 6") {
            row throws(FleetError) in try row["name"]
        }
        let was = try removed(name).map { "; it was removed at \($0)" } ?? ""
        return FleetError(
            .notFound, "there is no cluster \(Names.isValid(name) ? name : Names.quote(name))\(was)",
            hint: known.isEmpty
                ? "add it with: fleetctl cluster add \(Names.isValid(name) ? name : "NAME")"
                : "known clusters: \(known.prefix(5).joined(separator: ", "))\(known.count > 5 ? ", ..." : "")")
    }

    /// Inside a transaction; one that was removed begins anew.
    func insertCluster(_ name: String) throws(FleetError) {
        try db.run(
            """
            INSERT INTO clusters (name, created) VALUES (?, ?)
            ON CONFLICT (name) DO UPDATE SET created = excluded.created, present = 1
            """, name, now)
    }

    private func clusters(named wanted: String?) throws(FleetError) -> [ClusterRecord] {
        let sql = """
            SELECT c.name, c.created, c.protected, c.labels, c.keeps_configuration,
                (SELECT t.since FROM scheduled_tasks t WHERE t.cluster = c.name AND t.kind = 'drill'
                    AND t.schedule IS NOT NULL) AS drills_since,
                (SELECT t.since FROM scheduled_tasks t WHERE t.cluster = c.name AND t.kind = 'backup'
                    AND t.schedule IS NULL) AS unscheduled_since,
                (SELECT count(*) FROM agents a WHERE a.cluster = c.name AND EXISTS (SELECT 1 FROM certificates k
                    WHERE k.cluster = a.cluster AND k.node = a.node AND k.revoked IS NULL)) AS agents,
                (SELECT count(*) FROM snapshots s WHERE s.cluster = c.name AND s.condition = 'verified') AS snapshots,
                (SELECT count(*) FROM snapshots s WHERE s.cluster = c.name
                    AND s.condition IN ('damaged', 'missing')) AS unusable,
                (SELECT s.id FROM snapshots s WHERE s.cluster = c.name AND s.condition = 'verified' AND s.saved > ?2
                    AND json_extract(s.record, '$.beforeRestore') IS NULL ORDER BY s.saved DESC LIMIT 1) AS dated_ahead,
                l.id AS latest, l.saved AS latest_saved,
                coalesce((SELECT b.created FROM jobs b WHERE b.id = l.job), l.saved) AS latest_begun, json_extract(l.record, '$.facts.members') AS members,
                json_extract(l.record, '$.verification.encryptedAtRest') AS encrypted,
                json_extract(l.record, '$.verification.encryptionKeys') AS encryption_keys,
                json_extract(l.record, '$.bundles') AS bundles,
                json_extract(l.record, '$.imported') IS NOT NULL AS is_imported,
                (SELECT s.id FROM snapshots s
                    JOIN agents k ON k.cluster = s.cluster AND k.node = s.node AND k.enrolled < s.stored
                        AND EXISTS (SELECT 1 FROM certificates e WHERE e.cluster = k.cluster AND e.node = k.node
                            AND e.revoked IS NULL)
                    WHERE s.cluster = c.name AND s.condition = 'foreign' AND json_extract(s.record, '$.imported') IS NULL
                        AND NOT EXISTS (SELECT 1 FROM etcd_identities i WHERE i.cluster = c.name
                            AND i.id = json_extract(s.record, '$.facts.clusterID')
                            AND (json_extract(s.record, '$.wentBack') IS NULL OR s.stored <= coalesce(i.accepted, 0)))
                        AND s.stored > coalesce(
                            (SELECT max(i.first_seen) FROM etcd_identities i WHERE i.cluster = c.name
                                AND i.first_seen <= ?2), 0)
                        AND NOT EXISTS (SELECT 1 FROM jobs b WHERE b.cluster = s.cluster AND b.node = s.node
                            AND b.kind = 'backup' AND b.state = 'succeeded' AND b.finished > s.stored
                            AND b.finished <= ?2)
                    ORDER BY s.stored DESC LIMIT 1) AS newer_foreign
            FROM clusters c
            LEFT JOIN snapshots l ON l.id = \(Self.newestBackup(of: "c.name", soon: "?2"))
            WHERE c.present AND (?1 IS NULL OR c.name = ?1) ORDER BY c.name
            """
        // What can't be told of policies hides no cluster.
        let followed = (try? policiesByCluster(wanted)) ?? [:]
        return try db.all(sql, wanted, soon) { row throws(FleetError) in
            let name: String = try row["name"]
            let last = try self.lastAct(of: name)
            var record = ClusterRecord(
                name: name, created: try row["created"], identities: try self.identities(name),
                agents: try row["agents"], snapshots: try row["snapshots"], unusableSnapshots: try row["unusable"],
                latestSnapshot: try row["latest"],
                latestSavedAt: try row["latest_saved"], members: try row["members"],
                newerForeign: try row["newer_foreign"], lastJob: last?.id, lastJobKind: last?.kind,
                lastJobState: last?.state, lastDrill: try self.lastDrill(cluster: name))
            if let change = try self.lastAct(of: name, .changes), [.stuck, .lost].contains(change.state) {
                record.halfRestored = change.id
            }
            record.identityAgain = try self.identityAgain(record)
            record.datedAhead = try row["dated_ahead"]
            record.lastBackup = try self.lastBackup(of: name)
            record.lastChange = try self.lastChange(of: name)
            if let latest = record.latestSnapshot, let begun: Timestamp = try row["latest_begun"] {
                record.latestLeftBy = try self.departure(from: latest, begun: begun, cluster: name)
            }
            record.lastDrillJob = try self.lastDrillJob(of: name)
            record.lastProven = try self.lastProven(cluster: name)
            record.encryptedAtRest = (try? row.json([String].self, "encrypted")) ?? nil
            record.decryption = try row.decryption(of: record.encryptedAtRest)
            record.drillsSince = try row["drills_since"]
            record.isProtected = try row["protected"]
            record.keepsConfiguration = try row["keeps_configuration"]
            record.labels = (try? row.json([String: String].self, "labels")) ?? nil
            record.policy = followed[record.name]?.name
            record.objective = followed[record.name]?.objective
            if record.policy == nil { record.unscheduledSince = try row["unscheduled_since"] }
            return record
        }
    }

    private func lastBackup(of cluster: String) throws(FleetError) -> JobEnd? {
        let newest = """
            SELECT id, state, error, created FROM jobs WHERE cluster = ?1 AND kind = 'backup' AND finished IS NOT NULL
                AND created > \(Self.ownHistory)
            """
        return try db.first(
            """
            SELECT id, state, error FROM (
                SELECT * FROM (\(newest) AND created <= ?2 ORDER BY created DESC, id DESC LIMIT 1)
                UNION ALL SELECT * FROM (\(newest) ORDER BY created DESC, id DESC LIMIT 1)
            ) ORDER BY created > ?2, created DESC LIMIT 1
            """, cluster, soon
        ) { row throws(FleetError) -> JobEnd? in
            let (job, state): (String, JobState?) = (try row["id"], try row.state("state"))
            let error = (try? row.json(FleetError.self, "error")) ?? nil
            return state.map { JobEnd(job: job, kind: "backup", state: $0, error: error?.message) }
        } ?? nil
    }

    /// What failed and left nothing half-way is seen to when somebody has backed up by hand since, and old after a week.
    private func lastChange(of cluster: String) throws(FleetError) -> JobEnd? {
        guard let last = try lastAct(of: cluster, .changesThatEnded) else { return nil }
        let end = JobEnd(job: last.id, kind: last.kind, state: last.state)
        guard last.state == .failed || last.state == .rolledBack || last.state == .refused || last.state == .expired
        else {
            return end
        }
        let seenTo: Int? = try db.first(
            """
            SELECT 1 AS found FROM jobs WHERE cluster = ? AND kind = 'backup' AND state = 'succeeded' AND created > ?
                AND requested_by NOT LIKE 'schedule:%' LIMIT 1
            """, cluster, last.created
        ) { row throws(FleetError) in try row["found"] }
        return seenTo != nil || now.since(last.created) > .seconds(7 * 86_400) ? nil : end
    }

    private enum Which {
        case all
        /// Of a cluster's data: restore, undo, replacement.
        case changes
        /// The same and cleanups, less what is under way.
        case changesThatEnded
    }

    /// The newest that was no dry run, as operators know it. Each table is asked for its own newest by its index: asked of
    /// all as one, SQLite would walk through the whole history of the fleet for each cluster.
    private func lastAct(
        of cluster: String, _ which: Which = .all
    ) throws(FleetError) -> (id: String, kind: String, state: JobState, created: Timestamp)? {
        let kind = "CASE WHEN undoes IS NOT NULL THEN 'undo' WHEN cleans IS NOT NULL THEN 'cleanup' ELSE"
        // What its agents run is nothing of a cluster's.
        let kinds = "AND kind \(which == .all ? "<> 'upgrade'" : "= 'restore'")"
        let cleanups = which == .changes ? "AND cleans IS NULL" : ""
        let ended = which == .changesThatEnded ? "AND finished IS NOT NULL" : ""
        let newest = "\(ended) AND NOT dry_run AND created > \(Self.ownHistory) ORDER BY created DESC, id DESC LIMIT 1"
        let found = try db.first(
            """
            SELECT id, kind, state, created FROM (
                SELECT * FROM (SELECT id, \(kind) kind END AS kind, state, created FROM jobs WHERE cluster = ?1
                    AND restore IS NULL AND replacement IS NULL \(kinds) \(cleanups) \(newest))
                UNION ALL SELECT * FROM (SELECT id, \(kind) 'restore' END AS kind, state, created FROM member_restores
                    WHERE cluster = ?1 \(cleanups) \(newest))
                UNION ALL SELECT * FROM (SELECT id, 'replace' AS kind, state, created FROM replacements
                    WHERE cluster = ?1 \(newest))
            ) ORDER BY created DESC, id DESC LIMIT 1
            """, cluster
        ) { row throws(FleetError) in
            let (id, kind, created): (String, String, Timestamp) = (try row["id"], try row["kind"], try row["created"])
            return (id, kind, try row.state("state"), created)
        }
        return found.flatMap { id, kind, state, created in state.map { (id, kind, $0, created) } }
    }
}

extension SQLiteRow {
    /// Of the latest snapshot; what can't be read of it is not known.
    fileprivate func decryption(of providers: [String]?) throws(FleetError) -> Decryption? {
        let (bundles, isImported): (String?, Bool) = (try self["bundles"], try self["is_imported"])
        let kept = bundles == nil ? [] : try? json([NodeBundle].self, "bundles")
        guard !isImported, let kept else { return nil }
        return Decryption(
            providers: providers, keys: (try? json([String].self, "encryption_keys")) ?? nil, kept: kept)
    }

    /// A JobState, nil for NULL.
    func state(_ column: String) throws(FleetError) -> JobState? {
        let text: String? = try self[column]
        return try text.map { text throws(FleetError) in
            guard let state = JobState(rawValue: text) else {
                throw FleetError(.databaseCorrupt, "\(column) holds no job state: \(text)")
            }
            return state
        }
    }
}
