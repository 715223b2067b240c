internal import FleetSystem

/// etcd's HashKV (`mvcc/hash.go`, `etcdctl endpoint hashkv`): CRC-32C over "key", then key and value of every entry in
/// order, but for those that a compaction may or may not have removed yet. Two members, or a snapshot and its source,
/// have the same data if both the revision and the compact revision are equal, and the hash is.
struct HashKV: Equatable {
    var hash: UInt32
    /// The revision it is of: the newest.
    var revision: Int64
}

/// Also collects what else only the live entries tell: they are not known before all have gone by once.
struct HashKVPass: EntryVisitor {
    let compactRevision: Int64
    /// The live entries, by position; none: nothing is passed over for being old, as etcd does it.
    let live: Bitmap
    let hasLive: Bool
    private(set) var checksum = CRC32C()
    private(set) var oldest = OldestKeysCollector()
    private(set) var values = LiveValues()
    private var position: UInt64 = 0

    init(compactRevision: Int64, live: Bitmap, hasLive: Bool) {
        self.compactRevision = compactRevision
        self.live = live
        self.hasLive = hasLive
        checksum.update(Array(KeyBucket.name.utf8))
    }

    mutating func visit(_ entry: borrowing Entry, _ findings: inout Findings) {
        defer { position += 1 }
        guard let revision = Revision(entry.key) else { return }
        if hasLive, live.contains(position), let record = try? KeyValue(entry.value) {
            oldest.add(record)
            values.note(record)
        }
        if revision.main <= compactRevision, hasLive, !live.contains(position) { return }
        // Compaction removed the deletion at the very revision it was asked for until 3.5.15 and 3.4.33, later not.
        if revision.main == compactRevision, revision.isTombstone { return }
        checksum.update(entry.key)
        checksum.update(entry.value)
    }
}
