public import FleetSystem

/// A user key as it is at the snapshot's revision.
public struct LiveKey: Sendable, Equatable {
    public var key: [UInt8]
    public var createRevision: Int64
    public var modRevision: Int64
    public var version: Int64
    /// 0: none.
    public var lease: Int64
    /// Where its value is in the snapshot; read it with `value(of:)`.
    public var valueRange: Range<Int>

    /// The key as text; bytes that are not UTF-8 become replacement characters.
    public var name: String { String(decoding: key, as: UTF8.self) }
}

/// Marks on the entries of the bucket `key` of one snapshot.
public struct LiveEntries: Sendable {
    var marks = Bitmap()
}

extension SnapshotReader {
    /// Calls `body` for every live key that begins with `prefix`, in the order of modification (the order of the file).
    ///
    /// Cost: two walks over the bucket, more beyond 786,000 keys with this prefix; one bit an entry and
    /// at most 64 MB for the keys. A damaged part of the tree is passed over: `report()` says whether there is one.
    /// - Throws: `limit` for more than some 100 million keys, what the source throws, and what `body` throws.
    public func forEachLiveKey(
        prefix: [UInt8] = [], _ body: (LiveKey) throws(FleetError) -> Void
    ) throws(FleetError) {
        try forEach(try liveEntries(prefix: prefix), body)
    }

    /// Which entries are the live keys that begin with `prefix`: one bit an entry, to go through them more than once.
    public func liveEntries(prefix: [UInt8] = []) throws(FleetError) -> LiveEntries {
        var live = LiveEntries()
        guard let bucket = try keyBucket() else { return live }
        var index = LiveIndex(source, slotLimit: slotLimit)
        repeat {
            index = try fill(index, bucket, prefix)
            guard !index.isOverfull else { throw .tooManyKeys }
            _ = index.mark(&live.marks)
        } while index.advance()
        return live
    }

    /// One walk over the bucket, in the order of modification.
    public func forEach(
        _ live: LiveEntries, _ body: (LiveKey) throws(FleetError) -> Void
    ) throws(FleetError) {
        guard let bucket = try keyBucket() else { return }
        try withoutActuallyEscaping(body) { body throws(FleetError) in
            var pass = LivePass(live: live.marks, body: body)
            var walk = TreeWalk(source, layout)
            try walk.walk(bucket, &pass)
        }
    }

    /// The live keys that begin with `prefix`, sorted. Holds their keys, not their values, in memory.
    public func liveKeys(prefix: [UInt8] = []) throws(FleetError) -> [LiveKey] {
        var keys: [LiveKey] = []
        try forEachLiveKey(prefix: prefix) { key throws(FleetError) in keys.append(key) }
        return keys.sorted { $0.key.lexicographicallyPrecedes($1.key) }
    }

    /// One key; nil when it is not there, or was deleted. Cost: one walk over the bucket.
    public func liveKey(_ key: [UInt8]) throws(FleetError) -> LiveKey? {
        guard let bucket = try keyBucket() else { return nil }
        var pass = SearchPass(wanted: key)
        var walk = TreeWalk(source, layout)
        try walk.walk(bucket, &pass)
        return pass.newest
    }

    /// - Throws: `usage` for a range that is not of this snapshot.
    public func value(of key: LiveKey) throws(FleetError) -> [UInt8] {
        let range = key.valueRange
        guard range.lowerBound >= 0, range.upperBound <= source.length else {
            throw FleetError(.usage, "the key \(key.name.debugDescription) is of another snapshot")
        }
        var value: [UInt8] = []
        try source.read(at: range.lowerBound, count: range.count) { bytes throws(FleetError) in value = Array(bytes) }
        return value
    }

    /// One pass of an index over the bucket.
    func fill(_ index: consuming LiveIndex, _ bucket: BucketRoot, _ prefix: [UInt8]) throws(FleetError) -> LiveIndex {
        var pass = IndexPass(index: index, prefix: prefix)
        var walk = TreeWalk(source, layout)
        try walk.walk(bucket, &pass)
        return pass.index
    }
}

extension FleetError {
    static var tooManyKeys: FleetError {
        FleetError(
            .limit, "the snapshot has more keys than can be compared in bounded memory", hint: "give a longer prefix")
    }
}

extension LiveKey {
    init(_ record: KeyValue, valueOffset: Int) {
        let start = valueOffset + record.valueOffset
        self.init(
            key: Array(record.key), createRevision: record.createRevision, modRevision: record.modRevision,
            version: record.version, lease: record.lease,
            valueRange: record.value.isEmpty ? valueOffset..<valueOffset : start..<(start + record.value.count))
    }
}

/// Hands out the entries that are marked.
private struct LivePass: EntryVisitor {
    let live: Bitmap
    let body: (LiveKey) throws(FleetError) -> Void
    private var position: UInt64 = 0

    init(live: Bitmap, body: @escaping (LiveKey) throws(FleetError) -> Void) {
        self.live = live
        self.body = body
    }

    mutating func visit(_ entry: borrowing Entry, _ findings: inout Findings) throws(FleetError) {
        defer { position += 1 }
        guard live.contains(position), let record = try? KeyValue(entry.value) else { return }
        try body(LiveKey(record, valueOffset: entry.valueOffset))
    }
}

/// Remembers the newest entry of one key.
private struct SearchPass: EntryVisitor {
    let wanted: [UInt8]
    private(set) var newest: LiveKey?

    init(wanted: [UInt8]) { self.wanted = wanted }

    mutating func visit(_ entry: borrowing Entry, _ findings: inout Findings) {
        guard !entry.isBucket, let revision = Revision(entry.key), let record = try? KeyValue(entry.value),
            record.key.count == wanted.count, record.key.starts(with: wanted)
        else { return }
        newest = revision.isTombstone ? nil : LiveKey(record, valueOffset: entry.valueOffset)
    }
}
