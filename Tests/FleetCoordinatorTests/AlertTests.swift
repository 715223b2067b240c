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
    let start = (now: Timestamp("2026-11-29T03:00:00Z")!, tick: ContinuousClock.now)
    let failed = Concern(.backupFailed, cluster: "a", "the last backup of a has failed", action: "look")
    let lost = Concern(.agentLost, cluster: "a", node: "n1", "away")

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
        try await catalogue.delivered(try #require(try await catalogue.dueAlerts().first))
        var worse = try #require(try await catalogue.standingAlerts().first)
        worse.concern.level = 5
        worse.concern.text = "5 of them"
        clock.advance(.seconds(3600))
        try await catalogue.turnAlerts(.init(raised: [worse]), fleet: "f:1")
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
        var keys: [String] = []
        func drain() async throws {
            while let due = try await catalogue.dueAlerts().first {
                keys.append(try JSON.decode(AlertMessage.self, from: Array(due.body.utf8)).key)
                try await catalogue.delivered(due)
            }
        }
        try await catalogue.turnAlerts(turn, fleet: "f:1")
        #expect(try await catalogue.standingAlerts().count == rows.count)
        try await drain()
        try await catalogue.turnAlerts(.init(over: ["snapshot-unusable|a||"]), fleet: "f:1")
        #expect(try await catalogue.standingAlerts().count == rows.count - 1)
        try await drain()
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
            ![.retentionWaits, .authorityRotation, .alertsHeld, .agentsAwaited, .unscheduled].contains($0)
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

    func target(_ catalogue: Catalogue, _ name: String, _ url: String = "https://a.example/secret") async throws {
        _ = try await catalogue.setAlertTarget(
            name, .webhook(url: url, secret: "s3cret", authorities: nil, allowsHTTP: false), fleet: "f:1", by: "root")
    }
    func alert(_ concern: Concern) -> StandingAlert { StandingAlert(concern: concern, since: start.now) }
    func bodies(_ catalogue: Catalogue) async throws -> [AlertMessage] {
        try await catalogue.dueAlerts().map { try JSON.decode(AlertMessage.self, from: Array($0.body.utf8)) }
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
        await #expect(throws: FleetError.self) { try await catalogue.resumeAlerts(fleet: "f:1", by: "root") }
        #expect(try await !catalogue.alertsAreHeld())
        _ = try await catalogue.putBack(from: "copy")
        #expect(try await catalogue.alertsAreHeld())
        #expect(try await catalogue.dueAlerts().isEmpty)
        #expect(try await catalogue.standingAlerts().count == 1)
        try await catalogue.resumeAlerts(fleet: "f:1", by: "root")
        #expect(try await !catalogue.alertsAreHeld())
        #expect(try await catalogue.auditLog().map(\.event.action).suffix(1) == ["alert.resume"])
        #expect(try await bodies(catalogue).map(\.key) == [failed.key], "nobody knows what they have heard")
    }

    @Test func neitherAddressNorSecretIsOnRecord() async throws {
        let catalogue = try await Fixture.fleet()
        try await target(catalogue, "pager", "https://hooks.example:8443/services/T0K3N?key=T0K3N")
        #expect(try await catalogue.alertTargets()[0].place == "https://hooks.example:8443")
        let log = try JSON.text(try await catalogue.auditLog(AuditFilter()))
        #expect(log.contains("alert.set") && !log.contains("T0K3N") && !log.contains("s3cret"))
    }
}
