import FleetProtocol
import FleetSQLite
import FleetSystem

/// An act that is being done: what its audit event will say. The body of `Catalogue.act` may add to it.
struct Act {
    let action: String
    let actor: String
    var cluster: String?
    var subject: String?
    var detail: [String: String] = [:]

    init(_ action: String, by actor: String, cluster: String? = nil, subject: String? = nil) {
        self.action = action
        self.actor = actor
        self.cluster = cluster.map { Self.clip($0, 64) }
        self.subject = subject.map { Self.clip($0, 64) }
    }

    /// What is refused may be of any length; no name, no id and no error worth keeping is longer than this.
    static func clip(_ text: String, _ limit: Int) -> String {
        text.utf8.count <= limit ? text : String(decoding: text.utf8.prefix(limit), as: UTF8.self) + "..."
    }
}

/// Which of the log is wanted.
struct AuditFilter: Sendable {
    var cluster: String?
    /// Whoever may not see all clusters sees no events that are about none.
    var scope = Scope.all
    var since: Timestamp?
    /// The newest so many, given oldest first.
    var limit = 1000
}

extension Catalogue {
    /// Does `body` and appends its event in one transaction. What `body` refuses or fails at is audited too, in a
    /// transaction of its own since the first was rolled back, and thrown on.
    ///
    /// - Parameter isStranger: nobody vouches for the actor, so its refusals are written only as `RefusalBudget` allows.
    @discardableResult
    func act<Value>(_ act: Act, isStranger: Bool = false, _ body: (inout Act) throws(FleetError) -> Value)
        throws(FleetError) -> Value
    {
        var act = act
        do throws(FleetError) {
            return try db.transaction { () throws(FleetError) in
                let value = try body(&act)
                try append(act, .ok)
                return value
            }
        } catch {
            if isStranger, !error.isFault { turnedAway(act, error) } else { try? audit(act, error: error) }
            throw error
        }
    }

    /// One event, where nothing else is changed: something that was refused before it reached the catalogue, or that
    /// happened elsewhere.
    func audit(_ act: Act, error: FleetError? = nil) throws(FleetError) {
        var act = act
        if let error {
            act.detail["code"] = error.code.rawValue
            act.detail["error"] = error.message
            OperatorRequest.current?.note()
        }
        do throws(FleetError) {
            try db.transaction { () throws(FleetError) in
                try append(act, error.map { $0.isFault ? .failed : .refused } ?? .ok)
            }
        } catch {
            log.error("could not audit \(act.action) by \(act.actor)", error)
            throw error
        }
    }

    /// Inside a transaction only.
    ///
    /// - Parameter limit: bytes of each detail that are kept.
    func append(_ act: Act, _ outcome: AuditOutcome, limit: Int = 2000) throws(FleetError) {
        guard db.isInTransaction else { throw FleetError(.internalError, "an audit event outside a transaction") }
        let head = try auditHead() ?? .empty
        let event = AuditEvent(
            sequence: head.sequence + 1, time: now, actor: act.actor, action: act.action, cluster: act.cluster,
            subject: act.subject, outcome: outcome, detail: act.detail.mapValues { Act.clip($0, limit) })
        let link = try AuditChain.Link(event, after: head)
        try db.run(
            "INSERT INTO audit_events (sequence, time, cluster, body, previous, hash) VALUES (?, ?, ?, ?, ?, ?)",
            link.sequence, link.time, link.cluster, String(decoding: link.body, as: UTF8.self), link.previous,
            link.hash)
        try set(Self.headSetting, AuditChain.Head(sequence: link.sequence, hash: link.hash).text)
    }

    private static let headSetting = "audit.head"

    /// Sequence and hash of the last event as they are recorded apart from the events.
    func auditHead() throws(FleetError) -> AuditChain.Head? {
        try setting(Self.headSetting).flatMap { AuditChain.Head($0) }
    }

