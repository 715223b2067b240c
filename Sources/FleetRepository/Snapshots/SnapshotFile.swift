import FleetSystem

/// The file of a snapshot: header, the lengths of two sealed records (four bytes each, little-endian), head, map. The
/// name of a record has the snapshot's id in it, so a file that is copied under another name is found out.
enum SnapshotFile {
    private static let lengthsLength = 8
    /// What a reader takes in: bytes of a sealed record, and of a map's runs when they are unpacked.
    struct Limits {
        var record = 1 << 28
        var runs = 1 << 30
    }
    private static let limits = Limits()

    /// - Throws: `limit` for what could never be read again.
    static func encode(
        _ head: SnapshotHead, map: PageMap, parent: PageMap?, _ core: RepositoryCore, limits: Limits = Limits()
    ) throws(FleetError) -> [UInt8] {
        let sealing = SealedFile(.snapshot, core.keys)
        var plain = ByteWriter()
        PageMapCodec.encode(map, parent: parent, &plain)
        guard plain.bytes.count <= limits.runs else { throw tooLarge(head.id) }
        let sealedHead = sealing.seal(head.encoded(), "head of \(head.id)")
        let sealedMap = sealing.seal(try core.zstd.pack(plain.bytes, level: 6), "map of \(head.id)")
        guard max(sealedHead.count, sealedMap.count) <= limits.record else { throw tooLarge(head.id) }
        var out = ByteWriter(bytes: sealing.header)
        for length in [sealedHead.count, sealedMap.count] {
            withUnsafeBytes(of: UInt32(length).littleEndian) { out.bytes += $0 }
        }
        return out.bytes + sealedHead + sealedMap
    }

    private static func tooLarge(_ id: String) -> FleetError {
        FleetError(
            .limit, "the map of snapshot \(id) is larger than any reader would take",
            hint: "look at the size of the etcd that it comes from")
    }

    /// Only the head is read, whatever the map's length.
    static func head(_ id: String, _ core: RepositoryCore) throws(FleetError) -> SnapshotHead {
        let file = try opened(id, core)
        do throws(FleetError) {
            let start = try Start(try file.read(at: 0, count: SealedFile.headerLength + lengthsLength), core)
            return try start.head(id, file)
        } catch { throw error.during("snapshot \(id)") }
    }

    /// Head, and the map's runs as bytes.
    static func read(_ id: String, _ core: RepositoryCore) throws(FleetError) -> (SnapshotHead, ByteReader) {
        let file = try opened(id, core)
        do throws(FleetError) {
            let start = try Start(try file.read(at: 0, count: SealedFile.headerLength + lengthsLength), core)
            let head = try start.head(id, file)
            let place = SealedFile.headerLength + lengthsLength + start.headLength
            guard try file.size() == Int64(place + start.mapLength) else { throw damaged("it has another length") }
            let record = try start.sealing.open(
                try file.read(at: Int64(place), count: start.mapLength), "map of \(id)")
            let bytes = try core.zstd.unpack(record, limit: limits.runs)
            return (head, ByteReader(bytes))
        } catch { throw error.during("snapshot \(id)") }
    }

    private static func opened(_ id: String, _ core: RepositoryCore) throws(FleetError) -> any RepositoryFile {
        do throws(FleetError) { return try core.files.openStored(core.snapshotPath(id)) } catch {
            guard error.code == .notFound else { throw error }
            throw FleetError(
                .notFound, "snapshot \(id) is not in the repository",
                hint: "give the whole id: the names in the store's directory snapshots/ are the ids")
        }
    }

    private struct Start {
        let sealing: SealedFile
        let headLength: Int
        let mapLength: Int

        init(_ bytes: [UInt8], _ core: RepositoryCore) throws(FleetError) {
            sealing = try SealedFile(
                .snapshot, header: bytes.prefix(SealedFile.headerLength), core.keys)
            func length(_ at: Int) -> Int { (0..<4).reduce(0) { $0 | Int(bytes[at + $1]) << (8 * $1) } }
            headLength = length(SealedFile.headerLength)
            mapLength = length(SealedFile.headerLength + 4)
            guard headLength <= limits.record, mapLength <= limits.record else { throw damaged("a length is not one") }
        }

        func head(_ id: String, _ file: any RepositoryFile) throws(FleetError) -> SnapshotHead {
            let place = Int64(SealedFile.headerLength + lengthsLength)
            return try SnapshotHead.decode(
                id, try sealing.open(try file.read(at: place, count: headLength), "head of \(id)"))
        }
    }
}
