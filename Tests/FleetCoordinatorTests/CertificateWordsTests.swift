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

    private func told(_ certificates: [CertificateExpiry]) -> [Concern] {
        Concern.ofCertificates(agent(certificates), now: now)
    }
    /// Where there is one matter at most.
    private func said(_ certificates: CertificateExpiry...) -> String? {
        let all = told(certificates)
        #expect(all.count <= 1)
        return all.first?.line
    }

    @Test func thirtyAndSevenDays() throws {
        let path = "/etc/kubernetes/pki/apiserver.crt"
        #expect(said(one(path, days: 30.5)) == nil)
        let month = try #require(said(one(path, days: 29)))
        #expect(
            month.hasPrefix("a certificate on cp1 (a), \(path), ends ") && month.contains("kubeadm certs renew all"))
        #expect(!month.contains("URGENT"))
        #expect(said(one(path, days: 6.9))?.hasPrefix("URGENT: ") == true)
        let ended = try #require(said(one(path, days: -1)))
        #expect(ended.hasPrefix("ENDED: a certificate on cp1 (a), \(path), ended 2026-11-23"))
        #expect(ended.contains("move it out of /etc/kubernetes"))
        #expect(said(one("/etc/etcd/server.crt", days: -1))?.contains("move it out") == false, "etcd names it")
        #expect(Concern.ofCertificates(agent(nil), now: now).isEmpty)
        #expect(Concern.ofAgent(agent([one(path, days: 1)], revoked: true), status(agent(nil))).isEmpty)
        // From one that does not tell when it began.
        #expect(said(one(path, days: 29, life: nil)) != nil)
    }

    /// What ended long ago and lies there still hides nothing.
    @Test func oneThatEndedHidesNoOther() {
        let old = "/etc/kubernetes/pki/backup-2025/apiserver.crt"
        let path = "/etc/kubernetes/pki/apiserver.crt"
        var levels: [Int?] = []
        for days in [40, 29, 6.5, -0.1] {
            let all = told([one(path, days: days), one(old, days: -90)])
            #expect(all.first?.level == 2 && all.first?.text.contains(old) == true)
            #expect(all.first?.key == "node-certificate|a|cp1|2026-08-26")
            guard days < 40 else {
                #expect(all.count == 1)
                continue
            }
            #expect(all.count == 2 && all.last?.text.contains(", \(path), ") == true)
            levels.append(all.last?.level)
        }
        #expect(levels == [0, 1, 2])
    }

    /// kubeadm's own end on one day.
    @Test func thoseOfOneDayAreOneMatter() throws {
        let paths = (0..<12).map { "/etc/kubernetes/pki/\($0 + 10).crt" }
        let twelve = paths.enumerated().map { one($1, days: 20.1 + Double($0) / 1000) }
        let concern = try #require(told(twelve).first)
        #expect(told(twelve).count == 1 && concern.subject == "2026-12-14" && concern.level == 0)
        #expect(
            concern.text.hasPrefix("12 certificates on cp1 (a) end 2026-12-14, the first in 20 d")
                && concern.text.hasSuffix(": \(paths.prefix(5).joined(separator: ", ")) and 7 more"))
        #expect(concern.action?.hasSuffix("'fleetctl cluster show a' names all") == true)
        #expect(
            said(one(paths[0], days: -0.9), one(paths[1], days: -0.8))?.hasPrefix(
                "ENDED: 2 certificates on cp1 (a) ended 2026-11-23: \(paths[0]), \(paths[1]); ") == true)
        // A file with two certificates is one, by whichever ends first.
        #expect(
            said(one("/x", days: 3.2), one("/x", days: 3.1))?.contains("a certificate on cp1 (a), /x, ends") == true)
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

    /// The data comes back, and nobody reads it.
    @Test func valuesThatNothingThatIsKeptDecrypts() {
        var cluster = ClusterRecord(
            name: "a", created: now, identities: [], agents: 1, snapshots: 1, latestSnapshot: "s", latestSavedAt: now,
            lastJob: nil, lastJobKind: nil, lastJobState: nil)
        cluster.encryptedAtRest = ["aescbc"]
        var status = status(agent(nil))
        func told() -> Concern? {
            status.clusters = [cluster]
            return Concern.all(status).first { $0.kind == .decryptionNotKept }
        }
        #expect(told()?.text.contains("(aescbc)") == true)
        status.agents[0].configuration = BundleState(confirmed: now, problem: nil, decrypts: false)
        #expect(told() != nil)
        status.agents[0].configuration?.decrypts = true
        #expect(told() == nil)
        // It came before anybody looked.
        status.agents[0].configuration?.decrypts = nil
        #expect(told() == nil)
        status.agents[0].configuration = BundleState(confirmed: nil, problem: FleetError(.malformed, "x"))
        #expect(told() != nil)
        cluster.keepsConfiguration = false
        #expect(told() == nil)
        (cluster.keepsConfiguration, cluster.encryptedAtRest) = (nil, [])
        #expect(told() == nil)
    }

    /// The names of keys are compared, with what is kept with the newest snapshot.
    @Test func keysThatNothingThatIsKeptHas() throws {
        var cluster = ClusterRecord(
            name: "a", created: now, identities: [], agents: 1, snapshots: 1, latestSnapshot: "s", latestSavedAt: now,
            lastJob: nil, lastJobKind: nil, lastJobState: nil)
        cluster.encryptedAtRest = ["aescbc", "kms"]
        var status = status(agent(nil))
        func told(_ offered: [String]?, isKept: Bool = true) -> Concern? {
            let one = NodeBundle(
                node: "cp1", bundle: "b", collected: now, confirmed: now, files: 1, bytes: 1, decrypts: isKept,
                encryptionKeys: offered)
            cluster.decryption = Decryption(
                providers: cluster.encryptedAtRest, keys: ["aescbc/key9", "kms/mykms"], kept: [one])
            status.clusters = [cluster]
            return Concern.all(status).first { $0.kind == .decryptionNotKept }
        }
        // An agent of the cluster has such a file, which alone says nothing.
        status.agents[0].configuration = BundleState(
            confirmed: now, problem: nil, decrypts: true, encryptionKeys: ["aescbc/key1"])
        let lost = try #require(told(["aescbc/key1"]))
        #expect(lost.text.contains("by aescbc key9 and kms mykms, and the kept configuration has aescbc key1"))
        #expect(lost.action?.contains("fleetctl bundle show s") == true && lost.line.contains("agent install a"))
        #expect(told(["aescbc/key1", "aescbc/key9"])?.text.contains("encrypted by kms mykms, and") == true)
        #expect(told(["aescbc/key9", "kms/mykms"]) == nil && told(nil) == nil)
        #expect(told(nil, isKept: false)?.text.contains("(aescbc key9, kms mykms), and the configuration") == true)
        // It has come since, and goes with the next one.
        status.agents[0].configuration?.encryptionKeys = ["aescbc/key9", "kms/mykms"]
        #expect(told(["aescbc/key1"])?.action?.contains("'fleetctl backup a'") == true)
        #expect(told(nil, isKept: false)?.action?.contains("'fleetctl backup a'") == true)
        cluster.keepsConfiguration = false
        #expect(told(["aescbc/key1"]) == nil)
    }

    /// It is missed by nobody, backs nothing up, and is no verifier.
    @Test func aControlPlaneWhoseEtcdIsElsewhere() {
        var plane = agent(nil)
        plane.discoveryError = FleetError("etcd-elsewhere", "kube-apiserver goes to others")
        #expect(plane.isControlPlane && plane.holdsNoEtcd && !plane.isVerifier)
        var status = status(plane)
        #expect(Concern.all(status).allSatisfy { $0.kind != .etcdNotFound })
        status.clusters = [
            ClusterRecord(
                name: "a", created: now, identities: [], agents: 1, snapshots: 0, latestSnapshot: nil,
                latestSavedAt: nil,
                lastJob: nil, lastJobKind: nil, lastJobState: nil)
        ]
        #expect(Concern.all(status).contains { $0.kind == .noBackup })
        #expect(Concern.all(status).contains { $0.kind == .noAgent && $0.text == "a has no agent beside an etcd" })
    }

    @Test func authoritiesAreAnotherMatter() {
        let text = said(one("/etc/kubernetes/pki/ca.crt", days: 20, life: 3650, isAuthority: true))
        #expect(text?.contains("Manual Rotation of CA Certificates") == true && text?.contains("certs renew") == false)
    }
}
