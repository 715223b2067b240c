import FleetProtocol
import FleetSQLite
import FleetSchedule
import FleetSystem

extension Catalogue {
    // MARK: labels

    /// - Throws: `not-found`, `usage`.
    func label(_ request: LabelRequest, by actor: String) throws(FleetError) -> ClusterRecord {
        var event = Act("cluster.label", by: actor, cluster: request.cluster)
        for (key, value) in request.set { event.detail[key] = value }
        for key in request.remove { event.detail[key] = "" }
        try act(event) { _ throws(FleetError) in
            let found = try db.first("SELECT labels FROM clusters WHERE name = ? AND present", request.cluster) {
                row throws(FleetError) in try row.json([String: String].self, "labels") ?? [:]
            }
            guard var labels = found else { throw try unknownCluster(request.cluster) }
            for key in request.remove { labels[key] = nil }
            labels.merge(request.set) { $1 }
            try Labels.check(labels)
            try db.run("UPDATE clusters SET labels = ? WHERE name = ?", try JSON.text(labels), request.cluster)
            // Whoever labels it is told at once what that did.
            try refreshTasks()
        }
        return try cluster(request.cluster)
    }

    // MARK: policies

    /// In their order, with the clusters that follow each. One that can't be read any more is there with its name alone.
    ///
    /// - Parameter scope: those that select a cluster of it, without the names of others.
    func policies(in scope: Scope = .all) throws(FleetError) -> [PolicyRecord] {
        let stored = try storedPolicies()
        let clusters = try labelledClusters(nil).filter { scope.contains($0.name) }
        var followers: [String: [String]] = [:]
        for (cluster, policy) in try Self.followed(stored.map(\.policy), by: clusters) {
            followers[policy.name, default: []].append(cluster)
        }
        var records: [PolicyRecord] = []
        for one in stored {
            var record = PolicyRecord(
                policy: one.policy ?? FleetPolicy(name: one.name), since: one.since,
                clusters: followers[one.name]?.sorted() ?? [])
            if one.policy == nil { record.problem = Self.unreadable(one.name) }
            if let policy = one.policy {
                do throws(FleetError) { _ = try PolicyRules(policy) } catch { record.problem = error }
                record.selects = Self.selected(by: policy, of: clusters)
            }
            if scope != .all {
                guard let selects = record.selects, selects > 0 else { continue }
                record.policy.clusters = record.policy.clusters.filter(scope.contains)
            }
            records.append(record)
        }
        return records
    }

    private static func unreadable(_ name: String) -> FleetError {
        FleetError(
            .databaseCorrupt, "policy \(name) can't be read, and whatever it selects follows none",
            hint: "set it anew, or remove it: fleetctl policy remove \(name)")
    }

    /// Adds one behind the others, or changes it where it is.
    ///
    /// - Throws: `usage`.
    func setPolicy(_ policy: FleetPolicy, by actor: String) throws(FleetError) -> PolicyRecord {
        let stored = try storedPolicies()
        let others = stored.map { $0.name == policy.name ? policy : $0.policy ?? FleetPolicy(name: $0.name) }
        let isNew = !stored.contains { $0.name == policy.name }
        _ = try applyPolicies(PolicySet(policies: others + (isNew ? [policy] : []), dryRun: false), by: actor)
        guard let record = try policies().first(where: { $0.policy.name == policy.name }) else {
            throw FleetError(.internalError, "policy \(policy.name) went away")
        }
        return record
    }

    /// - Throws: `not-found`.
    func removePolicy(_ name: String, by actor: String) throws(FleetError) -> PolicyChange {
        let stored = try storedPolicies()
        guard stored.contains(where: { $0.name == name }) else {
            throw FleetError(
                .notFound, "there is no policy \(Names.quote(name))", hint: "see: fleetctl policy list")
        }
        let others = stored.filter { $0.name != name }.map { $0.policy ?? FleetPolicy(name: $0.name) }
        _ = try applyPolicies(PolicySet(policies: others, dryRun: false), by: actor)
        return PolicyChange(name: name, kind: .removed)
    }

