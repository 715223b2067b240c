import FleetCrypto
import FleetProtocol
import FleetReactor
import FleetSQLite
import FleetSystem
import FleetTLS
import RepositoryTestFiles
import Testing

@testable import FleetCoordinator

/// An authority that another one follows, while those who know only the first go on.
@Suite("Authority", .timeLimit(.minutes(5)))
struct AuthorityTests {
    private let directory: TemporaryDirectory
    private let catalogue: Catalogue
    private var keys: String { directory.path + "/keys" }

    init() throws {
        directory = try TemporaryDirectory()
        catalogue = try Catalogue(.memory)
        try KeyRing.create(in: keys)
    }

    private struct Client {
        var key: PrivateKey
        var certificate: X509Certificate
        var authority: X509Certificate
    }

    /// As a coordinator that was started with the keys as they are now.
    private func serving(_ body: (KeyRing, Address) async throws -> Void) async throws {
        let ring = try KeyRing(directory: keys)
        let vault = Vault(
            store: try RepositoryStore.test("/s", files: PowerCutFiles()), catalogue: catalogue, reserve: 0)
        let server = CoordinatorServer(
            .init(
                listen: .tcp(host: "127.0.0.1", port: 0), advertise: try Address("127.0.0.1:7400"), controlSocket: nil,
                user: 0), catalogue: catalogue, vault: vault, keys: ring, log: .silent)
        let running = try await server.start()
        try await body(ring, try Address("127.0.0.1:\(running.port)"))
        await server.stop(running)
    }

    private func dial(_ address: Address, _ client: Client) async throws -> Connection {
        try await Dialler.connect(
            address,
            tls: try TLSContext.client(
                identity: .init(certificate: client.certificate, key: client.key), authority: client.authority),
            options: .init(software: "test"), handler: Dialler.refuse)
    }

    private func enrol(_ node: String, _ ring: KeyRing) async throws -> Client {
        let secret = Randomness.token(20)
        _ = try await catalogue.createToken(
            secret: secret, role: .agent, cluster: "a", lifetime: .seconds(60), by: "test")
        let key = try PrivateKey.generateP256()
        let request = try CertificateRequest(key: key, commonName: node).pem
        let pem = try await catalogue.enrol(secret: secret, name: node, from: "test") { grant throws(FleetError) in
            let certificate = try ring.issue(grant, request: request)
            return (ring.record(certificate), try certificate.pem())
        }.issued
        return Client(key: key, certificate: try X509Certificate(pem: pem), authority: ring.authority.certificate)
    }

    private func register(_ connection: Connection) async throws -> String? {
        try await connection.call(Method.register, Fixture.registration(), as: RegisterReply.self).authority
    }

    /// A coordinator that nobody restarts for years is still one.
    @Test func theServersCertificateEndsWithTheAuthority() throws {
        let ring = try KeyRing(directory: keys)
        let end = ring.authority.certificate.notAfter
        for start in [Timestamp.now(), Timestamp.now().adding(.seconds(5 * 365 * 86_400))] {
            let certificate = try ring.serverCertificate(try PrivateKey.generateP256(), now: start)
            #expect(certificate.isSigned(by: ring.authority.certificate))
            #expect(abs(certificate.notAfter.since(end).seconds) <= 1)
        }
    }

    @Test func everybodyComesOverWithoutAVisit() async throws {
        _ = try await catalogue.addCluster("a", by: "test")
        var (client, other): (Client?, Client?)
        let first = try KeyRing(directory: keys)
        try await serving { (ring: KeyRing, address: Address) async throws in
            client = try await enrol("n1", ring)
            other = try await enrol("n2", ring)
            #expect(try await register(try await dial(address, client!)) == first.authority.certificate.fingerprint)
        }
        let made = try await AuthorityRotation.rotate(in: keys)
        #expect(made.fingerprint != first.authority.certificate.fingerprint)
        #expect(try KeyRing(directory: keys).jobKey == first.jobKey)
        await #expect(throws: FleetError.self, "one at a time") { try await AuthorityRotation.rotate(in: keys) }

        var renewed: Client?
        try await serving { (ring: KeyRing, address: Address) async throws in
            #expect(ring.authority.certificate.fingerprint == made.fingerprint)
            // Who knows only the first trusts the second, and is told of it.
            let connection = try await dial(address, client!)
            #expect(try await register(connection) == made.fingerprint)
            #expect(try await catalogue.notYet(under: made.fingerprint).agents == ["a/n1", "a/n2"])
            let key = try PrivateKey.generateP256()
            let request = RenewRequest(request: try CertificateRequest(key: key, commonName: "n1").pem)
            let reply = try await connection.call(Method.renew, request, as: EnrollReply.self)
            let statement = try #require(reply.statement)
            let job = try VerifyingKey(raw: [UInt8](base64: ring.jobKey) ?? [])
            let next = try X509Certificate(pem: try statement.authority(verifiedBy: job).authority)
            #expect(next.fingerprint == made.fingerprint)
            let stranger = try VerifyingKey(raw: try PrivateKey.generateEd25519().rawPublicKey())
            #expect(throws: FleetError.self) { try statement.authority(verifiedBy: stranger) }
            #expect(throws: FleetError.self, "it is no job") { try statement.job(verifiedBy: job) }
            let certificate = try X509Certificate(pem: reply.certificate)
            #expect(certificate.isSigned(by: next) && !certificate.isSigned(by: client!.authority))
            renewed = Client(key: key, certificate: certificate, authority: next)
            #expect(try await register(try await dial(address, renewed!)) == made.fingerprint)
            #expect(try await catalogue.notYet(under: made.fingerprint).agents == ["a/n2"])
            // Whoever comes new knows only the second.
            #expect(try await register(try await dial(address, try await enrol("n3", ring))) == made.fingerprint)
            // Of the new authority and young: as ever.
            let again = try await dial(address, renewed!)
            #expect(await code { _ = try await again.call(Method.renew, request, as: EnrollReply.self) } == .busy)
        }

        try AuthorityRotation.retire(in: keys)
        #expect(await code { try AuthorityRotation.retire(in: keys) } == .notFound)
        try await serving { (ring: KeyRing, address: Address) async throws in
            let former = ring.former
            #expect(former == nil)
            let known = try await register(try await dial(address, renewed!))
            #expect(known == made.fingerprint)
            await #expect(throws: FleetError.self, "it knows only the first") { try await dial(address, other!) }
            // Also where it has learned whom to trust, the first one's word is good no more.
            var late = other!
            late.authority = made
            await #expect(throws: FleetError.self) { _ = try await register(try await dial(address, late)) }
        }
        // And once more.
        let third = try await AuthorityRotation.rotate(in: keys)
        try await serving { (_: KeyRing, address: Address) async throws in
            let known = try await register(try await dial(address, renewed!))
            #expect(known == third.fingerprint)
        }
    }

