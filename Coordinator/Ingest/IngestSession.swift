import FleetProtocol
import FleetSystem

/// One upload as the connection sees it: `append` until the end, then `finish`, or `close` when the connection is
/// lost. Calls are made one after the other; bytes in flight are bounded by that, since `append` returns only when the
/// bytes are taken in and at most `pieceSize` of them wait for the disk.
actor IngestSession {
    /// From here on the bytes are wanted; all before it are on the coordinator's disk.
    nonisolated let offset: Int64

    private enum Phase {
        case receiving
        /// A call is under way.
        case busy
        case done(SnapshotRecord)
        case over(FleetError)
    }
    private var phase: Phase
    private let vault: Vault
    private let upload: Upload?
    /// Small frames are gathered: a thread and a write(2) for each would cost more than the bytes.
    private var pending: [UInt8] = []
    private static let pieceSize = 1 << 20

    /// What follows the last byte: `writer` has all of it.
    typealias Settle = @Sendable (UploadWriter, StreamDigest) async throws(FleetError) -> SnapshotRecord

    private struct Upload: Sendable {
        var writer: UploadWriter
        var key: String
        var size: Int64
        /// Kept alive by the bytes; nil for an import.
        var job: String?
        var settle: Settle
    }

    init(
        vault: Vault, writer: UploadWriter, key: String, size: Int64, job: String? = nil, settle: @escaping Settle
    ) {
        self.vault = vault
        offset = writer.length
        upload = Upload(writer: writer, key: key, size: size, job: job, settle: settle)
        phase = .receiving
    }

    /// For a snapshot that is stored already, and sound: no bytes are wanted, `finish` gives the receipt again.
    init(vault: Vault, stored: SnapshotRecord) {
        self.vault = vault
        offset = stored.size
        upload = nil
        phase = .done(stored)
    }

    /// - Throws: `no-space`; `malformed` for more bytes than were announced; `cancelled` when another connection has
    ///   taken the upload over; the first error again once there was one.
    func append(_ bytes: some Collection<UInt8> & Sendable) async throws(FleetError) {
        let upload = try receiving()
        pending += bytes
        guard pending.count >= Self.pieceSize else { return }
        try await exclusively { () async throws(FleetError) in try await self.flush(upload) }
    }

    /// The agent's length and digest of the whole file have come: examines, commits, records.
    ///
    /// - Throws: `snapshot-damaged`: what came was thrown away, and the agent may send it again from the beginning.
    ///   `snapshot-unsound`: it came as it was saved and is stored, but is no backup.
    func finish(_ digest: StreamDigest) async throws(FleetError) -> UploadReceipt {
        let record = try await store(digest)
        if let problem = record.unsoundProblem { throw problem }
        return UploadReceipt(snapshot: record.id)
    }

    /// The same for an import, which is told of findings by the record.
    func store(_ digest: StreamDigest) async throws(FleetError) -> SnapshotRecord {
        if case .done(let record) = phase {
            guard digest.length == record.size, digest.sha256 == record.sha256 else {
                throw Self.isStored(record)
            }
            return record
        }
        let upload = try receiving()
        let record = try await exclusively { () async throws(FleetError) in
            try await self.flush(upload)
            return try await upload.settle(upload.writer, digest)
        }
        phase = .done(record)
        return record
    }

    /// It is whole and sound, and another save of the same job.
    static func isStored(_ record: SnapshotRecord) -> FleetError {
        FleetError(
            .alreadyExists, "snapshot \(record.id) is stored already and is another file", hint: "start a new backup")
    }

    /// The connection is gone; what arrived stays for the next one.
    func close() async {
        guard let upload, case .receiving = phase else { return }
        phase = .over(FleetError(.cancelled, "the upload was closed", retryable: true))
        let rest = pending
        pending = []
        _ = try? await blocking { () throws(FleetError) in
            try upload.writer.append(rest)
            upload.writer.close()
        }
    }

    /// Nothing of it is to be gone on with.
    func abandon() async {
        await close()
        guard let upload else { return }
        let store = vault.store
        _ = try? await blocking { () throws(FleetError) in
            upload.writer.close()
            try store.discard(upload.key)
        }
    }

    private func receiving() throws(FleetError) -> Upload {
        switch phase {
        case .receiving:
            if let upload { return upload }
            throw FleetError(.internalError, "an upload without a writer")
        case .busy: throw FleetError(.internalError, "two calls of one upload at once")
        case .done: throw FleetError(.malformed, "bytes behind the end of an upload")
        case .over(let error): throw error
        }
    }

    private func exclusively<Value: Sendable>(
        _ body: () async throws(FleetError) -> Value
    ) async throws(FleetError) -> Value {
        phase = .busy
        do throws(FleetError) {
            let value = try await body()
            phase = .receiving
            return value
        } catch {
            let error = error.forSender
            phase = .over(error)
            // It makes durable what is there, which takes a disk's time.
            if let upload { _ = try? await blocking { () throws(FleetError) in upload.writer.close() } }
            throw error
        }
    }

    private func flush(_ upload: Upload) async throws(FleetError) {
        let piece = pending
        pending = []
        guard !piece.isEmpty else { return }
        try await vault.givingUpUnreadable { () throws(FleetError) in
            try upload.writer.discard(isUnreadable: true)
        } body: { [vault] () async throws(FleetError) in
            try await blocking { () throws(FleetError) in
                guard upload.writer.length + Int64(piece.count) <= upload.size else {
                    throw FleetError(.malformed, "more bytes than the \(upload.size) that were announced")
                }
                try vault.checkReserve()
                try upload.writer.append(piece)
            }
        }
        if let job = upload.job { try await vault.catalogue.transferring(job) }
    }
}