    /// The fleet's policies become these, in this order: each that changes something is an event of its own.
    ///
    /// - Throws: `usage`, and then nothing has changed.
    func applyPolicies(_ wanted: PolicySet, by actor: String) throws(FleetError) -> [PolicyChange] {
        guard wanted.policies.count <= 1000 else {
            throw FleetError(.usage, "\(wanted.policies.count) policies are too many", hint: "give 1000 at most")
        }
        let stored = try storedPolicies()
        var changes = Self.changes(from: stored, to: wanted.policies)
        var seen: Set<String> = []
        for policy in wanted.policies {
            guard seen.insert(policy.name).inserted else {
                throw FleetError(.usage, "there are two policies \(policy.name)", hint: "give each a name of its own")
            }
            // What stays as it is may have become wrong by itself: a zone or a cluster that is gone.
            let isNew = changes.contains { $0.name == policy.name && [.added, .changed].contains($0.kind) }
            guard isNew else { continue }
            _ = try PolicyRules(policy)
            for name in policy.clusters where try !clusterExists(name) {
                throw try unknownCluster(name).during("policy \(policy.name)")
            }
        }
        let clusters = try labelledClusters(nil)
        for index in changes.indices {
            let policy = wanted.policies.first { $0.name == changes[index].name }
            changes[index].selects = policy.map { Self.selected(by: $0, of: clusters) }
        }
        if wanted.dryRun { try foretell(&changes, from: stored, to: wanted.policies) }
        guard !wanted.dryRun, changes.contains(where: { $0.kind != .unchanged }) else { return changes }
        try db.transaction { () throws(FleetError) in
            for change in changes {
                let position = wanted.policies.firstIndex { $0.name == change.name }
                var event = Act("policy.\(change.kind.rawValue)", by: actor, subject: change.name)
                if [.changed, .removed].contains(change.kind) {
                    event.detail["before"] = stored.first { $0.name == change.name }?.text
                }
                // Their order decides which one a cluster follows.
                if let position { event.detail["after"] = position == 0 ? "" : wanted.policies[position - 1].name }
                switch change.kind {
                case .unchanged, .moved:
                    try db.run("UPDATE policies SET position = ? WHERE name = ?", position ?? 0, change.name)
                case .removed: try db.run("DELETE FROM policies WHERE name = ?", change.name)
                case .added, .changed:
                    let text = try JSON.text(wanted.policies[position!])
                    event.detail["policy"] = text
                    try db.run(
                        """
                        INSERT INTO policies (name, position, policy, since) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (name)
                        DO UPDATE SET position = ?2, policy = ?3, since = ?4
                        """, change.name, position!, text, now)
                }
                // Whole: it says which clusters followed which objective, long after the policy is another.
                if change.kind != .unchanged { try append(event, .ok, limit: 1 << 20) }
            }
            try refreshTasks()
        }
        return changes
    }

    /// A policy with no more than the name of one that can't be read stands for what is there.
    private static func changes(from old: [StoredPolicy], to new: [FleetPolicy]) -> [PolicyChange] {
        let kept = old.map(\.name).filter { name in new.contains { $0.name == name } }
        var changes = new.map { policy in
            guard let before = old.first(where: { $0.name == policy.name }) else {
                return PolicyChange(name: policy.name, kind: .added)
            }
            let hasMoved =
                kept.firstIndex(of: policy.name)
                != new.filter { kept.contains($0.name) }.firstIndex { $0.name == policy.name }
            let isChanged = (before.policy ?? FleetPolicy(name: before.name)) != policy
            return PolicyChange(name: policy.name, kind: isChanged ? .changed : hasMoved ? .moved : .unchanged)
        }
        for policy in old where !kept.contains(policy.name) {
            changes.append(PolicyChange(name: policy.name, kind: .removed))
        }
        return changes
    }

    /// A row.
    struct StoredPolicy {
        var name: String
        /// nil: it can't be read.
        var policy: FleetPolicy?
        var text: String
        var since: Timestamp
    }

