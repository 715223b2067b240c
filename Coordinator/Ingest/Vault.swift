import FleetCrypto
import FleetProtocol
import FleetRepository
import FleetSQLite
import FleetSystem

/// Store and catalogue as one: what comes in goes through both, in the order that loses nothing, and what they
/// disagree about after a crash is reconciled here.
///
/// The order of an upload: bytes durable in the store, looked into by the coordinator itself, record durable with what
/// was found (the snapshot exists), row and audit event in one transaction, receipt. A crash before the record is there
/// leaves an upload that is gone on with at its end and looked into again; after it, a snapshot that has its verdict. The agent keeps its spool until the receipt, so at every moment there is a whole copy.
final class Vault: Sendable {
    let store: any SnapshotStore
    let catalogue: Catalogue
    let log: Log
    /// What is kept free on the store's file system: the catalogue lives there too, and must be able to say so.
    let reserve: Int64
    /// Of those that look into whole snapshots before they are committed. One at a time, for memory's sake.
    let verifying = Turns(1)
    /// Of those that look into stored ones for an operator.
    let looks = Turns(1)
    /// Of those that read stored ones whole to learn what they are: an agent can ask for it, again and again.
    let examinations = Turns(1)
    /// Of whatever makes something refer to a node's configuration, and of what frees it.
    let bundling = Turns(1)
    let bundleQuota = BundleQuota()
    /// Of uploads that begin, by node: what is there is read back first, and a writer that is at something is waited for.
    private let beginnings = LatestTurns()

    init(store: any SnapshotStore, catalogue: Catalogue, log: Log = .silent, reserve: Int64 = 64 << 20) {
        self.store = store
        self.catalogue = catalogue
        self.log = log
        self.reserve = reserve
    }

    /// Begins an upload, or goes on with it. Whoever began the same one before is cut off.
    ///
    /// - Throws: `not-found` for a job that is not this node's, `conflict` for one that has ended or asks for another
    ///   snapshot, `malformed`, `no-space`; `busy` where the node asked for another meanwhile. `already-exists`: another
    ///   file of this job's is stored, whole and sound; `snapshot-unsound`: what is stored is no backup.
    func begin(_ request: UploadRequest, from node: NodeName) async throws(FleetError) -> IngestSession {
        do throws(FleetError) {
            try await catalogue.checkUpload(request, from: node)
            try FactsCheck.check(request.facts)
            return try await beginnings.take(node.description) { () async throws(FleetError) in
                try await admit(request, from: node)
            }
        } catch { throw error.forSender }
    }

    private func admit(_ request: UploadRequest, from node: NodeName) async throws(FleetError) -> IngestSession {
        let former = try await stored(request, from: node)
        if case .whole(let record) = former { return try receipt(for: request, record) }
        let key = Self.key(request)
        try await blocking { [store] () throws(FleetError) in
            // The agent saved anew: what came of the former file is of no use.
            for other in try store.incoming() where other != key && Self.job(of: other) == request.job {
                try store.discard(other)
            }
        }
        let writer = try await open(key, cluster: node.cluster, node: node.node)
        if writer.length > request.facts.size {
            try await blocking { [store] () throws(FleetError) in
                writer.close()
                try store.discard(key)
            }
            throw FleetError(
                .snapshotDamaged, "more bytes arrived than the snapshot has; they were thrown away", retryable: true)
        }
        // The former connection's commit may have been under way: `store.begin` waited for it, and opened a new part.
        if former == nil, writer.length == 0, case .whole(let stored) = try await stored(request, from: node) {
            try await blocking { [store] () throws(FleetError) in
                writer.close()
                try store.discard(key)
            }
            return try receipt(for: request, stored)
        }
        return IngestSession(
            vault: self, writer: writer, key: key, size: request.facts.size, job: request.job,
            settle: { [self] writer, digest throws(FleetError) in
                try await settle(request, from: node, replacing: former?.record, writer, digest)
            })
    }

