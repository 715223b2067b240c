import FleetCommandLine
import FleetControl
import FleetProtocol
import FleetReactor
import FleetSystem
import Glibc
import Testing

@testable import FleetCoordinator

/// `fleetctl retention apply` over several clusters while something happens to one of them.
@Suite("Retention of many clusters", .serialized, .timeLimit(.minutes(5)))
struct RetentionApplyTests {
    private let server: TestServer

    /// Clusters a, b and c, three snapshots each, of which the newest is to stay.
    init() async throws {
        server = try await TestServer()
        for cluster in ["a", "b", "c"] {
            for day in 1...3 { try await add(cluster, day) }
            try await server.catalogue.setRetention(cluster, .init(last: 1), by: "root")
        }
    }

    private func add(_ cluster: String, _ day: Int) async throws {
        var sample = SampleSnapshot("\(cluster)\(day)", seed: UInt8(day), cluster: cluster)
        sample.record.facts.savedAt = Timestamp("2026-11-0\(day)T12:00:00Z")!
        try server.server.vault.store.store(sample, key: sample.record.id)
        try await server.catalogue.add(sample.record, by: "root")
    }

    /// `meanwhile` happens once, when the plan of cluster b is printed.
    private func apply(
        _ words: String..., meanwhile: @escaping @Sendable () async throws -> Void
    ) async throws -> (status: FleetCommandLine.ExitStatus, out: String, err: String) {
        let printed = Monitor<(out: String, err: String, isDone: Bool)>(("", "", false))
        let terminal = Terminal(outputIsTerminal: false, errorIsTerminal: false, color: false, columns: 100) {
            descriptor, text in
            let isNow = printed.withLock { printed in
                if descriptor == 1 { printed.out += text } else { printed.err += text }
                defer { printed.isDone = printed.isDone || text.hasPrefix("b keeps") }
                return !printed.isDone && text.hasPrefix("b keeps")
            }
            guard isNow else { return }
            let ended = Monitor(false)
            Task.detached {
                do { try await meanwhile() } catch { Issue.record(error) }
                ended.withLock { $0 = true }
                ended.broadcast()
            }
            #expect(ended.waiting(seconds: 60, until: \.self) { _, isReady in isReady })
        }
        let status = await Program.run(
            ["retention", "apply"] + words + ["--server", server.socket], Fleetctl.command, version: "test",
            terminal: terminal)
        let (out, err, _) = printed.withLock { $0 }
        return (status, out, err)
    }

    private func left() async throws -> [String] { try await server.catalogue.snapshots().map(\.record.id).sorted() }

