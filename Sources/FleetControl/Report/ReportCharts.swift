internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

/// Charts as inline SVG, each with a title and a description in words. Coordinates are whole numbers, so that a report is the
/// same bytes wherever it is made.
enum ReportCharts {
    // MARK: days

    /// Bars of a day differ in height: a low one is met, a high one missed, a line has no objective, nothing is not known.
    private static let stripWidth = 1440
    private static let stripHeight = 32

    private static func bar(_ state: AuditReport.Day.State) -> (y: Int, height: Int)? {
        switch state {
        case .met: (18, 14)
        case .missed: (0, 32)
        case .free: (29, 3)
        case .unknown: nil
        }
    }

    static func strip(_ cluster: AuditReport.Cluster) -> String {
        let count = max(cluster.days.count, 1)
        var paths: [(String, String)] = []
        for (state, name) in [(AuditReport.Day.State.met, "met"), (.missed, "missed"), (.free, "free")] {
            guard let (y, height) = bar(state) else { continue }
            var path = ""
            for (index, day) in cluster.days.enumerated() where day.state == state {
                let (from, to) = (index * stripWidth / count, (index + 1) * stripWidth / count)
                let width = max(to - from - (to - from > 4 ? 3 : to - from > 2 ? 1 : 0), 1)
                path += "M\(from) \(y)h\(width)v\(height)h-\(width)z"
            }
            if !path.isEmpty { paths.append((name, path)) }
        }
        let counts = [AuditReport.Day.State.met, .missed, .free, .unknown].map { "\(cluster.count($0)) \($0.words)" }
        let title = ReportText.html("\(cluster.name): \(counts.joined(separator: ", "))")
        return
            "<svg class=\"strip\" role=\"img\" viewBox=\"0 0 \(stripWidth) \(stripHeight)\" width=\"760\" height=\"17\"><title>\(title)</title>"
            + paths.map { "<path class=\"\($0.0)\" d=\"\($0.1)\"/>" }.joined() + "</svg>"
    }

    /// The dates above the strips.
    static func axis(_ report: AuditReport) -> String {
        let dates = days(report)
        var marks = ""
        for (index, date) in ticks(dates, atMost: 9) {
            let x = index * stripWidth / max(dates.count, 1)
            marks +=
                "<path class=\"axis\" d=\"M\(x) 26v10\"/><text x=\"\(x + 5)\" y=\"34\" style=\"font-size:21px\">\(date)</text>"
        }
        return
            "<svg role=\"img\" viewBox=\"0 0 \(stripWidth) 40\" width=\"760\" height=\"21\"><title>Days, in UTC</title>\(marks)</svg>"
    }

    static var legend: String {
        func item(_ state: AuditReport.Day.State, _ name: String, _ words: String) -> String {
            let mark = bar(state).map { "<path class=\"\(name)\" d=\"M2 \($0.y)h26v\($0.height)h-26z\"/>" } ?? ""
            return
                "<li><svg viewBox=\"0 0 30 32\" width=\"15\" height=\"16\" role=\"img\"><title>\(state.words)</title>\(mark)</svg>\(words)</li>"
        }
        return "<ul class=\"legend\">" + item(.met, "met", "low bar: met")
            + item(.missed, "missed", "high bar: missed, listed below") + item(.free, "free", "line: no objective")
            + item(.unknown, "unknown", "nothing: the cluster was not in the fleet") + "</ul>\n"
    }

    private static func days(_ report: AuditReport) -> [String] {
        report.clusters.first?.days.map(\.date) ?? []
    }

    /// The first day, and of the others those at even distances that leave room for their words behind them.
    private static func ticks(_ dates: [String], atMost limit: Int) -> [(Int, String)] {
        guard !dates.isEmpty else { return [] }
        let step = max(1, (dates.count + limit - 1) / limit)
        return stride(from: 0, to: dates.count, by: step).filter { index in
            index == 0 || (dates.count - index) * stripWidth / dates.count >= 130
        }.map { ($0, dates[$0]) }
    }

    /// Where words stand in the middle below their mark: the first and the last day, and some between them.
    private static func marks(_ dates: [String], atMost limit: Int) -> [(Int, String)] {
        guard let last = dates.indices.last else { return [] }
        let parts = min(last, limit - 1)
        return (0...parts).map { $0 * last / max(parts, 1) }.map { ($0, dates[$0]) }
    }

    // MARK: charts with two axes

    private static let width = 1100
    private static let height = 260
    private static let left = 90
    private static let top = 14
    private static let plotWidth = 980
    private static let plotHeight = 206

    /// Four equal parts of a round number that is no less.
    private static func scale(_ highest: Int64) -> Int64 {
        var unit: Int64 = 10
        while unit < highest, unit < .max / 100 {
            for tenths in [10, 12, 16, 20, 24, 32, 40, 60, 80] as [Int64] where unit * tenths / 10 >= highest {
                return unit * tenths / 10
            }
            unit *= 10
        }
        return unit
    }

    private static func frame(
        _ id: String, _ title: String, _ description: String, _ dates: [String], top highest: Int64,
        label: (Int64) -> String, _ body: String
    ) -> String {
        var marks = ""
        for part in 0...4 {
            let y = top + plotHeight - plotHeight * part / 4
            marks += "<path class=\"\(part == 0 ? "axis" : "grid")\" d=\"M\(left) \(y)h\(plotWidth)\"/>"
            marks +=
                "<text x=\"\(left - 8)\" y=\"\(y + 4)\" text-anchor=\"end\">\(ReportText.html(label(highest * Int64(part) / 4)))</text>"
        }
        for (index, date) in Self.marks(dates, atMost: 11) {
            let x = place(index, dates.count)
            marks += "<path class=\"axis\" d=\"M\(x) \(top + plotHeight)v5\"/>"
            marks += "<text x=\"\(x)\" y=\"\(top + plotHeight + 19)\" text-anchor=\"middle\">\(date)</text>"
        }
        return
            "<figure><figcaption>\(ReportText.html(title))</figcaption><svg id=\"\(id)\" role=\"img\" aria-labelledby=\"\(id)-title \(id)-desc\" viewBox=\"0 0 \(width) \(height)\" width=\"\(width)\" height=\"\(height)\">"
            + "<title id=\"\(id)-title\">\(ReportText.html(title))</title><desc id=\"\(id)-desc\">\(ReportText.html(description))</desc>"
            + marks + body + "</svg></figure>\n"
    }

