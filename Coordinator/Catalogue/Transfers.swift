import FleetProtocol
import FleetSQLite
import FleetSystem

/// What a node may send and get: only what a job of its own names.
extension Catalogue {
    /// - Throws: `not-found`, `conflict`.
    func checkUpload(_ request: UploadRequest, from node: NodeName) throws(FleetError) {
        try checkOwner(request.job, node)
        let job = try job(request.job)
        let isSafety = try safetySnapshot(of: job.id)?.snapshot == request.snapshot
        guard isSafety || (job.kind == "backup" && job.snapshot == request.snapshot) else {
            throw FleetError(.conflict, "job \(job.id) makes no snapshot \(Names.quote(request.snapshot))")
        }
        // A snapshot is welcome as long as the job's end is not known for certain; one that succeeded may ask for its
        // receipt again.
        guard Self.takesUpload(job.state) || job.state == .succeeded else {
            throw FleetError(
                .conflict, "job \(job.id) has ended already (\(job.state.rawValue))",
                hint: "start a new backup with: fleetctl backup \(job.cluster)")
        }
    }

    /// What a job saves before it restores, when that is its node's part.
    func safetySnapshot(of job: String) throws(FleetError) -> SafetySnapshot? {
        let message = try message(job)
        guard case .restore(let restore) = message.operation, let safety = restore.safety,
            safety.node == message.node, !restore.dryRun
        else { return nil }
        return safety
    }

    /// The restore, as operators know it, before which a job saves this snapshot; nil for a backup.
    func restoreSaving(_ job: String, _ snapshot: String) throws(FleetError) -> String? {
        guard try safetySnapshot(of: job)?.snapshot == snapshot else { return nil }
        return try part(job)?.restore ?? job
    }

    /// - Throws: `not-found`, also for a job that has ended.
    func checkFetch(_ request: FetchRequest, from node: NodeName) throws(FleetError) {
        try checkOwner(request.job, node)
        let job = try job(request.job)
        guard ["restore", "drill"].contains(job.kind), job.snapshot == request.snapshot, job.state.isOpen else {
            throw FleetError(.notFound, "job \(job.id) does not need \(Names.quote(request.snapshot)) now")
        }
    }

    /// - Throws: `not-found`.
    func jobCreated(_ id: String) throws(FleetError) -> Timestamp {
        let created: Timestamp? = try db.first("SELECT created FROM jobs WHERE id = ?", id) { row throws(FleetError) in
            try row["created"]
        }
        guard let created else { throw FleetError(.notFound, "there is no job \(Names.quote(id))") }
        return created
    }

    /// Whether bytes that arrived for a job are kept for the rest. Those of a job whose end is not known are, for a
    /// week: an agent that is away for longer saves anew.
    func awaitsUpload(_ id: String) throws(FleetError) -> Bool {
        let found = try db.first("SELECT state, finished FROM jobs WHERE id = ?", id) { row throws(FleetError) in
            let finished: Timestamp? = try row["finished"]
            return (state: try row.state("state"), finished: finished)
        }
        guard let found, let state = found.state, Self.takesUpload(state) else { return false }
        return found.finished.map { now < $0.adding(.seconds(7 * 86_400)) } ?? true
    }

    private static func takesUpload(_ state: JobState) -> Bool { state.isOpen || state == .lost || state == .expired }

    /// Of all snapshots, readable rows or not.
    func snapshotConditions() throws(FleetError) -> [String: SnapshotCondition] {
        let rows = try db.all("SELECT id, condition FROM snapshots") { row throws(FleetError) in
            let id: String = try row["id"]
            let condition: String = try row["condition"]
            return (id, SnapshotCondition(rawValue: condition) ?? .damaged)
        }
        return Dictionary(uniqueKeysWithValues: rows)
    }
}
