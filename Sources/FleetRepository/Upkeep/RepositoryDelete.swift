public import FleetSystem

extension Repository {
    /// Removes a snapshot, at once and whole; what is not there is fine. Its packs stay until `collect`.
    ///
    /// Maps that build on its map are written anew first, each replaced atomically by one that says the same, so a crash
    /// at any moment leaves every other snapshot readable.
    public func delete(_ id: String) throws(FleetError) {
        try Self.check(id)
        try publishing.attempt { heads throws(FleetError) in
            guard try core.files.size(core.snapshotPath(id)) != nil else { return }
            try refresh(&heads)
            let children = heads.values.filter { $0.parent == id }.map(\.id).sorted()
            if !children.isEmpty, let gone = try? ResolvedSnapshot(id, core) {
                var below: ResolvedSnapshot?
                if let name = gone.head.parent { below = try? ResolvedSnapshot(name, core) }
                for child in children {
                    // One that can't be read now is not made worse; `check` names it.
                    guard var snapshot = try? ResolvedSnapshot(child, core) else { continue }
                    let table = snapshot.head.packs.map(\.id)
                    snapshot.head.parent = below?.head.id
                    snapshot.head.chain = below.map { $0.head.chain + 1 } ?? 0
                    let parent = below.map {
                        ResolvedSnapshot.translate($0.map, from: $0.head.packs.map(\.id), to: table)
                    }
                    try core.files.writeDurably(
                        core.snapshotPath(child),
                        try SnapshotFile.encode(snapshot.head, map: snapshot.map, parent: parent, core))
                    heads[child] = snapshot.head
                    heads[child]?.payload = []
                }
            }
            try core.files.remove(core.snapshotPath(id))
            heads[id] = nil
        }
    }

    /// Brings the remembered heads up to date with the directory; those that can't be read are not among them.
    func refresh(_ heads: inout [String: SnapshotHead]) throws(FleetError) {
        let ids = try self.ids()
        for id in Set(heads.keys).subtracting(ids) { heads[id] = nil }
        for id in ids where heads[id] == nil {
            heads[id] = try? head(id)
            heads[id]?.payload = []
        }
    }
}
