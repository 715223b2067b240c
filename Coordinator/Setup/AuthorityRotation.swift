import FleetCrypto
import FleetSystem

/// The authority's successor. The coordinator goes over to it at once; those who know only the former one trust it by what the
/// former one says of it, and are let in with its certificates until the former one is retired.
///
///     authority.crt, authority.key    the authority in force
///     former-authority.crt            the one before, whose key is gone
///     authority-by-former.crt         the one in force, signed by the one before
///
/// The key goes over by one rename; a certificate that waits beside it follows, also behind a power cut.
enum AuthorityRotation {
    private typealias File = KeyRing.File
    private static let next = ".new"

    /// - Parameter record: is told of the new one before it is in force; what it throws leaves all as it was.
    /// - Throws: `already-exists` while the one before is not retired; `untrusted` where the present one may not vouch, or has
    ///   ended.
    /// - Returns: the new one.
    @discardableResult
    static func rotate(
        in directory: String, now: Timestamp = .now(),
        record: (X509Certificate) async throws(FleetError) -> Void = { _ in }
    ) async throws(FleetError) -> X509Certificate {
        let keys = try KeyRing(directory: directory)
        guard now < keys.authority.certificate.notAfter else {
            throw FleetError(
                .untrusted,
                "the authority has ended at \(keys.authority.certificate.notAfter), and its word is good no more",
                hint: "move keys/authority.* away, run 'init' again, and enroll all agents and operators anew")
        }
        guard keys.former == nil else {
            throw FleetError(
                .alreadyExists, "the authority before this one is not retired yet",
                hint: "first 'fleet-coordinator authority retire', when all agents have come over")
        }
        let day = now.description.prefix(10)
        let made = try CertificateAuthority.create(
            name: "etcd backup fleet \(day)", validity: KeyRing.authorityValidity, now: now)
        let certificate = try X509Certificate(pem: made.certificatePEM)
        let vouches = try keys.authority.vouch(for: certificate, now: now)
        try FileSystem.writeDurably("\(directory)/\(File.former)", try keys.authority.certificate.pem().utf8)
        try FileSystem.writeDurably("\(directory)/\(File.vouches)", try vouches.pem().utf8)
        try FileSystem.writeDurably("\(directory)/\(File.authority)\(next)", made.certificatePEM.utf8)
        try await record(certificate)
        // From here on the new one is in force.
        try FileSystem.writeDurably("\(directory)/\(File.authorityKey)", made.keyPEM.utf8)
        try finish(in: directory)
        return certificate
    }

    /// What a rotation was cut off from: the key has gone over, and its certificate waits. One whose key never came is left
    /// alone: a rotation may be just at it.
    static func finish(in directory: String) throws(FleetError) {
        let (waiting, present) = ("\(directory)/\(File.authority)\(next)", "\(directory)/\(File.authority)")
        guard FileSystem.exists(waiting), FileSystem.exists("\(directory)/\(File.authorityKey)") else { return }
        let key = try PrivateKey(pem: try FileSystem.readText("\(directory)/\(File.authorityKey)"))
        guard try X509Certificate(pem: try FileSystem.readText(waiting)).belongs(to: key) else { return }
        try FileSystem.rename(waiting, to: present)
    }

    /// - Returns: nil where there is none, or where it never came to another.
    static func former(
        of authority: CertificateAuthority, in directory: String
    ) throws(FleetError) -> (authority: X509Certificate, vouches: X509Certificate)? {
        let (former, vouches) = ("\(directory)/\(File.former)", "\(directory)/\(File.vouches)")
        guard FileSystem.exists(former), FileSystem.exists(vouches) else { return nil }
        let before = try X509Certificate(pem: try FileSystem.readText(former))
        let word = try X509Certificate(pem: try FileSystem.readText(vouches))
        guard before.fingerprint != authority.certificate.fingerprint, word.isSigned(by: before) else { return nil }
        return (before, word)
    }

    /// Nobody is let in with the former one's certificates any more.
    ///
    /// - Throws: `not-found` where there is none.
    static func retire(in directory: String) throws(FleetError) {
        guard try KeyRing(directory: directory).former != nil else {
            throw FleetError(.notFound, "there is no former authority that could be retired")
        }
        try FileSystem.remove("\(directory)/\(File.former)")
        try FileSystem.remove("\(directory)/\(File.vouches)")
        try FileSystem.syncDirectory(directory)
    }
}
