import FleetProtocol
import FleetRepository
import FleetSystem

/// A stored snapshot as a file of its own.
enum StoreExport {
    /// Blocks. The file appears under its name only when it is whole and its digest is the recorded one.
    ///
    /// - Throws: `snapshot-damaged` when it is not, `already-exists`, and what the store throws.
    static func write(_ id: String, of store: any SnapshotStore, to path: String) throws(FleetError) -> SnapshotRecord {
        let snapshot = try store.open(id)
        let file = try TargetFile(for: path)
        guard try snapshot.write(to: file).hex == snapshot.record.sha256 else {
            throw FleetError(.snapshotDamaged, "snapshot \(id) is not what was stored", hint: "export another one")
        }
        try file.publish()
        return snapshot.record
    }
}
