internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

/// A table of a report, as HTML and Markdown show it.
struct ReportTable {
    struct Column {
        var name: String
        var isNumber = false
        /// Times and what is short are not broken into lines.
        var isName: Bool { name == "Cluster" || name == "Objective" }
        var isWhole: Bool { Self.whole.contains(name) }
        private static let whole: Set<String> = [
            "Time", "Since", "Until", "Saved", "Stored", "Proven", "Deleted", "Newest backup", "Ends", "In",
            "Day (UTC)",
            "Oldest it got", "Stood for", "Took", "Met on", "Beyond the objective for", "Outcome", "Verdict", "Kind",
            "State", "Size", "By", "What", "SHA-256",
        ]
    }
    /// What is in it, above it.
    var caption: String
    var columns: [Column]
    var rows: [[String]]
    /// Instead of a table without rows.
    var empty: String
    /// Rows that are not listed.
    var leftOut = 0
    /// Of many rows, which are looked things up in rather than read.
    var isDense = false

    init(
        _ caption: String, _ columns: [String], numbers: Set<Int> = [], empty: String, leftOut: Int = 0,
        rows: [[String]]
    ) {
        self.caption = caption
        self.columns = columns.enumerated().map { Column(name: $1, isNumber: numbers.contains($0)) }
        self.rows = rows
        self.empty = empty
        self.leftOut = leftOut
    }

    /// Rows of a dense table that are shown to people; the data has the others.
    private static let denseLimit = 2000

    var shown: ArraySlice<[String]> { isDense ? rows.suffix(Self.denseLimit) : rows[...] }

    var leftOutText: String? {
        let hidden = rows.count - shown.count
        guard hidden == 0 else {
            return "The newest \(Self.denseLimit) of \(ReportText.sum([rows.count, leftOut])) are shown. "
                + (leftOut == 0 ? "All" : "The newest \(rows.count)")
                + " are in the data of this file; 'fleetctl audit report --format csv' lists them."
        }
        return leftOut == 0
            ? nil
            : "\(leftOut) earlier ones are not listed: a report lists \(ReportLimits.rows) of a kind. A shorter --since or "
                + "--cluster lists them."
    }
}

/// The tables of a report; pure functions of it.
enum ReportTables {
    static func clusters(_ report: AuditReport) -> ReportTable {
        ReportTable(
            "Each cluster with its objective: how old its newest verified backup may be",
            [
                "Cluster", "Policy", "Objective", "Met on", "Oldest it got", "Newest backup", "Backups",
                "Failed", "Proven", "Drills failed", "Restores", "Deleted",
            ], numbers: [6, 7, 8, 9, 10, 11], empty: "The fleet had no cluster.",
            rows: report.clusters.map { cluster in
                [
                    cluster.name, cluster.policy ?? "none", ReportText.objective(cluster),
                    cluster.holdsNoEtcd == true ? "-" : cluster.metText,
                    cluster.worst.map { ReportText.seconds($0) } ?? "-",
                    cluster.removed.map { "removed \(ReportText.time($0))" }
                        ?? ReportText.time(cluster.newest, or: cluster.holdsNoEtcd == true ? "-" : "NONE"),
                    "\(cluster.backups)", "\(cluster.failed)",
                    "\(cluster.proven)", "\(cluster.unproven)", "\(cluster.restores)", "\(cluster.deleted)",
                ]
            })
    }

    static func missedDays(_ report: AuditReport) -> ReportTable {
        ReportTable(
            "Days on which an objective was missed",
            ["Day (UTC)", "Cluster", "Oldest it got", "Beyond the objective for", "Backups", "Failed"],
            numbers: [4, 5], empty: "No objective was missed on any day.",
            rows: report.clusters.flatMap { cluster in
                cluster.days.filter { $0.state == .missed }.map { day in
                    [
                        day.date, cluster.name, day.worst.map { ReportText.seconds($0) } ?? "-",
                        day.late.map { ReportText.seconds($0) } ?? "-", "\(day.backups)", "\(day.failed)",
                    ]
                }
            })
    }

