import EtcdSnapshot
import FleetProtocol
import FleetRepository
import FleetSystem

/// A stored snapshot that somebody looks into.
struct SnapshotLook: Sendable {
    let entry: SnapshotEntry
    let reader: SnapshotReader
    private let vault: Vault

    init(_ entry: SnapshotEntry, _ vault: Vault) async throws(FleetError) {
        self.entry = entry
        self.vault = vault
        let store = vault.store
        reader = try await vault.looking(at: entry.record.id) { () throws(FleetError) in
            do throws(FleetError) { return try SnapshotReader(try store.open(entry.record.id).pages) } catch {
                guard error.code == .notASnapshot else { throw error }
                throw FleetError(
                    error.code, "snapshot \(entry.record.id) can't be looked into: \(error.message)",
                    hint: "see what is known of it: fleetctl snapshot show \(entry.record.id)")
            }
        }
    }

    /// `body` when it is its turn.
    func take<Value: Sendable>(
        _ body: @escaping @Sendable (SnapshotReader) throws(FleetError) -> Value
    ) async throws(FleetError) -> Value {
        let reader = self.reader
        return try await vault.looking(at: entry.record.id) { () throws(FleetError) in try body(reader) }
    }
}

extension Vault {
    /// A turn among those who look, which those who store don't wait for. What can't be read any more is marked.
    func looking<Value: Sendable>(
        at id: String, _ body: @escaping @Sendable () throws(FleetError) -> Value
    ) async throws(FleetError) -> Value {
        do throws(FleetError) { return try await looks.take(body) } catch {
            if error.code == .notFound || error.code == .snapshotDamaged { await distrust(id, error) }
            throw error
        }
    }
}
