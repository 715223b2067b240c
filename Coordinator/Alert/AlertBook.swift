import FleetConcerns
import FleetSystem

extension Concern.Kind {
    /// How long it has to stand before anybody is told; nil: it is nothing to be alarmed by. A node that reboots, and a
    /// coordinator that has just begun and has heard of nobody yet, mend themselves.
    var patience: Duration? {
        switch self {
        case .retentionWaits, .authorityRotation, .alertsHeld, .agentsAwaited: nil
        case .backupFailed, .jobFailed, .halfRestored, .drillFailed, .objectiveBroken, .auditBroken, .foreignBackup:
            .zero
        case .storeFull, .snapshotUnusable, .clockWrong, .coordinatorCopy, .policyUnusable, .agentCertificate, .blind,
            .authorityEnds, .upgradeFellBack, .nodeCertificate, .configurationNotKept:
            .seconds(60)
        case .agentLost, .memberMissed, .etcdStopped, .etcdNotFound, .notRestorable, .alertUndelivered: .seconds(300)
        case .taskWaiting: .seconds(900)
        // As a cluster is that is being set up.
        case .noAgent, .noBackup, .membersWithoutAgent: .seconds(3600)
        }
    }
}

/// A matter, and since when it stands.
struct StandingAlert: Sendable, Equatable {
    var concern: Concern
    var since: Timestamp
}

/// Decides what people are told of, from what is to be seen now: each matter once when it has stood for its time, and once
/// when it is over. Pure.
struct AlertBook: Sendable {
    struct Turn: Sendable, Equatable {
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
        /// By key, what people were told of.
        var told: Set<String> = []
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
        unseen = unseen.filter { known.told.contains($0.key) && isGone($0.key) }
        for (key, concern) in present.sorted(by: { $0.key < $1.key }) where !known.told.contains(key) {
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
        turn.forgotten = known.noticed.keys.filter { isGone($0) || known.told.contains($0) }.sorted()
        for key in known.told.sorted() where isGone(key) {
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
