internal import COpenSSL
public import FleetSystem

/// The fleet's own certificate authority: it vouches for the coordinator, the agents and the operators, and for
/// nobody else. P-256 with SHA-256.
public struct CertificateAuthority: Sendable {
    public let certificate: X509Certificate
    private let key: PrivateKey

    /// Whom a certificate is for. The organization in the subject is how the coordinator tells a peer's role.
    public enum Subject: Sendable {
        case coordinator(hosts: [String])
        case agent(cluster: String, node: String)
        case person(name: String)

        var commonName: String {
            switch self {
            case .coordinator: "fleet-coordinator"
            case .agent(_, let node): node
            case .person(let name): name
            }
        }

        public var organization: String {
            switch self {
            case .coordinator: "fleet:coordinator"
            case .agent: "fleet:agent"
            case .person: "fleet:operator"
            }
        }

        /// An agent's cluster.
        var organizationalUnit: String? { if case .agent(let cluster, _) = self { cluster } else { nil } }
    }

    public init(certificatePEM: String, keyPEM: String) throws(FleetError) {
        certificate = try X509Certificate(pem: certificatePEM)
        key = try PrivateKey(pem: keyPEM)
        guard X509_check_private_key(certificate.certificate, key.key) == 1 else {
            throw openSSLError("the authority's key does not belong to its certificate", .untrusted)
        }
    }

    /// A new authority: its certificate, good for `validity`, and its key as PEM.
    public static func create(name: String, validity: Duration, now: Timestamp = .now()) throws(FleetError) -> (
        certificatePEM: String, keyPEM: String
    ) {
        let key = try PrivateKey.generateP256()
        let certificate = try build(
            commonName: name, organization: "fleet:authority", unit: nil, issuer: nil, publicKey: key.key, signer: key,
            from: now,
            validity: validity,
            extensions: [
                // One authority below it: the one that follows it, for those who know only this one.
                (NID_basic_constraints, "critical,CA:TRUE,pathlen:1"), (NID_key_usage, "critical,keyCertSign,cRLSign"),
                (NID_subject_key_identifier, "hash"),
            ])
        return (try certificate.pem(), try key.pem())
    }

    /// A certificate for the authority that follows this one, signed by this one: whoever trusts this one trusts that one by it,
    /// as long as this one is good.
    ///
    /// - Throws: `untrusted` where this one may not vouch for another authority.
    public func vouch(for next: X509Certificate, now: Timestamp = .now()) throws(FleetError) -> X509Certificate {
        // -1: no limit. Authorities of before rotation was thought of have 0.
        guard X509_get_pathlen(certificate.certificate) != 0, let publicKey = X509_get0_pubkey(next.certificate) else {
            throw FleetError(
                .untrusted, "this authority was made to vouch for no other one",
                hint: "a fleet with such an authority is enrolled anew: see RECOVERY.md")
        }
        let end = min(certificate.notAfter, next.notAfter)
        return try Self.build(
            commonName: next.commonName ?? "", organization: next.organization ?? "", unit: nil, issuer: certificate,
            publicKey: publicKey, signer: key, from: now, validity: max(.seconds(1), end.since(now)),
            extensions: [
                (NID_basic_constraints, "critical,CA:TRUE,pathlen:0"), (NID_key_usage, "critical,keyCertSign,cRLSign"),
                (NID_subject_key_identifier, "hash"), (NID_authority_key_identifier, "keyid"),
            ])
    }

