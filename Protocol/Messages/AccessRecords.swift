public import FleetSystem

/// What a join token or a certificate lets its holder be.
public enum Role: String, Codable, Sendable { case agent, `operator` }

public struct OperatorRecord: Codable, Sendable, Equatable {
    public var name: String
    public var created: Timestamp
    /// The newest certificate.
    public var certificate: CertificateRecord?

    public init(name: String, created: Timestamp, certificate: CertificateRecord?) {
        self.name = name
        self.created = created
        self.certificate = certificate
    }
}
