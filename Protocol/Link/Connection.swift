public import FleetCrypto
public import FleetReactor
public import FleetSystem
internal import FleetTLS

/// Who is at the other end, as far as the transport proves it.
public enum Peer: Sendable {
    /// TLS without a client certificate: may only enroll.
    case anonymous
    case certificate(X509Certificate)
    /// A Unix socket's peer, by the kernel's word.
    case user(UInt32)
}

/// One connection of either side: frames over a transport, many streams, heartbeats. All of it runs on the reactor.
@Reactor public final class Connection: EventHandler {
    public struct Options: Sendable {
        /// "fleet-agent 0.1.0"
        public var software: String
        public var peerStreamLimit = 128
        /// TLS and hello together.
        public var handshakeLimit: Duration = .seconds(10)
        /// A ping goes out when nothing came in for this long; after three times as long the peer is given up.
        public var heartbeat: Duration = .seconds(15)

        public init(software: String) { self.software = software }
    }

    /// Called for each stream that the peer opens, on a task of its own.
    public typealias Handler = @Sendable (Stream) async -> Void

    private enum Phase {
        case connecting, handshaking, greeting, open
        case closed(FleetError)
    }

    /// Above this many bytes waiting for the socket, streams wait; heartbeats and answers don't.
    private static let highWater = 256 << 10
    /// A peer that lets so much pile up is not reading; of one that has not proven who it is, less is borne.
    private static let outgoingLimit = 16 << 20
    private static let strangersOutgoingLimit = 1 << 20
    private static var scratch = [UInt8](repeating: 0, count: 64 << 10)

    /// Of two connections of a process, the one that was made later has the higher one.
    public nonisolated let number: Int
    private static var made = 0

    public private(set) var peer: Peer = .anonymous
    public private(set) var peerSoftware = ""
    /// From where it comes, without the port; nil where it was made here, or on a Unix socket.
    public let peerAddress: String?

    /// When the peer last sent anything; an idle one does at every heartbeat.
    public nonisolated var lastHeard: Timestamp { heard.withLock(\.self) }
    private nonisolated let heard = Monitor(Timestamp.now())

    private let options: Options
    private let side: Multiplexer.Side
    private let handler: Handler
    private var transport: Transport?
    private var registration: Registration?
    private var phase: Phase
    private let authorityFingerprint: String?
    /// What a client that enrolls learned in the handshake.
    public private(set) var authority: X509Certificate?
    private var decoder = FrameDecoder()
    private var multiplexer: Multiplexer
    private var streams: [UInt32: Stream] = [:]
    private var outgoing: [UInt8] = []
    private var sent = 0
    private var writeBlocked = false
    private var deadline: ReactorTimer?
    private var heartbeat: ReactorTimer?
    private var heardSinceBeat = true
    private var silentBeats = 0
    private var openWaiters: [CheckedContinuation<Void, any Error>] = []
    private var closeWaiters: [CheckedContinuation<FleetError, Never>] = []
    private var roomWaiters: [CheckedContinuation<Void, Never>] = []

    init(
        socket: consuming Descriptor, tls: TLSContext?, side: Multiplexer.Side, connecting: Bool,
        authorityFingerprint: String? = nil, options: Options, handler: @escaping Handler
    ) throws(FleetError) {
        Self.made += 1
        number = Self.made
        self.options = options
        self.side = side
        self.handler = handler
        self.authorityFingerprint = authorityFingerprint
        multiplexer = Multiplexer(
            side: side, hello: Hello(software: options.software), peerStreamLimit: options.peerStreamLimit)
        phase = connecting ? .connecting : .handshaking
        let raw = socket.raw
        peerAddress = tls != nil && side == .listener ? Socket.peerAddress(socket) : nil
        if tls == nil, side == .listener { peer = .user(try Socket.peerUser(socket)) }
        transport = try Transport(socket: socket, tls: tls)
        registration = try Registration(raw, self)
        registration?.watch(read: true, write: connecting)
        deadline = ReactorTimer(after: options.handshakeLimit) { [weak self] in
            self?.close(
                FleetError(
                    .timedOut, "the peer did not greet in time", hint: "is it a program of this fleet?", retryable: true
                ))
        }
        if !connecting { advance() }
    }

    // MARK: life

    /// Waits until both sides have greeted.
    public func opened() async throws(FleetError) {
        switch phase {
        case .open: return
        case .closed(let error): throw error
        default:
            do { try await withCheckedThrowingContinuation { openWaiters.append($0) } } catch {
                throw FleetError(error)
            }
        }
    }

