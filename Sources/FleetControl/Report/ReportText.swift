internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

/// Words and numbers as all forms of a report write them.
enum ReportText {
    /// "2026-11-24T06:55:10Z"
    static func time(_ time: Timestamp) -> String { String(time.description.prefix(19)) + "Z" }
    static func time(_ time: Timestamp?, or other: String) -> String { time.map { Self.time($0) } ?? other }
    static func seconds(_ seconds: Int) -> String { length(.seconds(min(max(seconds, -most), most))) }
    /// Far beyond what any clock tells, and within what can be written.
    private static let most = 1_000_000_000_000_000
    /// Without an overflow.
    static func sum<Number: FixedWidthInteger>(_ values: [Number]) -> Number {
        values.reduce(0) { sum, value in
            let (total, isTooMuch) = sum.addingReportingOverflow(value)
            return isTooMuch ? (value > 0 ? .max : .min) : total
        }
    }
    /// Instead of what is shown by days.
    static func noDays(_ report: AuditReport) -> String {
        report.clusters.isEmpty ? "There was no cluster." : "No day of the range is known."
    }
    /// A certificate that ends so soon is looked after.
    static let near = Duration.seconds(30 * 86_400)
    /// "From 3 MB on 2026-09-01 to 4 MB on 2026-09-30", and of one day only what it was.
    static func growth(from first: String, _ date: String, to last: String, _ end: String) -> String {
        date == end ? "\(last) on \(end)" : "From \(first) on \(date) to \(last) on \(end)"
    }
    /// Of a cluster in which nothing is backed up.
    static let noEtcd = "holds no etcd"
    /// nil where there is nothing to tell.
    static func nodeChanges(_ report: AuditReport) -> String? {
        report.nodeChanges.map {
            "Agents told \(count($0, "time")) of another version, etcd or data directory than before; 'fleetctl audit log' lists "
                + "these as node.changed."
        }
    }
    static func between(_ from: Timestamp, _ to: Timestamp) -> String { length(to.since(from)) }

    /// "7 h", "5 min 10 s": without a second part that is nothing.
    static func length(_ duration: Duration) -> String {
        let text = Human.duration(duration)
        for rest in [" 0 s", " 0 min", " 0 h"] where text.hasSuffix(rest) && text.count > rest.count {
            return String(text.dropLast(rest.count))
        }
        return text
    }

    /// On one line, without what steers a terminal or turns the order of the text around: names and errors are others'.
    static func plain(_ text: String) -> String {
        String(
            String.UnicodeScalarView(
                text.unicodeScalars.map { scalar in
                    switch scalar.value {
                    case 0..<0x20, 0x7f..<0xa0, 0x2028, 0x2029: " "
                    case 0x200e, 0x200f, 0x061c, 0x202a...0x202e, 0x2066...0x2069, 0xfeff: "\u{fffd}"
                    default: scalar
                    }
                }))
    }

