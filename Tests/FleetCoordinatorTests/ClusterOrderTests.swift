import FleetConcerns
import FleetProtocol
import FleetSystem
import Testing

@Suite("Clusters, the worst first") struct ClusterOrderTests {
    private let now = Timestamp("2026-11-24T12:00:00Z")!

    /// Well, but for what is said of it.
    private func cluster(_ name: String, hours: Double? = 1, _ change: (inout ClusterRecord) -> Void = { _ in })
        -> ClusterRecord
    {
        let saved = hours.map { now.adding(.milliseconds(Int64($0 * -3_600_000))) }
        var cluster = ClusterRecord(
            name: name, created: now, identities: [], agents: 1, snapshots: 1,
            latestSnapshot: saved.map { _ in "s-\(name)" }, latestSavedAt: saved, members: 1, lastJob: nil,
            lastJobKind: nil, lastJobState: nil)
        change(&cluster)
        return cluster
    }

    private func agent(_ cluster: String, _ change: (inout AgentRecord) -> Void = { _ in }) -> AgentRecord {
        var agent = AgentRecord(
            cluster: cluster, node: "n1", enrolled: now, lastSeen: now, connected: true, version: "1",
            instance: Fixture.instance(), discoveryError: nil, certificate: nil)
        change(&agent)
        return agent
    }

    private func status(_ clusters: [ClusterRecord], _ agents: [AgentRecord]) -> FleetStatus {
        FleetStatus(
            version: "1", time: now, clusters: clusters, agents: agents, openJobs: [], storeFree: 1 << 40, storeUsed: 0,
            audit: AuditVerdict(events: 0, head: "00", firstBreak: nil, findings: []))
    }

    private func drill(_ verdict: DrillRecord.Verdict) -> DrillRecord {
        DrillRecord(
            snapshot: "s", job: "j", node: "a/n1", finished: now, verdict: verdict, problem: nil,
            report: DrillReport(etcd: "3.5.1", tool: "etcdutl", limits: "none"))
    }

    /// Each is given in the opposite order of what is expected, and names sort against it.
    @Test func byTheGravestConcernThenByAge() {
        let objective = { (hours: Int) in { (one: inout ClusterRecord) in one.objective = hours * 3600 } }
        let table: [(what: String, cluster: ClusterRecord, agent: AgentRecord)] = [
            ("never backed up", cluster("z1", hours: nil), agent("z1")),
            ("its drill failed", cluster("z2", hours: 3) { $0.lastDrill = drill(.failed) }, agent("z2")),
            (
                "stands half-way, told of as the failed job",
                cluster("z3", hours: 2) {
                    $0.halfRestored = "r1"
                    $0.lastChange = JobEnd(job: "r1", kind: "restore", state: .stuck)
                }, agent("z3")
            ),
            (
                "not laid out for a restore", cluster("z4"),
                agent("z4") { $0.instance?.restoreProblem = FleetError("split", "two files") }
            ),
            ("nobody of it is there", cluster("z5", hours: 0.5), agent("z5") { $0.connected = false }),
            ("far above its objective", cluster("y1", hours: 4, objective(1)), agent("y1")),
            ("older, but nearer to its objective", cluster("y2", hours: 30, objective(24)), agent("y2")),
            (
                "its last backup failed",
                cluster("y3") { $0.lastBackup = JobEnd(job: "b", kind: "backup", state: .failed) }, agent("y3")
            ),
            ("one of its agents is away", cluster("x1"), agent("x1") { $0.connected = false }),
            (
                "went back from an upgrade", cluster("w1", hours: 0.5),
                agent("w1") {
                    let fallback = ProgramFallback(version: "2", sha256: nil, error: FleetError("x", "y"), time: now)
                    $0.program = RunningProgram(
                        sha256: "00", architecture: "amd64", isChosen: false, fallback: fallback)
                }
            ),
            ("well, and nearly due", cluster("v1", hours: 5, objective(6)), agent("v1")),
            ("well, half of a day without an objective", cluster("v2", hours: 12), agent("v2")),
            ("well, older than that, far from its objective", cluster("v3", hours: 20, objective(100)), agent("v3")),
            ("well, of this hour, by name", cluster("u1"), agent("u1")),
            ("well, of this hour", cluster("u2"), agent("u2")),
        ]
        let second = agent("x1") { $0.node = "n2" }
        let fleet = status(table.reversed().map(\.cluster), table.map(\.agent) + [second])
        let order = fleet.worstFirst.map(\.name)
        #expect(order == table.map(\.cluster.name))
        for (expected, name) in zip(table, order) where expected.cluster.name != name {
            Issue.record("'\(expected.what)' is not where it belongs, but \(name)")
        }
    }

