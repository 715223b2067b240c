public import FleetCrypto
public import FleetSystem
internal import FleetTLS

/// The client's side of enrolment, the same for agents and operators.
public enum Enrollment {
    public struct Result: Sendable {
        public var reply: EnrollReply
        /// Made here, and never anywhere else.
        public var key: PrivateKey
        /// The SHA-256 of the certificate, as the coordinator's inventory names it.
        public var fingerprint: String

        public init(reply: EnrollReply, key: PrivateKey, fingerprint: String) {
            self.reply = reply
            self.key = key
            self.fingerprint = fingerprint
        }
    }

    /// - Parameter role: what the token must be for.
    /// - Throws: `untrusted` when the coordinator is not the token's; then the token's secret was not sent.
    public static func redeem(
        _ token: JoinToken, name: String, role: Role, software: String
    ) async throws(FleetError) -> Result {
        let connection = try await Dialler.connect(
            token.address, tls: try TLSContext.enrolling(), authorityFingerprint: token.authorityFingerprint,
            options: Connection.Options(software: software))
        let key = try PrivateKey.generateP256()
        let request = EnrollRequest(
            token: token.secret, name: name, request: try CertificateRequest(key: key, commonName: name).pem,
            role: role)
        let outcome: Swift.Result<EnrollReply, FleetError>
        do throws(FleetError) { outcome = .success(try await connection.call(Method.enroll, request)) } catch {
            outcome = .failure(error)
        }
        await connection.close(FleetError(.cancelled, "enrolled"))
        let reply = try outcome.get()
        let certificate = try X509Certificate(pem: reply.certificate)
        let authority = try X509Certificate(pem: reply.authority)
        guard authority.fingerprint == token.authorityFingerprint, certificate.isSigned(by: authority),
            certificate.belongs(to: key)
        else { throw FleetError(.untrusted, "the coordinator answered with a certificate that is not ours") }
        return Result(reply: reply, key: key, fingerprint: certificate.fingerprint)
    }
}
