internal import COpenSSL
public import FleetCrypto
public import FleetSystem

/// What a side brings to a handshake: its own certificate and key, and whom it believes. TLS 1.3 and nothing older.
public final class TLSContext: @unchecked Sendable {
    // Unchecked: not changed after init, and a SSL_CTX counts its users itself (openssl-threads(7)).
    let context: OpaquePointer
    let isServer: Bool

    /// A certificate with its key.
    public struct Identity: Sendable {
        public var certificate: X509Certificate
        public var key: PrivateKey
        public init(certificate: X509Certificate, key: PrivateKey) {
            self.certificate = certificate
            self.key = key
        }
    }

    /// For the coordinator. A client may come without a certificate (it can then only enroll); one that comes with a
    /// certificate of another authority fails in the handshake. One whose own has ended does not: in the handshake nobody could
    /// tell them so, nor whose it was. The caller must look at the end of each certificate.
    ///
    /// - Parameter former: the authority before this one, whose clients are still let in, and what it says of this one.
    public static func server(
        identity: Identity, authority: X509Certificate,
        former: (authority: X509Certificate, vouches: X509Certificate)? = nil
    ) throws(FleetError) -> TLSContext {
        let context = try TLSContext(isServer: true)
        try context.use(identity)
        // Sent along: by the first, who knows only the former one trusts this one; who enrolls knows only a fingerprint.
        for sent in [former?.vouches, authority].compactMap(\.self) {
            guard fleet_ctx_add_chain(context.context, sent.certificate) == 1 else { throw openSSLError("prepare TLS") }
        }
        fleet_ctx_verify_but_end(context.context)
        for trusted in [authority, former?.authority].compactMap(\.self) {
            try context.trust(trusted)
            guard SSL_CTX_add_client_CA(context.context, trusted.certificate) == 1 else {
                throw openSSLError("prepare TLS")
            }
        }
        return context
    }

    /// For an agent or an operator with a certificate.
    public static func client(identity: Identity, authority: X509Certificate) throws(FleetError) -> TLSContext {
        let context = try TLSContext(isServer: false)
        try context.use(identity)
        try context.trust(authority)
        SSL_CTX_set_verify(context.context, SSL_VERIFY_PEER, nil)
        return context
    }

    /// For enrolment: nobody is trusted yet. The caller must call `TLSSession.verifyPeer(authorityFingerprint:)`
    /// before it sends anything.
    public static func enrolling() throws(FleetError) -> TLSContext {
        let context = try TLSContext(isServer: false)
        SSL_CTX_set_verify(context.context, SSL_VERIFY_NONE, nil)
        return context
    }

    private init(isServer: Bool) throws(FleetError) {
        self.isServer = isServer
        context = try made(SSL_CTX_new(isServer ? TLS_server_method() : TLS_client_method()), "prepare TLS")
        guard fleet_ctx_tls13_only(context) == 1 else { throw openSSLError("prepare TLS") }
        // SSL_MODE_RELEASE_BUFFERS: "when we no longer need a read buffer or a write buffer for a given SSL, then
        // release the memory we were using to hold it. Using this flag can save around 34k per idle SSL connection"
        // (SSL_CTX_set_mode(3)). The two others let a write that would block be repeated from another buffer.
        _ = fleet_ctx_set_mode(
            context, Int(SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER)
        )
        fleet_ctx_session_cache_off(context)
        _ = SSL_CTX_set_num_tickets(context, 0)
    }

    deinit { SSL_CTX_free(context) }

    private func use(_ identity: Identity) throws(FleetError) {
        guard SSL_CTX_use_certificate(context, identity.certificate.certificate) == 1,
            SSL_CTX_use_PrivateKey(context, identity.key.key) == 1, SSL_CTX_check_private_key(context) == 1
        else { throw openSSLError("use a certificate", .untrusted, hint: "the key must belong to the certificate") }
    }

    private func trust(_ authority: X509Certificate) throws(FleetError) {
        guard X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority.certificate) == 1 else {
            throw openSSLError("trust an authority")
        }
    }
}
