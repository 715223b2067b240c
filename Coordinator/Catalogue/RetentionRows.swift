import FleetProtocol
import FleetSQLite
import FleetSystem

extension Catalogue {
    // MARK: policies

    /// A cluster's own: nil is what the policy that it follows says, and where none does, everything is kept.
    ///
    /// - Throws: `not-found`, `usage` for a policy with negative numbers or one that keeps nothing.
    func setRetention(
        _ cluster: String, _ policy: RetentionPolicy?, keepsAll: Bool = false, by actor: String
    ) throws(FleetError) {
        var event = Act("retention.set", by: actor, cluster: cluster)
        event.detail["policy"] = policy?.text ?? (keepsAll ? "keep everything" : "none of its own")
        let stored = keepsAll ? Self.everything : policy
        try act(event) { _ throws(FleetError) in
            guard try clusterExists(cluster) else { throw try unknownCluster(cluster) }
            if let policy { try Self.check(policy) }
            try db.run(
                "UPDATE clusters SET retention = ? WHERE name = ?",
                try stored.map { value throws(FleetError) in try JSON.text(value) }, cluster)
        }
    }

    /// As a row says that everything is kept: no policy that could be set is this.
    private static let everything = RetentionPolicy()

    /// - Throws: `usage`.
    static func check(_ policy: RetentionPolicy) throws(FleetError) {
        let counts = [policy.last, policy.hourly, policy.daily, policy.weekly, policy.monthly, policy.yearly]
        guard counts.allSatisfy({ (0...100_000).contains($0) }), counts.contains(where: { $0 > 0 }) else {
            throw FleetError(
                .usage, "a policy keeps something: whole numbers from 0 to 100000, one above 0",
                hint: "for instance --keep-last 7 --keep-daily 14")
        }
    }

    /// Of all clusters, or of one: their own.
    ///
    /// - Throws: `not-found`.
    func retention(_ cluster: String? = nil) throws(FleetError) -> [RetentionRecord] {
        if let cluster, try !clusterExists(cluster) { throw try unknownCluster(cluster) }
        return try db.all(
            "SELECT name, retention FROM clusters WHERE present AND (?1 IS NULL OR name = ?1) ORDER BY name", cluster
        ) { row throws(FleetError) in
            let stored = try row.json(RetentionPolicy.self, "retention")
            var record = RetentionRecord(
                cluster: try row["name"], policy: stored == Self.everything ? nil : stored)
            if stored == Self.everything { record.keepsAll = true }
            return record
        }
    }

    /// A cluster's own, else that of the policy that it follows; of all clusters, or of one.
    ///
    /// - Throws: `not-found`.
    func retentionsInForce(_ cluster: String? = nil) throws(FleetError) -> [RetentionRecord] {
        let followed = try policiesByCluster()
        return try retention(cluster).map { record in
            guard record.policy == nil, record.keepsAll != true, let policy = followed[record.cluster],
                let own = policy.retention
            else {
                return record
            }
            var record = record
            (record.policy, record.from) = (own, policy.name)
            return record
        }
    }

    // MARK: what it looks at

    /// All snapshots of a cluster, and what holds each besides a policy.
    func restorePoints(_ cluster: String) throws(FleetError) -> [RestorePoint] {
        let soon = soon
        return try db.all(
            """
            SELECT id, saved, condition, pinned, record,
                json_extract(record, '$.beforeRestore') IS NULL AS is_backup, EXISTS (SELECT 1 FROM jobs j WHERE j.snapshot = s.id
                AND j.kind IN ('restore', 'drill') AND j.finished IS NULL) AS used,
                EXISTS (SELECT 1 FROM jobs j WHERE j.snapshot = s.id AND j.kind = 'restore' AND j.dry_run
                    AND j.finished > ?2) AS planned,
                id IS (SELECT t.id FROM snapshots t WHERE t.cluster = ?1 AND t.condition = 'verified' AND t.saved <= ?3
                    AND json_extract(t.record, '$.beforeRestore') IS NULL
                    AND (SELECT d.verdict FROM drills d WHERE d.snapshot = t.id AND d.verdict IS NOT NULL
                        ORDER BY d.finished DESC, d.job DESC LIMIT 1) = 'proven'
                    ORDER BY t.saved DESC, t.id DESC LIMIT 1) AS proven
            FROM snapshots s WHERE cluster = ?1
            """, cluster, now.adding(Self.approvalLasts * -2), soon
        ) { row throws(FleetError) in
            let text: String = try row["condition"]
            let condition = SnapshotCondition(rawValue: text)
            var holds: [RestorePoint.Hold] = []
            if try row["pinned"] { holds.append(.pinned) }
            if try row["used"] { holds.append(.restoring) }
            if try row["planned"] { holds.append(.planned) }
            if try row["proven"] { holds.append(.proven) }
            if condition == .foreign { holds.append(.foreign) }
            if condition == .missing || condition == .damaged {
                // A record that can't be read says nothing, and nothing is deleted because of that.
                let record = try? row.json(SnapshotRecord.self, "record")
                if record?.ownCondition != .damaged { holds.append(.unreadable) }
            }
            let saved: Timestamp = try row["saved"]
            if saved > soon { holds.append(.ahead) }
            return RestorePoint(
                id: try row["id"], time: saved, isVerified: condition == .verified, isBackup: try row["is_backup"],
                holds: holds)
        }
    }

