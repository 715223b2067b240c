import FleetProtocol
import FleetSystem

/// Which policy each cluster followed, and which objective it had by that, as the audit log tells. Pure.
///
/// Policies that are applied together are events of one transaction, one after the other: what is in force between two of
/// these never was.
struct PolicyHistory {
    private struct Entry {
        var name: String
        /// nil: what the event says can't be read.
        var policy: FleetPolicy?
    }
    private var policies: [Entry] = []
    private var labels: [String: [String: String]] = [:]
    private(set) var objectives: [String: [AuditReport.Objective]] = [:]
    private(set) var followed: [String: String] = [:]
    /// What could not be read.
    private(set) var notes: [String] = []
    private var unsettled: Timestamp?

    /// Events of one transaction are no further apart.
    private static let together = Duration.seconds(1)

    /// Before anything else is made of an event: what came before it is settled.
    mutating func feed(_ event: AuditEvent) {
        let isPolicy = event.action.hasPrefix("policy.") && event.outcome == .ok
        if let time = unsettled, !isPolicy || event.time.since(time) > Self.together { settle() }
        guard event.outcome == .ok else { return }
        if isPolicy {
            change(event)
            unsettled = event.time
        } else if event.action == "cluster.label", let cluster = event.cluster {
            for (key, value) in event.detail { labels[cluster, default: [:]][key] = value.isEmpty ? nil : value }
            settle(cluster, at: event.time)
        }
    }

    mutating func know(_ cluster: String, at time: Timestamp) {
        guard labels[cluster] == nil else { return }
        labels[cluster] = [:]
        objectives[cluster] = objectives[cluster] ?? []
        settle(cluster, at: time)
    }

    /// It is no cluster any more: it has no labels, follows nothing, and nothing is asked of it.
    mutating func forget(_ cluster: String, at time: Timestamp) {
        settle()
        labels[cluster] = nil
        followed[cluster] = nil
        guard objectives[cluster]?.last?.seconds != nil else { return }
        objectives[cluster]!.append(AuditReport.Objective(from: time, seconds: nil))
    }

    /// At the end.
    mutating func settle() {
        guard let time = unsettled else { return }
        unsettled = nil
        for cluster in labels.keys { settle(cluster, at: time) }
    }

    private mutating func settle(_ cluster: String, at time: Timestamp) {
        guard let labels = labels[cluster], objectives[cluster] != nil else { return }
        // Whatever stands behind one that can't be read is followed by nobody, as in the catalogue.
        let first = policies.first { $0.policy?.selects(cluster, labels: labels) ?? true }
        followed[cluster] = first?.policy?.name
        let seconds = first?.policy?.objective
        if objectives[cluster]!.last?.seconds != seconds || objectives[cluster]!.isEmpty {
            objectives[cluster]!.append(AuditReport.Objective(from: time, seconds: seconds))
        }
    }

    private mutating func change(_ event: AuditEvent) {
        guard let name = event.subject else { return }
        let before = policies.firstIndex { $0.name == name }
        var entry = before.map { policies[$0] } ?? Entry(name: name, policy: nil)
        if let text = event.detail["policy"] {
            entry.policy = try? JSON.decode(FleetPolicy.self, from: Array(text.utf8))
            if entry.policy == nil {
                notes.append(
                    "event \(event.sequence) does not tell all of policy \(name): which clusters followed it from "
                        + "\(event.time) on, and with which objective, is not known")
            }
        }
        if let before { policies.remove(at: before) }
        if event.action == "policy.removed" { return }
        var place = before ?? policies.count
        if let after = event.detail["after"] {
            place = after.isEmpty ? 0 : policies.firstIndex { $0.name == after }.map { $0 + 1 } ?? policies.count
        }
        policies.insert(entry, at: min(place, policies.count))
    }
}
