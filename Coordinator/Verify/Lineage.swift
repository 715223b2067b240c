import FleetProtocol

/// Whether two snapshots of one etcd id can be of one history. An etcd that was bootstrapped anew under the same name and token
/// has the same id, and after a while a higher revision than before. Pure.
enum Lineage {
    enum Verdict: Equatable {
        /// The oldest keys of the later one were there in the earlier one. A copy that was restored by hand has those too.
        case isConsistent
        /// What the later one has had since before the earlier one was saved is not in that: never so in one history.
        case isAnother
        /// One of them is not sound, was stored before coordinators looked, or has no key that old.
        case isUnknown
    }

    static func compare(_ one: SnapshotRecord, _ other: SnapshotRecord) -> Verdict {
        let (earlier, later) = one.newestRevision < other.newestRevision ? (one, other) : (other, one)
        guard let former = earlier.verification, let latter = later.verification, former.isSound, latter.isSound,
            let known = former.oldestKeys, let now = latter.oldestKeys
        else { return .isUnknown }
        let common = now.births.filter { $0.revision <= known.through }
        guard !common.isEmpty else { return .isUnknown }
        return Set(known.births).isSuperset(of: common) ? .isConsistent : .isAnother
    }
}
