import EtcdSnapshot
import FleetProtocol
import FleetRepository
import FleetSystem

/// What an operator may ask of what is in a snapshot.
extension CoordinatorServer {
    /// - Returns: false for a method that is none of these.
    func serveContent(_ stream: FleetProtocol.Stream, _ who: Principal) async throws(FleetError) -> Bool {
        func request<Request: Decodable>(_ type: Request.Type) throws(FleetError) -> Request {
            try JSON.decode(type, from: stream.request)
        }
        switch stream.method {
        case ControlMethod.listKeys: try await listKeys(stream, try request(KeysRequest.self), who.scope)
        case ControlMethod.compareSnapshots: try await compare(stream, try request(DiffRequest.self), who.scope)
        case ControlMethod.importSnapshot: try await takeImport(stream, try request(ImportRequest.self), who.actor)
        case ControlMethod.showValue: try await showValue(stream, try request(ValueRequest.self), who)
        default: return false
        }
        return true
    }

    private func look(_ snapshot: String, _ scope: Scope) async throws(FleetError) -> SnapshotLook {
        try await SnapshotLook(try await catalogue.findSnapshot(snapshot, in: scope), vault)
    }

    private func listKeys(
        _ stream: FleetProtocol.Stream, _ request: KeysRequest, _ scope: Scope
    ) async throws(FleetError) {
        try await desk.seat { () async throws(FleetError) in
            let look = try await look(request.snapshot, scope)
            try await ContentListing.keys(look, prefix: Array(request.prefix.utf8)) { keys throws(FleetError) in
                try await stream.send(message: KeysPart(keys: keys))
            }
            try await stream.finish(look.entry)
        }
    }

    private func compare(
        _ stream: FleetProtocol.Stream, _ request: DiffRequest, _ scope: Scope
    ) async throws(FleetError) {
        try await desk.seat { () async throws(FleetError) in
            let (old, new) = (try await look(request.from, scope), try await look(request.to, scope))
            let prefix = Array(request.prefix.utf8)
            try await ContentListing.differences(old, new, prefix: prefix, wantsKeys: request.wantsKeys) {
                part throws(FleetError) in try await stream.send(message: part)
            }
            try await stream.finish(Acknowledgement())
        }
    }

    private func takeImport(
        _ stream: FleetProtocol.Stream, _ request: ImportRequest, _ actor: String
    ) async throws(FleetError) {
        let session = try await vault.begin(request, by: actor)
        do throws(FleetError) {
            try await stream.send(message: UploadOffset(offset: session.offset))
            while true {
                switch try await stream.receive() {
                case .data(let bytes): try await session.append(bytes)
                case .end(let body):
                    let record = try await session.store(try JSON.decode(StreamDigest.self, from: body))
                    return try await stream.finish(try await catalogue.snapshot(record.id))
                case .message: throw FleetError(.protocolViolation, "a message among the bytes of a snapshot")
                }
            }
        } catch {
            await session.abandon()
            throw error
        }
    }

    private func showValue(
        _ stream: FleetProtocol.Stream, _ request: ValueRequest, _ who: Principal
    ) async throws(FleetError) {
        try await desk.seat { () async throws(FleetError) in
            let name = Array(request.key.utf8)
            let entry = try await catalogue.findSnapshot(request.snapshot, in: who.scope)
            let isSecret = KubernetesName.isSecret(key: name)
            guard request.showSecrets || !isSecret else {
                throw FleetError(
                    .secretValue, "\(Names.quote(request.key)) may be a Secret",
                    hint: "if you mean to see its value, add --show-secrets; the audit log keeps that you did")
            }
            let look = try await SnapshotLook(entry, vault)
            let found = try await look.take { reader throws(FleetError) in
                try reader.liveKey(name).map { key throws(FleetError) in (key, try reader.value(of: key)) }
            }
            guard let (key, value) = found else {
                throw FleetError(
                    .noSuchKey, "snapshot \(entry.record.id) has no key \(Names.quote(request.key))",
                    hint: "list its keys with: fleetctl snapshot ls \(entry.record.id) --prefix PREFIX")
            }
            // On record before the first byte leaves.
            var act = Act("snapshot.value", by: who.actor, cluster: entry.record.cluster, subject: entry.record.id)
            act.detail = ["key": request.key]
            if isSecret { act.detail["secret"] = "true" }
            try await catalogue.audit(act)
            try await stream.send(value)
            try await stream.finish(KeyRecord(key))
        }
    }
}

extension FleetError.Code {
    /// A value that is only shown to who says that it is meant.
    static let secretValue: Self = "secret-value"
    static let noSuchKey: Self = "no-such-key"
}

/// Who looks into snapshots at once: each holds a page of keys, or a value, until it is taken. Others that must be few
/// have a desk of their own.
actor ReadingDesk {
    private let seats: Int
    private let business: String
    private var taken = 0

    init(seats: Int = 8, busyWith business: String = "reading from snapshots") {
        self.seats = seats
        self.business = business
    }

    nonisolated func seat<Value: Sendable>(
        _ body: () async throws(FleetError) -> Value
    ) async throws(FleetError) -> Value {
        try await sit()
        do throws(FleetError) {
            let value = try await body()
            await rise()
            return value
        } catch {
            await rise()
            throw error
        }
    }

    private func sit() throws(FleetError) {
        guard taken < seats else {
            throw FleetError(
                .busy, "\(seats) others are \(business) just now", hint: "try again in a minute",
                retryable: true)
        }
        taken += 1
    }

    private func rise() { taken -= 1 }
}
