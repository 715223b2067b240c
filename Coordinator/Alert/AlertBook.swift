import FleetConcerns
import FleetSystem

extension Concern.Kind {
    /// How long it has to stand before anybody is told; nil: it is nothing to be alarmed by. A node that reboots, and a
    /// coordinator that has just begun and has heard of nobody yet, mend themselves.
    var patience: Duration? {
        switch self {
        case .retentionWaits, .authorityRotation, .alertsHeld: nil
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

/// An alert that people were told of, and that is not over.
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
        var isEmpty: Bool { raised.isEmpty && over.isEmpty }
    }

    /// So long it must not be seen before it counts as over: what comes and goes is one alert.
    static let calm = Duration.seconds(60)

    private var seen: [String: (first: Timestamp, tick: ContinuousClock.Instant)] = [:]
    private var unseen: [String: ContinuousClock.Instant] = [:]

    /// - Parameters:
    ///   - told: by key, what people were told of.
    ///   - tick: a clock that nobody sets.
    mutating func look(
        at concerns: [Concern], told: Set<String>, now: Timestamp, tick: ContinuousClock.Instant
    ) -> Turn {
        var turn = Turn()
        let present = Dictionary(concerns.map { ($0.key, $0) }) { first, _ in first }
        seen = seen.filter { present[$0.key] != nil }
        unseen = unseen.filter { told.contains($0.key) && present[$0.key] == nil }
        for (key, concern) in present.sorted(by: { $0.key < $1.key }) where !told.contains(key) {
            guard let patience = concern.kind.patience else { continue }
            let first = seen[key] ?? (now, tick)
            seen[key] = first
            if tick - first.tick >= patience {
                turn.raised.append(StandingAlert(concern: concern, since: first.first))
            }
        }
        for key in told.sorted() where present[key] == nil {
            let since = unseen[key] ?? tick
            unseen[key] = since
            if tick - since >= Self.calm { turn.over.append(key) }
        }
        return turn
    }
}
