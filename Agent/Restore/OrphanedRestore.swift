internal import FleetProtocol
internal import FleetSystem

/// A restore of several members that may wait on this node for a decision, as its journal has it. For the day when the
/// coordinator that was to decide is lost with its catalogue: then people look at all members and decide instead.
struct OrphanedRestore {
    private let restore: JournalledRestore
    var name: String { restore.name }
    var work: RestoreWork { restore.work }
    var machine: RestoreMachine { restore.machine }

    /// The one that has no end here; otherwise the last one, which the others may still wait with.
    ///
    /// - Throws: `not-found` where there was none of several members, `journal-damaged`.
    static func find(_ paths: AgentPaths) throws(FleetError) -> OrphanedRestore {
        let all = try JournalledRestore.all(paths).filter { $0.work.group != nil }
        if let restore = all.last(where: { $0.verdict == nil }) ?? all.last { return OrphanedRestore(restore: restore) }
        throw FleetError(
            .notFound, "no restore of several members has come to this node",
            hint: "a restore of one member needs no decision: its agent goes on by itself when it is started")
    }

    /// Where it stands between its members, for people who compare all of them.
    var standing: String {
        switch machine.next() {
        case .end(.succeeded, _): "committed, and at its end here: the others must be committed too"
        case .end(.failed, _), .end(.rolledBack, _):
            "taken back, and at its end here: the others must be taken back too"
        case _ where machine.isCommitted: "committed: the others must be too"
        case .wait(.verify, nil): "the restored etcd runs and was verified; waits for the others"
        case .wait(let phase, nil): "has ended \(phase.rawValue); waits for the others"
        case .wait(_, let problem?): "has failed, and waits for what is decided: \(problem.message)"
        case .end(.stuck, let error): "stuck: \(error?.message ?? "")"
        case .undo, .write(.undoStarted), .write(.concluded): "is being taken back"
        case .write, .perform: "is at work in \(machine.released.rawValue)"
        }
    }

    /// Written down as the coordinator's word would be; the agent's next start follows it.
    ///
    /// - Throws: `not-decidable` for what would make a mix of old and restored data on this node's account.
    func decide(_ decision: RestoreDecision) throws(FleetError) {
        if let verdict = restore.verdict {
            throw FleetError(
                .notDecidable, "restore \(name) is at its end on this node: \(verdict.rawValue)",
                hint: "where others wait, run 'fleet-agent decide \(verdict == .succeeded ? "commit" : "recall")' there"
            )
        }
        switch decision {
        case .recall where machine.isCommitted:
            throw FleetError(
                .notDecidable, "restore \(name) is committed here, and behind that there is no way back",
                hint: "run 'fleet-agent decide commit' on the members that still wait, and start all agents")
        case .recall,
            .proceed(.commit) where machine.isCommitted:
            break
        case .proceed(.commit):
            // Also one that failed when a reboot had it do that again: where others are committed, it tries until it does too.
            guard machine.wasVerified, case .wait(.verify, _) = machine.next() else {
                throw FleetError(
                    .notDecidable, "restore \(name) can't be committed here: it \(standing)",
                    hint: "if no member is committed, run 'fleet-agent decide recall' on all of them")
            }
        case .proceed(let phase):
            throw FleetError(.internalError, "only the coordinator releases \(phase.rawValue)")
        }
        try Journal<RestoreEntry>(restore.path).append(.decided(decision))
    }
}

extension FleetError.Code {
    /// A person decided what can't be any more.
    static let notDecidable: Self = "not-decidable"
}
