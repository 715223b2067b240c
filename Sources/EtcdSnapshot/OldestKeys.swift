internal import FleetCrypto
internal import FleetSystem

/// The live keys that were created first. A key that is alive and was created at a revision was alive, created at that same one,
/// at each revision since; so what a later snapshot of the same history has of these, an earlier one has too.
public struct OldestKeys: Codable, Sendable, Equatable {
    public struct Birth: Codable, Sendable, Hashable {
        public var revision: Int64
        /// The first 4 bytes of the key's SHA-256, in lower-case hexadecimal: what tells keys apart, not what they are called.
        public var key: String
    }

    /// By revision, at most `limit` of them.
    public var births: [Birth]
    /// Every live key that was created up to this revision is among them.
    public var through: Int64

    static let limit = 16
}

/// Finds them while the live entries go by, in whatever order they were created.
struct OldestKeysCollector {
    /// By revision; one more than is kept tells where the rest begins.
    private var first: [OldestKeys.Birth] = []

    mutating func add(_ record: borrowing KeyValue) {
        // The mark of a bumped revision has neither.
        guard record.createRevision > 0, !record.key.isEmpty else { return }
        let revision = record.createRevision
        let isFull = first.count > OldestKeys.limit
        if isFull, revision >= first[first.count - 1].revision { return }
        if isFull { first.removeLast() }
        let place = first.firstIndex { $0.revision > revision } ?? first.count
        let key = SHA256.hash(Array(record.key)).prefix(4).hex
        first.insert(OldestKeys.Birth(revision: revision, key: key), at: place)
    }

    /// - Parameter newest: the snapshot's revision, of which another part may be in the next one.
    func result(newest: Int64) -> OldestKeys {
        var through = newest - 1
        // Of those that were created together, all or none.
        if first.count > OldestKeys.limit { through = min(through, first[first.count - 1].revision - 1) }
        return OldestKeys(births: first.filter { $0.revision <= through }, through: through)
    }
}
