import FleetProtocol
import FleetSystem

/// What an agent says of a snapshot is looked at before anything is computed with it. Whether it agrees with the bytes
/// is another matter, which `SnapshotShape` settles when they are here. Pure.
enum FactsCheck {
    /// A terabyte: etcd's own advice ends at 8 GB.
    static let sizeLimit: Int64 = 1 << 40
    /// Of the facts as JSON: they become part of the manifest, and a manifest that is too long is not read again.
    static let textLimit = 64 << 10

    /// - Throws: `malformed`.
    static func check(_ facts: SnapshotFacts) throws(FleetError) {
        guard (1...sizeLimit).contains(facts.size) else {
            throw FleetError(.malformed, "a snapshot of \(facts.size) bytes")
        }
        guard (0...sizeLimit).contains(facts.status.totalSize) else {
            throw FleetError(.malformed, "a snapshot with a database of \(facts.status.totalSize) bytes")
        }
        guard facts.status.revision >= 0, facts.status.totalKey >= 0, facts.liveKeys ?? 0 >= 0 else {
            throw FleetError(.malformed, "a snapshot with a negative revision or number of keys")
        }
        guard try JSON.encode(facts).count <= textLimit else {
            throw FleetError(.malformed, "what the agent says of the snapshot is longer than \(textLimit) bytes")
        }
    }
}
