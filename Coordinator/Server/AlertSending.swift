import FleetConcerns
import FleetProtocol
import FleetReactor
import FleetSystem

/// Who wants to be told is told: what needs attention is looked at again and again, and what is new, or over, is sent.
extension CoordinatorServer {
    private static let pause = Duration.seconds(15)

    func keepAlerts() async {
        var book = AlertBook()
        while !Task.isCancelled {
            let started = ContinuousClock.now
            do throws(FleetError) { try await lookForAlerts(&book) } catch {
                log.error("what needs attention could not be looked at, and will be again", error)
            }
            // A twentieth of the catalogue's time, as metrics.
            try? await Task.sleep(for: max(Self.pause, min((ContinuousClock.now - started) * 20, .seconds(120))))
        }
    }

    func lookForAlerts(
        _ book: inout AlertBook, now: Timestamp = .now(), tick: ContinuousClock.Instant = .now
    ) async throws(FleetError) {
        guard try await !catalogue.alertsAreHeld() else { return }
        let standing = try await catalogue.standingAlerts()
        let noticed = try await catalogue.noticedAlerts()
        let (concerns, unknown) = await seen(besides: (standing + noticed).map(\.concern))
        let known = AlertBook.Known(
            told: Dictionary(standing.map { ($0.concern.key, $0) }) { $0.concern.rank < $1.concern.rank ? $1 : $0 },
            noticed: Dictionary(noticed.map { ($0.concern.key, $0.since) }) { first, _ in first })
        let turn = book.look(at: concerns, unknown: Set(unknown.map(\.key)), known, now: now, tick: tick)
        let over = try await catalogue.turnAlerts(turn, fleet: configuration.advertise.description)
        for alert in turn.raised { log.with(alert.concern).warning("alert: \(alert.concern.line)") }
        for alert in over { log.with(alert.concern).info("over: \(alert.concern.text)") }
    }

    /// What is to be seen now, and of what nothing is. Where a disk or the catalogue fails, that is one more concern, and all that
    /// was known may be so still.
    private func seen(besides known: [Concern]) async -> (concerns: [Concern], unknown: [Concern]) {
        do throws(FleetError) {
            var status = try await status()
            // How long it has to stand before anybody is told, the book knows; what moved within the last minute does not stand.
            status.waiting? += (status.queue ?? []).filter { one in
                one.since.map { status.time.since($0) >= .seconds(60) } ?? true
            }
            return (Concern.all(status), Concern.unknown(of: known, in: status))
        } catch {
            let blind = Concern(
                .blind, "the coordinator can't tell what needs attention: \(error.message)",
                action: error.hint ?? "on its host: journalctl -u fleet-coordinator")
            return ([blind], known.filter { $0.kind != .blind })
        }
    }

    /// The summary of the audit chain looks at what is new; what was changed behind it is found once a day.
    func walkChainDaily() async {
        while !Task.isCancelled {
            try? await Task.sleep(for: .seconds(86_400))
            do throws(FleetError) { _ = try await catalogue.verifyAudit() } catch {
                log.error("the audit chain could not be walked", error)
            }
        }
    }

    private static let threads = Blocking(limit: 4)

    /// Waits for others' servers and programs on threads of its own: those of the disk have better to do.
    static func messengers<Value: Sendable>(
        _ body: @escaping @Sendable () throws(FleetError) -> Value
    ) async throws(FleetError) -> Value {
        do { return try await threads.run(body) } catch { throw FleetError(error) }
    }

    /// Each target by itself: one that does not answer keeps no other waiting.
    func sendAlerts() async {
        while !Task.isCancelled {
            do throws(FleetError) { try await sendDueAlerts() } catch {
                log.error("alerts could not be sent, and will be", error)
            }
            try? await Task.sleep(for: .seconds(5))
        }
    }

    func sendDueAlerts() async throws(FleetError) {
        guard try await !catalogue.alertsAreHeld() else { return }
        let busy = sending.withLock(\.self)
        for delivery in try await catalogue.dueAlerts() where !busy.contains(delivery.target) {
            sending.withLock { _ = $0.insert(delivery.target) }
            Task {
                var next: AlertDelivery? = delivery
                while let delivery = next, !Task.isCancelled { next = await send(delivery) }
                sending.withLock { _ = $0.remove(delivery.target) }
            }
        }
    }

    /// So long nothing is sent to a target of which the catalogue can't record what it took: it would be sent the same again and
    /// again.
    private static let unrecordedPause = Duration.seconds(60)

    /// - Returns: what the same target is to be sent next.
    func send(_ delivery: AlertDelivery, pause: Duration = unrecordedPause) async -> AlertDelivery? {
        let log = log.with("target", delivery.target)
        do throws(FleetError) {
            if !taken.withLock({ $0.contains(delivery.id) }) {
                do throws(FleetError) {
                    try await Self.messengers { () throws(FleetError) in
                        try delivery.route.send(Array(delivery.body.utf8), id: delivery.id)
                    }
                } catch {
                    let isGivenUp = try await catalogue.undelivered(delivery, error)
                    let then = isGivenUp ? "and is too old to be tried again" : "and will be tried again"
                    log.warning("an alert was not delivered, \(then): \(error.message)")
                    return error.isRetryable ? nil : try await catalogue.dueAlerts(to: delivery.target).first
                }
                taken.withLock { _ = $0.insert(delivery.id) }
            }
            try await catalogue.delivered(delivery)
            taken.withLock { _ = $0.remove(delivery.id) }
            return try await catalogue.dueAlerts(to: delivery.target).first
        } catch {
            log.error("what became of an alert could not be recorded, and will be", error)
            try? await Task.sleep(for: pause)
            return nil
        }
    }
}

extension Log {
    fileprivate func with(_ concern: Concern) -> Log {
        with("alert", concern.kind.rawValue).with("cluster", concern.cluster ?? "")
    }
}
