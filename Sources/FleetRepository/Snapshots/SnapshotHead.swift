import FleetSystem

/// A pack that a snapshot needs, and how long its file is.
struct PackReference: Equatable, Sendable {
    var id: PackID
    var length: Int64
}

/// All of a snapshot but its page map.
public struct SnapshotHead: Sendable {
    public var id: String
    /// Snapshots of one lineage, a cluster's, resemble each other and share pages.
    public var lineage: String
    /// Who of the lineage it comes from: members store the same data on other pages.
    public var member: String
    /// Milliseconds since 1970, when it was committed.
    public var created: Int64
    /// Bytes of the whole file.
    public var length: Int64
    /// What the owner keeps with it; nothing to the repository.
    public var payload: [UInt8]
    /// The snapshot whose page map this one's builds on, and how many there are below it.
    var parent: String?
    var chain: Int
    /// Every pack that is needed to read it, in the order of the map's numbers.
    var packs: [PackReference]
    /// Which of them came with it, and how much of it; nil where nothing was new.
    var own: PackID?
    /// What follows the last whole page: etcd's digest.
    var tail: [UInt8]

    var pageCount: Int { Int(length) / pageLength }
    /// A map is read through at most this many others.
    static let maximumChain = 16
    static let tailLimit = pageLength

    func encoded() -> [UInt8] {
        var out = ByteWriter()
        out.text(lineage)
        out.text(member)
        out.fixed(UInt64(bitPattern: created))
        out.varint(UInt64(length))
        out.text(parent ?? "")
        out.varint(chain)
        out.varint(packs.count)
        for pack in packs {
            out.raw(pack.id.bytes)
            out.varint(UInt64(pack.length))
        }
        out.block(own?.bytes ?? [])
        out.block(tail)
        out.block(payload)
        return out.bytes
    }

    static func decode(_ id: String, _ bytes: [UInt8]) throws(FleetError) -> SnapshotHead {
        var input = ByteReader(bytes)
        let (lineage, member) = (try input.text(), try input.text())
        let created = Int64(bitPattern: try input.fixed())
        let length = Int64(try input.count())
        let parent = try input.text()
        let chain = try input.count(limit: maximumChain)
        var packs: [PackReference] = []
        for _ in 0..<(try input.count(limit: 1 << 24)) {
            packs.append(PackReference(id: PackID(try input.raw(16)), length: Int64(try input.count(limit: 1 << 50))))
        }
        let own = try input.block()
        guard own.isEmpty || own.count == 16 else { throw damaged("a pack's name is not one") }
        let tail = try input.block()
        let head = SnapshotHead(
            id: id, lineage: lineage, member: member, created: created, length: length,
            payload: try input.block(), parent: parent.isEmpty ? nil : parent, chain: chain, packs: packs,
            own: own.isEmpty ? nil : PackID(own), tail: tail)
        try input.finish()
        guard head.pageCount * pageLength + tail.count == Int(length), tail.count < tailLimit else {
            throw damaged("the length is not that of its pages and its tail")
        }
        return head
    }
}
