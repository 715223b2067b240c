internal import FleetProtocol
internal import FleetSystem

/// The course of a restore as a pure state machine. Its state is folded from the journal's records; `next` says what
/// comes, and whoever drives it writes a record before it acts on it. So a crash at any moment loses nothing but the
/// knowledge whether the last act was finished, and every act can be done again.
///
/// - Forward: each step is `started`, performed, `done`.
/// - A failure in the preparation: what it made is removed, the job has failed, nothing was touched.
/// - A failure in the switch or the verification: the steps that were begun are undone from the last to the first.
/// - A failure while undoing, or behind the commit: stuck, with words for where the node stands.
/// - After a crash on the same boot: the step that was begun is done again. After another boot the processes are not
///   what the journal says, so the switch is done again from its first step on.
///
/// As one of several members it decides nothing: it waits before each phase until the coordinator has released it, and
/// after a failure until the coordinator has recalled the restore.
struct RestoreMachine: Sendable, Equatable {
    enum Verdict: String, Codable, Sendable { case succeeded, failed, rolledBack, stuck }

    enum Action: Equatable, Sendable {
        /// Write it, apply it, ask again.
        case write(RestoreEntry)
        /// Do it, then write and apply `done` or `failed`.
        case perform(RestoreStep)
        /// Take it back, then write and apply `undone` or `undoFailed`.
        case undo(RestoreStep)
        /// Tell the coordinator how far it came, or why it can't go on; then write and apply what it decides.
        case wait(reached: RestorePhase, FleetError?)
        case end(Verdict, FleetError?)
    }

    private enum Course: Equatable {
        case forward
        /// It failed, and the coordinator has not decided yet.
        case held(FleetError)
        case back(because: FleetError)
        case stuck(FleetError)
        case ended(Verdict, FleetError?)
    }

    private let steps: [RestoreStep]
    private var boot: BootIdentity
    private var course = Course.forward
    /// Index of the step that is next, or under way.
    private var position = 0
    private var isUnderWay = false
    /// Steps that were begun and not undone, in order.
    private var begun: [RestoreStep] = []
    /// Something of the running cluster was touched, whether or not it is back by now.
    private var hasSwitched = false
    /// The phase up to which it may go.
    private(set) var released: RestorePhase
    private let isMember: Bool
    /// As one of several it has once come to the end of its verification: only from then on others may be committed.
    private(set) var wasVerified = false
    /// What the outcome says besides the verdict: of the way forward, and of the way back.
    private(set) var remarks: [String] = []
    private(set) var remarksBack: [String] = []
    private(set) var unhealthy: [String] = []

    /// - Parameter isMember: of several that are restored together.
    init(steps: [RestoreStep], boot: BootIdentity, isMember: Bool = false) {
        self.steps = steps
        self.boot = boot
        self.isMember = isMember
        released = isMember ? .prepare : .commit
    }

    init(_ work: RestoreWork, _ boot: BootIdentity) {
        self.init(steps: work.steps, boot: boot, isMember: work.group != nil)
    }

    func next() -> Action {
        switch course {
        case .ended(let verdict, let error): return .end(verdict, error)
        case .stuck(let error): return .end(.stuck, error)
        case .forward:
            guard position < steps.count else { return .write(.concluded(.succeeded)) }
            let step = steps[position]
            guard step.phase <= released else { return .wait(reached: released, nil) }
            return isUnderWay ? .perform(step) : .write(.started(step))
        case .held(let error): return .wait(reached: released, error)
        case .back:
            guard let step = begun.last else {
                return .write(.concluded(hasSwitched ? .rolledBack : .failed))
            }
            return isUnderWay ? .undo(step) : .write(.undoStarted(step))
        }
    }

    mutating func apply(_ record: RestoreEntry) {
        switch record {
        case .planned: break
        case .started(let step):
            isUnderWay = true
            // Done again after a reboot, it is in its place already.
            if !begun.contains(step) { begun.append(step) }
            if step.phase != .prepare { hasSwitched = true }
        case .done(_, _, let remark):
            isUnderWay = false
            Self.add(remark, to: &remarks)
            position += 1
            if position < steps.count, steps[position].phase > .verify { wasVerified = true }
        case .failed(let step, let error):
            isUnderWay = false
            if isCommitted(at: step) {
                course = .stuck(error)
            } else {
                course = isMember ? .held(error) : .back(because: error)
            }
        case .undoStarted: isUnderWay = true
        case .undone(_, let remark, let notHealthy):
            isUnderWay = false
            Self.add(remark, to: &remarksBack)
            Self.add(notHealthy, to: &unhealthy)
            begun.removeLast()
        case .undoFailed(_, let error):
            isUnderWay = false
            course = .stuck(error)
        case .decided(let decision): follow(decision)
        case .resumed(let boot, let expired): resume(boot, expired)
        case .concluded(let verdict):
            isUnderWay = false
            let reason: FleetError? = if case .back(let error) = course { error } else { nil }
            course = .ended(verdict, reason)
        }
    }

    /// As one of several members it was told that there is no way back.
    var isCommitted: Bool { isMember && released == .commit }

    /// A step that is done again after a reboot may say the same once more.
    private static func add(_ remark: String?, to remarks: inout [String]) {
        if let remark, !remarks.contains(remark) { remarks.append(remark) }
    }

    /// Whether there is no way back any more. As one of several that is so from the coordinator's word on, though a step
    /// before it may have to be done again after a reboot.
    private func isCommitted(at step: RestoreStep) -> Bool {
        isMember ? released == .commit : step.phase == .commit
    }

    private mutating func follow(_ decision: RestoreDecision) {
        switch (decision, course) {
        case (.proceed(let phase), .forward): released = max(released, phase)
        case (.proceed(.commit), .held):
            // It had ended everything before, and failed when a reboot had it do that again: the others go on with the
            // restored data, so it tries until it does too.
            released = .commit
            course = .forward
        case (.recall, .forward) where released == .commit: break
        case (.recall(let reason), .forward): course = .back(because: reason)
        case (.recall, .held(let error)): course = .back(because: error)
        // On its way back or at its end, what comes late says nothing new.
        default: break
        }
    }

    private mutating func resume(_ now: BootIdentity, _ expired: Bool) {
        let rebooted = now != boot
        boot = now
        isUnderWay = false
        switch course {
        case .ended: break
        case .stuck(let error):
            // Somebody looked and started the agent again: it tries once more where it stopped.
            let goesOn = position < steps.count && isCommitted(at: steps[position])
            course = goesOn ? .forward : .back(because: error)
        case .back, .held: break
        case .forward:
            guard position < steps.count else { break }
            // Before a gate it is still in the phase behind it.
            let phase = min(steps[position].phase, released)
            if phase == .prepare, expired, !isMember {
                course = .back(
                    because: FleetError(
                        .expiredJob, "the agent ended during the preparation, and the job's time is over",
                        hint: "nothing was changed; start the restore again"))
            } else if rebooted, phase > .prepare, phase < .commit,
                let first = steps.firstIndex(where: { $0.phase > .prepare })
            {
                // Not in the commit phase: the control plane may have written since, and is not to be stopped again.
                // What was begun before the reboot is still on the disk, and stays to be undone.
                position = first
            }
        }
    }
}
