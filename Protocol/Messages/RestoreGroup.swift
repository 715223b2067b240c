/// All members of a cluster that is restored as one: each agent is told of all, so that each can work out alone what
/// the restored cluster will be.
public struct RestoreGroup: Codable, Sendable, Equatable {
    public struct Member: Codable, Sendable, Equatable {
        /// The fleet's name of its node.
        public var node: String
        /// etcd's name of the member.
        public var name: String
        public var peerURLs: [String]
        /// Where nothing is restored anew: the id that it has already, lower-case hexadecimal.
        public var id: String?

        public init(node: String, name: String, peerURLs: [String], id: String? = nil) {
            self.node = node
            self.name = name
            self.peerURLs = peerURLs
            self.id = id
        }
    }

    /// The restore's id; each member's part in it is a job of its own.
    public var restore: String
    /// In the order of their names, the same on every node.
    public var members: [Member]
    /// As the members' ids.
    public var cluster: String?

    public init(restore: String, members: [Member], cluster: String? = nil) {
        self.restore = restore
        self.members = members
        self.cluster = cluster
    }

    /// The members go back to data that they had, and to its ids.
    public var isKnown: Bool { cluster != nil }

    /// New with each restore: old members can't join by mistake.
    public var token: String { "fleet-restore-\(restore)" }

    public var initialCluster: String {
        members.flatMap { member in member.peerURLs.map { "\(member.name)=\($0)" } }.joined(separator: ",")
    }

    public var memberIDs: [UInt64] { members.map { memberID($0) } }
    public var clusterID: UInt64 { Self.id(cluster) ?? MemberIdentity.cluster(members: memberIDs) }

    public func memberID(_ member: Member) -> UInt64 {
        Self.id(member.id) ?? MemberIdentity.member(peerURLs: member.peerURLs, token: token)
    }

    private static func id(_ text: String?) -> UInt64? { text.flatMap { UInt64($0, radix: 16) } }

    /// Whether it can be written as etcd's `--initial-cluster`, and means one member for each entry.
    public var isValid: Bool {
        func isPlain(_ text: String) -> Bool {
            !text.isEmpty && !text.hasPrefix("-")
                && text.utf8.allSatisfy { $0 > 32 && $0 < 127 && !",=".utf8.contains($0) }
        }
        let urls = members.flatMap(\.peerURLs)
        return Identifier.isValid(restore) && members.count > 1 && members.allSatisfy { !$0.peerURLs.isEmpty }
            && members.map(\.name).allSatisfy(isPlain) && urls.allSatisfy(isPlain)
            && Set(members.map(\.name)).count == members.count && Set(members.map(\.node)).count == members.count
            && Set(urls).count == urls.count
            && ([cluster] + members.map(\.id)).allSatisfy { isKnown ? Self.id($0) != nil : $0 == nil }
    }
}

/// What a restored member says of itself and of its cluster, before the restore is committed.
public struct MemberProof: Codable, Sendable, Equatable {
    /// Lower-case hexadecimal, as all ids here.
    public var memberID: String
    public var clusterID: String
    /// nil when there is none.
    public var leader: String?
    /// The cluster's members as this one knows them, in the order of their ids.
    public var members: [String]
    /// What was hashed up to: the snapshot's revision, which clients that write already do not move.
    public var revision: Int64
    public var hashKV: UInt32
    /// Hashes of one revision differ when something else was compacted.
    public var compactRevision: Int64

    public init(
        memberID: String, clusterID: String, leader: String?, members: [String], revision: Int64, hashKV: UInt32,
        compactRevision: Int64
    ) {
        self.memberID = memberID
        self.clusterID = clusterID
        self.leader = leader
        self.members = members
        self.revision = revision
        self.hashKV = hashKV
        self.compactRevision = compactRevision
    }
}
