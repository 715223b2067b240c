public import FleetSystem

/// How two snapshots differ in their live keys.
public struct SnapshotDiff: Codable, Sendable, Equatable {
    public enum Change: String, Codable, Sendable { case added, changed, removed }

    public struct Counts: Codable, Sendable, Equatable {
        public var added = 0
        public var changed = 0
        public var removed = 0

        mutating func count(_ change: Change) {
            switch change {
            case .added: added += 1
            case .changed: changed += 1
            case .removed: removed += 1
            }
        }
    }

    /// A kind of Kubernetes in a namespace.
    public struct Group: Codable, Sendable, Equatable {
        public var kind: String
        public var namespace: String
        public var counts: Counts
    }

    public var total = Counts()
    /// Sorted by kind and namespace, only those with differences.
    public var groups: [Group] = []
    /// Keys that are the same in both.
    public var unchanged = 0

    /// So many groups are told apart; what is in others is counted as "(more)".
    static let groupLimit = 20_000

    /// Compares the live keys that begin with `prefix`. A key has changed when its revisions, version, lease or value
    /// differ; a key that was written again with the same value has changed too, as a watcher would see it.
    ///
    /// Cost: at least one walk over each bucket and, for keys that are in both with the same revisions, a look at both
    /// values; 64 MB for each of the two at most, whatever their size. Damaged parts of a tree are passed over.
    /// - Parameter each: called for every difference, in no order.
    /// - Throws: `limit` for more than some 100 million keys, what the sources throw, and what `each` throws.
    public init(
        from old: SnapshotReader, to new: SnapshotReader, prefix: [UInt8] = [],
        _ each: (Change, LiveKey) throws(FleetError) -> Void = { _, _ in }
    ) throws(FleetError) {
        var groups: [KubernetesName: Counts] = [:]
        try Comparison(old: old, new: new, prefix: prefix).run { change, key throws(FleetError) in
            guard let change else {
                unchanged += 1
                return
            }
            total.count(change)
            var name = KubernetesName(key: key.key)
            if groups[name] == nil, groups.count >= Self.groupLimit {
                name = KubernetesName(kind: "(more)", namespace: "")
            }
            groups[name, default: Counts()].count(change)
            try each(change, key)
        }
        self.groups = groups.sorted { $0.key < $1.key }.map {
            Group(kind: $0.key.kind, namespace: $0.key.namespace, counts: $0.value)
        }
    }
}

/// The comparison itself: both snapshots' keys are put into hash tables, part of all hashes after part, and each table is
/// looked through for what the other has not.
private struct Comparison {
    let old: SnapshotReader
    let new: SnapshotReader
    let prefix: [UInt8]

    /// nil for a change: the key is the same.
    typealias Each = (SnapshotDiff.Change?, LiveKey) throws(FleetError) -> Void

    func run(_ each: Each) throws(FleetError) {
        let (oldKeys, newKeys) = (try old.keyBucket(), try new.keyBucket())
        var before = LiveIndex(old.source, slotLimit: old.slotLimit)
        while true {
            if let oldKeys { before = try old.fill(before, oldKeys, prefix) }
            var after = before.sibling(new.source)
            if let newKeys { after = try new.fill(after, newKeys, prefix) }
            guard !before.isOverfull, !after.isOverfull else { throw .tooManyKeys }
            if after.scope != before.scope {
                // The new one has more keys and had to halve its part: the old one takes the same.
                before.begin(after.scope)
                continue
            }
            try compare(before, after, each)
            guard before.advance() else { return }
        }
    }

    private func compare(_ before: LiveIndex, _ after: LiveIndex, _ each: Each) throws(FleetError) {
        for slot in before.inFileOrder {
            try old.record(slot) { was, key throws(FleetError) in
                let other = after.slots[try after.find(was.key, slot.hash)]
                guard !other.isEmpty, !other.isTombstone else { return try each(.removed, key) }
                try new.record(other) { now, newKey throws(FleetError) in
                    try each(was.isSame(as: now) ? nil : .changed, newKey)
                }
            }
        }
        for slot in after.inFileOrder {
            try new.record(slot) { now, key throws(FleetError) in
                let other = before.slots[try before.find(now.key, slot.hash)]
                if other.isEmpty || other.isTombstone { try each(.added, key) }
            }
        }
    }
}

extension SnapshotReader {
    /// The entry that a slot is the place of.
    fileprivate func record(
        _ slot: LiveIndex.Slot, _ body: (KeyValue, LiveKey) throws(FleetError) -> Void
    ) throws(FleetError) {
        try source.read(at: Int(slot.offset), count: Int(slot.length)) { message throws(FleetError) in
            guard let record = try? KeyValue(message) else { return }
            try body(record, LiveKey(record, valueOffset: Int(slot.offset)))
        }
    }
}

extension KeyValue {
    fileprivate func isSame(as other: KeyValue) -> Bool {
        modRevision == other.modRevision && createRevision == other.createRevision && version == other.version
            && lease == other.lease && value.equals(other.value)
    }
}
