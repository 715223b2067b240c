import FleetProtocol
import FleetSystem

/// Makes a report of the events of the audit chain, one after the other from the first: pure, so that the same events
/// always make the same report. What was before the range is folded too, since it says how things stood at its beginning.
struct ReportFold {
    private let since: Timestamp
    /// nil: to the last event.
    private let until: Timestamp?
    private let only: Set<String>

    /// Time of the newest event, whatever is told of it.
    private var newest = Timestamp(milliseconds: .min)

    private var policies = PolicyHistory()
    private var failures: FailureHistory
    private var certificates = CertificateHistory()
    private var restores = RestoreHistory()
    private var agents = AgentHistory()
    private var clusters: [String: ClusterHistory] = [:]
    private var jobs: [String: OpenJob] = [:]
    private var backups = BoundedRows<AuditReport.Backup>()
    /// By snapshot: what was learned of one that came in the range after it came.
    private var fates: [String: Fate] = [:]
    private var drills = BoundedRows<AuditReport.Drill>()
    private var deletions = BoundedRows<AuditReport.Deletion>()
    private var changes = BoundedRows<AuditReport.Act>()
    private var refusals = BoundedRows<AuditReport.Act>()
    /// By day; the first of each.
    private var storeSizes: [String: Int64] = [:]

    private struct OpenJob {
        var kind: String
        var cluster: String?
        var by: String
        var created: Timestamp
    }

    private struct Fate {
        var condition: String
        var proven: Timestamp?
        var deleted: Timestamp?
    }

    init(since: Timestamp, until: Timestamp?, only: [String]) {
        self.since = since
        self.until = until
        self.only = Set(only)
        failures = FailureHistory(since: since)
    }

    mutating func feed(_ event: AuditEvent) {
        newest = max(newest, event.time)
        if let until, event.time > until { return }
        // Its end may come from an agent of another cluster than its snapshot's.
        if event.action == "job.create" { create(event) }
        let job = event.subject.flatMap { jobs[$0] }
        if !only.isEmpty, let cluster = job?.cluster ?? event.cluster, !only.contains(cluster) {
            if event.action == "job.end" { forget(event) }
            return
        }
        policies.feed(event)
        certificates.feed(event)
        agents.feed(event, isInRange: event.time >= since)
        restores.feed(event, since: since)
        if ReportAreas.isAct(event), event.time >= since {
            let act = AuditReport.Act(event, area: ReportAreas.area(of: event))
            if event.outcome == .ok { changes.add(act) } else { refusals.add(act) }
        }
        switch event.action {
        case "cluster.add": if event.outcome == .ok { know(event.cluster, at: event.time) }
        case AuditReport.StoreSize.action: size(event)
        case "cluster.remove": if event.outcome == .ok { remove(event) }
        case "job.end": end(event, job)
        case "restore.end", "undo.end", "cleanup.end", "replace.end": endWhole(event)
        case "snapshot.store", "snapshot.import": if event.outcome == .ok { store(event) }
        case "snapshot.condition": change(event)
        case "snapshot.retire": if event.outcome == .ok { close(event.subject, event.cluster, at: event.time) }
        case "snapshot.delete": if event.outcome == .ok { delete(event) }
        case "snapshot.drill": drill(event)
        default: break
        }
    }

    private mutating func know(_ cluster: String?, at time: Timestamp) {
        guard let cluster else { return }
        clusters[cluster, default: ClusterHistory(known: time, since: since)].know(at: time)
        policies.know(cluster, at: time)
    }

    /// What failed in it stands no more, and nothing is asked of it from now on.
    private mutating func remove(_ event: AuditEvent) {
        guard let cluster = event.cluster else { return }
        clusters[cluster]?.end(at: event.time)
        policies.forget(cluster, at: event.time)
        failures.allEnded(cluster: cluster, at: event.time, by: "the cluster was removed")
        certificates.forget(cluster)
    }

    // MARK: jobs

    private mutating func create(_ event: AuditEvent) {
        guard event.outcome == .ok, let id = event.subject, let kind = event.detail["kind"] else { return }
        jobs[id] = OpenJob(kind: kind, cluster: event.cluster, by: event.actor, created: event.time)
    }

    private mutating func end(_ event: AuditEvent, _ job: OpenJob?) {
        // What became of one member's part is told by the end of the whole.
        guard let id = event.subject, let kind = event.detail["kind"], !restores.isPart(id) else { return }
        var event = event
        event.cluster = job?.cluster ?? event.cluster
        forget(event)
        guard event.detail["dryRun"] == nil else { return }
        judge(event, kind: kind)
    }

    private mutating func forget(_ event: AuditEvent) {
        // One that was given up for lost may end once more.
        if let id = event.subject, event.detail["state"] != JobState.lost.rawValue { jobs[id] = nil }
    }

    private mutating func endWhole(_ event: AuditEvent) {
        guard event.detail["dryRun"] == nil else { return }
        let kind = String(event.action.prefix { $0 != "." })
        // Only a plan fails where nothing is said of it.
        if event.action == "replace.end", restores.isDryRun(event.subject) { return }
        judge(event, kind: kind)
    }

