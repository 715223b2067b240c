import FleetProtocol
import FleetSystem

/// What agents send of their nodes' configuration, and what operators may ask of it.
extension CoordinatorServer {
    func receiveBundle(_ stream: FleetProtocol.Stream, _ node: NodeName) async throws(FleetError) {
        try await arrivals.seat(node) { () async throws(FleetError) in
            let bytes = try await Self.bytes(of: stream, within: .seconds(60))
            try await vault.takeBundle(bytes, from: node)
            log.info("took in the configuration of \(node)")
            try await stream.finish(Acknowledgement())
        }
    }

    /// - Throws: `timed-out` for whoever would keep the seat.
    static func bytes(
        of stream: FleetProtocol.Stream, within limit: Duration
    ) async throws(FleetError) -> [UInt8] {
        let work = Task { try await bytes(of: stream) }
        let timer = Task {
            try await Task.sleep(for: limit)
            work.cancel()
        }
        defer { timer.cancel() }
        let result = await withTaskCancellationHandler {
            await work.result
        } onCancel: {
            work.cancel()
        }
        do { return try result.get() } catch {
            guard work.isCancelled, !Task.isCancelled else { throw FleetError(error) }
            throw FleetError(.timedOut, "the configuration did not arrive within \(limit)", retryable: true)
        }
    }

    private static func bytes(of stream: FleetProtocol.Stream) async throws(FleetError) -> [UInt8] {
        var bytes: [UInt8] = []
        while true {
            switch try await stream.receive() {
            case .data(let piece):
                guard bytes.count + piece.count <= BundleLimits.encoded else {
                    throw FleetError(.malformed, "more bytes than a bundle can have")
                }
                bytes += piece
            case .end(let body):
                let digest = try JSON.decode(StreamDigest.self, from: body)
                guard digest == StreamDigest(of: bytes) else {
                    throw FleetError(.malformed, "what arrived is not the bundle that was sent", retryable: true)
                }
                return bytes
            case .message: throw FleetError(.protocolViolation, "a message among the bytes of a bundle")
            }
        }
    }

    /// - Returns: false for a method that is none of these.
    func serveBundles(_ stream: FleetProtocol.Stream, _ who: Principal) async throws(FleetError) -> Bool {
        switch stream.method {
        case ControlMethod.showBundle:
            let request = try JSON.decode(BundleRequest.self, from: stream.request)
            try await configurations.seat { () async throws(FleetError) in try await show(stream, request, who) }
        case ControlMethod.exportBundle:
            let request = try JSON.decode(BundleRequest.self, from: stream.request)
            try await configurations.seat { () async throws(FleetError) in try await export(stream, request, who) }
        case ControlMethod.switchBundles:
            let request = try JSON.decode(BundleSwitch.self, from: stream.request)
            let kept = try await catalogue.keepConfiguration(request.cluster, request.isOn, by: who.actor)
            // A coordinator that is put back from a copy of before would collect again what was forbidden.
            copySoon.withLock { $0 = true }
            try await stream.finish(
                BundleSwitchReply(cluster: request.cluster, isOn: request.isOn, snapshots: kept))
        default: return false
        }
        return true
    }

    private func show(
        _ stream: FleetProtocol.Stream, _ request: BundleRequest, _ who: Principal
    ) async throws(FleetError) {
        let record = try await catalogue.findSnapshot(request.snapshot, in: who.scope).record
        var nodes: [BundleReply.Node] = []
        for reference in try Self.references(of: record, request.node) {
            do throws(FleetError) {
                let bundle = try Bundle.decode(try await vault.bundle(reference.bundle))
                nodes.append(.init(reference: reference, manifest: bundle.forViewers))
            } catch { nodes.append(.init(reference: reference, manifest: nil, problem: error)) }
        }
        var reply = BundleReply(
            snapshot: record.id, cluster: record.cluster, savedAt: record.facts.savedAt, nodes: nodes,
            isOn: try await catalogue.keepsConfiguration(record.cluster))
        reply.decryption = Decryption(of: record)
        reply.holdsKubernetes = record.verification?.holdsKubernetes
        try await stream.finish(reply)
    }

    private func export(
        _ stream: FleetProtocol.Stream, _ request: BundleRequest, _ who: Principal
    ) async throws(FleetError) {
        let record = try await catalogue.findSnapshot(request.snapshot, in: who.scope).record
        guard request.node != nil, let reference = try Self.references(of: record, request.node).first else {
            throw FleetError(.usage, "an export is of one node")
        }
        let bytes = try await vault.bundle(reference.bundle)
        // Whoever has the authority's key of a cluster is whoever they like in it: on record before the first byte leaves.
        var act = Act("bundle.export", by: who.actor, cluster: record.cluster, subject: record.id)
        act.detail = ["node": reference.node]
        try await catalogue.audit(act)
        try await stream.send(bytes)
        try await stream.finish(StreamDigest(of: bytes))
    }

    private static func references(of record: SnapshotRecord, _ node: String?) throws(FleetError) -> [NodeBundle] {
        let all = record.bundles ?? []
        guard let node else { return all }
        let found = all.filter { $0.node == node }
        guard !found.isEmpty else {
            throw FleetError(
                .notFound, "snapshot \(record.id) has no configuration of \(Names.quote(node))",
                hint: all.isEmpty ? nil : "it has that of \(all.map(\.node).joined(separator: ", "))")
        }
        return found
    }
}
