internal import FleetCrypto
internal import FleetProtocol
internal import FleetSystem

/// Decides whether an envelope is a job for this node and now, or a decision about one. Nothing of it is looked at before
/// its signature is known to be good, and what is decoded is the bytes that were signed. That it comes for the first time, `JobCounter` sees to.
struct JobGate: Sendable {
    var node: String
    var cluster: String
    /// The coordinator's, pinned at enrolment.
    var key: VerifyingKey

    /// - Throws: `bad-signature`, `wrong-node`, `expired-job`, `malformed`.
    func open(_ envelope: Envelope, now: Timestamp) throws(FleetError) -> Job {
        let job = try envelope.job(verifiedBy: key)
        try check(job.id, node: job.node, cluster: job.cluster)
        guard now <= job.expires else {
            throw FleetError(
                .expiredJob, "job \(job.id) expired at \(job.expires)",
                hint: "start it again; if this repeats, compare the clocks of the node and the coordinator")
        }
        // What a job says is used in file names and waits.
        let isValid =
            switch job.operation {
            case .backup(let backup): Identifier.isValid(backup.snapshot)
            case .restore(let restore):
                Identifier.isValid(restore.snapshot.id) && restore.snapshot.size > 0
                    && Operation.Restore.waitRange.contains(restore.waitSeconds) && restore.group?.isValid ?? true
                    && restore.safety.map { Identifier.isValid($0.snapshot) } ?? true
                    && restore.bump?.isValid ?? true
            case .drill(let drill): drill.isValid
            case .undo(let undo):
                Identifier.isValid(undo.restored) && Operation.Restore.waitRange.contains(undo.waitSeconds)
                    && undo.group.map { $0.isValid && $0.isKnown } ?? true
            case .cleanup(let cleanup): Identifier.isValid(cleanup.restored)
            case .member(let member): member.isValid
            case .upgrade(let upgrade): upgrade.isValid
            }
        guard Identifier.isValid(job.id), isValid else {
            throw FleetError(.malformed, "the job has a field that is out of bounds", hint: "upgrade the coordinator")
        }
        return job
    }

    /// Of a job that was accepted before: whenever that was.
    func operation(of envelope: Envelope) throws(FleetError) -> FleetProtocol.Operation {
        try envelope.job(verifiedBy: key).operation
    }

    /// The same, as it was signed for this node.
    ///
    /// - Throws: `bad-signature`, `wrong-node`.
    func job(of envelope: Envelope) throws(FleetError) -> Job {
        let job = try envelope.job(verifiedBy: key)
        try check(job.id, node: job.node, cluster: job.cluster)
        return job
    }

    /// - Throws: as for a job, without its time.
    func openDecision(_ envelope: Envelope) throws(FleetError) -> JobDecision {
        let decision = try envelope.decision(verifiedBy: key)
        try check(decision.job, node: decision.node, cluster: decision.cluster)
        guard Identifier.isValid(decision.job) else {
            throw FleetError(.malformed, "the decision names no job", hint: "upgrade the coordinator")
        }
        return decision
    }

    private func check(_ job: String, node theirs: String, cluster theirCluster: String) throws(FleetError) {
        guard theirs == node, theirCluster == cluster else {
            throw FleetError(
                .wrongNode, "job \(job) is for node \(theirs) of \(theirCluster), not for \(node) of \(cluster)",
                hint: "see that no two nodes were enrolled from one image")
        }
    }
}

/// The highest counter of any job or decision that was accepted, on the disk before anything is done about it.
final class JobCounter: Sendable {
    private let path: String
    /// Of two that come at once, the second has to see what the first has written.
    private let turn = Monitor(())

    init(path: String) { self.path = path }

    /// - Throws: `malformed` when the file does not hold one.
    func last() throws(FleetError) -> UInt64 {
        guard try FileSystem.status(path) != nil else { return 0 }
        guard let value = UInt64(try FileSystem.readText(path).prefix { !$0.isNewline }) else {
            throw FleetError(
                .malformed, "\(path) does not hold a counter",
                hint: "enroll this node again: without the counter old jobs could be replayed")
        }
        return value
    }

    /// - Throws: `replayed-job` when it is not above the last one.
    func raise(to counter: UInt64) throws(FleetError) {
        try turn.attempt { _ throws(FleetError) in try raiseAlone(to: counter) }
    }

    private func raiseAlone(to counter: UInt64) throws(FleetError) {
        let last = try last()
        guard counter > last else {
            throw FleetError(
                .replayedJob, "the job's counter \(counter) is not above \(last), the last one",
                hint: "a job is executed once; start a new one")
        }
        try FileSystem.writeDurably(path, "\(counter)\n".utf8)
    }
}