    /// Where somebody has to look before it is known how things stand.
    private static let unsettled: Set<String> = [JobState.stuck.rawValue, JobState.lost.rawValue]

    private mutating func judge(_ event: AuditEvent, kind: String) {
        if event.outcome == .ok {
            // It proved an older one than that which failed, or none that counts.
            if event.detail["stands"] != nil { return }
            // What brings the data back makes all good that was left half-way before.
            for done in ["restore", "undo"].contains(kind) ? ["restore", "undo"] : [kind] {
                failures.allWell(
                    cluster: event.cluster, kind: done, at: event.time, by: "\(kind) \(event.subject ?? "")")
            }
            if event.time >= since, let cluster = event.cluster, ["restore", "undo", "replace"].contains(kind) {
                clusters[cluster]?.restores += 1
            }
        } else {
            let (code, error) = (event.detail["code"], event.detail["error"])
            if ["backup", "drill"].contains(kind) {
                failures.failed(event, kind: kind, code: code, error: error)
            } else if event.detail["state"].map({ Self.unsettled.contains($0) }) == true {
                failures.failed(event, kind: kind, subject: event.subject, code: code, error: error)
            } else {
                failures.failedAtOnce(event, kind: kind, code: code, error: error)
            }
            guard event.time >= since, let cluster = event.cluster else { return }
            if kind == "backup" { clusters[cluster]?.backupFailed(at: event.time) }
        }
    }

    // MARK: snapshots

    private mutating func store(_ event: AuditEvent) {
        guard let id = event.subject, let cluster = event.cluster else { return }
        know(cluster, at: event.time)
        let job = event.detail["job"].flatMap { jobs[$0] }
        // Told since there are reports; before that, no save began before its job, and damage was told of alone.
        let saved = event.detail["saved"].flatMap { Timestamp($0) } ?? job?.created ?? event.time
        let condition = event.detail["condition"] ?? (event.detail["damage"] == nil ? "verified" : "damaged")
        let isBackup = event.detail["beforeRestore"] == nil
        let isImport = event.action == "snapshot.import"
        if clusters[cluster]!.snapshots[id] != nil {
            return setCondition(id, cluster, condition, at: event.time, problem: event.detail["damage"], event)
        }
        let size = event.detail["size"].flatMap { Int64($0) } ?? 0
        clusters[cluster]!.add(
            id, .init(saved: saved, size: size, isBackup: isBackup), isUsable: condition == "verified", at: event.time)
        guard event.time >= since else { return }
        if condition == "verified", isBackup, !isImport { clusters[cluster]!.backedUp(at: event.time) }
        fates[id] = Fate(condition: condition)
        backups.add(
            AuditReport.Backup(
                snapshot: id, cluster: cluster, kind: isImport ? "import" : isBackup ? "backup" : "before-restore",
                node: event.detail["node"], job: event.detail["job"], by: job?.by ?? event.actor, saved: saved,
                stored: event.time, size: size, sha256: event.detail["sha256"] ?? "", condition: condition))
    }

    private mutating func change(_ event: AuditEvent) {
        guard event.outcome == .ok, let id = event.subject, let cluster = event.cluster,
            let condition = event.detail["condition"]
        else { return }
        setCondition(id, cluster, condition, at: event.time, problem: event.detail["problem"], event)
    }

    private mutating func setCondition(
        _ id: String, _ cluster: String, _ condition: String, at time: Timestamp, problem: String?, _ event: AuditEvent
    ) {
        fates[id]?.condition = condition
        if condition == "verified" {
            clusters[cluster]?.reopen(id, at: time)
            failures.wentWell(cluster: cluster, kind: "snapshot", subject: id, at: time, by: "it can be used again")
        } else {
            clusters[cluster]?.close(id, at: time)
            failures.failed(event, kind: "snapshot", subject: id, code: condition, error: problem)
        }
    }

    private mutating func close(_ id: String?, _ cluster: String?, at time: Timestamp) {
        if let id, let cluster { clusters[cluster]?.close(id, at: time) }
    }

    private mutating func delete(_ event: AuditEvent) {
        guard let id = event.subject, let cluster = event.cluster else { return }
        let known = clusters[cluster]?.remove(id, at: event.time)
        failures.wentWell(cluster: cluster, kind: "snapshot", subject: id, at: event.time, by: "it was deleted")
        guard event.time >= since else { return }
        clusters[cluster]?.deleted += 1
        fates[id]?.deleted = event.time
        deletions.add(
            AuditReport.Deletion(
                time: event.time, cluster: cluster, snapshot: id, by: event.actor,
                reason: event.detail["reason"] ?? "", condition: event.detail["condition"] ?? "",
                saved: event.detail["saved"].flatMap { Timestamp($0) } ?? known?.saved, size: known?.size))
    }

