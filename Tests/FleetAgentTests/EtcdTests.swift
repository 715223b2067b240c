import FleetCrypto
import FleetProtocol
import FleetSystem
import Testing

@testable import FleetAgent

@Suite struct EtcdTests {
    @Test func idsAbove53BitsSurviveJSON() throws {
        let text = """
            [{"Endpoint":"x","Status":{"header":{"cluster_id":14841639068965178418,"member_id":18446744073709551615,\
            "revision":2},"version":"3.4.23","dbSize":20480,"leader":9007199254740993}}]
            """
        let status = try JSON.decode([Answers.Endpoint].self, from: text.utf8)[0].status
        #expect(status.header.clusterID == 14_841_639_068_965_178_418)
        #expect(status.header.memberID == .max)
        #expect(status.leader == 9_007_199_254_740_993)
    }

    @Test func memberIdentity() {
        // What etcd logs for a member of its default cluster at its default peer URL.
        #expect(
            MemberIdentity.member(peerURLs: ["http://localhost:2380"], token: "etcd-cluster") == 0x8e9e_05c5_2164_694d)
        #expect(MemberIdentity.cluster(members: [0x8e9e_05c5_2164_694d]) == 0xcdf8_1819_4e3a_8c32)
        #expect(
            MemberIdentity.member(peerURLs: ["http://b", "http://a"], token: "t")
                == MemberIdentity.member(peerURLs: ["http://a", "http://b"], token: "t"))
    }

    @Test(arguments: [
        ("etcd Version: 3.4.23\nGit SHA: x\n", "3.4.23"), ("etcdctl version: 3.5.1\nAPI version: 3.5\n", "3.5.1"),
        ("etcdutl version: 3.6.0-rc.1\nAPI version: 3.6\n", "3.6.0"),
    ])
    func versions(output: String, version: String) {
        #expect(EtcdVersion.find(in: output)?.description == version)
    }

    private func tools(_ list: String...) -> EtcdTools {
        EtcdTools(
            tools: list.map { entry in
                let parts = entry.split(separator: " ")
                return EtcdTool(
                    kind: .init(rawValue: String(parts[0]))!, path: "/x/\(entry)", version: EtcdVersion(parts[1])!)
            })
    }

    @Test func versionsDecideWhatRestores() throws {
        func tool(_ tools: EtcdTools, _ version: String) -> String? {
            try? tools.offline(for: EtcdVersion(version)).description
        }
        #expect(tool(tools("etcdctl 3.4.23"), "3.4.10") == "etcdctl 3.4.23")
        #expect(tool(tools("etcdctl 3.4.23"), "3.5.1") == nil)
        #expect(tool(tools("etcdctl 3.5.1", "etcdutl 3.5.1"), "3.5.9") == "etcdutl 3.5.1")
        #expect(tool(tools("etcdctl 3.5.1"), "3.5.9") == "etcdctl 3.5.1")
        #expect(tool(tools("etcdctl 3.6.1"), "3.5.9") == nil)
        #expect(tool(tools("etcdctl 3.6.1", "etcdutl 3.6.1"), "3.5.9") == "etcdutl 3.6.1")
        #expect(
            tool(tools("etcdctl 3.4.23", "etcdctl 3.5.1", "etcdutl 3.5.1", "etcdutl 3.6.0"), "3.5.1") == "etcdutl 3.5.1"
        )
        // Below 3.5 etcdctl restores even where an etcdutl lies about, and the same minor version comes first.
        #expect(tool(tools("etcdctl 3.4.23", "etcdutl 3.5.9"), "3.4.10") == "etcdctl 3.4.23")
        #expect(tool(tools("etcdctl 3.5.1", "etcdutl 3.5.1"), "3.4.10") == "etcdctl 3.5.1")
        #expect(tool(tools("etcdctl 3.5.1", "etcdutl 3.6.0"), "3.5.9") == "etcdctl 3.5.1")
        #expect(try tools("etcdctl 3.4.23", "etcdctl 3.5.1").client(for: EtcdVersion("3.5.4")).version.minor == 5)
        let error = #expect(throws: FleetError.self) { try tools().client(for: nil) }
        #expect(error?.code == .noTool)
    }

    @Test func warnsOfKnownProblems() {
        func has(_ version: String, _ reference: String) -> Bool {
            KnownProblems.warnings(for: EtcdVersion(version)!).contains { $0.contains(reference) }
        }
        #expect(has("3.5.1", "etcd#13766"))
        #expect(!has("3.5.3", "etcd#13766"))
        #expect(has("3.5.5", "etcd#14571") && !has("3.5.4", "etcd#14571"))
        #expect(has("3.4.23", "bbolt#1058") && !has("3.4.38", "bbolt#1058"))
        #expect(has("3.5.25", "etcd#20967") && !has("3.5.26", "etcd#20967"))
        #expect(KnownProblems.warnings(for: EtcdVersion("3.6.5")!).isEmpty)
    }

    @Test func certificates() throws {
        let tree = try NodeTree()
        let issued = Timestamp("2026-01-01T00:00:00Z")!
        let (authority, _) = try CertificateAuthority.create(
            name: "test", validity: .seconds(86400 * 10), now: issued)
        try tree.write("/ca", authority)
        var instance = EtcdInstance(
            topology: .externalSystemd, name: "x", dataDir: "/x", endpoint: "https://127.0.0.1:1",
            cacert: tree.root + "/ca", cert: tree.root + "/ca", peerURLs: [], initialCluster: "", sources: [:])
        let found = try CertificateCheck.expiries(instance, now: issued.adding(.seconds(3600)))
        #expect(found.map(\.path) == [tree.root + "/ca", tree.root + "/ca"])
        #expect(CertificateCheck.warnings(found, now: issued.adding(.seconds(3600))).count == 2)
        func code(_ instance: EtcdInstance, _ now: Timestamp) -> FleetError.Code? {
            do {
                _ = try CertificateCheck.expiries(instance, now: now)
                return nil
            } catch { return error.code }
        }
        #expect(code(instance, issued.adding(.seconds(86400 * 11))) == .certificateExpired)
        try tree.write("/ca", "no certificate")
        #expect(code(instance, issued) == .missingCertificate)
        instance.cacert = "/nonexistent"
        #expect(code(instance, issued) == .missingCertificate)
    }
}
