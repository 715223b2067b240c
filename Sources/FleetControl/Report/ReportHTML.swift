internal import FleetProtocol
internal import FleetSystem

/// A report as one page of HTML that needs nothing else: no script is run, nothing is fetched, which the page's own content
/// security policy forbids too. The data that was signed stands at its end.
enum ReportHTML {
    static let opening = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"

    static func render(_ signed: SignedReport, envelope: String, writer: String) -> [UInt8] {
        let report = signed.report
        var page = ReportPage()
        page.raw(opening)
        page.raw("<meta name=\"generator\" content=\"\(ReportFormat.writer)\(ReportText.html(writer))\">\n")
        page.raw(
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n")
        page.raw("<meta name=\"viewport\" content=\"width=device-width\">\n<title>Audit report ")
        page.text("\(ReportText.time(report.since)) to \(ReportText.time(report.until))")
        page.raw("</title>\n<style>\n\(ReportStyle.css)</style>\n</head>\n<body>\n<header>\n")
        page.raw("<h1>Audit report of the etcd backup fleet</h1>\n")
        page.facts(ReportTables.heading(report, writer: writer))
        page.raw("</header>\n<main>\n")
        summary(report, &page)
        page.section("chain", "State of the audit chain")
        page.paragraph(
            "This report was made from the events of the audit chain alone, up to the one that is named here, and signed by the "
                + "coordinator. Each event holds the hash of the one before: none can be changed without changing all hashes behind it."
        )
        page.facts(ReportTables.chain(signed))
        page.section("clusters", "Clusters and their objectives")
        page.table(ReportTables.clusters(report))
        days(report, &page)
        page.section("growth", "Growth of the repository")
        page.paragraph(
            "Bytes of all snapshots that were kept at the end of each day, as files. What they take on the disk is less: pages that "
                + "snapshots share are stored once, and compressed."
                + (report.storeSizes == nil
                    ? "" : " That is the second figure, which has the nodes' configuration in it too."))
        page.raw(ReportCharts.growth(report))
        page.raw(ReportCharts.store(report))
        page.section("failures", "Failures")
        page.table(ReportTables.failures(report))
        page.section("drills", "Drills")
        page.raw(ReportCharts.drills(report))
        page.table(ReportTables.drills(report))
        restores(report, &page)
        changes(report, &page)
        page.section("refusals", "Refused and failed acts")
        page.table(ReportTables.refusals(report))
        page.section("certificates", "Certificates near their end")
        page.table(ReportTables.certificates(report))
        page.section("deletions", "Retention: what was deleted and why")
        page.table(ReportTables.deletions(report))
        page.section("backups", "Backups one by one")
        page.table(ReportTables.backups(report))
        page.raw("</section>\n</main>")
        var bytes = page.bytes
        let marks = ReportFormat.Marks.html
        bytes += Array(marks.begin.utf8) + signed.bytes + Array(marks.middle.utf8) + Array(envelope.utf8)
        bytes += Array(marks.end.utf8) + Array("</body>\n</html>\n".utf8)
        return bytes
    }

    private static func summary(_ report: AuditReport, _ page: inout ReportPage) {
        page.section("summary", "Summary")
        page.raw("<dl class=\"figures\">\n")
        for (name, value) in ReportTables.summary(report) {
            page.raw("<div><dt>")
            page.text(name)
            page.raw("</dt><dd>")
            page.text(value)
            page.raw("</dd></div>\n")
        }
        page.raw("</dl>\n")
        let concerns = report.concerns
        guard !concerns.isEmpty else { return page.paragraph("Nothing needs attention.") }
        page.raw("<h3>What needs attention</h3>\n<ul class=\"concerns\">\n")
        for concern in concerns.prefix(50) {
            page.raw("<li>")
            page.text(concern)
            page.raw("</li>\n")
        }
        if concerns.count > 50 { page.raw("<li>and \(concerns.count - 50) more, in the sections below</li>\n") }
        page.raw("</ul>\n")
    }

    private static func days(_ report: AuditReport, _ page: inout ReportPage) {
        page.section("days", "Objectives day by day")
        page.paragraph(
            "At each moment the newest verified backup is compared with the objective that was in force at that moment. A day is met "
                + "when the backup was never older than that. Days are UTC; the first and the last may be parts.")
        page.raw(ReportCharts.legend)
        page.raw(
            "<div class=\"wide\"><table class=\"days\">\n<caption>Coverage of each day, by cluster</caption>\n<thead><tr>"
        )
        page.raw("<th scope=\"col\">Cluster</th><th scope=\"col\">Met on</th><th scope=\"col\" class=\"strip\">")
        page.raw(ReportCharts.axis(report))
        page.raw("</th></tr></thead>\n<tbody>\n")
        for cluster in report.clusters {
            page.raw("<tr><th scope=\"row\">")
            page.text(cluster.name)
            page.raw("</th><td>")
            page.text(cluster.metText)
            page.raw("</td><td class=\"strip\">")
            page.raw(ReportCharts.strip(cluster))
            page.raw("</td></tr>\n")
        }
        page.raw("</tbody>\n</table></div>\n")
        page.table(ReportTables.missedDays(report))
    }

    private static func restores(_ report: AuditReport, _ page: inout ReportPage) {
        page.section("restores", "Restores")
        if report.restores.rows.isEmpty { page.paragraph("Nothing was restored, and nothing was planned.") }
        if report.restores.leftOut > 0 { page.paragraph("\(report.restores.leftOut) earlier ones are not listed.") }
        for restore in report.restores.rows {
            page.raw("<article>\n<h3>")
            page.text(ReportText.title(restore))
            page.raw("</h3>\n")
            page.facts(ReportTables.facts(restore))
            if !restore.steps.isEmpty { page.table(ReportTables.steps(restore)) }
            page.raw("</article>\n")
        }
    }

    private static func changes(_ report: AuditReport, _ page: inout ReportPage) {
        page.section("changes", "Changes of people, roles, keys, agents and policies")
        let all = ReportTables.changes(report)
        if all.isEmpty { page.paragraph("Nothing was changed.") }
        for (area, table) in all {
            page.raw("<h3>")
            page.text(area.prefix(1).uppercased() + area.dropFirst())
            page.raw("</h3>\n")
            page.table(table)
        }
        if let words = ReportText.nodeChanges(report) { page.paragraph(words) }
        if report.changes.leftOut > 0 { page.paragraph("\(report.changes.leftOut) earlier ones are not listed.") }
    }
}

/// Markup that is put together; whatever is not markup is escaped.
struct ReportPage {
    private(set) var bytes: [UInt8] = []
    private var isInSection = false
    private var number = 0