    /// - Throws: `not-found`.
    func pin(_ id: String, _ pinned: Bool, by actor: String) throws(FleetError) -> SnapshotEntry {
        let entry = try snapshot(id)
        try act(
            Act(pinned ? "snapshot.pin" : "snapshot.unpin", by: actor, cluster: entry.record.cluster, subject: id)
        ) { _ throws(FleetError) in
            try db.run("UPDATE snapshots SET pinned = ? WHERE id = ?", pinned, id)
        }
        return try snapshot(id)
    }

    // MARK: deletion, in three steps

    /// The first: from now on nobody chooses it. If the process dies before its files are gone, the next start finds
    /// them whole and it counts as before; if it dies after that, the next start forgets it.
    ///
    /// - Returns: what it was until now.
    /// - Throws: `not-found`, `conflict` for one that must stay.
    func retire(
        _ id: String, because reason: String, newestToo: Bool = false, by actor: String
    ) throws(FleetError) -> SnapshotEntry {
        let entry = try snapshot(id)
        var event = Act("snapshot.retire", by: actor, cluster: entry.record.cluster, subject: id)
        event.detail["reason"] = reason
        if newestToo { event.detail["newestToo"] = "true" }
        try act(event) { _ throws(FleetError) in
            let points = try restorePoints(entry.record.cluster)
            if let hold = points.first(where: { $0.id == id })?.holds.first(where: { !$0.yieldsToPerson }) {
                throw FleetError(
                    .conflict, "snapshot \(id) stays: \(hold.rawValue)",
                    hint: entry.pinned
                        ? "fleetctl snapshot unpin \(id) releases it" : "wait for the restore: fleetctl job list")
            }
            if Retention.newest(points)?.id == id { try checkGivenUp(entry.record.cluster, id, newestToo) }
            let problem = Retirement.problem(because: reason)
            try db.run(
                "UPDATE snapshots SET condition = ?, problem = ? WHERE id = ?", SnapshotCondition.missing.rawValue,
                try JSON.text(problem), id)
        }
        return entry
    }

    /// The newest verified snapshot goes only with a cluster that is given up, and only where somebody says so.
    private func checkGivenUp(_ cluster: String, _ id: String, _ isSaid: Bool) throws(FleetError) {
        let hasAgents = try agents(cluster: cluster).contains { $0.certificate.map { $0.revoked == nil } ?? false }
        // What two people's word protects is not taken away by one's.
        if isSaid, !hasAgents, try isProtected(cluster) {
            throw FleetError(
                .conflict, "snapshot \(id) stays: it is the newest verified one of \(cluster), which is protected",
                hint: "as root on the coordinator's host: fleetctl cluster unprotect \(cluster)")
        }
        guard hasAgents || !isSaid else { return }
        throw FleetError(
            .conflict, "snapshot \(id) stays: it is the newest verified one of \(cluster)",
            hint: hasAgents
                ? "make another first: fleetctl backup \(cluster)"
                : "\(cluster) has no agent any more: if it is given up, add --newest-too")
    }

    /// The last, when its files are gone. Of two that deleted it at once, one has done this already.
    func forget(_ entry: SnapshotEntry, because reason: String, by actor: String) throws(FleetError) {
        let record = entry.record
        guard try self.entry(record.id) != nil else { return }
        var event = Act("snapshot.delete", by: actor, cluster: record.cluster, subject: record.id)
        event.detail = [
            "reason": reason, "condition": entry.condition.rawValue, "sha256": record.sha256,
            "saved": record.facts.savedAt.description,
        ]
        // Its drills stay: they tell of the cluster, whose backups are proven by what was proven.
        try act(event) { _ throws(FleetError) in try db.run("DELETE FROM snapshots WHERE id = ?", record.id) }
    }
}
