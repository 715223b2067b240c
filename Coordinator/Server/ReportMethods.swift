import FleetCrypto
import FleetProtocol
import FleetSystem

/// What an auditor may ask.
extension CoordinatorServer {
    /// - Returns: false for a method that is none of these.
    func serveReport(_ stream: FleetProtocol.Stream, _ actor: String) async throws(FleetError) -> Bool {
        switch stream.method {
        case ControlMethod.auditReport:
            try await report(stream, try JSON.decode(ReportRequest.self, from: stream.request), actor)
        case ControlMethod.proveReport:
            try await prove(stream, try JSON.decode(Envelope.self, from: stream.request))
        default: return false
        }
        return true
    }

    private func report(
        _ stream: FleetProtocol.Stream, _ request: ReportRequest, _ actor: String
    ) async throws(FleetError) {
        try await reports.seat { () async throws(FleetError) in
            for name in request.clusters { try await catalogue.checkKnown(name) }
            let range = try ReportRange(request, now: await catalogue.now)
            let made = try await catalogue.report(
                since: range.since, until: range.until, only: Set(request.clusters).sorted())
            let envelope = try keys.signer.sign(made.statement)
            // Whoever holds one can show that it was made: that is on record before it leaves.
            try await catalogue.audit(ReportRecord.act(made, by: actor))
            try await stream.send(made.bytes)
            try await stream.finish(envelope)
        }
    }

    /// Of a report that this coordinator has signed, and so handed out and put on record; of nothing else.
    private func prove(_ stream: FleetProtocol.Stream, _ envelope: Envelope) async throws(FleetError) {
        let statement = try envelope.reportStatement()
        guard let key = [UInt8](base64: keys.jobKey) else { throw FleetError(.malformed, "the coordinator's key") }
        try envelope.checkReport(signedBy: try VerifyingKey(raw: key))
        guard statement.since <= statement.until,
            statement.until.since(statement.since) < .seconds((ReportLimits.days + 1) * 86_400)
        else { throw FleetError(.malformed, "a report from \(statement.since) to \(statement.until) was never made") }
        try await reports.seat { () async throws(FleetError) in
            let (proof, remade) = try await catalogue.remake(statement, key: keys.jobKey)
            if let remade { try await stream.send(remade.bytes) }
            try await stream.finish(proof)
        }
    }
}

/// From when to when a report is.
struct ReportRange: Equatable {
    var since: Timestamp
    /// nil: to the last event.
    var until: Timestamp?

    /// - Throws: `usage`.
    init(_ request: ReportRequest, now: Timestamp) throws(FleetError) {
        let end = request.until ?? now
        guard end <= now else {
            throw FleetError(.usage, "\(end) is not yet: it is \(now)", hint: "leave --until out for all until now")
        }
        until = request.until
        let seconds = request.lastSeconds ?? 90 * 86_400
        guard (1...ReportLimits.days * 86_400).contains(seconds) else {
            throw FleetError(.usage, "a report is of \(ReportLimits.days) days at most", hint: "give a later --since")
        }
        let back = end.adding(.seconds(-seconds))
        since = request.since ?? (seconds >= 86_400 ? ObjectiveCoverage.midnight(back) : back)
        guard since < end else {
            throw FleetError(
                .usage, "--since \(since) is not before --until \(end)", hint: "for instance --since 90d")
        }
        guard end.since(since) < .seconds((ReportLimits.days + 1) * 86_400) else {
            throw FleetError(.usage, "a report is of \(ReportLimits.days) days at most", hint: "give a later --since")
        }
    }
}
