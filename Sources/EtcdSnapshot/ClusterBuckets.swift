internal import FleetSystem

/// Reads the small buckets: meta, lease, alarm, cluster, members, auth (etcd `server/storage/schema`). What is not as
/// etcd writes it is a finding, and is left out.
struct ClusterBuckets {
    /// Members and alarms that are listed; a cluster has at most a dozen.
    static let limit = 1000
    /// Longest text or JSON that is looked at.
    private static let textLimit = 64 << 10

    private(set) var facts = ClusterFacts()

    mutating func visit(_ entry: borrowing Entry, _ findings: inout Findings) {
        guard !entry.isBucket else {
            return findings.add(.bucket, page: entry.page, bucket: entry.bucket, "a bucket where only values may be")
        }
        let problem: String? =
            switch entry.bucket {
            case "meta": meta(entry)
            case "lease": lease(entry)
            case "alarm": alarm(entry)
            case "cluster": cluster(entry)
            case "members": member(entry)
            case "members_removed": removed(entry)
            case "auth": auth(entry)
            case "authUsers": named(entry, \.users)
            case "authRoles": named(entry, \.roles)
            // A later etcd's, about which nothing is known but that it counts for the hash.
            default: nil
            }
        if let problem { findings.add(.encoding, page: entry.page, bucket: entry.bucket, problem) }
    }

    private mutating func meta(_ entry: borrowing Entry) -> String? {
        let name = Self.text(entry.key)
        switch name {
        case "consistent_index", "term":
            guard entry.value.count == 8 else { return "\(name) has \(entry.value.count) bytes, not 8" }
            let number = entry.value.bigEndian64(0)
            if name == "term" { facts.term = number } else { facts.consistentIndex = number }
        case "scheduledCompactRev", "finishedCompactRev":
            guard let revision = Revision(entry.value), !revision.isTombstone else {
                return "\(name) is not a revision"
            }
            if name == "finishedCompactRev" {
                facts.finishedCompaction = revision.main
            } else {
                facts.scheduledCompaction = revision.main
            }
        case "storageVersion":
            guard let version = Self.version(entry.value) else { return "\(name) is not a version" }
            facts.storageVersion = version
        case "confState":
            guard Self.isJSONObject(entry.value) else { return "\(name) is not a JSON object" }
        default: break
        }
        return nil
    }

    /// Key: id u64 big-endian. Value: 1 id, 2 TTL, 3 remaining TTL.
    private mutating func lease(_ entry: borrowing Entry) -> String? {
        guard entry.key.count == 8 else { return "a lease's key has \(entry.key.count) bytes, not 8" }
        facts.leases += 1
        let id = entry.key.bigEndian64(0)
        guard let fields = Self.numbers(entry.value, upTo: 3) else { return "lease \(hex(id)) is not a Lease message" }
        return fields[1] == id ? nil : "lease \(hex(id)) says that it is \(hex(fields[1]))"
    }

    /// Key: 1 member, 2 alarm. No value.
    private mutating func alarm(_ entry: borrowing Entry) -> String? {
        guard let fields = Self.numbers(entry.key, upTo: 2), entry.value.isEmpty else { return "not an alarm" }
        let name = fields[2] == 1 ? "NOSPACE" : fields[2] == 2 ? "CORRUPT" : String(fields[2])
        if facts.alarms.count < Self.limit { facts.alarms.append(SnapshotAlarm(member: hex(fields[1]), alarm: name)) }
        return nil
    }

    private mutating func cluster(_ entry: borrowing Entry) -> String? {
        switch Self.text(entry.key) {
        case "clusterVersion":
            guard let version = Self.version(entry.value) else { return "clusterVersion is not a version" }
            facts.clusterVersion = version
        case "downgrade":
            guard Self.isJSONObject(entry.value) else { return "downgrade is not a JSON object" }
        default: break
        }
        return nil
    }