    private func storedPolicies() throws(FleetError) -> [StoredPolicy] {
        try db.all("SELECT name, policy, since FROM policies ORDER BY position, name") { row throws(FleetError) in
            StoredPolicy(
                name: try row["name"], policy: (try? row.json(FleetPolicy.self, "policy")) ?? nil,
                text: try row["policy"], since: try row["since"])
        }
    }

    /// The policy that each cluster follows, by cluster. Whatever stands behind one that can't be read is followed by nobody:
    /// that one may have been meant.
    ///
    /// - Parameter one: only this cluster's.
    func policiesByCluster(_ one: String? = nil) throws(FleetError) -> [String: FleetPolicy] {
        try Self.followed(try storedPolicies().map(\.policy), by: try labelledClusters(one))
    }

    /// What a backup may send a second, together with all others of its policy. What a restore saves before it begins has to be
    /// quick, and is no backup.
    func bandwidth(ofBackup job: String) throws(FleetError) -> BandwidthLimit? {
        let cluster: String? = try db.first("SELECT cluster FROM jobs WHERE id = ? AND kind = 'backup'", job) {
            row throws(FleetError) in try row["cluster"]
        }
        guard let cluster, let policy = try policiesByCluster(cluster)[cluster], let rate = policy.bandwidth else {
            return nil
        }
        return BandwidthLimit(policy: policy.name, rate: rate)
    }

    func labelledClusters(_ one: String?) throws(FleetError) -> [(name: String, labels: [String: String]?)] {
        try db.all(
            "SELECT name, labels FROM clusters WHERE present AND (?1 IS NULL OR name = ?1) ORDER BY name", one
        ) { row throws(FleetError) in
            let text: String? = try row["labels"]
            return (try row["name"], text == nil ? [:] : (try? row.json([String: String].self, "labels")) ?? nil)
        }
    }

    static func followed(
        _ policies: [FleetPolicy?], by clusters: [(name: String, labels: [String: String]?)]
    ) throws(FleetError) -> [String: FleetPolicy] {
        var found: [String: FleetPolicy] = [:]
        for (name, labels) in clusters {
            guard let labels else { continue }
            let first = policies.first { $0?.selects(name, labels: labels) ?? true }
            if let policy = first ?? nil { found[name] = policy }
        }
        return found
    }

    // MARK: what is due

    /// Inside a transaction: which tasks there are, and since when by which schedule. A task that comes to another schedule has
    /// missed nothing of it.
    func refreshTasks() throws(FleetError) {
        var wanted: [ScheduledTask: String] = [:]
        for (cluster, policy) in try policiesByCluster() {
            for (kind, schedule) in [(ScheduledTask.Kind.backup, policy.schedule), (.drill, policy.drill)] {
                if let schedule {
                    wanted[ScheduledTask(cluster: cluster, kind: kind)] = "\(schedule) \(policy.timezone)"
                }
            }
        }
        // A clock that was ahead is right again: it missed nothing until now.
        try db.run("UPDATE scheduled_tasks SET since = ?1 WHERE since > ?1", now)
        let known = try db.all("SELECT cluster, kind, schedule FROM scheduled_tasks") { row throws(FleetError) in
            let (cluster, kind): (String, String) = (try row["cluster"], try row["kind"])
            let schedule: String? = try row["schedule"]
            return (cluster: cluster, kind: kind, schedule: schedule)
        }
        var left = wanted
        for row in known {
            let task = ScheduledTask.Kind(rawValue: row.kind).map { ScheduledTask(cluster: row.cluster, kind: $0) }
            let schedule = task.flatMap { left.removeValue(forKey: $0) }
            guard schedule != row.schedule else { continue }
            try db.run(
                "UPDATE scheduled_tasks SET schedule = ?, since = ? WHERE cluster = ? AND kind = ?", schedule, now,
                row.cluster, row.kind)
        }
        for (task, schedule) in left {
            try db.run(
                "INSERT INTO scheduled_tasks (cluster, kind, schedule, since) VALUES (?, ?, ?, ?)", task.cluster,
                task.kind.rawValue, schedule, now)
        }
    }