    @Test func aBackupThatEndsInOneClusterStopsNoOther() async throws {
        let done = try await apply("--all", "--yes") { try await add("b", 4) }
        #expect(done.status == .partialFailure)
        #expect(
            done.out.contains("4 deleted; the space that no other snapshot needs comes back with: fleetctl store gc"))
        #expect(done.err.contains("nothing of b was deleted") && done.err.contains("fleetctl retention apply b"))
        #expect(try await left() == ["a3", "b1", "b2", "b3", "b4", "c3"])
        // The last word is about the whole.
        #expect(!(done.err.split(separator: "\n").last ?? "").contains("nothing was deleted"))
        await server.stop()
    }

    /// In JSON as well: what was done is on the standard output, and only that.
    @Test func jsonHasWhatWasDone() async throws {
        let done = try await apply("a", "b", "c", "--yes") {}
        #expect(done.status == .success && done.out.contains("6 deleted"))
        try await add("a", 4)
        try await server.catalogue.setRetention("b", nil, by: "root")
        let json = try await apply("a", "b", "--yes", "-o", "json") {}
        #expect(json.status == .partialFailure && json.err.contains("no retention policy"))
        let replies = try JSON.decode([RetentionReply].self, from: Array(json.out.utf8))
        #expect(replies.map(\.cluster) == ["a"])
        #expect(try await left() == ["a4", "b3", "c3"])
        await server.stop()
    }

    /// What was pinned is not known to a catalogue that was made again from the store: whoever sets the policies first loses none.
    @Test(arguments: [true, false]) func aCatalogueMadeAgainDeletesNothingByItself(_ isRebuilt: Bool) async throws {
        await server.stop()
        let server = try await TestServer()
        if !isRebuilt { _ = try await server.catalogue.addCluster("a", by: "root") }
        for day in 1...3 {
            var sample = SampleSnapshot("a\(day)", seed: UInt8(day), cluster: "a")
            sample.record.facts.savedAt = Timestamp("2026-11-0\(day)T12:00:00Z")!
            try server.server.vault.store.store(sample, key: sample.record.id)
        }
        #expect(try await server.server.vault.reconcile().added.count == 3)
        let rebuilt = try await server.events("catalogue.rebuild")
        #expect(rebuilt.map { $0.detail["snapshots"] } == (isRebuilt ? ["3"] : []))
        #expect(try await server.catalogue.retentionWaits() != nil || !isRebuilt)
        let first = try await server.catalogue.auditLog().first?.event.action
        #expect(first == (isRebuilt ? "catalogue.rebuild" : "cluster.add"), "before a snapshot is taken in")
        var policy = FleetPolicy(name: "p")
        (policy.schedule, policy.retention) = ("@daily", RetentionPolicy(last: 1))
        _ = try await server.catalogue.setPolicy(policy, by: "root")
        let backup = JobRecord(
            id: "j", cluster: "a", node: "n1", kind: "backup", snapshot: "a3", dryRun: false, state: .succeeded,
            requestedBy: "schedule:p", created: .now(), started: nil, finished: .now(), lastHeard: nil, outcome: nil,
            error: nil, attempts: [], events: [])
        await server.server.applyRetention(behind: backup)
        #expect(try await server.catalogue.snapshots().count == (isRebuilt ? 3 : 1))
        // At the next start it is not made again once more.
        _ = try await server.server.vault.reconcile()
        #expect(try await server.events("catalogue.rebuild").count == rebuilt.count)
        await server.stop()
    }

    /// One cluster alone: its error is the command's.
    @Test func oneClusterAloneFailsWithItsError() async throws {
        let done = try await apply("b", "--yes") { try await add("b", 4) }
        #expect(done.status == .failure && done.err.contains("nothing of b was deleted"))
        #expect(try await left().count == 10)
        await server.stop()
    }

    /// Whoever is asked, and says no, or can't be asked, has seen what could not be planned all the same.
    @Test(.enabled(if: isatty(0) == 0)) func whatFailsIsSaidBeforeTheQuestion() async throws {
        try await server.catalogue.setRetention("b", nil, by: "root")
        let done = try await apply("a", "b") {}
        #expect(done.status == .declined)
        let (failure, answer) = (
            try #require(done.err.firstRange(of: "b has no retention policy")),
            try #require(done.err.firstRange(of: "nothing was deleted"))
        )
        #expect(failure.upperBound < answer.lowerBound)
        #expect(done.err.contains("1 of 2 clusters has no plan"))
        #expect(try await left().count == 9)
        await server.stop()
    }

    /// A coordinator that can be reached and says no for now is no reason to give the other clusters up; one that hangs up
    /// again and again is, and then the question is not about all of them.
    @Test(.enabled(if: isatty(0) == 0), arguments: [true, false])
    func onlyALostCoordinatorEndsTheRun(_ isLost: Bool) async throws {
        await server.stop()
        let directory = try TemporaryDirectory()
        let socket = directory.path + "/fake.sock"
        let asked = Monitor<[String]>([])
        let listener = try await Self.listen(socket) { stream in
            guard let request = try? JSON.decode(RetentionRunRequest.self, from: stream.request) else { return }
            asked.withLock { $0.append(request.cluster) }
            if request.cluster == "b" {
                let busy = FleetError(.busy, "the catalogue is busy", hint: "try again", retryable: true)
                return isLost ? await stream.connection.close(busy) : await stream.fail(busy)
            }
            let line = RetentionReply.Line(
                snapshot: request.cluster + "1", savedAt: .now(), isKept: false, reasons: ["no rule keeps it"])
            try? await stream.finish(
                RetentionReply(cluster: request.cluster, policy: .init(last: 1), lines: [line], digest: "d"))
        }
        let printed = Monitor("")
        let terminal = Terminal(outputIsTerminal: false, errorIsTerminal: false, color: false, columns: 100) {
            _, text in
            printed.withLock { $0 += text }
        }
        let status = await Program.run(
            ["retention", "apply", "a", "b", "c", "--server", "unix:\(socket)"], Fleetctl.command, version: "test",
            terminal: terminal)
        let said = printed.withLock { $0 }
        #expect(status == .declined)
        #expect(asked.withLock { $0 } == (isLost ? ["a", "b", "b", "b"] : ["a", "b", "c"]))
        #expect(said.contains("can't be reached") == isLost, "\(said)")
        #expect(said.contains(isLost ? "2 of 3 clusters have no plan" : "1 of 3 clusters has no plan"), "\(said)")
        withExtendedLifetime(listener) {}
    }

    @Reactor private static func listen(
        _ path: String, _ handler: @escaping Connection.Handler
    ) throws(FleetError) -> Listener {
        try Listener(
            try Socket.listen(.unix(path: path)), tls: nil, options: .init(software: "test"), log: .silent,
            handler: handler, accepted: { _ in })
    }
}
