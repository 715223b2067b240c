import FleetCrypto
import FleetProtocol
import FleetSystem
import FleetTLS

/// The coordinator's secrets: the authority's key and the key that signs jobs. Files of mode 0600 in a directory of mode
/// 0700; nothing of them is ever in the catalogue or the log.
struct KeyRing: Sendable {
    let authority: CertificateAuthority
    /// While not everybody has come over from the authority before: that one, and its word for this one.
    let former: (authority: X509Certificate, vouches: X509Certificate)?
    let signer: JobSigner
    /// Base64 of the public key that agents pin.
    let jobKey: String

    enum File {
        static let authority = "authority.crt"
        static let authorityKey = "authority.key"
        static let jobKey = "job-signing.key"
        static let former = "former-authority.crt"
        static let vouches = "authority-by-former.crt"
    }

    /// Ten years: 'fleet-coordinator authority rotate' makes the next.
    static let authorityValidity = Duration.seconds(3650 * 86_400)
    /// Agents renew theirs after two thirds of it; operators log in again when it is over.
    static let clientValidity = Duration.seconds(365 * 86_400)

    /// Makes new keys, or keeps the ones that are there: a coordinator that is set up again from a copy of its keys is
    /// the one that its agents obey. No key is ever replaced.
    ///
    /// - Returns: whether they were there already.
    /// - Throws: `malformed` where some are there and some are not, and what opening them throws.
    @discardableResult
    static func create(in directory: String) throws(FleetError) -> Bool {
        try FileSystem.makeDirectories(directory)
        let names = [File.authorityKey, File.authority, File.jobKey]
        let present = names.filter { FileSystem.exists("\(directory)/\($0)") }
        if present.count == names.count {
            _ = try KeyRing(directory: directory)
            return true
        }
        guard present.isEmpty else {
            throw FleetError(
                .malformed,
                "\(directory) has \(present.joined(separator: " and ")), but not all of \(names.joined(separator: ", "))",
                hint: "put the missing ones back from the copy; for a new fleet, move these away")
        }
        let authority = try CertificateAuthority.create(name: "etcd backup fleet", validity: authorityValidity)
        try FileSystem.writeDurably("\(directory)/\(File.authorityKey)", authority.keyPEM.utf8)
        try FileSystem.writeDurably("\(directory)/\(File.authority)", authority.certificatePEM.utf8)
        try FileSystem.writeDurably("\(directory)/\(File.jobKey)", try PrivateKey.generateEd25519().pem().utf8)
        return false
    }

    /// - Throws: `not-found` where `init` never ran, `permission-denied` for a key that others may read.
    ///
    /// - Parameter isOwner: nobody else is at the keys, and a rotation that was cut off is finished.
    init(directory: String, isOwner: Bool = true) throws(FleetError) {
        if isOwner { try AuthorityRotation.finish(in: directory) }
        func secret(_ name: String) throws(FleetError) -> String {
            let path = "\(directory)/\(name)"
            guard let status = try FileSystem.status(path) else {
                throw FleetError(
                    .notFound, "\(path) is not there",
                    hint: "run 'fleet-coordinator init', or name the right --data directory")
            }
            guard status.mode & 0o077 == 0 else {
                throw FleetError(
                    .permissionDenied, "\(path) can be read by others",
                    hint: "chmod 600 \(path), and consider the key known")
            }
            return try FileSystem.readText(path)
        }
        authority = try CertificateAuthority(
            certificatePEM: try secret(File.authority), keyPEM: try secret(File.authorityKey))
        former = try AuthorityRotation.former(of: authority, in: directory)
        let key = try PrivateKey(pem: try secret(File.jobKey))
        signer = try JobSigner(key: key)
        jobKey = try key.rawPublicKey().base64
    }

    /// The server's side of TLS, with a certificate made for this start. Its names are for people: clients know the
    /// coordinator by its authority.
    func serverContext() throws(FleetError) -> TLSContext {
        let key = try PrivateKey.generateP256()
        let certificate = try serverCertificate(key)
        return try TLSContext.server(
            identity: TLSContext.Identity(certificate: certificate, key: key), authority: authority.certificate,
            former: former)
    }

    /// As good as the authority, of whose end `fleetctl status` tells: a coordinator may run for years, and nothing tells of
    /// the end of a certificate that only it has.
    func serverCertificate(_ key: PrivateKey, now: Timestamp = .now()) throws(FleetError) -> X509Certificate {
        try authority.issue(
            .coordinator(hosts: ["localhost"]), for: try CertificateRequest(key: key, commonName: "fleet-coordinator"),
            validity: max(.seconds(1), authority.certificate.notAfter.since(now)), now: now)
    }

    /// A client certificate for whoever a token lets in.
    func issue(
        _ grant: Grant, request: String, validity: Duration = KeyRing.clientValidity
    ) throws(FleetError) -> X509Certificate {
        let subject: CertificateAuthority.Subject =
            switch grant {
            case .agent(let cluster, let node): .agent(cluster: cluster, node: node)
            case .operator(let name): .person(name: name)
            }
        return try authority.issue(subject, for: CertificateRequest(pem: request), validity: validity)
    }
}

extension KeyRing {
    /// What is on record of a certificate that was made just now.
    func record(_ certificate: X509Certificate) -> CertificateRecord {
        var record = CertificateRecord(
            fingerprint: certificate.fingerprint, serial: certificate.serial, issued: .now(),
            notAfter: certificate.notAfter)
        record.authority = authority.certificate.fingerprint
        return record
    }

    /// Whether an authority that is good has issued it. Of one that is from before there could be several only its time tells.
    func vouches(for certificate: CertificateRecord) -> Bool {
        let good = [former?.authority, authority.certificate].compactMap(\.self)
        guard let issuer = certificate.authority else { return certificate.issued >= good[0].notBefore }
        return good.contains { $0.fingerprint == issuer }
    }
}

extension X509Certificate {
    /// Whether the subject is that of a grant. Certificates of agents without a cluster are of before there was one.
    func names(_ grant: Grant) -> Bool {
        switch grant {
        case .agent(let cluster, let node):
            organization == "fleet:agent" && commonName == node && (organizationalUnit ?? cluster) == cluster
        case .operator(let name): organization == "fleet:operator" && commonName == name
        }
    }
}
