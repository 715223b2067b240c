import FleetProtocol
import FleetSQLite
import FleetSystem
import Glibc
import Testing

@testable import FleetCoordinator

@Suite("Catalogue: inventory")
struct CatalogueTests {
    @Test func clustersAreAddedOnceAndByGoodNames() async throws {
        let catalogue = try Fixture.catalogue()
        #expect(try await catalogue.addCluster("a", by: "root").name == "a")
        #expect(await code { _ = try await catalogue.addCluster("a", by: "root") } == .alreadyExists)
        for name in ["", "A", "../x", "a/b", "-a", String(repeating: "x", count: 64)] {
            #expect(await code { _ = try await catalogue.addCluster(name, by: "root") } == .malformed)
        }
        #expect(await code { _ = try await catalogue.cluster("z") } == .notFound)
        #expect(try await catalogue.clusters().map(\.name) == ["a"])
        let log = try await catalogue.auditLog()
        #expect(log.map(\.event.outcome) == [.ok] + Array(repeating: .refused, count: 7))
        #expect(log[1].event.detail["code"] == "already-exists")
    }

    @Test func aTokenEnrolsOnce() async throws {
        let catalogue = try Fixture.catalogue()
        _ = try await catalogue.addCluster("a", by: "root")
        #expect(
            await code {
                _ = try await catalogue.createToken(
                    secret: "s", role: .agent, cluster: "z", lifetime: .seconds(1), by: "root")
            } == .notFound)
        _ = try await catalogue.createToken(secret: "s", role: .agent, cluster: "a", lifetime: .seconds(60), by: "root")
        let certificate = Fixture.certificate()
        func enrol(_ secret: String, _ name: String = "n1") async throws -> Grant {
            try await catalogue.enrol(secret: secret, name: name, from: "peer") { _ throws(FleetError) in
                (certificate, true)
            }.grant
        }
        #expect(await code { _ = try await enrol("t") } == .tokenUnknown)
        #expect(await code { _ = try await enrol("s", "Not A Name") } == .malformed)
        #expect(try await enrol("s") == .agent(cluster: "a", node: "n1"))
        #expect(await code { _ = try await enrol("s") } == .tokenUsed)
        #expect(try await catalogue.agents().map(\.certificate) == [certificate])
        #expect(try await catalogue.identify(fingerprint: certificate.fingerprint) == .agent(cluster: "a", node: "n1"))
    }

    /// Whoever is revoked does not come back with what they had been given before.
    @Test func aRevokedOperatorsTokensAreTakenBack() async throws {
        let catalogue = try Fixture.catalogue()
        func token(_ secret: String, _ name: String) async throws {
            try await catalogue.operatorToken(name, secret: secret)
        }
        func enrol(_ secret: String) async throws {
            _ = try await catalogue.enrol(secret: secret, name: "", from: "peer") { _ throws(FleetError) in
                (Fixture.certificate(), true)
            }
        }
        for (secret, name) in [("1", "alice"), ("2", "alice"), ("3", "bob")] { try await token(secret, name) }
        try await enrol("1")
        #expect(try await catalogue.revoke(.operator(name: "alice"), by: "root") == 1)
        #expect(await code { try await enrol("2") } == .tokenUsed)
        #expect(await code { _ = try await catalogue.revoke(.operator(name: "alice"), by: "root") } == .notFound)
        #expect(try await catalogue.revoke(.operator(name: "bob"), by: "root") == 0, "a token is taken back by itself")
        #expect(await code { try await enrol("3") } == .tokenUsed)
    }

    enum End: CaseIterable, Sendable { case revoked, viewer, oneCluster, protected, expired }

    /// A token for a node is good for weeks, and lets in no machine that its maker could not let in any more.
    @Test(arguments: End.allCases)
    func aNodesTokenEndsWithWhatItsMakerMay(_ end: End) async throws {
        let clock = TestClock()
        let catalogue = try Fixture.catalogue(clock)
        _ = try await catalogue.addCluster("a", by: "root")
        func logIn(until end: Timestamp) async throws {
            let secret = Randomness.token(8)
            try await catalogue.operatorToken("alice", secret: secret)
            var certificate = Fixture.certificate()
            certificate.notAfter = end
            let made = certificate
            _ = try await catalogue.enrol(secret: secret, name: "", from: "peer") { _ throws(FleetError) in (made, 0) }
        }
        try await logIn(until: clock.now.adding(.seconds(7 * 86_400)))
        for (secret, maker) in [("1", "operator:alice"), ("2", "operator:alice"), ("3", "root"), ("4", "user:990")] {
            _ = try await catalogue.createToken(
                secret: secret, role: .agent, cluster: "a", lifetime: .seconds(30 * 86_400), by: maker)
        }
        func set(_ role: OperatorRole?, _ clusters: [String]?) async throws {
            let selector = clusters.map { ClusterSelector(clusters: $0) }
            _ = try await catalogue.setOperator(
                OperatorChange(name: "alice", role: role, clusters: selector), by: "root")
        }
        func enrol(_ secret: String) async -> FleetError.Code? {
            await code {
                let name = "n\(secret)"
                _ = try await catalogue.enrol(secret: secret, name: name, from: "peer") { _ throws(FleetError) in
                    (Fixture.certificate(), 0)
                }
            }
        }
        #expect(await enrol("1") == nil)
        switch end {
        case .revoked: _ = try await catalogue.revoke(.operator(name: "alice"), by: "root")
        case .viewer: try await set(.viewer, nil)
        case .oneCluster: try await set(nil, ["a"])
        case .protected: try await catalogue.protect("a", true, by: "root")
        case .expired: clock.advance(.seconds(8 * 86_400))
        }
        #expect(await enrol("2") == .tokenUsed)
        #expect(try await catalogue.agents().map(\.node) == ["n1"])
        // It is taken back, and stays so; but where she only had to log in again.
        switch end {
        case .revoked, .expired: try await logIn(until: clock.now.adding(.seconds(86_400)))
        case .viewer: try await set(.admin, nil)
        case .oneCluster: try await set(nil, [])
        case .protected: try await catalogue.protect("a", false, by: "root")
        }
        #expect(await enrol("2") == (end == .expired ? nil : .tokenUsed))
        #expect(await enrol("3") == nil)
        #expect(await enrol("4") == nil)
    }

    /// As when it was made before the protection that an earlier version has recorded: what is so when it is used counts.
    @Test func aNodesTokenIsLookedAtWhenItIsUsed() async throws {
        let place = try TemporaryDirectory()
        let catalogue = try Fixture.catalogue(path: place.path + "/c.db")
        _ = try await catalogue.addCluster("a", by: "root")
        try await catalogue.operatorToken("alice", secret: "o")
        _ = try await catalogue.enrol(secret: "o", name: "", from: "peer") { _ throws(FleetError) in
            (Fixture.certificate(), 0)
        }
        _ = try await catalogue.createToken(
            secret: "s", role: .agent, cluster: "a", lifetime: .seconds(60), by: "operator:alice")
        func enrol() async -> FleetError.Code? {
            await code {
                _ = try await catalogue.enrol(secret: "s", name: "n1", from: "peer") { _ throws(FleetError) in
                    (Fixture.certificate(), 0)
                }
            }
        }
        let db = try SQLiteConnection(.file(place.path + "/c.db"))
        defer { db.close() }
        for (change, back) in [
            ("UPDATE clusters SET protected = 1", "UPDATE clusters SET protected = 0"),
            ("UPDATE operators SET role = 'restorer'", "UPDATE operators SET role = 'admin'"),
            ("UPDATE certificates SET revoked = 1", "UPDATE certificates SET revoked = NULL"),
        ] {
            try db.run(change)
            #expect(await enrol() == .tokenUsed, "\(change)")
            try db.run(back)
        }
        #expect(await enrol() == nil)
    }

    @Test func aFailedEnrolmentSpendsNothing() async throws {
        let catalogue = try Fixture.catalogue()
        _ = try await catalogue.addCluster("a", by: "root")
        _ = try await catalogue.createToken(secret: "s", role: .agent, cluster: "a", lifetime: .seconds(60), by: "root")
        #expect(
            await code {
                _ = try await catalogue.enrol(secret: "s", name: "n1", from: "peer") {
                    _ throws(FleetError) -> (CertificateRecord, Bool) in throw FleetError(.malformed, "no request")
                }
            } == .malformed)
        #expect(try await catalogue.agents().isEmpty)
        _ = try await catalogue.enrol(secret: "s", name: "n1", from: "peer") { _ throws(FleetError) in
            (Fixture.certificate(), true)
        }
    }

    @Test func strangersDoNotFillTheLog() async throws {
        let clock = TestClock()
        let catalogue = try Fixture.catalogue(clock)
        func guess() async throws {
            _ = try await catalogue.enrol(secret: "x", name: "n", from: "peer") { _ throws(FleetError) in
                (Fixture.certificate(), true)
            }
        }
        for _ in 0..<100 { #expect(await code { try await guess() } == .tokenUnknown) }
        #expect(try await catalogue.auditLog().count == RefusalBudget.perMinute)
        clock.advance(.seconds(60))
        #expect(await code { try await guess() } == .tokenUnknown)
        #expect(try await catalogue.auditLog().last?.event.detail["leftOut"] == "80")
    }

    @Test func tokensExpire() async throws {
        let clock = TestClock()
        let catalogue = try Fixture.catalogue(clock)
        try await catalogue.operatorToken("alice", secret: "s")
        clock.advance(.seconds(60))
        #expect(
            await code {
                _ = try await catalogue.enrol(secret: "s", name: "x", from: "peer") { _ throws(FleetError) in
                    (Fixture.certificate(), true)
                }
            } == .tokenExpired)
        #expect(try await catalogue.operators().map(\.certificate) == [nil])
    }

    /// The answer to a renewal may be lost at any moment: the node always has one that is good, and never one too many.
    @Test func aRenewedCertificateTakesOverWhenItIsUsed() async throws {
        let clock = TestClock()
        let catalogue = try await Fixture.fleet(clock)
        let node = NodeName(cluster: "a", node: "n1")
        func standing(_ fingerprints: [String]) async throws -> [String] {
            var standing: [String] = []
            for one in fingerprints {
                do {
                    if try await catalogue.identify(fingerprint: one) == .agent(cluster: "a", node: "n1") {
                        standing.append(one)
                    }
                } catch {
                    #expect(error.code == .certificateRevoked)
                }
            }
            return standing
        }
        func renew(_ holding: String) async throws -> String {
            try await catalogue.renew(node, holding: holding) { _ throws(FleetError) in
                let made = Fixture.certificate()
                return (made, made.fingerprint)
            }
        }
        let first = try #require(try await catalogue.agents(cluster: "a").first?.certificate?.fingerprint)
        #expect(await code { _ = try await renew(first) } == .busy, "an agent whose clock is ahead asks without end")
        clock.advance(.seconds(40 * 86_400))
        let lost = try await renew(first)
        #expect(await code { _ = try await renew("unknown") } == .certificateUnknown)
        #expect(try await catalogue.agents(cluster: "a").first?.certificate?.fingerprint == first, "the one in use")
        // It comes again with the old one before it has read the answer: that may still arrive.
        try await catalogue.retireCertificates(of: node, before: first)
        #expect(try await standing([first, lost]) == [first, lost])
        let second = try await renew(first)
        #expect(try await standing([first, lost, second]) == [first, second])
        try await catalogue.retireCertificates(of: node, before: second)
        #expect(try await standing([first, lost, second]) == [second])
        try await catalogue.retireCertificates(of: node, before: second)
        // Revoked meanwhile, it gets no other, and takes none from whoever came after it.
        #expect(await code { _ = try await renew(first) } == .certificateRevoked)
        try await catalogue.retireCertificates(of: node, before: first)
        #expect(try await standing([second]) == [second])
        let actions = try await catalogue.auditLog().map(\.event).filter {
            $0.action.hasPrefix("certificate.") && $0.outcome == .ok
        }
        #expect(actions.map(\.action) == ["certificate.renew", "certificate.renew", "certificate.retire"])
        #expect(actions.last?.detail == ["inUse": second, "count": "1"])
        // The other cluster's node of the same name has its own.
        let other = try #require(try await catalogue.agents(cluster: "b").first?.certificate)
        #expect(other.revoked == nil)
    }

    @Test func certificatesAreRevokedAndReplaced() async throws {
        let clock = TestClock()
        let catalogue = try await Fixture.fleet(clock)
        let first = try #require(try await catalogue.agents(cluster: "a").first?.certificate)
        #expect(await code { _ = try await catalogue.identify(fingerprint: "00") } == .certificateUnknown)
        clock.advance(.seconds(1))
        try await Fixture.enrol(catalogue, cluster: "a", node: "n1")
        #expect(await code { _ = try await catalogue.identify(fingerprint: first.fingerprint) } == .certificateRevoked)
        #expect(try await catalogue.revoke(.agent(cluster: "a", node: "n1"), by: "root") == 1)
        #expect(
            await code { _ = try await catalogue.revoke(.agent(cluster: "a", node: "n1"), by: "root") } == .notFound)
        let other = try #require(try await catalogue.agents(cluster: "b").first?.certificate)
        #expect(try await catalogue.identify(fingerprint: other.fingerprint) == .agent(cluster: "b", node: "n1"))
        clock.advance(.seconds(400 * 86400))
        #expect(await code { _ = try await catalogue.identify(fingerprint: other.fingerprint) } == .certificateExpired)
    }

    @Test func registrationIsAuditedOnlyWhenSomethingChanged() async throws {
        let catalogue = try await Fixture.fleet()
        let before = try await catalogue.auditLog().count
        var request = Fixture.registration()
        request.instance?.pid = 99
        _ = try await catalogue.registered(NodeName(cluster: "a", node: "n1"), request, hasJustConnected: true)
        #expect(try await catalogue.auditLog().count == before)
        #expect(try await catalogue.agents(cluster: "a").first?.instance?.pid == 99)
        _ = try await catalogue.registered(
            NodeName(cluster: "a", node: "n1"), Fixture.registration(version: "3.5.9"), hasJustConnected: true)
        #expect(try await catalogue.auditLog().last?.event.action == "node.changed")
        #expect(
            await code {
                _ = try await catalogue.registered(
                    NodeName(cluster: "a", node: "zz"), Fixture.registration(), hasJustConnected: true)
            } == .notFound)
    }

    @Test func sightingsAreNotSetBack() async throws {
        let clock = TestClock()
        let catalogue = try await Fixture.fleet(clock)
        let node = NodeName(cluster: "a", node: "n1")
        func seen(_ time: Timestamp) async throws -> Timestamp? {
            try await catalogue.seen([node: time])
            return try await catalogue.agents(cluster: "a").first?.lastSeen
        }
        let start = clock.now
        clock.advance(.seconds(60))
        #expect(try await seen(clock.now) == clock.now)
        #expect(try await seen(start) == clock.now, "that is the end of an older connection")
        let wrong = clock.now.adding(.seconds(86_400))
        #expect(try await seen(wrong) == wrong)
        #expect(try await seen(clock.now) == clock.now, "a clock was set wrong and is right again")
    }

    @Test func snapshotsAreFoundByPrefixTimeAndLatest() async throws {
        let clock = TestClock()
        clock.advance(.seconds(7200))
        let catalogue = try await Fixture.fleet(clock)
        let early = Fixture.record("20261124-065510-aaaa", saved: "2026-11-24T06:55:10Z")
        let late = Fixture.record("20261124-075510-bbbb", saved: "2026-11-24T07:55:10Z")
        let other = Fixture.record("20261124-075510-bbcc", cluster: "b", saved: "2026-11-24T07:55:10Z", etcdID: "f00d")
        for record in [late, early, other] { try await catalogue.add(record, by: "agent") }
        #expect(try await catalogue.findSnapshot("latest", cluster: "a").record == late)
        #expect(try await catalogue.findSnapshot("2026-11-24T07:55:09Z", cluster: "a").record == early)
        #expect(try await catalogue.findSnapshot("20261124-07", cluster: "a").record == late)
        #expect(await code { _ = try await catalogue.findSnapshot("20261124-07") } == .ambiguous)
        // Backups of all clusters begin in the same second.
        #expect(try await catalogue.snapshotToRestore("20261124-07", to: "a").record == late)
        #expect(try await catalogue.snapshotToRestore("20261124-06", to: "b").record == early)
        #expect(await code { _ = try await catalogue.snapshotToRestore("20261124", to: "a") } == .ambiguous)
        #expect(await code { _ = try await catalogue.findSnapshot("2025-01-01", cluster: "a") } == .notFound)
        #expect(await code { _ = try await catalogue.findSnapshot("latest") } == .usage)
        #expect(await code { _ = try await catalogue.findSnapshot("latest", cluster: "z") } == .notFound)
        try await catalogue.mark(late.id, .missing, FleetError(.notFound, "gone"), by: "coordinator")
        #expect(try await catalogue.findSnapshot("latest", cluster: "a").record == early)
        #expect(try await catalogue.findSnapshot(late.id, cluster: "a").condition == .missing)
        let cluster = try await catalogue.cluster("a")
        #expect(cluster.snapshots == 1)
        #expect(cluster.latestSnapshot == early.id)
        #expect(try await catalogue.snapshots(cluster: "a").count == 2)
    }

    @Test func theSameSnapshotTwiceIsOneAndAnotherIsRefused() async throws {
        let catalogue = try await Fixture.fleet()
        let record = Fixture.record("20261124-065510-aaaa")
        try await catalogue.add(record, by: "agent")
        let events = try await catalogue.auditLog().count
        try await catalogue.add(record, by: "agent")
        #expect(try await catalogue.auditLog().count == events)
        let other = Fixture.record("20261124-065510-aaaa", sha256: "ff")
        #expect(await code { try await catalogue.add(other, by: "agent") } == .alreadyExists)
    }

    @Test func etcdIdentitiesAreAHistory() async throws {
        let catalogue = try await Fixture.fleet()
        try await catalogue.add(Fixture.record("s1", etcdID: "aa"), by: "agent")
        try await catalogue.add(Fixture.record("s2", saved: "2026-11-25T00:00:00Z", etcdID: "bb"), by: "agent")
        try await catalogue.add(Fixture.record("s3", saved: "2026-11-26T00:00:00Z", etcdID: "bb"), by: "agent")
        #expect(try await catalogue.cluster("a").identities.map(\.id) == ["aa", "bb"])
        let event = try #require(
            try await catalogue.auditLog().last { $0.event.action == "cluster.identity" })
        #expect(event.event.detail["previous"] == "aa")
    }

    /// Snapshots are there after the table was made anew for a further condition.
    @Test func aCatalogueOfTheFirstReleaseIsTakenOver() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/c.db"
        let former = try SQLiteConnection(.file(path))
        try former.migrate(Array(Schema.migrations.prefix(4)))
        let record = Fixture.record("s1")
        try former.run("INSERT INTO clusters (name, created) VALUES ('a', 0)")
        try former.run(
            """
            INSERT INTO snapshots (id, cluster, node, job, saved, stored, size, sha256, record, condition)
            VALUES ('s1', 'a', 'n1', 'j', 0, 0, 544, '00', ?, 'damaged')
            """, try JSON.text(record))
        former.close()
        let catalogue = try Fixture.catalogue(path: path)
        #expect(try await catalogue.snapshots() == [SnapshotEntry(record: record, condition: .damaged)])
        try await catalogue.mark("s1", .foreign, nil, by: "root")
        #expect(await code { try await catalogue.script("UPDATE snapshots SET condition = 'odd'") } == .conflict)
    }

    @Test func anUnreadableRowHidesNoOther() async throws {
        let catalogue = try await Fixture.fleet()
        try await catalogue.add(Fixture.record("s1"), by: "agent")
        try await catalogue.add(Fixture.record("s2"), by: "agent")
        try await catalogue.script("UPDATE snapshots SET record = '{' WHERE id = 's1'")
        #expect(try await catalogue.snapshots().map(\.record.id) == ["s2"])
    }

    @Test func aDiskThatIsReallyFull() async throws {
        let directory = try TemporaryDirectory()
        guard mount("tmpfs", directory.path, "tmpfs", 0, "size=2m,mode=0700") == 0 else {
            try Test.cancel("mounting a tmpfs is refused here (\(String(cString: strerror(errno))))")
        }
        defer { umount2(directory.path, Int32(MNT_DETACH)) }
        let catalogue = try Fixture.catalogue(path: directory.path + "/c.db")
        _ = try await catalogue.addCluster("before", by: "root")
        let filler = try Descriptor.open(directory.path + "/filler", O_WRONLY | O_CREAT)
        for size in [65536, 4096, 1] { while (try? filler.write([UInt8](repeating: 1, count: size))) != nil {} }
        // There may be some room left in the log's last page, not for so many.
        var failure: FleetError.Code?
        for i in 0..<1000 where failure == nil {
            failure = await code { _ = try await catalogue.addCluster("c\(i)", by: "root") }
        }
        #expect(failure == .noSpace)
        #expect(try await catalogue.clusters().contains { $0.name == "before" })
        try FileSystem.remove(directory.path + "/filler")
        try filler.close()
        // A child that another test is just starting has its copy of the descriptor until it runs its program.
        for _ in 0..<300 where try FileSystem.freeSpace(directory.path) < 1 << 20 {
            try await Task.sleep(for: .milliseconds(100))
        }
        _ = try await catalogue.addCluster("after", by: "root")
        #expect(try await catalogue.verifyAudit().isIntact)
        await catalogue.close()
        #expect(try await Fixture.catalogue(path: directory.path + "/c.db").cluster("after").name == "after")
    }

    @Test func everythingIsThereAfterReopening() async throws {
        let directory = try TemporaryDirectory()
        let catalogue = try await Fixture.fleet(path: directory.path + "/c.db")
        let job = try await catalogue.createBackup(cluster: "a", node: "n1", lifetime: .seconds(60), by: "root")
        await catalogue.close()
        let again = try Fixture.catalogue(path: directory.path + "/c.db")
        #expect(try await again.job(job.id) == job)
        #expect(try await again.verifyAudit().isIntact)
    }
}

extension Catalogue {
    /// Straight into the database, past everything that protects it.
    func script(_ sql: String) throws(FleetError) { try db.script(sql) }

    /// Jobs that are not finished, whatever their other columns hold.
    func openIDs() throws(FleetError) -> [String] {
        try db.all("SELECT id FROM jobs WHERE finished IS NULL ORDER BY id") { row throws(FleetError) in try row["id"] }
    }
}
