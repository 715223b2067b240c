import FleetConcerns
import FleetProtocol
import FleetSQLite
import FleetSystem
import FleetWebhook
import Testing

@testable import FleetCoordinator

/// What waits for whom, in which order it goes, and what becomes of it where nobody takes it.
extension AlertTests {
    @Test func theQueueIsInOrderAndOutlivesTheProcess() async throws {
        let directory = try TemporaryDirectory()
        let clock = TestClock()
        var catalogue = try await Fixture.fleet(clock, path: directory.path + "/c")
        try await target(catalogue, "pager")
        try await catalogue.turnAlerts(.init(raised: [alert(failed), alert(lost)]), fleet: "f:1")
        // Told once more of what stands, as by one that has read it before it was there.
        try await catalogue.turnAlerts(.init(), fleet: "f:1")
        await catalogue.close()
        catalogue = try Catalogue(.file(directory.path + "/c"), clock: { clock.now })
        #expect(try await catalogue.standingAlerts().map(\.concern.kind) == [.agentLost, .backupFailed])
        let first = try #require(try await catalogue.dueAlerts().first)
        #expect(try await catalogue.dueAlerts().count == 1, "one after the other")
        #expect(try await bodies(catalogue).map(\.alert) == ["backup-failed"])
        #expect(try await bodies(catalogue)[0].text == "the last backup of a has failed; look")

        // Later and later, and not before.
        try await catalogue.undelivered(first, FleetError(.webhook, "no", retryable: true))
        #expect(try await catalogue.dueAlerts().isEmpty)
        #expect(try await catalogue.alertTargets().first?.problem?.message == "no")
        clock.advance(.seconds(11))
        let other = try #require(try await catalogue.dueAlerts().first)
        #expect(other.id != first.id && other.attempts == 0, "what was not tried yet goes first")
        try await catalogue.undelivered(other, FleetError(.webhook, "no", retryable: true))
        clock.advance(.seconds(11))
        #expect(try await catalogue.dueAlerts().isEmpty)
        clock.advance(.seconds(11))
        let second = try #require(try await catalogue.dueAlerts().first)
        #expect(second.id == first.id && second.attempts == 1 && second.failures == 2)
        try await catalogue.delivered(second)
        #expect(try await bodies(catalogue).map(\.alert) == ["agent-lost"])

        // Whoever comes later is told of what stands.
        try await target(catalogue, "chat")
        #expect(try await catalogue.alertTargets().map(\.waiting) == [2, 1])
        try await catalogue.turnAlerts(.init(over: [lost.key, "unknown"]), fleet: "f:1")
        #expect(try await catalogue.standingAlerts().map(\.concern.kind) == [.backupFailed])
        #expect(try await catalogue.alertTargets().map(\.waiting) == [2, 1], "of each matter the newest")
        try await catalogue.removeAlertTarget("chat", by: "root")
        #expect(try await catalogue.alertTargets().map(\.name) == ["pager"])
        await #expect(throws: FleetError.self) { try await catalogue.removeAlertTarget("chat", by: "root") }
    }

    private var no: FleetError { FleetError(.webhook, "no", retryable: true) }

