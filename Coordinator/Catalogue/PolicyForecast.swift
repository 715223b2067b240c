import FleetProtocol
import FleetSystem

/// What would come of policies before they are in force.
extension Catalogue {
    /// Of a dry run: which clusters would follow another one, and what the retention of each would delete, if all were as
    /// wanted, behind the next backups.
    func foretell(
        _ changes: inout [PolicyChange], from stored: [StoredPolicy], to wanted: [FleetPolicy]
    ) throws(FleetError) {
        let clusters = try labelledClusters(nil)
        let before = try Self.followed(stored.map(\.policy), by: clusters)
        // One that can't be read and stays is followed by nobody, as now.
        let unread = Set(stored.filter { $0.policy == nil }.map(\.name))
        let after = try Self.followed(
            wanted.map { unread.contains($0.name) && $0 == FleetPolicy(name: $0.name) ? nil : $0 }, by: clusters)
        var deletes: [String: Int] = [:]
        var moves: [PolicyMove] = []
        for cluster in clusters.map(\.name) {
            let (from, to) = (before[cluster]?.name, after[cluster])
            var count = 0
            if let to {
                count = try deletions(of: cluster, by: to)
                deletes[to.name, default: 0] += count
            }
            if from != to?.name {
                moves.append(PolicyMove(cluster: cluster, from: from, to: to?.name, deletes: count))
            }
        }
        for index in changes.indices {
            let name = changes[index].name
            if changes[index].kind != .removed { changes[index].deletes = deletes[name] ?? 0 }
            changes[index].comes = moves.filter { $0.to == name }
            changes[index].leaves = moves.filter { $0.from == name }
            changes[index].before = stored.first { $0.name == name }?.policy
            changes[index].after = wanted.first { $0.name == name }
        }
    }

    private func deletions(of cluster: String, by policy: FleetPolicy) throws(FleetError) -> Int {
        let record = try retention(cluster).first
        guard record?.keepsAll != true, let rule = record?.policy ?? policy.retention, policy.schedule != nil else {
            return 0
        }
        return Retention.decide(try restorePoints(cluster), rule).count { !$0.isKept }
    }

    /// Of those, how many a policy selects, whether they follow it or one before it.
    static func selected(
        by policy: FleetPolicy, of clusters: [(name: String, labels: [String: String]?)]
    ) -> Int {
        clusters.count { name, labels in labels.map { policy.selects(name, labels: $0) } ?? false }
    }
}
