import FleetCrypto
import FleetProtocol
import FleetSystem

@testable import FleetControl
@testable import FleetCoordinator

/// The audit log of a fleet that has lived for some days: backups every six hours, drills on Sundays, retention, and what goes
/// wrong here and there. The same in each run.
struct SampleEvents {
    private(set) var events: [AuditEvent] = []
    private var random = SplitMix(seed: 11)
    let begin = Timestamp("2026-08-31T00:00:00Z")!
    private(set) var now: Timestamp

    init(clusters: Int, days: Int, name: (Int) -> String = { "cluster-\($0)" }) throws {
        now = begin
        let names = (1...clusters).map(name)
        for name in names {
            add("cluster.add", by: "root", cluster: name)
            add(
                "enrol", by: "token", cluster: name, subject: "node-1",
                [
                    "role": "agent", "fingerprint": name + "f", "peer": "192.0.2.7",
                    "notAfter": "2026-12-20T00:00:00.000Z",
                ])
        }
        add("token.create", by: "root", subject: "alice", ["role": "operator", "expires": "2026-08-31T01:00:00.000Z"])
        add("enrol", by: "token", subject: "alice", ["role": "operator", "fingerprint": "af"])
        var policy = FleetPolicy(name: "production")
        (policy.schedule, policy.objective) = ("0 */6 * * *", 7 * 3600)
        add(
            "policy.added", by: "operator:alice", subject: "production", ["policy": try JSON.text(policy), "after": ""])
        var kept: [String: [(String, Timestamp)]] = [:]
        for day in 0..<days {
            now = begin.adding(.seconds(day * 86_400 + 30))
            add("store.size", by: "coordinator", ["bytes": String(90_000_000 + Int64(day) * 400_000)])
            for hour in [0, 6, 12, 18] {
                for (index, name) in names.enumerated() {
                    now = begin.adding(.seconds(day * 86_400 + hour * 3600 + 60 + index))
                    let fails = Int.random(in: 0..<97, using: &random) == 0 || (index == 1 && (40...42).contains(day))
                    backup(
                        name, fails: fails, size: 40_000_000 + Int64(day) * 130_000 + Int64(index) * 1_000_000, &kept)
                }
            }
            if day % 7 == 6 {
                for name in names {
                    guard let (snapshot, _) = kept[name]?.last else { continue }
                    drill(name, snapshot, fails: Int.random(in: 0..<23, using: &random) == 0)
                }
            }
            if day == 50 { restore(names[0], kept[names[0]]!.last!.0) }
        }
        add(
            "operator.token", by: "operator:mallory", subject: "eve", outcome: .refused,
            ["code": "permission-denied", "error": "operators are made on the coordinator's host only"])
        add(
            "snapshot.value", by: "operator:alice", cluster: names[0], subject: "s",
            ["key": "/registry/secrets/a/b", "secret": "true"])
        add("certificate.revoke", by: "root", subject: "bob", ["count": "1"])
    }

    mutating func add(
        _ action: String, by actor: String, cluster: String? = nil, subject: String? = nil,
        outcome: AuditOutcome = .ok, _ detail: [String: String] = [:]
    ) {
        events.append(
            AuditEvent(
                sequence: Int64(events.count + 1), time: now, actor: actor, action: action, cluster: cluster,
                subject: subject, outcome: outcome, detail: detail))
    }

    mutating func wait(_ seconds: Int) { now = now.adding(.seconds(seconds)) }

    private mutating func backup(
        _ cluster: String, fails: Bool, size: Int64, _ kept: inout [String: [(String, Timestamp)]]
    ) {
        let job = "\(now.compact)-\(events.count)"
        let snapshot = job + "s"
        add(
            "job.create", by: "coordinator", cluster: cluster, subject: job,
            ["kind": "backup", "node": "node-1", "snapshot": snapshot])
        let saved = now
        wait(9)
        guard !fails else {
            return add(
                "job.end", by: "agent:\(cluster)/node-1", cluster: cluster, subject: job, outcome: .failed,
                [
                    "kind": "backup", "node": "node-1", "state": "failed", "code": "child-failed",
                    "error": "etcdctl: context deadline exceeded",
                ])
        }
        add(
            "snapshot.store", by: "agent:\(cluster)/node-1", cluster: cluster, subject: snapshot,
            [
                "sha256": SHA256.hash(Array(snapshot.utf8)).hex, "size": "\(size)", "job": job, "node": "node-1",
                "saved": saved.description, "condition": "verified",
            ])
        add(
            "job.end", by: "agent:\(cluster)/node-1", cluster: cluster, subject: job,
            ["kind": "backup", "node": "node-1", "state": "succeeded"])
        kept[cluster, default: []].append((snapshot, saved))
        if kept[cluster]!.count > 28 {
            let (old, time) = kept[cluster]!.removeFirst()
            add("snapshot.retire", by: "coordinator", cluster: cluster, subject: old, ["reason": "retention"])
            add(
                "snapshot.delete", by: "coordinator", cluster: cluster, subject: old,
                ["reason": "retention: last 28", "condition": "verified", "sha256": "00", "saved": time.description])
        }
    }

