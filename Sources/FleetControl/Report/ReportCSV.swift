internal import FleetProtocol
internal import FleetSystem

/// A report as CSV (RFC 4180): a line for each thing that there is to tell, and a first column that says of what kind it is, so
/// that a filter on it gives a table of that kind. The last line is the signature; the data itself would be no cell that a
/// spreadsheet takes.
enum ReportCSV {
    static let columns = [
        "section", "time", "cluster", "subject", "what", "who", "outcome", "until", "seconds", "bytes", "count",
        "detail",
    ]
    static let opening = columns.joined(separator: ",") + "\r\n"
    private static let signatureSection = "signature"

    private struct Line {
        var cells: [String: String]
        init(
            _ section: String, time: String? = nil, cluster: String? = nil, subject: String? = nil, what: String? = nil,
            who: String? = nil, outcome: String? = nil, until: String? = nil, seconds: Int? = nil, bytes: Int64? = nil,
            count: Int? = nil, detail: String? = nil
        ) {
            cells = [
                "section": section, "time": time ?? "", "cluster": cluster ?? "", "subject": subject ?? "",
                "what": what ?? "", "who": who ?? "", "outcome": outcome ?? "", "until": until ?? "",
                "seconds": seconds.map { "\($0)" } ?? "", "bytes": bytes.map { "\($0)" } ?? "",
                "count": count.map { "\($0)" } ?? "", "detail": detail ?? "",
            ]
        }
        var text: String { columns.map { ReportCSV.cell(cells[$0] ?? "") }.joined(separator: ",") + "\r\n" }
    }

    /// Quoted where it has to be. What a spreadsheet would take for a formula gets an apostrophe in front.
    static func cell(_ text: String) -> String {
        var text = ReportText.plain(text)
        if let first = text.first, "=+-@".contains(first), Int64(text) == nil { text = "'" + text }
        guard text.contains(where: { $0 == "," || $0 == "\"" }) else { return text }
        var quoted = "\""
        for character in text { quoted += character == "\"" ? "\"\"" : String(character) }
        return quoted + "\""
    }

    /// The envelope in the last line.
    static func signature(_ bytes: [UInt8]) throws(FleetError) -> [UInt8] {
        let text = String(decoding: bytes, as: UTF8.self)
        let begin = "\(signatureSection),,,,,,,,,,,\""
        // "\r\n" is one character of Swift's.
        guard let last = text.split(separator: "\r\n").last, last.hasPrefix(begin), last.hasSuffix("\"") else {
            throw ReportFile.damaged("its last line is not its signature")
        }
        var envelope: [UInt8] = []
        var quotes = 0
        for byte in last.utf8.dropFirst(begin.utf8.count).dropLast() {
            quotes = byte == UInt8(ascii: "\"") ? quotes + 1 : 0
            if quotes != 0, quotes.isMultiple(of: 2) { continue }
            envelope.append(byte)
        }
        return envelope
    }

