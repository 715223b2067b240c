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

    @Test func aRenewalLeavesOneIdentity() throws {
        try enroll()
        let first = try AgentIdentity(directory: directory)
        for _ in 0..<3 {
            let key = try PrivateKey.generateP256()
            let certificate = try issue(key)
            let renewed = try AgentIdentity.renew(key, try certificate.pem(), in: directory)
            #expect(renewed.cluster == "a" && renewed.node == "n1" && renewed.coordinator == first.coordinator)
            let name = "agent-\(certificate.serial)"
            #expect(try files() == ["agent.json", "authority.crt", name + ".key", name + ".crt"])
            for file in try files() {
                let mode = try FileSystem.status("\(directory)/\(file)")?.mode ?? 0o777
                #expect(mode & 0o077 == 0, "\(file)")
            }
        }
        // Enrolling again leaves no key behind that nobody needs.
        try enroll()
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
        #expect(try AgentIdentity.renew(key, try certificate.pem(), in: directory).notAfter > first.notAfter)
        // What was there when only the description was missing.
        for (name, bytes) in zip(names, before) { try FileSystem.writeDurably("\(directory)/\(name)", bytes) }
        #expect(try AgentIdentity(directory: directory).notAfter == first.notAfter)
        let again = try PrivateKey.generateP256()
        _ = try AgentIdentity.renew(again, try issue(again).pem(), in: directory)
        #expect(try files().count == 4, "nothing of the one that was cut off stays")
    }

    @Test func aCertificateIsRenewedAfterTwoThirdsOfItsLife() {
        let start = Timestamp("2026-01-01T00:00:00Z")!
        let end = start.adding(.seconds(300))
        #expect(!RenewalTime.isDue(start, end, now: start.adding(.milliseconds(199_999))))
        #expect(RenewalTime.isDue(start, end, now: start.adding(.seconds(200))))
        #expect(RenewalTime.isDue(start, end, now: end.adding(.seconds(1))))
    }
}
