import FleetProtocol
import FleetSystem

/// What an operator may ask about the old data that restores keep.
extension CoordinatorServer {
    /// - Returns: false for a method that is none of these.
    func serveUndo(_ stream: FleetProtocol.Stream, _ actor: String) async throws(FleetError) -> Bool {
        switch stream.method {
        case ControlMethod.previewUndo:
            let request = try JSON.decode(UndoRequest.self, from: stream.request)
            let job = try await undoable(request)
            if !request.dryRun { try await catalogue.approval(of: ApprovalNeed(undoing: job), by: actor) }
            try await stream.finish(job)
        case ControlMethod.previewCleanup:
            let request = try JSON.decode(CleanupRequest.self, from: stream.request)
            try await stream.finish(try await cleanable(request).job)
        case ControlMethod.undoRestore:
            let request = try JSON.decode(UndoRequest.self, from: stream.request)
            try await begin(try await undo(request, actor), answering: stream)
        case ControlMethod.cleanUpRestore:
            let request = try JSON.decode(CleanupRequest.self, from: stream.request)
            try await begin(try await cleanUp(request, actor), answering: stream)
        default: return false
        }
        return true
    }

    private func undo(_ request: UndoRequest, _ actor: String) async throws(FleetError) -> JobRecord {
        let job = try await undoable(request)
        return try await catalogue.createUndo(
            of: job.id, dryRun: request.dryRun, waitSeconds: request.waitSeconds, lifetime: configuration.jobLifetime,
            by: actor)
    }

    /// - Returns: the restore, where nothing that is known here speaks against undoing it.
    private func undoable(_ request: UndoRequest) async throws(FleetError) -> JobRecord {
        guard Operation.Restore.waitRange.contains(request.waitSeconds) else {
            throw FleetError(
                .usage, "a wait of \(request.waitSeconds) s is not possible", hint: "give --wait between 10s and 1h")
        }
        let job = try await catalogue.undoable(request.job)
        let snapshot = try await catalogue.restoredSnapshot(of: job)
        let present = try RestoreMembers.find(try await agents(job.cluster), snapshot, cluster: job.cluster).map(\.node)
        let restored = (job.members ?? [job]).map(\.node).sorted()
        guard present.sorted() == restored else {
            throw FleetError(
                .memberMissing,
                "\(job.cluster) has its members on \(present.joined(separator: ", ")) now, \(job.id) was on "
                    + restored.joined(separator: ", "),
                hint: "members that came or went since can't be taken back with it; restore a snapshot instead")
        }
        return job
    }

    private func cleanUp(_ request: CleanupRequest, _ actor: String) async throws(FleetError) -> JobRecord {
        let (job, there) = try await cleanable(request)
        return try await catalogue.createCleanup(
            of: job.id, on: there, dryRun: request.dryRun, lifetime: configuration.jobLifetime, by: actor)
    }

    /// Nodes that are away keep what they have, and a later cleanup does them: one that is gone for good must not keep the
    /// others from it.
    ///
    /// - Returns: the restore, and the nodes on which it can be cleaned up now.
    private func cleanable(
        _ request: CleanupRequest
    ) async throws(FleetError) -> (job: JobRecord, there: Set<String>) {
        let job = try await catalogue.cleanable(request.job)
        let connected = try await agents(job.cluster).filter { $0.connected && $0.certificate?.revoked == nil }
        let there = Set(connected.map(\.node)).intersection(job.parts.map(\.node))
        guard !there.isEmpty else {
            throw FleetError(
                .noAgent, "not connected: \(job.node)", hint: "start the agent there: systemctl start fleet-agent",
                retryable: true)
        }
        return (job, there)
    }
}
