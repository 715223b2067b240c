internal import COpenSSL
public import FleetSystem

/// An X.509 certificate that was read; it says nothing about who vouches for it.
public final class X509Certificate: @unchecked Sendable {
    // Unchecked: read only after init, and X509 objects that nobody changes may be shared (openssl-threads(7)).
    package let certificate: OpaquePointer

    package init(owning certificate: OpaquePointer) { self.certificate = certificate }
    deinit { X509_free(certificate) }

    /// The first certificate of a PEM text.
    public convenience init(pem: String) throws(FleetError) {
        let input = try MemoryBIO(pem)
        self.init(owning: try made(PEM_read_bio_X509(input.bio, nil, nil, nil), "read a certificate"))
    }

    /// All certificates of a PEM text, in its order; at least one.
    public static func all(pem: String) throws(FleetError) -> [X509Certificate] {
        let input = try MemoryBIO(pem)
        var all: [X509Certificate] = []
        while let next = PEM_read_bio_X509(input.bio, nil, nil, nil) { all.append(X509Certificate(owning: next)) }
        if all.isEmpty { throw openSSLError("read a certificate") }
        // The end of the text is reported as an error of its own ("no start line").
        ERR_clear_error()
        return all
    }

    public func pem() throws(FleetError) -> String {
        let output = try MemoryBIO()
        guard PEM_write_bio_X509(output.bio, certificate) == 1 else { throw openSSLError("write a certificate") }
        return output.text
    }

    public var notBefore: Timestamp { moment(X509_get0_notBefore(certificate)) }
    public var notAfter: Timestamp { moment(X509_get0_notAfter(certificate)) }

    public var commonName: String? { name(NID_commonName) }
    public var organization: String? { name(NID_organizationName) }
    public var organizationalUnit: String? { name(NID_organizationalUnitName) }

    /// SHA-256 of the whole certificate (DER), lower-case hexadecimal.
    public var fingerprint: String {
        var digest = [UInt8](repeating: 0, count: 32)
        var count: UInt32 = 32
        precondition(X509_digest(certificate, EVP_sha256(), &digest, &count) == 1)
        return digest.hex
    }

    /// Lower-case hexadecimal.
    public var serial: String {
        guard let number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nil) else { return "" }
        defer { BN_free(number) }
        guard let text = BN_bn2hex(number) else { return "" }
        defer { CRYPTO_free(text, #file, #line) }
        return String(cString: text).lowercased()
    }

    /// Whether it may sign others (X509_check_ca(3)).
    public var isAuthority: Bool {
        let answer = X509_check_ca(certificate)
        ERR_clear_error()
        return answer > 0
    }

    /// Whether `authority` signed this certificate (its key alone; dates and uses are not looked at).
    public func isSigned(by authority: X509Certificate) -> Bool {
        let result = X509_verify(certificate, X509_get0_pubkey(authority.certificate)) == 1
        ERR_clear_error()
        return result
    }

    /// Whether the holder of this certificate's key signed `message` with `PrivateKey.signature(of:)`.
    public func verifies(_ signature: [UInt8], of message: [UInt8]) -> Bool {
        let context = EVP_MD_CTX_new()
        defer { EVP_MD_CTX_free(context) }
        let isValid =
            EVP_DigestVerifyInit(context, nil, EVP_sha256(), nil, X509_get0_pubkey(certificate)) == 1
            && EVP_DigestVerify(context, signature, signature.count, message, message.count) == 1
        ERR_clear_error()
        return isValid
    }

    /// Whether this certificate is for the public half of `key`.
    public func belongs(to key: PrivateKey) -> Bool {
        let result = X509_check_private_key(certificate, key.key) == 1
        ERR_clear_error()
        return result
    }

    private func name(_ id: Int32) -> String? {
        let subject = X509_get_subject_name(certificate)
        let index = X509_NAME_get_index_by_NID(subject, id, -1)
        guard index >= 0, let data = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index)) else { return nil }
        let count = Int(ASN1_STRING_length(data))
        return String(decoding: UnsafeRawBufferPointer(start: ASN1_STRING_get0_data(data), count: count), as: UTF8.self)
    }

    private func moment(_ time: UnsafePointer<ASN1_TIME>?) -> Timestamp {
        // The difference to a time we know, since ASN1_TIME_to_tm's result would need timegm(3).
        guard let epoch = ASN1_TIME_set(nil, 0) else { return Timestamp(milliseconds: 0) }
        defer { ASN1_STRING_free(epoch) }
        var days: Int32 = 0
        var seconds: Int32 = 0
        guard ASN1_TIME_diff(&days, &seconds, epoch, time) == 1 else { return Timestamp(milliseconds: 0) }
        return Timestamp(milliseconds: (Int64(days) * 86_400 + Int64(seconds)) * 1000)
    }
}
