internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

/// A report as Markdown. The data that was signed stands in a comment at its end.
enum ReportMarkdown {
    static let opening = "# Audit report of the etcd backup fleet\n"

    static func render(_ signed: SignedReport, envelope: String, writer: String) -> String {
        let report = signed.report
        var text = opening + "\n"
        text += facts(ReportTables.heading(report, writer: writer).reversed())
        text += "## Summary\n\n" + facts(ReportTables.summary(report))
        let concerns = report.concerns
        text +=
            concerns.isEmpty
            ? "Nothing needs attention.\n\n"
            : "### What needs attention\n\n" + concerns.map { "- \(ReportText.markdown($0))\n" }.joined() + "\n"
        text += "## State of the audit chain\n\n" + facts(ReportTables.chain(signed))
        text += "## Clusters and their objectives\n\n" + table(ReportTables.clusters(report))
        text += "## Objectives day by day\n\n" + days(report) + table(ReportTables.missedDays(report))
        text += "## Growth of the repository\n\n" + growth(report)
        text += "## Failures\n\n" + table(ReportTables.failures(report))
        text += "## Drills\n\n" + table(ReportTables.drills(report))
        text += "## Restores\n\n" + restores(report)
        text += "## Changes of people, roles, keys, agents and policies\n\n" + changes(report)
        text += "## Refused and failed acts\n\n" + table(ReportTables.refusals(report))
        text += "## Certificates near their end\n\n" + table(ReportTables.certificates(report))
        text += "## Retention: what was deleted and why\n\n" + table(ReportTables.deletions(report))
        text += "## Backups one by one\n\n" + table(ReportTables.backups(report))
        let marks = ReportFormat.Marks.md
        return text + marks.begin + String(decoding: signed.bytes, as: UTF8.self) + marks.middle + envelope + marks.end
    }

    private static func facts(_ facts: [(String, String)]) -> String {
        facts.map { "- **\(ReportText.markdown($0.0))**: \(ReportText.markdown($0.1))\n" }.joined() + "\n"
    }

    private static func table(_ table: ReportTable) -> String {
        var text = table.leftOutText.map { ReportText.markdown($0) + "\n\n" } ?? ""
        guard !table.rows.isEmpty else { return text + ReportText.markdown(table.empty) + "\n\n" }
        func line(_ cells: [String]) -> String { "| " + cells.joined(separator: " | ") + " |\n" }
        text += ReportText.markdown(table.caption) + ":\n\n"
        text += line(table.columns.map { ReportText.markdown($0.name) })
        text += line(table.columns.map { $0.isNumber ? "---:" : "---" })
        for row in table.shown { text += line(row.map { ReportText.markdown($0) }) }
        return text + "\n"
    }

    /// A character a day.
    private static func days(_ report: AuditReport) -> String {
        guard let first = report.clusters.first?.days.first?.date, let last = report.clusters.first?.days.last?.date
        else { return "" }
        let width = report.clusters.map(\.name.count).max() ?? 0
        var text =
            "From \(first) to \(last), a character a day: `=` met, `X` MISSED, `.` no objective, `-` not in the fleet.\n\n```\n"
        for cluster in report.clusters {
            // A name can't be told from a fence otherwise; names of clusters have no such character, and neither does this.
            let name = ReportText.plain(cluster.name).filter { $0 != "`" }
            text += name + String(repeating: " ", count: max(0, width - name.count) + 2)
            for day in cluster.days {
                text += [.met: "=", .missed: "X", .free: ".", .unknown: "-"][day.state] ?? "?"
            }
            text += "\n"
        }
        return text + "```\n\n"
    }

    private static func growth(_ report: AuditReport) -> String {
        guard let dates = report.clusters.first?.days.map(\.date), !dates.isEmpty else {
            return ReportText.noDays(report) + "\n\n"
        }
        // About ten of the days.
        let step = max(1, (dates.count + 9) / 10)
        let picked = Array(stride(from: dates.count - 1, through: 0, by: -step)).reversed()
        let sizes = report.storeSizes ?? []
        let rows = picked.map { index in
            let all = report.clusters.compactMap { $0.days.dropFirst(index).first }
            return [
                dates[index], "\(ReportText.sum(all.map(\.kept)))", Human.bytes(ReportText.sum(all.map(\.keptBytes))),
                sizes.last { $0.date <= dates[index] }.map { Human.bytes($0.bytes) } ?? "-",
            ]
        }
        return table(
            ReportTable(
                "Snapshots that were kept at the end of the day, their bytes as files, and what the store took on the disk when it was "
                    + "seen last",
                ["Day (UTC)", "Snapshots", "Bytes", "On the disk"],
                numbers: [1, 2, 3], empty: "", rows: rows))
    }

    private static func restores(_ report: AuditReport) -> String {
        guard !report.restores.rows.isEmpty else { return "Nothing was restored, and nothing was planned.\n\n" }
        var text = report.restores.leftOut > 0 ? "\(report.restores.leftOut) earlier ones are not listed.\n\n" : ""
        for restore in report.restores.rows {
            text += "### \(ReportText.markdown(ReportText.title(restore)))\n\n" + facts(ReportTables.facts(restore))
            if !restore.steps.isEmpty { text += table(ReportTables.steps(restore)) }
        }
        return text
    }

    private static func changes(_ report: AuditReport) -> String {
        let all = ReportTables.changes(report)
        var text = all.isEmpty ? "Nothing was changed.\n\n" : ""
        for (area, one) in all { text += "### \(ReportText.markdown(area))\n\n" + table(one) }
        if let words = ReportText.nodeChanges(report) { text += ReportText.markdown(words) + "\n\n" }
        if report.changes.leftOut > 0 { text += "\(report.changes.leftOut) earlier ones are not listed.\n\n" }
        return text
    }
}