    /// Waits until the connection is gone and says why.
    public func closed() async -> FleetError {
        if case .closed(let error) = phase { return error }
        return await withCheckedContinuation { closeWaiters.append($0) }
    }

    /// Ends it: the peer is told why, as far as the socket takes it at once, and all streams fail with `error`.
    public func close(_ error: FleetError, tellPeer: Bool = true) {
        if case .closed = phase { return }
        if tellPeer, case .open = phase { queue(Multiplexer.goAway(error)) }
        phase = .closed(error)
        deadline?.cancel()
        heartbeat?.cancel()
        registration?.cancel()
        registration = nil
        if var transport = transport.take() { transport.session?.sayGoodBye() }
        (outgoing, sent) = ([], 0)
        let lost = streams.values
        streams = [:]
        for stream in lost { stream.connectionEnded(error) }
        for waiter in openWaiters { waiter.resume(throwing: error) }
        for waiter in closeWaiters { waiter.resume(returning: error) }
        for waiter in roomWaiters { waiter.resume() }
        (openWaiters, closeWaiters, roomWaiters) = ([], [], [])
    }

    // MARK: events

    public func ready(read: Bool, write: Bool) {
        if case .open = phase {} else { return advance() }
        if write || writeBlocked { flush() }
        if read { receive() }
    }

    // Through connect, TLS and hello, as far as it goes now.
    private func advance() {
        do throws(FleetError) {
            if case .connecting = phase {
                if let error = transport!.connectError() { throw error }
                phase = .handshaking
            }
            if case .handshaking = phase {
                switch try transport!.handshake() {
                case .done: break
                case .wouldBlock(let write): return registration!.watch(read: true, write: write)
                case .closed:
                    throw FleetError(
                        .connectionLost, "the peer closed the connection in the TLS handshake", retryable: true)
                }
                if let authorityFingerprint {
                    authority = try transport!.verifyPeer(authorityFingerprint: authorityFingerprint)
                }
                if let certificate = transport!.peerCertificate() {
                    peer = .certificate(certificate)
                } else if side == .listener, case .anonymous = peer {
                    multiplexer.limitPeerStreams(to: 1)
                }
                phase = .greeting
                registration!.watch(read: true, write: false)
                queue(Frame(.hello, payload: try JSON.encode(Hello(software: options.software))))
            }
        } catch { return close(error, tellPeer: false) }
        receive()
    }

    private func receive() {
        // A bounded number of reads, so that one fast peer leaves time for the others; epoll tells again, but not of
        // bytes that libssl has already taken from the socket, so those are always drained.
        for round in 1... {
            guard transport != nil else { return }
            let count: Int
            do throws(FleetError) {
                var span = Self.scratch.mutableSpan
                switch try span.withUnsafeMutableBytes({ (buffer) throws(FleetError) in
                    try transport!.read(into: buffer)
                }) {
                case .done(let n): count = n
                case .wouldBlock(let write):
                    if write { registration?.watch(read: true, write: true) }
                    return
                case .closed: throw FleetError(.connectionLost, "the peer closed the connection", retryable: true)
                }
            } catch { return close(error, tellPeer: false) }
            heardSinceBeat = true
            heard.withLock { $0 = .now() }
            decoder.append(Self.scratch[..<count])
            do throws(FleetError) {
                while let frame = try decoder.next() {
                    if let event = try multiplexer.receive(frame) { handle(event) }
                }
            } catch { return close(error) }
            if round >= 16, transport?.hasBuffered() != true { return }
        }
    }

    private func handle(_ event: Multiplexer.Event) {
        switch event {
        case .agreed(_, let hello):
            phase = .open
            peerSoftware = hello.software
            deadline?.cancel()
            beat()
            for waiter in openWaiters { waiter.resume() }
            openWaiters = []
        case .ping(let payload): queue(Frame(.pong, payload: payload))
        case .goneAway(let error): close(error, tellPeer: false)
        case .opened(let id, let payload):
            let stream = Stream(
                id: id, method: payload.method, request: payload.body, peerEnded: payload.ends, connection: self)
            streams[id] = stream
            let handler = self.handler
            Task.detached { await handler(stream) }
        case .refused(let id, let error): queue(Multiplexer.reset(id, error))
        case .data(let id, let bytes): streams[id]?.arrived(.data(bytes))
        case .message(let id, let bytes): streams[id]?.arrived(.message(bytes))
        case .credit(let id, _): streams[id]?.creditArrived()
        case .ended(let id, let body): streams[id]?.arrived(.end(body))
        case .reset(let id, let error): streams.removeValue(forKey: id)?.resetByPeer(error)
        }
    }

