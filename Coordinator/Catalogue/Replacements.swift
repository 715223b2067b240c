import FleetProtocol
import FleetSQLite
import FleetSystem

/// The replacement of a member as the catalogue keeps it: the decider's records and the jobs that follow from them, in the
/// transaction of what caused them.
extension Catalogue {
    /// When this returns, the replacement and its first jobs are durable, and nothing was sent.
    ///
    /// - Throws: `not-found`, `cluster-busy`.
    func createReplacement(
        _ terms: ReplaceTransaction.Order, by actor: String
    ) throws(FleetError) -> (JobRecord, JobEffect) {
        let id = try newIdentifier()
        var event = Act(ControlMethod.replaceMember, by: actor, cluster: terms.cluster, subject: id)
        event.detail = ["node": terms.node, "others": terms.others.joined(separator: ",")]
        if terms.dryRun { event.detail["dryRun"] = "true" }
        var effect = JobEffect()
        try act(event) { _ throws(FleetError) in
            guard try clusterExists(terms.cluster) else { throw try unknownCluster(terms.cluster) }
            try checkIdle(terms.cluster)
            try db.run(
                """
                INSERT INTO replacements (id, cluster, node, dry_run, terms, state, requested_by, created)
                VALUES (?, ?, ?, ?, ?, 'running', ?, ?)
                """, id, terms.cluster, terms.node, terms.dryRun, try JSON.text(terms), actor, now)
            try advance(replacement: id, [], &effect)
        }
        return (try job(id), effect)
    }

    /// The replacement that a job is one act of.
    func replacement(of job: String) throws(FleetError) -> String? {
        try db.first("SELECT replacement FROM jobs WHERE id = ? AND replacement IS NOT NULL", job) {
            row throws(FleetError) in try row["replacement"]
        }
    }

    /// Inside a transaction: what has become known of a replacement, and all that follows from it.
    func advance(
        replacement id: String, _ news: [ReplaceTransaction.Record], _ effect: inout JobEffect
    ) throws(FleetError) {
        var transaction = try replaceTransaction(id)
        // One that has ended hears no more: what a late agent tells is in its own job.
        if case .end = transaction.next() { return }
        for record in news { try write(record, id, &transaction, &effect) }
        // Between two acts are one decision and an end at most.
        for _ in 0..<4 {
            switch transaction.next() {
            case .write(let record): try write(record, id, &transaction, &effect)
            case .assign(let assignments): try assign(assignments, id, &transaction, &effect)
            case .wait: return
            case .end(let verdict, let error): return try conclude(id, verdict, error, &effect)
            }
        }
        throw FleetError(.internalError, "replacement \(id) does not come to rest")
    }

    private func assign(
        _ assignments: [ReplaceTransaction.Assignment], _ id: String, _ transaction: inout ReplaceTransaction,
        _ effect: inout JobEffect
    ) throws(FleetError) {
        let (terms, batch) = (transaction.order, transaction.nextBatch)
        var number: Int =
            try db.first("SELECT count(*) AS given FROM jobs WHERE replacement = ?", id) { row throws(FleetError) in
                try row["given"]
            } ?? 0
        for assignment in assignments {
            number += 1
            let job = "\(id)-\(number)"
            let act = Operation.Member(replacement: id, act: assignment.act, waitSeconds: terms.waitSeconds)
            try insertJob(
                job, .member(act), snapshot: "", dryRun: terms.dryRun, cluster: terms.cluster, node: assignment.node,
                replacement: id, lifetime: .seconds(terms.lifetimeSeconds), by: "coordinator")
            let record = ReplaceTransaction.Record.assigned(
                job: job, node: assignment.node, assignment.act, batch: batch)
            try write(record, id, &transaction, &effect)
            effect.begun.append(try message(job))
        }
    }

    /// What changes nothing is no record.
    private func write(
        _ record: ReplaceTransaction.Record, _ id: String, _ transaction: inout ReplaceTransaction,
        _ effect: inout JobEffect
    ) throws(FleetError) {
        let before = transaction
        transaction.apply(record)
        guard transaction != before else { return }
        let sequence: Int =
            try db.first("SELECT count(*) + 1 AS next FROM replacement_records WHERE replacement = ?", id) {
                row throws(FleetError) in try row["next"]
            } ?? 1
        try db.run(
            "INSERT INTO replacement_records (replacement, sequence, time, record) VALUES (?, ?, ?, ?)", id, sequence,
            now, try JSON.text(record))
        guard let event = ReplaceWords.event(record, replacement: id, sequence: sequence, time: now) else { return }
        effect.news.append(event)
        var act = Act("replace.decide", by: "coordinator", cluster: transaction.order.cluster, subject: id)
        act.detail["decision"] = event.detail
        try append(act, .ok)
    }

