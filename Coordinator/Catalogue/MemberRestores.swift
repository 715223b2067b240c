import FleetProtocol
import FleetSQLite
import FleetSystem

/// A restore of several members as the catalogue keeps it: the decider's records, in the transaction of what caused them.
extension Catalogue {
    /// A restore with a job for each member. When this returns, all of it is durable, and nothing was sent.
    ///
    /// - Throws: `not-found`, `cluster-busy`, and what `RestoreGuard.check` throws.
    func createRestore(
        _ order: RestoreOrder, cluster: String, members: [AgentRecord], lifetime: Duration, by actor: String
    ) throws(FleetError) -> JobRecord {
        let entry = try snapshot(order.snapshot)
        let id = try newIdentifier()
        var restore = Operation.Restore(
            snapshot: entry.record, dryRun: order.dryRun, waitSeconds: order.waitSeconds,
            group: RestoreMembers.group(members, restore: id))
        restore.safety = try safety(order)
        restore.bump = try bump(order, entry.record, cluster: cluster)
        var event = Act("restore.create", by: actor, cluster: cluster, subject: id)
        event.detail = ["nodes": members.map(\.node).joined(separator: ","), "snapshot": entry.record.id]
        if order.dryRun { event.detail["dryRun"] = "true" }
        try act(event) { event throws(FleetError) in
            try checkIdle(cluster)
            try RestoreGuard.check(
                entry, target: try self.cluster(cluster), agents: try agents(cluster: cluster), order.options)
            if !order.dryRun { try useApproval(order.need(cluster), job: id, by: actor, &event) }
            try db.run(
                """
                INSERT INTO member_restores (id, cluster, snapshot, dry_run, plan, state, requested_by, created)
                VALUES (?, ?, ?, ?, ?, 'running', ?, ?)
                """, id, cluster, entry.record.id, order.dryRun, try JSON.text(restore), actor, now)
            for (index, member) in members.enumerated() {
                try insertJob(
                    "\(id)-\(index + 1)", .restore(restore), snapshot: entry.record.id, dryRun: order.dryRun,
                    cluster: cluster, node: member.node, restore: id, lifetime: lifetime, by: actor)
            }
        }
        return try memberRestore(id)
    }

    /// The restore that a job is one member's part of.
    struct Part {
        var restore: String
        var node: String
        /// Nothing is decided between its members: a dry run, or a cleanup.
        var isAlone: Bool
    }

    func part(_ job: String) throws(FleetError) -> Part? {
        try db.first(
            """
            SELECT restore, node, dry_run OR cleans IS NOT NULL AS is_alone FROM jobs WHERE id = ? AND restore IS NOT NULL
            """, job
        ) { row throws(FleetError) in
            Part(restore: try row["restore"], node: try row["node"], isAlone: try row["is_alone"])
        }
    }

    /// Inside a transaction: what has become known of a restore, and all that follows from it.
    func advance(
        restore id: String, _ news: [RestoreTransaction.Record], _ effect: inout JobEffect
    ) throws(FleetError) {
        var transaction = try transaction(id)
        for record in news { try write(record, id, &transaction, &effect) }
        // Each turn writes one decision or the end; there are no more of them than phases.
        for _ in 0...RestorePhase.allCases.count + 2 {
            switch transaction.next() {
            case .write(let record): try write(record, id, &transaction, &effect)
            case .wait: return
            case .end(let verdict, let error): return try conclude(id, verdict.state, error, &effect)
            }
        }
        throw FleetError(.internalError, "restore \(id) does not come to rest")
    }

    /// Inside a transaction: a dry run is over when all members have planned, a cleanup when all have ended theirs.
    func concludeAlone(_ id: String, _ effect: inout JobEffect) throws(FleetError) {
        let jobs = try memberJobs(id)
        guard jobs.allSatisfy({ !$0.state.isOpen }) else { return }
        let failed = jobs.first { $0.state != .succeeded }
        try conclude(
            id, failed == nil ? .succeeded : .failed,
            failed.map { $0.error?.during($0.node) ?? FleetError(.internalError, "\($0.node) \($0.state.rawValue)") },
            &effect)
    }

    /// Restores of which a phase has taken too long. Called every second.
    func overdueRestores() throws(FleetError) -> [JobEffect] {
        let effects = looking(try openRestores()) { id throws(FleetError) in
            let transaction = try transaction(id)
            guard case .wait(let phase?) = transaction.next(), let deadline = try deadline(id, phase), now >= deadline
            else { return JobEffect() }
            return try db.transaction { () throws(FleetError) in
                var effect = JobEffect()
                try advance(restore: id, [.overdue(phase)], &effect)
                return effect
            }
        }
        return effects.filter { $0 != JobEffect() }
    }

    /// When a phase is over that not all members have ended by then; nil for the last, which is waited for.
    func deadline(_ id: String, _ phase: RestorePhase) throws(FleetError) -> Timestamp? {
        guard let limit = PhaseLimit.limit(phase, of: try restorePlan(id)) else { return nil }
        // While the coordinator was away nobody could tell it anything.
        return max(try began(id, phase), opened).adding(limit)
    }

    /// What a member is to be told now, with a counter of its own; nil when it knows. Nothing is signed before this.
    func nextDecision(_ job: String) throws(FleetError) -> JobDecision? {
        guard let part = try part(job), !part.isAlone else { return nil }
        let transaction = try transaction(part.restore)
        guard transaction.isToBeTold(part.node) else { return nil }
        let cluster = try message(job).cluster
        return try db.transaction { () throws(FleetError) in
            let counter = try raiseCounter(NodeName(cluster: cluster, node: part.node))
            return JobDecision(
                job: job, node: part.node, cluster: cluster, counter: counter, decision: transaction.decision)
        }
    }