    static func failures(_ report: AuditReport) -> ReportTable {
        ReportTable(
            "What failed, and how long it stood: attempts that fail one after the other are one failure",
            ["Since", "Cluster", "What", "Attempts", "Stood for", "Until", "Ended by", "Last error"], numbers: [3],
            empty: "Nothing failed.", leftOut: report.failures.leftOut,
            rows: report.failures.rows.map { failure in
                [
                    ReportText.time(failure.since), failure.cluster,
                    failure.kind + (failure.subject.map { " \($0)" } ?? ""), "\(failure.attempts)",
                    ReportText.between(failure.since, failure.ended ?? report.until),
                    ReportText.time(failure.ended, or: "STILL STANDS"), failure.endedBy ?? "-",
                    [failure.code, failure.error].compactMap { $0 }.joined(separator: ": "),
                ]
            })
    }

    static func drills(_ report: AuditReport) -> ReportTable {
        ReportTable(
            "Drills: a real etcd was started on the snapshot, and what it served was compared with what was stored",
            ["Time", "Cluster", "Snapshot", "Verdict", "Took", "etcd", "Job", "Error"], numbers: [4],
            empty: "No drill was made.", leftOut: report.drills.leftOut,
            rows: report.drills.rows.map { drill in
                [
                    ReportText.time(drill.time), drill.cluster, drill.snapshot,
                    drill.verdict == "proven" ? "proven" : drill.verdict.uppercased(),
                    Human.duration(.milliseconds(drill.milliseconds)), drill.etcd, drill.job, drill.error ?? "-",
                ]
            })
    }

    static func steps(_ restore: AuditReport.Restore) -> ReportTable {
        ReportTable(
            "What happened at each step of \(restore.id)", ["Time", "Node", "Step or decision", "Outcome", "Detail"],
            empty: "No step was reported.", leftOut: 0,
            rows: restore.steps.map { step in
                [
                    ReportText.time(step.time), step.node ?? "(all)", step.what,
                    step.outcome == .ok ? "ok" : step.outcome.rawValue.uppercased(), step.detail ?? "-",
                ]
            })
    }

    /// "asked by", "operator:alice at ..."
    static func facts(_ restore: AuditReport.Restore) -> [(String, String)] {
        var facts = [
            ("Cluster", restore.cluster), ("Asked", "\(ReportText.time(restore.asked)) by \(restore.by)"),
            (
                "Approved",
                restore.approvedBy.map { "by \($0)\(restore.approvedPlan.map { ", plan \($0)" } ?? "")" }
                    ?? (restore.approvals.isEmpty
                        ? (restore.dryRun ? "not approved" : "no approval was needed")
                        : restore.approvals.map { "\(ReportText.time($0.time)) by \($0.by)" }.joined(separator: ", "))
            ), ("Nodes", restore.nodes.joined(separator: ", ")),
        ]
        if let snapshot = restore.snapshot, !snapshot.isEmpty { facts.append(("Snapshot", snapshot)) }
        if let of = restore.of { facts.append(("Of", of)) }
        facts.append(
            ("Ended", "\(ReportText.time(restore.ended, or: "not yet")), \(ReportText.outcome(restore))"))
        if let error = restore.error { facts.append(("Error", error)) }
        if restore.stepsLeftOut > 0 { facts.append(("Steps not listed", "\(restore.stepsLeftOut)")) }
        return facts
    }

    static func deletions(_ report: AuditReport) -> ReportTable {
        var table = ReportTable(
            "Snapshots that were deleted, by whom and why",
            ["Time", "Cluster", "Snapshot", "Saved", "Size", "Was", "By", "Reason"], numbers: [4],
            empty: "No snapshot was deleted.", leftOut: report.deletions.leftOut,
            rows: report.deletions.rows.map { one in
                [
                    ReportText.time(one.time), one.cluster, one.snapshot, ReportText.time(one.saved, or: "-"),
                    one.size.map { Human.bytes($0) } ?? "-", one.condition, one.by, one.reason,
                ]
            })
        table.isDense = true
        return table
    }

    static func backups(_ report: AuditReport) -> ReportTable {
        var table = ReportTable(
            "Snapshots that came: each was read whole by the coordinator before it counted as verified",
            [
                "Stored", "Cluster", "Snapshot", "Kind", "Saved", "Node", "By", "Size", "SHA-256", "State", "Proven",
                "Deleted",
            ], numbers: [7], empty: "No snapshot came.", leftOut: report.backups.leftOut,
            rows: report.backups.rows.map { one in
                [
                    ReportText.time(one.stored), one.cluster, one.snapshot, one.kind, ReportText.time(one.saved),
                    one.node ?? "-", one.by, Human.bytes(one.size), String(one.sha256.prefix(16)),
                    one.condition == "verified" ? "verified" : one.condition.uppercased(),
                    ReportText.time(one.proven, or: "-"), ReportText.time(one.deleted, or: "-"),
                ]
            })
        table.isDense = true
        return table
    }

