import FleetProtocol
import FleetSystem

/// What the log says of jobs. Each line has the id as `job`, as the lines of the agent that is at it have, from the moment on
/// at which the job is durable.
extension CoordinatorServer {
    /// A job that was made: whoever asked for it is answered, and it goes to its agents.
    func begin(_ job: JobRecord, answering stream: FleetProtocol.Stream? = nil) async throws(FleetError) {
        note(made: job)
        if let stream { try await stream.finish(job) }
        for id in job.members?.map(\.id) ?? [job.id] {
            await carryOut([JobEffect(deliver: try await catalogue.message(id))])
        }
    }

    func note(made job: JobRecord) {
        log.info("\(Self.name(job)) is asked for by \(job.requestedBy)", Self.fields(job))
        for part in job.members ?? [] { log.info("it is \(part.node)'s part of \(job.id)", Self.fields(part)) }
    }

    func note(ended job: JobRecord) {
        let (what, fields) = ("\(Self.name(job)) ended as \(job.state.rawValue)", Self.fields(job))
        guard job.state != .succeeded else { return log.info(what, fields) }
        if let error = job.error { log.error(what, error, fields) } else { log.warning(what, fields) }
    }

    static func fields(_ job: Job) -> [String: String] {
        ["job": job.id, "cluster": job.cluster, "node": job.node, "kind": job.operation.kind]
    }

    private static func fields(_ job: JobRecord) -> [String: String] {
        ["job": job.id, "cluster": job.cluster, "node": job.node, "kind": job.kind]
    }

    private static func name(_ job: JobRecord) -> String { job.dryRun ? "\(job.kind) (dry run)" : job.kind }
}
