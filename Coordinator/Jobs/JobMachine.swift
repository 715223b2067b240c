import FleetProtocol
import FleetSystem

/// One job on the coordinator: what happened goes in, what is to be done comes out. Pure; the catalogue keeps its
/// state, the server does its commands.
///
/// What holds, whatever happens in whatever order:
/// - The agent begins a job at most once, since every copy of it that it accepts needs a counter above the last one; a
///   restore is never sent with a second counter.
/// - An outcome that the agent reported is final, but for `stuck`: somebody may have helped, and the agent may have
///   carried the job to an end after all. So is its refusal, until it reports an outcome: then it refused one copy of
///   the job and carried out another. `lost` and `expired` are the coordinator's own verdicts, and only an
///   outcome of the agent replaces them.
/// - No job stays open for ever: `tick` closes what was not heard of for as long as `Limits` says.
/// - What comes twice changes nothing the second time.
struct JobMachine: Sendable, Equatable {
    enum Kind: String, Sendable { case backup, restore, drill, cleanup, member, upgrade }

    /// How long the coordinator waits before it says that it does not know.
    struct Limits: Sendable, Equatable {
        /// Without a sign of life of a job while its agent is away.
        var silence: Duration
        /// Whatever the agent says. A job is hours of streaming at the very most.
        var longest: Duration
        /// Copies with a counter of their own, the first included.
        var attempts: Int

        static func limits(_ kind: Kind) -> Limits {
            switch kind {
            // Another member can do it meanwhile.
            case .backup: Limits(silence: .seconds(1200), longest: .seconds(24 * 3600), attempts: 3)
            case .drill: Limits(silence: .seconds(2 * 3600), longest: .seconds(24 * 3600), attempts: 3)
            // An act is done again where it was cut off: its cluster waits for it in the middle.
            case .member: Limits(silence: .seconds(600), longest: .seconds(24 * 3600), attempts: 3)
            // Nothing that runs is touched by it, and its cluster can't be backed up until it is over.
            case .cleanup: Limits(silence: .seconds(600), longest: .seconds(24 * 3600), attempts: 3)
            // A new program has two minutes to come back, and behind it the one of before: whoever does not is looked for.
            case .upgrade: Limits(silence: .seconds(600), longest: .seconds(2 * 3600), attempts: 3)
            // A restore that waits for a machine to be repaired is still the same restore.
            case .restore: Limits(silence: .seconds(24 * 3600), longest: .seconds(7 * 24 * 3600), attempts: 1)
            }
        }
    }

    enum Input: Sendable, Equatable {
        /// The envelope is about to be put on the wire. Recorded before that: what was never recorded was never sent.
        case sending
        /// The agent's answer to the delivery, or its event of that name.
        case accepted
        case refused(FleetError)
        /// - isNew: whether this sequence number was not recorded before.
        case event(JobEvent, isNew: Bool)
        /// The agent has connected and told what it has.
        case registered(isActive: Bool, lastCounter: UInt64)
        /// Bytes of the job's snapshot are arriving or leaving.
        case transferring
        /// Time has passed, or the coordinator has started again; `isConnected` says whether the agent is there.
        case tick(isConnected: Bool)
        /// The agent may not connect any more, so nothing more will be heard of it.
        case revoked
    }

    enum Command: Sendable, Equatable {
        /// Sign the present attempt and send it.
        case deliver
        /// Make another attempt with a counter of its own, then send it.
        case renew
        case record(JobEvent)
        /// The state is final now, or was replaced by the agent's own word.
        case close(JobState, FleetError?)
    }

    let kind: Kind
    var state = JobState.queued
    var attempt = 1
    var counter: UInt64
    var created: Timestamp
    /// Of the present attempt.
    var issued: Timestamp
    var expires: Timestamp
    var lastHeard: Timestamp?
    /// A backup's snapshot is in the store and in the catalogue.
    var isSnapshotStored = false
    /// Why what is stored is no backup of its cluster all the same; nil where it is one.
    var storedProblem: FleetError?
    /// What the coordinator itself has against a success that the agent reports.
    var objection: FleetError?
    /// `state` is what the agent itself reported.
    var isAgentsWord = false

