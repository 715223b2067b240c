import FleetCommandLine
import FleetConcerns
import FleetProtocol
import FleetSQLite
import FleetSystem

/// A message that waits for its target.
struct AlertDelivery: Sendable, Equatable {
    var message: Int64
    var id: String
    var target: String
    var route: AlertRoute
    var body: String
    var created: Timestamp
    var attempts: Int
}

/// Who is told, what they were told, and what they are still to be told.
extension Catalogue {
    /// A target that is away for a week gets no flood when it is back.
    static let waitingLimit = 1000
    /// Older than this, a message is news no more.
    static let alertLifetime = Duration.seconds(86_400)

    // MARK: targets

    /// - Parameter name: one alone.
    func alertTargets(_ name: String? = nil) throws(FleetError) -> [AlertTarget] {
        try db.all(
            """
            SELECT t.*, (SELECT count(*) FROM alert_messages m WHERE m.target = t.name) AS waiting FROM alert_targets t
            WHERE ?1 IS NULL OR t.name = ?1 ORDER BY t.name
            """, name
        ) { row throws(FleetError) in
            let kind: String = try row["kind"]
            return AlertTarget(
                name: try row["name"], kind: AlertTarget.Kind(rawValue: kind) ?? .webhook, place: try row["place"],
                created: try row["created"], delivered: try row["delivered"], waiting: try row["waiting"],
                problem: try row.json(FleetError.self, "problem"), since: try row["problem_since"])
        }
    }

    /// One that is there already is replaced, with what waits for it; a new one is told of what stands.
    ///
    /// - Throws: `malformed` for a name that is none.
    func setAlertTarget(
        _ name: String, _ route: AlertRoute, fleet: String, by actor: String
    ) throws(FleetError) -> AlertTarget {
        var event = Act("alert.set", by: actor, subject: name)
        event.detail = ["kind": route.kind.rawValue, "place": route.place]
        return try act(event) { _ throws(FleetError) in
            try Names.check(name, "alert target")
            try db.run(
                """
                INSERT INTO alert_targets (name, kind, place, route, created) VALUES (?, ?, ?, ?, ?)
                ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, place = excluded.place, route = excluded.route,
                    problem = NULL, problem_since = NULL
                """, name, route.kind.rawValue, route.place, try JSON.text(route), now)
            try db.run("DELETE FROM alert_messages WHERE target = ?", name)
            for alert in try standingAlerts() { try queue(message(alert, .firing, fleet), to: name) }
            return try knownAlertTarget(name)
        }
    }

    /// With what waits for it.
    ///
    /// - Throws: `not-found`.
    func removeAlertTarget(_ name: String, by actor: String) throws(FleetError) {
        try act(Act("alert.remove", by: actor, subject: name)) { _ throws(FleetError) in
            _ = try knownAlertTarget(name)
            try db.run("DELETE FROM alert_messages WHERE target = ?", name)
            try db.run("DELETE FROM alert_targets WHERE name = ?", name)
        }
    }

    /// - Throws: `not-found`; `database-corrupt` where it can't be read any more.
    func alertRoute(_ name: String) throws(FleetError) -> AlertRoute {
        _ = try knownAlertTarget(name)
        let route = try db.first("SELECT route FROM alert_targets WHERE name = ?", name) { row throws(FleetError) in
            try row.json(AlertRoute.self, "route")
        }
        guard let route, let route else {
            throw FleetError(
                .databaseCorrupt, "the catalogue does not say how \(name) is told", hint: "set it anew, or remove it")
        }
        return route
    }

    private func knownAlertTarget(_ name: String) throws(FleetError) -> AlertTarget {
        guard let found = try alertTargets(name).first else {
            throw FleetError(
                .notFound, "nobody called \(Names.quote(name)) is told of alerts", hint: "see: fleetctl alert list")
        }
        return found
    }

    // MARK: what they are told

    /// What people were told of, and is not over.
    func standingAlerts() throws(FleetError) -> [StandingAlert] {
        try alerts("SELECT key, concern, since FROM alerts ORDER BY since, key")
    }

    /// What is not old enough yet that people are told of it.
    func noticedAlerts() throws(FleetError) -> [StandingAlert] {
        try alerts("SELECT key, concern, since FROM alerts_noticed ORDER BY since, key")
    }

