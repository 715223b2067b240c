import FleetProtocol
import FleetSystem

/// What an agent says of a snapshot is looked at before anything is computed with it. Whether it agrees with the bytes
/// is another matter, which `SnapshotShape` settles when they are here. Pure.
enum FactsCheck {
    /// Bytes of a snapshot. etcd advises a quota of 8 GB at most, so this is generous; but it is also what one node can
    /// make the coordinator hold in memory, since a page map and the plan to read it take up to 40 bytes a page of 4096.
    static let sizeLimit: Int64 = 64 << 30
    /// Of the facts as JSON: they become part of the manifest, and a manifest that is too long is not read again.
    static let textLimit = 64 << 10

    /// - Throws: `malformed`.
    static func check(_ facts: SnapshotFacts) throws(FleetError) {
        guard (1...sizeLimit).contains(facts.size) else {
            throw sizeProblem(facts.size)
        }
        guard (0...sizeLimit).contains(facts.status.totalSize) else {
            throw FleetError(.malformed, "a snapshot with a database of \(facts.status.totalSize) bytes")
        }
        guard facts.status.revision >= 0, facts.status.totalKey >= 0, facts.liveKeys ?? 0 >= 0 else {
            throw FleetError(.malformed, "a snapshot with a negative revision or number of keys")
        }
        guard isID(facts.clusterID), isID(facts.memberID), facts.etcdVersion.utf8.count <= 64 else {
            throw FleetError(.malformed, "a snapshot whose cluster id, member id or etcd version is none")
        }
        guard try JSON.encode(facts).count <= textLimit else {
            throw FleetError(.malformed, "what the agent says of the snapshot is longer than \(textLimit) bytes")
        }
    }

    static func sizeProblem(_ size: Int64) -> FleetError {
        FleetError(
            .malformed, "a snapshot of \(size) bytes is none, or more than the \(sizeLimit) that are taken",
            hint: "look at the size of the etcd: it advises 8 GB at most")
    }

    /// etcd's ids are 64 bits in hexadecimal.
    private static func isID(_ text: String) -> Bool {
        (1...16).contains(text.utf8.count)
            && text.utf8.allSatisfy { c in
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(c)
                    || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(c)
            }
    }

    /// How far a node's clock may be off before it is not believed.
    static let clockTolerance = Duration.seconds(300)

    /// The node's clock decides what is the latest and what `--at TIME` finds, so the time of a save is held between
    /// the beginning of its job and now, and a warning says by how much the clock is off.
    static func boundTime(_ facts: inout SnapshotFacts, jobCreated: Timestamp, now: Timestamp) {
        // A job of a time that is not yet was made while this host's clock was ahead.
        let begun = min(jobCreated, now)
        let earliest = begun.adding(clockTolerance * -1)
        let latest = now.adding(clockTolerance)
        let told = facts.savedAt
        guard told < earliest || told > latest else { return }
        let off = told < earliest ? begun.since(told) : told.since(now)
        facts.savedAt = told < earliest ? earliest : latest
        facts.warnings.append(
            "the node's clock is at least \(off.milliseconds / 1000) s \(told < earliest ? "behind" : "ahead"): "
                + "it dated the save \(told), which is taken for \(facts.savedAt)")
    }
}