    var limits: Limits { .limits(kind) }
    private static let patience = Duration.seconds(30)

    mutating func handle(_ input: Input, at now: Timestamp) -> [Command] {
        switch input {
        case .sending:
            guard state == .queued || state == .delivered else { return [] }
            if state == .queued, now >= expires { return expire() }
            state = .delivered
            return []
        case .accepted:
            accept(at: now)
            return []
        case .refused(let error):
            // An answer to a copy that came late: the job runs already, or has ended.
            guard state == .queued || state == .delivered else { return [] }
            // The agent has met this counter before: it may well be doing the job, with the first answer lost. Its
            // events will tell, or its next registration.
            if error.code == .jobReplayed { return [] }
            // An act of a replacement has its turn when the other job has ended: sent again until it expires.
            if kind == .member, error.code == .busy { return [] }
            return close(.refused, error, isAgentsWord: true)
        case .event(let event, let isNew):
            guard isNew else { return [] }
            return [.record(event)] + handle(event, at: now)
        case .registered(let isActive, let lastCounter):
            return registered(isActive, lastCounter, at: now)
        case .transferring:
            accept(at: now)
            return []
        case .tick(let isConnected): return tick(isConnected, at: now)
        case .revoked:
            guard state.isOpen else { return [] }
            // What was never sent was never begun.
            let isUnknown = kind == .restore && state != .queued
            return storedAnyway() ?? close(isUnknown ? .lost : .failed, Self.revoked(isUnknown))
        }
    }

    private mutating func accept(at now: Timestamp) {
        guard state.isOpen else { return }
        state = .running
        lastHeard = now
    }

    private mutating func handle(_ event: JobEvent, at now: Timestamp) -> [Command] {
        accept(at: now)
        guard event.kind == .outcome, !isAgentsWord || state == .stuck || state == .refused else { return [] }
        guard let outcome = event.outcome else {
            return close(
                .failed, FleetError(.malformed, "the agent reported an end without an outcome"), isAgentsWord: true)
        }
        let error = outcome.error ?? FleetError(.internalError, outcome.summary)
        // A backup is what lies in the store, not what the agent believes: it may have died before the receipt came.
        if kind == .backup, isSnapshotStored {
            return close(storedProblem == nil ? .succeeded : .failed, storedProblem, isAgentsWord: true)
        }
        switch outcome.result {
        case .succeeded:
            if kind == .backup { return close(.failed, Self.notStored, isAgentsWord: true) }
            if let objection { return close(.failed, objection, isAgentsWord: true) }
            return close(.succeeded, nil, isAgentsWord: true)
        case .failed: return close(.failed, error, isAgentsWord: true)
        case .rolledBack: return close(.rolledBack, error, isAgentsWord: true)
        case .stuck: return close(.stuck, error, isAgentsWord: true)
        case .refused: return close(.refused, error, isAgentsWord: true)
        }
    }

    private mutating func registered(_ isActive: Bool, _ lastCounter: UInt64, at now: Timestamp) -> [Command] {
        guard state.isOpen else { return [] }
        if isActive {
            accept(at: now)
            return []
        }
        switch state {
        case .queued, .delivered:
            // The agent has not begun it, and after this moment never will.
            if now >= expires { return expire() }
            // It can still accept the present copy.
            if lastCounter < counter { return [.deliver] }
            // The counter is used up and the job is not there: the agent died between the two, or its counter was
            // ahead of ours. No copy that it was ever given can be begun any more.
            if state == .queued || attempt < limits.attempts {
                attempt += 1
                state = .queued
                return [.renew]
            }
            return close(.lost, Self.forgotten(kind))
        case .running:
            if let stored = storedAnyway() { return stored }
            // Done again, all but a restore do no harm, so this one may be said to have failed.
            return close(kind == .restore ? .lost : .failed, Self.forgotten(kind))
        default: return []
        }
    }

