internal import FleetCrypto

/// The ids that etcd gives a member and a cluster at a restore: known before anything is started
/// (etcdserver/membership: `NewMember`, `genID`).
public enum MemberIdentity {
    /// The first 8 bytes of SHA-1 over the sorted peer URLs and the cluster token.
    public static func member(peerURLs: [String], token: String) -> UInt64 {
        prefix(Array((peerURLs.sorted(by: bytewise).joined() + token).utf8))
    }

    /// The same over the members' ids in rising order, 8 bytes big-endian each.
    public static func cluster(members: [UInt64]) -> UInt64 {
        prefix(members.sorted().flatMap { id in (0..<8).map { UInt8(truncatingIfNeeded: id >> (56 - 8 * $0)) } })
    }

    private static func prefix(_ bytes: [UInt8]) -> UInt64 {
        SHA1.hash(bytes).prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// Go sorts strings by their bytes.
    private static func bytewise(_ a: String, _ b: String) -> Bool { a.utf8.lexicographicallyPrecedes(b.utf8) }
}
