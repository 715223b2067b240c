import FleetProtocol
import FleetSystem
import Testing

@testable import FleetControl

/// Who is upgraded, in which order, and who is not.
@Suite struct UpgradePlanTests {
    private let program = ProgramRecord(
        sha256: String(repeating: "a", count: 64), size: 10, version: "0.3.0", architecture: "x86_64")

    private func agent(
        _ cluster: String, _ node: String, part: MemberPart? = .follower, isVerifier: Bool = false,
        connected: Bool = true, version: String = "0.2.0", _ change: (inout AgentRecord) -> Void = { _ in }
    ) -> AgentRecord {
        var instance = EtcdInstance(
            topology: .externalSystemd, name: node, dataDir: "/var/lib/etcd", endpoint: "https://127.0.0.1:2379",
            peerURLs: [], initialCluster: "", version: "3.5.1", pid: 7, sources: [:])
        instance.part = part
        var agent = AgentRecord(
            cluster: cluster, node: node, enrolled: Timestamp(milliseconds: 0), lastSeen: Timestamp(milliseconds: 1),
            connected: connected, version: version, instance: isVerifier ? nil : instance,
            discoveryError: isVerifier ? FleetError("no-etcd", "none") : nil, certificate: nil,
            drillVersions: isVerifier ? ["3.5.1"] : nil,
            program: RunningProgram(sha256: "b", architecture: "x86_64", isChosen: false))
        change(&agent)
        return agent
    }

    private func order(_ agents: [AgentRecord], canary: String? = nil) throws -> [String] {
        try UpgradePlan(program, agents, canary: canary).targets.map(\.name)
    }

    @Test func verifiersFirstLeadersLast() throws {
        let agents = [
            agent("b", "n1"), agent("a", "n1", part: .leader), agent("a", "n2"), agent("a", "n3"),
            agent("z", "verifier", isVerifier: true),
        ]
        #expect(try order(agents) == ["z/verifier", "a/n2", "a/n3", "a/n1", "b/n1"])
        #expect(try order(agents, canary: "b/n1") == ["b/n1", "z/verifier", "a/n2", "a/n3", "a/n1"])
        #expect(try order(agents, canary: "n3").first == "a/n3")
        let plan = try UpgradePlan(program, agents, canary: nil)
        #expect(plan.targets.map(\.isCanary) == [true, false, false, false, false] && plan.isWhole)
    }

    @Test func whoIsLeftOutAndWhy() throws {
        let cases: [(AgentRecord, String, isDone: Bool)] = [
            (agent("a", "n1") { $0.program?.sha256 = program.sha256 }, "runs it already", true),
            // It has it, and comes back with it.
            (agent("a", "n2", connected: false) { $0.program?.sha256 = program.sha256 }, "runs it already", true),
            (agent("a", "n3", connected: false), "is not connected since", false),
            (agent("a", "n4") { $0.program = nil }, "too old", false),
            (agent("a", "n5") { $0.program?.architecture = "aarch64" }, "is aarch64, the program is for x86_64", false),
            (agent("a", "n6", version: "0.3.1"), "has 0.3.1 installed, which is newer", false),
        ]
        for (agent, reason, isDone) in cases {
            let plan = try UpgradePlan(program, [agent], canary: nil)
            #expect(plan.targets.isEmpty && plan.isWhole == isDone)
            #expect(plan.skipped.first?.reason.contains(reason) == true, "\(plan.skipped)")
        }
        // Of one that was chosen the agent alone knows which is installed.
        #expect(try order([agent("a", "n1", version: "0.3.1") { $0.program?.isChosen = true }]) == ["a/n1"])
        let revoked = agent("a", "n1") {
            $0.certificate = CertificateRecord(
                fingerprint: "f", serial: "s", issued: Timestamp(milliseconds: 0), notAfter: Timestamp(milliseconds: 0),
                revoked: Timestamp(milliseconds: 0))
        }
        #expect(try UpgradePlan(program, [revoked], canary: nil) == UpgradePlan(program, [], canary: nil))
    }

    @Test func aCanaryThatIsNoneIsRefused() throws {
        let agents = [agent("a", "n1"), agent("b", "n1"), agent("a", "n2", connected: false)]
        func code(_ canary: String) -> FleetError.Code? {
            do throws(FleetError) {
                _ = try UpgradePlan(program, agents, canary: canary)
                return nil
            } catch { return error.code }
        }
        #expect(code("n1") == "ambiguous" && code("n9") == .notFound && code("a/n2") == "not-upgradable")
        #expect(code("b/n1") == nil)
        // One that was upgraded before is no obstacle to the others.
        let done = [agent("a", "n1") { $0.program?.sha256 = program.sha256 }, agent("a", "n2")]
        let plan = try UpgradePlan(program, done, canary: "n1")
        #expect(plan.targets.map(\.name) == ["a/n2"] && plan.targets.map(\.isCanary) == [false])
        let revoked = agent("a", "n1") {
            $0.certificate = CertificateRecord(
                fingerprint: "f", serial: "s", issued: Timestamp(milliseconds: 0), notAfter: Timestamp(milliseconds: 0),
                revoked: Timestamp(milliseconds: 0))
        }
        let error = #expect(throws: FleetError.self) {
            try UpgradePlan(program, [revoked, agent("a", "n2")], canary: "n1")
        }
        #expect(error?.code == "not-upgradable" && error?.message.contains("revoked") == true)
    }

    /// One that fails again and again is named, one way or the other, before anything is done to the others.
    @Test func whatFailsIsLeftOutOrTriedAgainByItsName() throws {
        let back = agent("a", "n1") {
            $0.program?.fallback = ProgramFallback(
                version: program.version, sha256: program.sha256, error: FleetError("upgrade-fell-back", "it ended"),
                time: Timestamp(milliseconds: 0))
        }
        let agents = [back, agent("a", "n2"), agent("b", "n1")]
        // It can be looked at, with all others.
        let looked = try UpgradePlan(program, agents, canary: nil)
        #expect(looked.objection?.code == "not-upgradable")
        #expect(looked.objection?.hint?.contains("--skip a/n1") == true)
        #expect(looked.targets.map(\.name) == ["a/n2", "b/n1"] && !looked.isWhole)
        #expect(looked.skipped.map(\.reason) == ["went back from this very program: it ended"])
        let without = try UpgradePlan(program, agents, canary: nil, leaving: ["a/n1"])
        #expect(without.targets.map(\.name) == ["a/n2", "b/n1"] && without.isWhole)
        #expect(without.skipped.map(\.reason) == ["is left out, by --skip"] && without.objection == nil)
        #expect(try UpgradePlan(program, agents, canary: nil, retries: true).targets.count == 3)
        for (name, code) in [("n1", "ambiguous"), ("n9", "not-found")] as [(String, FleetError.Code)] {
            let error = #expect(throws: FleetError.self) {
                try UpgradePlan(program, agents, canary: nil, leaving: [name])
            }
            #expect(error?.code == code)
        }
        // Where whoever asks may not, the others have their turn.
        let closed = try UpgradePlan(program, [agent("a", "n2"), agent("b", "n1")], canary: nil, closed: ["b"])
        #expect(closed.targets.map(\.name) == ["a/n2"] && closed.skipped.map(\.name) == ["b/n1"] && !closed.isWhole)
        // Another program is another matter.
        var other = back
        other.program?.fallback?.sha256 = "b"
        #expect(try order([other]) == ["a/n1"])
    }
}
