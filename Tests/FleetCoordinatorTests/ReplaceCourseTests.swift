import FleetProtocol
import FleetSystem
import Testing

@testable import FleetCoordinator

/// Members "a", "b", "c" with ids a1, b1, c1 on nodes of their names; "c" is the one to replace.
enum ReplaceFixture {
    static func url(_ name: String) -> String { "https://\(name):2380" }

    static func listed(_ name: String, _ id: String? = nil, learner: Bool = false) -> MemberReport.Listed {
        .init(id: id ?? "\(name)1", name: name, peerURLs: [url(name)], isLearner: learner)
    }

    static func dead(_ name: String) -> MemberReport {
        var report = MemberReport(name: name, peerURLs: [url(name)])
        report.problem = FleetError("unhealthy", "etcd does not answer", retryable: true)
        return report
    }

    static func healthy(
        _ name: String, _ members: [MemberReport.Listed] = ["a", "b", "c"].map { listed($0) }, leader: String = "b1"
    ) -> MemberReport {
        var report = MemberReport(name: name, peerURLs: [url(name)])
        (report.version, report.clusterID, report.memberID) = ("3.5.1", "cafe", "\(name)1")
        (report.leader, report.isLearner, report.revision) = (leader, false, 42)
        (report.databaseSize, report.members) = (4096, members)
        return report
    }

    static func learner(_ name: String, _ id: String) -> MemberReport {
        var report = healthy(name)
        (report.memberID, report.isLearner, report.members) = (id, true, nil)
        report.problem = FleetError("unhealthy", "rpc not supported for learner")
        return report
    }
}

@Suite("The course of a replacement")
struct ReplaceCourseTests {
    typealias F = ReplaceFixture

    private func decide(_ looks: [String: MemberReport]) throws(FleetError) -> ReplaceCourse {
        try ReplaceCourse.decide("c", looks, cluster: "x")
    }

    private func code(_ looks: [String: MemberReport]) -> FleetError.Code? {
        do throws(FleetError) {
            _ = try decide(looks)
            return nil
        } catch { return error.code }
    }

    @Test func aDeadMemberIsRemovedAndAdded() throws {
        guard case .rejoin(let rejoin) = try decide(["a": F.healthy("a"), "b": F.healthy("b"), "c": F.dead("c")]) else {
            Issue.record("another course")
            return
        }
        #expect(rejoin.member == "c1" && rejoin.name == "c" && rejoin.peerURLs == [F.url("c")])
        #expect(rejoin.joining.initialCluster == "a=https://a:2380,b=https://b:2380,c=https://c:2380")
        #expect(rejoin.joining.etcdVersion == "3.5.1" && rejoin.joining.databaseSize == 4096)
    }

    /// Whatever an earlier replacement left: where the node's etcd does not run as the listed member, its id is not used.
    @Test func goesOnFromAnyHalfWayState() throws {
        let removed = ["a", "b"].map { F.listed($0) }
        let unstarted =
            removed
            + [F.listed("", "c2", learner: true)].map { member in
                .init(id: member.id, name: "", peerURLs: [F.url("c")], isLearner: true)
            }
        func course(_ members: [MemberReport.Listed], _ own: MemberReport) throws -> ReplaceCourse {
            try decide(["a": F.healthy("a", members), "b": F.healthy("b", members), "c": own])
        }
        guard case .rejoin(let first) = try course(removed, F.dead("c")) else {
            Issue.record("removed")
            return
        }
        #expect(first.member == nil && first.joining.member == nil)
        guard case .rejoin(let second) = try course(unstarted, F.dead("c")) else {
            Issue.record("unstarted")
            return
        }
        #expect(second.member == "c2", "added, and never started: removed, and added anew")
        #expect(try course(unstarted, F.learner("c", "c2")) == .promote(member: "c2"))
        guard case .rejoin(let third) = try course(unstarted, F.learner("c", "c1")) else {
            Issue.record("old")
            return
        }
        #expect(third.member == "c2", "another learner than the listed one")
        // A healthy etcd of another cluster is no healthy member of this one.
        var founder = F.healthy("c", [F.listed("c", "c9")])
        (founder.clusterID, founder.memberID) = ("beef", "c9")
        guard case .rejoin(let fourth) = try course(removed, founder) else {
            Issue.record("founder")
            return
        }
        #expect(fourth.member == nil)
    }

