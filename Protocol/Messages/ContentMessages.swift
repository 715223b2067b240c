/// What is in a stored snapshot, asked by operators. Listings are streams of messages, each far below a frame's limit.
extension ControlMethod {
    public static let listKeys = "snapshot.keys"
    public static let compareSnapshots = "snapshot.diff"
    public static let showValue = "snapshot.value"
}

/// Answered with messages `KeysPart`, sorted by key, then `end` with the snapshot's `SnapshotEntry`.
public struct KeysRequest: Codable, Sendable {
    public var snapshot: String
    public var prefix: String
    public init(snapshot: String, prefix: String) {
        self.snapshot = snapshot
        self.prefix = prefix
    }
}

/// A live key, without its value.
public struct KeyRecord: Codable, Sendable, Equatable {
    /// As text; bytes that are not UTF-8 are replaced.
    public var key: String
    /// The key itself where it is not UTF-8.
    public var keyBase64: String?
    /// The key is longer than `keyLimit`, and only its beginning is told.
    public var isCut: Bool?
    public var createRevision: Int64
    public var modRevision: Int64
    public var version: Int64
    /// Lower-case hexadecimal, as etcd prints it; nil without one.
    public var lease: String?
    /// Bytes of its value.
    public var size: Int

    /// Kubernetes has no key of a tenth of this; a message has to end somewhere.
    public static let keyLimit = 16 << 10

    public init(
        key: String, keyBase64: String?, isCut: Bool?, createRevision: Int64, modRevision: Int64, version: Int64,
        lease: String?, size: Int
    ) {
        self.key = key
        self.keyBase64 = keyBase64
        self.isCut = isCut
        self.createRevision = createRevision
        self.modRevision = modRevision
        self.version = version
        self.lease = lease
        self.size = size
    }
}

public struct KeysPart: Codable, Sendable {
    public var keys: [KeyRecord]
    public init(keys: [KeyRecord]) { self.keys = keys }
}

/// Answered with messages `DiffPart`: the totals first, then the groups, then, if they are wanted, the keys, sorted.
/// Then `end` with `{}`.
public struct DiffRequest: Codable, Sendable {
    public var from: String
    public var to: String
    public var prefix: String
    /// False: the counts are enough.
    public var wantsKeys: Bool
    public init(from: String, to: String, prefix: String, wantsKeys: Bool) {
        self.from = from
        self.to = to
        self.prefix = prefix
        self.wantsKeys = wantsKeys
    }
}

public struct DiffCounts: Codable, Sendable, Equatable {
    public var added: Int
    public var changed: Int
    public var removed: Int
    public init(added: Int, changed: Int, removed: Int) {
        self.added = added
        self.changed = changed
        self.removed = removed
    }
}

public struct DiffTotals: Codable, Sendable {
    public var from: SnapshotEntry
    public var to: SnapshotEntry
    public var counts: DiffCounts
    public var unchanged: Int
    public init(from: SnapshotEntry, to: SnapshotEntry, counts: DiffCounts, unchanged: Int) {
        self.from = from
        self.to = to
        self.counts = counts
        self.unchanged = unchanged
    }
}

/// A kind of Kubernetes in a namespace.
public struct DiffGroup: Codable, Sendable, Equatable {
    public var kind: String
    /// "" for what has no namespace.
    public var namespace: String
    public var counts: DiffCounts
    public init(kind: String, namespace: String, counts: DiffCounts) {
        self.kind = kind
        self.namespace = namespace
        self.counts = counts
    }
}

/// A key that differs: as it is in the newer snapshot, or was in the older one where it was removed.
public struct DiffKey: Codable, Sendable, Equatable {
    /// "added", "changed", "removed".
    public var change: String
    public var key: KeyRecord
    public init(change: String, key: KeyRecord) {
        self.change = change
        self.key = key
    }
}

public struct DiffPart: Codable, Sendable {
    public var totals: DiffTotals?
    public var groups: [DiffGroup]?
    public var keys: [DiffKey]?
    public init(totals: DiffTotals? = nil, groups: [DiffGroup]? = nil, keys: [DiffKey]? = nil) {
        self.totals = totals
        self.groups = groups
        self.keys = keys
    }
}

/// Answered with the value as data, then `end` with the key's `KeyRecord`. Every one of these is audited.
public struct ValueRequest: Codable, Sendable {
    public var snapshot: String
    public var key: String
    /// Without it, what may be a Secret's value is refused.
    public var showSecrets: Bool
    public init(snapshot: String, key: String, showSecrets: Bool) {
        self.snapshot = snapshot
        self.key = key
        self.showSecrets = showSecrets
    }
}
