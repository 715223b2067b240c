import FleetConcerns
import FleetProtocol
import FleetSystem
import Testing

@testable import FleetControl

@Suite("What people read of a restore that went back") struct RestoreReportTests {
    private func job(_ node: String, _ outcome: JobOutcome?, topology: Topology = .externalSystemd) -> JobRecord {
        var outcome = outcome
        outcome?.plan = RestorePlan(
            cluster: "c", node: node, snapshot: "s", topology: topology, oldDataDir: "/d", newDataDir: "/n",
            oldWalDir: nil, newWalDir: nil, clusterToken: "t", changes: [], steps: [])
        let time = Timestamp(milliseconds: 0)
        return JobRecord(
            id: "j", cluster: "c", node: node, kind: "restore", snapshot: "s", dryRun: false, state: .rolledBack,
            requestedBy: "o", created: time, started: nil, finished: nil, lastHeard: nil, outcome: outcome,
            error: nil, attempts: [], events: [])
    }

    private func restore(_ members: [JobRecord]) -> JobRecord {
        var job = job(members.map(\.node).joined(separator: ","), nil)
        job.members = members
        return job
    }

    private let well = JobOutcome(result: .rolledBack, summary: "rolled back")
    private var ill: JobOutcome {
        var outcome = well
        outcome.unhealthy = "etcd was not healthy within 9 s: no leader"
        return outcome
    }

    @Test func whoIsNotHealthyIsNamed() {
        let good = restore([job("a", well), job("b", well)])
        #expect(
            RestoreReport.summary(good, false)
                == "the old configuration and the old data are in force again on all members")
        #expect(RestoreReport.unwell(good).isEmpty)