    /// kubeadm's first control plane names itself alone in initial-cluster: with its data lost it begins anew, healthy, and
    /// with the ids that it always had.
    @Test func aFounderWithTheSameIDsIsReplaced() throws {
        let founder = F.healthy("c", [F.listed("c")], leader: "c1")
        guard case .rejoin(let rejoin) = try decide(["a": F.healthy("a"), "b": F.healthy("b"), "c": founder]) else {
            Issue.record("another course")
            return
        }
        #expect(rejoin.member == "c1")
    }

    @Test func refusals() {
        let (a, b, c) = (F.healthy("a"), F.healthy("b"), F.dead("c"))
        #expect(code(["a": a, "b": b, "c": F.healthy("c")]) == .memberHealthy)
        #expect(code(["a": a, "b": F.dead("b"), "c": c]) == .noQuorum)
        #expect(code(["a": a, "c": c]) == .noQuorum, "a voter without an agent")
        #expect(code(["a": F.dead("a"), "b": F.dead("b"), "c": c]) == .noQuorum)
        #expect(code(["a": a, "b": b]) == .noAgent)
        var other = b
        other.clusterID = "beef"
        #expect(code(["a": a, "b": other, "c": c]) == .membersDiffer)
        let two = ["b", "c"].map { F.listed($0) }
        #expect(code(["b": F.healthy("b", two), "c": c]) == .noQuorum, "one of two is no quorum")
        let twice =
            ["a", "b", "c"].map { F.listed($0) } + [
                .init(id: "c2", name: "d", peerURLs: [F.url("c")], isLearner: false)
            ]
        #expect(code(["a": F.healthy("a", twice), "b": F.healthy("b", twice), "c": c]) == .membersAlike)
        var old = a
        old.version = "3.3.27"
        #expect(code(["a": old, "b": b, "c": c]) == .versionTooOld)
    }

    /// One voter is left of two, the other was taken out by hand: it is its own quorum.
    @Test func theLastVoterTakesOneIn() throws {
        let one = [F.listed("b")]
        guard case .rejoin(let rejoin) = try decide(["b": F.healthy("b", one), "c": F.dead("c")]) else {
            Issue.record("another course")
            return
        }
        #expect(rejoin.member == nil)
    }

    @Test func namesInTheClusterDiffer() {
        let rest = [
            F.listed("c", "a1"), F.listed("", "b1"), F.listed("d", "d1"), F.listed("d", "e1"),
        ]
        #expect(
            ReplaceCourse.initialCluster(rest, F.dead("c"))
                == "a1=https://c:2380,b1=https://:2380,d=https://d:2380,e1=https://d:2380,c=https://c:2380")
    }
}

@Suite("Which agents take part in a replacement")
struct ReplaceNodesTests {
    private func agent(_ node: String, connected: Bool = true, revoked: Bool = false) -> AgentRecord {
        var certificate = Fixture.certificate()
        if revoked { certificate.revoked = Timestamp(milliseconds: 0) }
        return AgentRecord(
            cluster: "a", node: node, enrolled: Timestamp(milliseconds: 0), lastSeen: nil, connected: connected,
            version: "1", instance: Fixture.instance(), discoveryError: nil, certificate: certificate)
    }

    @Test func theConnectedOnes() throws {
        let agents = [agent("n1"), agent("n2"), agent("n3", connected: false), agent("n4", revoked: true)]
        #expect(try ReplaceNodes.others(agents, of: "n1", cluster: "a") == ["n2"])
        func code(_ node: String, _ agents: [AgentRecord]) -> FleetError.Code? {
            do throws(FleetError) {
                _ = try ReplaceNodes.others(agents, of: node, cluster: "a")
                return nil
            } catch { return error.code }
        }
        #expect(code("nx", agents) == .notFound)
        #expect(code("n4", agents) == .notFound)
        #expect(code("n3", agents) == .noAgent)
        #expect(code("n1", [agent("n1"), agent("n3", connected: false)]) == .noAgent)
    }
}