    private func alerts(_ query: String) throws(FleetError) -> [StandingAlert] {
        try db.all(query) { row throws(FleetError) in
            // One that can't be read any more, or is of a kind that only a newer coordinator knows, hides no other.
            guard let concern = try? row.json(Concern.self, "concern") else { return StandingAlert?.none }
            return StandingAlert(concern: concern, since: try row["since"], key: try row["key"])
        }.compactMap(\.self)
    }

    /// What it decided and who is to be told of it, as one.
    ///
    /// - Returns: what was over.
    @discardableResult
    func turnAlerts(_ turn: AlertBook.Turn, fleet: String) throws(FleetError) -> [StandingAlert] {
        guard !turn.isEmpty else { return [] }
        return try db.transaction { () throws(FleetError) in
            let targets = try alertTargets().map(\.name)
            let over = try standingAlerts().filter { turn.over.contains($0.concern.key) }
            for alert in over { try db.run("DELETE FROM alerts WHERE key = ?", alert.key) }
            for alert in turn.raised {
                try db.run(
                    """
                    INSERT INTO alerts (key, concern, since) VALUES (?, ?, ?)
                    ON CONFLICT (key) DO UPDATE SET concern = excluded.concern
                    """, alert.key, try JSON.text(alert.concern), alert.since)
            }
            for alert in turn.noticed {
                try db.run(
                    "INSERT OR IGNORE INTO alerts_noticed (key, concern, since) VALUES (?, ?, ?)", alert.key,
                    try JSON.text(alert.concern), alert.since)
            }
            for key in turn.forgotten + turn.raised.map(\.concern.key) {
                try db.run("DELETE FROM alerts_noticed WHERE key = ?", key)
            }
            // What is said now says more.
            for alert in over + turn.raised { try db.run("DELETE FROM alert_messages WHERE missed = ?", alert.key) }
            let messages = over.map { message($0, .over, fleet) } + turn.raised.map { message($0, .firing, fleet) }
            for message in messages { for target in targets { try queue(message, to: target) } }
            return over
        }
    }

    func message(_ alert: StandingAlert, _ state: AlertMessage.State, _ fleet: String) -> AlertMessage {
        let concern = alert.concern
        // What agents say may be of any length and have any characters; a receiver that refuses one message gets no other.
        func line(_ text: String) -> String {
            Act.clip(
                String(text.unicodeScalars.map { $0.properties.generalCategory == .control ? " " : Character($0) }),
                2000)
        }
        return AlertMessage(
            fleet: fleet, state: state, alert: concern.kind.rawValue, key: alert.key, cluster: concern.cluster,
            node: concern.node, since: alert.since, time: now,
            text: line(
                state == .over
                    ? "over, it stood for \(Human.duration(now.since(alert.since))): \(concern.text)" : concern.line),
            action: state == .over ? nil : concern.action.map(line))
    }

    /// Inside a transaction.
    private func queue(_ message: AlertMessage, to target: String) throws(FleetError) {
        try db.run(
            "INSERT INTO alert_messages (id, target, body, created, next) VALUES (?, ?, ?, ?, ?)",
            Identifier.make(at: now), target, try JSON.text(message), now, now)
        try db.run(
            """
            DELETE FROM alert_messages WHERE target = ?1 AND number <= (SELECT number FROM alert_messages WHERE target = ?1
                ORDER BY number DESC LIMIT 1 OFFSET ?2)
            """, target, Self.waitingLimit)
    }

    // MARK: the way there

    /// Of each target the oldest message, where it is time to send it. They go one after the other, as they came to be; one that
    /// was given up keeps none waiting.
    ///
    /// - Parameter target: this one's alone.
    func dueAlerts(to target: String? = nil) throws(FleetError) -> [AlertDelivery] {
        try db.all(
            """
            SELECT m.*, t.route FROM alert_targets t JOIN alert_messages m
                ON m.number = (SELECT min(number) FROM alert_messages o
                    WHERE o.target = t.name AND (o.missed IS NULL OR o.next <= ?1 OR o.next > ?2))
            WHERE (m.next <= ?1 OR m.next > ?2) AND (?3 IS NULL OR t.name = ?3) ORDER BY t.name
            """, now, now.adding(Self.longestPause * 2), target
        ) { row throws(FleetError) -> AlertDelivery? in
            // 'fleetctl alert test' says what is wrong with such a one.
            guard let route = try? row.json(AlertRoute.self, "route") else { return nil }
            return AlertDelivery(
                message: try row["number"], id: try row["id"], target: try row["target"], route: route,
                body: try row["body"], created: try row["created"], attempts: try row["attempts"])
        }.compactMap(\.self)
    }

