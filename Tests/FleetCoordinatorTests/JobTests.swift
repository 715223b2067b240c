import FleetProtocol
import FleetSQLite
import FleetSystem
import Testing

@testable import FleetCoordinator

@Suite("Jobs of the catalogue")
struct JobTests {
    private let node = NodeName(cluster: "a", node: "n1")

    private func backup(_ catalogue: Catalogue, _ cluster: String = "a") async throws(FleetError) -> JobRecord {
        try await catalogue.createBackup(cluster: cluster, node: "n1", lifetime: .seconds(600), by: "root")
    }

    @Test func oneOpenJobPerCluster() async throws {
        let catalogue = try await Fixture.fleet()
        let first = try await backup(catalogue)
        do {
            _ = try await backup(catalogue)
            Issue.record("two jobs of one cluster")
        } catch {
            #expect(error.code == .clusterBusy)
            #expect(error.message.contains(first.id))
        }
        _ = try await backup(catalogue, "b")
        // Past every check, the index itself.
        #expect(
            await code {
                try await catalogue.script(
                    """
                    INSERT INTO jobs SELECT 'x', cluster, node, kind, snapshot, dry_run, operation, state, requested_by,
                        created, started, finished, last_heard, outcome, error, agents_word, restore,
                        undoes, cleans, replacement FROM jobs LIMIT 1
                    """)
            } == .alreadyExists)
        _ = try await catalogue.answered(first.id, refusal: FleetError(.malformed, "no"))
        #expect(try await backup(catalogue).state == .queued)
        #expect(await code { _ = try await backup(catalogue, "z") } == .notFound)
        #expect(
            await code {
                _ = try await catalogue.createBackup(cluster: "a", node: "n9", lifetime: .seconds(1), by: "root")
            } == .notFound)
    }

    @Test func countersRiseAndFollowTheAgent() async throws {
        let catalogue = try await Fixture.fleet()
        var last: UInt64 = 0
        for _ in 0..<3 {
            let job = try await backup(catalogue)
            let message = try await catalogue.message(job.id)
            #expect(message.counter > last)
            last = message.counter
            _ = try await catalogue.answered(job.id, refusal: FleetError(.malformed, "no"))
        }
        _ = try await catalogue.registered(node, Fixture.registration(counter: 1000), hasJustConnected: true)
        let job = try await backup(catalogue)
        #expect(try await catalogue.message(job.id).counter == 1001)
    }

    @Test func aJobRunsToItsEnd() async throws {
        let catalogue = try await Fixture.fleet()
        let job = try await backup(catalogue)
        let message = try #require(try await catalogue.willSend(job.id).deliver)
        #expect(message.operation == .backup(.init(snapshot: job.snapshot)))
        #expect(try await catalogue.job(job.id).attempts.first?.delivered != nil)
        try await catalogue.answered(job.id)
        try await catalogue.add(Fixture.record(job.snapshot, job: job.id), by: "agent")
        let event = JobEvent(
            job: job.id, sequence: 1, time: message.issued, kind: .outcome,
            outcome: JobOutcome(result: .succeeded, summary: "saved"))
        let effect = try await catalogue.receive(event, from: node)
        #expect(effect.closed?.state == .succeeded)
        #expect(try await catalogue.receive(event, from: node) == JobEffect())
        let record = try await catalogue.job(String(job.id.prefix(18)))
        #expect(record.events == [event])
        #expect(record.outcome?.summary == "saved")
        #expect(record.finished != nil)
        #expect(try await catalogue.willSend(job.id) == JobEffect())
        let log = try await catalogue.auditLog()
        #expect(log.last?.event.action == "job.end")
        #expect(log.last?.event.outcome == .ok)
    }

    @Test func eventsOfOtherNodesAreRefused() async throws {
        let catalogue = try await Fixture.fleet()
        let job = try await backup(catalogue)
        let event = JobEvent(job: job.id, sequence: 1, time: job.created, kind: .accepted)
        #expect(
            await code { _ = try await catalogue.receive(event, from: NodeName(cluster: "b", node: "n1")) }
                == .notFound)
        let odd = JobEvent(job: job.id, sequence: 0, time: job.created, kind: .accepted)
        #expect(await code { _ = try await catalogue.receive(odd, from: node) } == .malformed)
        #expect(await code { _ = try await catalogue.job("2") } == nil)
        #expect(await code { _ = try await catalogue.job("%") } == .notFound)
        #expect(await code { _ = try await catalogue.job("") } == .notFound)
    }

    @Test func aRestoreIsGuardedAndItsStepsAreKept() async throws {
        let catalogue = try await Fixture.fleet()
        try await catalogue.add(Fixture.record("s1"), by: "agent")
        try await catalogue.add(Fixture.record("s2", cluster: "b", etcdID: "f00d"), by: "agent")
        func restore(_ id: String, other: Bool = false) async throws(FleetError) -> JobRecord {
            try await catalogue.createRestore(
                RestoreOrder(snapshot: id, options: .init(allowOtherCluster: other)), cluster: "a", node: "n1",
                lifetime: .seconds(600), by: "operator:alice")
        }
        #expect(await code { _ = try await restore("s2") } == .otherCluster)
        #expect(try await catalogue.auditLog().last?.event.outcome == .refused)
        #expect(await code { _ = try await restore("s9") } == .notFound)
        let job = try await restore("s1")
        var sequence = 0
        for (kind, step) in [
            (.accepted, nil), (.stepStarted, "stop-etcd"), (.stepDone, "stop-etcd"), (.stepStarted, "switch"),
            (.stepFailed, "switch"),
        ] as [(JobEvent.Kind, String?)] {
            sequence += 1
            _ = try await catalogue.receive(
                JobEvent(
                    job: job.id, sequence: sequence, time: job.created, kind: kind, step: step,
                    error: kind == .stepFailed ? FleetError(.noSpace, "full") : nil), from: node)
        }
        let steps = try #require(try await catalogue.job(job.id).steps)
        #expect(steps.map(\.name) == ["stop-etcd", "switch"])
        #expect(steps.map(\.state) == [.done, .failed])
        #expect(steps.last?.error?.code == .noSpace)
        #expect(try await catalogue.auditLog().filter { $0.event.action == "restore.step" }.count == 2)
    }

    @Test func aStuckRestoreThatWasFinishedLaterIsShownAsItEnded() async throws {
        let catalogue = try await Fixture.fleet()
        try await catalogue.add(Fixture.record("s1"), by: "agent")
        let job = try await catalogue.createRestore(
            RestoreOrder(snapshot: "s1"), cluster: "a", node: "n1", lifetime: .seconds(600), by: "root")
        for (sequence, result) in [(1, JobOutcome.Result.stuck), (2, .succeeded), (3, .failed)] {
            _ = try await catalogue.receive(
                JobEvent(
                    job: job.id, sequence: sequence, time: job.created, kind: .outcome,
                    outcome: JobOutcome(result: result, summary: "\(result)")), from: node)
        }
        let record = try await catalogue.job(job.id)
        #expect(record.state == .succeeded)
        #expect(record.outcome?.result == .succeeded)
        #expect(record.error == nil)
    }

    @Test func afterARestartOpenJobsGoOnOrAreClosedHonestly() async throws {
        let directory = try TemporaryDirectory()
        let clock = TestClock()
        let path = directory.path + "/c.db"
        var catalogue = try await Fixture.fleet(clock, path: path)
        let running = try await backup(catalogue)
        _ = try await catalogue.willSend(running.id)
        try await catalogue.answered(running.id)
        let queued = try await backup(catalogue, "b")
        await catalogue.close()

        catalogue = try Fixture.catalogue(clock, path: path)
        #expect(try await catalogue.tick(connected: []).isEmpty)
        let other = NodeName(cluster: "b", node: "n1")
        let delivered = try await catalogue.registered(other, Fixture.registration(), hasJustConnected: true)
        #expect(delivered.map(\.deliver?.id) == [queued.id])
        #expect(
            try await catalogue.registered(
                node, Fixture.registration(active: [running.id], counter: 1), hasJustConnected: true
            ).isEmpty)
        #expect(try await catalogue.job(running.id).state == .running)
        let closed = try await catalogue.registered(node, Fixture.registration(counter: 1), hasJustConnected: true)
        #expect(closed.map(\.closed?.state) == [.failed])
        #expect(try await catalogue.job(running.id).error?.code == .jobLost)
    }

    /// An agent looks at its etcd for seconds, and tells of a change of it on the connection on which it was given a job
    /// meanwhile: what it had then says nothing of that job.
    @Test func aWordFromBeforeTheJobDoesNotEndIt() async throws {
        let catalogue = try await Fixture.fleet()
        let running = try await backup(catalogue)
        _ = try await catalogue.willSend(running.id)
        let stale = Fixture.registration(counter: 0)
        let again = try await catalogue.registered(node, stale, hasJustConnected: false)
        #expect(again.isEmpty, "nor is it sent once more")
        try await catalogue.answered(running.id)
        _ = try await catalogue.registered(node, stale, hasJustConnected: false)
        #expect(try await catalogue.job(running.id).state == .running)
        let closed = try await catalogue.registered(node, Fixture.registration(counter: 1), hasJustConnected: true)
        #expect(closed.map(\.closed?.state) == [.failed])
    }

    /// The agent connects just when it is too late: whoever watches the job is told.
    @Test func aJobThatExpiresWhenItIsToBeSentIsClosedForThoseWhoWait() async throws {
        let clock = TestClock()
        let catalogue = try await Fixture.fleet(clock)
        let job = try await backup(catalogue)
        clock.advance(.seconds(601))
        let effect = try await catalogue.willSend(job.id)
        #expect(effect.deliver == nil)
        #expect(effect.closed?.state == .expired)
        #expect(try await catalogue.job(job.id).error?.code == .timedOut)
    }

    @Test func idsOfOneSecondDiffer() async throws {
        let catalogue = try Fixture.catalogue()
        for i in 0..<40 {
            _ = try await catalogue.addCluster("c\(i)", by: "root")
            try await Fixture.enrol(catalogue, cluster: "c\(i)", node: "n1")
            _ = try await backup(catalogue, "c\(i)")
        }
        let jobs = try await catalogue.jobs()
        #expect(Set(jobs.map(\.id) + jobs.map(\.snapshot)).count == 80)
    }
}
