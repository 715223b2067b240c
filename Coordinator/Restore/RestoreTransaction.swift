import FleetProtocol
import FleetSystem

/// A restore of all members of a cluster, as the coordinator decides it: a pure state machine. Its state is folded from
/// records; `next` says what comes, and whoever drives it makes a record durable before it acts on it, so that a
/// coordinator that dies goes on where it was.
///
/// It is two-phase commit with more than one phase before the commit. No member begins a phase before all have ended the
/// one before it. Until `proceed(.commit)` is decided, any failure, refusal or missed deadline recalls the restore on
/// every member; afterwards there is no way but forward. A member decides nothing: one that can't be reached stays where
/// it is, and does its part when it is back.
struct RestoreTransaction: Sendable, Equatable {
    enum Verdict: String, Codable, Sendable { case succeeded, failed, rolledBack, stuck }

    /// How a member's own part ended.
    enum End: Codable, Sendable, Equatable {
        case succeeded
        /// Taken back, or never begun.
        case takenBack
        /// It needs a person; what it says later replaces this.
        case stuck(FleetError)
    }

    enum Record: Codable, Sendable, Equatable {
        case decided(RestoreDecision)
        /// Behind `verify` with what it says of itself and of the cluster.
        case reached(node: String, RestorePhase, MemberProof?)
        case failed(node: String, FleetError)
        case ended(node: String, End)
        /// Its time is over and not all have reached it.
        case overdue(RestorePhase)
        case concluded(Verdict)
    }

    enum Action: Sendable, Equatable {
        /// Make it durable, apply it, tell the members what was decided, ask again.
        case write(Record)
        /// Members are at work. With a phase it has a deadline, after which `overdue` is written.
        case wait(RestorePhase?)
        case end(Verdict, FleetError?)
    }

    private struct Member: Equatable {
        var reached: RestorePhase?
        var proof: MemberProof?
        var problem: FleetError?
        var end: End?
    }

    private let check: ProofCheck
    private var members: [String: Member]
    /// The last, which every member that connects is told.
    private(set) var decision = RestoreDecision.proceed(.prepare)
    private var overdue: RestorePhase?
    /// Something of the running cluster may have been touched.
    private var hasSwitched = false
    private var verdict: Verdict?

    init(_ check: ProofCheck) {
        self.check = check
        members = Dictionary(check.group.members.map { ($0.node, Member()) }) { first, _ in first }
    }

    func next() -> Action {
        switch decision {
        case .recall(let reason):
            guard members.values.allSatisfy({ $0.end != nil }) else { return .wait(nil) }
            return conclude(hasSwitched ? .rolledBack : .failed, reason)
        case .proceed(.commit):
            guard members.values.allSatisfy({ $0.end != nil }) else { return .wait(nil) }
            return conclude(.succeeded, nil)
        case .proceed(let phase):
            if let reason = objection(to: phase) { return .write(.decided(.recall(reason))) }
            guard waiting(for: phase).isEmpty, let following = phase.next else { return .wait(phase) }
            return .write(.decided(.proceed(following)))
        }
    }

    mutating func apply(_ record: Record) {
        switch record {
        case .decided(let decision):
            self.decision = decision
            if case .proceed(let phase) = decision, phase > .prepare { hasSwitched = true }
        case .reached(let node, let phase, let proof):
            let known = members[node]?.reached ?? phase
            members[node]?.reached = max(known, phase)
            if let proof { members[node]?.proof = proof }
        case .failed(let node, let error): members[node]?.problem = error
        case .ended(let node, let end): members[node]?.end = end
        case .overdue(let phase): overdue = phase
        case .concluded(let verdict): self.verdict = verdict
        }
    }

    /// Members that have not ended a phase, by name.
    func waiting(for phase: RestorePhase) -> [String] {
        members.filter { $0.value.reached.map { $0 < phase } ?? true }.keys.sorted()
    }

    /// Members whose part is not over, by name.
    var open: [String] { members.filter { $0.value.end == nil }.keys.sorted() }

    func reached(_ node: String) -> RestorePhase? { members[node]?.reached }

    /// Whether a member has to be told the last decision: what it has ended since, or was begun with, it knows.
    func isToBeTold(_ node: String) -> Bool {
        switch (decision, members[node]?.end) {
        case (_, .succeeded), (_, .takenBack), (.proceed(.prepare), _): false
        case (.proceed(let phase), _): reached(node).map { $0 < phase } ?? true
        case (.recall, _): true
        }
    }

    /// Why the restore can't go on behind `phase`, which every member is to reach.
    private func objection(to phase: RestorePhase) -> FleetError? {
        for (node, member) in members.sorted(by: { $0.key < $1.key }) {
            if let problem = member.problem { return problem.during(node) }
            switch member.end {
            case nil: break
            case .stuck(let error):
                // What to do on that node is said with its own state, which may be another by the time this is read.
                return FleetError(error.code, error.during(node).message)
            case .succeeded, .takenBack:
                return FleetError(.protocolViolation, "\(node) ended its part before that was decided")
            }
        }
        let late = waiting(for: phase)
        if late.isEmpty {
            let proofs = members.compactMapValues(\.proof)
            switch phase {
            case .prepare: return check.objection(planned: proofs)
            case .verify: return check.objection(proofs)
            default: return nil
            }
        }
        guard overdue == phase else { return nil }
        return FleetError(
            .timedOut, "\(late.joined(separator: ", ")) did not end \(phase.rawValue) in time",
            hint: phase == .prepare
                ? "its part is cut off where it is: a slow line, or a slow disk there; nothing was stopped"
                : "see that the agent runs there and that the node is reachable")
    }

    /// A person is asked for while a member is stuck; when that member goes on, so does the verdict.
    private func conclude(_ reached: Verdict, _ reason: FleetError?) -> Action {
        let stuck = members.sorted { $0.key < $1.key }.compactMap { node, member in
            if case .stuck(let error) = member.end { error.during(node) } else { nil }
        }
        let now = stuck.isEmpty ? reached : .stuck
        return verdict == now ? .end(now, stuck.first ?? reason) : .write(.concluded(now))
    }
}
