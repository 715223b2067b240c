import FleetProtocol
import FleetSQLite
import FleetSystem

/// A restore of several members as operators see it: one job that has its members' jobs in it.
extension Catalogue {
    /// With its members, their events and the decisions.
    func memberRestore(_ id: String) throws(FleetError) -> JobRecord {
        guard let record = try memberRestores("id = ?", id).first else {
            throw FleetError(.notFound, "there is no restore \(Names.quote(id))")
        }
        return record
    }

    /// The ids that begin so.
    func restoreIDs(_ prefix: String) throws(FleetError) -> [String] {
        try db.all("SELECT id FROM member_restores WHERE id >= ? AND id < ? LIMIT 6", prefix, prefix + "~") {
            row throws(FleetError) in try row["id"]
        }
    }

    func memberJobs(_ restore: String) throws(FleetError) -> [JobRecord] {
        try records("restore = ? ORDER BY id", restore)
    }

    func memberRestores(
        _ condition: String, _ values: (any SQLiteBindable)?..., detailed: Bool = true
    ) throws(FleetError) -> [JobRecord] {
        try db.all("SELECT * FROM member_restores WHERE \(condition)", values: values) { row throws(FleetError) in
            let id: String = try row["id"]
            var members = try self.memberJobs(id)
            let dryRun: Bool = try row["dry_run"]
            let transaction = try self.transaction(id)
            if detailed {
                members = try members.map { member throws(FleetError) in
                    var member = try self.job(member.id)
                    member.reached = transaction.reached(member.node)
                    return member
                }
            }
            let (undoes, cleans): (String?, String?) = (try row["undoes"], try row["cleans"])
            var record = JobRecord(
                id: id, cluster: try row["cluster"], node: members.map(\.node).joined(separator: ", "),
                kind: undoes != nil ? "undo" : cleans != nil ? "cleanup" : "restore", snapshot: try row["snapshot"],
                dryRun: dryRun,
                state: try row.state("state") ?? .running,
                requestedBy: try row["requested_by"], created: try row["created"],
                started: members.compactMap(\.started).min(), finished: try row["finished"],
                lastHeard: members.compactMap(\.lastHeard).max(), outcome: nil,
                error: try row.json(FleetError.self, "error"), attempts: [], events: [], members: members)
            (record.undoes, record.cleans) = (undoes, cleans)
            if !dryRun, cleans == nil {
                record.decision = transaction.decision
                switch transaction.next() {
                case .wait(let phase?):
                    record.waitsFor = transaction.waiting(for: phase)
                    record.deadline = try self.deadline(id, phase)
                case .wait(nil): record.waitsFor = transaction.open
                case .write, .end: break
                }
                if detailed { record.events = try self.decisions(id) }
            }
            return record
        }
    }

    func isUndo(_ restore: String) throws(FleetError) -> Bool {
        try db.first("SELECT undoes IS NOT NULL AS undo FROM member_restores WHERE id = ?", restore) {
            row throws(FleetError) in try row["undo"]
        } ?? false
    }

    private func decisions(_ id: String) throws(FleetError) -> [JobEvent] {
        let (plan, isUndo) = (try restorePlan(id), try isUndo(id))
        return try restoreRecords(id).compactMap { sequence, time, record in
            guard case .decided(let decision) = record else { return nil }
            return RestoreWords.event(
                decision, plan, restore: id, isUndo: isUndo, sequence: sequence, time: time)
        }
    }
}