    private mutating func drill(_ event: AuditEvent) {
        guard let id = event.subject, let cluster = event.cluster, event.time >= since else { return }
        let isProven = event.detail["verdict"] == "proven"
        if isProven { fates[id]?.proven = event.time }
        // That one of another etcd, or from before a restore, comes back or does not says nothing of the backups.
        if event.detail["notBackup"] == nil {
            if isProven { clusters[cluster]?.proven += 1 } else { clusters[cluster]?.unproven += 1 }
        }
        // An agent's number: whatever it is, it is one that can be shown.
        let told = event.detail["seconds"].flatMap { Double($0) } ?? 0
        let seconds = told.isFinite ? min(max(told, 0), 1e9) : 0
        drills.add(
            AuditReport.Drill(
                time: event.time, cluster: cluster, snapshot: id, job: event.detail["job"] ?? "",
                verdict: event.detail["verdict"] ?? "", milliseconds: Int64((seconds * 1000).rounded()),
                etcd: event.detail["etcd"] ?? "", error: event.detail["error"]))
    }

    /// The store is the whole fleet's: whoever asks of some clusters is told nothing by it.
    private mutating func size(_ event: AuditEvent) {
        guard only.isEmpty, event.time >= since, let bytes = event.detail["bytes"].flatMap({ Int64($0) }) else {
            return
        }
        let date = String(event.time.description.prefix(10))
        storeSizes[date] = storeSizes[date] ?? bytes
    }

    // MARK: the report

    /// - Parameters:
    ///   - made: when; also the end of the range where none was given.
    func report(version: String, made: Timestamp, chain: AuditReport.Chain) -> AuditReport {
        var (policies, until) = (policies, until ?? made)
        policies.settle()
        // Behind a break nothing is known: no day of that is told.
        if chain.firstBreak != nil { until = min(until, newest) }
        until = max(until, since)
        var report = AuditReport(
            version: version, made: made, since: since, until: until, only: only.sorted(), chain: chain)
        report.notes = policies.notes
        if chain.firstBreak != nil {
            report.notes.append(
                "the range ends at \(until), with the last event before the break: what came behind it is not known")
        }
        // One that was gone before the range has no part in it.
        let told = clusters.filter { $0.value.removed.map { $0 >= since } ?? true }
        report.clusters = told.sorted { $0.key < $1.key }.map { name, history in
            // Whatever policy selects it, nobody can follow it there.
            let isEmpty = !history.hasHadSnapshots && agents.holdsNoEtcd(name)
            var cluster = history.told(
                name, policy: policies.followed[name], objectives: isEmpty ? [] : policies.objectives[name] ?? [],
                until: until)
            if isEmpty { cluster.holdsNoEtcd = true }
            return cluster
        }
        report.backups = backups.list
        for (index, backup) in report.backups.rows.enumerated() {
            guard let fate = fates[backup.snapshot] else { continue }
            report.backups.rows[index].condition = fate.condition
            report.backups.rows[index].proven = fate.proven
            report.backups.rows[index].deleted = fate.deleted
        }
        report.drills = drills.list
        report.restores = restores.all(since: since)
        report.failures = failures.all()
        report.deletions = deletions.list
        report.changes = changes.list
        if agents.changes > 0 { report.nodeChanges = agents.changes }
        report.refusals = refusals.list
        // What a wrong clock has dated ahead is of no day that is told.
        let sizes = storeSizes.filter { $0.key <= until.description.prefix(10) }.sorted { $0.key < $1.key }
        if !sizes.isEmpty { report.storeSizes = sizes.map { .init(date: $0.key, bytes: $0.value) } }
        report.certificates = certificates.ending(
            before: until.adding(.seconds(AuditReport.certificateDays * 86_400)), since: since, until: until)
        return report
    }
}

/// What an event is about, by the name of its action: one that is new has a place at once.
enum ReportAreas {
    /// What is told elsewhere in the report, or happens in passing with each job or with each upgrade of a node.
    private static let routine: Set<String> = [
        "snapshot.store", "snapshot.unsound", "snapshot.foreign", "snapshot.refuse", "snapshot.drill",
        "snapshot.condition", "snapshot.retire", "snapshot.delete", "snapshot.makeway", "member.replace",
        AgentHistory.changed, AuditReport.StoreSize.action,
    ]
    /// Each end and step of what is told as a whole.
    private static let wholes = ["job", "restore", "undo", "cleanup", "replace"]

    /// Told among changes or refusals.
    static func isAct(_ event: AuditEvent) -> Bool {
        // Whatever was forbidden is told, but for what a job makes of itself.
        if event.outcome == .refused { return event.action != "job.end" && event.action != "snapshot.foreign" }
        return !routine.contains(event.action) && !wholes.contains(prefix(event.action))
    }

    private static func prefix(_ action: String) -> String { String(action.prefix { $0 != "." }) }

    static func area(of event: AuditEvent) -> String {
        switch prefix(event.action) {
        case "operator", "role": "people"
        case "token", "enrol", "certificate", "identify", "request": event.cluster == nil ? "people" : "agents"
        case "agent", "node": "agents"
        case "key", "keys", "authority", "rekey": "keys"
        case "policy", "retention": "policies"
        case "cluster": event.action == "cluster.label" ? "policies" : "clusters"
        case "snapshot": ["snapshot.export", "snapshot.value"].contains(event.action) ? "data" : "snapshots"
        case "store", "catalogue", "coordinator": "store"
        case let other: other
        }
    }
}
