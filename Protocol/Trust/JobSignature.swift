public import FleetCrypto
public import FleetSystem

/// Signs jobs: the coordinator's side.
public struct JobSigner: Sendable {
    private let key: PrivateKey
    private let keyID: String

    /// - Parameter key: Ed25519.
    public init(key: PrivateKey) throws(FleetError) {
        self.key = key
        keyID = try VerifyingKey(raw: try key.rawPublicKey()).id
    }

    public func sign(_ job: Job) throws(FleetError) -> Envelope { try sign(job, as: Envelope.jobType) }

    public func sign(_ decision: JobDecision) throws(FleetError) -> Envelope {
        try sign(decision, as: Envelope.decisionType)
    }

    /// A report of the audit chain. Its type keeps it apart: no agent takes it for a job.
    public func sign(_ report: ReportStatement) throws(FleetError) -> Envelope {
        try sign(report, as: Envelope.reportType)
    }

    /// The authority that follows. Its type keeps it apart as well.
    public func sign(_ authority: AuthorityStatement) throws(FleetError) -> Envelope {
        try sign(authority, as: Envelope.authorityType)
    }

    private func sign(_ statement: some Encodable, as type: String) throws(FleetError) -> Envelope {
        let payload = try JSON.encode(statement)
        let signature = try key.sign(Envelope.preAuthenticationEncoding(type: type, payload: payload))
        return Envelope(
            payloadType: type, payload: payload.base64,
            signatures: [Envelope.Signature(keyid: keyID, sig: signature.base64)])
    }
}

extension FleetError.Code {
    /// A job was not signed by the coordinator whose key was pinned at enrolment, or was changed on the way.
    public static let badSignature: Self = "bad-signature"
}

extension Envelope {
    /// The job that was signed, decoded from exactly the bytes that the signature covers.
    ///
    /// - Throws: `bad-signature`, or `malformed` for signed bytes that are no job (a coordinator's bug).
    public func job(verifiedBy key: VerifyingKey) throws(FleetError) -> Job {
        try statement(Self.jobType, "job", key)
    }

    /// The same for a decision.
    public func decision(verifiedBy key: VerifyingKey) throws(FleetError) -> JobDecision {
        try statement(Self.decisionType, "decision", key)
    }

    /// The same for the authority that follows.
    public func authority(verifiedBy key: VerifyingKey) throws(FleetError) -> AuthorityStatement {
        try statement(Self.authorityType, "authority", key)
    }

    private func statement<Statement: Decodable>(
        _ type: String, _ what: String, _ key: VerifyingKey
    ) throws(FleetError) -> Statement {
        let hint = "was the coordinator set up anew? then enroll this node again; otherwise treat it as an attack"
        guard payloadType == type else {
            throw FleetError(.badSignature, "the envelope is no \(what): \(payloadType.debugDescription)", hint: hint)
        }
        guard let payload = [UInt8](base64: payload) else {
            throw FleetError(.badSignature, "the \(what)'s payload is not base64", hint: hint)
        }
        let message = Self.preAuthenticationEncoding(type: payloadType, payload: payload)
        // The key id only says which key to try (DSSE): we have one, and it alone decides.
        let valid = signatures.contains { signature in
            [UInt8](base64: signature.sig).map { key.verifies($0, of: message) } ?? false
        }
        guard valid else {
            throw FleetError(.badSignature, "the \(what) is not signed by this node's coordinator", hint: hint)
        }
        return try JSON.decode(Statement.self, from: payload)
    }
}