    static func html(_ text: String) -> String {
        var escaped = ""
        for scalar in plain(text).unicodeScalars {
            switch scalar {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            case "'": escaped += "&#39;"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }

    static func markdown(_ text: String) -> String {
        var escaped = ""
        for scalar in plain(text).unicodeScalars {
            switch scalar {
            case "\\", "`", "*", "_", "[", "]", "<", ">", "|", "#", "~", "!", "&":
                escaped += "\\"
                escaped.unicodeScalars.append(scalar)
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }

    /// "key=value" in the order of the keys.
    static func detail(_ detail: [String: String]) -> String {
        detail.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: " ")
    }

    static func count(_ count: Int, _ one: String, _ many: String? = nil) -> String {
        "\(count) \(count == 1 ? one : many ?? one + "s")"
    }

    /// "7 h (before 2026-09-01: 12 h)"
    static func objective(_ cluster: AuditReport.Cluster) -> String {
        if cluster.holdsNoEtcd == true { return noEtcd }
        func value(_ one: AuditReport.Objective) -> String { one.seconds.map { seconds($0) } ?? "none" }
        guard let last = cluster.objectives.last else { return "none" }
        let former = zip(cluster.objectives, cluster.objectives.dropFirst()).reversed().map { before, after in
            "before \(after.from.description.prefix(10)): \(value(before))"
        }
        return former.isEmpty ? value(last) : "\(value(last)) (\(former.joined(separator: "; ")))"
    }

    /// "Plan of an undo 20261124-065510-abcd: plan succeeded"
    static func title(_ restore: AuditReport.Restore) -> String {
        let article = restore.kind.first.map { "aeiou".contains($0) } == true ? "an" : "a"
        return "\(restore.dryRun ? "Plan of \(article) " : "")\(restore.kind) \(restore.id): \(outcome(restore))"
    }

    static func outcome(_ restore: AuditReport.Restore) -> String {
        guard let state = restore.state else { return "under way" }
        return (restore.dryRun ? "plan " : "") + state
    }
}

extension AuditReport.Cluster {
    func count(_ state: AuditReport.Day.State) -> Int { days.count { $0.state == state } }
    var worst: Int? { days.compactMap(\.worst).max() }
    /// "88 of 90 days", of those with an objective.
    var metText: String {
        let (met, missed) = (count(.met), count(.missed))
        if holdsNoEtcd == true { return ReportText.noEtcd }
        return met + missed == 0 ? "no objective" : "\(met) of \(ReportText.count(met + missed, "day"))"
    }
}

extension AuditReport.Day.State {
    var words: String {
        switch self {
        case .met: "met"
        case .missed: "MISSED"
        case .free: "no objective"
        case .unknown: "not in the fleet"
        }
    }
}

extension AuditReport {
    /// What somebody has to look at, the gravest first.
    var concerns: [String] {
        var all: [String] = []
        if let broken = chain.firstBreak {
            all.append("The audit chain is BROKEN at event \(broken.sequence): \(broken.message).")
        }
        all += notes.map { "\($0)." }
        for failure in failures.rows where failure.ended == nil {
            all.append(
                "\(failure.kind) of \(failure.cluster)\(failure.subject.map { " (\($0))" } ?? "") fails since "
                    + "\(ReportText.time(failure.since)): \(failure.error ?? failure.code ?? "no reason given").")
        }
        for restore in restores.rows where restore.state == "stuck" {
            all.append("\(restore.kind) \(restore.id) of \(restore.cluster) is stuck.")
        }
        let bare = clusters.filter { $0.newest == nil && $0.holdsNoEtcd != true && $0.removed == nil }
        if !bare.isEmpty {
            let names = bare.prefix(10).map(\.name).joined(separator: ", ")
            all.append(
                "\(ReportText.count(bare.count, "cluster has", "clusters have")) no verified backup at the end: \(names)"
                    + (bare.count > 10 ? " and others." : "."))
        }
        let missing = clusters.map { (name: $0.name, days: $0.days.filter { $0.state == .missed }) }.filter {
            !$0.days.isEmpty
        }
        if missing.count <= 10 {
            all += missing.map {
                "\($0.name) missed its objective on \(ReportText.count($0.days.count, "day")), last on \($0.days.last!.date)."
            }
        } else {
            let worst = missing.sorted { ($1.days.count, $0.name) < ($0.days.count, $1.name) }.prefix(10)
            all.append(
                "\(missing.count) clusters missed their objective on a day or more, most often "
                    + worst.map { "\($0.name) (\(ReportText.count($0.days.count, "day")))" }.joined(separator: ", ")
                    + ".")
        }
        let unproven = clusters.filter { $0.proven == 0 && $0.backups > 0 && $0.removed == nil }
        if !unproven.isEmpty {
            let names = unproven.prefix(10).map(\.name).joined(separator: ", ")
            all.append(
                "No drill proved a backup of \(ReportText.count(unproven.count, "cluster")): \(names)"
                    + (unproven.count > 10 ? " and others." : "."))
        }
        let ended = certificates.rows.filter { $0.ends <= until }.count
        if ended > 0 { all.append("\(ReportText.count(ended, "certificate has", "certificates have")) ended.") }
        let ending = certificates.rows.filter { $0.ends > until && $0.ends.since(until) <= ReportText.near }.map(\.ends)
        if let first = ending.min() {
            all.append(
                "\(ReportText.count(ending.count, "certificate is", "certificates are")) near the end, the first ends in "
                    + "\(ReportText.between(until, first)).")
        }
        return all
    }
}
