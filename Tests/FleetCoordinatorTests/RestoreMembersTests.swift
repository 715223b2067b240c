import FleetProtocol
import FleetSystem
import Testing

@testable import FleetCoordinator

@Suite("Which members a restore is about, and whether they are one cluster")
struct RestoreMembersTests {
    static func agent(
        _ number: Int, of members: [Int] = [1, 2, 3], connected: Bool = true, found: Bool = true
    ) -> AgentRecord {
        var instance = Fixture.instance()
        instance.name = "m\(number)"
        instance.peerURLs = ["https://10.0.0.\(number):2380"]
        instance.initialCluster = members.map { "m\($0)=https://10.0.0.\($0):2380" }.joined(separator: ",")
        return AgentRecord(
            cluster: "a", node: "n\(number)", enrolled: Timestamp(milliseconds: 0), lastSeen: nil,
            connected: connected, version: "1", instance: found ? instance : nil,
            discoveryError: found ? nil : FleetError(.notFound, "no etcd"), certificate: nil)
    }

    private func find(_ agents: [AgentRecord], members: Int? = 3) -> (nodes: [String]?, error: FleetError?) {
        var snapshot = Fixture.record("s1")
        snapshot.facts.members = members
        do throws(FleetError) {
            return (try RestoreMembers.find(agents, snapshot, cluster: "a").map(\.node), nil)
        } catch { return (nil, error) }
    }

    @Test func allMembersOrNone() {
        let all = [3, 1, 2].map { Self.agent($0) }
        #expect(find(all).nodes == ["n1", "n2", "n3"])
        // Grown or shrunk since the snapshot was saved.
        #expect(find(all, members: 1).nodes == ["n1", "n2", "n3"])
        #expect(find(all, members: nil).nodes == ["n1", "n2", "n3"])
        #expect(find([Self.agent(1, of: [1])], members: 1).nodes == ["n1"])
        #expect(find([Self.agent(1, of: [1])], members: nil).nodes == ["n1"])
        // A node without an etcd is no member.
        #expect(find(all + [Self.agent(4, found: false)]).nodes?.count == 3)
    }

    @Test func whoIsMissingIsNamed() {
        let two = find([Self.agent(1), Self.agent(2)])
        #expect(two.error?.code == .memberMissing)
        #expect(two.error?.message.contains("m3") == true && two.error?.message.contains("n2") == true)
        let blind = find([Self.agent(1), Self.agent(2), Self.agent(3, found: false)])
        #expect(blind.error?.code == .memberMissing && blind.error?.message.contains("n3: no etcd") == true)
        let away = find([Self.agent(1), Self.agent(2), Self.agent(3, connected: false)])
        #expect(away.error?.code == .noAgent && away.error?.message.contains("n3") == true)
        // kubeadm's first control plane names only itself, for ever; the snapshot knows better.
        let first = find([Self.agent(1, of: [1])])
        #expect(first.error?.code == .manyMembers && first.error?.message.contains("3 members") == true)
        #expect(find([]).error?.code == .noAgent)
        var revoked = Self.agent(3)
        revoked.certificate = Fixture.certificate()
        revoked.certificate?.revoked = Timestamp(milliseconds: 0)
        #expect(find([Self.agent(1), Self.agent(2), revoked]).error?.code == .memberMissing)
    }

    /// kubeadm writes into each later control plane those before it.
    @Test func laterMembersKnowMore() {
        let agents = [Self.agent(1, of: [1]), Self.agent(2, of: [1, 2]), Self.agent(3)]
        #expect(find(agents).nodes == ["n1", "n2", "n3"])
        #expect(find([agents[0], agents[1]]).nodes == ["n1", "n2"], "the running etcd is asked by each agent")
    }

    @Test func membersThatCanNotBeToldApart() {
        var twin = Self.agent(2)
        twin.instance?.name = "m1"
        #expect(
            find(
                [Self.agent(1, of: [1]), twin].map { agent in
                    var agent = agent
                    agent.instance?.initialCluster = "m1=https://10.0.0.1:2380"
                    return agent
                }
            ).error?.code == .membersAlike)
    }

    // MARK: proofs

    private static let check = ProofCheck(
        group: RestoreMembers.group([1, 2, 3].map { agent($0) }, restore: "r1"), revision: 42)

    static func proofs(_ check: ProofCheck) -> [String: MemberProof] {
        let ids = check.group.memberIDs.sorted().map { String($0, radix: 16) }
        return Dictionary(
            uniqueKeysWithValues: check.group.members.map {
                (
                    $0.node,
                    MemberProof(
                        memberID: String(check.group.memberID($0), radix: 16),
                        clusterID: String(check.group.clusterID, radix: 16), leader: ids[1], members: ids,
                        revision: check.revision ?? 50, hashKV: 7, compactRevision: -1)
                )
            })
    }

    @Test func oneClusterWithTheSameDataOnAll() {
        let good = Self.proofs(Self.check)
        #expect(Self.check.objection(good) == nil)
        var moved = good
        moved["n2"]?.leader = good["n2"]?.members[0]
        #expect(Self.check.objection(moved) == nil, "elected anew between two proofs")
        let wrong: [(inout MemberProof) -> Void] = [
            { $0.memberID = "1" }, { $0.clusterID = "1" }, { $0.leader = nil }, { $0.leader = "1" },
            { $0.members.removeLast() }, { $0.members[0] = "1" }, { $0.revision = 41 }, { $0.hashKV = 8 },
            { $0.compactRevision = 40 },
        ]
        for (index, change) in wrong.enumerated() {
            for node in ["n1", "n2", "n3"] {
                var proofs = good
                change(&proofs[node]!)
                let objection = Self.check.objection(proofs)
                #expect(objection?.code == .notOneCluster, "\(index) on \(node)")
            }
        }
        #expect(Self.check.objection(good.filter { $0.key != "n2" })?.message.contains("n2") == true)
    }
}