    private mutating func drill(_ cluster: String, _ snapshot: String, fails: Bool) {
        let job = "\(now.compact)-\(events.count)"
        add(
            "job.create", by: "coordinator", cluster: cluster, subject: job,
            ["kind": "drill", "node": "verifiers/spare", "snapshot": snapshot])
        wait(40)
        let error = ["code": "drill-differs", "error": "etcd serves HashKV 78 instead of 77"]
        add(
            "job.end", by: "agent:verifiers/spare", cluster: "verifiers", subject: job, outcome: fails ? .failed : .ok,
            ["kind": "drill", "state": fails ? "failed" : "succeeded"].merging(fails ? error : [:]) { $1 })
        add(
            "snapshot.drill", by: "coordinator", cluster: cluster, subject: snapshot, outcome: fails ? .failed : .ok,
            [
                "job": job, "verdict": fails ? "failed" : "proven",
                "seconds": "\(Double(Int.random(in: 60..<300, using: &random)) / 10)", "etcd": "3.5.16",
            ].merging(fails ? error : [:]) { $1 })
    }

    private mutating func restore(_ cluster: String, _ snapshot: String) {
        let (plan, id) = ("\(now.compact)-plan", "\(now.compact)-rest")
        add(
            "restore.create", by: "operator:alice", cluster: cluster, subject: plan,
            ["nodes": "node-1,node-2", "snapshot": snapshot, "dryRun": "true"])
        wait(20)
        add(
            "restore.end", by: "coordinator", cluster: cluster, subject: plan,
            ["state": "succeeded", "nodes": "node-1, node-2", "dryRun": "true"])
        wait(600)
        add(
            "restore.approve", by: "operator:bob", cluster: cluster, subject: plan,
            ["certificate": "bf", "planDigest": "00"])
        wait(60)
        add(
            "restore.create", by: "operator:alice", cluster: cluster, subject: id,
            ["nodes": "node-1,node-2", "snapshot": snapshot, "approvedBy": "operator:bob", "approvedPlan": plan])
        for step in ["prepare", "stop-etcd", "switch", "start-etcd", "verify"] {
            for node in [1, 2] {
                wait(4)
                add(
                    "restore.step", by: "agent:\(cluster)/node-\(node)", cluster: cluster, subject: "\(id)-\(node)",
                    ["step": step, "node": "node-\(node)", "detail": "done in 4 s"])
            }
            add(
                "restore.decide", by: "coordinator", cluster: cluster, subject: id,
                ["decision": "all have ended \(step)"])
        }
        add(
            "restore.end", by: "coordinator", cluster: cluster, subject: id,
            ["state": "succeeded", "nodes": "node-1, node-2"])
    }

    /// As the catalogue would make it of these events.
    func report(since: Timestamp? = nil, until: Timestamp? = nil, only: [String] = []) throws -> AuditReport {
        var fold = ReportFold(since: since ?? begin, until: until, only: only)
        var (walk, head) = (AuditWalk(), AuditChain.Head.empty)
        for event in events {
            let link = try AuditChain.Link(event, after: head)
            head = .init(sequence: link.sequence, hash: link.hash)
            if let event = walk.feed(link) { fold.feed(event) }
        }
        let verdict = walk.finish(recorded: head)
        return fold.report(
            version: FleetVersion.current, made: until ?? now.adding(.seconds(5)),
            chain: .init(
                height: verdict.events, head: verdict.head, firstBreak: verdict.firstBreak, findings: verdict.findings))
    }
}

extension AuditReport {
    /// With a signature.
    func signed(_ signer: JobSigner) throws -> SignedReport {
        let made = try MadeReport(self)
        return try SignedReport(bytes: made.bytes, envelope: try signer.sign(made.statement))
    }

    func signed() throws -> SignedReport { try signed(JobSigner(key: .generateEd25519())) }
}