    /// Whether the job's restore was taken back: then it is not begun any more.
    func isRecalled(_ job: String) throws(FleetError) -> Bool {
        guard let part = try part(job), !part.isAlone else { return false }
        if case .recall = try transaction(part.restore).decision { return true }
        return false
    }

    // MARK: rows

    func openRestores() throws(FleetError) -> [String] {
        try db.all("SELECT id FROM member_restores WHERE finished IS NULL AND NOT dry_run AND cleans IS NULL") {
            row throws(FleetError) in try row["id"]
        }
    }

    /// Members' jobs of restores that ended as stuck, where that is the last of its cluster: one that was given up for lost
    /// and is back may have refused the decision, because its disk was full, say.
    func stuckParts() throws(FleetError) -> [String] {
        try db.all(
            """
            SELECT j.id FROM jobs j JOIN member_restores m ON m.id = j.restore
            WHERE m.state = 'stuck' AND NOT m.dry_run AND m.cleans IS NULL
                AND NOT EXISTS (SELECT 1 FROM member_restores l WHERE l.cluster = m.cluster AND l.created > m.created
                    AND NOT l.dry_run AND l.cleans IS NULL)
            ORDER BY j.id
            """
        ) { row throws(FleetError) in try row["id"] }
    }

    func restorePlan(_ id: String) throws(FleetError) -> Operation.Restore {
        let plan = try db.first("SELECT plan FROM member_restores WHERE id = ?", id) { row throws(FleetError) in
            try row.json(Operation.Restore.self, "plan")
        }
        guard let plan = plan ?? nil, plan.group != nil else {
            throw FleetError(.databaseCorrupt, "restore \(id) has no members")
        }
        return plan
    }

    func transaction(_ id: String) throws(FleetError) -> RestoreTransaction {
        let plan = try restorePlan(id)
        let isUndo = plan.group!.isKnown
        var transaction = RestoreTransaction(
            ProofCheck(
                group: plan.group!, revision: isUndo ? nil : plan.snapshot.newestRevision,
                bumped: plan.bump?.target))
        for (_, _, record) in try restoreRecords(id) { transaction.apply(record) }
        return transaction
    }

    func restoreRecords(_ id: String) throws(FleetError) -> [(Int, Timestamp, RestoreTransaction.Record)] {
        try db.all("SELECT sequence, time, record FROM restore_records WHERE restore = ? ORDER BY sequence", id) {
            row throws(FleetError) in
            guard let record = try row.json(RestoreTransaction.Record.self, "record") else {
                throw FleetError(.databaseCorrupt, "a record of restore \(id) is empty")
            }
            return (try row["sequence"], try row["time"], record)
        }
    }

    private func began(_ id: String, _ phase: RestorePhase) throws(FleetError) -> Timestamp {
        for (_, time, record) in try restoreRecords(id) where record == .decided(.proceed(phase)) { return time }
        return try db.first("SELECT created FROM member_restores WHERE id = ?", id) { row throws(FleetError) in
            try row["created"]
        } ?? now
    }

    /// What changes nothing is no record: members tell again after a restart.
    private func write(
        _ record: RestoreTransaction.Record, _ id: String, _ transaction: inout RestoreTransaction,
        _ effect: inout JobEffect
    ) throws(FleetError) {
        let before = transaction
        transaction.apply(record)
        guard transaction != before else { return }
        let sequence: Int =
            try db.first("SELECT count(*) + 1 AS next FROM restore_records WHERE restore = ?", id) {
                row throws(FleetError) in try row["next"]
            } ?? 1
        try db.run(
            "INSERT INTO restore_records (restore, sequence, time, record) VALUES (?, ?, ?, ?)", id, sequence, now,
            try JSON.text(record))
        guard case .decided(let decision) = record else { return }
        let event = RestoreWords.event(
            decision, try restorePlan(id), restore: id, isUndo: try isUndo(id), sequence: sequence, time: now)
        effect.news.append(event)
        effect.decide = try memberJobs(id).map(\.id)
        var act = Act("restore.decide", by: "coordinator", cluster: try restoreCluster(id), subject: id)
        act.detail["decision"] = event.detail
        act.detail["code"] = event.error?.code.rawValue
        try append(act, .ok)
    }

    private func conclude(
        _ id: String, _ state: JobState, _ error: FleetError?, _ effect: inout JobEffect
    ) throws(FleetError) {
        let before = try memberRestore(id)
        // Who is stuck may change, or why: the one that is named is the one to look at.
        guard before.state != state || before.error != error else { return }
        try db.run(
            "UPDATE member_restores SET state = ?, error = ?, finished = ? WHERE id = ?",
            state.rawValue, try error.map { value throws(FleetError) in try JSON.text(value) }, now, id)
        var act = Act("\(before.kind).end", by: "coordinator", cluster: before.cluster, subject: id)
        act.detail = ["state": state.rawValue, "nodes": before.node]
        if before.dryRun { act.detail["dryRun"] = "true" }
        act.detail["code"] = error?.code.rawValue
        act.detail["error"] = error?.message
        try append(act, state == .succeeded ? .ok : .failed)
        effect.closedRestore = try memberRestore(id)
    }

    private func restoreCluster(_ id: String) throws(FleetError) -> String? {
        try db.first("SELECT cluster FROM member_restores WHERE id = ?", id) { row throws(FleetError) in
            try row["cluster"]
        }
    }
}

extension RestoreTransaction.Verdict {
    var state: JobState {
        switch self {
        case .succeeded: .succeeded
        case .failed: .failed
        case .rolledBack: .rolledBack
        case .stuck: .stuck
        }
    }
}
