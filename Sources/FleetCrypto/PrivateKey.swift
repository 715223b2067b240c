internal import COpenSSL
public import FleetSystem

/// A private key in memory. It leaves the process only as the PEM that the caller writes to a file of mode 0600.
public final class PrivateKey: @unchecked Sendable {
    // Unchecked: an EVP_PKEY that nobody changes may be used by many threads (openssl-threads(7)).
    package let key: OpaquePointer

    private init(owning key: OpaquePointer) { self.key = key }
    deinit { EVP_PKEY_free(key) }

    /// NIST P-256, for TLS certificates.
    public static func generateP256() throws(FleetError) -> PrivateKey {
        PrivateKey(owning: try made(fleet_generate_p256(), "generate a P-256 key"))
    }

    /// Ed25519, for signatures.
    public static func generateEd25519() throws(FleetError) -> PrivateKey {
        PrivateKey(owning: try made(fleet_generate_ed25519(), "generate an Ed25519 key"))
    }

    /// PKCS #8 without a passphrase.
    public convenience init(pem: String) throws(FleetError) {
        let input = try MemoryBIO(pem)
        self.init(owning: try made(PEM_read_bio_PrivateKey(input.bio, nil, nil, nil), "read a private key"))
    }

    public func pem() throws(FleetError) -> String {
        let output = try MemoryBIO()
        guard PEM_write_bio_PKCS8PrivateKey(output.bio, key, nil, nil, 0, nil, nil) == 1 else {
            throw openSSLError("write a private key")
        }
        return output.text
    }

    /// The public half of an Ed25519 key, 32 bytes.
    public func rawPublicKey() throws(FleetError) -> [UInt8] {
        var count = 32
        var bytes = [UInt8](repeating: 0, count: count)
        guard EVP_PKEY_get_raw_public_key(key, &bytes, &count) == 1, count == 32 else {
            throw openSSLError("read a public key")
        }
        return bytes
    }

    /// Of a P-256 key: ECDSA over the message's SHA-256, in DER.
    public func signature(of message: [UInt8]) throws(FleetError) -> [UInt8] {
        let context = EVP_MD_CTX_new()
        defer { EVP_MD_CTX_free(context) }
        var count = Int(EVP_PKEY_get_size(key))
        var signature = [UInt8](repeating: 0, count: count)
        guard EVP_DigestSignInit(context, nil, EVP_sha256(), nil, key) == 1,
            EVP_DigestSign(context, &signature, &count, message, message.count) == 1
        else { throw openSSLError("sign") }
        return Array(signature.prefix(count))
    }

    /// An Ed25519 signature, 64 bytes.
    public func sign(_ message: [UInt8]) throws(FleetError) -> [UInt8] {
        let context = EVP_MD_CTX_new()
        defer { EVP_MD_CTX_free(context) }
        var count = 64
        var signature = [UInt8](repeating: 0, count: count)
        guard EVP_DigestSignInit(context, nil, nil, nil, key) == 1,
            EVP_DigestSign(context, &signature, &count, message, message.count) == 1, count == 64
        else { throw openSSLError("sign") }
        return signature
    }
}

/// The public half of an Ed25519 key.
public final class VerifyingKey: @unchecked Sendable {
    private let key: OpaquePointer
    public let raw: [UInt8]

    public init(raw: [UInt8]) throws(FleetError) {
        guard raw.count == 32 else {
            throw FleetError(.malformed, "an Ed25519 public key has 32 bytes, not \(raw.count)")
        }
        key = try made(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nil, raw, raw.count), "read a public key")
        self.raw = raw
    }

    deinit { EVP_PKEY_free(key) }

    /// The first 8 bytes of the key's SHA-256, in hexadecimal: names a key, proves nothing.
    public var id: String { SHA256.hash(raw).prefix(8).hex }

    public func verifies(_ signature: [UInt8], of message: [UInt8]) -> Bool {
        let context = EVP_MD_CTX_new()
        defer { EVP_MD_CTX_free(context) }
        let valid =
            EVP_DigestVerifyInit(context, nil, nil, nil, key) == 1
            && EVP_DigestVerify(context, signature, signature.count, message, message.count) == 1
        // A refused signature leaves its reason in this thread's queue, where the next call would find it.
        ERR_clear_error()
        return valid
    }
}
