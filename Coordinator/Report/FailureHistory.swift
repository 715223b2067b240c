import FleetProtocol
import FleetSystem

/// What failed, and until when it stood: attempts of the same kind that fail one after the other are one failure, which ends
/// with the first that does not. What is done once, as a restore is, is over when it failed, unless somebody has to look. Pure.
struct FailureHistory {
    private struct Key: Hashable {
        var cluster: String
        var kind: String
        var subject: String?
    }
    private var open: [Key: AuditReport.Failure] = [:]
    private(set) var ended = BoundedRows<AuditReport.Failure>()
    private let since: Timestamp

    init(since: Timestamp) { self.since = since }

    mutating func failed(_ event: AuditEvent, kind: String, subject: String? = nil, code: String?, error: String?) {
        guard let cluster = event.cluster else { return }
        let key = Key(cluster: cluster, kind: kind, subject: subject)
        var failure =
            open[key] ?? AuditReport.Failure(cluster: cluster, kind: kind, subject: subject, since: event.time)
        failure.attempts += 1
        (failure.last, failure.code, failure.error) = (event.time, code, error)
        open[key] = failure
    }

    /// Of an act that nobody repeats until it is well.
    mutating func failedAtOnce(_ event: AuditEvent, kind: String, code: String?, error: String?) {
        guard let cluster = event.cluster else { return }
        // One that was stuck or lost before has ended now.
        let before = open.removeValue(forKey: Key(cluster: cluster, kind: kind, subject: event.subject))
        guard event.time >= since else { return }
        var failure = before ?? .init(cluster: cluster, kind: kind, subject: event.subject, since: event.time)
        failure.attempts = 1
        (failure.last, failure.code, failure.error) = (event.time, code, error)
        (failure.ended, failure.endedBy) = (event.time, "the act has ended")
        ended.add(failure)
    }

    /// Whatever stands of this kind, of whichever act.
    mutating func allWell(cluster: String?, kind: String, at time: Timestamp, by what: String) {
        let subjects = open.keys.filter { $0.cluster == cluster && $0.kind == kind }.map(\.subject)
        for subject in subjects.sorted(by: { ($0 ?? "") < ($1 ?? "") }) {
            wentWell(cluster: cluster, kind: kind, subject: subject, at: time, by: what)
        }
    }

    /// Whatever stands of the cluster.
    mutating func allEnded(cluster: String, at time: Timestamp, by what: String) {
        for kind in Set(open.keys.filter { $0.cluster == cluster }.map(\.kind)).sorted() {
            allWell(cluster: cluster, kind: kind, at: time, by: what)
        }
    }

    mutating func wentWell(cluster: String?, kind: String, subject: String? = nil, at time: Timestamp, by what: String)
    {
        guard let cluster, var failure = open.removeValue(forKey: Key(cluster: cluster, kind: kind, subject: subject)),
            time >= since
        else { return }
        (failure.ended, failure.endedBy) = (time, what)
        ended.add(failure)
    }

    /// Those that ended in the range, and those that stand at its end; by when they began.
    func all() -> ReportList<AuditReport.Failure> {
        var rows = ended
        // Each is of another cluster, kind or subject: their order does not depend on that of a dictionary.
        let standing = open.values.sorted {
            ($0.since, $0.cluster, $0.kind, $0.subject ?? "") < ($1.since, $1.cluster, $1.kind, $1.subject ?? "")
        }
        for failure in standing { rows.add(failure) }
        var list = rows.list
        list.rows.sort {
            ($0.since, $0.cluster, $0.kind, $0.subject ?? "") < ($1.since, $1.cluster, $1.kind, $1.subject ?? "")
        }
        return list
    }
}

/// The newest `ReportLimits.rows` of what is added, and how many came before these.
struct BoundedRows<Row: Codable & Sendable & Equatable> {
    private var rows: [Row] = []
    private var leftOut = 0

    mutating func add(_ row: Row) {
        rows.append(row)
        // Not one by one: each removal moves all that stay.
        if rows.count >= 2 * ReportLimits.rows { cut() }
    }

    private mutating func cut() {
        let surplus = rows.count - ReportLimits.rows
        guard surplus > 0 else { return }
        rows.removeFirst(surplus)
        leftOut += surplus
    }

    var list: ReportList<Row> {
        var copy = self
        copy.cut()
        return ReportList(copy.rows, leftOut: copy.leftOut)
    }
}
