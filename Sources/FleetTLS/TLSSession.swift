internal import COpenSSL
public import FleetCrypto
public import FleetSystem

/// What a non-blocking call came to. libssl's WANT_READ and WANT_WRITE end here.
public enum IOResult: Sendable, Equatable {
    /// That many bytes, at least one.
    case done(Int)
    case wouldBlock(write: Bool)
    /// The peer is gone or said good-bye.
    case closed
}

/// One TLS connection over a non-blocking socket that the caller owns and keeps open for as long as this lives.
///
/// Not thread-safe, as a SSL object is not: it belongs to the reactor.
public struct TLSSession: ~Copyable {
    private let ssl: OpaquePointer

    public init(_ context: TLSContext, socket: borrowing Descriptor) throws(FleetError) {
        let ssl = try made(SSL_new(context.context), "begin TLS")
        guard SSL_set_fd(ssl, socket.raw) == 1 else {
            SSL_free(ssl)
            throw openSSLError("begin TLS")
        }
        if context.isServer { SSL_set_accept_state(ssl) } else { SSL_set_connect_state(ssl) }
        self.ssl = ssl
    }

    deinit { SSL_free(ssl) }

    /// Goes on with the handshake; `done` when it is complete.
    ///
    /// - Throws: `untrusted` when the peer's certificate or ours was refused, `handshake-failed` for anything else that
    ///   is not TLS 1.3, garbage included.
    public mutating func handshake() throws(FleetError) -> IOResult {
        ERR_clear_error()
        let result = SSL_do_handshake(ssl)
        if result == 1 { return .done(1) }
        switch SSL_get_error(ssl, result) {
        case SSL_ERROR_WANT_READ: return .wouldBlock(write: false)
        case SSL_ERROR_WANT_WRITE: return .wouldBlock(write: true)
        case SSL_ERROR_SYSCALL, SSL_ERROR_ZERO_RETURN:
            ERR_clear_error()
            return .closed
        default:
            let code = SSL_get_verify_result(ssl)
            if code != X509_V_OK {
                ERR_clear_error()
                throw FleetError(
                    .untrusted, "the peer's certificate is refused: \(String(cString: fleet_verify_error(code)))",
                    hint:
                        "it must come from this fleet's authority and be within its dates: check both clocks; where the fleet has "
                        + "another authority by now, a person logs in again ('fleetctl login -'), and a node enrols again"
                )
            }
            let reasons = openSSLReasons()
            // In TLS 1.3 a server's refusal of our certificate reaches us as an alert.
            let refused = ["certificate", "unknown ca"].contains { reasons.contains($0) }
            throw FleetError(
                refused ? .untrusted : .handshakeFailed, "TLS handshake: \(reasons)",
                hint: refused
                    ? "enroll again with a new token" : "is the peer a coordinator of this fleet, and of this version?",
                retryable: !refused)
        }
    }

    public mutating func read(into buffer: UnsafeMutableRawBufferPointer) throws(FleetError) -> IOResult {
        ERR_clear_error()
        var count = 0
        let result = SSL_read_ex(ssl, buffer.baseAddress, buffer.count, &count)
        return result == 1 ? .done(count) : try failure(result)
    }

    public mutating func write(_ buffer: UnsafeRawBufferPointer) throws(FleetError) -> IOResult {
        ERR_clear_error()
        var count = 0
        let result = SSL_write_ex(ssl, buffer.baseAddress, buffer.count, &count)
        return result == 1 ? .done(count) : try failure(result)
    }

    private func failure(_ result: Int32) throws(FleetError) -> IOResult {
        switch SSL_get_error(ssl, result) {
        case SSL_ERROR_WANT_READ: return .wouldBlock(write: false)
        case SSL_ERROR_WANT_WRITE: return .wouldBlock(write: true)
        case SSL_ERROR_ZERO_RETURN: return .closed
        case SSL_ERROR_SYSCALL:
            ERR_clear_error()
            return .closed
        default:
            let reasons = openSSLReasons()
            // OpenSSL 3.0 reports a connection that ended without a close_notify this way; frames have lengths and
            // streams an end of their own, so nothing is taken for whole that is not.
            if reasons.contains("unexpected eof") { return .closed }
            if reasons.contains("certificate") || reasons.contains("unknown ca") {
                throw FleetError(
                    .untrusted, "the peer refused our certificate: \(reasons)", hint: "enroll again with a new token")
            }
            throw FleetError(.handshakeFailed, "TLS: \(reasons)", retryable: true)
        }
    }

    /// Bytes that were taken from the socket but not yet read from here: epoll will not tell of them.
    public var hasBuffered: Bool { SSL_has_pending(ssl) == 1 }

    /// Says good-bye, without waiting for an answer.
    public mutating func sayGoodBye() {
        ERR_clear_error()
        _ = SSL_shutdown(ssl)
        ERR_clear_error()
    }

    /// After the handshake: the certificate of the peer, nil when it showed none.
    public var peerCertificate: X509Certificate? {
        SSL_get1_peer_certificate(ssl).map { X509Certificate(owning: $0) }
    }

    /// For enrolment: the server must have sent along the authority whose fingerprint the token carries, and that
    /// authority must vouch for it as a server.
    ///
    /// - Returns: the authority, to be pinned from here on.
    /// - Throws: `untrusted`; then nothing may be sent.
    public func verifyPeer(authorityFingerprint: String) throws(FleetError) -> X509Certificate {
        let hint = "make a new token; if this happens again somebody may be in between"
        guard let leaf = peerCertificate, let chain = SSL_get_peer_cert_chain(ssl) else {
            throw FleetError(.untrusted, "the coordinator showed no certificate", hint: hint)
        }
        var authority: X509Certificate?
        for i in 0..<fleet_chain_count(chain) {
            guard let one = fleet_chain_at(chain, i), X509_up_ref(one) == 1 else { continue }
            let certificate = X509Certificate(owning: one)
            if certificate.fingerprint == authorityFingerprint { authority = certificate }
        }
        guard let authority else {
            throw FleetError(
                .untrusted, "the coordinator is not the one that made this token: its authority differs", hint: hint)
        }
        let store = try made(X509_STORE_new(), "verify the coordinator")
        defer { X509_STORE_free(store) }
        let verification = try made(X509_STORE_CTX_new(), "verify the coordinator")
        defer { X509_STORE_CTX_free(verification) }
        guard X509_STORE_add_cert(store, authority.certificate) == 1,
            X509_STORE_CTX_init(verification, store, leaf.certificate, nil) == 1,
            X509_STORE_CTX_set_purpose(verification, X509_PURPOSE_SSL_SERVER) == 1
        else { throw openSSLError("verify the coordinator") }
        guard X509_verify_cert(verification) == 1 else {
            let reason = String(cString: fleet_verify_error(Int(X509_STORE_CTX_get_error(verification))))
            ERR_clear_error()
            throw FleetError(.untrusted, "the coordinator's certificate is refused: \(reason)", hint: hint)
        }
        return authority
    }
}

extension FleetError.Code {
    public static let handshakeFailed: Self = "handshake-failed"
}
