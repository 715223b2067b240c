import FleetSystem

/// A snapshot whose map has been read through those it builds on.
struct ResolvedSnapshot: Sendable {
    var head: SnapshotHead
    /// Packs by number in `head.packs`.
    var map: PageMap

    /// - Throws: `not-found`, `snapshot-damaged`; of the predecessors as well.
    init(_ id: String, _ core: RepositoryCore) throws(FleetError) {
        // From the snapshot back to one that stands alone; the chain is bounded, whatever the files say.
        var chain: [(head: SnapshotHead, runs: ByteReader)] = []
        var next: String? = id
        while let name = next {
            guard chain.count <= SnapshotHead.maximumChain else {
                throw damaged("snapshot \(id) builds on more than \(SnapshotHead.maximumChain) others")
            }
            do throws(FleetError) {
                let file = try SnapshotFile.read(name, core)
                chain.append((file.0, file.1))
            } catch {
                // What may pass, as with too many open files, is no damage: nobody must act as if it were.
                guard name != id, [.notFound, .snapshotDamaged].contains(error.code) else { throw error }
                throw damaged("snapshot \(id) builds on \(name), which can't be read: \(error.message)")
            }
            next = chain[chain.count - 1].head.parent
        }
        var below: ResolvedSnapshot?
        for (head, runs) in chain.reversed() {
            below = try ResolvedSnapshot(head, runs, parent: below)
        }
        self = below!
    }

    private init(_ head: SnapshotHead, _ runs: ByteReader, parent: ResolvedSnapshot?) throws(FleetError) {
        do throws(FleetError) {
            var (runs, map) = (runs, PageMap())
            map.reserveCapacity(min(head.pageCount, 1 << 24))
            let inherited = parent.map {
                Self.translate($0.map, from: $0.head.packs.map(\.id), to: head.packs.map(\.id))
            }
            try PageMapCodec.decode(
                &runs, to: &map, count: head.pageCount, parent: inherited, packs: head.packs.count)
            try runs.finish()
            guard map.allSatisfy({ $0.pack < head.packs.count }) else {
                throw damaged("it takes a page from a pack that it does not name")
            }
            self.head = head
            self.map = map
        } catch { throw error.during("snapshot \(head.id)") }
    }

    /// The same places with the numbers of another table. What the other table does not have becomes `missing`: it is
    /// of pages that the successor no longer has.
    static func translate(_ map: PageMap, from: [PackID], to: [PackID]) -> PageMap {
        let numbers = Dictionary(zip(to, 0...), uniquingKeysWith: { first, _ in first })
        let table = from.map { numbers[$0].map { UInt32($0) } ?? missing }
        return PageMap(map.map { PageLocation(pack: table[Int($0.pack)], ordinal: $0.ordinal) })
    }

    static let missing = UInt32.max
}
