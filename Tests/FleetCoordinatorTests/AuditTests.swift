import FleetProtocol
import FleetSQLite
import FleetSystem
import Testing

@testable import FleetCoordinator

@Suite("Audit chain")
struct AuditTests {
    private static let unlock = "DROP TRIGGER audit_events_no_update; DROP TRIGGER audit_events_no_delete;"

    private func log(_ count: Int = 5, _ clock: TestClock = TestClock()) async throws -> Catalogue {
        let catalogue = try Fixture.catalogue(clock)
        for i in 1...count { _ = try await catalogue.addCluster("c\(i)", by: "root") }
        return catalogue
    }

    @Test func anEmptyAndAWholeChainHold() async throws {
        #expect(try await Fixture.catalogue().verifyAudit().isIntact)
        let catalogue = try await log()
        for pageSize in [1, 2, 5, 100] {
            let verdict = try await catalogue.verifyAudit(pageSize: pageSize)
            #expect(verdict.isIntact)
            #expect(verdict.events == 5)
            #expect(verdict.findings.isEmpty)
            #expect(try await catalogue.auditHead()?.hash.hex == verdict.head)
        }
    }

    @Test(arguments: [
        "UPDATE audit_events SET body = body", "DELETE FROM audit_events WHERE sequence = 2",
        "DELETE FROM audit_events",
        "INSERT OR REPLACE INTO audit_events (sequence, time, body, previous, hash) SELECT 2, time, body, previous, hash FROM audit_events WHERE sequence = 3",
    ])
    func nothingIsChangedThroughSQL(_ sql: String) async throws {
        let catalogue = try await log()
        #expect(await code { try await catalogue.script(sql) } == .conflict)
        #expect(try await catalogue.verifyAudit().isIntact)
    }

    @Test(
        arguments: [
            ("UPDATE audit_events SET body = replace(body, '\"root\"', '\"toor\"') WHERE sequence = 3", 3, .edited),
            ("UPDATE audit_events SET body = 'x' || body WHERE sequence = 4", 4, .edited),
            ("UPDATE audit_events SET cluster = 'c9' WHERE sequence = 3", 3, .edited),
            ("UPDATE audit_events SET time = 0 WHERE sequence = 3", 3, .edited),
            ("UPDATE audit_events SET hash = zeroblob(32) WHERE sequence = 3", 3, .edited),
            ("UPDATE audit_events SET previous = zeroblob(32) WHERE sequence = 3", 3, .edited),
            ("DELETE FROM audit_events WHERE sequence = 3", 3, .removed),
            ("DELETE FROM audit_events WHERE sequence = 1", 1, .removed),
            ("DELETE FROM audit_events WHERE sequence = 5", 5, .truncated),
            ("DELETE FROM audit_events", 1, .truncated),
            (
                "UPDATE audit_events SET sequence = 99 WHERE sequence = 2; UPDATE audit_events SET sequence = 2 WHERE sequence = 3; UPDATE audit_events SET sequence = 3 WHERE sequence = 99",
                2, .reordered
            ),
            (
                "DELETE FROM audit_events WHERE sequence = 2; UPDATE audit_events SET sequence = sequence - 1 WHERE sequence > 2",
                2, .reordered
            ),
            ("DELETE FROM settings WHERE name = 'audit.head'", 1, .head),
            (
                "INSERT INTO audit_events (sequence, time, body, previous, hash) SELECT 0, time, body, previous, hash FROM audit_events WHERE sequence = 1",
                1, .removed
            ),
        ] as [(String, Int64, AuditVerdict.Break.Kind)])
    func everyTamperingIsNamed(_ sql: String, _ sequence: Int64, _ kind: AuditVerdict.Break.Kind) async throws {
        let catalogue = try await log()
        try await catalogue.script(Self.unlock + sql)
        let verdict = try await catalogue.verifyAudit(pageSize: 2)
        #expect(verdict.firstBreak?.kind == kind)
        #expect(verdict.firstBreak?.sequence == sequence)
    }

