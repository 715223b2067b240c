import FleetConcerns
import FleetCrypto
import FleetProtocol
import FleetSQLite
import FleetSystem
import FleetWebhook
import Testing

@testable import FleetCoordinator

/// Who is told of what, when and how often.
@Suite("Alerts", .timeLimit(.minutes(5)))
struct AlertTests {
    private let start = (now: Timestamp("2026-11-29T03:00:00Z")!, tick: ContinuousClock.now)
    private let failed = Concern(.backupFailed, cluster: "a", "the last backup of a has failed", action: "look")
    private let lost = Concern(.agentLost, cluster: "a", node: "n1", "away")

    /// By seconds since the start.
    private func look(
        _ book: inout AlertBook, _ concerns: [Concern], _ told: inout [String: StandingAlert], at seconds: Int
    ) -> (raised: [Concern.Kind], over: [String]) {
        let turn = book.look(
            at: concerns, AlertBook.Known(told: told), now: start.now.adding(.seconds(seconds)),
            tick: start.tick + .seconds(seconds))
        for alert in turn.raised { told[alert.concern.key] = alert }
        for key in turn.over { told[key] = nil }
        return (turn.raised.map(\.concern.kind), turn.over)
    }

    @Test func onceWhenItStandsAndOnceWhenItIsOver() {
        var (book, told) = (AlertBook(), [String: StandingAlert]())
        #expect(
            look(&book, [failed, lost], &told, at: 0).raised == [.backupFailed], "that an agent is away may be a reboot"
        )
        #expect(look(&book, [failed, lost], &told, at: 299).raised.isEmpty)
        #expect(look(&book, [failed, lost], &told, at: 300).raised == [.agentLost])
        for seconds in [301, 4000, 90_000] {
            let turn = look(&book, [failed, lost], &told, at: seconds)
            #expect(turn.raised.isEmpty && turn.over.isEmpty)
        }
        // Other words are no other matter.
        var worse = failed
        worse.text = "the last backup of a was lost"
        #expect(look(&book, [worse, lost], &told, at: 90_001).raised.isEmpty)
        #expect(look(&book, [worse], &told, at: 90_010).over.isEmpty)
        #expect(look(&book, [worse, lost], &told, at: 90_030).raised.isEmpty, "it came back: nothing was over")
        #expect(look(&book, [worse], &told, at: 90_040).over.isEmpty)
        #expect(look(&book, [worse], &told, at: 90_099).over.isEmpty)
        #expect(look(&book, [worse], &told, at: 90_100).over == [lost.key])
        #expect(look(&book, [], &told, at: 90_200).over.isEmpty)
        #expect(look(&book, [], &told, at: 90_260).over == [failed.key])
        #expect(told.isEmpty)
        // From the beginning.
        #expect(look(&book, [lost], &told, at: 90_300).raised.isEmpty)
        #expect(look(&book, [lost], &told, at: 90_600).raised == [.agentLost])
    }

    private static func told(_ alerts: [StandingAlert]) -> [String: StandingAlert] {
        Dictionary(alerts.map { ($0.concern.key, $0) }) { first, _ in first }
    }

    /// By the levels that are seen one after the other, each for as long as it takes to tell: which were told, and whether it
    /// was over before it was gone.
    private func levels(_ seen: [Int], of kind: Concern.Kind = .snapshotUnusable) -> (told: [Int], over: Bool) {
        var book = AlertBook()
        var known: [String: StandingAlert] = [:]
        var (told, isOver, seconds) = ([Int](), false, 0)
        for level in seen {
            for _ in 0..<5 {
                let turn = book.look(
                    at: [Concern(kind, cluster: "a", level: level, "\(level) of them")], AlertBook.Known(told: known),
                    now: start.now.adding(.seconds(seconds)), tick: start.tick + .seconds(seconds))
                for alert in turn.raised {
                    #expect(alert.concern.level == level && alert.since == start.now)
                    told.append(level)
                    known[alert.concern.key] = alert
                }
                if !turn.over.isEmpty || !turn.forgotten.isEmpty { isOver = true }
                seconds += 30
            }
        }
        return (told, isOver)
    }

    @Test func whatIsWorseIsToldAndWhatIsBetterIsNot() {
        #expect(levels([4, 3, 2]).told == [4])
        #expect(levels([4, 3, 5]).told == [4, 5])
        #expect(levels([4, 1, 4, 3, 4]).told == [4], "it is no worse than people know")
        #expect(levels([0, 1, 2], of: .nodeCertificate).told == [0, 1, 2])
        for seen in [[4, 3, 2], [4, 3, 5], [0, 1, 2]] { #expect(!levels(seen).over) }
    }

    /// An ended one was told of; another comes near its end beside it.
    @Test func aSecondCertificateIsToldOfBesideOneThatHasEnded() throws {
        let catalogue = start.now
        func concerns(_ days: Double) -> [Concern] {
            var agent = AgentRecord(
                cluster: "a", node: "cp1", enrolled: catalogue, lastSeen: nil, connected: true, version: nil,
                instance: nil, discoveryError: nil, certificate: nil)
            agent.nodeCertificates = [
                ("/etc/kubernetes/pki/old/apiserver.crt", -50), ("/etc/kubernetes/pki/new.crt", days),
            ]
            .map { CertificateExpiry(path: $0, notAfter: start.now.adding(.seconds(Int($1 * 86_400)))) }
            let status = FleetStatus(
                version: "1", time: start.now, clusters: [], agents: [agent], openJobs: [], storeFree: 1 << 40,
                storeUsed: 0, audit: AuditVerdict(events: 0, head: "00", firstBreak: nil, findings: []))
            return Concern.all(status).filter { $0.kind == .nodeCertificate }
        }
        let old = concerns(40)
        #expect(old.count == 1)
        var book = AlertBook()
        let known = AlertBook.Known(told: Self.told(old.map(alert)))
        var raised: [Concern] = []
        for seconds in [0, 30, 60, 90] {
            let turn = book.look(
                at: concerns(6), known, now: start.now.adding(.seconds(seconds)), tick: start.tick + .seconds(seconds))
            #expect(turn.over.isEmpty)
            if raised.isEmpty { raised = turn.raised.map(\.concern) }
        }
        #expect(raised.count == 1 && raised.first?.text.contains("/etc/kubernetes/pki/new.crt") == true)
        #expect(raised.first?.text.hasPrefix("URGENT: ") == true)
    }

    /// A pager updates what it has by the key; the time is that of the matter.
    @Test func whatIsWorseIsTheSameMatter() async throws {
        let clock = TestClock()
        let catalogue = try await Fixture.fleet(clock)
        try await target(catalogue, "pager")
        let three = Concern(.snapshotUnusable, cluster: "a", level: 3, "3 of them")
        try await catalogue.turnAlerts(.init(raised: [alert(three)]), fleet: "f:1")
        let first = try #require(try await bodies(catalogue).first)
        var worse = try #require(try await catalogue.standingAlerts().first)
        worse.concern.level = 5
        worse.concern.text = "5 of them"
        clock.advance(.seconds(3600))
        try await catalogue.turnAlerts(.init(raised: [worse]), fleet: "f:1")
        try await catalogue.delivered(try #require(try await catalogue.dueAlerts().first))
        let second = try #require(try await bodies(catalogue).first)
        #expect(second.key == first.key && second.state == .firing && second.text == "5 of them")
        #expect(second.since == first.since && second.time != first.time)
        #expect(try await catalogue.standingAlerts().map(\.concern.level) == [5])
        try await catalogue.turnAlerts(.init(over: [three.key]), fleet: "f:1")
        #expect(try await catalogue.standingAlerts().isEmpty)
    }

    /// What people were told by an older coordinator stands on, by the key that they know.
    @Test func whatWasToldBeforeMattersHadLevels() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/c"
        let ends = "/etc/kubernetes/pki/a.crt, ends 2026-12-04 09:00:00Z, in 5 d; renew it"
        let rows = [
            ("snapshot-unusable", "a", nil, "4", "4 of a's snapshots can't be used"),
            ("node-certificate", "a", "cp1", nil, "a certificate on cp1 (a), /x, ends 2026-12-24 09:00:00Z, in 25 d"),
            (
                "node-certificate", "a", "cp2", "URGENT",
                "URGENT: 12 certificates on cp2 (a) are near; the first, \(ends)"
            ),
            (
                "node-certificate", "a", "cp3", "ENDED",
                "ENDED: a certificate on cp3 (a), /x, ended 2026-08-26 00:00:00Z"
            ),
            ("policy-unusable", nil, nil, "policy \"p\": the zone is gone", "policy \"p\": the zone is gone"),
            ("policy-unusable", nil, nil, "policy q can't be read, and so on", "policy q can't be read, and so on"),
            ("agent-lost", "a", "n1", nil, "away"),
        ].map { kind, cluster, node, subject, text in
            Concern(Concern.Kind(rawValue: kind)!, cluster: cluster, node: node, subject: subject, text)
        }
        do {
            let former = try SQLiteConnection(.file(path))
            try former.migrate(Array(Schema.migrations.prefix { $0.name != "alert-levels" }))
            for concern in rows {
                for table in ["alerts", "alerts_noticed"] {
                    try former.run(
                        "INSERT INTO \(table) (key, concern, since) VALUES (?, ?, ?)", concern.key,
                        try JSON.text(concern), start.now)
                }
            }
        }
        let clock = TestClock()
        let catalogue = try Catalogue(.file(path), clock: { clock.now })
        let standing = try await catalogue.standingAlerts()
        #expect(Set(standing.map(\.key)) == Set(rows.map(\.key)))
        let now = [
            "snapshot-unusable|a||": 4, "node-certificate|a|cp1|2026-12-24": 0, "node-certificate|a|cp2|2026-12-04": 1,
            "node-certificate|a|cp3|2026-08-26": 2, "policy-unusable|||p": 0, "policy-unusable|||q": 0,
            "agent-lost|a|n1|": 0,
        ]
        #expect(Dictionary(standing.map { ($0.concern.key, $0.concern.rank) }) { first, _ in first } == now)
        #expect(try await catalogue.noticedAlerts().map(\.concern.kind) == [.agentLost])

        // The same is seen now, and nobody is told of anything; one that is worse is, by the key that people know.
        var seen = standing.map(\.concern)
        var book = AlertBook()
        for seconds in [0, 100, 4000] {
            let turn = book.look(
                at: seen, AlertBook.Known(told: Self.told(standing)), now: start.now.adding(.seconds(seconds)),
                tick: start.tick + .seconds(seconds))
            #expect(turn.isEmpty)
        }
        try await target(catalogue, "pager")
        let index = try #require(seen.firstIndex { $0.kind == .snapshotUnusable })
        seen[index].level = 6
        let turn = book.look(
            at: seen, AlertBook.Known(told: Self.told(standing)), now: start.now, tick: start.tick + .seconds(5000))
        #expect(turn.raised.map(\.key) == ["snapshot-unusable|a||4"] && turn.over.isEmpty)
        try await catalogue.turnAlerts(turn, fleet: "f:1")
        #expect(try await catalogue.standingAlerts().count == rows.count)
        try await catalogue.turnAlerts(.init(over: ["snapshot-unusable|a||"]), fleet: "f:1")
        #expect(try await catalogue.standingAlerts().count == rows.count - 1)
        var keys: [String] = []
        while let due = try await catalogue.dueAlerts().first {
            keys.append(try JSON.decode(AlertMessage.self, from: Array(due.body.utf8)).key)
            try await catalogue.delivered(due)
        }
        #expect(keys.suffix(2) == ["snapshot-unusable|a||4", "snapshot-unusable|a||4"])
    }

    /// Neither how bad a matter is nor what is said of it makes it another one.
    @Test func aMatterIsOneWhateverIsSaidOfIt() async throws {
        let catalogue = try await Fixture.fleet()
        var status = FleetStatus(
            version: "1", time: start.now, clusters: try await catalogue.clusters(), agents: [], openJobs: [],
            storeFree: 1 << 40, storeUsed: 0, audit: try await catalogue.verifyAudit())
        func keys() -> [String] {
            Concern.all(status).filter { [.snapshotUnusable, .policyUnusable].contains($0.kind) }.map(\.key)
        }
        func put(_ count: Int, _ message: String) {
            status.clusters[0].unusableSnapshots = count
            status.unusablePolicies = [UnusablePolicy(policy: "p", problem: FleetError(.usage, message))]
        }
        put(4, "one thing")
        let before = keys()
        put(3, "another thing")
        #expect(before.count == 2 && keys() == before)
    }

    @Test func whatIsNoReasonToBeWoken() {
        var (book, told) = (AlertBook(), [String: StandingAlert]())
        let waits = Concern(.retentionWaits, "it waits")
        for seconds in stride(from: 0, through: 100_000, by: 5000) {
            #expect(look(&book, [waits], &told, at: seconds).raised.isEmpty)
        }
        let others = Concern.Kind.allCases.filter {
            ![.retentionWaits, .authorityRotation, .alertsHeld, .agentsAwaited].contains($0)
        }
        #expect(others.allSatisfy { ($0.patience ?? .seconds(1 << 30)) <= .seconds(3600) })
    }

    /// What stands on the disk goes from process to process, whose clocks have nothing to do with each other.
    @Test func aCoordinatorThatBeginsAnewAgainAndAgainTellsAllTheSame() {
        var noticed: [String: Timestamp] = [:]
        var raised: [(StandingAlert, Int)] = []
        for run in 0..<4 {
            var book = AlertBook()
            for seconds in stride(from: run * 120, to: run * 120 + 90, by: 15) {
                let turn = book.look(
                    at: [lost], AlertBook.Known(told: Self.told(raised.map(\.0)), noticed: noticed),
                    now: start.now.adding(.seconds(seconds)), tick: start.tick + .seconds(run * 7 + seconds % 120))
                for alert in turn.noticed { noticed[alert.concern.key] = alert.since }
                for key in turn.forgotten { noticed[key] = nil }
                raised += turn.raised.map { ($0, seconds) }
            }
        }
        #expect(raised.map(\.1) == [300])
        #expect(raised.first?.0.since == start.now)
        #expect(noticed.isEmpty)
    }

    @Test func aClockThatWasWrongMakesNothingOldOrNeverOld() {
        let noticed = [lost.key: start.now.adding(.seconds(86_400))]
        var book = AlertBook()
        func look(at seconds: Int) -> [StandingAlert] {
            book.look(
                at: [lost], AlertBook.Known(noticed: noticed), now: start.now.adding(.seconds(seconds)),
                tick: start.tick + .seconds(seconds)
            ).raised
        }
        #expect(look(at: 0).isEmpty && look(at: 299).isEmpty)
        #expect(look(at: 300).map(\.since) == [start.now])
    }

    @Test func whatIsUnknownIsNeitherToldNorForgotten() {
        var book = AlertBook()
        var known = AlertBook.Known(noticed: [lost.key: start.now])
        func look(_ concerns: [Concern], unknown: Set<String> = [], at seconds: Int) -> AlertBook.Turn {
            book.look(
                at: concerns, unknown: unknown, known, now: start.now.adding(.seconds(seconds)),
                tick: start.tick + .seconds(seconds))
        }
        #expect(look([], unknown: [lost.key], at: 1000).isEmpty)
        #expect(look([lost], at: 1060).raised == [StandingAlert(concern: lost, since: start.now)])
        known = AlertBook.Known(told: [lost.key: alert(lost)])
        #expect(look([], unknown: [lost.key], at: 1100).isEmpty && look([], unknown: [lost.key], at: 1500).isEmpty)
        #expect(look([], at: 1501).isEmpty)
        #expect(look([], at: 1561).over == [lost.key])
        known = AlertBook.Known(noticed: [lost.key: start.now])
        #expect(look([], at: 2000).forgotten == [lost.key])
    }

    @Test func sinceWhenSomethingStandsOutlivesTheProcess() async throws {
        let directory = try TemporaryDirectory()
        let clock = TestClock()
        var catalogue = try await Fixture.fleet(clock, path: directory.path + "/c")
        let other = Concern(.taskWaiting, cluster: "b", "it waits")
        try await catalogue.turnAlerts(.init(noticed: [alert(lost), alert(other)]), fleet: "f:1")
        // Once more, by one that has read it before it was there.
        let later = StandingAlert(concern: lost, since: start.now.adding(.seconds(60)))
        try await catalogue.turnAlerts(.init(noticed: [later]), fleet: "f:1")
        await catalogue.close()
        catalogue = try Catalogue(.file(directory.path + "/c"), clock: { clock.now })
        #expect(try await catalogue.noticedAlerts() == [alert(lost), alert(other)])
        #expect(try await catalogue.standingAlerts().isEmpty, "nobody was told")
        try await catalogue.turnAlerts(.init(raised: [alert(lost)], forgotten: [other.key]), fleet: "f:1")
        #expect(try await catalogue.noticedAlerts().isEmpty)
        #expect(try await catalogue.standingAlerts() == [alert(lost)])
        try await catalogue.turnAlerts(.init(noticed: [alert(other)]), fleet: "f:1")
        _ = try await catalogue.putBack(from: "copy")
        #expect(try await catalogue.noticedAlerts().isEmpty, "that was another fleet's time")
    }

    /// Over a coordinator that serves: the agent went away before it began.
    @Test func aCoordinatorThatHasJustBegunTellsOfNobodyWhoIsComing() async throws {
        let server = try await TestServer()
        _ = try await server.catalogue.addCluster("a", by: "root")
        let agent = try await server.dial(.agent(cluster: "a", node: "n1"))
        let _: RegisterReply = try await agent.call(Method.register, Fixture.registration())
        await agent.close(FleetError("gone", "gone"))
        while await !server.server.sessions.connected.isEmpty { try await Task.sleep(for: .milliseconds(20)) }
        let key = Concern(.agentLost, cluster: "a", node: "n1", "").key
        // Before it had ever registered, the server itself may have found that it is not there.
        try await server.catalogue.turnAlerts(.init(forgotten: [key]), fleet: "f:1")
        let longAgo = Timestamp.now().adding(.seconds(-3600))
        try await server.catalogue.turnAlerts(
            .init(noticed: [
                StandingAlert(concern: Concern(.agentLost, cluster: "a", node: "n1", "away"), since: longAgo)
            ]),
            fleet: "f:1")
        var book = AlertBook()
        try await server.server.lookForAlerts(&book)
        #expect(try await server.catalogue.noticedAlerts().contains { $0.concern.key == key && $0.since == longAgo })
        #expect(try await !server.catalogue.standingAlerts().contains { $0.concern.key == key })
        await server.stop()
    }

    /// The same fleet, as time goes by.
    @Test func whoIsComingBackIsNotLost() async throws {
        let catalogue = try await Fixture.fleet()
        var status = FleetStatus(
            version: "1", time: start.now, clusters: [], agents: try await catalogue.agents(), openJobs: [],
            storeFree: 1 << 40, storeUsed: 0, audit: try await catalogue.verifyAudit())
        func kinds() -> [Concern.Kind] {
            Concern.all(status).map(\.kind).filter { $0 == .agentLost || $0 == .agentsAwaited }
        }
        #expect(kinds() == [.agentLost, .agentLost], "an older coordinator does not say when it began")
        status.uptime = 12
        #expect(kinds() == [.agentsAwaited])
        #expect(
            Concern.all(status).first { $0.kind == .agentsAwaited }?.text
                == "the coordinator began 12 s ago, and of 2 agents 2 are not back yet: n1 (a), n1 (b)")
        status.agents[0].connected = true
        #expect(Concern.all(status).contains { $0.text.hasSuffix("of 2 agents 1 is not back yet: n1 (b)") })
        // One that was dead for days before that is no better for it.
        status.lastHeardBefore = status.agents[1].lastSeen?.adding(.seconds(3 * 86_400))
        #expect(kinds() == [.agentLost])
        status.lastHeardBefore = status.agents[1].lastSeen?.adding(.seconds(300))
        #expect(kinds() == [.agentsAwaited])
        status.agents[1].lastSeen = nil
        #expect(kinds() == [.agentLost], "one that never came can't come back")
        status.agents = try await catalogue.agents()
        status.uptime = 75
        let lost = Concern.all(status).filter { $0.kind == .agentLost }
        #expect(lost.count == 2, "a minute, and a moment to connect")
        let waiting = Concern(.taskWaiting, cluster: "a", "it waits")
        status.uptime = 12
        #expect(Concern.unknown(of: lost + [waiting], in: status) == lost + [waiting])
        status.agents[0].connected = true
        #expect(Concern.unknown(of: lost, in: status).map(\.cluster) == ["b"])
        status.uptime = 75
        #expect(Concern.unknown(of: lost + [waiting], in: status).isEmpty)
    }

    /// The next attempt is under way within a minute: the failure is not over because of that.
    @Test func aFailedBackupStandsUntilOneSucceeds() async throws {
        let clock = TestClock()
        let catalogue = try await Fixture.fleet(clock)
        func concerns() async throws -> [Concern] {
            let status = FleetStatus(
                version: "1", time: clock.now, clusters: try await catalogue.clusters(), agents: [], openJobs: [],
                storeFree: 1 << 40, storeUsed: 0, audit: try await catalogue.verifyAudit())
            return Concern.all(status).filter { $0.cluster == "a" && $0.kind != .noBackup }
        }
        func kinds() async throws -> [Concern.Kind] { try await concerns().map(\.kind) }
        func backUp() async throws -> String {
            clock.advance(.seconds(60))
            return try await catalogue.createBackup(cluster: "a", node: "n1", lifetime: .seconds(300), by: "root").id
        }
        #expect(try await kinds() == [])
        let first = try await backUp()
        #expect(try await kinds() == [])
        _ = try await catalogue.answered(first, refusal: FleetError(.malformed, "no"))
        #expect(try await kinds() == [.backupFailed])
        #expect(try await concerns().first?.text.hasSuffix(": no") == true, "it says why")
        let second = try await backUp()
        #expect(try await kinds() == [.backupFailed], "it is being tried again, and has not succeeded yet")
        try await catalogue.script(
            "UPDATE jobs SET state = 'succeeded', finished = created + 1000 WHERE id = '\(second)'")
        #expect(try await kinds() == [])
    }

    private func target(_ catalogue: Catalogue, _ name: String, _ url: String = "https://a.example/secret") async throws
    {
        _ = try await catalogue.setAlertTarget(
            name, .webhook(url: url, secret: "s3cret", authorities: nil, allowsHTTP: false), fleet: "f:1", by: "root")
    }
    private func alert(_ concern: Concern) -> StandingAlert { StandingAlert(concern: concern, since: start.now) }
    private func bodies(_ catalogue: Catalogue) async throws -> [AlertMessage] {
        try await catalogue.dueAlerts().map { try JSON.decode(AlertMessage.self, from: Array($0.body.utf8)) }
    }

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
        let second = try #require(try await catalogue.dueAlerts().first)
        #expect(second.id == first.id && second.attempts == 1)
        try await catalogue.delivered(second)
        #expect(try await catalogue.alertTargets().first?.problem == nil)
        #expect(try await bodies(catalogue).map(\.alert) == ["agent-lost"])

        // Whoever comes later is told of what stands.
        try await target(catalogue, "chat")
        #expect(try await catalogue.alertTargets().map(\.waiting) == [2, 1])
        try await catalogue.turnAlerts(.init(over: [lost.key, "unknown"]), fleet: "f:1")
        #expect(try await catalogue.standingAlerts().map(\.concern.kind) == [.backupFailed])
        #expect(try await catalogue.alertTargets().map(\.waiting) == [3, 2])
        try await catalogue.removeAlertTarget("chat", by: "root")
        #expect(try await catalogue.alertTargets().map(\.name) == ["pager"])
        await #expect(throws: FleetError.self) { try await catalogue.removeAlertTarget("chat", by: "root") }
    }

    @Test func givenUpAfterADayOnRecord() async throws {
        let clock = TestClock()
        let catalogue = try await Fixture.fleet(clock)
        try await target(catalogue, "pager")
        try await catalogue.turnAlerts(.init(raised: [alert(failed)]), fleet: "f:1")
        var attempts = 0
        while let due = try await catalogue.dueAlerts().first, attempts < 200 {
            attempts += 1
            try await catalogue.undelivered(due, FleetError(.webhook, "no", retryable: true))
            clock.advance(.seconds(1801))
        }
        #expect(attempts > 40 && attempts < 60, "\(attempts)")
        let target = try #require(try await catalogue.alertTargets().first)
        #expect(target.waiting == 0 && target.problem != nil, "it is still known not to be reached")
        let log = try await catalogue.auditLog(AuditFilter())
        #expect(log.contains { $0.event.action == "alert.give-up" })
        #expect(try await catalogue.verifyAudit().isIntact)
    }

    /// One that its receiver will never want does not keep those behind it waiting.
    @Test func whatIsNotWantedIsPassed() async throws {
        let clock = TestClock()
        let catalogue = try await Fixture.fleet(clock)
        try await target(catalogue, "pager")
        var long = failed
        long.text = String(repeating: "x", count: 200_000) + "\n\u{1b}[31m"
        try await catalogue.turnAlerts(.init(raised: [alert(long), alert(lost)]), fleet: "f:1")
        let body = try #require(try await bodies(catalogue).first)
        #expect(body.text.utf8.count < 2100 && body.action == "look", "agents may say anything")
        let unwanted = FleetError(.webhook, "it answered with HTTP status 400")
        for _ in 0..<3 {
            let due = try #require(try await catalogue.dueAlerts().first)
            try await catalogue.undelivered(due, unwanted)
            clock.advance(.seconds(300))
        }
        #expect(try await bodies(catalogue).map(\.alert) == ["agent-lost"])
        // What is known of a message that is gone says nothing of the target that took its place.
        let late = try #require(try await catalogue.dueAlerts().first)
        try await target(catalogue, "pager", "https://b.example/")
        try await catalogue.undelivered(late, FleetError(.webhook, "no", retryable: true))
        try await catalogue.delivered(late)
        let fresh = try #require(try await catalogue.alertTargets().first)
        #expect(fresh.problem == nil && fresh.delivered == nil && fresh.waiting == 2)
    }

    /// etcd stopped, and then its node went away: nobody knows that it is over.
    @Test func whatCantBeSeenIsNotOver() async throws {
        let catalogue = try await Fixture.fleet()
        var agents = try await catalogue.agents()
        agents[0].connected = true
        agents[0].instance?.pid = nil
        var status = FleetStatus(
            version: "1", time: start.now, clusters: [], agents: agents, openJobs: [], storeFree: 1 << 40, storeUsed: 0,
            audit: try await catalogue.verifyAudit())
        let stopped = Concern.all(status).filter { $0.kind == .etcdStopped }
        #expect(stopped.count == 1)
        #expect(stopped.first?.action?.hasPrefix("on \(agents[0].node), see why: ") == true, "\(stopped)")
        status.agents[0].connected = false
        #expect(!Concern.all(status).contains { $0.kind == .etcdStopped })
        #expect(Concern.unknown(of: stopped + [failed], in: status) == stopped)
        status.agents[0].connected = true
        status.agents[0].instance?.pid = 7
        #expect(Concern.unknown(of: stopped, in: status).isEmpty)
    }

    /// A restore that failed is not over because the next backup was due.
    @Test func aFailedRestoreStandsUntilSomebodySawToIt() async throws {
        let clock = TestClock()
        let catalogue = try await Fixture.fleet(clock)
        func failures() async throws -> [Concern] {
            let status = FleetStatus(
                version: "1", time: clock.now, clusters: try await catalogue.clusters(), agents: [], openJobs: [],
                storeFree: 1 << 40, storeUsed: 0, audit: try await catalogue.verifyAudit())
            return Concern.all(status).filter {
                $0.cluster == "a" && ($0.kind == .jobFailed || $0.kind == .halfRestored)
            }
        }
        func job(_ kind: String, _ state: String, by actor: String = "root") async throws -> String {
            clock.advance(.seconds(60))
            let id = try await catalogue.createBackup(cluster: "a", node: "n1", lifetime: .seconds(60), by: actor).id
            try await catalogue.script(
                "UPDATE jobs SET kind = '\(kind)', state = '\(state)', finished = created + 1000 WHERE id = '\(id)'")
            return id
        }
        let failed = try await job("restore", "rolled-back")
        #expect(try await failures().map(\.subject) == [failed])
        _ = try await job("backup", "succeeded", by: "schedule:p")
        _ = try await job("drill", "succeeded")
        #expect(try await failures().map(\.subject) == [failed])
        let second = try await job("restore", "failed")
        #expect(try await failures().map(\.subject) == [second], "another one is another matter")
        _ = try await job("backup", "succeeded")
        #expect(try await failures().isEmpty)
        let stuck = try await job("restore", "stuck")
        _ = try await job("backup", "succeeded")
        #expect(try await failures().map(\.subject) == [stuck], "what stands half-way is not seen to by a backup")
        _ = try await job("restore", "succeeded")
        #expect(try await failures().isEmpty)
        _ = try await job("restore", "failed")
        clock.advance(.seconds(8 * 86_400))
        #expect(try await failures().isEmpty)
    }

    /// A coordinator that was put back may be a drill: nobody is told in the fleet's name until somebody says so.
    @Test func whoeverIsPutBackTellsNobodyUnasked() async throws {
        let catalogue = try await Fixture.fleet()
        try await target(catalogue, "pager")
        try await catalogue.turnAlerts(.init(raised: [alert(failed)]), fleet: "f:1")
        await #expect(throws: FleetError.self) { try await catalogue.resumeAlerts(by: "root") }
        #expect(try await !catalogue.alertsAreHeld())
        _ = try await catalogue.putBack(from: "copy")
        #expect(try await catalogue.alertsAreHeld())
        #expect(try await catalogue.dueAlerts().isEmpty)
        #expect(try await catalogue.standingAlerts().count == 1)
        try await catalogue.resumeAlerts(by: "root")
        #expect(try await !catalogue.alertsAreHeld())
        #expect(try await catalogue.auditLog().map(\.event.action).suffix(1) == ["alert.resume"])
    }

    @Test func neitherAddressNorSecretIsOnRecord() async throws {
        let catalogue = try await Fixture.fleet()
        try await target(catalogue, "pager", "https://hooks.example:8443/services/T0K3N?key=T0K3N")
        #expect(try await catalogue.alertTargets()[0].place == "https://hooks.example:8443")
        let log = try JSON.text(try await catalogue.auditLog(AuditFilter()))
        #expect(log.contains("alert.set") && !log.contains("T0K3N") && !log.contains("s3cret"))
    }

    /// A target that is away for long is not flooded.
    @Test func whatWaitsIsBounded() async throws {
        let catalogue = try await Fixture.fleet()
        try await target(catalogue, "pager")
        let all = (0..<(Catalogue.waitingLimit + 5)).map { alert(Concern(.jobFailed, subject: "\($0)", "it failed")) }
        try await catalogue.turnAlerts(.init(raised: all), fleet: "f:1")
        #expect(try await catalogue.alertTargets()[0].waiting == Catalogue.waitingLimit)
        #expect(try await bodies(catalogue)[0].key.hasSuffix("|5"), "the oldest have gone")
    }

    @Test(arguments: [
        ("https://a.example/x", false, "https://a.example"),
        ("https://u:p@a.example:1/x", false, "https://a.example:1"),
        ("http://a.example/", true, "http://a.example"), ("http://a.example/", false, nil),
        ("file:///etc/passwd", true, nil), ("https://", true, nil), ("a.example", true, nil),
        ("https://a.example/\r\nX: y", true, nil), ("gopher://a.example", true, nil), ("", true, nil),
    ])
    func addresses(_ url: String, _ allowsHTTP: Bool, _ host: String?) {
        #expect(Webhook.host(url, allowsHTTP: allowsHTTP) == host)
    }

    /// As a receiver checks it: RFC 2104 by another implementation gave this value.
    @Test func theSignature() throws {
        let now = Timestamp("2026-11-29T03:00:00Z")!
        #expect(now.milliseconds / 1000 == 1_795_921_200)
        #expect(
            AlertRoute.signature(Array(#"{"a":1}"#.utf8), "s3cret", now)
                == "t=1795921200,v1=09dd8edc66aa995e97ffc4f29a9060e283201ed0b0e11465f0d585d025d078e0")
    }

    @Test func aCommandGetsTheMessageAndItsEndCounts() throws {
        let directory = try TemporaryDirectory()
        let program = directory.path + "/told"
        let script =
            "#!/bin/sh\ncat >\(directory.path)/got\n[ ! -e \(directory.path)/broken ] || { echo no way >&2; exit 3; }\n"
        try FileSystem.writeDurably(program, Array(script.utf8), mode: 0o700)
        try AlertRoute.check(program: program)
        #expect(throws: FleetError.self) { try AlertRoute.check(program: "told") }
        #expect(throws: FleetError.self) { try AlertRoute.check(program: directory.path) }
        try AlertRoute.command(program: program).send(Array("{}".utf8), id: "1")
        #expect(try FileSystem.readText(directory.path + "/got") == "{}")
        try FileSystem.writeDurably(directory.path + "/broken", [], mode: 0o600)
        let error = #expect(throws: FleetError.self) {
            try AlertRoute.command(program: program).send(Array("{}".utf8), id: "1")
        }
        #expect(error?.message.contains("status 3: no way") == true && error?.isRetryable == true)
    }

    /// A receiver of another make, over a real connection.
    ///
    /// - Parameter tls: the files of its certificate and key.
    private func receiving(tls: [String] = [], _ body: (_ port: Int, _ got: String) async throws -> Void) async throws {
        let directory = try TemporaryDirectory()
        let (program, got) = (directory.path + "/receiver.py", directory.path + "/got")
        try FileSystem.writeDurably(program, Array(Self.receiver.utf8), mode: 0o600)
        let handle = Subprocess.Handle()
        async let ended = Blocking.run {
            try Subprocess.run(
                "/usr/bin/python3", [program, got, directory.path + "/port"] + tls, deadline: .seconds(60),
                handle: handle)
        }
        var port: Int?
        for _ in 0..<200 where port == nil {
            try await Task.sleep(for: .milliseconds(50))
            port = (try? FileSystem.readText(directory.path + "/port")).flatMap { Int($0) }
        }
        defer { handle.stop() }
        try await body(try #require(port), got)
        handle.stop()
        _ = try await ended
    }

    /// Keeps what it is sent, and answers as the path says.
    private static let receiver = """
        import http.server, json, os, ssl, sys, time
        class Receiver(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with open(sys.argv[1], "a") as file:
                    file.write(json.dumps([self.path, dict(self.headers), body.decode()]) + "\\n")
                if self.path == "/slow": time.sleep(30)
                self.send_response({"/bad": 503, "/moved": 307, "/many": 429, "/unwanted": 400}.get(self.path, 204 if self.path == "/none" else 200))
                if self.path == "/moved": self.send_header("Location", "/ok")
                self.end_headers()
                if self.path == "/endless":
                    for _ in range(1000): self.wfile.write(b"x" * 4096)
            def log_message(self, *_): pass
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        if len(sys.argv) > 3:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*sys.argv[3:])
            server.socket = context.wrap_socket(server.socket, server_side=True)
        with open(sys.argv[2] + ".new", "w") as file: file.write(str(server.server_address[1]))
        os.rename(sys.argv[2] + ".new", sys.argv[2])
        server.serve_forever()
        """

    @Test func aWebhookIsPostedAndItsAnswerCounts() async throws {
        try await receiving { port, got in
            func send(_ path: String, _ body: String = "{}") async throws {
                let route = AlertRoute.webhook(
                    url: "http://127.0.0.1:\(port)\(path)", secret: "s3cret", authorities: nil, allowsHTTP: true)
                try await Blocking.run { try route.send(Array(body.utf8), id: "d1") }
            }
            // What is in it is passed on as it is, whatever bytes of text.
            try await send("/ok", #"{"text":"a \u0000 b ü"}"#)
            try await send("/none")
            let lines = try FileSystem.readText(got).split(separator: "\n")
            #expect(lines.count == 2)
            let first = String(lines[0])
            #expect(first.contains(#"\"text\":\"a \\u0000 b \u00fc\"#) && first.contains(#""X-Fleet-Delivery": "d1""#))
            #expect(
                first.contains(#""X-Fleet-Signature": "t="#) && first.contains(#""Content-Type": "application/json""#))
            try await send("/endless")
            let never = await #expect(throws: FleetError.self) { try await send("/unwanted") }
            #expect(never?.isRetryable == false, "the same again is refused again")
            for (path, word) in [("/bad", "503"), ("/moved", "307"), ("/many", "429")] {
                let error = await #expect(throws: FleetError.self) { try await send(path + "", "{}") }
                #expect(error?.code == .webhook && error?.isRetryable == true)
                #expect(error?.message.contains(word) == true || word.isEmpty, "\(error?.message ?? "")")
                #expect(error?.message.contains(path) == false, "the path may be a secret: \(error?.message ?? "")")
            }
            #expect(try FileSystem.readText(got).split(separator: "\n").count == 7, "a redirection is not followed")
            #expect(throws: FleetError.self) {
                try Webhook.post(
                    Webhook.Request(
                        url: "http://127.0.0.1:\(port)/slow", body: [], headers: [], allowsHTTP: true,
                        deadline: .milliseconds(300)))
            }
        }
        let refused = AlertRoute.webhook(url: "http://127.0.0.1:1/", secret: "s", authorities: nil, allowsHTTP: false)
        #expect(throws: FleetError.self) { try refused.send([], id: "1") }
    }

    /// The receiver's certificate counts: that of the system's authorities, or of those that were named.
    @Test func whoIsNotWhoTheyShouldBeIsToldNothing() async throws {
        let authority = try TemporaryDirectory()
        let (key, certificate) = (authority.path + "/key", authority.path + "/certificate")
        for (name, host) in [("", "127.0.0.1"), ("-other", "127.0.0.2")] {
            let made = try await Blocking.run {
                try Subprocess.run(
                    "/usr/bin/openssl",
                    [
                        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                        "/CN=hook",
                        "-addext", "subjectAltName=IP:\(host)", "-days", "2", "-keyout", key + name, "-out",
                        certificate + name,
                    ])
            }
            try #require(made.succeeded, "\(made.complaint)")
        }
        for (name, isTrusted) in [("", true), ("-other", false)] {
            try await receiving(tls: [certificate + name, key + name]) { port, got in
                let authorities = try FileSystem.readText(certificate + name)
                func send(_ authorities: String?) throws {
                    try Webhook.post(
                        Webhook.Request(
                            url: "https://127.0.0.1:\(port)/ok", body: Array("{}".utf8), headers: [],
                            authorities: authorities))
                }
                if isTrusted {
                    try send(authorities)
                } else {
                    #expect(throws: FleetError.self, "it is another host's certificate") { try send(authorities) }
                }
                #expect(throws: FleetError.self, "the system does not know who vouches for it") { try send(nil) }
                let lines = (try? FileSystem.readText(got))?.split(separator: "\n").count ?? 0
                #expect(lines == (isTrusted ? 1 : 0))
            }
        }
    }
}
