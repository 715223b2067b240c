import FleetProtocol
import FleetRepository
import FleetSystem

/// What is decided about a snapshot between its last byte and its commit.
///
/// Two things can be wrong with it. It is not what was saved: then it is thrown away and may be sent again. Or it is
/// exactly what was saved, and that is no good: then it is evidence of a damaged etcd, perhaps the only one, so it is
/// kept, marked, and never chosen.
extension Vault {
    /// Compares with what was announced, then reads all of it.
    ///
    /// - Throws: `snapshot-damaged` when it is not what was announced; it is gone then.
    func verify(
        _ writer: UploadWriter, _ digest: StreamDigest, _ request: UploadRequest, key: String, from node: NodeName
    ) async throws(FleetError) -> SnapshotVerification {
        let result = try await blocking { () throws(FleetError) in try writer.result() }
        var damage = SnapshotShape.findings(result, length: digest.length, sha256: digest.sha256)
        let isDamagedOnItsWay = !damage.isEmpty
        if request.facts.size != digest.length {
            damage.append(
                FleetError(
                    .snapshotDamaged, "the file has \(digest.length) bytes, its agent saved \(request.facts.size)"))
        }
        if !damage.isEmpty {
            // Sending again what the agent itself contradicts would go on for ever.
            let error = FleetError(
                .snapshotDamaged, damage.map(\.message).joined(separator: "; "),
                hint: isDamagedOnItsWay
                    ? "nothing of it was kept; the agent may send it again"
                    : "nothing of it was kept; make another backup", retryable: isDamagedOnItsWay)
            try await refuse(error, request, key, node)
        }
        do throws(FleetError) {
            return try await verifying.take { () throws(FleetError) in
                try NativeCheck.verify(try writer.pages(), trailer: result.trailerComputed, facts: request.facts)
            }
        } catch {
            guard error.code == .snapshotDamaged || error.code == .notFound else { throw error }
            // It arrived whole and the store does not give it back: what is built upon such a part is lost.
            var told = error.during("what arrived can't be read back")
            (told.code, told.isRetryable) = (.snapshotDamaged, true)
            told.hint = "look at the coordinator's disk, and run 'fleetctl store check'; the agent sends it again"
            try await refuse(told, request, key, node)
        }
    }

    private func refuse(
        _ error: FleetError, _ request: UploadRequest, _ key: String, _ node: NodeName
    ) async throws(FleetError) -> Never {
        try await blocking { [store] () throws(FleetError) in try store.discard(key) }
        var event = Act("snapshot.refuse", by: "agent:\(node)", cluster: node.cluster, subject: request.snapshot)
        event.detail = ["job": request.job]
        try await catalogue.audit(event, error: error)
        throw error
    }

    func record(
        _ request: UploadRequest, from node: NodeName, _ digest: StreamDigest, _ verification: SnapshotVerification
    ) async throws(FleetError) -> SnapshotRecord {
        let now = await catalogue.now
        var facts = request.facts
        FactsCheck.boundTime(&facts, jobCreated: try await catalogue.jobCreated(request.job), now: now)
        var record = SnapshotRecord(
            id: request.snapshot, cluster: node.cluster, node: node.node, job: request.job, storedAt: now,
            size: digest.length, sha256: digest.sha256, facts: facts,
            expectedClusterID: try await catalogue.expectedIdentity(facts.clusterID, cluster: node.cluster),
            verification: verification)
        if let problem = record.foreignProblem {
            record.facts.warnings.append(problem.message)
            log.warning("a snapshot of another etcd cluster: \(problem.message)", ["snapshot": record.id])
        }
        if let problem = record.unsoundProblem { log.error("a snapshot is not sound", problem) }
        return record
    }
}
