import FleetProtocol
import FleetSQLite
import FleetSystem

/// Undo and cleanup of committed restores: jobs like the restore's own, one for each of its nodes.
extension Catalogue {
    func aftermath(of job: JobRecord) throws(FleetError) -> RestoreAftermath? {
        guard ["restore", "undo", "replace"].contains(job.kind), !job.dryRun, job.restore == nil else { return nil }
        // Nothing leads back behind a replacement: its old data is of a member that is gone.
        guard job.kind != "replace" else {
            let isProvedHalf = try isProvedHalf(job)
            guard job.state == .succeeded || isProvedHalf else { return nil }
            let nodes = try keptNodes(job)
            return RestoreAftermath(state: .final, at: nodes.compactMap(\.cleanedUp).max(), nodes: nodes)
        }
        let switches = try db.all(
            """
            SELECT id, state, undoes, finished, created FROM member_restores
                WHERE cluster = ?1 AND NOT dry_run AND cleans IS NULL
            UNION ALL SELECT id, state, undoes, finished, created FROM jobs
                WHERE cluster = ?1 AND NOT dry_run AND cleans IS NULL AND kind = 'restore' AND restore IS NULL
            UNION ALL SELECT id, state, NULL, finished, created FROM replacements WHERE cluster = ?1 AND NOT dry_run
            ORDER BY created, id
            """, job.cluster
        ) { row throws(FleetError) in
            Aftermath.Switch(
                job: try row["id"], state: try row.state("state") ?? .lost, undoes: try row["undoes"],
                finished: try row["finished"])
        }
        return Aftermath.of(job.id, among: switches, nodes: try keptNodes(job))
    }

    /// The member serves, and whether all serve the same was not proven: nothing of the replacement goes on.
    private func isProvedHalf(_ replacement: JobRecord) throws(FleetError) -> Bool {
        guard replacement.state == .stuck, case .prove? = try replaceTransaction(replacement.id).lastAct else {
            return false
        }
        return true
    }

    private func keptNodes(_ job: JobRecord) throws(FleetError) -> [RestoreAftermath.Node] {
        let cleaned = try db.all(
            "SELECT node, finished FROM jobs WHERE cleans = ? AND NOT dry_run AND state = 'succeeded'", job.id
        ) { row throws(FleetError) in
            let node: String = try row["node"]
            let finished: Timestamp? = try row["finished"]
            return (node, finished)
        }
        let times = Dictionary(cleaned.map { ($0.0, $0.1) }) { first, _ in first }
        return job.parts.map { member in
            let plan = member.outcome?.plan
            return RestoreAftermath.Node(
                node: member.node, directories: plan?.oldDirectories ?? plan.map { [$0.oldDataDir] } ?? [],
                cleanedUp: times[member.node] ?? nil)
        }
    }

    /// A restore that an undo may be begun of now, as far as is known here.
    ///
    /// - Throws: `not-found`, `cluster-busy`, `not-undoable`.
    func undoable(_ name: String) throws(FleetError) -> JobRecord {
        let target = try job(name)
        // Before anything is missed that takes part in what goes on.
        try checkIdle(target.cluster)
        try Aftermath.checkUndo(target)
        if let members = target.members {
            _ = try Self.group(try restorePlan(target.id).group!, of: members, restore: target.id)
        }
        return target
    }

    /// The same of a cleanup.
    ///
    /// - Throws: `not-found`, `cluster-busy`, `not-cleanable`.
    func cleanable(_ name: String) throws(FleetError) -> JobRecord {
        let target = try job(name)
        try checkIdle(target.cluster)
        try Aftermath.checkCleanup(target)
        return target
    }

    /// Goes back behind a committed restore, on all of its nodes.
    ///
    /// - Throws: `not-found`, `cluster-busy`, `not-undoable`.
    func createUndo(
        of restored: String, dryRun: Bool, waitSeconds: Int, lifetime: Duration, by actor: String
    ) throws(FleetError) -> JobRecord {
        let id = try newIdentifier()
        let target = try job(restored)
        var event = Act("restore.undo", by: actor, cluster: target.cluster, subject: id)
        event.detail = ["undoes": target.id, "nodes": target.node]
        if dryRun { event.detail["dryRun"] = "true" }
        try act(event) { event throws(FleetError) in
            _ = try undoable(target.id)
            if !dryRun { try useApproval(ApprovalNeed(undoing: target), job: id, by: actor, &event) }
            guard let members = target.members else {
                let undo = Operation.Undo(restored: target.id, dryRun: dryRun, waitSeconds: waitSeconds)
                return try insertJob(
                    id, .undo(undo), snapshot: target.snapshot, dryRun: dryRun, cluster: target.cluster,
                    node: target.node, undoes: target.id, lifetime: lifetime, by: actor)
            }
            var plan = try restorePlan(target.id)
            (plan.dryRun, plan.waitSeconds) = (dryRun, waitSeconds)
            plan.group = try Self.group(plan.group!, of: members, restore: id)
            try insertWhole(id, target, plan, undoes: target.id, by: actor)
            for (index, member) in members.enumerated() {
                let undo = Operation.Undo(
                    restored: member.id, dryRun: dryRun, waitSeconds: waitSeconds, group: plan.group)
                try insertJob(
                    "\(id)-\(index + 1)", .undo(undo), snapshot: target.snapshot, dryRun: dryRun,
                    cluster: target.cluster, node: member.node, restore: id, undoes: target.id, lifetime: lifetime,
                    by: actor)
            }
        }
        return try job(id)
    }