    /// No bytes are wanted: a snapshot of the job is stored. An agent that was killed before it could write that down has
    /// saved anew since, and that one's length says nothing of the stored one's.
    private func receipt(for request: UploadRequest, _ record: SnapshotRecord) throws(FleetError) -> IngestSession {
        if let problem = record.unsoundProblem { throw problem }
        guard request.facts.size == record.size, request.facts.status == record.facts.status else {
            throw IngestSession.isStored(record)
        }
        return IngestSession(vault: self, stored: record)
    }

    /// Begins an incoming snapshot or goes on with it, with the digests of what is there.
    func open(_ key: String, cluster: String, node: String) async throws(FleetError) -> UploadWriter {
        try await givingUpUnreadable { [store] () throws(FleetError) in
            try store.discard(key, isUnreadable: true)
        } body: { () async throws(FleetError) in
            try await blocking { [self] () throws(FleetError) in
                let incoming = try store.begin(key, cluster: cluster, node: node)
                try checkSpace(for: incoming)
                return try UploadWriter(incoming)
            }
        }
    }

    /// A snapshot takes some hundredths of its size where the cluster has others, so its size says nothing of the space
    /// that it needs: it begins where there is any, and ends when the reserve is reached. Blocks.
    func checkSpace(for incoming: any IncomingSnapshot) throws(FleetError) {
        do throws(FleetError) { try checkReserve() } catch {
            incoming.close()
            throw error
        }
    }

    /// Blocks.
    func checkReserve() throws(FleetError) {
        let free = try store.freeSpace()
        guard free > reserve else {
            throw FleetError(
                .noSpace, "\(free) bytes are free on the coordinator, and \(reserve) are kept for its catalogue",
                hint: "free space where the coordinator stores snapshots; agents keep their copy and try again",
                retryable: true)
        }
    }

    /// What the store has under an upload's id, which can't be had without a receipt that got lost, or a crash between
    /// store and catalogue.
    private enum Stored {
        /// A copy that a receipt can promise: for it the agent gives up its own.
        case whole(SnapshotRecord)
        /// It can't be read any more. The agent's copy is the last one, and the same bytes.
        case rotten(SnapshotRecord)

        var record: SnapshotRecord {
            switch self {
            case .whole(let record), .rotten(let record): record
            }
        }
    }

    private func stored(_ request: UploadRequest, from node: NodeName) async throws(FleetError) -> Stored? {
        if let entry = try await catalogue.entry(request.snapshot) {
            guard entry.record.job == request.job else { throw Self.isAnothers(entry.record) }
            if entry.condition == entry.record.ownCondition { return .whole(entry.record) }
            return try await isWhole(entry) ? .whole(entry.record) : .rotten(entry.record)
        }
        guard let found = try await committed(request, from: node) else { return nil }
        guard found.job == request.job else { throw Self.isAnothers(found) }
        try await catalogue.add(found, reconciled: true, by: "coordinator")
        return .whole(found)
    }

    /// What was committed and has no row: there was a crash between the two. So no receipt was given for it, and where it
    /// can't be read any more, the agent's copy is the last one: the id is free for it again.
    private func committed(
        _ request: UploadRequest, from node: NodeName
    ) async throws(FleetError) -> SnapshotRecord? {
        let id = request.snapshot
        let (found, problem) = try await blocking { [store] () throws(FleetError) -> (SnapshotRecord?, FleetError?) in
            do throws(FleetError) { return (try store.open(id).record, nil) } catch {
                guard error.isOfSnapshot else { throw error.asPassing }
                return (nil, try store.ids().contains(id) ? error : nil)
            }
        }
        guard let problem else { return found }
        try await makeWay(id, of: node.cluster)
        log.warning("a snapshot without a row can't be read and makes way for the agent's copy", ["snapshot": id])
        var event = Act("snapshot.makeway", by: "coordinator", cluster: node.cluster, subject: id)
        event.detail = ["job": request.job, "problem": problem.message]
        try await catalogue.audit(event)
        return nil
    }

