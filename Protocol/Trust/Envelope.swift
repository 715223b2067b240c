/// A signed statement in the DSSE form: the signature covers the payload's type and its exact bytes, and whoever
/// checks it decodes those bytes, never a re-encoding of them.
public struct Envelope: Codable, Sendable, Equatable {
    public struct Signature: Codable, Sendable, Equatable {
        public var keyid: String
        /// Ed25519, 64 bytes, base64.
        public var sig: String

        public init(keyid: String, sig: String) {
            self.keyid = keyid
            self.sig = sig
        }
    }

    public static let jobType = "application/vnd.etcd-backup-fleet.job.v1+json"
    public static let decisionType = "application/vnd.etcd-backup-fleet.decision.v1+json"
    public static let authorityType = "application/vnd.etcd-backup-fleet.authority.v1+json"

    public var payloadType: String
    /// Base64.
    public var payload: String
    public var signatures: [Signature]

    public init(payloadType: String, payload: String, signatures: [Signature]) {
        self.payloadType = payloadType
        self.payload = payload
        self.signatures = signatures
    }

    /// DSSE's pre-authentication encoding: "DSSEv1" SP length SP type SP length SP payload, lengths in decimal bytes.
    public static func preAuthenticationEncoding(type: String, payload: [UInt8]) -> [UInt8] {
        Array("DSSEv1 \(type.utf8.count) \(type) \(payload.count) ".utf8) + payload
    }
}
