import FleetCrypto
import FleetProtocol
import FleetReactor
import FleetSystem
import Testing

@testable import FleetAgent

/// Who an agent is, on its disk.
@Suite("Identity") struct IdentityTests {
    private let authority: CertificateAuthority
    private let tree: NodeTree
    private var directory: String { tree.root + "/identity" }

    init() throws {
        let made = try CertificateAuthority.create(name: "test fleet", validity: .seconds(86_400))
        authority = try CertificateAuthority(certificatePEM: made.certificatePEM, keyPEM: made.keyPEM)
        tree = try NodeTree()
    }

    private func issue(_ key: PrivateKey) throws -> X509Certificate {
        try authority.issue(
            .agent(cluster: "a", node: "n1"), for: try CertificateRequest(key: key, commonName: "n1"),
            validity: .seconds(3600))
    }

    private func enroll() throws {
        let key = try PrivateKey.generateP256()
        let certificate = try issue(key)
        let reply = EnrollReply(
            name: "n1", cluster: "a", certificate: try certificate.pem(), authority: try authority.certificate.pem(),
            jobKey: try PrivateKey.generateEd25519().rawPublicKey().base64)
        try AgentIdentity.save(
            Enrollment.Result(reply: reply, key: key, fingerprint: certificate.fingerprint),
            coordinator: try Address("127.0.0.1:7400"), in: directory)
    }

    private func files() throws -> Set<String> { Set(try FileSystem.list(directory)) }

    /// With another authority: the pair from before keeps its own.
    @Test func anotherAuthorityIsOfOneIdentity() throws {
        try enroll()
        let first = try AgentIdentity(directory: directory)
        let made = try CertificateAuthority.create(name: "next", validity: .seconds(86_400))
        let next = try CertificateAuthority(certificatePEM: made.certificatePEM, keyPEM: made.keyPEM)
        func issue(_ key: PrivateKey) throws -> String {
            try next.issue(
                .agent(cluster: "a", node: "n1"), for: try CertificateRequest(key: key, commonName: "n1"),
                validity: .seconds(3600)
            ).pem()
        }
        let key = try PrivateKey.generateP256()
        let second = try first.renewed(key, try issue(key), under: next.certificate)
        #expect(second.authority.fingerprint == next.certificate.fingerprint)
        #expect(try AgentIdentity(directory: directory).authority.fingerprint == next.certificate.fingerprint)
        let former = try #require(second.former())
        #expect(former.authority.fingerprint == authority.certificate.fingerprint)
        #expect(former.former()?.authority.fingerprint == next.certificate.fingerprint)
        // With the next renewal nothing needs the first any more.
        let later = try PrivateKey.generateP256()
        let third = try second.renewed(later, try issue(later))
        #expect(third.authority.fingerprint == next.certificate.fingerprint)
        #expect(third.former()?.authority.fingerprint == next.certificate.fingerprint)
        #expect(try files().filter { $0.hasPrefix("authority") } == ["authority-\(next.certificate.serial).crt"])
        // Enrolled anew, it is as it was at first.
        try enroll()
        #expect(try AgentIdentity(directory: directory).authority.fingerprint == authority.certificate.fingerprint)
        #expect(try files().filter { $0.hasPrefix("authority") } == ["authority.crt"])
    }

    @Test func aRenewalLeavesOneIdentity() throws {
        try enroll()
        let first = try AgentIdentity(directory: directory)
        var identity = first
        var names = ["agent"]
        for _ in 0..<3 {
            let key = try PrivateKey.generateP256()
            let certificate = try issue(key)
            let renewed = try identity.renewed(key, try certificate.pem())
            identity = renewed
            #expect(renewed.cluster == "a" && renewed.node == "n1" && renewed.coordinator == first.coordinator)
            let name = "agent-\(certificate.serial)"
            // The one before is kept for a coordinator that knows no newer.
            names = [names.last!, name]
            #expect(
                try files() == Set(["agent.json", "authority.crt"] + names.flatMap { [$0 + ".key", $0 + ".crt"] }))
            for file in try files() {
                let mode = try FileSystem.status("\(directory)/\(file)")?.mode ?? 0o777
                #expect(mode & 0o077 == 0, "\(file)")
            }
        }
        let former = try #require(identity.former())
        #expect(former.notAfter <= identity.notAfter && former.description.certificate == names[0] + ".crt")
        try former.keep()
        #expect(try AgentIdentity(directory: directory).description == former.description)
        #expect(former.former()?.description.certificate == names[1] + ".crt")
        #expect(throws: FleetError.self, "it is not what is on the disk") {
            let key = try PrivateKey.generateP256()
            _ = try identity.renewed(key, try issue(key).pem())
        }
        // Enrolling again leaves no key behind that nobody needs, and whoever runs as before does not undo it.
        let before = try AgentIdentity(directory: directory)
        try enroll()
        try before.keep()
        #expect(try files() == ["agent.json", "authority.crt", "agent.key", "agent.crt"])
        _ = try AgentIdentity(directory: directory)
    }

    /// Cut off before the description was written, it is as if nothing had been.
    @Test func aRenewalThatWasCutOffChangesNothing() throws {
        try enroll()
        let names = ["agent.json", "agent.key", "agent.crt"]
        let before = try names.map { try FileSystem.read("\(directory)/\($0)") }
        let first = try AgentIdentity(directory: directory)
        let key = try PrivateKey.generateP256()
        let certificate = try authority.issue(
            .agent(cluster: "a", node: "n1"), for: try CertificateRequest(key: key, commonName: "n1"),
            validity: .seconds(7200))
        #expect(try first.renewed(key, try certificate.pem()).notAfter > first.notAfter)
        // What was there when only the description was missing.
        for (name, bytes) in zip(names, before) { try FileSystem.writeDurably("\(directory)/\(name)", bytes) }
        #expect(try AgentIdentity(directory: directory).notAfter == first.notAfter)
        let again = try PrivateKey.generateP256()
        _ = try first.renewed(again, try issue(again).pem())
        #expect(try files().count == 6, "nothing of the one that was cut off stays")
    }

    @Test func aCertificateIsRenewedAfterTwoThirdsOfItsLife() {
        let start = Timestamp("2026-01-01T00:00:00Z")!
        let end = start.adding(.seconds(300))
        func isDue(_ seconds: Int, idle: Bool = true) -> Bool {
            RenewalTime.isDue(start, end, isIdle: idle, now: start.adding(.seconds(seconds)))
        }
        #expect(!isDue(199) && isDue(200) && isDue(301))
        #expect(!isDue(249, idle: false) && isDue(250, idle: false))
        #expect(RenewalTime.pause(end, now: start) == .seconds(30))
        #expect(RenewalTime.pause(end, now: end.adding(.seconds(9))) == .seconds(10))
        #expect(RenewalTime.pause(end.adding(.seconds(86_400)), now: start) == .seconds(3600))
    }
}