    static let longestPause = Duration.seconds(1800)

    /// Nothing is said of a target that was set anew meanwhile, or is gone.
    func delivered(_ delivery: AlertDelivery) throws(FleetError) {
        try db.transaction { () throws(FleetError) in
            guard try db.run("DELETE FROM alert_messages WHERE number = ?", delivery.message) > 0 else { return }
            try reached(delivery.target)
        }
    }

    /// Its problem stands while it has not heard of all that it should.
    private func reached(_ target: String) throws(FleetError) {
        try db.run("UPDATE alert_targets SET delivered = ? WHERE name = ?", now, target)
        try db.run(
            """
            UPDATE alert_targets SET problem = NULL, problem_since = NULL WHERE name = ?1
                AND NOT EXISTS (SELECT 1 FROM alert_messages WHERE target = ?1 AND missed IS NOT NULL)
            """, target)
    }

    /// It took a test: what it did not take before may go there at once.
    func tested(_ target: String) throws(FleetError) {
        try db.transaction { () throws(FleetError) in
            try db.run("UPDATE alert_messages SET next = min(next, ?) WHERE target = ?", now, target)
            try reached(target)
        }
    }

    enum Outlook: Sendable {
        case triedAgain
        /// It is given up, and what it tells of still stands: tried now and then until that is over.
        case missed
        /// It is given up and gone.
        case dropped
    }

    /// Tried again a little later, and then later and later; given up, on record, when it is old. One that its receiver does not
    /// want as it is, is given up soon: those behind it wait.
    @discardableResult
    func undelivered(_ delivery: AlertDelivery, _ problem: FleetError) throws(FleetError) -> Outlook {
        // It went with a target that was removed or set anew, or with its matter.
        guard let matter = try matter(of: delivery) else { return .dropped }
        let isOld = now.since(delivery.created) > Self.alertLifetime
        let isUnwanted = !problem.isRetryable && delivery.attempts >= 2
        let isGivenUp = matter.isMissed || isOld || isUnwanted
        let outlook: Outlook = !isGivenUp ? .triedAgain : matter.stands ? .missed : .dropped
        func settle() throws(FleetError) {
            try db.run(
                "UPDATE alert_targets SET problem = ?, problem_since = coalesce(problem_since, ?) WHERE name = ?",
                try JSON.text(problem.shortened(to: 500)), now, delivery.target)
            guard outlook != .dropped else {
                try db.run("DELETE FROM alert_messages WHERE number = ?", delivery.message)
                return
            }
            let pause =
                isGivenUp ? Self.longestPause : min(Self.longestPause, .seconds(10 << min(delivery.attempts, 8)))
            try db.run(
                "UPDATE alert_messages SET attempts = attempts + 1, next = ?, missed = ? WHERE number = ?",
                now.adding(pause), isGivenUp ? matter.key : nil, delivery.message)
        }
        if isGivenUp, !matter.isMissed {
            var event = Act("alert.give-up", by: "coordinator", subject: delivery.target)
            event.detail = [
                "alert": matter.key, "attempts": "\(delivery.attempts + 1)", "written": delivery.created.description,
            ]
            try act(event) { _ throws(FleetError) in try settle() }
        } else {
            try db.transaction { () throws(FleetError) in try settle() }
        }
        return outlook
    }

    /// What a message that still waits is about; whether that stands, and no later message says more of it.
    private func matter(of delivery: AlertDelivery) throws(FleetError) -> (key: String, isMissed: Bool, stands: Bool)? {
        // That it is not reached, a target knows when it is.
        let itself = Concern(.alertUndelivered, subject: delivery.target, "").key
        return try db.first(
            """
            SELECT told.key AS key, told.missed IS NOT NULL AS is_missed, told.state = 'firing' AND told.key <> ?2
                AND EXISTS (SELECT 1 FROM alerts WHERE key = told.key)
                AND NOT EXISTS (SELECT 1 FROM alert_messages later WHERE later.target = told.target
                    AND later.number > told.number AND json_extract(later.body, '$.key') = told.key) AS stands
            FROM (SELECT number, target, missed, json_extract(body, '$.key') AS key, json_extract(body, '$.state') AS state
                FROM alert_messages WHERE number = ?1) AS told
            """, delivery.message, itself
        ) { row throws(FleetError) in (try row["key"], try row["is_missed"], try row["stands"]) }
    }
}
