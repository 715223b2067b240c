import FleetCrypto
import FleetProtocol
import FleetReactor
import FleetSQLite
import FleetSystem
import FleetTLS
import RepositoryTestFiles
import Testing

@testable import FleetCoordinator

/// A coordinator that really listens, on loopback and on a socket, over a catalogue in memory.
final class TestServer: Sendable {
    let server: CoordinatorServer
    let catalogue: Catalogue
    /// The store's.
    let files = PowerCutFiles()
    private let directory: TemporaryDirectory
    private let running: CoordinatorServer.Running

    /// - Parameter schedulePause: long, where a test says itself which time it is for schedules.
    init(
        store wrap: (RepositoryStore) -> any SnapshotStore = { $0 }, schedulePause: Duration = .seconds(15)
    ) async throws {
        directory = try TemporaryDirectory()
        catalogue = try Catalogue(.memory)
        try KeyRing.create(in: directory.path + "/keys")
        let vault = Vault(
            store: wrap(try RepositoryStore.test("/s", files: files)), catalogue: catalogue, reserve: 0)
        var configuration = CoordinatorServer.Configuration(
            listen: .tcp(host: "127.0.0.1", port: 0), advertise: try Address("127.0.0.1:7400"),
            controlSocket: directory.path + "/control.sock", user: 0)
        configuration.schedulePause = schedulePause
        server = CoordinatorServer(
            configuration,
            catalogue: catalogue, vault: vault, keys: try KeyRing(directory: directory.path + "/keys"),
            programs: ProgramStore(directory: directory.path + "/programs"), log: .silent)
        running = try await server.start()
    }

    var programs: String { directory.path + "/programs" }
    var socket: String { "unix:\(directory.path)/control.sock" }

    func stop() async { await server.stop(running) }

    /// As root, or as whoever runs the tests.
    func operate() async throws -> Connection {
        try await Dialler.connect(
            .unix(path: directory.path + "/control.sock"), tls: nil, options: .init(software: "test"))
    }

    /// With a certificate of the fleet's authority, whether the catalogue knows of it or not.
    ///
    /// - Parameter lifetime: it has ended when this returns.
    func dial(
        _ grant: Grant, isKnown: Bool = true, as access: OperatorAccess = OperatorAccess(role: .admin),
        lifetime: Duration? = nil, heartbeat: Duration = .seconds(15),
        handler: @escaping Connection.Handler = Dialler.refuse
    ) async throws -> Connection {
        let key = try PrivateKey.generateP256()
        let keys = server.keys
        let request = try CertificateRequest(key: key, commonName: "test").pem
        let validity = lifetime ?? KeyRing.clientValidity
        var certificate = try keys.issue(grant, request: request, validity: validity)
        if isKnown {
            let secret = Randomness.token(20)
            switch grant {
            case .agent(let cluster, _):
                _ = try await catalogue.createToken(
                    secret: secret, role: .agent, cluster: cluster, lifetime: .seconds(60), by: "test")
            case .operator(let name):
                try await catalogue.operatorToken(name, secret: secret, access)
            }
            let name = if case .agent(_, let node) = grant { node } else { "" }
            let pem = try await catalogue.enrol(secret: secret, name: name, from: "test") { grant throws(FleetError) in
                let certificate = try keys.issue(grant, request: request, validity: validity)
                let record = CertificateRecord(
                    fingerprint: certificate.fingerprint, serial: certificate.serial, issued: .now(),
                    notAfter: certificate.notAfter)
                return (record, try certificate.pem())
            }.issued
            certificate = try X509Certificate(pem: pem)
        }
        while lifetime != nil, certificate.notAfter.adding(.seconds(1)) > .now() {
            try await Task.sleep(for: .milliseconds(200))
        }
        var options = Connection.Options(software: "test")
        options.heartbeat = heartbeat
        return try await Dialler.connect(
            try Address("127.0.0.1:\(running.port)"),
            tls: try TLSContext.client(
                identity: .init(certificate: certificate, key: key), authority: keys.authority.certificate),
            options: options, handler: handler)
    }