    private mutating func member(_ entry: borrowing Entry) -> String? {
        struct Stored: Decodable {
            var id: UInt64
            var peerURLs: [String]?
            var isLearner: Bool?
            var name: String?
            var clientURLs: [String]?
        }
        let key = Self.text(entry.key)
        guard entry.value.count <= Self.textLimit, let stored = try? JSON.decode(Stored.self, from: entry.value) else {
            return "member \(Self.name(key)) is not a member's JSON"
        }
        guard hex(stored.id) == key else { return "member \(Self.name(key)) says that it is \(hex(stored.id))" }
        guard facts.members.count < Self.limit else { return "more than \(Self.limit) members" }
        facts.members.append(
            SnapshotMember(
                id: key, name: stored.name ?? "", peerURLs: stored.peerURLs ?? [], clientURLs: stored.clientURLs ?? [],
                isLearner: stored.isLearner ?? false))
        return nil
    }

    private mutating func removed(_ entry: borrowing Entry) -> String? {
        let key = Self.text(entry.key)
        guard let id = UInt64(key, radix: 16), hex(id) == key, Self.text(entry.value) == "removed" else {
            return "not a removed member"
        }
        facts.removedMembers += 1
        return nil
    }

    private mutating func auth(_ entry: borrowing Entry) -> String? {
        switch Self.text(entry.key) {
        case "authEnabled":
            guard entry.value.count == 1, entry.value[0] < 2 else { return "authEnabled is neither 0 nor 1" }
            facts.auth.enabled = entry.value[0] == 1
        case "authRevision":
            guard entry.value.count == 8 else { return "authRevision has \(entry.value.count) bytes, not 8" }
            facts.auth.revision = entry.value.bigEndian64(0)
        default: break
        }
        return nil
    }

    /// A user or a role: the message's first field is the name, which is the key too.
    private mutating func named(_ entry: borrowing Entry, _ counter: WritableKeyPath<SnapshotAuth, Int>) -> String? {
        facts.auth[keyPath: counter] += 1
        var reader = ProtoReader(entry.value)
        var name: UnsafeRawBufferPointer?
        do {
            while let (field, value) = try reader.next() {
                if case (1, .bytes(_, let bytes)) = (field, value) { name = bytes }
            }
        } catch { return "not a message" }
        return name.map { entry.key.equals($0) } ?? false ? nil : "its name is not its key"
    }

    /// The varint fields 1 to `last` by number, 0 where one is missing; nil when there is anything else.
    private static func numbers(_ message: UnsafeRawBufferPointer, upTo last: Int) -> [UInt64]? {
        var reader = ProtoReader(message)
        var numbers = [UInt64](repeating: 0, count: last + 1)
        do {
            while let (field, value) = try reader.next() {
                guard case .varint(let number) = value, field <= UInt64(last) else { return nil }
                numbers[Int(field)] = number
            }
        } catch { return nil }
        return numbers
    }

    /// "3.5.0", with what semver allows behind it.
    private static func version(_ bytes: UnsafeRawBufferPointer) -> String? {
        let text = text(bytes)
        let parts = text.split(separator: "-", maxSplits: 1)[...].first?.split(
            separator: ".", omittingEmptySubsequences: false)
        guard let parts, parts.count == 3, parts.allSatisfy({ UInt16($0) != nil }) else { return nil }
        return text
    }

    private static func isJSONObject(_ bytes: UnsafeRawBufferPointer) -> Bool {
        struct Anything: Decodable {}
        return bytes.first == UInt8(ascii: "{") && bytes.count <= textLimit
            && (try? JSON.decode(Anything.self, from: bytes)) != nil
    }

    /// An id, or a word in its place: findings are logged, and in a damaged file any bytes may stand anywhere.
    private static func name(_ key: String) -> String { UInt64(key, radix: 16) == nil ? "(no id)" : key }

    private static func text(_ bytes: UnsafeRawBufferPointer) -> String {
        String(decoding: bytes.prefix(textLimit), as: UTF8.self)
    }
}

/// etcd's ids: lower-case hexadecimal without leading zeros.
private func hex(_ id: UInt64) -> String { String(id, radix: 16) }
