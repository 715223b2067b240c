import FleetProtocol
import FleetSQLite
import FleetSystem

/// A catalogue that was put back from a copy, or made again from the store: what was recorded since, or at all, is lost, also what
/// kept something from being done.
extension Catalogue {
    /// In which pins and policies are set again before anything is deleted by itself.
    static let retentionPause = Duration.seconds(7 * 86_400)
    private static let retentionSetting = "retention_waits"
    private static let alertSetting = "alerts"

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
            // It may be a drill, on a machine that agents can't reach: nobody is to be woken in the fleet's name before somebody
            // says that this is the fleet's coordinator now.
            try set(Self.alertSetting, "held")
            try db.run("DELETE FROM alert_messages")
            // How long it stood here says nothing of the fleet as it is now.
            try db.run("DELETE FROM alerts_noticed")
        }
        return (events, last)
    }

    /// Whether nothing was ever recorded in it.
    func isBlank() throws(FleetError) -> Bool { try auditSequence() == 0 }

    /// In one transaction with its event, before the first snapshot is taken in: what was pinned is not known any more, so nothing is
    /// deleted by itself for a week.
    ///
    /// - Parameter snapshots: how many the store has.
    func rebuild(from snapshots: Int) throws(FleetError) {
        var event = Act("catalogue.rebuild", by: "coordinator")
        event.detail = ["snapshots": String(snapshots)]
        try act(event) { _ throws(FleetError) in
            try set(Self.retentionSetting, "\(now.adding(Self.retentionPause))")
        }
    }

    /// Behind it all is in the database's own file, which may be moved when it is closed.
    func foldLog() throws(FleetError) {
        let isBusy: Bool? = try db.first("PRAGMA wal_checkpoint(TRUNCATE)") { row throws(FleetError) in
            try row["busy"]
        }
        guard isBusy == false else {
            throw FleetError(
                .databaseBusy, "somebody else has the catalogue open", hint: "see who: fuser -v on its file",
                retryable: true)
        }
    }

    /// Until when nothing is deleted by itself; nil where it is.
    func retentionWaits() throws(FleetError) -> Timestamp? {
        guard let until = try setting(Self.retentionSetting).flatMap({ Timestamp($0) }), until > now else { return nil }
        return until
    }

    /// Whether nobody is told of anything, until `resumeAlerts`.
    func alertsAreHeld() throws(FleetError) -> Bool { try setting(Self.alertSetting) == "held" }

    /// - Throws: `not-found` where they are not held.
    func resumeAlerts(fleet: String, by actor: String) throws(FleetError) {
        try act(Act("alert.resume", by: actor)) { _ throws(FleetError) in
            guard try alertsAreHeld() else {
                throw FleetError(.notFound, "alerts are not held back", hint: "see: fleetctl alert list")
            }
            try set(Self.alertSetting, "sent")
            try tellAllThatStands(fleet: fleet)
        }
    }
}
