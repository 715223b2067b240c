import FleetCrypto
import FleetProtocol
import FleetSystem

/// A report with the bytes that are signed.
struct MadeReport: Sendable {
    var report: AuditReport
    var bytes: [UInt8]
    var statement: ReportStatement

    init(_ report: AuditReport) throws(FleetError) {
        self.report = report
        bytes = try report.canonical()
        statement = ReportStatement(report, sha256: SHA256.hash(bytes).hex)
    }
}

/// Reports are made of the chain while it is walked: pages of events are read one after the other, so that other work of the
/// catalogue goes on between them, and since events are only ever appended, no lock is needed for all of them to agree.
extension Catalogue {
    /// Of what the chain has now.
    ///
    /// - Parameters:
    ///   - until: nil: now.
    nonisolated func report(
        since: Timestamp, until: Timestamp?, only: [String], pageSize: Int = 1000
    ) async throws(FleetError) -> MadeReport {
        let start = ReportFold(since: since, until: until, only: only)
        let (fold, walk, recorded) = try await folding(start, upTo: .max, pageSize)
        let verdict = walk.finish(recorded: recorded)
        let chain = AuditReport.Chain(
            height: verdict.events, head: verdict.head, firstBreak: verdict.firstBreak, findings: verdict.findings)
        let made = await now
        return try await blocking { () throws(FleetError) in
            try MadeReport(fold.fold.report(version: FleetVersion.current, made: made, chain: chain))
        }
    }

    /// The same report again, of the events that the chain had then, and what else the chain says of it.
    func remake(
        _ statement: ReportStatement, key: String, pageSize: Int = 1000
    ) async throws(FleetError) -> (proof: ReportProof, remade: MadeReport?) {
        let until = statement.until < statement.made ? statement.until : nil
        let start = ReportFold(since: statement.since, until: until, only: statement.only)
        let (fold, walk, recorded) = try await folding(
            start, upTo: statement.height, digest: statement.sha256, pageSize)
        let verdict = walk.finish(recorded: recorded)
        let hash = statement.height == 0 ? AuditChain.genesis.hex : fold.mark?.hash
        let proof = ReportProof(
            version: FleetVersion.current, key: key, verdict: verdict, hash: hash, making: fold.making)
        guard hash == statement.head else { return (proof, nil) }
        // Where the chain was broken right behind it, the report had to say so.
        let sameBreak = verdict.firstBreak.flatMap { $0.sequence == statement.height + 1 ? $0 : nil }
        let chain = AuditReport.Chain(
            height: statement.height, head: statement.head, firstBreak: sameBreak,
            findings: fold.mark?.findings ?? [])
        let remade = try await blocking { () throws(FleetError) in
            // As the version that made it: its name is among the bytes.
            try MadeReport(fold.fold.report(version: statement.version, made: statement.made, chain: chain))
        }
        return (proof, remade)
    }

    /// Walks the whole chain, and folds it up to the height.
    private nonisolated func folding(
        _ fold: ReportFold, upTo height: Int64, digest: String? = nil, _ pageSize: Int
    ) async throws(FleetError) -> (MarkedFold, AuditWalk, AuditChain.Head?) {
        // Shared with one thread after the other, never copied: it may hold a year.
        let state = Monitor((fold: MarkedFold(fold: fold, height: height, digest: digest), walk: AuditWalk()))
        var sequence = Int64.min
        while true {
            let page = try await auditPage(after: sequence, count: pageSize)
            let isBroken = try await blocking { () throws(FleetError) in
                state.withLock { state in
                    for link in page.links {
                        guard let event = state.walk.feed(link) else { return true }
                        state.fold.feed(event, state.walk)
                    }
                    return false
                }
            }
            // The last page and the head it is compared with were read together.
            if page.links.count < pageSize || isBroken {
                return state.withLock { ($0.fold, $0.walk, page.head) }
            }
            sequence = page.links.last?.sequence ?? sequence
        }
    }
}

/// A fold of the events up to some height, and what is to be known of that event and of those behind it.
private struct MarkedFold: Sendable {
    var fold: ReportFold
    let height: Int64
    /// Of a report whose making is looked for.
    let digest: String?
    /// Of the event at the height.
    private(set) var mark: (hash: String, findings: [String])?
    private(set) var making: ReportProof.Making?

    init(fold: ReportFold, height: Int64, digest: String?) {
        self.fold = fold
        self.height = height
        self.digest = digest
    }

    /// - Parameter walk: as it is behind the event.
    mutating func feed(_ event: AuditEvent, _ walk: AuditWalk) {
        if event.sequence <= height { fold.feed(event) }
        if event.sequence == height {
            let verdict = walk.finish(recorded: nil)
            mark = (verdict.head, verdict.findings)
        }
        if let digest, making == nil, event.sequence > height, event.action == ControlMethod.auditReport,
            event.outcome == .ok, event.detail[ReportRecord.digest] == digest
        {
            making = .init(sequence: event.sequence, time: event.time, actor: event.actor)
        }
    }
}

/// That a report was made is an event of the chain, which names its bytes.
enum ReportRecord {
    static let digest = "sha256"

    static func act(_ made: MadeReport, by actor: String) -> Act {
        var act = Act(ControlMethod.auditReport, by: actor)
        act.detail = [
            digest: made.statement.sha256, "since": made.statement.since.description,
            "until": made.statement.until.description, "height": String(made.statement.height),
        ]
        if !made.statement.only.isEmpty { act.detail["clusters"] = made.statement.only.joined(separator: ",") }
        return act
    }
}