    /// What `fleetctl` is called with by an operator who has logged in.
    func login(_ name: String, as access: OperatorAccess = OperatorAccess(role: .admin)) async throws -> [String] {
        let key = try PrivateKey.generateP256()
        let request = try CertificateRequest(key: key, commonName: name).pem
        let (secret, keys) = (Randomness.token(20), server.keys)
        try await catalogue.operatorToken(name, secret: secret, access)
        let certificate = try await catalogue.enrol(secret: secret, name: "", from: "test") {
            grant throws(FleetError) in
            let certificate = try keys.issue(grant, request: request)
            return (keys.record(certificate), try certificate.pem())
        }.issued
        var words = ["--server", "127.0.0.1:\(running.port)"]
        for (option, text) in [
            ("certificate", certificate), ("key", try key.pem()), ("authority", try keys.authority.certificate.pem()),
        ] {
            let path = "\(directory.path)/\(name)-\(option)"
            try FileSystem.writeDurably(path, text.utf8)
            words += ["--\(option)", path]
        }
        return words
    }

    func events(_ action: String) async throws -> [AuditEvent] {
        try await catalogue.auditLog().map(\.event).filter { $0.action == action }
    }
}

@Suite("Server", .timeLimit(.minutes(5)))
struct ServerTests {
    @Test func everyRefusalOfAnOperatorsActIsOnRecordOnce() async throws {
        let server = try await TestServer()
        let connection = try await server.operate()
        func ask(_ method: String, _ request: some Encodable & Sendable) async -> FleetError.Code? {
            await code { _ = try await connection.call(method, request, as: Acknowledgement.self) }
        }
        _ = try await server.catalogue.addCluster("a", by: "root")
        let restore = RestoreRequest(
            cluster: "a", at: "latest", dryRun: false, fromOtherCluster: false, waitSeconds: 60)
        var odd = restore
        odd.waitSeconds = 1
        let cases: [(String, any Encodable & Sendable, FleetError.Code, cluster: String?)] = [
            (ControlMethod.previewRestore, restore, .notFound, "a"),
            (ControlMethod.startRestore, odd, .usage, "a"),
            (ControlMethod.startRestore, restore, .noAgent, "a"),
            (ControlMethod.startBackup, BackupRequest(cluster: "z"), .notFound, "z"),
            (
                ControlMethod.replaceMember,
                ReplaceRequest(cluster: "a", node: "n9", dryRun: false, waitSeconds: 60), .notFound, "a"
            ),
            (
                ControlMethod.replaceMember,
                ReplaceRequest(cluster: "a", node: "n9", dryRun: false, waitSeconds: 1), .usage, "a"
            ),
            (ControlMethod.agentToken, TokenRequest(name: "a", validSeconds: 1), .usage, "a"),
            (ControlMethod.exportSnapshot, NameRequest(name: "s1"), .notFound, nil),
            // Before anybody is asked, not after.
            (ControlMethod.previewUndo, UndoRequest(job: "j1", dryRun: false, waitSeconds: 60), .notFound, nil),
            (ControlMethod.previewCleanup, CleanupRequest(job: "j1", dryRun: false), .notFound, nil),
        ]
        for (method, request, expected, cluster) in cases {
            let before = try await server.events(method).count
            #expect(await ask(method, request) == expected)
            let events = try await server.events(method)
            #expect(events.count == before + 1, "\(method)")
            #expect(events.last?.outcome == .refused)
            #expect(events.last?.cluster == cluster)
        }
        for (isDry, expected) in [(true, "true"), (false, nil)] {
            var wish = restore
            wish.dryRun = isDry
            #expect(await ask(ControlMethod.startRestore, wish) == .noAgent)
            #expect(try await server.events(ControlMethod.startRestore).last?.detail["dryRun"] == expected)
        }
        // The catalogue has recorded this one already.
        #expect(await ask(ControlMethod.addCluster, NameRequest(name: "a")) == .alreadyExists)
        #expect(try await server.events("cluster.add").count == 2)
        #expect(await ask(ControlMethod.showJob, NameRequest(name: "nothing")) == .notFound)
        #expect(try await server.events(ControlMethod.showJob).isEmpty)
        await server.stop()
    }

