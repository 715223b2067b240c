import FleetProtocol
import FleetSystem
import Glibc
import Testing

@testable import FleetAgent

/// The verification, on a real etcd: what passes by itself is waited for, what an answer shows is final.
@Suite(.enabled(if: RealEtcd.isInstalled)) struct VerifyTests {
    /// As if this etcd were what was restored: its own ids, with two keys up to revision 3.
    private func steps(_ etcd: RealEtcd, waitSeconds: Int) throws -> RestoreSteps {
        try etcd.put("a", "1")
        try etcd.put("b", "2")
        var node = try RestoreStepTests.Node(waitSeconds: waitSeconds)
        node.steps.work.instance = etcd.instance
        let status = try node.steps.client().status()
        (node.steps.work.memberID, node.steps.work.clusterID) = (status.memberID, status.clusterID)
        (node.steps.work.snapshot.facts.status.revision, node.steps.work.snapshot.facts.liveKeys) = (3, 2)
        return node.steps
    }

    private func process(_ etcd: RealEtcd) throws -> Int32 {
        try #require(try ProcessTable.etcds().first { $0.openDataDir == etcd.dataDir }).pid
    }

    @Test func onlyWhatMayPassIsTriedAgain() throws {
        let soon = ContinuousClock.now + .seconds(30)
        var tries = 0
        let value = try Waiting.persistently(until: soon) { () throws(FleetError) in
            tries += 1
            if tries < 3 { throw FleetError(.unhealthy, "an election", retryable: true) }
            return 7
        }
        #expect(value == 7 && tries == 3)
        tries = 0
        let final = #expect(throws: FleetError.self) {
            try Waiting.persistently(until: soon) { () throws(FleetError) in
                tries += 1
                throw FleetError(.verificationFailed, "another revision")
            }
        }
        #expect(final?.code == .verificationFailed && tries == 1)
        tries = 0
        let late = #expect(throws: FleetError.self) {
            try Waiting.persistently(until: .now + .seconds(1)) { () throws(FleetError) in
                tries += 1
                throw FleetError(.unhealthy, "try \(tries)", retryable: true)
            }
        }
        #expect(late?.code == .unhealthy && tries > 1, "it ends, and tries more than once")
    }

    /// etcd answers nothing for longer than one question may take.
    @Test(.timeLimit(.minutes(2))) func aProofIsWaitedFor() async throws {
        let etcd = try RealEtcd()
        let steps = try steps(etcd, waitSeconds: 60)
        let before = try steps.proof()
        let pid = try process(etcd)
        kill(pid, SIGSTOP)
        _ = try Subprocess.check(
            "/bin/sh", ["-c", "(sleep 13; kill -CONT \(pid)) > /dev/null 2>&1 < /dev/null &"])
        defer { kill(pid, SIGCONT) }
        #expect(try await onDisk { () throws(FleetError) in try steps.proof() } == before)
    }

    /// etcd 3.4.23 has all of the revision that it compacted last, and hashes it only as long as that is the newest.
    @Test func theCompactedRevisionIsHashed() throws {
        let etcd = try RealEtcd()
        var steps = try steps(etcd, waitSeconds: 1)
        let before = try steps.proof()
        #expect(before.revision == 3 && before.compactRevision < 3)
        try etcd.etcdctl("compact", "3")
        let proof = try steps.proof()
        // Nothing was gone with it.
        #expect(proof.revision == 3 && proof.compactRevision == 3 && proof.hashKV == before.hashKV)
        steps.work.undoes = "r"
        #expect(try steps.proof() == proof)
        steps.work.undoes = nil
        // A hash of something else is none of this.
        try etcd.put("c", "3")
        let error = #expect(throws: FleetError.self) { try steps.proof() }
        #expect(error?.code == .revisionCompacted && error?.hint?.contains("clients") == true)
    }

    /// etcd 3.4.23 compacts a deletion at the newest revision away, and begins at that one, where the last entry is older:
    /// what is older than the compaction it tells nobody.
    @Test func aSnapshotWhoseLastEntryWasCompactedAway() throws {
        let etcd = try RealEtcd()
        try etcd.put("a", "1")
        try etcd.put("b", "2")
        try etcd.etcdctl("del", "b")
        try etcd.etcdctl("compact", "4")
        let spool = try NodeTree()
        let saver = SnapshotSaver(paths: AgentPaths(state: spool.root), instance: etcd.instance)
        let saved = try saver.save(job: "b1", try saver.preflight())
        #expect(saved.facts.status.revision == 2)
        var record = RestorePlannerTests.record
        (record.size, record.sha256, record.facts) = (saved.facts.size, saved.sha256, saved.facts)
        // What the coordinator reads in the file itself.
        record.verification = SnapshotVerification(
            status: saved.facts.status, compactRevision: 4, findings: [], totalFindings: 0)
        var node = try RestoreStepTests.Node(record, waitSeconds: 5)
        try FileSystem.copyDurably(saved.file, to: node.steps.snapshotPath, mode: 0o600)
        _ = try node.steps.perform(.restoreData)

        let restored = try RealEtcd(dataDir: node.steps.work.plan.newDataDir)
        node.steps.work.instance = restored.instance
        #expect(node.steps.planned.revision == 4)
        #expect(try node.steps.perform(.verify).note?.contains("revision 4, 1 keys") == true)
        let proof = try node.steps.proof()
        #expect(proof.revision == 4 && proof.compactRevision == 4)
        // One that is not where the snapshot was is not what was meant.
        node.steps.work.snapshot.verification?.compactRevision = 5
        let error = #expect(throws: FleetError.self) { try node.steps.perform(.verify) }
        #expect(error?.code == .verificationFailed)
    }

    /// It answers for itself, but there is nobody whom the members follow: an election is no proof against the restore.
    @Test func withoutALeaderThereIsNoProof() async throws {
        let etcd = try RealEtcd()
        let steps = try steps(etcd, waitSeconds: 1)
        #expect(try steps.proof().leader != nil)
        try etcd.etcdctl("member", "add", "m2", "--peer-urls=http://127.0.0.1:1")
        let client = try steps.client()
        let isAlone = try await onDisk { () throws(FleetError) in
            try Waiting.until(20) { () throws(FleetError) in try client.status().leader == 0 }
        }
        #expect(isAlone)
        let error = await #expect(throws: FleetError.self) {
            try await onDisk { () throws(FleetError) in try steps.proof() }
        }
        #expect(error?.code == .unhealthy && error?.isRetryable == true)
    }

    /// Until etcd raises its alarm: a quota of 1 MB, and values of 100 kB.
    private func fill(_ etcd: RealEtcd) throws {
        let value = String(repeating: "x", count: 100_000)
        for index in 0..<40 {
            do { try etcd.put("fill-\(index)", value) } catch { return }
        }
        Issue.record("etcd took more than its quota")
    }

    /// It came with the snapshot, and nothing could be written to what was restored.
    @Test func aStaleAlarmIsDisarmedAndSaid() throws {
        let etcd = try RealEtcd(flags: ["--quota-backend-bytes=1000000"])
        var steps = try steps(etcd, waitSeconds: 20)
        try fill(etcd)
        let client = try steps.client()
        #expect(try client.alarms().map(\.kind) == [.noSpace])
        // The keys at revision 3 are what the snapshot has; a later revision is right.
        var undo = steps
        undo.work.undoes = "r"
        let undone = try undo.perform(.verify)
        #expect(undone.remark == nil && undone.note?.contains("NOSPACE") == true)
        #expect(try client.alarms().map(\.kind) == [.noSpace], "an undo leaves the old data as it was")

        let report = try steps.perform(.verify)
        #expect(try client.alarms().isEmpty)
        #expect(report.remark?.contains("a NOSPACE alarm from before was disarmed") == true)
        #expect(report.remark?.contains("--quota-backend-bytes") == true)
        #expect(report.note?.contains("2 keys") == true && report.note?.contains("disarmed") == true)
        // Done again, as after a crash or by the next member: there is nothing to do.
        #expect(try steps.perform(.verify).remark == nil)
        try client.disarm()
        // It is still full: etcd raises it again at the next write, and it is disarmed again.
        #expect(throws: (any Error).self) { try etcd.put("more", String(repeating: "x", count: 100_000)) }
        #expect(try steps.perform(.verify).remark != nil)
        steps.work.snapshot.facts.liveKeys = 99
        #expect(throws: FleetError.self) { try steps.perform(.verify) }
    }

    @Test func hashingMayTakeAsLongAsTheDatabaseIsLarge() throws {
        #expect(EtcdClient.hashDeadline(0) == .seconds(20))
        #expect(EtcdClient.hashDeadline(8_000_000_000) == .seconds(1620))
        let etcd = try RealEtcd()
        let client = try steps(etcd, waitSeconds: 10).client()
        #expect(try client.hashKV(revision: 3, deadline: .seconds(30)).hash != 0)
        let pid = try process(etcd)
        kill(pid, SIGSTOP)
        defer { kill(pid, SIGCONT) }
        let started = ContinuousClock.now
        #expect(throws: FleetError.self) { try client.hashKV(revision: 3, deadline: .seconds(2)) }
        #expect(ContinuousClock.now - started < .seconds(9), "etcdctl's own limit is 10 s otherwise")
    }
}
