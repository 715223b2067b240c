import EtcdSnapshot
import FleetProtocol
import FleetSystem

/// Listings of what is in snapshots: sorted, of any length, in the memory of one page. Between pages nobody waits for
/// who reads the listing: a slow terminal holds its page and nothing else.
enum ContentListing {
    /// Bytes of keys in memory at once; a cluster of 50,000 keys is one page.
    static let pageBudget = 8 << 20
    /// Of one message; the protocol's limit is twice this.
    static let messageBudget = 56 << 10

    static func keys(
        _ look: SnapshotLook, prefix: [UInt8], budget: Int = pageBudget,
        each: ([KeyRecord]) async throws(FleetError) -> Void
    ) async throws(FleetError) {
        let live = try await look.take { reader throws(FleetError) in try reader.liveEntries(prefix: prefix) }
        var after: [UInt8]?
        while true {
            let (page, isLast) = try await look.take { [after] reader throws(FleetError) in
                var smallest = SmallestKeys<LiveKey>(after: after, budget: budget)
                try reader.forEach(live) { key throws(FleetError) in smallest.add(key.key, key) }
                let page = smallest.take()
                return (page.map(\.item), !smallest.isCut)
            }
            for part in parts(page.map { KeyRecord($0) }, size: \.messageSize) { try await each(part) }
            guard let last = page.last, !isLast else { return }
            after = last.key
        }
    }

    static func differences(
        _ old: SnapshotLook, _ new: SnapshotLook, prefix: [UInt8], wantsKeys: Bool, budget: Int = pageBudget,
        each: (DiffPart) async throws(FleetError) -> Void
    ) async throws(FleetError) {
        typealias Change = (change: SnapshotDiff.Change, key: LiveKey)
        var after: [UInt8]?
        while true {
            let (diff, page, isLast) = try await new.take(with: old) { [after] older, newer throws(FleetError) in
                var smallest = SmallestKeys<Change>(after: after, budget: budget)
                let diff = try SnapshotDiff(from: older, to: newer, prefix: prefix) { change, key throws(FleetError) in
                    if wantsKeys { smallest.add(key.key, (change, key)) }
                }
                let page = smallest.take()
                return (diff, page.map(\.item), !smallest.isCut)
            }
            if after == nil {
                let totals = DiffTotals(
                    from: old.entry, to: new.entry, counts: DiffCounts(diff.total), unchanged: diff.unchanged)
                try await each(DiffPart(totals: totals))
                let groups = diff.groups.map {
                    DiffGroup(
                        kind: Act.clip($0.kind, 256), namespace: Act.clip($0.namespace, 256),
                        counts: DiffCounts($0.counts))
                }
                for part in parts(groups, size: { 2 * ($0.kind.utf8.count + $0.namespace.utf8.count) + 100 }) {
                    try await each(DiffPart(groups: part))
                }
            }
            let keys = page.map { DiffKey(change: $0.change.rawValue, key: KeyRecord($0.key)) }
            for part in parts(keys, size: \.key.messageSize) { try await each(DiffPart(keys: part)) }
            guard let last = page.last, !isLast else { return }
            after = last.key.key
        }
    }

    /// Cut into pieces that fit in a message.
    private static func parts<Item>(_ items: [Item], size: (Item) -> Int) -> [[Item]] {
        var parts: [[Item]] = []
        var room = 0
        for item in items {
            let size = size(item)
            if room < size || parts.isEmpty {
                parts.append([])
                room = messageBudget
            }
            parts[parts.count - 1].append(item)
            room -= size
        }
        return parts
    }
}

extension KeyRecord {
    init(_ key: LiveKey) {
        let told = key.key.prefix(Self.keyLimit)
        let isText = String(validating: told, as: UTF8.self) != nil
        self.init(
            key: String(decoding: told, as: UTF8.self), keyBase64: isText ? nil : Array(told).base64,
            isCut: told.count < key.key.count ? true : nil, createRevision: key.createRevision,
            modRevision: key.modRevision, version: key.version,
            lease: key.lease == 0 ? nil : String(UInt64(bitPattern: key.lease), radix: 16),
            size: key.valueRange.count)
    }

    /// As JSON, at most: a control character takes six bytes there, a replacement character three.
    fileprivate var messageSize: Int {
        key.utf8.reduce(200) { $0 + ($1 < 32 || $1 == UInt8(ascii: "\"") || $1 == UInt8(ascii: "\\") ? 6 : 1) }
            + (keyBase64?.utf8.count ?? 0)
    }
}

extension DiffCounts {
    init(_ counts: SnapshotDiff.Counts) {
        self.init(added: counts.added, changed: counts.changed, removed: counts.removed)
    }
}
