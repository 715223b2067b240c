extension ControlMethod {
    public static let removeCluster = "cluster.remove"
}

/// That a cluster which has nothing any more is no cluster of the fleet from now on.
public struct ClusterRemovalRequest: Codable, Sendable {
    public var name: String
    /// Only say what would go; refused as the removal itself would be.
    public var dryRun: Bool
    public init(name: String, dryRun: Bool) {
        self.name = name
        self.dryRun = dryRun
    }
}

/// What goes with a cluster.
public struct ClusterRemoval: Codable, Sendable, Equatable {
    public var cluster: String
    /// Nodes whose revoked agents are in no list any more.
    public var agents: [String]
    /// Join tokens that are void.
    public var tokens: Int
    public init(cluster: String, agents: [String], tokens: Int) {
        self.cluster = cluster
        self.agents = agents
        self.tokens = tokens
    }
}
