import FleetProtocol
import FleetSystem

/// How often a node's configuration is stored: a node whose files change all the time, or an agent in bad hands, must not fill
/// the store.
actor BundleQuota {
    /// An hour.
    static let limit = 6
    private static let period = Duration.seconds(3600)

    private var stored: [NodeName: [ContinuousClock.Instant]] = [:]

    /// - Throws: `busy` where so many were stored within the hour.
    func check(_ node: NodeName, at now: ContinuousClock.Instant = .now) throws(FleetError) {
        guard recent(node, now).count >= Self.limit else { return }
        throw FleetError(
            .busy, "the configuration of \(node) was stored \(Self.limit) times within an hour, and has changed again",
            hint: "see there which file of it changes all the time: fleetctl bundle show SNAPSHOT --node \(node.node)")
    }

    /// - Throws: the same.
    func take(_ node: NodeName, at now: ContinuousClock.Instant = .now) throws(FleetError) {
        try check(node, at: now)
        stored[node] = recent(node, now) + [now]
    }

    private func recent(_ node: NodeName, _ now: ContinuousClock.Instant) -> [ContinuousClock.Instant] {
        (stored[node] ?? []).filter { now - $0 < Self.period }
    }
}

/// Agents that send a configuration: each holds one in memory meanwhile. Apart from operators' desk, so that neither keeps the
/// other waiting.
actor BundleDesk {
    private static let seats = 8
    private var sitting: Set<NodeName> = []

    /// - Throws: `busy` where the node has a seat already, or all are taken; what `body` throws.
    nonisolated func seat(_ node: NodeName, _ body: () async throws(FleetError) -> Void) async throws(FleetError) {
        try await sit(node)
        do throws(FleetError) { try await body() } catch {
            await rise(node)
            throw error
        }
        await rise(node)
    }

    private func sit(_ node: NodeName) throws(FleetError) {
        guard !sitting.contains(node) else {
            throw FleetError(.busy, "\(node) is sending its configuration already", retryable: true)
        }
        guard sitting.count < Self.seats else {
            throw FleetError(.busy, "\(Self.seats) other nodes are sending their configuration", retryable: true)
        }
        sitting.insert(node)
    }

    private func rise(_ node: NodeName) { sitting.remove(node) }
}
