import FleetProtocol
import FleetSystem

extension FleetError.Code {
    /// A prefix that several snapshots begin with.
    static let ambiguous: Self = "ambiguous"
}

/// How an operator names a snapshot: "latest", a time, or an id or its unique beginning. Pure.
enum SnapshotChoice: Sendable, Equatable {
    case latest
    /// The newest whose save began at or before it.
    case at(Timestamp)
    case id(prefix: String)

    /// - Throws: `usage` for what is neither.
    init(_ text: String) throws(FleetError) {
        if text == "latest" {
            self = .latest
        } else if let time = Timestamp(text) {
            // "2026-11-24" is a time too: an id has no dash before its eighth digit.
            self = .at(time)
        } else if Identifier.isValid(text) {
            self = .id(prefix: text)
        } else {
            throw FleetError(
                .usage, "\(Names.quote(text)) names no snapshot",
                hint: "give \"latest\", a snapshot's id or its beginning, or a time such as 2026-11-24T06:55:00Z")
        }
    }

    /// From `entries`, in any order. `latest` and a time choose among backups that can be restored; an id finds any, so
    /// that the guard can say what is wrong with it.
    ///
    /// - Parameters:
    ///   - soon: what was saved later was dated ahead, and is chosen only where nothing else is there.
    ///   - scope: for the error, " of cluster-a".
    /// - Throws: `not-found`, `ambiguous` naming the candidates.
    func choose(
        from entries: [SnapshotEntry], soon: Timestamp, scope: String = ""
    ) throws(FleetError) -> SnapshotEntry {
        func rank(_ entry: SnapshotEntry) -> (Int, Timestamp, String) {
            let saved = entry.record.facts.savedAt
            return (saved > soon ? 0 : 1, saved, entry.record.id)
        }
        func newest(_ candidates: [SnapshotEntry]) -> SnapshotEntry? {
            candidates.filter { $0.condition == .verified && $0.record.beforeRestore == nil }
                .max { rank($0) < rank($1) }
        }
        switch self {
        case .latest:
            if let found = newest(entries) { return found }
            throw FleetError(
                .notFound, "there is no backup\(scope) that could be restored",
                hint:
                    "make one with 'fleetctl backup'; what a restore had saved before it began is chosen by its id: fleetctl "
                    + "snapshot list")
        case .at(let time):
            if let found = newest(entries.filter { $0.record.facts.savedAt <= time }) { return found }
            let oldest = entries.filter { $0.condition == .verified && $0.record.beforeRestore == nil }.map(
                \.record.facts.savedAt
            ).min()
            throw FleetError(
                .notFound, "there is no snapshot\(scope) from \(time) or before",
                hint: oldest.map { "the oldest is from \($0)" } ?? "make one with: fleetctl backup")
        case .id(let prefix):
            if let exact = entries.first(where: { $0.record.id == prefix }) { return exact }
            let found = entries.filter { $0.record.id.hasPrefix(prefix) }.sorted { $0.record.id < $1.record.id }
            guard let only = found.first else {
                throw FleetError(
                    .notFound, "there is no snapshot \(prefix)\(scope)",
                    hint: "list them with 'fleetctl snapshot list'; a time is written like 2026-11-24T06:00Z")
            }
            guard found.count == 1 else {
                let names = found.prefix(5).map(\.record.id).joined(separator: ", ")
                throw FleetError(
                    .ambiguous, "\(found.count) snapshots\(scope) begin with \(prefix)",
                    hint: "give more of it: \(names)\(found.count > 5 ? ", ..." : "")")
            }
            return only
        }
    }
}
