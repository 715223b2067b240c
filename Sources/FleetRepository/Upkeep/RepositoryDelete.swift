public import FleetSystem

extension Repository {
    /// Removes a snapshot, at once and whole; what is not there is fine. Its packs stay until `collect`.
    ///
    /// Maps that build on its map are written anew first, each replaced atomically by one that says the same, so a crash
    /// at any moment leaves every other snapshot readable.
    ///
    /// - Throws: `snapshot-damaged`, or why a file can't be read, where another snapshot may need this one's map and
    ///   can't be written anew. One whose own file is damaged can always go: nobody can read through it.
    public func delete(_ id: String) throws(FleetError) {
        try Self.check(id)
        try publishing.attempt { heads throws(FleetError) in
            guard try core.files.size(core.snapshotPath(id)) != nil else { return }
            if try isWhole(id) { try detachSuccessors(of: id, &heads) }
            try core.files.remove(core.snapshotPath(id))
            heads[id] = nil
        }
    }

    /// The file alone, whatever it builds on. An error that may pass, as with too many open files, is no damage.
    private func isWhole(_ id: String) throws(FleetError) -> Bool {
        do throws(FleetError) {
            _ = try SnapshotFile.read(id, core)
            return true
        } catch {
            guard error.code == .snapshotDamaged else { throw error }
            return false
        }
    }

    /// What builds on it builds on what is below it then.
    private func detachSuccessors(of id: String, _ heads: inout [String: SnapshotHead]) throws(FleetError) {
        if let (other, error) = try refresh(&heads).first(where: { $0.id != id }) {
            throw Self.refusal(id, other, error)
        }
        let successors = heads.values.filter { $0.parent == id }.map(\.id).sorted()
        for successor in successors {
            do throws(FleetError) { try rebuild(successor, on: try head(id).parent, &heads) } catch {
                throw Self.refusal(id, successor, error)
            }
        }
    }

    private func rebuild(
        _ id: String, on name: String?, _ heads: inout [String: SnapshotHead]
    ) throws(FleetError) {
        var snapshot = try ResolvedSnapshot(id, core)
        let below = try name.map { name throws(FleetError) in try ResolvedSnapshot(name, core) }
        let table = snapshot.head.packs.map(\.id)
        snapshot.head.parent = below?.head.id
        snapshot.head.chain = below.map { $0.head.chain + 1 } ?? 0
        let parent = below.map { ResolvedSnapshot.translate($0.map, from: $0.head.packs.map(\.id), to: table) }
        try core.files.writeDurably(
            core.snapshotPath(id), try SnapshotFile.encode(snapshot.head, map: snapshot.map, parent: parent, core))
        heads[id] = snapshot.head
        heads[id]?.payload = []
    }

    private static func refusal(_ id: String, _ other: String, _ error: FleetError) -> FleetError {
        var refusal = error
        refusal.message = "\(id) was not deleted, for \(other) may need it: \(error.message)"
        refusal.hint =
            switch error.code {
            case .snapshotDamaged, .notFound:
                "put the file of snapshot \(other) back from a copy of the repository, or delete it first"
            default:
                error.hint ?? "try again; if it goes on, see to \(other) among the snapshots of the repository"
            }
        return refusal
    }

    /// Brings the remembered heads up to date with the directory.
    ///
    /// - Returns: those that can't be read, which are not among them, and why.
    @discardableResult
    func refresh(
        _ heads: inout [String: SnapshotHead]
    ) throws(FleetError) -> [(id: String, error: FleetError)] {
        let ids = try self.ids()
        for id in Set(heads.keys).subtracting(ids) { heads[id] = nil }
        var unreadable: [(id: String, error: FleetError)] = []
        for id in ids where heads[id] == nil {
            do throws(FleetError) {
                heads[id] = try head(id)
                heads[id]?.payload = []
            } catch { unreadable.append((id, error)) }
        }
        return unreadable
    }
}
