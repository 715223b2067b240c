/// Versions of etcd whose data or snapshots are in doubt, as a table: which versions, what happens, where it was fixed.
/// Sources are etcd's changelogs and issue threads.
enum KnownProblems {
    struct Problem: Sendable {
        /// For each minor series the last affected patch; from `first` on where not all of it is.
        var affected: [Range]
        var text: String
        var reference: String

        /// nil for a version that does not have it.
        func warning(for version: EtcdVersion) -> String? {
            let has = affected.contains {
                version.major == 3 && $0.minor == version.minor && ($0.first...$0.last).contains(version.patch)
            }
            return has ? "etcd \(version): \(text) (\(reference))" : nil
        }
    }
    struct Range: Sendable {
        var minor: Int
        var first: Int
        var last: Int
        init(_ minor: Int, _ first: Int = 0, upTo last: Int) {
            (self.minor, self.first, self.last) = (minor, first, last)
        }
    }

    /// One line for each problem that the version has, the gravest first.
    static func warnings(for version: EtcdVersion) -> [String] {
        table.compactMap { $0.warning(for: version) }
    }

    /// What the version makes of a learner that becomes a voter.
    static func promotion(_ version: EtcdVersion) -> String? { lostPromotion.warning(for: version) }

    private static let lostPromotion = Problem(
        affected: [.init(5, upTo: 19)],
        text: "a learner's promotion may not be kept in its database: go to 3.5.24 or later before 3.6",
        reference: "etcd-io/etcd#19557")

    private static let all = Int.max

    static let table: [Problem] = [
        .init(
            affected: [.init(5, upTo: 2)], text: "a crash can make members differ silently; move to 3.5.3 or later",
            reference: "etcd-io/etcd#13766"),
        .init(
            affected: [.init(6, upTo: 4), .init(5, upTo: 22), .init(4, upTo: 37)],
            text: "a snapshot taken while the database file is replaced can be bad", reference: "etcd-io/bbolt#1058"),
        .init(
            affected: [.init(6, upTo: 4), .init(5, upTo: 22), .init(4, upTo: 37)],
            text: "a defragmentation beside an incoming snapshot can corrupt the data", reference: "etcd-io/etcd#20271"),
        .init(
            affected: [.init(5, upTo: 2)], text: "a snapshot's consistent index can be overwritten by an older one",
            reference: "etcd-io/etcd#13933"),
        .init(
            affected: [.init(5, upTo: 4), .init(4, upTo: 20)],
            text: "a cluster of one can lose acknowledged writes in a crash", reference: "etcd-io/etcd#14370"),
        .init(
            affected: [.init(5, upTo: 5)], text: "a crash during a defragmentation makes members differ",
            reference: "etcd-io/etcd#14685"),
        .init(
            affected: [.init(5, 5, upTo: 5), .init(4, 21, upTo: 21)],
            text: "with authentication on, members can differ after a snapshot between them",
            reference: "etcd-io/etcd#14571"),
        .init(
            affected: [.init(5, upTo: 4), .init(4, upTo: 20)], text: "authentication data is not loaded at start",
            reference: "etcd-io/etcd#14355"),
        .init(
            affected: [.init(5, upTo: 13), .init(4, upTo: 31)],
            text: "the revision can go backward after a crash in a compaction", reference: "etcd-io/etcd#17780"),
        .init(
            affected: [.init(5, upTo: 12), .init(4, upTo: 30)],
            text: "leases can be revoked by an old leader, which deletes their keys", reference: "etcd-io/etcd#15247"),
        .init(
            affected: [.init(5, upTo: 15), .init(4, upTo: 33)],
            text: "a deletion at the compacted revision can be lost to watchers", reference: "etcd-io/etcd#18089"),
        .init(
            affected: [.init(5, upTo: 25)], text: "go to 3.5.26 or later before 3.6, or removed members can come back",
            reference: "etcd-io/etcd#20967"),
        lostPromotion,
        .init(
            affected: [.init(4, upTo: 7)], text: "members can apply changes of authentication differently",
            reference: "etcd-io/etcd#11651"),
        .init(
            affected: [.init(4, upTo: 3)], text: "a defragmentation can take up an old temporary database",
            reference: "etcd-io/etcd#11613"),
        .init(
            affected: [.init(4, upTo: 19)], text: "a lease with a negative id makes members differ",
            reference: "etcd-io/etcd#14239"),
        .init(
            affected: [.init(4, upTo: all)],
            text: "its `snapshot restore` leaves the old members in the data; etcd 3.4 gets no corrections any more",
            reference: "etcd-io/etcd#20967"),
    ]
}
