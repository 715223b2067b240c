import FleetProtocol
import FleetSQLite
import FleetSystem

extension FleetError.Code {
    /// Another job of the cluster is still open.
    static let clusterBusy: Self = "cluster-busy"
}

/// A restore as an operator asks for it.
struct RestoreOrder: Sendable {
    var snapshot: String
    var dryRun = false
    var options = RestoreGuard.Options()
    /// Seconds that each wait of the switch may take.
    var waitSeconds = 300
    /// The node that saves first what is there; nil: none does.
    var safetyNode: String?
    var bumpsRevisions = false

    func need(_ cluster: String) -> ApprovalNeed {
        ApprovalNeed(
            cluster: cluster, kind: "restore", snapshot: snapshot, withoutSafetySnapshot: safetyNode == nil,
            withoutBump: !bumpsRevisions)
    }
}

extension RestoreOrder {
    /// - Parameter safetyNode: which one saves first, if any is to.
    init(_ request: RestoreRequest, snapshot: String, safetyNode: String) {
        self.init(
            snapshot: snapshot, dryRun: request.dryRun,
            options: RestoreGuard.Options(allowOtherCluster: request.fromOtherCluster),
            waitSeconds: request.waitSeconds,
            safetyNode: request.withoutSafetySnapshot == true ? nil : safetyNode,
            bumpsRevisions: request.withoutBump != true)
    }
}

extension Catalogue {
    /// A job that saves a snapshot of `cluster` on `node`. When this returns, job, counter and audit event are durable;
    /// nothing is signed or sent before.
    ///
    /// - Parameters:
    ///   - lifetime: how long the agent may take to begin.
    ///   - run: what was due, where a policy demands it.
    /// - Throws: `not-found`, `cluster-busy` naming the open job.
    func createBackup(
        cluster: String, node: String, lifetime: Duration, by actor: String, run: Planner.Start? = nil
    ) throws(FleetError) -> JobRecord {
        let snapshot = try newIdentifier()
        return try createJob(
            .backup(.init(snapshot: snapshot)), snapshot: snapshot, dryRun: false, cluster: cluster, node: node,
            lifetime: lifetime, by: actor
        ) { id, event throws(FleetError) in
            guard let run else { return }
            event.detail["due"] = run.due.description
            try recordRun(run, job: id)
        }
    }

    /// A job that restores a snapshot. What the guard refuses is audited as refused.
    ///
    /// - Throws: `not-found`, `cluster-busy`, and what `RestoreGuard.check` throws.
    func createRestore(
        _ order: RestoreOrder, cluster: String, node: String, lifetime: Duration, by actor: String
    ) throws(FleetError) -> JobRecord {
        let entry = try snapshot(order.snapshot)
        var restore = Operation.Restore(
            snapshot: entry.record, dryRun: order.dryRun, waitSeconds: order.waitSeconds)
        restore.safety = try safety(order)
        restore.bump = try bump(order, entry.record, cluster: cluster)
        let operation = Operation.restore(restore)
        return try createJob(
            operation, snapshot: entry.record.id, dryRun: order.dryRun, cluster: cluster, node: node,
            lifetime: lifetime, by: actor
        ) { id, event throws(FleetError) in
            try RestoreGuard.check(
                entry, target: try self.cluster(cluster), agents: try agents(cluster: cluster), order.options)
            if !order.dryRun { try useApproval(order.need(cluster), job: id, by: actor, &event) }
        }
    }

    /// From the highest revision that a snapshot of the cluster told of: nothing else does when etcd is dead.
    func bump(
        _ order: RestoreOrder, _ snapshot: SnapshotRecord, cluster: String
    ) throws(FleetError) -> RevisionBump? {
        guard order.bumpsRevisions else { return nil }
        let own = snapshot.facts.status.revision
        let known: Int64? = try db.first(
            """
            SELECT coalesce(max(json_extract(record, '$.facts.status.revision')), 0) AS known FROM snapshots
            WHERE cluster = ? AND condition IN ('verified', 'missing')
            """, cluster
        ) { row throws(FleetError) in try row["known"] }
        // A restore that was undone since, or whose etcd died before it was backed up, went as far.
        let reached: [Int64] = try db.all(
            """
            SELECT json_extract(operation, '$.restore._0.bump.lastKnown') AS known,
                json_extract(operation, '$.restore._0.bump.snapshot') AS own
            FROM jobs WHERE cluster = ? AND kind = 'restore' AND NOT dry_run AND known IS NOT NULL
            """, cluster
        ) { row throws(FleetError) in
            RevisionBump(lastKnown: try row["known"], snapshot: try row["own"]).target
        }
        return RevisionBump(lastKnown: max(known ?? own, own, reached.max() ?? 0), snapshot: own)
    }

    func safety(_ order: RestoreOrder) throws(FleetError) -> SafetySnapshot? {
        guard let node = order.safetyNode else { return nil }
        return SafetySnapshot(snapshot: try newIdentifier(), node: node)
    }