        let bad = restore([job("a", ill), job("b", well), job("d", ill, topology: .stacked)])
        #expect(
            RestoreReport.summary(bad, false)
                == "the old configuration and the old data are in force again on all members, but etcd was not seen to be "
                + "healthy on a, d")
        #expect(
            RestoreReport.unwell(bad) == [
                "on a: etcd was not healthy within 9 s: no leader; see journalctl -u etcd",
                "on d: etcd was not healthy within 9 s: no leader; see the log of etcd's container (crictl logs)",
            ])
        var undo = bad
        undo.undoes = "r"
        #expect(RestoreReport.summary(undo, false).hasPrefix("the restored configuration and the restored data are"))
        #expect(RestoreReport.summary(undo, false).hasSuffix("but etcd was not seen to be healthy on a, d"))
        #expect(RestoreReport.unwell(job("a", ill)).count == 1)
    }

    /// What is known of an etcd while a job stops and starts it is of before; of all others it is news.
    @Test func whoseEtcdAJobMoves() {
        func agent(_ node: String) -> AgentRecord {
            var agent = RestoreMembersTests.agent(1)
            (agent.cluster, agent.node, agent.connected) = ("c", node, true)
            agent.instance?.pid = nil
            return agent
        }
        let (a, b, d) = (agent("a"), agent("b"), agent("d"))
        #expect(a.stopped([])?.pid == nil && a.stopped([]) != nil)
        var open = job("a", nil)
        open.state = .running
        var stuck = job("b", nil)
        stuck.state = .stuck
        let restore = restore([open, stuck, job("d", well)])
        #expect(restore.movesEtcd(of: a) && restore.movesEtcd(of: b) && !restore.movesEtcd(of: d))
        #expect(a.stopped([restore]) == nil && d.stopped([restore]) != nil, "its part is over")
        var dry = restore
        dry.dryRun = true
        var elsewhere = restore
        elsewhere.cluster = "x"
        var backup = open
        backup.kind = "backup"
        for other in [dry, elsewhere, backup] { #expect(!other.movesEtcd(of: a)) }
        // The healthy members' acts touch no etcd of theirs.
        var replacement = self.restore([job("a", nil), open])
        (replacement.kind, replacement.node) = ("replace", "d")
        #expect(replacement.movesEtcd(of: d) && !replacement.movesEtcd(of: a))

        #expect(RestoreReport.without("a", restore).contains("the others take it back"))
        #expect(RestoreReport.without("a", open) == "its end will not be heard of")
        #expect(RestoreReport.without("d", replacement) == "it ends where it stands")
    }

    @Test func whatAllSayIsShownOnce() {
        func outcome(_ notes: [String]?) -> JobOutcome { JobOutcome(result: .succeeded, summary: "done", notes: notes) }
        let all = "it begins at revision 7"
        let job = restore([
            job("a", outcome([all, "set dataDir"])), job("b", outcome([all])), job("d", outcome([all])),
        ])
        #expect(RestoreReport.notes(job) == [all, "on a: set dataDir"])
        #expect(RestoreReport.notes(self.job("a", outcome([all]))) == [all])
        #expect(RestoreReport.notes(restore([self.job("a", outcome(nil))])).isEmpty)
    }

    @Test func forWhomItWaitsAndUntilWhen() {
        func agent(_ node: String, connected: Bool) -> AgentRecord {
            AgentRecord(
                cluster: "c", node: node, enrolled: Timestamp(milliseconds: 0), lastSeen: nil, connected: connected,
                version: nil, instance: nil, discoveryError: nil, certificate: nil)
        }
        let agents = [agent("a", connected: false), agent("b", connected: false), agent("d", connected: true)]
        var job = restore([job("a", nil), job("b", nil), job("d", nil)])
        #expect(RestoreReport.waits(job) == nil && RestoreReport.missed(job, agents).isEmpty)
        // Decided: who is there and at work is not missed.
        job.waitsFor = ["b", "d"]
        #expect(RestoreReport.waits(job) == "b, d to finish, as all do")
        #expect(RestoreReport.missed(job, agents).count == 1)
        #expect(RestoreReport.missed(job, agents).first?.hasSuffix("fleetctl agent revoke c b") == true)
        job.decision = .recall(FleetError(.internalError, "x"))
        #expect(RestoreReport.waits(job) == "b, d to go back, as all do")
        job.deadline = Timestamp(milliseconds: 60_000)
        #expect(RestoreReport.waits(job) == "b, d, until 1970-01-01 00:01:00Z; then it is taken back")
        #expect(RestoreReport.missed(job, agents).isEmpty)
    }

    @Test func eachLineSaysWhoIsMissing() {
        func part(_ node: String) -> JobRecord {
            var part = job(node, nil)
            part.id = "j-\(node)"
            return part
        }
        let whole = restore([part("a"), part("b"), part("d")])
        var lines = JobLines(whole, isLive: true)
        func reached(_ node: String, _ phase: RestorePhase) -> JobEvent {
            JobEvent(job: "j-\(node)", sequence: 1, time: Timestamp(milliseconds: 0), kind: .reached, phase: phase)
        }
        let told = [reached("a", .stop), reached("d", .start), reached("b", .stop), reached("b", .start)]
        #expect(
            told.map { lines.line($0) } == [
                "00:00:00Z  a  has ended stop, waits for b, d", "00:00:00Z  d  has ended start, waits for a, b",
                "00:00:00Z  b  has ended stop, the last of all", "00:00:00Z  b  has ended start, waits for a",
            ])
        // By clocks of several nodes nobody knows that.
        var past = JobLines(whole, isLive: false)
        #expect(past.line(told[0]) == "00:00:00Z  a  has ended stop")
        // One that has come to its end says who has not.
        var ending = JobLines(whole, isLive: true)
        func ended(_ node: String) -> JobEvent {
            JobEvent(
                job: "j-\(node)", sequence: 1, time: Timestamp(milliseconds: 0), kind: .outcome,
                outcome: JobOutcome(result: .succeeded, summary: "done"))
        }
        #expect(
            ["a", "d", "b"].map { ending.line(ended($0)) } == [
                "00:00:00Z  a  succeeded: done; not at the end yet: b, d",
                "00:00:00Z  d  succeeded: done; not at the end yet: b", "00:00:00Z  b  succeeded: done",
            ])
        // Who has failed is waited for by nobody.
        var live = JobLines(whole, isLive: true)
        _ = live.line(JobEvent(job: "j-b", sequence: 1, time: Timestamp(milliseconds: 0), kind: .held))
        #expect(live.line(told[0]) == "00:00:00Z  a  has ended stop, waits for d")
    }
}