    /// Signs off what a committed restore has left, on the nodes that are there.
    ///
    /// - Throws: `not-found`, `cluster-busy`, `not-cleanable`.
    func createCleanup(
        of restored: String, on nodes: Set<String>, dryRun: Bool, lifetime: Duration, by actor: String
    ) throws(FleetError) -> JobRecord {
        let id = try newIdentifier()
        let target = try job(restored)
        let members = target.parts.filter { nodes.contains($0.node) }
        var event = Act("restore.cleanup", by: actor, cluster: target.cluster, subject: id)
        event.detail = ["cleans": target.id, "nodes": members.map(\.node).joined(separator: ",")]
        if dryRun { event.detail["dryRun"] = "true" }
        try act(event) { _ throws(FleetError) in
            _ = try cleanable(target.id)
            if target.members == nil || target.kind == "replace" {
                return try insertJob(
                    id, .cleanup(.init(restored: target.id, dryRun: dryRun)), snapshot: target.snapshot,
                    dryRun: dryRun, cluster: target.cluster, node: target.node, cleans: target.id,
                    lifetime: lifetime, by: actor)
            }
            var plan = try restorePlan(target.id)
            plan.dryRun = dryRun
            try insertWhole(id, target, plan, cleans: target.id, by: actor)
            for (index, member) in members.enumerated() {
                try insertJob(
                    "\(id)-\(index + 1)", .cleanup(.init(restored: member.id, dryRun: dryRun)),
                    snapshot: target.snapshot, dryRun: dryRun, cluster: target.cluster, node: member.node,
                    restore: id, cleans: target.id, lifetime: lifetime, by: actor)
            }
        }
        return try job(id)
    }

    /// As the restore was given it: it may be deleted by now.
    func restoredSnapshot(of job: JobRecord) throws(FleetError) -> SnapshotRecord {
        if job.members != nil { return try restorePlan(job.id).snapshot }
        guard case .restore(let restore) = try message(job.id).operation else {
            throw FleetError(.notUndoable, "\(job.id) is no restore", hint: "see: fleetctl job show \(job.id)")
        }
        return restore.snapshot
    }

    private func insertWhole(
        _ id: String, _ target: JobRecord, _ plan: Operation.Restore, undoes: String? = nil, cleans: String? = nil,
        by actor: String
    ) throws(FleetError) {
        try db.run(
            """
            INSERT INTO member_restores (id, cluster, snapshot, dry_run, plan, state, requested_by, created, undoes, cleans)
            VALUES (?, ?, ?, ?, ?, 'running', ?, ?, ?, ?)
            """, id, target.cluster, target.snapshot, plan.dryRun, try JSON.text(plan), actor, now, undoes, cleans)
    }

    /// The same members with the ids that they had before: what each of them read off its old data.
    ///
    /// - Throws: `not-undoable` where one did not, or they were not of one cluster.
    static func group(_ group: RestoreGroup, of members: [JobRecord], restore: String) throws(FleetError)
        -> RestoreGroup
    {
        let plans = Dictionary(members.map { ($0.node, $0.outcome?.plan) }) { first, _ in first }
        var known = RestoreGroup(restore: restore, members: group.members)
        for (index, member) in group.members.enumerated() {
            guard let plan = plans[member.node] ?? nil, let id = plan.oldMemberID, let cluster = plan.oldClusterID
            else {
                throw FleetError(
                    .notUndoable,
                    "nothing tells which member the old data on \(member.node) is of: it may have been lost "
                        + "before that restore", hint: "there is nothing to go back to; restore a snapshot instead")
            }
            guard known.cluster ?? cluster == cluster else {
                throw FleetError(
                    .notUndoable,
                    "the old data on \(member.node) is of cluster \(cluster), on others of "
                        + "\(known.cluster ?? "")", hint: "restore a snapshot instead")
            }
            known.members[index].id = id
            known.cluster = cluster
        }
        return known
    }
}

extension JobRecord {
    /// What was done on each node: a replacement's members are acts, and its old data is on one node.
    var parts: [JobRecord] { kind == "replace" ? [self] : members ?? [self] }
}
