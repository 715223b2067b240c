import FleetProtocol
import FleetSQLite
import FleetSystem

/// A catalogue that was put back from a copy: what was recorded since is lost, also what kept something from being done.
extension Catalogue {
    /// In which pins and policies are set again before anything is deleted by itself.
    static let retentionPause = Duration.seconds(7 * 86_400)
    private static let retentionSetting = "retention_waits"

    /// In one transaction with its event: tokens that may have been used since are good no more, and nothing is deleted by
    /// itself for a week.
    ///
    /// - Returns: the event behind which everything is lost, and its time.
    func putBack(from copy: String) throws(FleetError) -> (events: Int64, last: Timestamp?) {
        let events = try auditSequence()
        let last = try auditLog(AuditFilter(limit: 1)).last?.event.time
        var event = Act("coordinator.restore", by: "coordinator")
        event.detail = ["copy": copy, "events": String(events)]
        try act(event) { event throws(FleetError) in
            let tokens = try db.run("UPDATE join_tokens SET used = ?1 WHERE used IS NULL AND expires > ?1", now)
            event.detail["tokens"] = String(tokens)
            try set(Self.retentionSetting, "\(now.adding(Self.retentionPause))")
        }
        return (events, last)
    }

    /// Until when nothing is deleted by itself; nil where it is.
    func retentionWaits() throws(FleetError) -> Timestamp? {
        guard let until = try setting(Self.retentionSetting).flatMap({ Timestamp($0) }), until > now else { return nil }
        return until
    }
}