    private mutating func tick(_ isConnected: Bool, at now: Timestamp) -> [Command] {
        guard state.isOpen else { return [] }
        if state != .running, now < expires {
            // The agent is there and has not answered: the message went into a connection that was dead already, just
            // when the next one was made. Where it is still on its way, the server sends no second one. Not at once, though.
            return isConnected && now >= issued.adding(Self.patience) ? [.deliver] : []
        }
        if state == .queued { return expire() }
        let isTooLong = now >= created.adding(limits.longest)
        // An agent that is connected answers for the job that it runs, not for one that it never spoke of.
        let isAnswered = state == .running && isConnected
        let heard = max(lastHeard ?? created, state == .delivered ? expires : created)
        guard isTooLong || (!isAnswered && now >= heard.adding(limits.silence)) else { return [] }
        return storedAnyway() ?? close(.lost, Self.silent(kind, since: lastHeard))
    }

    /// The agent's last word is missing, the backup is not.
    private mutating func storedAnyway() -> [Command]? {
        guard kind == .backup, isSnapshotStored else { return nil }
        return close(storedProblem == nil ? .succeeded : .failed, storedProblem)
    }

    private mutating func expire() -> [Command] {
        close(
            .expired,
            FleetError(
                .timedOut, "the agent did not accept the job in time",
                hint: "see whether the agent is connected with: fleetctl agent list", retryable: true))
    }

    private mutating func close(_ state: JobState, _ error: FleetError?, isAgentsWord: Bool = false) -> [Command] {
        self.state = state
        self.isAgentsWord = isAgentsWord
        return [.close(state, error)]
    }
}

extension FleetError.Code {
    /// How a job ended is not known.
    static let jobLost: Self = "job-lost"
    /// The agent's refusal of a counter that is not above its last one.
    static let jobReplayed: Self = "replayed-job"
    /// The agent says that it has saved a snapshot, which is not in the store.
    static let snapshotNotStored: Self = "snapshot-not-stored"
}

extension JobMachine {
    private static let notStored = FleetError(
        .snapshotNotStored, "the agent reported success, but its snapshot is not in the store",
        hint: "run the backup again; if it happens again, look at the logs of both sides")

    private static func forgotten(_ kind: Kind) -> FleetError {
        FleetError(
            .jobLost, "the agent came back and does not know the job any more", hint: advice(kind),
            retryable: kind != .restore)
    }

    private static func silent(_ kind: Kind, since: Timestamp?) -> FleetError {
        FleetError(
            .jobLost, since.map { "the agent was not heard of since \($0)" } ?? "the agent never answered",
            hint: advice(kind), retryable: kind != .restore)
    }

    private static func revoked(_ isUnknown: Bool) -> FleetError {
        FleetError(
            .jobLost, "the agent was revoked before it told how the job ended",
            hint: isUnknown
                ? "if the node is gone for good, take the member out of etcd (etcdctl member remove) and of the others' "
                    + "initial-cluster; if it comes back, fleet-agent enroll --force there, and it does its part. Until then let no "
                    + "etcd run there: where it stands is not known" : nil)
    }

    private static func advice(_ kind: Kind) -> String {
        switch kind {
        case .backup: "a backup changes nothing on the node: run it again"
        case .drill: "a drill changes nothing on the node: run it again"
        case .cleanup: "no running etcd is touched by it: run it again"
        case .upgrade:
            "if its agent does not come back, look at the node: journalctl -u fleet-agent; its package's program runs again "
                + "where the agent is stopped, program/choice.json removed from its state directory, and the agent started"
        case .member: "it looks at what is there first: it can be done again"
        case .restore: "look at the node before anything else: its agent keeps a journal of what it did"
        }
    }
}
