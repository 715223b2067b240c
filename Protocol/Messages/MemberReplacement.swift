public import FleetSystem

/// One member of a live cluster is taken out and comes back empty: what it has to have, the others send it. No snapshot is
/// used, and nobody else's data is touched.
extension Operation {
    /// One act of a replacement on one node. The coordinator makes the next when it knows what became of the last; each
    /// looks first at what is there, so that an act that was cut off is done again by the same words.
    public struct Member: Codable, Sendable, Equatable {
        /// The whole that it is a part of.
        public var replacement: String
        public var act: Act
        /// Seconds that each wait may take.
        public var waitSeconds: Int

        public init(replacement: String, act: Act, waitSeconds: Int) {
            self.replacement = replacement
            self.act = act
            self.waitSeconds = waitSeconds
        }
    }

    public enum Act: Codable, Sendable, Equatable {
        /// Say what etcd on this node says of itself and of the cluster. Never fails: what is wrong is in the report.
        case look
        /// On the node of the member: plan, and try all that can fail. Unless `dryRun`, the plan is kept there.
        case plan(Joining, dryRun: Bool)
        /// There: stop etcd.
        case stop
        /// There: start it again as it was.
        case back
        /// Beside a healthy member: remove `member` (nil: none is listed) and add a learner with these peer URLs.
        case readmit(member: String?, name: String, peerURLs: [String])
        /// On the node of the member: etcd on a new directory as the member that was added.
        case join(member: String)
        /// Beside a healthy member: make it a voter, as soon as it has caught up.
        case promote(member: String)
        /// Say the hash of all keys up to a revision, behind a read that needs a quorum.
        case prove(revision: Int64)

        /// "stop"; for people and the audit log.
        public var name: String {
            switch self {
            case .look: "look"
            case .plan: "plan"
            case .stop: "stop"
            case .back: "back"
            case .readmit: "readmit"
            case .join: "join"
            case .promote: "promote"
            case .prove: "prove"
            }
        }
    }

    /// What a member has to know to join a cluster that is there.
    public struct Joining: Codable, Sendable, Equatable {
        /// All members behind the addition, as etcd's own option has them.
        public var initialCluster: String
        /// Bytes that the others have: so much comes to this node.
        public var databaseSize: Int64
        /// The cluster's etcd: this node's must not be older.
        public var etcdVersion: String
        /// The member that is removed, lower-case hexadecimal; nil where none is listed any more.
        public var member: String?

        public init(initialCluster: String, databaseSize: Int64, etcdVersion: String, member: String?) {
            self.initialCluster = initialCluster
            self.databaseSize = databaseSize
            self.etcdVersion = etcdVersion
            self.member = member
        }
    }
}

extension Operation.Member {
    /// Whether it can be written as words of etcdctl and etcd, and means what it says.
    public var isValid: Bool {
        func isPlain(_ text: String) -> Bool {
            !text.isEmpty && !text.hasPrefix("-")
                && text.utf8.allSatisfy { $0 > 32 && $0 < 127 && $0 != UInt8(ascii: ",") }
        }
        func isID(_ text: String) -> Bool { UInt64(text, radix: 16).map { String($0, radix: 16) == text } ?? false }
        guard Identifier.isValid(replacement), Operation.Restore.waitRange.contains(waitSeconds) else { return false }
        switch act {
        case .look, .stop, .back: return true
        case .plan(let joining, _):
            let entries = joining.initialCluster.split(separator: ",", omittingEmptySubsequences: false)
            return entries.count > 1 && entries.allSatisfy { isPlain(String($0)) && $0.contains("=") }
                && (0...1 << 40).contains(joining.databaseSize) && joining.member.map(isID) ?? true
        case .readmit(let member, let name, let peerURLs):
            return member.map(isID) ?? true && isPlain(name) && !name.contains("=") && !peerURLs.isEmpty
                && peerURLs.allSatisfy(isPlain)
        case .join(let member), .promote(let member): return isID(member)
        case .prove(let revision): return revision > 0
        }
    }
}

/// What etcd on a node says, or why it says nothing. Ids are lower-case hexadecimal.
public struct MemberReport: Codable, Sendable, Equatable {
    public struct Listed: Codable, Sendable, Equatable {
        public var id: String
        /// Empty until it has started once.
        public var name: String
        public var peerURLs: [String]
        public var isLearner: Bool

        public init(id: String, name: String, peerURLs: [String], isLearner: Bool) {
            self.id = id
            self.name = name
            self.peerURLs = peerURLs
            self.isLearner = isLearner
        }
    }

    /// As the node's configuration has them.
    public var name: String
    public var peerURLs: [String]
    /// Why etcd here can't be relied on; nil where it has just served a read that needs a quorum.
    public var problem: FleetError?
    /// The rest is nil where etcd did not answer.
    public var version: String?
    public var clusterID: String?
    public var memberID: String?
    /// nil without one.
    public var leader: String?
    public var isLearner: Bool?
    public var revision: Int64?
    public var databaseSize: Int64?
    public var members: [Listed]?
    /// Behind `readmit`: the member that was added.
    public var added: String?
    /// Behind `prove`.
    public var hashKV: UInt32?
    public var compactRevision: Int64?

    public init(name: String, peerURLs: [String]) {
        self.name = name
        self.peerURLs = peerURLs
    }
}

extension ControlMethod {
    public static let replaceMember = "member.replace"
}

public struct ReplaceRequest: Codable, Sendable {
    public var cluster: String
    public var node: String
    public var dryRun: Bool
    public var waitSeconds: Int
    public init(cluster: String, node: String, dryRun: Bool, waitSeconds: Int) {
        self.cluster = cluster
        self.node = node
        self.dryRun = dryRun
        self.waitSeconds = waitSeconds
    }
}