    @Test func anEventThatWasRewrittenWithItsHashBreaksTheNext() async throws {
        let catalogue = try await log()
        let page = try await catalogue.auditPage(after: 1, count: 1)
        let link = try #require(page.links.first)
        var event = try link.record().event
        event.actor = "mallory"
        let forged = try AuditChain.Link(event, after: .init(sequence: 1, hash: link.previous))
        try await catalogue.script(
            Self.unlock + """
                UPDATE audit_events SET body = CAST(x'\(forged.body.hex)' AS TEXT), hash = x'\(forged.hash.hex)'
                WHERE sequence = 2
                """)
        let verdict = try await catalogue.verifyAudit()
        #expect(verdict.firstBreak?.kind == .reordered)
        #expect(verdict.firstBreak?.sequence == 3)
    }

    @Test func aClockThatGoesBackIsAFindingAndNoBreak() async throws {
        let clock = TestClock()
        let catalogue = try await log(3, clock)
        clock.advance(.seconds(-60))
        _ = try await catalogue.addCluster("later", by: "root")
        let verdict = try await catalogue.verifyAudit()
        #expect(verdict.isIntact)
        #expect(verdict.findings.count == 1)
    }

    @Test func theSummaryGoesOnWhereItEnded() async throws {
        let catalogue = try Fixture.catalogue()
        #expect(try await catalogue.auditSummary() == catalogue.verifyAudit())
        for name in ["a", "b", "c"] {
            _ = try await catalogue.addCluster(name, by: "root")
            #expect(try await catalogue.auditSummary() == catalogue.verifyAudit())
        }
        try await catalogue.script(Self.unlock + "DELETE FROM audit_events WHERE sequence = 3")
        #expect(try await catalogue.auditSummary().firstBreak?.kind == .truncated)
        #expect(try await catalogue.verifyAudit().firstBreak?.kind == .truncated)
    }

    /// A log of years is walked in pages: who asks something else meanwhile does not wait for all of it.
    @Test func otherWorkGoesOnDuringTheFirstWalk() async throws {
        let catalogue = try Fixture.catalogue()
        for i in 0..<4000 { _ = try? await catalogue.audit(Act("test", by: "\(i)")) }
        let walk = Task { try await catalogue.auditSummary() }
        let finished = Monitor(false)
        let summary = Task {
            let verdict = try await walk.value
            finished.withLock { $0 = true }
            return verdict
        }
        var questions = 0
        while !finished.withLock(\.self) {
            _ = try await catalogue.auditHead()
            questions += 1
        }
        #expect(questions > 10)
        #expect(try await summary.value.events == 4000)
        #expect(try await summary.value.isIntact)
    }

    @Test func theFormIsPinned() throws {
        let event = AuditEvent(
            sequence: 1, time: Timestamp("2026-11-24T06:55:10.123Z")!, actor: "root", action: "cluster.add",
            cluster: "a", subject: nil, outcome: .ok, detail: ["x": "a/b"])
        let link = try AuditChain.Link(event, after: .empty)
        #expect(
            String(decoding: link.body, as: UTF8.self)
                == #"{"action":"cluster.add","actor":"root","cluster":"a","detail":{"x":"a/b"},"outcome":"ok","sequence":1,"time":"2026-11-24T06:55:10.123Z"}"#
        )
        // printf 'etcd-backup-fleet audit v1\n' and 32 zero bytes and the body, through sha256sum: must not change.
        #expect(link.hash.hex == "cb3336fce661774901ccf21ef59a5e4c5c0ddf24a6f95ecb2e2288613c7ceee9")
    }

    @Test func theLogIsFilteredAndInOrder() async throws {
        let clock = TestClock()
        let catalogue = try await log(3, clock)
        clock.advance(.seconds(10))
        let since = clock.now
        _ = try await catalogue.addCluster("x", by: "alice")
        #expect(try await catalogue.auditLog().map(\.event.sequence) == [1, 2, 3, 4])
        #expect(try await catalogue.auditLog(AuditFilter(since: since)).map(\.event.actor) == ["alice"])
        #expect(try await catalogue.auditLog(AuditFilter(cluster: "c2")).map(\.event.sequence) == [2])
        #expect(try await catalogue.auditLog(AuditFilter(limit: 2)).map(\.event.sequence) == [3, 4])
    }
}
