import FleetProtocol

/// Where agents are and what they said of the etcd beside them, as the audit log tells. Pure.
struct AgentHistory {
    /// By cluster and node: it is there to drill, and holds no etcd.
    private var areVerifiers: [String: [String: Bool]] = [:]
    /// How often an agent told of another version, etcd or data directory than before, in the range.
    private(set) var changes = 0

    static let changed = "node.changed"
    /// Of such an event: versions of etcd that the agent can start in a drill.
    static let drills = "drills"

    mutating func feed(_ event: AuditEvent, isInRange: Bool) {
        guard event.outcome == .ok, let cluster = event.cluster, let node = event.subject else { return }
        switch event.action {
        case "enrol": areVerifiers[cluster, default: [:]][node] = areVerifiers[cluster]?[node] ?? false
        case "certificate.revoke": areVerifiers[cluster]?[node] = nil
        case Self.changed:
            if isInRange { changes += 1 }
            areVerifiers[cluster, default: [:]][node] =
                event.detail["discoveryError"] == "no-etcd" && event.detail[Self.drills]?.isEmpty == false
        default: break
        }
    }

    /// Nothing but verifiers are in it: there is nothing to back up.
    func holdsNoEtcd(_ cluster: String) -> Bool {
        guard let nodes = areVerifiers[cluster], !nodes.isEmpty else { return false }
        return nodes.values.allSatisfy(\.self)
    }
}
