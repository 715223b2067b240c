internal import FleetProtocol
internal import FleetSystem

/// What a node keeps of the replacement of its own member, on its disk before each step and until the end: what etcd was
/// before, and what its files are to be. The acts come one by one from the coordinator, and an agent that was killed in one
/// finds here what it is about.
struct JoinRecord: Codable, Sendable, Equatable {
    enum Stage: String, Codable, Sendable { case planned, stopping, returning, joining }

    var replacement: String
    var work: RestoreWork
    var stage: Stage

    func write(_ paths: AgentPaths) throws(FleetError) {
        try FileSystem.makeDirectories(paths.state)
        try FileSystem.writeDurably(paths.joining, try JSON.encode(self))
    }

    /// - Throws: `not-found` where this node has no plan of that replacement.
    static func read(_ paths: AgentPaths, of replacement: String) throws(FleetError) -> JoinRecord {
        guard let record = try any(paths), record.replacement == replacement else { throw missing(replacement) }
        return record
    }

    /// Behind the end, of whichever replacement it is: this node's member serves, or its etcd is as it was.
    static func close(_ paths: AgentPaths) throws(FleetError) {
        guard let record = try any(paths) else { return }
        if record.stage == .joining {
            try FileSystem.makeDirectories(FileSystem.parent(of: paths.replaced(record.replacement)))
            try FileSystem.writeDurably(paths.replaced(record.replacement), try JSON.encode(record))
        }
        try RestoreSteps(work: record.work, paths: paths).removeHoldingDirectory()
        try FileSystem.remove(paths.joining)
    }

    /// What a replacement that was carried to its end here has done; nil where there was none of that id.
    static func done(_ paths: AgentPaths, _ replacement: String) throws(FleetError) -> RestoreWork? {
        guard FileSystem.exists(paths.replaced(replacement)) else { return nil }
        return try JSON.decode(JoinRecord.self, from: try FileSystem.read(paths.replaced(replacement))).work
    }

    /// nil: this node's member is not being replaced.
    static func any(_ paths: AgentPaths) throws(FleetError) -> JoinRecord? {
        guard FileSystem.exists(paths.joining) else { return nil }
        return try JSON.decode(JoinRecord.self, from: try FileSystem.read(paths.joining))
    }

    /// What discovery found wrong, with the replacement in whose middle the node is.
    static func explain(_ error: FleetError, _ paths: AgentPaths) -> FleetError {
        guard error.code == .noEtcd, let record = try? any(paths) else { return error }
        let (plan, held) = (record.work.plan, (try? FileSystem.list(record.work.holdingDirectory)) ?? [])
        guard !held.isEmpty else { return error }
        return FleetError(
            .restoreUnfinished,
            "\(error.message); the replacement \(record.replacement) of the member is not at its end here: "
                + "\(held.joined(separator: ", ")) lie in \(record.work.holdingDirectory)",
            hint: "see 'fleetctl job show \(record.replacement)'; go on with 'fleetctl member replace \(plan.cluster) "
                + "\(plan.node)'")
    }

    private static func missing(_ replacement: String) -> FleetError {
        FleetError(
            .notFound, "this node has no plan of the replacement \(replacement)",
            hint: "start it again: fleetctl member replace CLUSTER NODE")
    }
}