    /// Whatever was written when the power failed, one authority is in force, with its key.
    @Test func cutOffAnywhereOneIsInForce() async throws {
        let before = try KeyRing(directory: keys).authority.certificate.fingerprint
        let present = try FileSystem.list(keys).map { ($0, try! FileSystem.read("\(keys)/\($0)")) }
        let made = try await AuthorityRotation.rotate(in: keys).fingerprint
        let written = ["former-authority.crt", "authority-by-former.crt", "authority.crt.new", "authority.key"]
        var after = Dictionary(
            uniqueKeysWithValues: try FileSystem.list(keys).map { ($0, try! FileSystem.read("\(keys)/\($0)")) })
        after["authority.crt.new"] = after["authority.crt"]
        for count in 0...written.count {
            let place = directory.path + "/cut-\(count)"
            try FileSystem.makeDirectories(place)
            for (name, bytes) in present { try FileSystem.writeDurably("\(place)/\(name)", bytes) }
            for name in written.prefix(count) { try FileSystem.writeDurably("\(place)/\(name)", after[name]!) }
            let ring = try KeyRing(directory: place)
            let (isOver, former) = (count == written.count, ring.former)
            #expect(ring.authority.certificate.fingerprint == (isOver ? made : before), "\(count)")
            #expect((former == nil) == !isOver)
            if !isOver { try await AuthorityRotation.rotate(in: place) }
            #expect(try KeyRing(directory: place).former?.authority.fingerprint == before)
        }
    }

    @Test func whoMayNotVouchSaysSo() async throws {
        // As authorities were made before there was a rotation.
        let made = try Subprocess.run(
            "/usr/bin/openssl",
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                "/O=fleet:authority/CN=old", "-addext", "basicConstraints=critical,CA:TRUE,pathlen:0", "-days", "9",
                "-keyout", "\(keys)/authority.key", "-out", "\(keys)/authority.crt",
            ])
        try #require(made.succeeded, "\(made.complaint)")
        for file in ["authority.key", "authority.crt"] { try FileSystem.setMode("\(keys)/\(file)", 0o600) }
        let error = await #expect(throws: FleetError.self) { try await AuthorityRotation.rotate(in: keys) }
        #expect(error?.hint?.contains("anew") == true)
        #expect(try KeyRing(directory: keys).former == nil)
    }
}

extension AuthorityTests {
    /// A certificate ends with the authority that issued it, whatever stands in it.
    @Test func certificatesOfARetiredAuthorityAreTold() async throws {
        func records() throws -> (ring: KeyRing, made: CertificateRecord) {
            let ring = try KeyRing(directory: keys)
            let request = try CertificateRequest(key: PrivateKey.generateP256(), commonName: "alice").pem
            return (ring, ring.record(try ring.issue(.operator(name: "alice"), request: request)))
        }
        let (first, old) = try records()
        // As a coordinator wrote it down that knew of no other authority.
        var older = old
        older.authority = nil
        #expect(first.vouches(for: old) && first.vouches(for: older))
        older.issued = first.authority.certificate.notBefore.adding(.seconds(-1))
        try await AuthorityRotation.rotate(in: keys)
        let (second, new) = try records()
        #expect(second.vouches(for: old) && second.vouches(for: new) && !second.vouches(for: older))
        try AuthorityRotation.retire(in: keys)
        let third = try KeyRing(directory: keys)
        #expect(!third.vouches(for: old) && third.vouches(for: new))
        // As people see it.
        try await catalogue.operatorToken("alice", secret: "s")
        _ = try await catalogue.enrol(secret: "s", name: "", from: "test") { _ throws(FleetError) in (old, "") }
        try await serving { (ring: KeyRing, address: Address) async throws in
            let bob = try await dial(address, try await person("bob", ring))
            let all: [OperatorRecord] = try await bob.call(ControlMethod.listOperators, ListRequest())
            #expect(all.map(\.name) == ["alice", "bob"] && all.map(\.certificate?.isRetired) == [true, nil])
        }
    }

    private func person(_ name: String, _ ring: KeyRing) async throws -> Client {
        let secret = Randomness.token(20)
        try await catalogue.operatorToken(name, secret: secret)
        let key = try PrivateKey.generateP256()
        let request = try CertificateRequest(key: key, commonName: name).pem
        let pem = try await catalogue.enrol(secret: secret, name: "", from: "test") { grant throws(FleetError) in
            let certificate = try ring.issue(grant, request: request)
            return (ring.record(certificate), try certificate.pem())
        }.issued
        return Client(key: key, certificate: try X509Certificate(pem: pem), authority: ring.authority.certificate)
    }
}