    /// Removes what can't be read any more, for the whole one that its agent has.
    ///
    /// - Throws: `snapshot-damaged`, `not-found`: it stays for another's sake, and will. What else is wrong may pass.
    func makeWay(_ id: String, of cluster: String) async throws(FleetError) {
        do throws(FleetError) { try await blocking { [store] () throws(FleetError) in try store.delete(id) } } catch {
            var told = error.during("snapshot \(id) was stored, can't be read any more, and can't be replaced")
            guard error.isOfSnapshot else { throw told.asPassing }
            told.hint =
                "the node gives up its copy with this error: run 'fleetctl backup \(cluster)' at once, and then "
                + "'fleetctl store check --read-data'"
            throw told
        }
    }

    /// A mark goes only after all of the snapshot was read.
    private func isWhole(_ entry: SnapshotEntry) async throws(FleetError) -> Bool {
        let id = entry.record.id
        guard Retirement.reason(of: entry) == nil else { throw Self.isBeingDeleted(entry.record) }
        do throws(FleetError) {
            guard try await examine(id, by: "coordinator").isSound else { return false }
        } catch { throw error.asPassing }
        guard try await catalogue.entry(id)?.condition == entry.record.ownCondition else {
            throw FleetError(
                .conflict, "snapshot \(id) changed while it was looked at", hint: "try again in a minute",
                retryable: true)
        }
        return true
    }

    private static func isAnothers(_ record: SnapshotRecord) -> FleetError {
        FleetError(
            .conflict, "snapshot \(record.id) is stored already, and is not this job's",
            hint: "make another backup: fleetctl backup \(record.cluster)")
    }

    static func isBeingDeleted(_ record: SnapshotRecord) -> FleetError {
        FleetError(
            .conflict, "snapshot \(record.id) is being deleted",
            hint: "make another backup: fleetctl backup \(record.cluster)")
    }

    /// Throws away what has arrived for a backup that ended without becoming a snapshot, unless its end is only the
    /// coordinator's own guess.
    func discardIncoming(ofEnded job: String) async throws(FleetError) {
        guard try await !catalogue.awaitsUpload(job) else { return }
        try await blocking { [store] () throws(FleetError) in
            for key in try store.incoming() where Self.job(of: key) == job { try store.discard(key) }
        }
    }

    /// An upload is known by its job and by what is uploaded: the same job may save again after the agent was killed,
    /// and bytes of two files must never be put together.
    static func key(_ request: UploadRequest) -> String {
        let facts = (try? JSON.encode(request.facts)) ?? []
        return "\(request.job)-\(SHA256.hash(facts).prefix(8).hex)"
    }

    static func job(of key: String) -> String {
        key.lastIndex(of: "-").map { String(key[..<$0]) } ?? key
    }
}

extension FleetError {
    /// It says something of what is stored. Others, as of too many open files, say that nobody could look.
    var isOfSnapshot: Bool { code == .snapshotDamaged || code == .notFound }

    /// As whoever sends a snapshot is told it: what is wrong with the coordinator's own disk or catalogue is not wrong with
    /// what is sent, and may be right the next time.
    var forSender: FleetError {
        let own: Set<Code> = [.noSpace, .system, .permissionDenied, .database, .databaseBusy]
        return own.contains(code) ? asPassing : self
    }

    /// What the coordinator could not do just now: whoever has a copy of a snapshot keeps it, and comes again.
    var asPassing: FleetError {
        var error = self
        error.isRetryable = true
        return error
    }
}

/// Runs on a thread that may wait.
func blocking<Value: Sendable>(
    _ body: @escaping @Sendable () throws(FleetError) -> Value
) async throws(FleetError) -> Value {
    do { return try await Blocking.run(body) } catch { throw FleetError(error) }
}
