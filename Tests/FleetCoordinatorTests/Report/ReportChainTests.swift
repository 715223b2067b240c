import FleetProtocol
import FleetSQLite
import FleetSystem
import Testing

@testable import FleetControl
@testable import FleetCoordinator

/// Reports of a real catalogue: what its own acts leave in the chain is what the report says.
@Suite("Report of a catalogue", .timeLimit(.minutes(5)))
struct ReportChainTests {
    private let clock = TestClock()
    private let catalogue: Catalogue

    init() async throws { catalogue = try await Fixture.fleet(clock) }

    private func report(_ days: Int = 3) async throws -> AuditReport {
        let since = ObjectiveCoverage.midnight(clock.now.adding(.seconds(-days * 86_400)))
        return try await catalogue.report(since: since, until: nil, only: [], pageSize: 7).report
    }

    /// A backup of cluster a, as a policy's or an operator's.
    private func backup(_ id: String, by actor: String = "operator:alice") async throws -> JobRecord {
        let job = try await catalogue.createBackup(
            cluster: "a", node: "n1", lifetime: .seconds(3600), by: actor)
        var record = Fixture.record(job.snapshot, job: job.id, saved: clock.now.description)
        record.facts.certificates = [
            .init(path: "/etc/kubernetes/pki/etcd/server.crt", notAfter: clock.now.adding(.seconds(20 * 86_400))),
            .init(path: "/etc/kubernetes/pki/ca.crt", notAfter: clock.now.adding(.seconds(3000 * 86_400))),
        ]
        clock.advance(.seconds(30))
        try await catalogue.add(record, by: "agent:a/n1")
        _ = try await catalogue.answered(job.id)
        _ = try await catalogue.receive(
            JobEvent(
                job: job.id, sequence: 1, time: clock.now, kind: .outcome,
                outcome: JobOutcome(result: .succeeded, summary: "saved")),
            from: NodeName(cluster: "a", node: "n1"))
        return try await catalogue.job(job.id)
    }

    @Test func whatHappenedIsWhatIsTold() async throws {
        var policy = FleetPolicy(name: "all")
        policy.objective = 3600
        _ = try await catalogue.setPolicy(policy, by: "root")
        let job = try await backup("s1")
        #expect(job.state == .succeeded)
        clock.advance(.seconds(1800))
        let report = try await report()
        let a = try #require(report.clusters.first { $0.name == "a" })
        #expect(a.policy == "all" && a.backups == 1 && a.failed == 0 && a.newest != nil)
        #expect(a.days.last?.state == .met && a.days.last?.worst == 1830)
        #expect(a.days.dropLast().allSatisfy { $0.state == .unknown })
        #expect(report.clusters.first { $0.name == "b" }?.days.last?.state == .met, "known for half an hour only")
        let backup = try #require(report.backups.rows.first)
        #expect(backup.snapshot == job.snapshot && backup.by == "operator:alice" && backup.job == job.id)
        #expect(backup.saved.adding(.seconds(30)) == backup.stored)
        #expect(report.certificates.rows.map(\.path) == ["/etc/kubernetes/pki/etcd/server.crt"])
        #expect(report.changes.rows.map(\.action).contains("policy.added"))
        #expect(report.notes.isEmpty)
        // An hour later it is too old, and b is without any.
        clock.advance(.seconds(3600))
        let later = try await self.report()
        #expect(later.clusters.map { $0.days.last?.state } == [.missed, .missed])
    }

    /// Folded from events, whatever was done with policies and labels: what the catalogue itself says.
    @Test func policiesAreFollowedAsInTheCatalogue() async throws {
        var random = SplitMix(seed: 3)
        func policy(_ name: String) -> FleetPolicy {
            var policy = FleetPolicy(name: name)
            policy.objective = Int.random(in: 1...5, using: &random) * 3600
            switch Int.random(in: 0..<4, using: &random) {
            case 0: policy.clusters = ["a"]
            case 1: policy.clusters = ["b"]
            case 2: policy.labels = ["env": ["x", "y"].randomElement(using: &random)!]
            default: break
            }
            return policy
        }
        for _ in 0..<40 {
            clock.advance(.seconds(60))
            if Int.random(in: 0..<3, using: &random) == 0 {
                let cluster = ["a", "b"].randomElement(using: &random)!
                let value = ["x", "y"].randomElement(using: &random)!
                _ = try await catalogue.label(
                    Bool.random(using: &random)
                        ? .init(cluster: cluster, set: ["env": value], remove: [])
                        : .init(cluster: cluster, set: [:], remove: ["env"]), by: "root")
            } else {
                let present = try await catalogue.policies().map(\.policy)
                var wanted: [FleetPolicy] = []
                for name in ["p", "q", "r", "s", "t"].shuffled(using: &random).prefix(
                    Int.random(in: 0...5, using: &random))
                {
                    let same = present.first { $0.name == name }
                    wanted.append(Bool.random(using: &random) ? same ?? policy(name) : policy(name))
                }
                _ = try await catalogue.applyPolicies(PolicySet(policies: wanted, dryRun: false), by: "root")
            }
            let told = try await report(1).clusters
            let known = try await catalogue.clusters()
            #expect(told.map(\.policy) == known.map(\.policy))
            #expect(told.map { $0.objectives.last?.seconds } == known.map(\.objective))
        }
    }

    @Test func aPolicyOfAnySizeIsToldWhole() async throws {
        var policy = FleetPolicy(name: "many")
        for number in 0..<300 {
            let name = "a-cluster-with-a-long-name-\(number)"
            _ = try await catalogue.addCluster(name, by: "root")
            policy.clusters.append(name)
        }
        policy.objective = 3600
        _ = try await catalogue.setPolicy(policy, by: "root")
        let report = try await report()
        #expect(report.notes.isEmpty && report.clusters.count { $0.policy == "many" } == 300)
        #expect(try await catalogue.verifyAudit().isIntact)
    }

