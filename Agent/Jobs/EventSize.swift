internal import FleetProtocol
internal import FleetSystem

/// An event has to fit into a frame: one that did not could never be sent, and all behind it would wait for ever. So
/// texts have a limit, and a plan gives way in parts: first what its files have around the change, then the files'
/// texts, then all of it.
extension JobEvent {
    /// Encoded bytes; a frame holds 256 KiB.
    static let sizeLimit = 190_000
    private static let textLimit = 4 << 10

    func fitting() throws(FleetError) -> JobEvent {
        var event = self
        event.cap(Self.textLimit)
        if try event.fits() { return event }
        event.changeFiles { $0.aroundTheChange }
        if try event.fits() { return event }
        event.changeFiles { change in
            let size = change.after.utf8.count
            return .init(path: change.path, before: "", after: "(\(size) bytes: too long to be told)\n")
        }
        if try event.fits() { return event }
        event.outcome?.plan = nil
        event.cap(Self.textLimit / 8)
        return event
    }

    private func fits() throws(FleetError) -> Bool { try JSON.encode(self).count <= Self.sizeLimit }

    private mutating func cap(_ limit: Int) {
        step = step?.capped(limit)
        detail = detail?.capped(limit)
        error = error?.capped(limit)
        guard var outcome else { return }
        outcome.error = outcome.error?.capped(limit)
        outcome.summary = outcome.summary.capped(limit)
        outcome.unhealthy = outcome.unhealthy?.capped(limit)
        outcome.notes = outcome.notes?.map { $0.capped(limit) }
        if let steps = outcome.plan?.steps {
            outcome.plan?.steps = steps.map { step in
                var step = step
                step.description = step.description.capped(limit)
                return step
            }
        }
        self.outcome = outcome
    }

    private mutating func changeFiles(_ body: (RestorePlan.FileChange) -> RestorePlan.FileChange) {
        if let changes = outcome?.plan?.changes { outcome?.plan?.changes = changes.map(body) }
    }
}

extension RestorePlan.FileChange {
    /// The lines that change and three on either side, which a diff shows the same.
    fileprivate var aroundTheChange: Self {
        guard let before else { return self }
        let old = before.split(separator: "\n", omittingEmptySubsequences: false)
        let new = after.split(separator: "\n", omittingEmptySubsequences: false)
        let shorter = min(old.count, new.count)
        var head = 0
        while head < shorter, old[head] == new[head] { head += 1 }
        var tail = 0
        while tail < shorter - head, old[old.count - 1 - tail] == new[new.count - 1 - tail] { tail += 1 }
        func middle(_ lines: [Substring]) -> String {
            lines[max(0, head - 3)..<(lines.count - max(0, tail - 3))].joined(separator: "\n")
        }
        return .init(path: path, before: middle(old), after: middle(new))
    }
}

extension FleetError {
    fileprivate func capped(_ limit: Int) -> FleetError {
        FleetError(code, message.capped(limit), hint: hint?.capped(limit), retryable: isRetryable)
    }
}

extension String {
    fileprivate func capped(_ limit: Int) -> String {
        let size = utf8.count
        return size <= limit ? self : String(decoding: utf8.prefix(limit), as: UTF8.self) + " [cut: \(size) bytes]"
    }
}