    func auditLog(_ filter: AuditFilter = AuditFilter()) throws(FleetError) -> [AuditRecord] {
        let newest = try db.all(
            """
            SELECT * FROM audit_events
            WHERE (?1 IS NULL OR cluster = ?1) AND (?2 IS NULL OR time >= ?2)
                AND (?4 IS NULL OR cluster IN (SELECT value FROM json_each(?4)))
            ORDER BY sequence DESC LIMIT ?3
            """, filter.cluster, filter.since, filter.limit, try filter.scope.json(), read: Self.link)
        var records: [AuditRecord] = []
        for link in newest.reversed() { records.append(try link.record()) }
        return records
    }

    /// How many events there are.
    func auditSequence() throws(FleetError) -> Int64 { try auditHead()?.sequence ?? 0 }

    /// Up to `count` links above `sequence`, and the head as it is recorded now.
    func auditPage(after sequence: Int64, count: Int) throws(FleetError) -> (
        links: [AuditChain.Link], head: AuditChain.Head?
    ) {
        let links = try db.all(
            "SELECT * FROM audit_events WHERE sequence > ? ORDER BY sequence LIMIT ?",
            sequence, count, read: Self.link)
        return (links, try auditHead())
    }

    /// What is known of the chain without walking all of it: each call goes on where the last one ended. What was
    /// changed before that since this process started is found by `verifyAudit` only.
    nonisolated func auditSummary(pageSize: Int = 200) async throws(FleetError) -> AuditVerdict {
        let known = try await rememberedWalk()
        if known.firstBreak != nil { return known.finish(recorded: try await auditHead()) }
        let (walk, head) = try await go(on: known, from: known.sequence, pageSize)
        await remember(walk)
        return walk.finish(recorded: head)
    }

    /// Walks the whole chain. Events that are appended meanwhile are walked too.
    nonisolated func verifyAudit(pageSize: Int = 1000) async throws(FleetError) -> AuditVerdict {
        // From the very beginning: a row numbered 0 or less is not ours either.
        let (walk, head) = try await go(on: AuditWalk(), from: .min, pageSize)
        // Whoever asks for the summary from now on is told of it as well.
        if walk.firstBreak != nil { await remember(walk) }
        return walk.finish(recorded: head)
    }

    /// To the end or the first break. Between pages other work goes on, and the hashing is not the catalogue's.
    private nonisolated func go(
        on walk: AuditWalk, from start: Int64, _ pageSize: Int
    ) async throws(FleetError) -> (AuditWalk, AuditChain.Head?) {
        var (walk, sequence) = (walk, start)
        while true {
            let page = try await auditPage(after: sequence, count: pageSize)
            walk = try await blocking { [walk] () throws(FleetError) in
                var walk = walk
                for link in page.links { walk.feed(link) }
                return walk
            }
            // The last page and the head it is compared with were read together.
            if page.links.count < pageSize || walk.firstBreak != nil { return (walk, page.head) }
            sequence = page.links.last?.sequence ?? sequence
        }
    }

    /// The walk as far as it came, if the chain still has what it ended at.
    private func rememberedWalk() throws(FleetError) -> AuditWalk {
        if let last = summary.lastHash {
            let stored: [UInt8]? = try db.first("SELECT hash FROM audit_events WHERE sequence = ?", summary.sequence) {
                row throws(FleetError) in try row["hash"]
            }
            if stored != last { summary = AuditWalk() }
        }
        return summary
    }

    private func remember(_ walk: AuditWalk) {
        if walk.firstBreak != nil || walk.sequence >= summary.sequence { summary = walk }
    }

    private static func link(_ row: SQLiteRow) throws(FleetError) -> AuditChain.Link {
        let body: String = try row["body"]
        return AuditChain.Link(
            sequence: try row["sequence"], time: try row["time"], cluster: try row["cluster"], body: Array(body.utf8),
            previous: try row["previous"], hash: try row["hash"])
    }
}

extension FleetError {
    /// Whether machinery failed, rather than a rule having said no.
    var isFault: Bool {
        switch code {
        case .system, .noSpace, .internalError, .database, .databaseBusy, .databaseCorrupt, .timedOut, .childFailed:
            true
        default: false
        }
    }
}
