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
    /// How often the target has failed since it took the last one.
    var failures: Int
}

/// Who is told, what they were told, and what they are still to be told.
extension Catalogue {
    /// That something is over is news for a week. What stands is news.
    static let overLifetime = Duration.seconds(7 * 86_400)

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
                    problem = NULL, problem_since = NULL, failures = 0, next = 0
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

    /// Inside a transaction. Of a matter the newest message alone waits: whoever was away hears how things are.
    private func queue(_ message: AlertMessage, to target: String) throws(FleetError) {
        // That it is not reached, it knows when it is.
        guard message.key != Concern(.alertUndelivered, subject: target, "").key else { return }
        try db.run("DELETE FROM alert_messages WHERE target = ? AND key = ?", target, message.key)
        try db.run(
            "INSERT INTO alert_messages (id, target, key, body, created, next) VALUES (?, ?, ?, ?, ?, ?)",
            Identifier.make(at: now), target, message.key, try JSON.text(message), now, now)
    }

    /// Every target is told of all that stands: what of it they have heard, nobody knows.
    func tellAllThatStands(fleet: String) throws(FleetError) {
        let standing = try standingAlerts()
        for target in try alertTargets() {
            try db.run(
                "UPDATE alert_targets SET problem = NULL, problem_since = NULL, failures = 0, next = 0 WHERE name = ?",
                target.name)
            for alert in standing { try queue(message(alert, .firing, fleet), to: target.name) }
        }
    }

    // MARK: the way there

    /// Of each target one message, where it is time to send one: of those that were tried least the oldest, so that one which is
    /// never taken keeps none waiting.
    ///
    /// - Parameter target: this one's alone.
    func dueAlerts(to target: String? = nil) throws(FleetError) -> [AlertDelivery] {
        // A time that is farther away than any pause was written by a clock that was wrong.
        try db.all(
            """
            SELECT m.*, t.route, t.failures FROM alert_targets t JOIN alert_messages m
                ON m.number = (SELECT number FROM alert_messages o WHERE o.target = t.name AND (o.next <= ?1 OR o.next > ?2)
                    ORDER BY o.attempts, o.number LIMIT 1)
            WHERE (t.next <= ?1 OR t.next > ?4) AND (?3 IS NULL OR t.name = ?3) ORDER BY t.name
            """, now, now.adding(Self.longestPause * 2), target, now.adding(Self.longestPauseOfTarget * 2)
        ) { row throws(FleetError) -> AlertDelivery? in
            // 'fleetctl alert test' says what is wrong with such a one.
            guard let route = try? row.json(AlertRoute.self, "route") else { return nil }
            return AlertDelivery(
                message: try row["number"], id: try row["id"], target: try row["target"], route: route,
                body: try row["body"], created: try row["created"], attempts: try row["attempts"],
                failures: try row["failures"])
        }.compactMap(\.self)
    }

    /// Of a message, which may be what its receiver does not want.
    static let longestPause = Duration.seconds(1800)
    /// Of a target, whatever is sent to it.
    static let longestPauseOfTarget = Duration.seconds(60)

    private static func pause(after failures: Int, most: Duration) -> Duration {
        min(most, .seconds(10 << min(failures, 8)))
    }

    /// Nothing is said of a target that was set anew meanwhile, or is gone.
    func delivered(_ delivery: AlertDelivery) throws(FleetError) {
        try db.transaction { () throws(FleetError) in
            guard try db.run("DELETE FROM alert_messages WHERE number = ?", delivery.message) > 0 else { return }
            try reached(delivery.target)
        }
    }

    /// Its problem stands while one waits that it did not take. Whoever was away may be sent all of it now.
    private func reached(_ target: String) throws(FleetError) {
        try db.run(
            """
            UPDATE alert_messages SET next = ?1 WHERE target = ?2 AND next > ?1
                AND (SELECT failures FROM alert_targets WHERE name = ?2) > 0
            """, now, target)
        try db.run("UPDATE alert_targets SET delivered = ?, failures = 0, next = 0 WHERE name = ?", now, target)
        try settle(target)
    }

    private func settle(_ target: String) throws(FleetError) {
        try db.run(
            """
            UPDATE alert_targets SET problem = NULL, problem_since = NULL WHERE name = ?1
                AND NOT EXISTS (SELECT 1 FROM alert_messages WHERE target = ?1 AND attempts > 0)
            """, target)
    }

    /// It took a test: what waits for it may go there at once.
    func tested(_ target: String) throws(FleetError) {
        try db.transaction { () throws(FleetError) in
            try db.run("UPDATE alert_messages SET next = min(next, ?) WHERE target = ?", now, target)
            try reached(target)
        }
    }

    /// Tried again a little later, and then later and later; given up, on record, where it is only that something is over, and
    /// that is long ago.
    ///
    /// - Returns: whether it was given up.
    @discardableResult
    func undelivered(_ delivery: AlertDelivery, _ problem: FleetError) throws(FleetError) -> Bool {
        let told = try db.first(
            "SELECT key, json_extract(body, '$.state') AS state FROM alert_messages WHERE number = ?", delivery.message
        ) { row throws(FleetError) in
            let (key, state): (String, String?) = (try row["key"], try row["state"])
            return (key: key, isOver: state == AlertMessage.State.over.rawValue)
        }
        // It went with a target that was removed or set anew, or something newer is to be said of its matter.
        guard let told else { return false }
        let isGivenUp = told.isOver && now.since(delivery.created) > Self.overLifetime
        func note() throws(FleetError) {
            if isGivenUp {
                try db.run("DELETE FROM alert_messages WHERE number = ?", delivery.message)
            } else {
                try db.run(
                    "UPDATE alert_messages SET attempts = attempts + 1, next = ? WHERE number = ?",
                    now.adding(Self.pause(after: delivery.attempts, most: Self.longestPause)), delivery.message)
            }
            try db.run(
                "UPDATE alert_targets SET problem = ?, problem_since = coalesce(problem_since, ?) WHERE name = ?",
                try JSON.text(problem.shortened(to: 500)), now, delivery.target)
            // Whoever does not want this one is there, and may want the next.
            if problem.isRetryable {
                try db.run(
                    "UPDATE alert_targets SET failures = failures + 1, next = ? WHERE name = ?",
                    now.adding(Self.pause(after: delivery.failures, most: Self.longestPauseOfTarget)), delivery.target)
            }
            if isGivenUp { try settle(delivery.target) }
        }
        if isGivenUp {
            var event = Act("alert.give-up", by: "coordinator", subject: delivery.target)
            event.detail = [
                "alert": told.key, "attempts": "\(delivery.attempts + 1)", "written": delivery.created.description,
            ]
            try act(event) { _ throws(FleetError) in try note() }
        } else {
            try db.transaction { () throws(FleetError) in try note() }
        }
        return isGivenUp
    }
}
