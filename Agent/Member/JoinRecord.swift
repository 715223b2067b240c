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
        guard FileSystem.exists(paths.joining) else { throw missing(replacement) }
        let record = try JSON.decode(JoinRecord.self, from: try FileSystem.read(paths.joining))
        guard record.replacement == replacement else { throw missing(replacement) }
        return record
    }

    /// Behind the end; of another one's record nothing is touched.
    static func close(_ paths: AgentPaths, of replacement: String) throws(FleetError) {
        guard let record = try? read(paths, of: replacement) else { return }
        try RestoreSteps(work: record.work, paths: paths).removeHoldingDirectory()
        try FileSystem.remove(paths.joining)
    }

    private static func missing(_ replacement: String) -> FleetError {
        FleetError(
            .notFound, "this node has no plan of the replacement \(replacement)",
            hint: "start it again: fleetctl member replace CLUSTER NODE")
    }
}
