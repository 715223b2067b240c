public import FleetCrypto
public import FleetSystem

extension ControlMethod {
    public static let auditReport = "audit.report"
    public static let proveReport = "audit.report-prove"
}

/// Answered with the canonical bytes of an `AuditReport`, then `end` with the `Envelope` of its `ReportStatement`.
public struct ReportRequest: Codable, Sendable {
    public var since: Timestamp?
    /// So many seconds before the end; of whole days, from the midnight before that.
    public var lastSeconds: Int?
    /// nil: now.
    public var until: Timestamp?
    /// Empty: all.
    public var clusters: [String]
    public init(since: Timestamp?, lastSeconds: Int?, until: Timestamp?, clusters: [String]) {
        self.since = since
        self.lastSeconds = lastSeconds
        self.until = until
        self.clusters = clusters
    }
}

/// What the coordinator signs of a report: which one it is, and all that is needed to make it again from the chain.
public struct ReportStatement: Codable, Sendable, Equatable {
    /// Of the report's canonical bytes, lower-case hexadecimal.
    public var sha256: String
    public var version: String
    public var made: Timestamp
    public var since: Timestamp
    public var until: Timestamp
    public var only: [String]
    /// Of the audit chain, as in `AuditReport.Chain`.
    public var height: Int64
    public var head: String

    public init(_ report: AuditReport, sha256: String) {
        self.sha256 = sha256
        version = report.version
        made = report.made
        since = report.since
        until = report.until
        only = report.only
        height = report.chain.height
        head = report.chain.head
    }
}

/// What a coordinator says today of a report that it has signed, asked with that one's `Envelope`. Behind the canonical bytes of the report as it would be made
/// today of the same events, which are none where the chain has others now.
public struct ReportProof: Codable, Sendable {
    /// Who made a report, as the chain has it.
    public struct Making: Codable, Sendable {
        public var sequence: Int64
        public var time: Timestamp
        public var actor: String
        public init(sequence: Int64, time: Timestamp, actor: String) {
            self.sequence = sequence
            self.time = time
            self.actor = actor
        }
    }
    public var version: String
    /// Base64 of the public key with which it signs.
    public var key: String
    /// Of the whole chain as it is now.
    public var verdict: AuditVerdict
    /// Of the event at the statement's height; nil where the chain has none.
    public var hash: String?
    public var making: Making?
    public init(version: String, key: String, verdict: AuditVerdict, hash: String?, making: Making?) {
        self.version = version
        self.key = key
        self.verdict = verdict
        self.hash = hash
        self.making = making
    }
}

extension Envelope {
    public static let reportType = "application/vnd.etcd-backup-fleet.audit-report.v1+json"

    /// What the envelope says, whether it is signed or not.
    ///
    /// - Throws: `malformed` for an envelope of something else, or one that this program would not have written so: no byte of
    ///   it is without meaning.
    public func reportStatement() throws(FleetError) -> ReportStatement {
        guard payloadType == Self.reportType, signatures.count == 1, let bytes = [UInt8](base64: payload),
            bytes.base64 == payload, let signature = [UInt8](base64: signatures[0].sig),
            signature.base64 == signatures[0].sig
        else { throw FleetError(.malformed, "its signature is not one of a report") }
        return try JSON.decode(ReportStatement.self, from: bytes)
    }

    /// - Throws: `bad-signature`.
    public func checkReport(signedBy key: VerifyingKey) throws(FleetError) {
        if let named = signatures.first?.keyid, named != key.id {
            throw FleetError(.badSignature, "it names the key \(named), and this coordinator signs with \(key.id)")
        }
        guard payloadType == Self.reportType, signatures.count == 1,
            let payload = [UInt8](base64: payload), let signature = [UInt8](base64: signatures[0].sig),
            key.verifies(signature, of: Self.preAuthenticationEncoding(type: payloadType, payload: payload))
        else { throw FleetError(.badSignature, "the signature is not the coordinator's: what it covers was changed") }
    }
}