    static func render(_ signed: SignedReport, envelope: String, writer: String) -> String {
        let report = signed.report
        // Who wrote it first: a long list of clusters would push it away from where it is looked for.
        var lines = ReportTables.heading(report, writer: writer).reversed().map {
            Line("report", what: $0.0, detail: $0.1)
        }
        lines += ReportTables.summary(report).map { Line("summary", what: $0.0, detail: $0.1) }
        lines += ReportTables.chain(signed).filter { $0.0 != "Signature" }.map {
            Line("chain", what: $0.0, detail: $0.1)
        }
        lines += report.concerns.map { Line("concern", detail: $0) }
        for cluster in report.clusters {
            if cluster.holdsNoEtcd == true {
                lines.append(Line("objective", cluster: cluster.name, subject: cluster.policy, what: ReportText.noEtcd))
            }
            lines += cluster.objectives.map {
                Line(
                    "objective", time: ReportText.time($0.from), cluster: cluster.name, subject: cluster.policy,
                    what: $0.seconds == nil ? "none" : "objective", seconds: $0.seconds)
            }
            for day in cluster.days {
                var detail = "failed=\(day.failed) kept=\(day.kept)"
                if let late = day.late { detail += " late=\(late)" }
                lines.append(
                    Line(
                        "day", time: day.date, cluster: cluster.name, what: "oldest", outcome: day.state.rawValue,
                        seconds: day.worst, bytes: day.keptBytes, count: day.backups, detail: detail))
            }
        }
        lines += (report.storeSizes ?? []).map { Line("store", time: $0.date, what: "on the disk", bytes: $0.bytes) }
        lines += report.backups.rows.map { one in
            Line(
                "backup", time: ReportText.time(one.stored), cluster: one.cluster, subject: one.snapshot,
                what: one.kind,
                who: one.by, outcome: one.condition, until: one.deleted.map { ReportText.time($0) }, bytes: one.size,
                detail: "saved=\(ReportText.time(one.saved)) proven=\(ReportText.time(one.proven, or: "no")) "
                    + "node=\(one.node ?? "-") job=\(one.job ?? "-") sha256=\(one.sha256)")
        }
        lines += report.drills.rows.map { one in
            Line(
                "drill", time: ReportText.time(one.time), cluster: one.cluster, subject: one.snapshot, what: one.etcd,
                outcome: one.verdict, seconds: Int(one.milliseconds / 1000),
                detail: "job=\(one.job)" + (one.error.map { " error=\($0)" } ?? ""))
        }
        lines += report.failures.rows.map { one in
            Line(
                "failure", time: ReportText.time(one.since), cluster: one.cluster, subject: one.subject, what: one.kind,
                outcome: one.ended == nil ? "standing" : "ended", until: one.ended.map { ReportText.time($0) },
                seconds: Int((one.ended ?? report.until).since(one.since).milliseconds / 1000), count: one.attempts,
                detail: [one.code, one.error, one.endedBy.map { "ended by \($0)" }].compactMap { $0 }
                    .joined(separator: ": "))
        }
        for one in report.restores.rows {
            lines.append(
                Line(
                    "restore", time: ReportText.time(one.asked), cluster: one.cluster, subject: one.id,
                    what: (one.dryRun ? "plan of " : "") + one.kind, who: one.by, outcome: ReportText.outcome(one),
                    until: one.ended.map { ReportText.time($0) },
                    detail: ReportTables.facts(one).dropFirst(2).map { "\($0.0): \($0.1)" }.joined(separator: "; ")))
            lines += one.steps.map { step in
                Line(
                    "restore-step", time: ReportText.time(step.time), cluster: one.cluster, subject: one.id,
                    what: step.what, who: step.node, outcome: step.outcome.rawValue, detail: step.detail)
            }
        }
        lines += report.deletions.rows.map { one in
            Line(
                "deletion", time: ReportText.time(one.time), cluster: one.cluster, subject: one.snapshot,
                what: one.condition, who: one.by, bytes: one.size,
                detail: "saved=\(ReportText.time(one.saved, or: "-")) reason=\(one.reason)")
        }
        for (section, acts) in [("change", report.changes.rows), ("refusal", report.refusals.rows)] {
            lines += acts.map { act in
                Line(
                    section, time: ReportText.time(act.time), cluster: act.cluster, subject: act.subject,
                    what: act.action, who: act.actor, outcome: act.outcome.rawValue,
                    detail: "event=\(act.sequence) \(ReportText.detail(act.detail))")
            }
        }
        lines += report.certificates.rows.map { one in
            Line(
                "certificate", time: ReportText.time(one.ends), cluster: one.cluster, subject: one.holder,
                what: one.kind, outcome: one.ends <= report.until ? "ended" : "ends", detail: one.path)
        }
        if let count = report.nodeChanges {
            lines.append(
                Line(
                    "not-listed", what: "node.changed", count: count,
                    detail: "a node's version, etcd or data directory; 'fleetctl audit log' lists them"))
        }
        for (name, count) in leftOut(report) where count > 0 {
            lines.append(
                Line("not-listed", what: name, count: count, detail: "a shorter --since or --cluster lists them"))
        }
        return opening + lines.map(\.text).joined()
            + "\(signatureSection),,,,,,,,,,,\"\(envelope.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\""))\"\r\n"
    }

    private static func leftOut(_ report: AuditReport) -> [(String, Int)] {
        [
            ("backup", report.backups.leftOut), ("drill", report.drills.leftOut), ("restore", report.restores.leftOut),
            ("failure", report.failures.leftOut), ("deletion", report.deletions.leftOut),
            ("change", report.changes.leftOut), ("refusal", report.refusals.leftOut),
            ("certificate", report.certificates.leftOut),
        ]
    }
}
