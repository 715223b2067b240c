import FleetCrypto
import FleetSystem
import Testing

@testable import FleetControl

/// What a person's machine remembers of coordinators, and finds by itself.
@Suite struct ContextTests {
    /// Two people on one account: the key of the first is not lost.
    @Test func whoLogsInReplacesNobodyElse() throws {
        let directory = try TemporaryDirectory()
        let made = try CertificateAuthority.create(name: "test", validity: .seconds(3600))
        let authority = try CertificateAuthority(certificatePEM: made.certificatePEM, keyPEM: made.keyPEM)
        let key = try PrivateKey.generateP256()
        let certificate = try authority.issue(
            .person(name: "alice"), for: CertificateRequest(key: key, commonName: "x"), validity: .seconds(3600))
        let path = directory.path + "/operator.crt"
        try FileSystem.writeDurably(path, try certificate.pem().utf8)
        var file = ContextFile()
        #expect(file.name(for: "hub:7400", "alice") == "hub:7400")
        file.put(Context(name: "hub:7400", server: "hub:7400", certificate: path))
        #expect(file.contexts[0].person == "alice")
        #expect(file.name(for: "hub:7400", "alice") == "hub:7400", "the same person, with a new certificate")
        #expect(file.name(for: "hub:7400", "bob") == "hub:7400-bob")
        #expect(file.name(for: "other:7400", "bob") == "other:7400")
        try FileSystem.remove(path)
        #expect(file.name(for: "hub:7400", "bob") == "hub:7400", "there is nothing to keep")
    }

    @Test func aPackageThatLiesThereAloneIsMeant() throws {
        let directory = try TemporaryDirectory()
        func put(_ name: String) throws { try FileSystem.writeDurably(directory.path + "/" + name, []) }
        try put("fleetctl_1_amd64.deb")
        let none = #expect(throws: FleetError.self) { try AgentSource.onlyPackage(in: directory.path) }
        #expect(none?.message.contains("there is no fleet-agent_*.deb") == true && none?.code == .usage)
        try put("fleet-agent_1_amd64.deb")
        #expect(try AgentSource.onlyPackage(in: directory.path) == "fleet-agent_1_amd64.deb")
        try put("fleet-agent_2_amd64.deb")
        let several = #expect(throws: FleetError.self) { try AgentSource.onlyPackage(in: directory.path) }
        #expect(several?.message.contains("fleet-agent_1_amd64.deb, fleet-agent_2_amd64.deb") == true)
    }
}
