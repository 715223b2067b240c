internal import FleetCrypto
internal import FleetReactor
internal import FleetSystem
internal import FleetTLS
private import Glibc

/// The bytes below the frames: TLS over TCP, or a Unix socket as it is.
struct Transport: ~Copyable {
    let socket: Descriptor
    var session: TLSSession?

    init(socket: consuming Descriptor, tls: TLSContext?) throws(FleetError) {
        session = try tls.map { (context) throws(FleetError) in try TLSSession(context, socket: socket) }
        self.socket = socket
    }

    // Mutating, though they change nothing: a noncopyable value in an optional of a class is reached only that way.
    mutating func connectError() -> FleetError? { Socket.connectError(socket) }
    mutating func peerCertificate() -> X509Certificate? { session?.peerCertificate }
    mutating func verifyPeer(authorityFingerprint: String) throws(FleetError) -> X509Certificate? {
        try session?.verifyPeer(authorityFingerprint: authorityFingerprint)
    }

    /// `done` at once without TLS.
    mutating func handshake() throws(FleetError) -> IOResult { try session?.handshake() ?? .done(1) }

    /// Bytes that were taken from the socket but not yet read from here: epoll will not tell of them.
    mutating func hasBuffered() -> Bool { session?.hasBuffered ?? false }

    mutating func read(into buffer: UnsafeMutableRawBufferPointer) throws(FleetError) -> IOResult {
        if session != nil { return try session!.read(into: buffer) }
        return try plain(write: false, recv(socket.raw, buffer.baseAddress, buffer.count, 0))
    }

    mutating func write(_ buffer: UnsafeRawBufferPointer) throws(FleetError) -> IOResult {
        if session != nil { return try session!.write(buffer) }
        return try plain(write: true, send(socket.raw, buffer.baseAddress, buffer.count, Int32(MSG_NOSIGNAL)))
    }

    private func plain(write: Bool, _ result: Int) throws(FleetError) -> IOResult {
        if result > 0 { return .done(result) }
        if result == 0 { return .closed }
        switch errno {
        case EAGAIN, EINTR: return .wouldBlock(write: write)
        case EPIPE, ECONNRESET: return .closed
        default: throw FleetError(errno: errno, write ? "send" : "receive")
        }
    }
}