    @Test func verifiersComeLastWhateverTheyHave() {
        let verifier = agent("a") {
            $0.instance = nil
            $0.discoveryError = FleetError("no-etcd", "none")
            $0.drillVersions = ["3.5"]
            $0.connected = false
        }
        let fleet = status([cluster("a", hours: nil), cluster("b")], [verifier, agent("b")])
        #expect(fleet.worstFirst.map(\.name) == ["b", "a"])
    }

    /// A coordinator that has just begun has heard of nobody; and a control plane would restore nothing.
    @Test func whoIsAwaitedIsNotOutOfReach() {
        let failed = cluster("a") { $0.lastBackup = JobEnd(job: "b", kind: "backup", state: .failed) }
        let away = agent("b") { $0.connected = false }
        let plane = agent("b") {
            ($0.node, $0.instance, $0.discoveryError) = ("k1", nil, FleetError("etcd-elsewhere", "it is elsewhere"))
        }
        var fleet = status([failed, cluster("b")], [agent("a"), away, plane])
        fleet.uptime = 5
        #expect(fleet.worstFirst.map(\.name) == ["a", "b"])
        fleet.uptime = 600
        #expect(fleet.worstFirst.map(\.name) == ["b", "a"])
    }

    /// Who follows none by mistake looks like who is meant to: people are told, and nobody is called.
    @Test func whatNoPolicyBacksUp() {
        let followed = cluster("c") { $0.policy = "p" }
        let lost = cluster("d") { $0.unscheduledSince = now }
        let verifier = agent("e") {
            ($0.instance, $0.discoveryError) = (nil, FleetError("no-etcd", "none"))
            $0.drillVersions = ["3.5"]
        }
        var fleet = status(
            [cluster("b"), followed, lost, cluster("e", hours: nil), cluster("f", hours: nil)],
            [agent("b"), agent("c"), agent("d"), verifier])
        #expect(Concern.notices(fleet).isEmpty, "an older coordinator may not tell of policies")
        fleet.queue = []
        #expect(
            Concern.notices(fleet).map(\.line) == [
                "b follows no policy: nothing backs it up by itself; 'fleetctl policy list' has what policies select, 'fleetctl "
                    + "cluster show b' its labels; label it, or name it in a policy"
            ])
        #expect(!Concern.all(fleet).contains { $0.kind == .unscheduled })
        #expect(Concern.all(fleet).first { $0.kind == .noPolicy }?.action?.contains("cluster show d") == true)
        fleet.clusters += ["g", "h", "i", "j", "k"].map { cluster($0) }
        fleet.agents += ["g", "h", "i", "j", "k"].map { agent($0) }
        #expect(
            Concern.notices(fleet).map(\.text) == [
                "6 clusters follow no policy, and nothing backs them up by itself: b, g, h, i, j, ..."
            ])
    }

    @Test func everyKindOfACluster() {
        #expect(Concern.Kind.noBackup.gravity < Concern.Kind.backupFailed.gravity)
        #expect(Concern.Kind.objectiveBroken.gravity < Concern.Kind.agentLost.gravity)
        #expect(Concern.Kind.agentLost.gravity < Concern.Kind.upgradeFellBack.gravity)
        // Whoever adds one, decides.
        #expect(Concern.Kind.allCases.allSatisfy { $0.gravity < .well })
    }
}
