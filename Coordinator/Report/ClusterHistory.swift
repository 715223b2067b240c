import FleetProtocol
import FleetSystem

/// A cluster's snapshots as the audit log tells of them: when each was usable, and what there was at the end of each day.
struct ClusterHistory {
    struct Snapshot {
        var saved: Timestamp
        var size: Int64
        /// One that was saved before a restore is none of a healthy cluster.
        var isBackup: Bool
        /// Its place among `points`, while it is usable.
        fileprivate var point: Int?

        init(saved: Timestamp, size: Int64, isBackup: Bool) {
            self.saved = saved
            self.size = size
            self.isBackup = isBackup
        }
    }

    /// When it was added, and added again; and when it was removed each time. The fleet has it where there are more of the first.
    private(set) var known: [Timestamp]
    private var removals: [Timestamp] = []
    var removed: Timestamp? { removals.count == known.count ? removals.last : nil }
    private let since: Timestamp
    /// Those that are kept, by id.
    private(set) var snapshots: [String: Snapshot] = [:]
    private var points: [ObjectiveCoverage.Point] = []
    private var days: [Int: Counts] = [:]
    /// What was kept before the range.
    private var base = Counts()
    var (proven, unproven, deleted, restores) = (0, 0, 0, 0)

    private struct Counts {
        var (backups, failed, kept) = (0, 0, 0)
        var bytes: Int64 = 0
    }

    init(known: Timestamp, since: Timestamp) {
        self.known = [known]
        self.since = since
    }

    mutating func know(at time: Timestamp) { if removed != nil { known.append(time) } }
    mutating func end(at time: Timestamp) { if removed == nil { removals.append(time) } }

    private mutating func count(at time: Timestamp, _ change: (inout Counts) -> Void) {
        guard time >= since else { return change(&base) }
        let day = ObjectiveCoverage.midnight(time).since(ObjectiveCoverage.midnight(since)).milliseconds
        change(&days[Int(day / ObjectiveCoverage.dayLength), default: Counts()])
    }

    /// Or attempts at one.
    var hasHadSnapshots: Bool {
        !snapshots.isEmpty || !points.isEmpty || base.failed > 0 || days.values.contains { $0.failed > 0 }
    }

    mutating func backedUp(at time: Timestamp) { count(at: time) { $0.backups += 1 } }
    mutating func backupFailed(at time: Timestamp) { count(at: time) { $0.failed += 1 } }

    mutating func add(_ id: String, _ snapshot: Snapshot, isUsable: Bool, at time: Timestamp) {
        snapshots[id] = snapshot
        count(at: time) {
            $0.kept += 1
            $0.bytes += snapshot.size
        }
        if isUsable { reopen(id, at: time) }
    }

    mutating func reopen(_ id: String, at time: Timestamp) {
        guard let snapshot = snapshots[id], snapshot.isBackup, snapshot.point == nil else { return }
        snapshots[id]?.point = points.count
        points.append(.init(saved: snapshot.saved, usableFrom: time, usableUntil: nil))
    }

    mutating func close(_ id: String, at time: Timestamp) {
        guard let point = snapshots[id]?.point else { return }
        points[point].usableUntil = time
        snapshots[id]?.point = nil
    }

    mutating func remove(_ id: String, at time: Timestamp) -> Snapshot? {
        close(id, at: time)
        guard let snapshot = snapshots.removeValue(forKey: id) else { return nil }
        count(at: time) {
            $0.kept -= 1
            $0.bytes -= snapshot.size
        }
        return snapshot
    }

    func told(
        _ name: String, policy: String?, objectives: [AuditReport.Objective], until: Timestamp
    ) -> AuditReport.Cluster {
        var cluster = AuditReport.Cluster(name: name, known: known[0])
        cluster.policy = policy
        cluster.removed = removed
        let before = objectives.last { $0.from <= since }
        cluster.objectives = (before.map { [$0] } ?? []) + objectives.filter { $0.from > since && $0.from <= until }
        let relevant = points.filter { $0.usableUntil.map { $0 >= since } ?? true }
        cluster.days = ObjectiveCoverage.days(
            points: relevant, objectives: objectives, known: known, removals: removals, since: since, until: until)
        var (kept, bytes) = (base.kept, base.bytes)
        for index in cluster.days.indices {
            let counts = days[index] ?? Counts()
            (kept, bytes) = (kept + counts.kept, bytes + counts.bytes)
            cluster.days[index].backups = counts.backups
            cluster.days[index].failed = counts.failed
            cluster.days[index].kept = kept
            cluster.days[index].keptBytes = bytes
            cluster.backups += counts.backups
            cluster.failed += counts.failed
        }
        cluster.newest = points.filter { $0.usableUntil == nil }.map(\.saved).max()
        (cluster.proven, cluster.unproven) = (proven, unproven)
        (cluster.deleted, cluster.restores) = (deleted, restores)
        return cluster
    }
}