    func createJob(
        _ operation: Operation, snapshot: String, dryRun: Bool, cluster: String, node: String, lifetime: Duration,
        by actor: String, _ check: (_ id: String, _ event: inout Act) throws(FleetError) -> Void
    ) throws(FleetError) -> JobRecord {
        let id = try newIdentifier()
        var event = Act("job.create", by: actor, cluster: cluster, subject: id)
        event.detail = ["kind": operation.kind, "node": node]
        if !snapshot.isEmpty { event.detail["snapshot"] = snapshot }
        if dryRun { event.detail["dryRun"] = "true" }
        try act(event) { event throws(FleetError) in
            guard try clusterExists(cluster) else { throw try unknownCluster(cluster) }
            guard try !agents(cluster: cluster, node: node).isEmpty else {
                throw FleetError(
                    .notFound, "cluster \(cluster) has no agent on \(node)",
                    hint: "see: fleetctl agent list")
            }
            try checkIdle(cluster)
            try check(id, &event)
            try insertJob(
                id, operation, snapshot: snapshot, dryRun: dryRun, cluster: cluster, node: node, lifetime: lifetime,
                by: actor)
        }
        return try job(id)
    }

    /// The unique indexes would refuse the rows too; asking first is what makes the answer useful.
    func checkIdle(_ cluster: String) throws(FleetError) {
        // Also by one of which no more can be read.
        let open: (id: String, what: String)? = try db.first(
            "SELECT id, kind, state FROM whole_jobs WHERE cluster = ? AND finished IS NULL ORDER BY created DESC",
            cluster
        ) { row throws(FleetError) in
            let (id, kind, state): (String, String, String) = (try row["id"], try row["kind"], try row["state"])
            return (id, "\(kind) \(id) (\(state))")
        }
        guard let open else { return }
        throw FleetError(
            .clusterBusy, "\(cluster) is busy with the \(open.what)",
            hint: "wait for it, or see: fleetctl job show \(open.id)", retryable: true)
    }

    /// Inside a transaction.
    ///
    /// - Parameters:
    ///   - restore: the restore of several members that it is a part of.
    ///   - replacement: the replacement that it is an act of.
    func insertJob(
        _ id: String, _ operation: Operation, snapshot: String, dryRun: Bool, cluster: String, node: String,
        restore: String? = nil, undoes: String? = nil, cleans: String? = nil, replacement: String? = nil,
        lifetime: Duration, by actor: String
    ) throws(FleetError) {
        // An undo and a cleanup are rows of that kind: they need a restore's care of the node.
        let kind: JobMachine.Kind =
            switch operation {
            case .backup: .backup
            case .drill: .drill
            case .restore, .undo, .cleanup: .restore
            case .member: .member
            case .upgrade: .upgrade
            }
        try db.run(
            """
            INSERT INTO jobs (id, cluster, node, kind, snapshot, dry_run, operation, state, requested_by, created,
                restore, undoes, cleans, replacement)
            VALUES (?, ?, ?, ?, ?, ?, ?, 'queued', ?, ?, ?, ?, ?, ?)
            """, id, cluster, node, kind.rawValue, snapshot, dryRun, try JSON.text(operation), actor,
            now,
            restore, undoes, cleans, replacement)
        if kind == .restore {
            try db.run(
                "INSERT INTO restores (job, cluster, snapshot, dry_run) VALUES (?, ?, ?, ?)", id, cluster, snapshot,
                dryRun)
        }
        try addAttempt(job: id, cluster: cluster, node: node, expires: now.adding(lifetime))
    }

    /// Inside a transaction: the next number that the node has not seen, for whatever is signed for it.
    func raiseCounter(_ name: NodeName) throws(FleetError) -> UInt64 {
        try db.run(
            "UPDATE agents SET counter = counter + 1 WHERE cluster = ? AND node = ?", name.cluster, name.node)
        let counter: Int64? = try db.first(
            "SELECT counter FROM agents WHERE cluster = ? AND node = ?", name.cluster, name.node
        ) { row throws(FleetError) in try row["counter"] }
        guard let counter else { throw FleetError(.notFound, "there is no agent \(name)") }
        return UInt64(counter)
    }

    /// Inside a transaction: a copy of the job with the node's next counter.
    func addAttempt(job: String, cluster: String, node: String, expires: Timestamp) throws(FleetError) {
        let counter = try raiseCounter(NodeName(cluster: cluster, node: node))
        try db.run(
            """
            INSERT INTO job_attempts (job, number, cluster, node, counter, issued, expires)
            VALUES (?1, (SELECT count(*) + 1 FROM job_attempts WHERE job = ?1), ?2, ?3, ?4, ?5, ?6)
            """, job, cluster, node, Int64(counter), now, expires)
    }
}
