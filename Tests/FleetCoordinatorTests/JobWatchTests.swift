import FleetCommandLine
import FleetControl
import FleetProtocol
import FleetReactor
import FleetSystem
import Testing

@testable import FleetCoordinator

/// `fleetctl job watch`, over agents that really are connected.
@Suite("Watching a job", .timeLimit(.minutes(5))) struct JobWatchTests {
    /// `fleetctl` while it runs.
    private final class Running: Sendable {
        private let printed = Monitor((out: "", err: ""))
        private let task: Task<FleetCommandLine.ExitStatus, Never>

        init(_ words: [String]) {
            let printed = self.printed
            let terminal = Terminal(outputIsTerminal: false, errorIsTerminal: true, color: false, columns: 100) {
                descriptor, text in
                printed.withLock { if descriptor == 1 { $0.out += text } else { $0.err += text } }
            }
            task = Task { await Program.run(words, Fleetctl.command, version: "test", terminal: terminal) }
        }

        func says(_ text: String) async throws {
            for _ in 0..<500 {
                if printed.withLock({ $0.out.contains(text) || $0.err.contains(text) }) { return }
                try await Task.sleep(for: .milliseconds(20))
            }
            Issue.record("not said: \(text); but \(printed.withLock(\.self))")
        }

        func end() async -> Transcript {
            let status = await task.value
            let (out, err) = printed.withLock { $0 }
            return Transcript(status: status, out: out, err: err)
        }
    }

    private static func agent(_ server: TestServer, _ number: Int, members: Int = 1) async throws -> Connection {
        let connection = try await server.dial(.agent(cluster: "a", node: "n\(number)")) { stream in
            try? await stream.finish(Acknowledgement())
        }
        var request = Fixture.registration()
        request.instance = RestoreMembersTests.agent(number, of: Array(1...members)).instance
        let _: RegisterReply = try await connection.call(Method.register, request)
        return connection
    }

    private static func tell(_ agent: Connection, _ event: JobEvent) async throws {
        let _: Acknowledgement = try await agent.call(Method.event, event)
    }

    @Test func oneThatSomebodyElseBeganIsFollowedToItsEnd() async throws {
        let server = try await TestServer()
        _ = try await server.catalogue.addCluster("a", by: "root")
        let agent = try await Self.agent(server, 1)
        let root = try await server.operate()
        let viewer = try await server.login("eve", as: OperatorAccess(role: .viewer))
        let job: JobRecord = try await root.call(ControlMethod.startBackup, BackupRequest(cluster: "a"))
        func event(_ number: Int, _ kind: JobEvent.Kind, step: String? = nil) -> JobEvent {
            JobEvent(job: job.id, sequence: number, time: .now(), kind: kind, step: step)
        }
        try await Self.tell(agent, event(1, .accepted))
        try await Self.tell(agent, event(2, .stepStarted, step: "save"))
        let watch = Running(["job", "watch", String(job.id.dropLast(2))] + viewer)
        try await watch.says("save ...")
        try await Self.tell(agent, event(3, .stepDone, step: "save"))
        try await watch.says("save done")
        await server.server.feed.publish(progress: 1 << 20, of: 4 << 20, job: job.id)
        try await watch.says("1.0 MB of 4.2 MB")
        var end = event(4, .outcome)
        let error = FleetError(.noSpace, "the disk is full", hint: "make room")
        end.outcome = JobOutcome(result: .failed, error: error, summary: "failed; nothing was changed on the node")
        try await Self.tell(agent, end)
        let transcript = await watch.end()
        #expect(transcript.status == .failure)
        let lines = transcript.out.split(separator: "\n")
        try #require(lines.count == 5, "\(transcript.out)")
        #expect(lines[0].hasPrefix("backup \(job.id) of a on n1, asked for "))
        #expect(lines[1].hasSuffix("the agent has accepted the job"))
        #expect(lines[2].hasSuffix("save ...") && lines[3].hasSuffix("save done"))
        #expect(lines[4] == "FAILED  failed; nothing was changed on the node")
        #expect(transcript.err.contains("error: the disk is full\nhint: make room\nended "))

        // It has ended: the same at once, and for scripts the record that 'job show' has.
        let after = await TestServer.fleetctl(["job", "watch", job.id] + viewer)
        #expect(after.status == .failure && after.out == transcript.out)
        let watched = await TestServer.fleetctl(["job", "watch", job.id, "-o", "json"] + viewer)
        let shown = await TestServer.fleetctl(["job", "show", job.id, "-o", "json"] + viewer)
        #expect(watched.status == .failure && watched.out == shown.out && watched.err.isEmpty)
        await server.stop()
    }

    @Test func theWholeOfARestoreAndOnePartOfIt() async throws {
        let server = try await TestServer()
        let catalogue = server.catalogue
        _ = try await catalogue.addCluster("a", by: "root")
        var agents: [Connection] = []
        for number in 1...3 { agents.append(try await Self.agent(server, number, members: 3)) }
        var snapshot = Fixture.record("s1")
        snapshot.facts.members = 3
        try await catalogue.add(snapshot, by: "agent")
        let root = try await server.operate()
        var request = RestoreRequest(
            cluster: "a", at: "s1", dryRun: false, fromOtherCluster: false, waitSeconds: 60)
        request.withoutSafetySnapshot = true
        let restore: JobRecord = try await root.call(ControlMethod.startRestore, request)
        let members = try #require(restore.members)
        try await Self.tell(
            agents[0], JobEvent(job: members[0].id, sequence: 1, time: .now(), kind: .reached, phase: .prepare))
        let whole = Running(["job", "watch", restore.id, "--server", server.socket])
        let part = Running(["job", "watch", members[1].id, "--server", server.socket])
        try await whole.says("n1  has ended prepare")
        try await part.says("restore \(members[1].id) of a on n2")
        try await Self.tell(
            agents[1], JobEvent(job: members[1].id, sequence: 1, time: .now(), kind: .reached, phase: .prepare))
        try await whole.says("n2  has ended prepare, waits for n3")
        // The third can't, and the others go back.
        func end(_ index: Int, _ number: Int, _ result: JobOutcome.Result) async throws {
            let error = FleetError("no-tools", "there is no etcdutl")
            let outcome = JobOutcome(result: result, error: error, summary: "failed before anything was changed")
            try await Self.tell(
                agents[index],
                JobEvent(
                    job: members[index].id, sequence: number, time: .now(), kind: .outcome, error: error,
                    outcome: outcome))
        }
        try await end(2, 1, .failed)
        try await end(0, 2, .failed)
        try await end(1, 2, .failed)
        let transcript = await whole.end()
        #expect(transcript.status == .failure)
        #expect(transcript.out.contains("FAILED  nothing was changed on any member"), "\(transcript.out)")
        #expect(transcript.err.contains("there is no etcdutl"), "\(transcript.err)")
        let own = await part.end()
        #expect(own.status == .failure && !own.out.contains("n3"), "\(own.out)")
        await server.stop()
    }

    @Test func whoItWaitsForAndWhatIsNotThere() async throws {
        let server = try await TestServer()
        _ = try await server.catalogue.addCluster("a", by: "root")
        try await Fixture.enrol(server.catalogue, cluster: "a", node: "n1")
        let job = try await server.catalogue.createBackup(
            cluster: "a", node: "n1", lifetime: .seconds(600), by: "root")
        let watch = Running(["job", "watch", job.id, "--server", server.socket])
        try await watch.says("waits for n1, which is not connected")
        let refused = try await server.catalogue.answered(job.id, refusal: FleetError(.malformed, "no"))
        await server.server.carryOut([refused])
        let transcript = await watch.end()
        #expect(transcript.status == .failure && transcript.out.contains("REFUSED"), "\(transcript.out)")
        let missing = await server.fleetctl("job", "watch", "20990101")
        #expect(missing.status == .failure && missing.err.hasPrefix("error: "))
        await server.stop()
    }
}
