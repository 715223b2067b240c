import FleetProtocol
import FleetSystem
import Testing

@testable import FleetCoordinator

@Suite("Restore guard, snapshot choice, agent choice")
struct DecisionTests {
    private func target(_ name: String = "a", _ ids: [String] = ["cafe"]) -> ClusterRecord {
        let time = Timestamp(milliseconds: 0)
        return ClusterRecord(
            name: name, created: time, identities: ids.map { EtcdIdentity(id: $0, firstSeen: time, snapshot: "s") },
            agents: 1, snapshots: 1, latestSnapshot: nil, latestSavedAt: nil, lastJob: nil, lastJobKind: nil,
            lastJobState: nil)
    }

    private func agent(
        _ node: String = "n1", version: String = "3.5.1", members: Int = 1, connected: Bool = true,
        seen: String = "2026-11-24T06:00:00Z", found: Bool = true
    ) -> AgentRecord {
        AgentRecord(
            cluster: "a", node: node, enrolled: Timestamp(milliseconds: 0), lastSeen: Timestamp(seen),
            connected: connected, version: "1", instance: found ? Fixture.instance(version, members: members) : nil,
            discoveryError: found ? nil : FleetError(.notFound, "no etcd"), certificate: nil)
    }

    private func guarded(
        _ entry: SnapshotEntry, _ target: ClusterRecord, _ agents: [AgentRecord] = [], other: Bool = false
    ) -> FleetError.Code? {
        do throws(FleetError) {
            try RestoreGuard.check(entry, target: target, agents: agents, .init(allowOtherCluster: other))
            return nil
        } catch { return error.code }
    }

    @Test func theGuard() {
        let own = SnapshotEntry(record: Fixture.record("s1"))
        #expect(guarded(own, target(), [agent()]) == nil)
        // A former id of the same cluster is its own, as is any before the first is known.
        #expect(guarded(own, target("a", ["cafe", "beef"])) == nil)
        #expect(guarded(own, target("a", [])) == nil)
        #expect(guarded(own, target("a", ["beef"])) == .otherCluster)
        #expect(guarded(own, target("b")) == .otherCluster)
        // An id that nothing tells is nobody's.
        let unknown = SnapshotEntry(record: Fixture.record("s1", etcdID: ""))
        #expect(guarded(unknown, target()) == .otherCluster)
        #expect(guarded(unknown, target("a", [])) == .otherCluster)
        #expect(guarded(unknown, target(), other: true) == nil)
        #expect(guarded(own, target("b", ["beef"]), other: true) == nil)
        for condition in [SnapshotCondition.missing, .damaged] {
            let bad = SnapshotEntry(record: own.record, condition: condition)
            #expect(guarded(bad, target(), other: true) == .snapshotUnusable)
        }
        #expect(guarded(own, target(), [agent(version: "3.4.23")]) == .versionTooOld)
        #expect(guarded(own, target(), [agent(version: "3.10.0")]) == nil)
        #expect(guarded(own, target(), [agent(version: "3.5.0")]) == nil)
    }

    @Test(arguments: [
        ("latest", SnapshotChoice.latest), ("2026-11-24", .at(Timestamp("2026-11-24T00:00:00Z")!)),
        ("2026-11-24T06:55:00+01:00", .at(Timestamp("2026-11-24T05:55:00Z")!)), ("20261124", .id(prefix: "20261124")),
        ("2", .id(prefix: "2")),
    ])
    func aChoiceIsRead(_ text: String, _ choice: SnapshotChoice) throws {
        #expect(try SnapshotChoice(text) == choice)
    }

    @Test(arguments: ["", "Latest", "../x", "2026-13-01T00:00:00Z", "-1"])
    func whatNamesNothingIsUsage(_ text: String) {
        let error = #expect(throws: FleetError.self) { try SnapshotChoice(text) }
        #expect(error?.code == .usage)
    }

    @Test func anAmbiguousPrefixNamesTheCandidates() throws {
        let entries = ["s1a", "s1b", "s2", "s"].map { SnapshotEntry(record: Fixture.record($0)) }
        #expect(try SnapshotChoice("s").choose(from: entries, soon: .now()).record.id == "s")
        let error = #expect(throws: FleetError.self) { try SnapshotChoice("s1").choose(from: entries, soon: .now()) }
        #expect(error?.code == .ambiguous)
        #expect(error?.hint?.contains("s1a, s1b") == true)
    }

    @Test func anAgentIsChosen() throws {
        let never = agent("n0", connected: false)
        #expect(try AgentChoice.choose([never, agent("n2"), agent("n1")], cluster: "a").node == "n1")
        #expect(
            try AgentChoice.choose([agent("n1"), agent("n2", seen: "2026-11-24T07:00:00Z")], cluster: "a").node
                == "n2")
        // Of several members one whose etcd runs, and none that was tried just now.
        // A heartbeat's difference is nothing to choose by.
        #expect(
            try AgentChoice.choose([agent("n1"), agent("n2", seen: "2026-11-24T06:00:15Z")], cluster: "a").node == "n1")
        var down = agent("n2", seen: "2026-11-24T07:00:00Z")
        down.instance?.pid = nil
        #expect(try AgentChoice.choose([agent("n1"), down], cluster: "a").node == "n1")
        #expect(try AgentChoice.choose([agent("n1"), down], cluster: "a", avoiding: ["n1"]).node == "n2")
        // A follower before the leader, whoever was seen last, and no learner.
        func member(_ node: String, _ part: MemberPart?, seen: String = "2026-11-24T06:00:00Z") -> AgentRecord {
            var member = agent(node, seen: seen)
            member.instance?.part = part
            return member
        }
        let leader = member("n1", .leader, seen: "2026-11-24T07:00:00Z")
        for (part, expected): (MemberPart?, String) in [
            (.follower, "n2"), (.behind, "n1"), (.leaderless, "n1"), (.learner, "n1"), (nil, "n1"),
        ] {
            #expect(
                try AgentChoice.choose([leader, member("n2", part)], cluster: "a").node == expected, "\(part as Any)")
        }
        var stopped = member("n2", .follower)
        stopped.instance?.pid = nil
        #expect(try AgentChoice.choose([leader, stopped], cluster: "a").node == "n1")
        let learner = #expect(throws: FleetError.self) {
            try AgentChoice.choose([member("n2", .learner)], cluster: "a")
        }
        #expect(learner?.message.contains("n2 is a learner") == true)
        let none = #expect(throws: FleetError.self) {
            try AgentChoice.choose([agent("n1"), agent("n2")], cluster: "a", avoiding: ["n1", "n2"])
        }
        #expect(none?.code == .noAgent)
        var revoked = agent("n9", seen: "2026-11-24T08:00:00Z")
        revoked.certificate = Fixture.certificate()
        revoked.certificate?.revoked = Timestamp(milliseconds: 0)
        #expect(try AgentChoice.choose([agent("n1"), revoked], cluster: "a").node == "n1")
        for agents in [[], [never], [agent(found: false)], [revoked]] {
            let error = #expect(throws: FleetError.self) { try AgentChoice.choose(agents, cluster: "a") }
            #expect(error?.code == .noAgent)
        }
    }
}
