import FleetCrypto
import FleetProtocol
import FleetReactor
import FleetSystem
import Testing

@testable import FleetAgent
@testable import FleetCoordinator

/// What coordinator and agent write into the journal of a backup, by the code that writes it: a job's id leads from one to
/// the other, from the beginning on.
@Suite("Logs of jobs", .enabled(if: RealEtcd.isInstalled), .timeLimit(.minutes(15))) struct JobLogTests {
    private final class Journal: Sendable {
        private let lines = Monitor<[String]>([])

        var log: Log {
            Log { level, message, fields in self.lines.withLock { $0.append(Log.line(level, message, fields)) } }
        }

        func of(_ job: String) throws -> [[String: String]] {
            try lines.withLock(\.self).map { try JSON.decode([String: String].self, from: Array($0.utf8)) }
                .filter { $0["job"] == job }
        }

        func ends(_ job: String, with text: String) async throws -> [[String: String]] {
            for _ in 0..<1500 {
                let lines = try of(job)
                if lines.last?["message"]?.contains(text) == true { return lines }
                try await Task.sleep(for: .milliseconds(20))
            }
            return try of(job)
        }
    }

    /// An agent that is connected, beside an etcd that runs.
    private struct Agent {
        let journal = Journal()
        let isBlind = Monitor(false)
        let work: Task<Void, Never>

        init(_ paths: AgentPaths, _ etcd: RealEtcd) throws {
            let identity = try AgentIdentity(directory: paths.identity)
            let link = AgentLink(identity: identity, log: journal.log)
            let gate = JobGate(node: identity.node, cluster: identity.cluster, key: identity.jobKey)
            let (layout, instance, isBlind) = (try NodeTree(Layouts.kubespray).discover(), etcd.instance, self.isBlind)
            let runner = JobRunner(paths: paths, gate: gate, port: link, log: journal.log, faults: .none) {
                () throws(FleetError) in
                if isBlind.withLock(\.self) { throw FleetError(.noEtcd, "there is none", hint: "start it") }
                var found = layout
                found.instance = instance
                return found
            }
            work = Task {
                try? await runner.start()
                await link.run(
                    registration: {
                        RegisterRequest(
                            agentVersion: "1", instance: instance, discoveryError: nil, activeJobs: [], lastCounter: 0)
                    },
                    deliver: { envelope throws(FleetError) in try await runner.accept(envelope) },
                    decide: { envelope throws(FleetError) in try await runner.decide(envelope) },
                    connected: { connection, _ in
                        while !Task.isCancelled {
                            guard let event = await runner.outbox.nextUnacknowledged() else {
                                await runner.outbox.waitForEvents()
                                continue
                            }
                            do {
                                let _: Acknowledgement = try await connection.call(Method.event, event)
                                try await runner.acknowledge(event.job, event.sequence)
                            } catch { return }
                        }
                    })
            }
        }
    }

    @Test func theIdIsInBothFromTheBeginning() async throws {
        let tree = try NodeTree()
        let etcd = try RealEtcd()
        try etcd.put("key", "value")
        let coordinator = Journal()
        let directory = DataDirectory(path: tree.root + "/coordinator")
        try directory.create(.init(advertise: "127.0.0.1:7400", listen: "127.0.0.1:0"))
        let vault = try openVault(directory, log: coordinator.log)
        let server = CoordinatorServer(
            .init(
                listen: .tcp(host: "127.0.0.1", port: 0), advertise: try Address("127.0.0.1:7400"),
                controlSocket: directory.path + "/control.sock", user: 0),
            catalogue: vault.catalogue, vault: vault, keys: try KeyRing(directory: directory.keys), log: coordinator.log
        )
        let running = try await server.start()
        _ = try await vault.catalogue.addCluster("a", by: "root")
        let token = JoinToken(
            address: try Address("127.0.0.1:\(running.port)"),
            authorityFingerprint: server.keys.authority.certificate.fingerprint)
        _ = try await vault.catalogue.createToken(
            secret: token.secret, role: .agent, cluster: "a", lifetime: .seconds(60), by: "root")
        let paths = AgentPaths(state: tree.root + "/agent")
        let enrolled = try await Enrollment.redeem(token, name: "n1", role: .agent, software: "test")
        try AgentIdentity.save(enrolled, coordinator: token.address, in: paths.identity)
        let agent = try Agent(paths, etcd)
        let root = try await Dialler.connect(
            .unix(path: directory.path + "/control.sock"), tls: nil, options: .init(software: "test"))
        func backUp() async throws -> String {
            for _ in 0..<500 where await server.sessions.connected.isEmpty {
                try await Task.sleep(for: .milliseconds(20))
            }
            let job: JobRecord = try await root.call(ControlMethod.startBackup, BackupRequest(cluster: "a"))
            return job.id
        }

        let good = try await backUp()
        let told = try await coordinator.ends(good, with: "ended as")
        let done = try await agent.journal.ends(good, with: "job succeeded")
        #expect(
            told.map { $0["message"] } == [
                "backup is asked for by \(told.first?["message"]?.split(separator: " ").last ?? "")",
                "backup is sent to its agent", "snapshot stored", "backup ended as succeeded",
            ])
        for line in told where line["message"] != "snapshot stored" {
            #expect(line["cluster"] == "a" && line["node"] == "n1" && line["kind"] == "backup" && line["time"] != nil)
        }
        #expect(done.first?["message"] == "job backup begins")
        #expect(done.last?["message"]?.hasPrefix("job succeeded: saved ") == true)

        // With what it ended with, on both sides.
        agent.isBlind.withLock { $0 = true }
        let bad = try await backUp()
        for journal in [coordinator, agent.journal] {
            let end = try #require(try await journal.ends(bad, with: "there is none").last)
            #expect(end["level"] == "error" && end["code"] == "no-etcd" && end["hint"] == "start it", "\(end)")
        }
        agent.work.cancel()
        await agent.work.value
        await server.stop(running)
        await vault.catalogue.close()
    }
}
