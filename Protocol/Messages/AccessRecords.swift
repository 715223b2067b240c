public import FleetSystem

/// What a join token or a certificate lets its holder be.
public enum Role: String, Codable, Sendable { case agent, `operator` }

/// A join token as the inventory has it: never the secret, not even its hash.
public struct TokenRecord: Codable, Sendable, Equatable {
    public var role: Role
    /// For an agent.
    public var cluster: String?
    /// For an operator: the name that its certificate will carry.
    public var name: String?
    public var created: Timestamp
    public var createdBy: String
    public var expires: Timestamp
    public var used: Timestamp?

    public init(
        role: Role, cluster: String?, name: String?, created: Timestamp, createdBy: String, expires: Timestamp,
        used: Timestamp?
    ) {
        self.role = role
        self.cluster = cluster
        self.name = name
        self.created = created
        self.createdBy = createdBy
        self.expires = expires
        self.used = used
    }
}

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