    /// What the coordinator takes, no agent may refuse.
    @Test(arguments: [(5, FleetError.Code.usage), (9, .usage), (10, .noAgent), (3600, .noAgent), (3601, .usage)])
    func waitsAreThoseThatAgentsTake(_ seconds: Int, _ expected: FleetError.Code) async throws {
        let server = try await TestServer()
        _ = try await server.catalogue.addCluster("a", by: "root")
        let root = try await server.operate()
        let request = RestoreRequest(
            cluster: "a", at: "latest", dryRun: false, fromOtherCluster: false, waitSeconds: seconds)
        #expect(
            await code { _ = try await root.call(ControlMethod.startRestore, request, as: JobRecord.self) } == expected)
        await server.stop()
    }

    @Test func aRevokedAgentIsCutOffAtOnce() async throws {
        let server = try await TestServer()
        _ = try await server.catalogue.addCluster("a", by: "root")
        let node = NodeName(cluster: "a", node: "n1")
        let agent = try await server.dial(.agent(cluster: "a", node: "n1"))
        let _: Acknowledgement = try await agent.call(Method.register, Fixture.registration())
        #expect(await server.server.sessions.connected == [node])
        let root = try await server.operate()
        let request = RevokeRequest(cluster: "a", name: "n1")
        let reply: RevokeReply = try await root.call(ControlMethod.revokeAgent, request)
        #expect(reply.certificates == 1)
        _ = await agent.closed()
        #expect(
            await code { _ = try await root.call(ControlMethod.revokeAgent, request, as: RevokeReply.self) }
                == .notFound)
        let events = try await server.events("certificate.revoke")
        #expect(events.map(\.outcome) == [.ok, .refused])
        #expect(try await server.events(ControlMethod.revokeAgent).isEmpty)
        #expect(
            await code {
                _ = try await root.call(ControlMethod.revokeAgent, RevokeRequest(name: "n1"), as: RevokeReply.self)
            } == .usage)
        #expect(try await server.events(ControlMethod.revokeAgent).map(\.outcome) == [.refused])
        await server.stop()
    }

    /// An agent that does not answer for a while has the job all the same: a second copy behind it could only be refused.
    @Test func oneCopyOfAJobIsOnAConnection() async throws {
        let server = try await TestServer()
        _ = try await server.catalogue.addCluster("a", by: "root")
        let (copies, isReleased) = (Monitor(0), Monitor(false))
        let agent = try await server.dial(.agent(cluster: "a", node: "n1")) { stream in
            let copy = copies.withLock { copies in
                copies += 1
                return copies
            }
            if copy > 1 { return await stream.fail(FleetError(.busy, "at this very job")) }
            while !isReleased.withLock({ $0 }) { try? await Task.sleep(for: .milliseconds(5)) }
            try? await stream.finish(Acknowledgement())
        }
        let _: RegisterReply = try await agent.call(Method.register, Fixture.registration())
        let record = try await server.catalogue.createBackup(
            cluster: "a", node: "n1", lifetime: .seconds(600), by: "root")
        let job = try await server.catalogue.message(record.id)
        async let first: Void = server.server.deliver(job)
        while copies.withLock({ $0 }) == 0 { try await Task.sleep(for: .milliseconds(5)) }
        await server.server.deliver(job)
        isReleased.withLock { $0 = true }
        await first
        let sent = copies.withLock { $0 }
        #expect(sent == 1)
        #expect(try await server.catalogue.job(record.id).state == .running)
        await server.stop()
    }

    /// The old one has not noticed yet that it is dead, and what it still had on its way arrives behind the new one's word.
    @Test func aConnectionThatWasReplacedSaysNothingMore() async throws {
        let server = try await TestServer()
        _ = try await server.catalogue.addCluster("a", by: "root")
        let (grant, node) = (Grant.agent(cluster: "a", node: "n1"), NodeName(cluster: "a", node: "n1"))
        let sessions = AgentSessions()
        let (old, new) = (try await server.dial(grant), try await server.dial(grant))
        #expect(try await sessions.meet(node, old))
        #expect(try await sessions.meet(node, old), "its word is not recorded yet")
        #expect(await sessions.connected.isEmpty)
        await sessions.registered(node, old)
        #expect(try await !sessions.meet(node, old))
        #expect(try await sessions.meet(node, new))
        #expect(await old.isClosed)
        #expect(await sessions.connection(node) == nil)
        await sessions.registered(node, old)
        #expect(await sessions.connected.isEmpty)
        #expect(await code { _ = try await sessions.meet(node, old) } == .connectionLost)
        await sessions.registered(node, new)
        #expect(await sessions.connection(node) === new)
        #expect(await !sessions.remove(node, old))
        #expect(await sessions.remove(node, new))
        #expect(await code { _ = try await sessions.meet(node, old) } == .connectionLost, "nor when that is gone")
        await server.stop()
    }

    /// Not when it last had something to say.
    @Test func anAgentWasLastSeenAtItsLastHeartbeat() async throws {
        let server = try await TestServer()
        _ = try await server.catalogue.addCluster("a", by: "root")
        let agent = try await server.dial(.agent(cluster: "a", node: "n1"), heartbeat: .milliseconds(50))
        let _: RegisterReply = try await agent.call(Method.register, Fixture.registration())
        let root = try await server.operate()
        func seen() async throws -> AgentRecord {
            try #require(try await root.call(ControlMethod.listAgents, ListRequest(), as: [AgentRecord].self).first)
        }
        func recorded() async throws -> Timestamp? { try await server.catalogue.agents()[0].lastSeen }
        let first = try await seen()
        let registered = try await recorded()
        try await Task.sleep(for: .milliseconds(500))
        let second = try await seen()
        let (before, after) = (try #require(first.lastSeen), try #require(second.lastSeen))
        #expect(after.since(before) >= .milliseconds(300))
        #expect(second.connectedSince == first.connectedSince && first.connectedSince != nil)
        let still = try await recorded()
        #expect(still == registered, "not each heartbeat is written down")
        await server.server.keepSightingsNow()
        let written = try #require(try await recorded())
        #expect(written >= second.lastSeen!)
        try await Task.sleep(for: .milliseconds(300))
        let last = try #require(try await seen().lastSeen)
        await agent.close(FleetError("gone", "gone"))
        var kept = try await recorded()
        for _ in 0..<100 {
            if let time = kept, time >= last { break }
            try await Task.sleep(for: .milliseconds(20))
            kept = try await recorded()
        }
        #expect(try #require(kept) >= last, "a coordinator that begins anew knows it")
        let away = try await seen()
        #expect(!away.connected && away.connectedSince == nil && away.lastSeen == kept)
        await server.stop()
    }

    @Test func aRevokedOperatorIsNotServedAnyMore() async throws {
        let server = try await TestServer()
        let alice = try await server.dial(.operator(name: "alice"))
        #expect(
            await code {
                let request = TokenRequest(name: "mallory", validSeconds: 3600)
                _ = try await alice.call(ControlMethod.operatorToken, request, as: TokenReply.self)
            } == .permissionDenied, "she would be two people")
        let _: FleetStatus = try await alice.call(ControlMethod.status, ListRequest())
        let root = try await server.operate()
        // Whose agent it is decides what the cluster's backups are of.
        _ = try await server.catalogue.addCluster("locked", by: "root")
        let agentToken = TokenRequest(name: "locked", validSeconds: 3600)
        let _: TokenReply = try await alice.call(ControlMethod.agentToken, agentToken)
        try await server.catalogue.protect("locked", true, by: "operator:alice")
        #expect(
            await code { _ = try await alice.call(ControlMethod.agentToken, agentToken, as: TokenReply.self) }
                == .permissionDenied)
        let _: TokenReply = try await root.call(ControlMethod.agentToken, agentToken)
        let _: RevokeReply = try await root.call(ControlMethod.revokeOperator, RevokeRequest(name: "alice"))
        #expect(
            await code { _ = try await alice.call(ControlMethod.status, ListRequest(), as: FleetStatus.self) }
                == .certificateRevoked)
        let turnedAway = try await server.events("identify")
        #expect(turnedAway.last?.actor == "operator:alice", "by name, since it was given out")
        #expect(turnedAway.last?.detail["certificate"]?.count == 64)
        await server.stop()
    }

    /// The handshake could not tell them; and that they came is on record.
    @Test(arguments: [Grant.operator(name: "alice"), .agent(cluster: "a", node: "n1")])
    func aCertificateThatHasEndedIsRefusedByName(_ grant: Grant) async throws {
        let server = try await TestServer()
        _ = try await server.catalogue.addCluster("a", by: "root")
        let late = try await server.dial(grant, lifetime: .seconds(1))
        do {
            switch grant {
            case .operator: _ = try await late.call(ControlMethod.status, ListRequest(), as: FleetStatus.self)
            case .agent: _ = try await late.call(Method.register, Fixture.registration(), as: RegisterReply.self)
            }
            Issue.record("it was let in")
        } catch {
            #expect(error.code == .certificateExpired && error.message.contains("expired at"), "\(error)")
            #expect(error.hint?.contains("token") == true, "\(error)")
        }
        let event = try #require(try await server.events("identify").last)
        #expect(event.outcome == .refused)
        #expect(event.actor == (grant == .operator(name: "alice") ? "operator:alice" : "agent:a/n1"))
        // One that nobody gave out is unknown, ended or not.
        let mallory = try await server.dial(.operator(name: "mallory"), isKnown: false, lifetime: .seconds(1))
        #expect(
            await code { _ = try await mallory.call(ControlMethod.status, ListRequest(), as: FleetStatus.self) }
                == .certificateUnknown)
        await server.stop()
    }

    @Test func whoComesAgainAndAgainIsToldOnceAnHour() {
        var turned = TurnedAway()
        let start = Timestamp("2026-11-30T03:00:00Z")!
        func isFirst(_ who: String, _ seconds: Int) -> Bool { turned.isFirst(who, at: start.adding(.seconds(seconds))) }
        #expect(isFirst("a", 0) && !isFirst("a", 60) && isFirst("b", 60))
        #expect(!isFirst("a", 3599) && isFirst("a", 3600) && !isFirst("a", 3601))
        #expect(isFirst("a", -86_400), "a clock that was ahead")
    }

    @Test func whoIsNotLetInIsOnRecordAsFarAsTheBudgetGoes() async throws {
        let server = try await TestServer()
        let stranger = try await server.dial(.operator(name: "mallory"), isKnown: false)
        for _ in 0..<RefusalBudget.perMinute + 10 {
            #expect(
                await code {
                    _ = try await stranger.call(ControlMethod.status, ListRequest(), as: FleetStatus.self)
                } == .certificateUnknown)
        }
        let events = try await server.events("identify")
        #expect((1...2 * RefusalBudget.perMinute).contains(events.count))
        #expect(events.first?.outcome == .refused)
        #expect(events.first?.actor.hasPrefix("certificate:") == true)
        #expect(events.first?.detail["method"] == ControlMethod.status)
        await server.stop()
    }
}
