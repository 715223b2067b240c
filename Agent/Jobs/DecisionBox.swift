internal import FleetProtocol
internal import FleetSystem

/// Where the coordinator's word about a restore waits for whoever carries that restore out. Only the newest counts,
/// since each says all that was said before it.
actor DecisionBox {
    private var newest: (counter: UInt64, decision: RestoreDecision)?
    private var taken: RestoreDecision?
    private var waiter: CheckedContinuation<Void, Never>?

    /// Messages overtake each other: one with a lower counter was decided before.
    func offer(_ decision: JobDecision) {
        guard decision.counter > newest?.counter ?? 0 else { return }
        newest = (decision.counter, decision.decision)
        wake()
    }

    /// What is new since the last time, nil without anything.
    func take() -> RestoreDecision? {
        guard let decision = newest?.decision, decision != taken else { return nil }
        taken = decision
        return decision
    }

    /// Returns when there may be something to take, or the time is over.
    func wait(atMost limit: Duration) async {
        guard newest?.decision == taken else { return }
        let timer = Task {
            try? await Task.sleep(for: limit)
            self.wake()
        }
        await withCheckedContinuation { waiter = $0 }
        timer.cancel()
    }

    private func wake() {
        waiter?.resume()
        waiter = nil
    }
}
