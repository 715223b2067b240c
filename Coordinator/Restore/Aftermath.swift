import FleetProtocol
import FleetSystem

extension FleetError.Code {
    /// A restore that can't be undone, or whose old data can't be removed.
    static let notUndoable: Self = "not-undoable"
    static let notCleanable: Self = "not-cleanable"
}

/// What can still be done with what a committed restore has left. Pure.
///
/// Restores of a cluster are a stack: only the last one that stands can be undone, and after that the one below it. What may
/// have switched the cluster and has no clear end counts as standing.
enum Aftermath {
    /// A restore or an undo of the same cluster, as far as this needs it.
    struct Switch: Sendable, Equatable {
        var job: String
        var state: JobState
        var undoes: String?
        var finished: Timestamp?

        /// It failed before the switch, or was taken back.
        var hasNoEffect: Bool {
            switch state {
            case .failed, .rolledBack, .refused, .expired: true
            case .queued, .delivered, .running, .succeeded, .stuck, .lost: false
            }
        }
    }

    /// - Parameters:
    ///   - switches: all of the cluster in the order in which they were begun, dry runs left out.
    ///   - nodes: the old directories of this one.
    /// - Returns: nil for one that was not committed.
    static func of(_ job: String, among switches: [Switch], nodes: [RestoreAftermath.Node]) -> RestoreAftermath? {
        guard let place = switches.firstIndex(where: { $0.job == job }), switches[place].state == .succeeded else {
            return nil
        }
        let later = switches[(place + 1)...].filter { !$0.hasNoEffect }
        if let undo = later.first(where: { $0.undoes == job && $0.state == .succeeded }) {
            return RestoreAftermath(state: .undone, by: undo.job, at: undo.finished, nodes: nodes)
        }
        let cleanedUp = nodes.compactMap(\.cleanedUp).max()
        if switches[place].undoes != nil { return RestoreAftermath(state: .final, at: cleanedUp, nodes: nodes) }
        if let cleanedUp { return RestoreAftermath(state: .cleanedUp, at: cleanedUp, nodes: nodes) }
        let undone = Set(later.filter { $0.state == .succeeded }.compactMap(\.undoes))
        let standing = later.last { one in
            let isAnUndoThatIsOver = one.undoes != nil && one.state == .succeeded
            return !isAnUndoThatIsOver && !undone.contains(one.job)
        }
        if let standing {
            return RestoreAftermath(state: .overtaken, by: standing.job, at: standing.finished, nodes: nodes)
        }
        return RestoreAftermath(state: .undoable, nodes: nodes)
    }

    /// - Throws: `not-undoable` with the reason.
    static func checkUndo(_ job: JobRecord) throws(FleetError) {
        try checkWhole(job, "undone", .notUndoable)
        guard job.kind != "replace" else { throw notCommitted(job, .notUndoable) }
        guard !job.dryRun else { throw notCommitted(job, .notUndoable) }
        guard job.undoes == nil else {
            let isKept = job.aftermath?.nodes.contains { $0.cleanedUp == nil } ?? true
            throw FleetError(
                .notUndoable, "\(job.id) is an undo itself",
                hint: isKept
                    ? "what was written since that restore is kept; to use it, let data-dir name it by hand, or restore a "
                        + "snapshot" : "restore a snapshot instead")
        }
        guard let aftermath = job.aftermath else { throw notCommitted(job, .notUndoable) }
        let by = aftermath.by ?? ""
        switch aftermath.state {
        case .undoable, .final: break
        case .undone:
            throw FleetError(
                .notUndoable, "\(job.id) was undone already, by \(by)", hint: "see: fleetctl job show \(by)")
        case .overtaken:
            throw FleetError(
                .notUndoable, "\(job.id) is not the last: \(by) has switched \(job.cluster) since, or may have",
                hint: "only the last can be undone: fleetctl job show \(by)")
        case .cleanedUp:
            let nodes = aftermath.nodes.filter { $0.cleanedUp != nil }.map(\.node).joined(separator: ", ")
            throw FleetError(
                .notUndoable, "the old data of \(job.id) was cleaned up on \(nodes)",
                hint: "there is nothing to go back to; restore a snapshot instead")
        }
    }

    /// - Throws: `not-cleanable` with the reason.
    static func checkCleanup(_ job: JobRecord) throws(FleetError) {
        try checkWhole(job, "cleaned up", .notCleanable)
        guard let aftermath = job.aftermath else { throw notCommitted(job, .notCleanable) }
        guard aftermath.state != .undone else {
            throw FleetError(
                .notCleanable,
                "\(job.id) was undone by \(aftermath.by ?? ""): its old data is in force again",
                hint: "what that restore had made is cleaned up with: fleetctl restore cleanup \(aftermath.by ?? "")")
        }
    }

    private static func checkWhole(_ job: JobRecord, _ verb: String, _ code: FleetError.Code) throws(FleetError) {
        if let restore = job.restore {
            throw FleetError(
                code, "\(job.id) is one member's part of a restore, which is \(verb) as a whole",
                hint: "name \(restore)")
        }
    }

    private static func notCommitted(_ job: JobRecord, _ code: FleetError.Code) -> FleetError {
        let what = job.dryRun ? "a dry run" : job.state.isOpen ? "under way" : "a \(job.kind), which \(job.state.ended)"
        let (kinds, act) =
            code == .notUndoable ? ("a restore", "undone") : ("a restore, an undo or a replacement", "cleaned up")
        if job.kind == "replace", job.state == .stuck {
            return FleetError(
                code, "\(job.id) is a replacement that is half-way, and can't be \(act)",
                hint:
                    "carry it to its end: fleetctl member replace \(job.cluster) \(job.node); the job that ends it is the one "
                    + "to name then")
        }
        let isOpen = job.state == .stuck && !job.dryRun
        return FleetError(
            code, "\(job.id) is \(what): only \(kinds) that succeeded on all members can be \(act)",
            hint: isOpen
                ? "bring the member that is stuck to its end, or restore again: fleetctl job show \(job.id)"
                : "list them with: fleetctl job list \(job.cluster)")
    }
}

extension JobState {
    /// "has failed": of one that is over.
    fileprivate var ended: String {
        switch self {
        case .succeeded: "succeeded"
        case .rolledBack: "was rolled back"
        case .stuck: "is stuck"
        case .refused: "was refused"
        case .expired: "was never begun"
        case .lost: "has an end that is not known"
        case .failed, .queued, .delivered, .running: "has failed"
        }
    }
}
