extension ControlMethod {
    /// Whether who asks may let agents in, or take their right, and into which fleet: asked before a node is touched.
    public static let enrolmentTerms = "agent.terms"
}

public struct EnrolmentTermsRequest: Codable, Sendable {
    public var cluster: String
    /// Answered only to who may let agents in: taking their right asks for less.
    public var enrols: Bool

    public init(cluster: String, enrols: Bool) {
        self.cluster = cluster
        self.enrols = enrols
    }
}

/// What an agent of this fleet is told when it joins, as far as it is no secret.
public struct EnrolmentTerms: Codable, Sendable, Equatable {
    /// "host:port" where agents dial the coordinator.
    public var address: String
    /// SHA-256 of the authority's certificate, lower-case hexadecimal: one by which agents know the coordinator.
    public var authority: String
    /// The same of the authority before it, until that is retired.
    public var former: String?

    /// Those by which an agent of this fleet may know its coordinator.
    public var authorities: [String] { [authority] + (former.map { [$0] } ?? []) }

    public init(address: String, authority: String) {
        self.address = address
        self.authority = authority
    }
}