    private static func place(_ index: Int, _ count: Int) -> Int {
        left + (2 * index + 1) * plotWidth / (2 * max(count, 1))
    }

    static func growth(_ report: AuditReport) -> String {
        let dates = days(report)
        guard !dates.isEmpty else { return "<p>\(ReportText.noDays(report))</p>\n" }
        let totals = dates.indices.map { day in
            ReportText.sum(report.clusters.compactMap { $0.days.dropFirst(day).first?.keptBytes })
        }
        let kept = ReportText.sum(report.clusters.map { $0.days.last?.kept ?? 0 })
        let highest = scale(totals.max() ?? 0)
        let points = totals.enumerated().map { index, bytes in
            (place(index, totals.count), scaled(top, bytes, highest))
        }
        let words = ReportText.growth(
            from: Human.bytes(totals.first ?? 0), dates[0],
            to: "\(Human.bytes(totals.last ?? 0)) in \(ReportText.count(kept, "snapshot"))", dates[dates.count - 1])
        return frame(
            "growth-chart", "Bytes of the kept snapshots at the end of each day (UTC)",
            words + (totals.count > 1 ? "; at most \(Human.bytes(totals.max() ?? 0))." : "."), dates, top: highest,
            label: { Human.bytes($0) }, line(points))
            + "<p>\(ReportText.html("\(words)."))</p>\n"
    }

    private static func line(_ points: [(Int, Int)]) -> String {
        let line = points.enumerated().map { "\($0 == 0 ? "M" : "L")\($1.0) \($1.1)" }.joined()
        // A single day has no line.
        let dots =
            points.count > 40
            ? "" : points.map { "<circle cx=\"\($0.0)\" cy=\"\($0.1)\" r=\"2.5\" class=\"dot\"/>" }.joined()
        return "<path class=\"line\" d=\"\(line)\"/>\(dots)"
    }

    /// "" where nothing is known of it.
    static func store(_ report: AuditReport) -> String {
        let dates = days(report)
        let known = (report.storeSizes ?? []).compactMap { one in
            dates.firstIndex(of: one.date).map { (index: $0, bytes: one.bytes, date: one.date) }
        }
        guard let first = known.first, let last = known.last else { return "" }
        let most = known.map(\.bytes).max() ?? 0
        let highest = scale(most)
        let words =
            ReportText.growth(
                from: Human.bytes(first.bytes), first.date, to: Human.bytes(last.bytes), last.date)
            + (known.count > 1 ? "; at most \(Human.bytes(most))." : ".")
        return frame(
            "store-chart", "Bytes that the store took on the disk, as seen first on each day (UTC)", words, dates,
            top: highest, label: { Human.bytes($0) },
            line(known.map { (place($0.index, dates.count), scaled(top, $0.bytes, highest)) }))
            + "<p>\(ReportText.html(words))</p>\n"
    }

    /// In whole numbers, and without an overflow for what no repository holds.
    private static func scaled(_ fallback: Int, _ value: Int64, _ highest: Int64) -> Int {
        let (product, overflow) = max(value, 0).multipliedReportingOverflow(by: Int64(plotHeight))
        return overflow ? fallback : top + plotHeight - Int(product / highest)
    }

    static func drills(_ report: AuditReport) -> String {
        let (dates, drills) = (days(report), report.drills.rows)
        guard !dates.isEmpty, !drills.isEmpty else { return "" }
        let longest = drills.map(\.milliseconds).max() ?? 0
        let highest = scale(longest)
        var (circles, crosses) = ("", "")
        for drill in drills {
            guard let x = x(of: drill.time, report) else { continue }
            let y = scaled(top, min(drill.milliseconds, highest), highest)
            if drill.verdict == "proven" {
                circles += "M\(x - 4) \(y)a4 4 0 1 0 8 0a4 4 0 1 0-8 0"
            } else {
                crosses += "M\(x - 4) \(y - 4)l8 8M\(x - 4) \(y + 4)l8-8"
            }
        }
        let proven = drills.count { $0.verdict == "proven" }
        return frame(
            "drill-chart", "How long each drill took, by the day (UTC) it ended",
            "\(proven) drills proved a snapshot (circles), \(drills.count - proven) failed (crosses); the longest took "
                + "\(Human.duration(.milliseconds(longest))).", dates, top: highest,
            label: { Human.duration(.milliseconds($0)) },
            "<path class=\"proven\" d=\"\(circles)\"/><path class=\"failed\" d=\"\(crosses)\"/>")
            + "<p>Circles: proven, \(proven). Crosses: failed, \(drills.count - proven).</p>\n"
    }

    private static func x(of time: Timestamp, _ report: AuditReport) -> Int? {
        let day: Int64 = 86_400_000
        let begin = report.since.milliseconds - report.since.milliseconds % day
        let length = Int64(days(report).count) * day
        let offset = time.milliseconds - begin
        guard length > 0, (0..<length).contains(offset) else { return nil }
        return left + Int(offset / 1000 * Int64(plotWidth) / (length / 1000))
    }
}
