import FleetProtocol
import FleetRepository
import FleetSystem

/// What was said of a snapshot before it came.
struct Announced: Sendable {
    var size: Int64
    /// The agent's word; nil for an import.
    var facts: SnapshotFacts?
    var isRaw = false
}

/// What is decided about a snapshot between its last byte and its commit.
///
/// Two things can be wrong with it. It is not what was saved: then it is thrown away and may be sent again. Or it is
/// exactly what was saved, and that is no good: then it is evidence of a damaged etcd, perhaps the only one, so it is
/// kept, marked, and never chosen.
extension Vault {
    /// An agent's upload from its last byte to the receipt.
    ///
    /// - Parameter replacing: what it was stored as before that rotted; nil for what comes for the first time.
    func settle(
        _ request: UploadRequest, from node: NodeName, replacing former: SnapshotRecord?, _ writer: UploadWriter,
        _ digest: StreamDigest
    ) async throws(FleetError) -> SnapshotRecord {
        var act = Act("snapshot.refuse", by: "agent:\(node)", cluster: node.cluster, subject: request.snapshot)
        act.detail = ["job": request.job]
        let verification = try await verify(
            writer, digest, Announced(size: request.facts.size, facts: request.facts), act)
        if let former { return try await replace(former, writer, digest, act) }
        return try await referring(to: node.cluster) { bundles throws(FleetError) in
            var record = try await record(request, from: node, digest, verification)
            record.bundles = bundles
            for one in bundles ?? [] {
                guard let left = one.leftOut, left > 0 else { continue }
                record.facts.warnings.append(
                    "of the configuration of \(one.node), \(left) certificates, keys or what decrypts could not be kept: "
                        + "'fleetctl bundle show \(record.id) --node \(one.node)' says which and why")
            }
            return try await keep(record, writer, by: "agent:\(node)")
        }
    }

    /// In the place of what rotted in the store, the bytes that it was made of: they are here, durable, and were read back.
    /// A crash between the two steps leaves a snapshot without a file, and the agent without a receipt: it sends them again.
    private func replace(
        _ former: SnapshotRecord, _ writer: UploadWriter, _ digest: StreamDigest, _ act: Act
    ) async throws(FleetError) -> SnapshotRecord {
        guard digest == StreamDigest(length: former.size, sha256: former.sha256) else {
            try await refuse(
                FleetError(
                    .snapshotDamaged,
                    "snapshot \(former.id) was stored, can't be read any more, and what comes now is another file",
                    hint: "make another backup: fleetctl backup \(former.cluster)"), act, writer)
        }
        guard let known = try await catalogue.entry(former.id), Retirement.reason(of: known) == nil else {
            try await refuse(Self.isBeingDeleted(former), act, writer)
        }
        if known.condition != former.ownCondition {
            do throws(FleetError) { try await makeWay(former.id, of: former.cluster) } catch {
                // Otherwise what arrived stays, and so does the agent's copy.
                if error.isOfSnapshot { try await refuse(error, act, writer) }
                throw error
            }
            return try await keep(former, writer, by: act.actor)
        }
        // Somebody put the file right meanwhile.
        try await blocking { () throws(FleetError) in try writer.discard() }
        return former
    }

    /// Compares with what was announced, then reads all of it.
    ///
    /// - Throws: `snapshot-damaged` when it is not what was announced, or the store does not give it back; it is gone then.
    func verify(
        _ writer: UploadWriter, _ digest: StreamDigest, _ announced: Announced, _ act: Act
    ) async throws(FleetError) -> SnapshotVerification {
        let result = try await blocking { () throws(FleetError) in try writer.result() }
        var damage = SnapshotShape.findings(result, length: digest.length, sha256: digest.sha256)
        let isDamagedOnItsWay = !damage.isEmpty
        if announced.size != digest.length {
            damage.append(
                FleetError(
                    .snapshotDamaged, "the file has \(digest.length) bytes, \(announced.size) were announced"))
        }
        if !damage.isEmpty {
            // Sending again what the sender itself contradicts would go on for ever.
            let error = FleetError(
                .snapshotDamaged, damage.map(\.message).joined(separator: "; "),
                hint: isDamagedOnItsWay
                    ? "nothing of it was kept; it may be sent again" : "nothing of it was kept; make another backup",
                retryable: isDamagedOnItsWay)
            try await refuse(error, act, writer)
        }
        do throws(FleetError) {
            return try await givingUpUnreadable { () throws(FleetError) in
                try writer.discard(isUnreadable: true)
            } body: { () async throws(FleetError) in
                try await verifying.take { () throws(FleetError) in
                    let pages = try writer.pages()
                    try ReadBack.check(pages, digest)
                    return try NativeCheck.verify(
                        pages, trailer: result.trailerComputed, facts: announced.facts, isRaw: announced.isRaw)
                }
            }
        } catch {
            if error.code == .snapshotDamaged { try await catalogue.audit(act, error: error) }
            throw error
        }
    }

    /// - Throws: `error`; `cancelled` where the upload is not this writer's any more: what it could not read back was
    ///   taken away from it, which says nothing of the disk, and what is there now is another's.
    func refuse(_ error: FleetError, _ act: Act, _ writer: UploadWriter) async throws(FleetError) -> Never {
        try await blocking { () throws(FleetError) in try writer.discard() }
        try await catalogue.audit(act, error: error)
        throw error
    }

    /// The record durable with the snapshot, then the row and the audit event.
    func keep(_ record: SnapshotRecord, _ writer: UploadWriter, by actor: String) async throws(FleetError)
        -> SnapshotRecord
    {
        try await blocking { () throws(FleetError) in try writer.commit(record) }
        try await catalogue.add(record, by: actor)
        let about = log.with("snapshot", record.id).with("cluster", record.cluster)
        about.info("snapshot stored", record.job.isEmpty ? [:] : ["job": record.job])
        if let problem = record.unsoundProblem { about.error("a snapshot is not sound", problem) }
        return record
    }

    private func record(
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
        record.beforeRestore = try await catalogue.restoreSaving(request.job, request.snapshot)
        // What a restore is to replace is saved however it is.
        if record.expectedClusterID == nil, record.beforeRestore == nil {
            record.wentBack = try await catalogue.earlierRevision(record)
        }
        if let problem = record.foreignProblem {
            record.facts.warnings.append(problem.message)
            log.warning("a snapshot that is no backup of its cluster: \(problem.message)", ["snapshot": record.id])
        }
        return record
    }
}