    /// Its receiver is away, for hours or for weeks: what stands then is told when it is back.
    @Test func whatStandsWaitsForWhoeverIsAway() async throws {
        let clock = TestClock()
        let catalogue = try await Fixture.fleet(clock)
        try await target(catalogue, "pager")
        try await catalogue.turnAlerts(.init(raised: [alert(failed), alert(lost)]), fleet: "f:1")
        var (attempts, givenUp) = (0, 0)
        let end = clock.now.adding(.seconds(20 * 86_400))
        while clock.now < end {
            if let due = try await catalogue.dueAlerts().first {
                attempts += 1
                givenUp += try await catalogue.undelivered(due, no) ? 1 : 0
            }
            clock.advance(.seconds(601))
            if attempts == 200 { try await catalogue.turnAlerts(.init(over: [lost.key]), fleet: "f:1") }
        }
        #expect(attempts > 1000 && attempts < 3000 && givenUp == 1, "\(attempts), \(givenUp)")
        let away = try #require(try await catalogue.alertTargets().first)
        #expect(away.waiting == 1 && away.problem != nil && away.delivered == nil)
        let given = try await catalogue.auditLog(AuditFilter()).filter { $0.event.action == "alert.give-up" }
        #expect(given.map { $0.event.detail["alert"] } == [lost.key], "that it was over was news for a week")
        #expect(try await catalogue.verifyAudit().isIntact)

        clock.advance(.seconds(1801))
        try await catalogue.turnAlerts(.init(raised: [alert(lost)]), fleet: "f:1")
        #expect(try await bodies(catalogue).map(\.key) == [lost.key], "what is new goes first")
        try await catalogue.delivered(try #require(try await catalogue.dueAlerts().first))
        #expect(try await catalogue.alertTargets().first?.problem != nil, "it has not heard of all")
        #expect(try await bodies(catalogue).map(\.key) == [failed.key])
        try await catalogue.delivered(try #require(try await catalogue.dueAlerts().first))
        let back = try #require(try await catalogue.alertTargets().first)
        #expect(back.waiting == 0 && back.problem == nil && back.since == nil)
    }

    /// A receiver that is away is tried once a minute at most, whatever waits for it.
    @Test func whoeverIsAwayIsNotStormed() async throws {
        let clock = TestClock()
        let catalogue = try await Fixture.fleet(clock)
        try await target(catalogue, "pager")
        let all = (0..<1500).map { alert(Concern(.jobFailed, subject: "\($0)", "it failed")) }
        try await catalogue.turnAlerts(.init(raised: all), fleet: "f:1")
        #expect(try await catalogue.alertTargets()[0].waiting == 1500, "all of it stands")
        var attempts = 0
        for _ in 0..<720 {
            if let due = try await catalogue.dueAlerts().first {
                attempts += 1
                try await catalogue.undelivered(due, no)
            }
            clock.advance(.seconds(5))
        }
        #expect(attempts > 50 && attempts < 70, "\(attempts) in an hour")
        // One is taken: all the others may go, one behind the other.
        clock.advance(.seconds(60))
        for _ in 0..<1500 {
            try await catalogue.delivered(try #require(try await catalogue.dueAlerts().first))
        }
        #expect(try await catalogue.alertTargets()[0].waiting == 0)
        #expect(try await catalogue.alertTargets()[0].problem == nil)
    }

    /// Of a matter the newest message waits, also behind one that was tried; whoever takes a test may take it at once.
    @Test(arguments: [true, false]) func whatWaitsGoesWithItsMatter(isOver: Bool) async throws {
        let clock = TestClock()
        let catalogue = try await Fixture.fleet(clock)
        try await target(catalogue, "pager")
        let itself = Concern(.alertUndelivered, subject: "pager", "alerts don't reach pager")
        try await catalogue.turnAlerts(.init(raised: [alert(failed), alert(itself)]), fleet: "f:1")
        #expect(try await catalogue.alertTargets()[0].waiting == 1, "that it is not reached, it knows when it is")
        for _ in 0..<10 {
            try await catalogue.undelivered(try #require(try await catalogue.dueAlerts().first), no)
            clock.advance(.seconds(1801))
        }
        try await catalogue.undelivered(try #require(try await catalogue.dueAlerts().first), no)
        #expect(try await catalogue.dueAlerts().isEmpty)
        try await catalogue.tested("pager")
        #expect(try await bodies(catalogue).map(\.key) == [failed.key])
        #expect(try await catalogue.alertTargets()[0].problem != nil)

        try await catalogue.turnAlerts(
            isOver ? .init(over: [failed.key]) : .init(raised: [alert(failed)]), fleet: "f:1")
        #expect(try await bodies(catalogue).map(\.state) == [isOver ? .over : .firing])
        try await catalogue.delivered(try #require(try await catalogue.dueAlerts().first))
        #expect(try await catalogue.alertTargets()[0].waiting == 0)
        #expect(try await catalogue.alertTargets()[0].problem == nil)
    }

    /// One that its receiver will never take, whatever it says, does not keep those behind it waiting, nor is it lost.
    @Test(arguments: [true, false]) func whatIsNeverTakenIsPassed(retryable: Bool) async throws {
        let clock = TestClock()
        let catalogue = try await Fixture.fleet(clock)
        try await target(catalogue, "pager")
        var long = failed
        long.text = String(repeating: "x", count: 200_000) + "\n\u{1b}[31m"
        try await catalogue.turnAlerts(.init(raised: [alert(long), alert(lost)]), fleet: "f:1")
        let body = try #require(try await bodies(catalogue).first)
        #expect(body.text.utf8.count < 2100 && body.action == "look", "agents may say anything")
        let unwanted = FleetError(.webhook, "it answered with HTTP status 400", retryable: retryable)
        try await catalogue.undelivered(try #require(try await catalogue.dueAlerts().first), unwanted)
        clock.advance(.seconds(10))
        #expect(try await bodies(catalogue).map(\.alert) == ["agent-lost"])
        try await catalogue.delivered(try #require(try await catalogue.dueAlerts().first))
        for round in 0..<100 {
            while let due = try await catalogue.dueAlerts().first {
                #expect(try await bodies(catalogue).map(\.alert) == ["backup-failed"])
                try await catalogue.undelivered(due, unwanted)
            }
            try await catalogue.turnAlerts(
                .init(raised: [alert(Concern(.jobFailed, subject: "\(round)", "it failed"))]), fleet: "f:1")
            clock.advance(.seconds(60))
            #expect(try await bodies(catalogue).map(\.alert) == ["job-failed"], "within a minute")
            try await catalogue.delivered(try #require(try await catalogue.dueAlerts().first))
        }
        let reached = try #require(try await catalogue.alertTargets().first)
        #expect(reached.problem?.message == unwanted.message && reached.waiting == 1)
        var status = FleetStatus(
            version: "1", time: clock.now, clusters: [], agents: [], openJobs: [], storeFree: 1 << 40, storeUsed: 0,
            audit: try await catalogue.verifyAudit())
        status.alertTargets = [reached]
        let told = try #require(Concern.all(status).first { $0.kind == .alertUndelivered })
        #expect(told.text.hasPrefix("pager does not take every alert (1 waiting): "), "\(told.text)")

        // What is known of a message that is gone says nothing of the target that took its place.
        clock.advance(.seconds(1801))
        let late = try #require(try await catalogue.dueAlerts().first)
        try await target(catalogue, "pager", "https://b.example/")
        try await catalogue.undelivered(late, no)
        try await catalogue.delivered(late)
        let fresh = try #require(try await catalogue.alertTargets().first)
        #expect(fresh.problem == nil && fresh.delivered == reached.delivered && fresh.waiting == 102)
    }

    /// Whoever does not want many of a kind is there all the same: what comes behind them goes at once, and they have their pauses.
    @Test func whatIsNotWantedKeepsNoneWaiting() async throws {
        let clock = TestClock()
        let catalogue = try await Fixture.fleet(clock)
        try await target(catalogue, "pager")
        let all = (0..<300).map { alert(Concern(.agentLost, cluster: "a", node: "n\($0)", "away")) }
        try await catalogue.turnAlerts(.init(raised: all), fleet: "f:1")
        try await catalogue.turnAlerts(.init(raised: [alert(failed)]), fleet: "f:1")
        let unwanted = FleetError(.webhook, "it answered with HTTP status 400")
        var tries = 0
        func sendAll() async throws {
            while let due = try await catalogue.dueAlerts().first {
                tries += 1
                let message = try JSON.decode(AlertMessage.self, from: Array(due.body.utf8))
                if message.alert == "agent-lost" {
                    try await catalogue.undelivered(due, unwanted)
                } else {
                    try await catalogue.delivered(due)
                }
            }
        }
        try await sendAll()
        #expect(tries == 301)
        #expect(try await catalogue.alertTargets()[0].waiting == 300)
        #expect(try await catalogue.alertTargets()[0].problem != nil)
        // A good one does not make all the others due.
        try await catalogue.turnAlerts(.init(raised: [alert(Concern(.jobFailed, "it failed"))]), fleet: "f:1")
        try await sendAll()
        #expect(tries == 302)
    }

    /// Where nothing waits, nothing is said of it.
    @Test func whatIsGivenUpIsNoProblemAnyMore() async throws {
        let clock = TestClock()
        let catalogue = try await Fixture.fleet(clock)
        try await target(catalogue, "pager")
        try await catalogue.turnAlerts(.init(raised: [alert(failed)]), fleet: "f:1")
        try await catalogue.turnAlerts(.init(over: [failed.key]), fleet: "f:1")
        try await catalogue.undelivered(try #require(try await catalogue.dueAlerts().first), no)
        clock.advance(Catalogue.overLifetime + .seconds(1))
        #expect(try await catalogue.alertTargets()[0].problem != nil)
        #expect(try await catalogue.undelivered(try #require(try await catalogue.dueAlerts().first), no))
        #expect(try await catalogue.alertTargets()[0].waiting == 0)
        #expect(try await catalogue.alertTargets()[0].problem == nil)
    }

    /// From a catalogue in which several messages of a matter waited.
    @Test func ofWhatWaitedBeforeTheNewestStays() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/c"
        do {
            let former = try SQLiteConnection(.file(path))
            try former.migrate(Array(Schema.migrations.prefix { $0.name != "alerts-by-matter" }))
            try former.run(
                "INSERT INTO alert_targets (name, kind, place, route, created) VALUES ('pager', 'command', '/x', ?, 1)",
                try JSON.text(AlertRoute.command(program: "/x")))
            for (number, (key, text)) in [("a", "1"), ("b", "2"), ("a", "3"), ("", "not JSON"), ("", "{}")].enumerated()
            {
                let message = AlertMessage(
                    fleet: "f:1", state: .firing, alert: "blind", key: key, cluster: nil, node: nil, since: start.now,
                    time: start.now, text: text, action: nil)
                try former.run(
                    "INSERT INTO alert_messages (id, target, body, created, next) VALUES (?, 'pager', ?, 1, 1)",
                    "id\(number)", key.isEmpty ? text : try JSON.text(message))
            }
        }
        let clock = TestClock()
        let catalogue = try Catalogue(.file(path), clock: { clock.now })
        var ids: [String] = []
        while let due = try await catalogue.dueAlerts().first {
            ids.append(due.id)
            try await catalogue.delivered(due)
        }
        #expect(ids == ["id1", "id2", "id3", "id4"])
    }
}
