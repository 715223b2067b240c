internal import FleetProtocol
internal import FleetSystem

/// What jobs need of the coordinator. The first two outlive lost connections and end only when all is done or it can't be.
protocol CoordinatorPort: Sendable {
    /// Returns when the snapshot is durable in the store and in the catalogue.
    func upload(job: String, snapshot: String, facts: SnapshotFacts, file: String) async throws(FleetError)

    /// Returns when all of the snapshot is at `path`, synced, with the length and digest of its record; goes on behind
    /// what is there already.
    func fetch(job: String, snapshot record: SnapshotRecord, to path: String) async throws(FleetError)

    /// The same with a program of the agent's own.
    func fetch(job: String, program: ProgramRecord, to path: String) async throws(FleetError)

    /// Brings the node's configuration to the coordinator, where that has another one. Tries once, and not for long.
    func keep(_ configuration: @escaping ConfigurationSender.Collect) async throws(FleetError)
}
