import FleetProtocol
import FleetSystem

/// What happened to a member's job as the transaction sees it, and its decisions as people read them. Pure.
enum RestoreWords {
    /// - Parameter closed: the job's state and error, where it ended just now.
    static func records(
        node: String, event: JobEvent?, closed: (state: JobState, error: FleetError?)?
    ) -> [RestoreTransaction.Record] {
        if let closed { return records(node, closed.state, closed.error) }
        switch event?.kind {
        case .reached: return event?.phase.map { [.reached(node: node, $0, event?.proof)] } ?? []
        case .held: return [.failed(node: node, event?.error ?? FleetError(.internalError, "no reason was given"))]
        default: return []
        }
    }

    private static func records(
        _ node: String, _ state: JobState, _ error: FleetError?
    ) -> [RestoreTransaction.Record] {
        let problem = error ?? FleetError(.internalError, "the job ended as \(state.rawValue)")
        switch state {
        case .succeeded: return [.ended(node: node, .succeeded)]
        case .failed, .rolledBack, .refused, .expired:
            return [.failed(node: node, problem), .ended(node: node, .takenBack)]
        // Where the node stands is not known: for the others that is as good as stuck.
        case .stuck, .lost: return [.ended(node: node, .stuck(problem))]
        case .queued, .delivered, .running: return []
        }
    }

    static func event(
        _ decision: RestoreDecision, _ plan: FleetProtocol.Operation.Restore, restore: String,
        isUndo: Bool, sequence: Int, time: Timestamp
    ) -> JobEvent {
        switch decision {
        case .proceed(let phase):
            let limit = PhaseLimit.limit(phase, of: plan)
            return JobEvent(
                job: restore, sequence: sequence, time: time, kind: .decided,
                detail: "all members: \(words(phase, isUndo: isUndo))"
                    + (limit.map { " (within \(Int($0.seconds)) s, else it is taken back)" } ?? ""),
                phase: phase)
        case .recall(let reason):
            return JobEvent(
                job: restore, sequence: sequence, time: time, kind: .decided,
                detail: "all members: take everything back, because \(reason.message)", error: reason)
        }
    }

    private static func words(_ phase: RestorePhase, isUndo: Bool) -> String {
        let data = isUndo ? "the data of before" : "the restored data"
        return switch phase {
        case .prepare: "prepare"
        case .quiesce: "all are prepared; stop the control planes"
        case .stop: "no control plane writes any more; stop etcd"
        case .start: "all are off; start etcd on \(data)"
        case .verify: "all run; verify the cluster"
        case .commit: "it is one cluster with the same data on all; finish"
        }
    }
}