    /// Issues a certificate for the public key of a request, after checking that the request is signed with it.
    public func issue(
        _ subject: Subject, for request: CertificateRequest, validity: Duration, now: Timestamp = .now()
    ) throws(FleetError) -> X509Certificate {
        let input = try MemoryBIO(request.pem)
        guard let parsed = PEM_read_bio_X509_REQ(input.bio, nil, nil, nil) else {
            throw openSSLError("the certificate request is not one", .malformed)
        }
        defer { X509_REQ_free(parsed) }
        guard let publicKey = X509_REQ_get0_pubkey(parsed), X509_REQ_verify(parsed, publicKey) == 1 else {
            throw openSSLError("the certificate request is not signed with its own key", .untrusted)
        }
        guard EVP_PKEY_get_bits(publicKey) >= 256 else {
            throw FleetError(.untrusted, "the certificate request has a key that is too short")
        }
        var extensions: [(Int32, String)] = [
            (NID_basic_constraints, "critical,CA:FALSE"), (NID_key_usage, "critical,digitalSignature"),
            (NID_subject_key_identifier, "hash"), (NID_authority_key_identifier, "keyid"),
        ]
        if case .coordinator(let hosts) = subject {
            extensions.append((NID_ext_key_usage, "serverAuth"))
            // The hosts were checked by the caller to be names or addresses; a comma would start another entry.
            extensions.append((NID_subject_alt_name, try hosts.map(Self.alternativeName).joined(separator: ",")))
        } else {
            extensions.append((NID_ext_key_usage, "clientAuth"))
        }
        return try Self.build(
            commonName: subject.commonName, organization: subject.organization, unit: subject.organizationalUnit,
            issuer: certificate,
            publicKey: publicKey, signer: key, from: now, validity: validity, extensions: extensions)
    }

    private static func alternativeName(_ host: String) throws(FleetError) -> String {
        let harmless = host.utf8.allSatisfy { c in
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(c) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(c)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(c) || ".-:".utf8.contains(c)
        }
        guard !host.isEmpty, harmless else {
            throw FleetError(.malformed, "not a host name or an address: \(host.debugDescription)")
        }
        let isAddress = host.contains(":") || host.allSatisfy { $0.isNumber || $0 == "." }
        return (isAddress ? "IP:" : "DNS:") + host
    }

    private static func build(
        commonName: String, organization: String, unit: String?, issuer: X509Certificate?, publicKey: OpaquePointer,
        signer: PrivateKey,
        from: Timestamp, validity: Duration, extensions: [(Int32, String)]
    ) throws(FleetError) -> X509Certificate {
        let act = "issue a certificate"
        let certificate = X509Certificate(owning: try made(X509_new(), act))
        let raw = certificate.certificate
        // Five minutes back, for clocks that are a little behind ours.
        let start = Int(from.milliseconds / 1000) - 300
        var serial = SecureRandom.bytes(16)
        serial[0] &= 0x7f  // positive (RFC 5280, 4.1.2.2)
        let number = BN_bin2bn(serial, 16, nil)
        defer { BN_free(number) }
        let name = X509_get_subject_name(raw)
        func add(_ id: Int32, _ text: String) -> Bool {
            X509_NAME_add_entry_by_NID(name, id, MBSTRING_UTF8, Array(text.utf8), Int32(text.utf8.count), -1, 0) == 1
        }
        guard X509_set_version(raw, 2) == 1,  // X509_VERSION_3 is 2
            BN_to_ASN1_INTEGER(number, X509_get_serialNumber(raw)) != nil,
            ASN1_TIME_set(X509_getm_notBefore(raw), start) != nil,
            ASN1_TIME_set(X509_getm_notAfter(raw), start + 300 + Int(validity.seconds)) != nil,
            add(NID_organizationName, organization), unit.map({ add(NID_organizationalUnitName, $0) }) ?? true,
            add(NID_commonName, commonName),
            X509_set_issuer_name(raw, issuer.map { X509_get_subject_name($0.certificate) } ?? name) == 1,
            X509_set_pubkey(raw, publicKey) == 1
        else { throw openSSLError(act) }
        var context = X509V3_CTX()
        X509V3_set_ctx(&context, issuer?.certificate ?? raw, raw, nil, nil, 0)
        for (id, value) in extensions {
            guard let one = X509V3_EXT_conf_nid(nil, &context, id, value) else { throw openSSLError(act) }
            defer { X509_EXTENSION_free(one) }
            guard X509_add_ext(raw, one, -1) == 1 else { throw openSSLError(act) }
        }
        guard X509_sign(raw, signer.key, EVP_sha256()) > 0 else { throw openSSLError(act) }
        return certificate
    }
}
