import FleetProtocol
import FleetSystem

/// How an act's job ended as the transaction sees it, and what acts are in words. Pure.
extension ReplaceTransaction.End {
    init(_ state: JobState, _ error: FleetError?, _ report: MemberReport?) {
        self.report = report
        guard state != .succeeded else { return }
        let problem = error ?? FleetError(.internalError, "the job ended as \(state.rawValue)")
        self.error = problem
        isCut = Self.cuts.contains(problem.code)
        isUntouched = state == .refused || state == .expired
    }

    /// The agent was killed, or did not know the job any more.
    private static let cuts: Set<FleetError.Code> = ["interrupted", .jobLost]
}

enum ReplaceWords {
    static func words(_ act: Operation.Act) -> String {
        switch act {
        case .look: "say what etcd is there"
        case .plan(_, let dryRun): dryRun ? "plan" : "plan, and try all that can fail"
        case .stop: "stop etcd"
        case .back: "no member was removed: start etcd again as it was"
        case .readmit(let member?, let name, _): "remove member \(member), add \(name) as a learner"
        case .readmit(nil, let name, _): "add \(name) as a learner"
        case .join(let member): "start etcd on an empty directory as \(member)"
        case .promote(let member): "make \(member) a voter when it has caught up"
        case .prove(let revision): "hash all keys up to revision \(revision)"
        }
    }

    static func event(
        _ record: ReplaceTransaction.Record, replacement: String, sequence: Int, time: Timestamp
    ) -> JobEvent? {
        guard case .assigned(_, let node, let act, _) = record else { return nil }
        return JobEvent(
            job: replacement, sequence: sequence, time: time, kind: .decided, detail: "\(node): \(words(act))")
    }

    /// One line for people, of a replacement that went through.
    static func success(_ terms: ReplaceTransaction.Order, _ course: ReplaceCourse?, joined: String?) -> String {
        if terms.dryRun {
            if case .promote(let member) = course {
                return
                    "member \(member) on \(terms.node) is a learner that runs: it would be made a voter; nothing was "
                    + "changed"
            }
            return "planned; nothing was changed"
        }
        return "the member on \(terms.node) is replaced; all \(terms.others.count + 1) members serve the same"
            + (joined.map { "; \($0)" } ?? "")
    }
}

extension ReplaceTransaction.Verdict {
    var state: JobState {
        switch self {
        case .succeeded: .succeeded
        case .failed: .failed
        case .stuck: .stuck
        }
    }
}
