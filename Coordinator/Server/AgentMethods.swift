import FleetCrypto
import FleetProtocol
import FleetSystem

/// What an agent may ask.
extension CoordinatorServer {
    func serve(_ stream: FleetProtocol.Stream, agent node: NodeName) async throws(FleetError) {
        switch stream.method {
        case Method.register: try await register(stream, node)
        case Method.event: try await receiveEvent(stream, node)
        //case Method.upload: try await receiveUpload(stream, node)
        case Method.fetch: try await sendSnapshot(stream, node)
        default:
            throw FleetError(
                .unknownMethod, "an agent can't ask for \(stream.method)",
                hint: "upgrade the older side, or use an operator's certificate")
        }
    }

    private func register(_ stream: FleetProtocol.Stream, _ node: NodeName) async throws(FleetError) {
        let request = try JSON.decode(RegisterRequest.self, from: stream.request)
        let connection = stream.connection
        let effects = try await catalogue.registered(node, request)
        await sessions.add(node, connection)
        log.info("agent \(node) is connected", ["software": await connection.peerSoftware])
        try await stream.finish(Acknowledgement())
        await carryOut(effects)
        Task {
            let reason = await connection.closed()
            guard await self.sessions.remove(node, connection) else { return }
            self.log.info("agent \(node) is gone: \(reason.message)")
            try? await self.catalogue.seen(cluster: node.cluster, node: node.node)
        }
    }

    private func receiveEvent(_ stream: FleetProtocol.Stream, _ node: NodeName) async throws(FleetError) {
        let event = try JSON.decode(JobEvent.self, from: stream.request)
        let effect = try await catalogue.receive(event, from: node)
        // Durable from here on.
        try await stream.finish(Acknowledgement())
        await feed.publish(event)
        await carryOut([effect])
    }

    /// The snapshot of an open restore of this very node, from an offset on.
    private func sendSnapshot(_ stream: FleetProtocol.Stream, _ node: NodeName) async throws(FleetError) {
        let request = try JSON.decode(FetchRequest.self, from: stream.request)
        let job = try await catalogue.job(request.job)
        guard job.cluster == node.cluster, job.node == node.node, job.kind == "restore", job.state.isOpen,
            job.snapshot == request.snapshot
        else {
            throw FleetError(
                .permissionDenied, "no open restore of \(node) needs snapshot \(request.snapshot.debugDescription)")
        }
        try await catalogue.transferring(job.id)
        try await send(request.snapshot, from: request.offset, on: stream)
    }

    /// Streams a stored snapshot. The digest at its end is the recorded one: whoever receives it compares.
    func send(_ id: String, from offset: Int64, on stream: FleetProtocol.Stream) async throws(FleetError) {
        let store = self.store
        let snapshot = try await blocking { () throws(FleetError) in try store.open(id) }
        guard (0...snapshot.record.size).contains(offset) else {
            throw FleetError(.malformed, "snapshot \(id) has no byte \(offset)")
        }
        var offset = offset
        while true {
            let position = offset
            let piece = try await blocking { () throws(FleetError) in try snapshot.read(at: position, count: 256 << 10)
            }
            if piece.isEmpty { break }
            try await stream.send(piece)
            offset += Int64(piece.count)
        }
        try await stream.finish(StreamDigest(length: snapshot.record.size, sha256: snapshot.record.sha256))
    }
}

extension StoredSnapshot {
    func read(at offset: Int64, count: Int) throws(FleetError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var span = bytes.mutableSpan
        let got = try span.withUnsafeMutableBytes { (buffer) throws(FleetError) in try read(at: offset, into: buffer) }
        if got < count { bytes.removeLast(count - got) }
        return bytes
    }
}

/// Disk work on a thread made for it, with the fleet's error.
func blocking<Value: Sendable>(_ body: @escaping @Sendable () throws(FleetError) -> Value) async throws(FleetError)
    -> Value
{
    do { return try await Blocking.run(body) } catch { throw FleetError(error) }
}
