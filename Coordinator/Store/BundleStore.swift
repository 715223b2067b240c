import FleetProtocol
import FleetRepository
import FleetSystem

/// Where the configuration of nodes is kept, beside the snapshots. Every function blocks. What is there is known by a keyed
/// name, which is the same for the same bytes; which snapshots it belongs to stands in their records.
protocol BundleStore: Sendable {
    func bundleName(sha256: [UInt8]) -> String
    func hasBundle(_ name: String) throws(FleetError) -> Bool
    /// Durable when it returns; what is there and damaged is put right.
    func addBundle(_ bytes: [UInt8]) throws(FleetError) -> String
    /// - Throws: `not-found`, `snapshot-damaged`.
    func bundle(_ name: String) throws(FleetError) -> [UInt8]
    func bundlePath(_ name: String) -> String
    /// Those that the record of any snapshot names.
    ///
    /// - Throws: where a record can't be read.
    func bundlesOfRecords() throws(FleetError) -> Set<String>
    /// Removes what is not among the needed, unless it is a rehearsal.
    func collectBundles(keeping needed: Set<String>, dryRun: Bool) throws(FleetError) -> [(path: String, size: Int64)]
}

extension RepositoryStore: BundleStore {
    func bundleName(sha256: [UInt8]) -> String { repository.bundleName(sha256: sha256) }
    func hasBundle(_ name: String) throws(FleetError) -> Bool { try repository.hasBundle(name) }
    func addBundle(_ bytes: [UInt8]) throws(FleetError) -> String { try repository.addBundle(bytes) }
    func bundle(_ name: String) throws(FleetError) -> [UInt8] { try repository.bundle(name) }
    func bundlePath(_ name: String) -> String { repository.bundlePath(name) }

    func bundlesOfRecords() throws(FleetError) -> Set<String> {
        struct References: Decodable {
            struct Node: Decodable { var bundle: String }
            var bundles: [Node]?
        }
        var needed: Set<String> = []
        for id in try repository.ids() {
            do throws(FleetError) {
                let payload = try repository.head(id).payload
                needed.formUnion((try JSON.decode(References.self, from: payload).bundles ?? []).map(\.bundle))
            } catch {
                // Deleted since the names were read.
                if error.code == .notFound, try !repository.ids().contains(id) { continue }
                throw error.during("snapshot \(id) can't be read, so what it needs is not known")
            }
        }
        return needed
    }

    func collectBundles(
        keeping needed: Set<String>, dryRun: Bool
    ) throws(FleetError) -> [(path: String, size: Int64)] {
        var removed: [(path: String, size: Int64)] = []
        for one in try repository.bundles() where !needed.contains(one.name) {
            removed.append((repository.bundlePath(one.name), one.size))
            if !dryRun { try repository.removeBundle(one.name) }
        }
        return removed
    }
}