    @Test func theSameEventsMakeTheSameReportAgain() async throws {
        _ = try await backup("s1")
        let since = ObjectiveCoverage.midnight(clock.now)
        let made = try await catalogue.report(since: since, until: nil, only: [])
        try await catalogue.audit(ReportRecord.act(made, by: "operator:alice"))
        clock.advance(.seconds(86_400))
        _ = try await backup("s2")
        let (proof, remade) = try await catalogue.remake(made.statement, key: "k", pageSize: 3)
        #expect(remade?.bytes == made.bytes)
        #expect(proof.hash == made.statement.head && proof.verdict.isIntact)
        #expect(proof.making?.actor == "operator:alice" && proof.making?.sequence == made.statement.height + 1)
        #expect(proof.verdict.events > made.statement.height + 1)
        // Another range is another report.
        var other = made.statement
        other.since = since.adding(.seconds(1))
        #expect(try await catalogue.remake(other, key: "k").remade?.bytes != made.bytes)
        other = made.statement
        other.head = String(repeating: "0", count: 64)
        #expect(try await catalogue.remake(other, key: "k").remade == nil)
        other.height = 1_000_000
        #expect(try await catalogue.remake(other, key: "k").proof.hash == nil)
    }

    /// The version is among the bytes that are signed: a coordinator that was upgraded makes them again as they were.
    @Test func aReportOfAnotherVersionIsMadeAgain() async throws {
        _ = try await backup("s1")
        var report = try await report()
        report.version = "0.0.9"
        let made = try MadeReport(report)
        let (proof, remade) = try await catalogue.remake(made.statement, key: "k")
        #expect(remade?.bytes == made.bytes && proof.version == FleetVersion.current)
    }

    @Test func anEmptyFleetHasAReport() async throws {
        let empty = try Fixture.catalogue(clock)
        let made = try await empty.report(since: clock.now.adding(.seconds(-3600)), until: nil, only: [])
        #expect(made.report.clusters.isEmpty && made.report.chain.height == 0)
        #expect(try await empty.remake(made.statement, key: "k").remade?.bytes == made.bytes)
    }

    @Test func aBrokenChainIsToldUpToTheBreak() async throws {
        try await catalogue.script(
            "DROP TRIGGER audit_events_no_update; UPDATE audit_events SET time = 0 WHERE sequence = 4")
        let report = try await report()
        #expect(report.chain.height == 3 && report.chain.firstBreak?.kind == .edited)
        #expect(report.concerns.first?.contains("BROKEN") == true)
        #expect(report.clusters.map(\.name) == ["a"], "what is behind the break is not believed")
    }

    /// Nothing is known of the days behind it, and none of them is told.
    @Test func aBrokenChainHasNoDaysBehindTheBreak() async throws {
        _ = try await backup("s1")
        clock.advance(.seconds(86_400))
        _ = try await catalogue.addCluster("c", by: "root")
        let last = try await catalogue.auditPage(after: 0, count: 1000).links.last!.sequence
        clock.advance(.seconds(10 * 86_400))
        _ = try await backup("s2")
        try await catalogue.script(
            "DROP TRIGGER audit_events_no_update; UPDATE audit_events SET time = 0 WHERE sequence = \(last + 1)")
        let since = ObjectiveCoverage.midnight(clock.now.adding(.seconds(-12 * 86_400)))
        let made = try await catalogue.report(since: since, until: nil, only: [])
        let report = made.report
        #expect(report.chain.height == last && report.chain.firstBreak != nil)
        #expect(report.until == clock.now.adding(.seconds(-10 * 86_400 - 30)) && report.made == clock.now)
        #expect(report.clusters.allSatisfy { $0.days.count == 3 })
        #expect(report.notes.contains { $0.contains("\(report.until)") })
        #expect(try await catalogue.remake(made.statement, key: "k").remade?.bytes == made.bytes)
        // Broken before all days that were asked for.
        let none = try await catalogue.report(since: clock.now.adding(.seconds(-3600)), until: nil, only: [])
        #expect(none.report.clusters.allSatisfy { $0.days.isEmpty } && none.report.until == none.report.since)
        for format in ReportFormat.allCases { #expect(try !format.render(none.report.signed()).isEmpty) }
    }

    @Test func ranges() throws {
        let now = Timestamp("2026-11-24T06:55:10Z")!
        func range(
            _ since: String? = nil, _ last: Int? = nil, _ until: String? = nil
        ) throws(FleetError) -> ReportRange {
            try ReportRange(
                ReportRequest(
                    since: since.flatMap { Timestamp($0) }, lastSeconds: last, until: until.flatMap { Timestamp($0) },
                    clusters: []), now: now)
        }
        #expect(try range().since == Timestamp("2026-08-26T00:00:00Z"))
        #expect(try range(nil, 3600).since == Timestamp("2026-11-24T05:55:10Z"))
        #expect(try range(nil, 86_400).since == Timestamp("2026-11-23T00:00:00Z"))
        #expect(try range("2026-11-01").since == Timestamp("2026-11-01T00:00:00Z"))
        #expect(try range(nil, 86_400, "2026-10-01").since == Timestamp("2026-09-30T00:00:00Z"))
        for (since, last, until) in [
            ("2026-11-24T06:55:10Z", nil, nil), (nil, nil, "2026-11-24T06:55:11Z"), ("2026-10-02", nil, "2026-10-01"),
            ("2001-01-01", nil, nil), (nil, 2000 * 86_400, nil), (nil, 0, nil),
        ] as [(String?, Int?, String?)] {
            #expect(throws: FleetError.self) { try range(since, last, until) }
        }
    }
}
