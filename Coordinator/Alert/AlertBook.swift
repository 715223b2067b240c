import FleetConcerns
import FleetSystem

extension Concern.Kind {
    /// How long it has to stand before anybody is told; nil: it is nothing to be alarmed by. A node that reboots, and a
    /// coordinator that has just begun and has heard of nobody yet, mend themselves.
    var patience: Duration? {
        switch self {
        case .retentionWaits, .authorityRotation, .alertsHeld, .agentsAwaited, .unscheduled: nil
        case .backupFailed, .jobFailed, .halfRestored, .drillFailed, .objectiveBroken, .auditBroken, .foreignBackup:
            .zero
        case .storeFull, .snapshotUnusable, .clockWrong, .coordinatorCopy, .policyUnusable, .agentCertificate, .blind,
            .authorityEnds, .upgradeFellBack, .nodeCertificate, .configurationNotKept, .noPolicy:
            .seconds(60)
        case .agentLost, .memberMissed, .etcdStopped, .etcdNotFound, .notRestorable, .alertUndelivered: .seconds(300)
        case .taskWaiting: .seconds(900)
        // As a cluster is that is being set up; and behind a restore the next backup is often due anyway.
        case .noAgent, .noBackup, .membersWithoutAgent, .decryptionNotKept, .noBackupSince: .seconds(3600)
        }
    }
}

/// A matter, and since when it stands.
struct StandingAlert: Sendable, Equatable {
    /// As people were told of it.
    var concern: Concern
    var since: Timestamp
    /// What messages call it: whoever was told of it by another key, before a matter kept its own whatever its level is, hears
    /// that one until it is over.
    var key: String

    init(concern: Concern, since: Timestamp, key: String? = nil) {
        self.concern = concern
        self.since = since
        self.key = key ?? concern.key
    }
}

/// Decides what people are told of, from what is to be seen now: each matter once when it has stood for its time, once more
/// each time that it is worse than they were told, and once when it is over. One that has become better is the same matter:
/// nothing is said of that, nor when it becomes as bad again as it was told to be. Pure.
struct AlertBook: Sendable {
    struct Turn: Sendable, Equatable {
        /// New, or worse than it was told to be.
        var raised: [StandingAlert] = []
        /// Keys.
        var over: [String] = []
        /// New, and it is not time yet to tell anybody: a coordinator that begins anew is to know since when it stands.
        var noticed: [StandingAlert] = []
        /// Keys of such that are gone.
        var forgotten: [String] = []
        var isEmpty: Bool { raised.isEmpty && over.isEmpty && noticed.isEmpty && forgotten.isEmpty }
    }

    /// What is known from before, and is on the disk.
    struct Known: Sendable {
        /// By the matter's key, what people were told of.
        var told: [String: StandingAlert] = [:]
        /// By key, since when what they were not told of yet stands.
        var noticed: [String: Timestamp] = [:]
    }

    /// So long it must not be seen before it counts as over: what comes and goes is one alert.
    static let calm = Duration.seconds(60)

    private var seen: [String: (first: Timestamp, tick: ContinuousClock.Instant)] = [:]
    private var unseen: [String: ContinuousClock.Instant] = [:]

    /// - Parameters:
    ///   - unknown: by key, that of which nothing can be said now: it is neither over nor told of.
    ///   - tick: a clock that nobody sets. It begins anew with the process: across that `now` has to do.
    mutating func look(
        at concerns: [Concern], unknown: Set<String> = [], _ known: Known, now: Timestamp, tick: ContinuousClock.Instant
    ) -> Turn {
        var turn = Turn()
        let present = Dictionary(concerns.map { ($0.key, $0) }) { first, _ in first }
        func isGone(_ key: String) -> Bool { present[key] == nil && !unknown.contains(key) }
        seen = seen.filter { !isGone($0.key) }
        unseen = unseen.filter { known.told[$0.key] != nil && isGone($0.key) }
        for (key, concern) in present.sorted(by: { $0.key < $1.key }) {
            if var alert = known.told[key] {
                guard concern.rank > alert.concern.rank else { continue }
                alert.concern = concern
                turn.raised.append(alert)
                continue
            }
            guard let patience = concern.kind.patience else { continue }
            let first = seen[key] ?? known.noticed[key].map { Self.recalled($0, now, tick) } ?? (now, tick)
            seen[key] = first
            let alert = StandingAlert(concern: concern, since: first.first)
            if tick - first.tick >= patience {
                turn.raised.append(alert)
            } else if known.noticed[key] == nil {
                turn.noticed.append(alert)
            }
        }
        turn.forgotten = known.noticed.keys.filter { isGone($0) || known.told[$0] != nil }.sorted()
        for key in known.told.keys.sorted() where isGone(key) {
            let since = unseen[key] ?? tick
            unseen[key] = since
            if tick - since >= Self.calm { turn.over.append(key) }
        }
        return turn
    }

    /// A time that is not yet was written by a clock that was wrong.
    private static func recalled(
        _ since: Timestamp, _ now: Timestamp, _ tick: ContinuousClock.Instant
    ) -> (first: Timestamp, tick: ContinuousClock.Instant) {
        let first = min(since, now)
        return (first, tick - now.since(first))
    }
}