    private func conclude(
        _ id: String, _ verdict: ReplaceTransaction.Verdict, _ error: FleetError?, _ effect: inout JobEffect
    ) throws(FleetError) {
        try db.run(
            "UPDATE replacements SET state = ?, error = ?, finished = ? WHERE id = ?", verdict.state.rawValue,
            try error.map { value throws(FleetError) in try JSON.text(value) }, now, id)
        let record = try job(id)
        var act = Act("replace.end", by: "coordinator", cluster: record.cluster, subject: id)
        act.detail = ["state": verdict.state.rawValue, "node": record.node]
        act.detail["code"] = error?.code.rawValue
        act.detail["error"] = error?.message
        try append(act, verdict == .succeeded ? .ok : .failed)
        effect.closedRestore = record
    }

    // MARK: rows

    func replaceTransaction(_ id: String) throws(FleetError) -> ReplaceTransaction {
        let terms = try db.first("SELECT terms FROM replacements WHERE id = ?", id) { row throws(FleetError) in
            try row.json(ReplaceTransaction.Order.self, "terms")
        }
        guard let terms = terms ?? nil else {
            throw FleetError(.databaseCorrupt, "replacement \(id) has no terms")
        }
        var transaction = ReplaceTransaction(terms)
        for (_, _, record) in try replaceRecords(id) { transaction.apply(record) }
        return transaction
    }

    private func replaceRecords(_ id: String) throws(FleetError) -> [(Int, Timestamp, ReplaceTransaction.Record)] {
        try db.all(
            "SELECT sequence, time, record FROM replacement_records WHERE replacement = ? ORDER BY sequence", id
        ) { row throws(FleetError) in
            guard let record = try row.json(ReplaceTransaction.Record.self, "record") else {
                throw FleetError(.databaseCorrupt, "a record of replacement \(id) is empty")
            }
            return (try row["sequence"], try row["time"], record)
        }
    }

    /// As operators see them: one job that has its acts in it, in the order in which they were given.
    func replacements(
        _ condition: String, _ values: (any SQLiteBindable)?..., detailed: Bool = true
    ) throws(FleetError) -> [JobRecord] {
        try db.all("SELECT * FROM replacements WHERE \(condition)", values: values) { row throws(FleetError) in
            let id: String = try row["id"]
            // Ids of jobs end in numbers without zeros in front.
            var acts = try self.records("replacement = ? ORDER BY created, length(id), id", id)
            if detailed { acts = try acts.map { act throws(FleetError) in try self.job(act.id) } }
            let transaction = try self.replaceTransaction(id)
            let state = try row.state("state") ?? .running
            var record = JobRecord(
                id: id, cluster: try row["cluster"], node: try row["node"], kind: "replace", snapshot: "",
                dryRun: try row["dry_run"], state: state, requestedBy: try row["requested_by"],
                created: try row["created"], started: acts.compactMap(\.started).min(), finished: try row["finished"],
                lastHeard: acts.compactMap(\.lastHeard).max(), outcome: nil,
                error: try row.json(FleetError.self, "error"), attempts: [], events: [], members: acts)
            record.outcome = Self.outcome(record, transaction)
            if detailed {
                record.events = try self.replaceRecords(id).compactMap { sequence, time, record in
                    ReplaceWords.event(record, replacement: id, sequence: sequence, time: time)
                }
            }
            return record
        }
    }

    /// Of all acts together: the plan, and where the old data is.
    private static func outcome(_ record: JobRecord, _ transaction: ReplaceTransaction) -> JobOutcome? {
        guard !record.state.isOpen else { return nil }
        let outcomes = (record.members ?? []).compactMap(\.outcome)
        let planned = outcomes.last { $0.plan != nil && $0.notes != nil } ?? outcomes.last { $0.plan != nil }
        let joined = outcomes.last { $0.plan != nil && $0.member == nil && $0.result == .succeeded }
        // The member itself says in the end what is old behind all that was tried.
        let own = (record.members ?? []).filter { $0.node == record.node }.compactMap(\.outcome)
        let proven = own.last { $0.plan != nil && $0.member != nil }
        var plan = (planned ?? proven)?.plan
        if let old = proven?.plan?.oldDirectories { plan?.oldDirectories = old }
        let result: JobOutcome.Result =
            switch record.state {
            case .succeeded: .succeeded
            case .stuck: .stuck
            default: .failed
            }
        let summary =
            switch result {
            case .succeeded:
                ReplaceWords.success(
                    transaction.order, transaction.course, joined: record.dryRun ? nil : joined?.summary)
            case .stuck: "half-way: \(record.error?.message ?? "")"
            default: "no member was removed: \(record.error?.message ?? "")"
            }
        return JobOutcome(
            result: result, error: record.error, summary: summary, plan: plan, notes: planned?.notes)
    }
}
