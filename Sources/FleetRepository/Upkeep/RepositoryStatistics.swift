public import FleetSystem

/// What a repository holds, and what it takes.
public struct RepositoryStatistics: Sendable, Equatable, Codable {
    public struct Lineage: Sendable, Equatable, Codable {
        public var name: String
        public var snapshots: Int
        /// Bytes of the snapshots as files.
        public var bytes: Int64
        /// Bytes on the disk of their own files and of the packs that they need; no pack is needed by two lineages.
        public var storedBytes: Int64
    }
    public var snapshots: Int
    public var bytes: Int64
    /// Bytes on the disk: packs, without the holes that a collection made, and snapshot files.
    public var packs: Int
    public var packBytes: Int64
    public var mapBytes: Int64
    /// Uploads that are not committed.
    public var uploads: Int
    public var lineages: [Lineage]

    /// How many times smaller than the files.
    public var ratio: Double { packBytes + mapBytes == 0 ? 0 : Double(bytes) / Double(packBytes + mapBytes) }
}

extension Repository {
    /// From names, lengths and heads alone.
    public func statistics() throws(FleetError) -> RepositoryStatistics {
        let lengths = try packLengths()
        var (mapBytes, bytes, count) = (Int64(0), Int64(0), 0)
        var lineages: [String: (snapshots: Int, bytes: Int64, mapBytes: Int64, packs: Set<PackID>)] = [:]
        for id in try ids() {
            let mapSize = try core.files.size(core.snapshotPath(id)) ?? 0
            mapBytes += mapSize
            guard let head = try? head(id) else { continue }
            count += 1
            bytes += head.length
            lineages[head.lineage, default: (0, 0, 0, [])].snapshots += 1
            lineages[head.lineage]!.bytes += head.length
            lineages[head.lineage]!.mapBytes += mapSize
            lineages[head.lineage]!.packs.formUnion(head.packs.map(\.id))
        }
        return RepositoryStatistics(
            snapshots: count, bytes: bytes, packs: lengths.count, packBytes: lengths.values.reduce(0, +),
            mapBytes: mapBytes, uploads: try uploads().count,
            lineages: lineages.sorted { $0.key < $1.key }.map { name, one in
                RepositoryStatistics.Lineage(
                    name: name, snapshots: one.snapshots, bytes: one.bytes,
                    storedBytes: one.packs.reduce(one.mapBytes) { $0 + (lengths[$1] ?? 0) })
            })
    }

    /// Bytes that packs, maps and bundles take. Reads no file.
    public func storedBytes() throws(FleetError) -> Int64 {
        var bytes = try packLengths().values.reduce(0, +)
        for id in try ids() { bytes += try core.files.size(core.snapshotPath(id)) ?? 0 }
        for bundle in try bundles() { bytes += bundle.size }
        return bytes
    }

    private func packLengths() throws(FleetError) -> [PackID: Int64] {
        var lengths: [PackID: Int64] = [:]
        for name in try core.files.list("\(core.root)/packs") {
            guard let id = PackID(fileName: name) else { continue }
            lengths[id] = try core.files.allocated(core.path(id)) ?? 0
        }
        return lengths
    }
}