    mutating func raw(_ markup: String) { bytes += markup.utf8 }
    mutating func text(_ text: some StringProtocol) { bytes += ReportText.html(String(text)).utf8 }

    mutating func section(_ id: String, _ title: String) {
        if isInSection { raw("</section>\n") }
        isInSection = true
        number += 1
        raw("<section id=\"\(id)\">\n<h2>\(number). ")
        text(title)
        raw("</h2>\n")
    }

    mutating func paragraph(_ words: String) {
        raw("<p>")
        text(words)
        raw("</p>\n")
    }

    mutating func facts(_ facts: [(String, String)]) {
        raw("<dl class=\"facts\">\n")
        for (name, value) in facts {
            raw("<dt>")
            text(name)
            raw("</dt><dd>")
            text(value)
            raw("</dd>\n")
        }
        raw("</dl>\n")
    }

    mutating func table(_ table: ReportTable) {
        if let words = table.leftOutText { paragraph(words) }
        guard !table.rows.isEmpty else { return paragraph(table.empty) }
        raw("<div class=\"wide\"><table\(table.isDense ? " class=\"dense\"" : "")>\n<caption>")
        text(table.caption)
        raw("</caption>\n<thead><tr>")
        for column in table.columns {
            raw("<th scope=\"col\"\(column.style)>")
            text(column.name)
            raw("</th>")
        }
        raw("</tr></thead>\n<tbody>\n")
        for row in table.shown {
            raw("<tr>")
            for (column, cell) in zip(table.columns, row) {
                raw("<td\(column.style)>")
                text(cell.isEmpty ? "-" : cell)
                raw("</td>")
            }
            raw("</tr>\n")
        }
        raw("</tbody>\n</table></div>\n")
    }
}

extension ReportTable.Column {
    fileprivate var style: String {
        isNumber ? " class=\"n\"" : isWhole ? " class=\"t\"" : isName ? " class=\"c\"" : ""
    }
}