    private func beat() {
        if heardSinceBeat { silentBeats = 0 } else { silentBeats += 1 }
        heardSinceBeat = false
        if silentBeats >= 3 {
            return close(
                FleetError(
                    .connectionLost, "nothing was heard of the peer for \(Int((options.heartbeat * 3).seconds)) s",
                    retryable: true))
        }
        queue(Frame(.ping, payload: [UInt8](repeating: 0, count: 8)))
        heartbeat = ReactorTimer(after: options.heartbeat) { [weak self] in self?.beat() }
    }

    // MARK: sending

    private func queue(_ frame: Frame) {
        guard transport != nil else { return }
        frame.encode(into: &outgoing)
        flush()
        let limit = if case .anonymous = peer { Self.strangersOutgoingLimit } else { Self.outgoingLimit }
        guard outgoing.count - sent > limit else { return }
        close(FleetError(.protocolViolation, "the peer does not read what it is sent"), tellPeer: false)
    }

    private func flush() {
        writeBlocked = false
        while sent < outgoing.count, transport != nil {
            do throws(FleetError) {
                let result = try outgoing.span.withUnsafeBytes { (buffer) throws(FleetError) in
                    try transport!.write(UnsafeRawBufferPointer(rebasing: buffer[sent...]))
                }
                switch result {
                case .done(let count): sent += count
                case .wouldBlock(let write):
                    writeBlocked = true
                    // A peer that reads slowly may never let the queue run empty: what it has read goes before.
                    if sent > Self.highWater {
                        outgoing.removeFirst(sent)
                        sent = 0
                    }
                    registration?.watch(read: true, write: write)
                    return
                case .closed: throw FleetError(.connectionLost, "the peer closed the connection", retryable: true)
                }
            } catch { return close(error, tellPeer: false) }
        }
        (outgoing, sent) = ([], 0)
        registration?.watch(read: true, write: false)
        if !roomWaiters.isEmpty {
            for waiter in roomWaiters { waiter.resume() }
            roomWaiters = []
        }
    }

    /// Opens a stream. With `ends` the body is the whole request.
    public func open(_ method: String, _ body: [UInt8], ends: Bool = false) throws(FleetError) -> Stream {
        guard case .open = phase else { throw closingError }
        guard body.count <= Frame.maximumPayload - 1024 else {
            throw FleetError(.internalError, "a request of \(body.count) bytes does not fit into a frame")
        }
        let frame = multiplexer.open(method, body, ends: ends)
        let stream = Stream(id: frame.stream, method: method, request: body, peerEnded: false, connection: self)
        stream.weEnded = ends
        streams[frame.stream] = stream
        queue(frame)
        return stream
    }

    var closingError: FleetError {
        if case .closed(let error) = phase { return error }
        return FleetError(.connectionLost, "the connection is not open", retryable: true)
    }

    public var isClosed: Bool { if case .closed = phase { true } else { false } }

    func credit(of id: UInt32) -> Int { multiplexer.sendCredit(id) }

    /// Waits until the socket has taken enough of what was queued before. True when it had to wait: then the world may
    /// have changed.
    func room() async -> Bool {
        guard outgoing.count - sent >= Self.highWater, !isClosed else { return false }
        await withCheckedContinuation { roomWaiters.append($0) }
        return true
    }

    func send(_ kind: Frame.Kind, _ id: UInt32, _ payload: [UInt8]) throws(FleetError) {
        guard case .open = phase else { throw closingError }
        guard let frame = multiplexer.send(kind, id, payload) else {
            throw FleetError(.connectionLost, "the stream has ended", retryable: true)
        }
        queue(frame)
    }

    func grant(_ id: UInt32, _ count: Int) {
        if let frame = multiplexer.grant(id, count), !isClosed { queue(frame) }
    }

    func reset(_ id: UInt32, _ error: FleetError) {
        if let frame = multiplexer.reset(id, error), !isClosed { queue(frame) }
        streams[id] = nil
    }

    func forget(_ id: UInt32) { streams[id] = nil }
}
