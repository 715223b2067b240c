import FleetCrypto
import FleetProtocol
import FleetReactor
import FleetSystem

/// The agent's connection to its coordinator: dialled out, kept, dialled again. Jobs come in through it, events and
/// snapshots go out; a job does not depend on it but where bytes have to travel.
actor AgentLink: CoordinatorPort {
    /// With which the next connection is made.
    private(set) var identity: AgentIdentity
    /// It is the one from before a renewal, and not yet known to be good.
    private var isFormer = false
    /// The authority that the coordinator says it has, where that is not the one that this agent knows.
    private(set) var announced: String?
    let log: Log
    private var connection: Connection?
    /// Why there is none.
    private(set) var problem: FleetError?
    private var waiting: [Int: CheckedContinuation<Void, Never>] = [:]
    private var lastWaiter = 0

    init(identity: AgentIdentity, log: Log) {
        self.identity = identity
        self.log = log
    }

    func adopt(_ renewed: AgentIdentity) { identity = renewed }

    // MARK: staying connected

    /// Connects, greets, serves and connects again, until it is cancelled.
    ///
    /// - Parameters:
    ///   - registration: what to say first on each connection.
    ///   - deliver: what to do with a job; its error is the refusal that the coordinator is told.
    ///   - decide: the same with a decision about one.
    ///   - connected: is told what was said first; runs as long as the connection lasts, on a task that is cancelled with it.
    func run(
        registration: @escaping @Sendable () async -> RegisterRequest,
        deliver: @escaping @Sendable (Envelope) async throws(FleetError) -> Void,
        decide: @escaping @Sendable (Envelope) async throws(FleetError) -> DecideReply,
        connected: @escaping @Sendable (Connection, RegisterRequest) async -> Void
    ) async {
        var backoff = Backoff()
        while !Task.isCancelled {
            do throws(FleetError) {
                let connection = try await Dialler.connect(
                    identity.coordinator, tls: identity.tls,
                    options: Connection.Options(software: "fleet-agent \(FleetVersion.current)")
                ) { stream in await Self.serve(stream, deliver, decide) }
                let said = await registration()
                do throws(FleetError) {
                    let reply: RegisterReply = try await connection.call(Method.register, said)
                    announced = reply.authority.flatMap { $0 == identity.authority.fingerprint ? nil : $0 }
                } catch {
                    await connection.close(error)
                    throw error
                }
                keepIdentity()
                problem = nil
                backoff.succeeded()
                log.info("connected to \(identity.coordinator)", ["software": await connection.peerSoftware])
                self.connection = connection
                wakeAll()
                let work = Task { await connected(connection, said) }
                let reason = await withTaskCancellationHandler {
                    await connection.closed()
                } onCancel: {
                    Task { await connection.close(FleetError("stopping", "the agent is stopping", retryable: true)) }
                }
                work.cancel()
                self.connection = nil
                problem = reason
                log.warning(
                    "the connection to the coordinator is lost: \(reason.message)", ["code": reason.code.rawValue])
            } catch {
                log.error("no connection to the coordinator", error)
                problem = error
                // Of a coordinator that was put back from a copy, the certificate from before the last renewal may be known.
                if error.code == "certificate-unknown", let former = identity.former() {
                    (identity, isFormer) = (former, true)
                }
            }
            try? await Task.sleep(for: backoff.next())
        }
    }

    /// It works without, too, and finds its way again after a restart.
    private func keepIdentity() {
        guard isFormer else { return }
        isFormer = false
        do throws(FleetError) { try identity.keep() } catch {
            log.error("the former certificate is used, and could not be put down as such", error)
        }
    }

    private static func serve(
        _ stream: FleetProtocol.Stream, _ deliver: @Sendable (Envelope) async throws(FleetError) -> Void,
        _ decide: @Sendable (Envelope) async throws(FleetError) -> DecideReply
    ) async {
        do throws(FleetError) {
            switch stream.method {
            case Method.deliver:
                try await deliver(try JSON.decode(DeliverRequest.self, from: stream.request).envelope)
                try await stream.finish(Acknowledgement())
            case Method.decide:
                try await stream.finish(
                    try await decide(try JSON.decode(DecideRequest.self, from: stream.request).envelope))
            default:
                throw FleetError(
                    .unknownMethod, "this agent does not know \(stream.method)", hint: "upgrade the older side")
            }
        } catch { await stream.fail(error) }
    }

    // MARK: transfers

    /// Does `body` with a connection, again and again while it fails for want of one.
    private func retrying<Value: Sendable>(
        _ act: String, _ body: @Sendable (Connection) async throws(FleetError) -> Value
    ) async throws(FleetError) -> Value {
        var patience = Patience(now: .now)
        while true {
            let connection = try await connected(until: patience.deadline)
            let pause: Duration
            do throws(FleetError) { return try await body(connection) } catch {
                let isLost = await connection.isClosed
                guard let next = patience.pause(after: error, connectionLost: isLost, now: .now) else {
                    throw error.during(act)
                }
                pause = next
                log.warning("\(act) was interrupted and will go on: \(error.message)", ["code": error.code.rawValue])
            }
            do { try await Task.sleep(for: pause) } catch { throw FleetError(error) }
        }
    }

    private func connected(until deadline: ContinuousClock.Instant) async throws(FleetError) -> Connection {
        while true {
            if let connection, await !connection.isClosed { return connection }
            guard ContinuousClock.now < deadline else {
                throw FleetError(
                    .timedOut, "there was no connection to the coordinator for \(Int(Patience.limit.seconds)) s",
                    hint: "check the network and the coordinator")
            }
            if Task.isCancelled { throw FleetError(.cancelled, "cancelled", retryable: true) }
            // Woken by the next connection, and looked at again now and then for the deadline's sake.
            lastWaiter += 1
            let id = lastWaiter
            let timer = Task {
                try? await Task.sleep(for: .seconds(5))
                self.wake(id)
            }
            await withCheckedContinuation { waiting[id] = $0 }
            timer.cancel()
        }
    }

    private func wake(_ id: Int) { waiting.removeValue(forKey: id)?.resume() }
    private func wakeAll() { for id in Array(waiting.keys) { wake(id) } }

    /// Streams a saved snapshot to the coordinator and waits until it is durable there.
    func upload(job: String, snapshot: String, facts: SnapshotFacts, file: String) async throws(FleetError) {
        try await retrying("upload of snapshot \(snapshot)") { connection throws(FleetError) in
            let stream = try await connection.open(
                Method.upload, try JSON.encode(UploadRequest(job: job, snapshot: snapshot, facts: facts)))
            do throws(FleetError) {
                let offset = try await stream.receiveMessage(UploadOffset.self).offset
                let reader = try await onDisk { () throws(FleetError) in
                    let reader = try HashedFile(reading: file)
                    try reader.skip(to: offset)
                    return reader
                }
                while true {
                    let bytes = try await onDisk { () throws(FleetError) in try reader.read(256 << 10) }
                    if bytes.isEmpty { break }
                    try await stream.send(bytes)
                }
                try await stream.finish(StreamDigest(length: reader.length, sha256: reader.digest))
                let receipt = try JSON.decode(UploadReceipt.self, from: try await stream.receiveReply())
                guard receipt.snapshot == snapshot else {
                    throw FleetError(.protocolViolation, "the coordinator's receipt is for another snapshot")
                }
            } catch {
                await stream.fail(error)
                throw error
            }
        }
    }

    /// A minute at most: the snapshot behind it does not wait longer.
    func keep(_ configuration: @escaping ConfigurationSender.Collect) async throws(FleetError) {
        let connection = try await connected(until: .now + .seconds(20))
        let sender = ConfigurationSender(collect: configuration, log: log)
        let work = Task { try await sender.send(on: connection) }
        let limit = Task {
            try? await Task.sleep(for: .seconds(60))
            work.cancel()
        }
        defer { limit.cancel() }
        do { try await work.value } catch { throw FleetError(error) }
    }

    /// Brings a snapshot to `path`, going on behind what is there; returns when all of it is on the disk and is, byte
    /// for byte, what `record` says.
    ///
    /// - Throws: `malformed` when it is not; then what arrived is removed, since nothing of it can be trusted.
    func fetch(job: String, snapshot record: SnapshotRecord, to path: String) async throws(FleetError) {
        let wanted = Wanted(
            name: "snapshot \(record.id)", size: record.size, sha256: record.sha256,
            hint: "try again; if it stays so, the coordinator's copy is damaged: restore from another one")
        try await fetch(wanted, to: path, Method.fetch) { offset throws(FleetError) in
            try JSON.encode(FetchRequest(job: job, snapshot: record.id, offset: offset))
        }
    }

    func fetch(job: String, program: ProgramRecord, to path: String) async throws(FleetError) {
        let wanted = Wanted(
            name: "program \(program.name)", size: program.size, sha256: program.sha256, hint: "upgrade again")
        try await fetch(wanted, to: path, Method.fetchProgram) { offset throws(FleetError) in
            try JSON.encode(ProgramFetchRequest(job: job, sha256: program.sha256, offset: offset))
        }
    }

    /// What its bytes have to add up to.
    private struct Wanted: Sendable {
        var name: String
        var size: Int64
        var sha256: String
        /// Where they do not.
        var hint: String
    }

    private func fetch(
        _ wanted: Wanted, to path: String, _ method: String,
        _ request: @escaping @Sendable (_ offset: Int64) throws(FleetError) -> [UInt8]
    ) async throws(FleetError) {
        try await retrying("fetch of \(wanted.name)") { connection throws(FleetError) in
            let file = try await onDisk { () throws(FleetError) in
                if let status = try FileSystem.status(path), status.size > wanted.size { try FileSystem.remove(path) }
                return try HashedFile(continuing: path)
            }
            let stream = try await connection.open(method, try request(file.length), ends: true)
            do throws(FleetError) {
                receiving: while true {
                    switch try await stream.receive() {
                    case .data(let bytes):
                        guard file.length + Int64(bytes.count) <= wanted.size else {
                            throw FleetError(.malformed, "more bytes arrived than \(wanted.name) has")
                        }
                        try await onDisk { () throws(FleetError) in try file.write(bytes) }
                    case .message: throw FleetError(.protocolViolation, "a message among the bytes of \(wanted.name)")
                    case .end: break receiving
                    }
                }
            } catch {
                await stream.fail(error)
                throw error
            }
            try await onDisk { () throws(FleetError) in
                guard file.length == wanted.size, file.digest == wanted.sha256 else {
                    try FileSystem.remove(path)
                    throw FleetError(
                        .malformed, "what arrived of \(wanted.name) is not what was stored", hint: wanted.hint)
                }
                try file.sync()
            }
        }
    }
}

/// Disk work on a thread made for it, with the fleet's error.
func onDisk<Value: Sendable>(_ body: @escaping @Sendable () throws(FleetError) -> Value) async throws(FleetError)
    -> Value
{
    do { return try await Blocking.run(body) } catch { throw FleetError(error) }
}
