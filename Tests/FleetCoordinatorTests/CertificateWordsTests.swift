import FleetProtocol
import FleetSystem
import Testing

@testable import FleetConcerns

@Suite("What people are told of certificates") struct CertificateWordsTests {
    private let now = Timestamp("2026-11-24T00:00:00Z")!

    private func agent(_ certificates: [CertificateExpiry]?, revoked: Bool = false) -> AgentRecord {
        var agent = AgentRecord(
            cluster: "a", node: "cp1", enrolled: now, lastSeen: now, connected: true, version: "1", instance: nil,
            discoveryError: nil,
            certificate: CertificateRecord(
                fingerprint: "f", serial: "1", issued: now, notAfter: now, revoked: revoked ? now : nil))
        agent.nodeCertificates = certificates
        return agent
    }

    private func one(_ path: String, days: Double, life: Double? = 365, isAuthority: Bool = false) -> CertificateExpiry
    {
        let ends = now.adding(.seconds(Int(days * 86_400)))
        return CertificateExpiry(
            path: path, notAfter: ends, isAuthority: isAuthority,
            notBefore: life.map { ends.adding(.seconds(-Int($0 * 86_400))) })
    }

    private func status(_ agent: AgentRecord) -> FleetStatus {
        FleetStatus(
            version: "1", time: now, clusters: [], agents: [agent], openJobs: [], storeFree: 1, storeUsed: 1,
            audit: AuditVerdict(events: 0, head: "00", firstBreak: nil, findings: []))
    }

    private func said(_ certificates: CertificateExpiry...) -> String? {
        Concern.ofCertificates(agent(certificates), now: now)?.line
    }

    @Test func thirtyAndSevenDays() throws {
        let path = "/etc/kubernetes/pki/apiserver.crt"
        #expect(said(one(path, days: 30.5)) == nil)
        let month = try #require(said(one(path, days: 29)))
        #expect(
            month.hasPrefix("a certificate on cp1 (a), \(path), ends ") && month.contains("kubeadm certs renew all"))
        #expect(!month.contains("URGENT"))
        #expect(said(one(path, days: 6.9))?.hasPrefix("URGENT: ") == true)
        let ended = try #require(said(one(path, days: -1), one("/etc/etcd/server.crt", days: 20)))
        #expect(ended.hasPrefix("ENDED: 2 certificates on cp1 (a)") && ended.contains("\(path), ended 2026-11-23"))
        #expect(ended.contains("restart etcd"))
        #expect(Concern.ofCertificates(agent(nil), now: now) == nil)
        #expect(Concern.ofAgent(agent([one(path, days: 1)], revoked: true), status(agent(nil))).isEmpty)
        // From one that does not tell when it began.
        #expect(said(one(path, days: 29, life: nil)) != nil)
    }

    /// One that is good for a day is renewed within hours, and no month ahead.
    @Test func thoseThatLiveShortly() {
        let path = "/var/lib/kubelet/pki/kubelet-client-current.pem"
        #expect(said(one(path, days: 0.5, life: 1)) == nil)
        #expect(said(one(path, days: 0.09, life: 1))?.contains("journalctl -u kubelet") == true)
        #expect(said(one("/etc/etcd/server.crt", days: 0.5, life: 1)) == nil)
        #expect(said(one("/etc/etcd/server.crt", days: 0.2, life: 1)) != nil)
        // The kubelet renews its own between seven and nine tenths of their life.
        #expect(said(one(path, days: 4, life: 30)) == nil && said(one(path, days: 2.9, life: 30)) != nil)
    }

    /// Made by hand for three weeks, one ends in three weeks all the same.
    @Test func thoseThatWereMadeForWeeks() {
        #expect(said(one("/etc/etcd/server.crt", days: 19, life: 19))?.contains("in 19 d") == true)
        #expect(said(one("/etc/etcd/server.crt", days: 5, life: 5))?.hasPrefix("URGENT: ") == true)
    }

    /// The kubelet makes its own only where there is none.
    @Test func theKubeletsOwn() {
        let path = "/var/lib/kubelet/pki/kubelet.crt"
        #expect(said(one(path, days: 40)) == nil)
        #expect(said(one(path, days: 20))?.contains("remove \(path) and kubelet.key") == true)
    }

    @Test func keysThatAreNotKept() {
        var agent = agent(nil)
        agent.configuration = BundleState(confirmed: now, problem: nil, leftOut: 12)
        var status = status(agent)
        func told() -> [String] {
            Concern.all(status).filter { $0.kind == .configurationNotKept }.map(\.line)
        }
        #expect(told().count == 1 && told()[0].hasPrefix("12 certificates, keys"))
        status.agents[0].configuration?.leftOut = nil
        #expect(told().isEmpty)
    }

    @Test func authoritiesAreAnotherMatter() {
        let text = said(one("/etc/kubernetes/pki/ca.crt", days: 20, life: 3650, isAuthority: true))
        #expect(text?.contains("Manual Rotation of CA Certificates") == true && text?.contains("certs renew") == false)
    }
}
