import FleetCrypto
import FleetProtocol
import FleetSystem

/// What an agent may ask.
extension CoordinatorServer {
    func serve(_ stream: FleetProtocol.Stream, agent node: NodeName) async throws(FleetError) {
        try await enter(stream.connection, of: node)
        switch stream.method {
        case Method.register: try await register(stream, node)
        case Method.event: try await receiveEvent(stream, node)
        case Method.upload: try await receiveUpload(stream, node)
        case Method.fetch: try await sendSnapshot(stream, node)
        case Method.fetchProgram: try await sendProgram(stream, node)
        case Method.renew: try await renew(stream, node)
        case Method.offerBundle:
            try await stream.finish(
                try await vault.offer(try JSON.decode(BundleOffer.self, from: stream.request), from: node))
        case Method.sendBundle: try await receiveBundle(stream, node)
        default:
            throw FleetError(
                .unknownMethod, "an agent can't ask for \(Names.quote(stream.method))",
                hint: "upgrade the older side, or use an operator's certificate")
        }
    }

    /// From here on it ends with the node's certificate. That may have been revoked while this was on its way here: so it is
    /// looked up once more.
    func enter(_ connection: Connection, of node: NodeName) async throws(FleetError) {
        guard await sessions.entered(node, connection) else { return }
        Task {
            _ = await connection.closed()
            await self.sessions.left(node, connection)
        }
        guard case .certificate(let certificate) = await connection.peer else { return }
        _ = try await catalogue.identify(fingerprint: certificate.fingerprint)
    }

    private func register(_ stream: FleetProtocol.Stream, _ node: NodeName) async throws(FleetError) {
        let request = try JSON.decode(RegisterRequest.self, from: stream.request)
        let connection = stream.connection
        let isNew = try await sessions.meet(node, connection)
        if isNew { watchEnd(of: connection, node) }
        let effects = try await catalogue.registered(node, request, hasJustConnected: isNew)
        if isNew, case .certificate(let certificate) = await connection.peer {
            try await catalogue.retireCertificates(of: node, before: certificate.fingerprint)
        }
        await sessions.registered(node, connection)
        // All of it is durable: whoever waits for it is told, also where this connection has just gone.
        await carryOut(effects)
        if isNew { retryPostponed() }
        try await stream.finish(RegisterReply(authority: keys.authority.certificate.fingerprint))
        guard isNew else { return }
        for job in (try? await catalogue.unknown(request)) ?? [] {
            log.warning(
                "agent \(node) has job \(job), which this coordinator does not know; a restore of several members waits "
                    + "for a decision then: see RECOVERY.md, 'A restore was under way'")
        }
        log.info("agent \(node) is connected", ["software": await connection.peerSoftware])
    }

    private func renew(_ stream: FleetProtocol.Stream, _ node: NodeName) async throws(FleetError) {
        guard case .certificate(let present) = await stream.connection.peer else {
            throw FleetError(.permissionDenied, "only who has a certificate can renew it")
        }
        let request = try JSON.decode(RenewRequest.self, from: stream.request).request
        let (keys, validity) = (self.keys, configuration.clientValidity)
        let isOfFormer = keys.former.map { present.isSigned(by: $0.authority) } ?? false
        let pem = try await catalogue.renew(
            node, holding: present.fingerprint, isOfFormerAuthority: isOfFormer
        ) { grant throws(FleetError) in
            let certificate = try keys.issue(grant, request: request, validity: validity)
            return (keys.record(certificate), try certificate.pem())
        }
        log.info("agent \(node) has renewed its certificate")
        let authority = try keys.authority.certificate.pem()
        var reply = EnrollReply(
            name: node.node, cluster: node.cluster, certificate: pem, authority: authority, jobKey: keys.jobKey)
        if isOfFormer { reply.statement = try keys.signer.sign(AuthorityStatement(authority: authority)) }
        try await stream.finish(reply)
    }

    /// Begun before anything can fail: whoever is gone counts as connected no longer.
    private func watchEnd(of connection: Connection, _ node: NodeName) {
        Task {
            let reason = await connection.closed()
            guard await self.sessions.remove(node, connection) else { return }
            self.log.info("agent \(node) is gone: \(reason.message)")
            // That it is gone is noticed later than it was heard of.
            await self.keep(sightings: [node: connection.lastHeard])
        }
    }

    /// Between these it is known in memory when an agent was last heard of.
    private static let sightingPause = Duration.seconds(300)

    func keepSightings() async {
        while true {
            do { try await Task.sleep(for: Self.sightingPause) } catch { return }
            await keepSightingsNow()
        }
    }

    func keepSightingsNow() async { await keep(sightings: await sessions.sightings.mapValues(\.lastHeard)) }

    private func keep(sightings: [NodeName: Timestamp]) async {
        do throws(FleetError) { try await catalogue.seen(sightings) } catch {
            log.error("when agents were last heard of could not be recorded", error)
        }
    }

    private func receiveEvent(_ stream: FleetProtocol.Stream, _ node: NodeName) async throws(FleetError) {
        let event = try JSON.decode(JobEvent.self, from: stream.request)
        let effect = try await catalogue.receive(event, from: node)
        // Durable, and sent again by the agent it would have no effect: so that comes before the answer.
        await feed.publish(event)
        await carryOut([effect])
        try await stream.finish(Acknowledgement())
    }

    private func receiveUpload(_ stream: FleetProtocol.Stream, _ node: NodeName) async throws(FleetError) {
        let request = try JSON.decode(UploadRequest.self, from: stream.request)
        // What can't be told of policies keeps no backup from being made.
        let limit = (try? await catalogue.bandwidth(ofBackup: request.job)) ?? nil
        let session = try await vault.begin(request, from: node)
        var progress = TransferProgress(job: request.job, total: request.facts.size, feed: feed)
        do throws(FleetError) {
            try await stream.send(message: UploadOffset(offset: session.offset))
            while true {
                switch try await stream.receive() {
                case .data(let bytes):
                    try await session.append(bytes)
                    // Not taking the next bytes gives the agent no credit to send more: it needs to know nothing of this.
                    if let limit { try? await Task.sleep(for: shares.pause(behind: bytes.count, limit)) }
                    await progress.moved(to: (progress.done ?? session.offset) + Int64(bytes.count))
                case .end(let body):
                    let receipt = try await session.finish(try JSON.decode(StreamDigest.self, from: body))
                    return try await stream.finish(receipt)
                case .message: throw FleetError(.protocolViolation, "a message among the bytes of a snapshot")
                }
            }
        } catch {
            await session.close()
            throw error
        }
    }

    private func sendSnapshot(_ stream: FleetProtocol.Stream, _ node: NodeName) async throws(FleetError) {
        let request = try JSON.decode(FetchRequest.self, from: stream.request)
        let download = try await vault.fetch(request, from: node)
        try await catalogue.transferring(request.job)
        try await send(
            download, from: request.offset, on: stream,
            TransferProgress(job: request.job, total: download.record.size, feed: feed))
    }

    /// The digest at the end is the recorded one: whoever receives the bytes compares.
    func send(
        _ download: Download, from start: Int64, on stream: FleetProtocol.Stream, _ progress: TransferProgress? = nil
    ) async throws(FleetError) {
        var (offset, progress) = (start, progress)
        try await vault.send(download, from: start) { piece throws(FleetError) in
            try await stream.send(piece)
            offset += Int64(piece.count)
            await progress?.moved(to: offset)
        }
        try await stream.finish(download.digest)
    }
}
