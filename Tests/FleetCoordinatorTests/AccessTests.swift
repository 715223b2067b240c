import EtcdSampleFiles
import FleetCrypto
import FleetProtocol
import FleetReactor
import FleetSystem
import FleetTLS
import Testing

@testable import FleetCoordinator

/// Who may ask what, against a whole coordinator on loopback.
@Suite(.timeLimit(.minutes(2))) struct AccessTests {
    struct Running: Sendable {
        let server: CoordinatorServer
        let running: CoordinatorServer.Running
        let place: TemporaryDirectory
        var address: Address { .tcp(host: "127.0.0.1", port: running.port) }

        init() async throws {
            place = try TemporaryDirectory()
            let directory = DataDirectory(path: place.path + "/data")
            try directory.create(.init(advertise: "127.0.0.1:7400", listen: "127.0.0.1:7400"))
            let vault = try openVault(directory, log: .silent)
            server = CoordinatorServer(
                .init(
                    listen: .tcp(host: "127.0.0.1", port: 0), advertise: .tcp(host: "127.0.0.1", port: 1),
                    controlSocket: nil, user: 0),
                catalogue: vault.catalogue, vault: vault, keys: try KeyRing(directory: directory.keys), log: .silent)
            running = try await server.start()
            _ = try await server.catalogue.addCluster("a", by: "test")
        }

        func stop() async { await server.stop(running) }

        /// A client that enrolled with a token of its own.
        func enrolled(_ role: Role, _ name: String) async throws -> TLSContext {
            let token = JoinToken(address: address, authorityFingerprint: server.keys.authority.certificate.fingerprint)
            if role == .operator {
                try await server.catalogue.operatorToken(name, secret: token.secret)
            } else {
                _ = try await server.catalogue.createToken(
                    secret: token.secret, role: role, cluster: "a", lifetime: .seconds(60), by: "test")
            }
            let result = try await Enrollment.redeem(token, name: name, role: role, software: "test")
            return try TLSContext.client(
                identity: .init(certificate: try X509Certificate(pem: result.reply.certificate), key: result.key),
                authority: try X509Certificate(pem: result.reply.authority))
        }

        func connect(_ tls: TLSContext) async throws -> Connection {
            try await Dialler.connect(address, tls: tls, options: .init(software: "test"))
        }
    }

    private func refusal(_ connection: Connection, _ method: String, _ request: some Encodable & Sendable) async
        -> FleetError.Code?
    {
        do { let _: Acknowledgement = try await connection.call(method, request) } catch { return error.code }
        return nil
    }

    @Test func anAgentIsNoOperatorAndAnOperatorIsNoAgent() async throws {
        let fleet = try await Running()
        let agent = try await fleet.connect(try await fleet.enrolled(.agent, "node-1"))
        for method in [
            ControlMethod.listClusters, ControlMethod.startRestore, ControlMethod.exportSnapshot,
            ControlMethod.agentToken, Method.enroll,
        ] {
            #expect(await refusal(agent, method, NameRequest(name: "a")) == .unknownMethod, "\(method)")
        }
        let operators = try await fleet.connect(try await fleet.enrolled(.operator, "alice"))
        for method in [Method.register, Method.event, Method.upload, Method.fetch] {
            #expect(await refusal(operators, method, NameRequest(name: "a")) == .unknownMethod, "\(method)")
        }
        let clusters: [ClusterRecord] = try await operators.call(ControlMethod.listClusters, ListRequest())
        #expect(clusters.map(\.name) == ["a"])
        await fleet.stop()
    }

    @Test func whoHasNoCertificateMayOnlyEnroll() async throws {
        let fleet = try await Running()
        let stranger = try await Dialler.connect(
            fleet.address, tls: try TLSContext.enrolling(),
            authorityFingerprint: fleet.server.keys.authority.certificate.fingerprint,
            options: .init(software: "test"))
        for method in [ControlMethod.listClusters, Method.register, Method.upload, "nonsense"] {
            #expect(await refusal(stranger, method, NameRequest(name: "a")) == .permissionDenied, "\(method)")
        }
        #expect(
            await refusal(stranger, Method.enroll, EnrollRequest(token: "0", name: "n", request: "x")) == .tokenUnknown)
        await fleet.stop()
    }

    @Test func whoOffersNoGoodTokensIsSentAway() async throws {
        let fleet = try await Running()
        func stranger() async throws -> Connection {
            try await Dialler.connect(
                fleet.address, tls: try TLSContext.enrolling(),
                authorityFingerprint: fleet.server.keys.authority.certificate.fingerprint,
                options: .init(software: "test"))
        }
        let request = EnrollRequest(token: "0", name: "n", request: "x")
        let one = try await stranger()
        for _ in 0..<FailedAttempts.limit { #expect(await refusal(one, Method.enroll, request) == .tokenUnknown) }
        #expect(await !one.isClosed)
        // From then on each guess costs a connection.
        for _ in 0..<2 {
            let next = try await stranger()
            _ = await refusal(next, Method.enroll, request)
            _ = await next.closed()
        }
        // Others come from the same address.
        _ = try await fleet.enrolled(.agent, "node-1")
        let event = try #require(try await fleet.server.catalogue.auditLog().last { $0.event.action == "enrol" })
        #expect(event.event.outcome == .ok && event.event.detail["peer"] == "127.0.0.1")
        await fleet.stop()
    }

    /// A token that is used for the wrong thing is refused, and is as good as before for the right one.
    @Test func aTokenOfAnotherKindIsNotSpent() async throws {
        let fleet = try await Running()
        let token = JoinToken(
            address: fleet.address, authorityFingerprint: fleet.server.keys.authority.certificate.fingerprint)
        _ = try await fleet.server.catalogue.createToken(
            secret: token.secret, role: .agent, cluster: "a", lifetime: .seconds(60), by: "test")
        #expect(
            await code {
                _ = try await Enrollment.redeem(token, name: "operator", role: .operator, software: "test")
            } == .usage)
        #expect(try await fleet.server.catalogue.agents().isEmpty)
        let joined = try await Enrollment.redeem(token, name: "n1", role: .agent, software: "test")
        #expect(joined.reply.cluster == "a")
        await fleet.stop()
    }

    @Test func aRevokedCertificateCountsForNothingAtOnce() async throws {
        let fleet = try await Running()
        let connection = try await fleet.connect(try await fleet.enrolled(.operator, "mallory"))
        #expect(await refusal(connection, ControlMethod.addCluster, NameRequest(name: "b")) != .certificateRevoked)
        _ = try await fleet.server.catalogue.revoke(.operator(name: "mallory"), by: "test")
        #expect(await refusal(connection, ControlMethod.addCluster, NameRequest(name: "c")) == .certificateRevoked)
        #expect(try await fleet.server.catalogue.clusters().map(\.name) == ["a", "b"])
        await fleet.stop()
    }

    private func isClosedSoon(_ connection: Connection) async throws -> Bool {
        for _ in 0..<500 where await !connection.isClosed { try await Task.sleep(for: .milliseconds(10)) }
        return await connection.isClosed
    }

    /// Its agent was not restarted, or another machine has its name now: jobs must not go to who can't tell of them.
    @Test func aNodeThatIsEnrolledAnewIsNotHeardAsBefore() async throws {
        let fleet = try await Running()
        let node = NodeName(cluster: "a", node: "node-1")
        let former = try await fleet.connect(try await fleet.enrolled(.agent, "node-1"))
        let other = try await fleet.connect(try await fleet.enrolled(.agent, "node-2"))
        for agent in [former, other] {
            let _: RegisterReply = try await agent.call(Method.register, Fixture.registration())
        }
        let renewed = try await fleet.enrolled(.agent, "node-1")
        #expect(try await isClosedSoon(former))
        #expect(await former.closed().code == .certificateRevoked)
        for _ in 0..<500 where await fleet.server.sessions.connected.contains(node) {
            try await Task.sleep(for: .milliseconds(10))
        }
        #expect(try await fleet.server.agents().filter(\.connected).map(\.node) == ["node-2"])
        let present = try await fleet.connect(renewed)
        let _: RegisterReply = try await present.call(Method.register, Fixture.registration())
        #expect(await fleet.server.sessions.connection(node) != nil)
        #expect(await !other.isClosed)
        await fleet.stop()
    }

    /// Also on a connection on which it has said nothing of itself.
    @Test func aTransferEndsWithTheCertificateOfItsNode() async throws {
        let fleet = try await Running()
        let identity = try await fleet.enrolled(.agent, "node-1")
        let (agent, other) = (try await fleet.connect(identity), try await fleet.connect(identity))
        let silent = try await fleet.connect(identity)
        let _: RegisterReply = try await agent.call(Method.register, Fixture.registration())
        let job = try await fleet.server.catalogue.createBackup(
            cluster: "a", node: "node-1", lifetime: .seconds(600), by: "test")
        let sample = try SampleSnapshot(etcd: job.snapshot, .rich(), job: job.id)
        let request = UploadRequest(job: job.id, snapshot: job.snapshot, facts: sample.record.facts)
        let upload = try await other.open(Method.upload, try JSON.encode(request))
        #expect(try await upload.receiveMessage(UploadOffset.self).offset == 0)
        let admin = try await fleet.connect(try await fleet.enrolled(.operator, "alice"))
        let _: RevokeReply = try await admin.call(
            ControlMethod.revokeAgent, RevokeRequest(cluster: "a", name: "node-1"))
        #expect(try await isClosedSoon(agent))
        #expect(try await isClosedSoon(other))
        #expect(try await isClosedSoon(silent), "whatever it was made for")
        await fleet.stop()
    }

    /// However it came to that: it does not count as connected until it gives up by itself.
    @Test func whoHasNoGoodCertificateIsNotConnected() async throws {
        let fleet = try await Running()
        let agent = try await fleet.connect(try await fleet.enrolled(.agent, "node-1"))
        let _: RegisterReply = try await agent.call(Method.register, Fixture.registration())
        _ = try await fleet.server.catalogue.revoke(.agent(cluster: "a", node: "node-1"), by: "test")
        #expect(await refusal(agent, Method.register, Fixture.registration()) == .certificateRevoked)
        #expect(try await isClosedSoon(agent))
        await fleet.stop()
    }

    @Test func anAgentGetsNoSnapshotThatNoJobOfItsOwnNames() async throws {
        let fleet = try await Running()
        let agent = try await fleet.connect(try await fleet.enrolled(.agent, "node-1"))
        let request = FetchRequest(job: "20261124-065510-aaaa", snapshot: "20261124-065510-bbbb", offset: 0)
        #expect(await refusal(agent, Method.fetch, request) == .notFound)
        #expect(
            await refusal(agent, Method.fetch, FetchRequest(job: "../../keys", snapshot: "../authority", offset: 0))
                == .notFound)
        await fleet.stop()
    }

    /// What an agent should not have is refused, and that is on record.
    @Test func anAgentThatReachesForMoreIsOnRecord() async throws {
        let fleet = try await Running()
        let one = try await fleet.connect(try await fleet.enrolled(.agent, "node-1"))
        let two = try await fleet.connect(try await fleet.enrolled(.agent, "node-2"))
        for agent in [one, two] {
            let _: RegisterReply = try await agent.call(Method.register, Fixture.registration())
        }
        let catalogue = fleet.server.catalogue
        let job = try await catalogue.createBackup(
            cluster: "a", node: "node-1", lifetime: .seconds(600), by: "test")
        #expect(
            await refusal(two, Method.fetch, FetchRequest(job: job.id, snapshot: job.snapshot, offset: 0)) == .notFound)
        #expect(await refusal(two, ControlMethod.status, ListRequest()) == .unknownMethod)
        let refused = try await catalogue.auditLog(AuditFilter()).map(\.event).filter { $0.outcome == .refused }
        #expect(refused.map(\.action) == ["job.access", "request"])
        #expect(refused.allSatisfy { $0.actor == "agent:a/node-2" && $0.cluster == "a" }, "\(refused)")
        #expect(refused.first?.subject == job.id && refused.last?.detail["method"] == ControlMethod.status)
        await fleet.stop()
    }

    @Test func requestsThatAreNoRequests() async throws {
        let fleet = try await Running()
        let connection = try await fleet.connect(try await fleet.enrolled(.operator, "alice"))
        for body in ["", "null", "[1,2", #"{"name":7}"#, String(repeating: "[", count: 100_000)] {
            let stream = try await connection.open(ControlMethod.addCluster, Array(body.utf8), ends: true)
            await #expect { _ = try await stream.receiveReply() } throws: { ($0 as? FleetError)?.code == .malformed }
        }
        let _: [ClusterRecord] = try await connection.call(ControlMethod.listClusters, ListRequest())
        await fleet.stop()
    }

    @Test func aCertificateIsOfOneNodeOfOneCluster() throws {
        let directory = try TemporaryDirectory()
        try KeyRing.create(in: directory.path + "/keys")
        let keys = try KeyRing(directory: directory.path + "/keys")
        let request = try CertificateRequest(key: try PrivateKey.generateP256(), commonName: "liar").pem
        let agent = try keys.issue(.agent(cluster: "a", node: "n1"), request: request)
        #expect(agent.names(.agent(cluster: "a", node: "n1")))
        #expect(!agent.names(.agent(cluster: "b", node: "n1")))
        #expect(!agent.names(.agent(cluster: "a", node: "n2")))
        #expect(!agent.names(.operator(name: "n1")))
        let person = try keys.issue(.operator(name: "n1"), request: request)
        #expect(person.names(.operator(name: "n1")) && !person.names(.operator(name: "n2")))
        #expect(!person.names(.agent(cluster: "a", node: "n1")))
    }
}
