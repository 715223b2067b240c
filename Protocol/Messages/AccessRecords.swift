public import FleetSystem

/// What a join token or a certificate lets its holder be.
public enum Role: String, Codable, Sendable { case agent, `operator` }

/// What an operator may do. Each may all that the ones before it may.
public enum OperatorRole: String, Codable, Sendable, CaseIterable, Comparable {
    /// See, but nothing of what is in a snapshot.
    case viewer
    /// Back up, drill, import and pin; see the names of keys.
    case `operator`
    /// Restore, undo, replace a member, approve what another planned; take snapshots out, values included.
    case restorer
    /// Clusters, agents, policies, retention, and what deletes.
    case admin

    public static func < (one: OperatorRole, other: OperatorRole) -> Bool { one.rank < other.rank }
    public static var names: String { allCases.map(\.rawValue).joined(separator: ", ") }
    private var rank: Int { Self.allCases.firstIndex(of: self) ?? 0 }
}

/// Some of a fleet's clusters.
public struct ClusterSelector: Codable, Sendable, Equatable {
    /// By name; with `labels`, one of the two is enough. Neither: every cluster.
    public var clusters: [String]
    /// All of them, with these values.
    public var labels: [String: String]

    public init(clusters: [String] = [], labels: [String: String] = [:]) {
        self.clusters = clusters
        self.labels = labels
    }

    public var isEverything: Bool { clusters.isEmpty && labels.isEmpty }

    public func selects(_ cluster: String, labels present: [String: String]) -> Bool {
        isEverything || clusters.contains(cluster)
            || !labels.isEmpty && labels.allSatisfy { present[$0.key] == $0.value }
    }

    /// "cluster-a,env=production", as it is written on a command line.
    public var text: String {
        (clusters + labels.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }).joined(separator: ",")
    }

    /// What has a '=' in it is a label, all else the name of a cluster.
    ///
    /// - Throws: `usage`.
    public init(_ text: String) throws(FleetError) {
        self.init()
        for word in text.split(separator: ",", omittingEmptySubsequences: false) {
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            if parts.count == 1, Names.isValid(parts[0]) {
                clusters.append(parts[0])
            } else if parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty, labels[parts[0]] == nil {
                labels[parts[0]] = parts[1]
            } else {
                throw FleetError(
                    .usage,
                    "\(Names.quote(text)) selects no clusters: \(Names.quote(String(word))) is neither name nor label",
                    hint: "give names, labels or both, as in cluster-a,cluster-b or env=production,region=eu")
            }
        }
    }
}

public struct OperatorRecord: Codable, Sendable, Equatable {
    public var name: String
    public var created: Timestamp
    /// The newest certificate; nil: has not logged in yet.
    public var certificate: CertificateRecord?
    public var access: OperatorAccess?

    public init(name: String, created: Timestamp, certificate: CertificateRecord?, access: OperatorAccess?) {
        self.name = name
        self.created = created
        self.certificate = certificate
        self.access = access
    }
}

/// Who may do what, and to which clusters.
public struct OperatorAccess: Codable, Sendable, Equatable {
    public var role: OperatorRole
    public var clusters: ClusterSelector

    public init(role: OperatorRole, clusters: ClusterSelector = ClusterSelector()) {
        self.role = role
        self.clusters = clusters
    }

    /// "restorer on env=production"
    public var text: String { "\(role.rawValue) on \(clusters.isEverything ? "all clusters" : clusters.text)" }
}

extension ControlMethod {
    /// Makes an operator known, without a certificate.
    public static let addOperator = "operator.add"
    /// Gives another role or other clusters, at once.
    public static let setOperator = "operator.set"
    /// Who asks, as the coordinator sees it.
    public static let whoAmI = "whoami"
}

public struct OperatorChange: Codable, Sendable {
    public var name: String
    /// nil: stays as it is.
    public var role: OperatorRole?
    public var clusters: ClusterSelector?

    public init(name: String, role: OperatorRole?, clusters: ClusterSelector?) {
        self.name = name
        self.role = role
        self.clusters = clusters
    }
}

public struct WhoAmIReply: Codable, Sendable {
    /// "operator:alice", or "root" on the coordinator's host.
    public var actor: String
    /// nil: everything, as on the coordinator's host.
    public var access: OperatorAccess?
    /// Of the fleet's clusters, those that `access` selects now; nil: all.
    public var clusters: [String]?

    public init(actor: String, access: OperatorAccess?, clusters: [String]?) {
        self.actor = actor
        self.access = access
        self.clusters = clusters
    }
}
