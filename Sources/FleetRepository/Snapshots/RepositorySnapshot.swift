public import FleetSystem

/// A committed snapshot that is being read.
public final class RepositorySnapshot: Sendable {
    public let head: SnapshotHead
    let reader: PageReader
    private let hold: PackHold

    init(_ snapshot: ResolvedSnapshot, _ core: RepositoryCore, hold: PackHold) {
        head = snapshot.head
        reader = PageReader(snapshot, packs: PackSet(core))
        self.hold = hold
    }

    /// Fills `buffer` from `offset` on; fewer bytes only at the end, 0 behind it.
    ///
    /// - Throws: `not-found` for a pack that is not there, `snapshot-damaged`.
    public func read(at offset: Int64, into buffer: UnsafeMutableRawBufferPointer) throws(FleetError) -> Int {
        try reader.read(at: offset, into: buffer)
    }

    /// The same bytes in any order.
    public var pages: RepositoryPages { RepositoryPages(reader, hold: hold) }

    /// Writes all of it, faster than reading it piece by piece would.
    ///
    /// - Returns: the SHA-256 of what was written, as it reads back from there.
    /// - Throws: as `read`, and what the target throws.
    public func write(to target: any SnapshotTarget) throws(FleetError) -> [UInt8] {
        try SnapshotExport(reader, to: target).run()
    }
}