    /// What the planner has to know of each task.
    func taskHistories() throws(FleetError) -> [TaskHistory] {
        // Labels and clusters change too.
        try db.transaction { () throws(FleetError) in try refreshTasks() }
        let followed = try policiesByCluster()
        var rules: [String: PolicyRules] = [:]
        for policy in followed.values where rules[policy.name] == nil { rules[policy.name] = try? PolicyRules(policy) }
        let jobs = try openJobs()
        return try db.all(
            """
            SELECT t.*, j.state, j.finished FROM scheduled_tasks t LEFT JOIN jobs j ON j.id = t.job
            WHERE t.schedule IS NOT NULL ORDER BY t.cluster, t.kind
            """
        ) { row throws(FleetError) -> TaskHistory? in
            guard let kind = ScheduledTask.Kind(rawValue: try row["kind"]) else { return nil }
            let task = ScheduledTask(cluster: try row["cluster"], kind: kind)
            let both = followed[task.cluster].flatMap { rules[$0.name] }
            guard let own = kind == .backup ? both?.backup : both?.drill else { return nil }
            var history = TaskHistory(
                task: task, rules: own, since: try row["since"], job: jobs[task.cluster])
            let due: Timestamp? = try row["due"]
            if let due {
                let ended: Timestamp? = try row["finished"]
                // A job of which nothing can be read is as good as failed.
                let state = (try? row.state("state")) ?? nil
                history.last = ScheduledRun(
                    due: due, attempts: try row["attempts"],
                    state: state == .succeeded ? .succeeded : state?.isOpen == true ? .open : .failed(ended ?? due))
                // A drill may be another cluster's agent's.
                if history.job == nil, history.last?.state == .open { history.job = try row["job"] }
            }
            return history
        }.compactMap { $0 }
    }

    /// Inside the transaction that makes the job: whatever happens from here on, this run is not begun a second time.
    ///
    /// - Throws: `conflict` where it has been meanwhile, or no policy demands it any more.
    func recordRun(_ start: Planner.Start, job: String) throws(FleetError) {
        let count = try db.run(
            """
            UPDATE scheduled_tasks SET due = ?3, attempts = ?4, job = ?5
            WHERE cluster = ?1 AND kind = ?2 AND schedule IS NOT NULL
                AND NOT (due IS ?3 AND attempts >= ?4)
            """, start.task.cluster, start.task.kind.rawValue, start.due, start.attempt, job)
        guard count == 1 else {
            throw FleetError(
                .conflict, "the \(start.task.kind.rawValue) of \(start.task.cluster) that was due is not any more",
                retryable: true)
        }
    }

    /// The nodes on which the run's earlier attempts have failed.
    func triedNodes(_ start: Planner.Start) throws(FleetError) -> [String] {
        guard start.attempt > 1 else { return [] }
        return try db.all(
            """
            SELECT DISTINCT node FROM jobs WHERE cluster = ? AND kind = ? AND created >= ? AND state <> 'succeeded'
            """, start.task.cluster, start.task.kind.rawValue, start.due
        ) { row throws(FleetError) in try row["node"] }
    }

    /// So long a node on which a backup has failed is asked last.
    static let failureMemory = Duration.seconds(7 * 86_400)

    /// The nodes whose newest backup of those of which they told an end has failed: what is wrong with one member is not to be
    /// the first thing that every run finds.
    func failingNodes(of cluster: String) throws(FleetError) -> [String] {
        try db.all(
            """
            SELECT node FROM (SELECT node, state, max(created) FROM jobs
                WHERE cluster = ?1 AND kind = 'backup' AND created BETWEEN ?2 AND ?3 AND created > \(Self.ownHistory)
                    AND finished IS NOT NULL AND agents_word GROUP BY node)
            WHERE state <> 'succeeded' ORDER BY node
            """, cluster, now.adding(.zero - Self.failureMemory), soon
        ) { row throws(FleetError) in try row["node"] }
    }
}