    /// By area, in the order of their names.
    static func changes(_ report: AuditReport) -> [(area: String, table: ReportTable)] {
        Dictionary(grouping: report.changes.rows, by: \.area).sorted { $0.key < $1.key }.map { area, rows in
            (area, acts("Changes: \(area)", rows, empty: ""))
        }
    }

    static func refusals(_ report: AuditReport) -> ReportTable {
        var table = acts(
            "What somebody wanted and was refused, or what went wrong", report.refusals.rows,
            empty: "Nothing was refused.")
        table.leftOut = report.refusals.leftOut
        return table
    }

    private static func acts(_ caption: String, _ rows: [AuditReport.Act], empty: String) -> ReportTable {
        ReportTable(
            caption, ["Event", "Time", "Who", "What", "Cluster", "Subject", "Outcome", "Detail"], numbers: [0],
            empty: empty,
            rows: rows.map { act in
                [
                    "\(act.sequence)", ReportText.time(act.time), act.actor, act.action, act.cluster ?? "-",
                    act.subject ?? "-", act.outcome == .ok ? "ok" : act.outcome.rawValue.uppercased(),
                    ReportText.detail(act.detail),
                ]
            })
    }

    static func certificates(_ report: AuditReport) -> ReportTable {
        ReportTable(
            "Certificates that have ended, or end within \(AuditReport.certificateDays) days of the end of the range",
            ["Ends", "In", "Kind", "Cluster", "Holder", "File"], empty: "None ends soon.",
            leftOut: report.certificates.leftOut,
            rows: report.certificates.rows.map { one in
                [
                    ReportText.time(one.ends),
                    one.ends <= report.until ? "HAS ENDED" : ReportText.between(report.until, one.ends), one.kind,
                    one.cluster ?? "-", one.holder, one.path ?? "-",
                ]
            })
    }

    /// The report itself and the chain that it is made of.
    static func chain(_ signed: SignedReport) -> [(String, String)] {
        let (report, chain) = (signed.report, signed.report.chain)
        return [
            (
                "Audit chain",
                chain.firstBreak.map { "BROKEN at event \($0.sequence) (\($0.kind.rawValue)): \($0.message)" }
                    ?? "holds from the first event to the last"
            ), ("Events", "\(chain.height)"), ("Hash of the last", chain.head),
            ("Oddities", chain.findings.isEmpty ? "nothing" : chain.findings.joined(separator: "; ")),
            ("Made", "\(ReportText.time(report.made)) by fleet-coordinator \(report.version)"),
            ("SHA-256 of the data", signed.sha256), ("Signed with key", signed.envelope.signatures.first?.keyid ?? "-"),
            ("Signature", signed.envelope.signatures.first?.sig ?? "-"),
            ("To verify", "fleetctl audit verify --report FILE"),
        ]
    }

    static func heading(_ report: AuditReport, writer: String) -> [(String, String)] {
        [
            ("From", ReportText.time(report.since)), ("To", ReportText.time(report.until)),
            (
                "Clusters",
                report.only.isEmpty ? "all, \(report.clusters.count)" : report.only.joined(separator: ", ")
            ), ("Made", "\(ReportText.time(report.made)), all times are UTC"),
            ("Form", "\(ReportFormat.writer)\(writer)"),
        ]
    }

    /// The few numbers that somebody reads who reads no more.
    static func summary(_ report: AuditReport) -> [(String, String)] {
        let clusters = report.clusters
        let met = clusters.reduce(0) { $0 + $1.count(.met) }
        let all = met + clusters.reduce(0) { $0 + $1.count(.missed) }
        func sum(_ value: (AuditReport.Cluster) -> Int) -> String { "\(ReportText.sum(clusters.map(value)))" }
        return [
            ("Objective met", all == 0 ? "none set" : "\(met) of \(all) cluster days"),
            ("Backups verified", sum(\.backups)), ("Backup attempts failed", sum(\.failed)),
            ("Drills proven", sum(\.proven)), ("Drills failed", sum(\.unproven)), ("Restores", sum(\.restores)),
            ("Failures still standing", "\(report.failures.rows.count { $0.ended == nil })"),
            ("Acts refused or failed", "\(ReportText.sum([report.refusals.rows.count, report.refusals.leftOut]))"),
            ("Audit chain", report.chain.firstBreak == nil ? "holds" : "BROKEN"),
        ]
    }
}
