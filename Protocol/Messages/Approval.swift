public import FleetCrypto
public import FleetSystem

/// A second operator's word that what a dry run planned may be done. These bytes are what they sign.
public struct ApprovalStatement: Codable, Sendable, Equatable {
    /// The dry run.
    public var plan: String
    /// SHA-256 of what its agents planned, hexadecimal: who signs has seen exactly that.
    public var planDigest: String
    public var cluster: String
    /// "restore" or "undo".
    public var kind: String
    /// The snapshot of a restore; of an undo, that of the restore it undoes.
    public var snapshot: String
    public var undoes: String?
    public var withoutSafetySnapshot: Bool
    public var withoutBump: Bool
    /// "NODE DIRECTORY" of each member, in the order of their names: whose data is replaced.
    public var replaces: [String]
    /// Until when what was planned may be begun.
    public var expires: Timestamp

    public init(
        plan: String, planDigest: String, cluster: String, kind: String, snapshot: String, undoes: String?,
        withoutSafetySnapshot: Bool, withoutBump: Bool, replaces: [String], expires: Timestamp
    ) {
        self.replaces = replaces
        self.plan = plan
        self.planDigest = planDigest
        self.cluster = cluster
        self.kind = kind
        self.snapshot = snapshot
        self.undoes = undoes
        self.withoutSafetySnapshot = withoutSafetySnapshot
        self.withoutBump = withoutBump
        self.expires = expires
    }

    /// Of the plans of all nodes, in the order of their names.
    public static func digest(of dryRun: JobRecord) throws(FleetError) -> String {
        SHA256.hash(try JSON.encode(plans(dryRun))).hex
    }

    /// The same, as the plans have them.
    public static func replaces(_ dryRun: JobRecord) -> [String] {
        plans(dryRun).map { "\($0.node) \($0.oldDataDir)" }
    }

    private static func plans(_ dryRun: JobRecord) -> [RestorePlan] {
        (dryRun.members ?? [dryRun]).sorted { $0.node < $1.node }.compactMap { $0.outcome?.plan }
    }
}

extension Envelope {
    public static let approvalType = "application/vnd.etcd-backup-fleet.approval.v1+json"

    /// - Parameter key: the operator's own, of the certificate with which they log in.
    public static func approval(
        _ statement: ApprovalStatement, key: PrivateKey, certificate: X509Certificate
    ) throws(FleetError) -> Envelope {
        let payload = try JSON.encode(statement)
        let message = preAuthenticationEncoding(type: approvalType, payload: payload)
        return Envelope(
            payloadType: approvalType, payload: payload.base64,
            signatures: [Signature(keyid: certificate.fingerprint, sig: try key.signature(of: message).base64)])
    }

    /// What was approved, decoded from exactly the bytes that the signature covers.
    ///
    /// - Throws: `bad-signature`, `malformed`.
    public func approval(signedBy certificate: X509Certificate) throws(FleetError) -> ApprovalStatement {
        guard payloadType == Self.approvalType, let payload = [UInt8](base64: payload) else {
            throw FleetError(.badSignature, "the envelope is no approval")
        }
        let message = Self.preAuthenticationEncoding(type: payloadType, payload: payload)
        let isValid = signatures.contains { signature in
            [UInt8](base64: signature.sig).map { certificate.verifies($0, of: message) } ?? false
        }
        guard isValid else {
            throw FleetError(
                .badSignature, "the approval is not signed with the key of the certificate that gives it")
        }
        return try JSON.decode(ApprovalStatement.self, from: payload)
    }
}

/// An approval as the catalogue keeps it.
public struct ApprovalRecord: Codable, Sendable, Equatable {
    public var statement: ApprovalStatement
    /// "operator:NAME".
    public var by: String
    public var given: Timestamp
    /// The job that was begun with it; each is good for one.
    public var usedBy: String?
    /// The certificate or the rights of whoever gave it were taken: it counts for nothing.
    public var isVoid: Bool?
    /// Nothing was begun with it, or `usedBy` ended before it touched anything.
    public var isUnused: Bool?

    public init(statement: ApprovalStatement, by: String, given: Timestamp, usedBy: String?) {
        self.statement = statement
        self.by = by
        self.given = given
        self.usedBy = usedBy
    }
}

extension ControlMethod {
    /// Whether a cluster's data is replaced only with a second operator's approval.
    public static let protectCluster = "cluster.protect"
    /// What would be approved, with the plan; refused as the approval itself would be, and where the snapshot is gone.
    public static let previewApproval = "restore.approve.preview"
    public static let approveRestore = "restore.approve"
}

public struct ProtectRequest: Codable, Sendable {
    public var cluster: String
    public var isProtected: Bool
    public init(cluster: String, isProtected: Bool) {
        self.cluster = cluster
        self.isProtected = isProtected
    }
}

public struct ApprovalPreview: Codable, Sendable {
    public var statement: ApprovalStatement
    /// The dry run.
    public var job: JobRecord
    /// What a restore would show before it asks; nil for an undo.
    public var restore: RestorePreview?
    public init(statement: ApprovalStatement, job: JobRecord) {
        self.statement = statement
        self.job = job
    }
}

public struct ApproveRequest: Codable, Sendable {
    /// The dry run that it is about.
    public var job: String
    public var envelope: Envelope
    public init(job: String, envelope: Envelope) {
        self.job = job
        self.envelope = envelope
    }
}
