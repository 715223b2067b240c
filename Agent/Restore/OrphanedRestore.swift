internal import FleetProtocol
internal import FleetSystem

/// A restore of several members that waits on this node for a decision, as its journal has it. For the day when the
/// coordinator that was to decide is lost with its catalogue: then people look at all members and decide instead.
struct OrphanedRestore {
    let job: String
    let work: RestoreWork
    let machine: RestoreMachine
    private let path: String

    /// - Throws: `not-found` where no restore of several members is unfinished.
    static func find(_ paths: AgentPaths) throws(FleetError) -> OrphanedRestore {
        for job in try FileSystem.exists(paths.jobs) ? FileSystem.list(paths.jobs) : [] {
            guard FileSystem.exists(paths.journal(job)) else { continue }
            let entries = try Journal<RestoreEntry>.records(paths.journal(job))
            guard case .planned(let work, let boot)? = entries.first, work.group != nil else { continue }
            var machine = RestoreMachine(work, boot)
            for entry in entries { machine.apply(entry) }
            if case .end(let verdict, _) = machine.next(), verdict != .stuck { continue }
            return OrphanedRestore(job: job, work: work, machine: machine, path: paths.journal(job))
        }
        throw FleetError(
            .notFound, "no restore of several members is unfinished on this node",
            hint: "a restore of one member needs no decision: its agent goes on by itself when it is started")
    }

    /// Where it stands between its members, for people who compare all of them.
    var standing: String {
        switch machine.next() {
        case _ where machine.isCommitted: "committed: the others must be too"
        case .wait(.verify, nil): "the restored etcd runs and was verified; waits for the others"
        case .wait(let phase, nil): "has ended \(phase.rawValue); waits for the others"
        case .wait(_, let problem?): "has failed and waits to be taken back: \(problem.message)"
        case .end(_, let error): "stuck: \(error?.message ?? "")"
        case .undo, .write(.undoStarted), .write(.concluded): "is being taken back"
        case .write, .perform: "is at work in \(machine.released.rawValue)"
        }
    }

    /// Written down as the coordinator's word would be; the agent's next start follows it.
    ///
    /// - Throws: `not-decidable` for what would make a mix of old and restored data on this node's account.
    func decide(_ decision: RestoreDecision) throws(FleetError) {
        switch decision {
        case .recall where machine.isCommitted:
            throw FleetError(
                .notDecidable, "restore \(job) is committed here, and behind that there is no way back",
                hint: "run 'fleet-agent decide commit' on the members that still wait, and start all agents")
        case .recall,
            .proceed(.commit) where machine.isCommitted:
            break
        case .proceed(.commit):
            guard machine.next() == .wait(reached: .verify, nil) else {
                throw FleetError(
                    .notDecidable, "restore \(job) can't be committed here: it \(standing)",
                    hint: "if no member is committed, run 'fleet-agent decide recall' on all of them")
            }
        case .proceed(let phase):
            throw FleetError(.internalError, "only the coordinator releases \(phase.rawValue)")
        }
        try Journal<RestoreEntry>(path).append(.decided(decision))
    }
}

extension FleetError.Code {
    /// A person decided what can't be any more.
    static let notDecidable: Self = "not-decidable"
}
