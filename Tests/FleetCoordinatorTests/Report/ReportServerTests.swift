import FleetCommandLine
import FleetCrypto
import FleetProtocol
import FleetSystem
import Testing

@testable import FleetControl
@testable import FleetCoordinator

/// `fleetctl audit report` and `audit verify --report`, as they are typed, with a coordinator that serves.
@Suite("Reports by fleetctl", .serialized, .timeLimit(.minutes(5)))
struct ReportServerTests {
    private let server: TestServer
    private let directory: TemporaryDirectory

    init() async throws {
        server = try await TestServer()
        directory = try TemporaryDirectory()
        for cluster in ["a", "b"] { _ = try await server.catalogue.addCluster(cluster, by: "root") }
        var policy = FleetPolicy(name: "all")
        policy.objective = 3600
        _ = try await server.catalogue.setPolicy(policy, by: "root")
        try await server.catalogue.add(
            Fixture.record("s1", saved: Timestamp.now().adding(.seconds(-60)).description), by: "agent:a/n1")
    }

    private func fleetctl(
        _ words: String...
    ) async throws -> (status: FleetCommandLine.ExitStatus, out: String, err: String) {
        let printed = Monitor<(out: String, err: String)>(("", ""))
        let terminal = Terminal(outputIsTerminal: false, errorIsTerminal: false, color: false, columns: 100) {
            descriptor, text in
            printed.withLock { if descriptor == 1 { $0.out += text } else { $0.err += text } }
        }
        let status = await Program.run(
            ["audit"] + words + ["--server", server.socket], Fleetctl.command, version: "test", terminal: terminal)
        let (out, err) = printed.withLock { $0 }
        return (status, out, err)
    }

    @Test func eachFormIsMadeAndVerified() async throws {
        for format in ["html", "json", "csv", "md"] {
            let path = "\(directory.path)/report.\(format)"
            let made = try await fleetctl("report", "--since", "7d", "-f", path)
            #expect(made.status == .success && made.out.isEmpty && made.err.contains("2 clusters"), "\(made.err)")
            let verified = try await fleetctl("verify", "--report", path)
            #expect(verified.status == .success, "\(format): \(verified.out)\(verified.err)")
            #expect(verified.out.contains("VERIFIED") && verified.out.contains("made by root"))
            let again = try await fleetctl("report", "-f", path)
            #expect(again.status == .failure && again.err.contains("is there already"))
        }
        let shown = try await fleetctl("report", "--cluster", "b", "--since", "2d")
        #expect(shown.out.hasPrefix("# Audit report") && !shown.out.contains("| a |"))
        #expect(try await server.events("audit.report").count == 5)
        #expect(
            try await server.events("audit.report").allSatisfy { $0.outcome == .ok && $0.detail["sha256"]?.count == 64 }
        )
        await server.stop()
    }

    @Test func whatIsWrongIsSaid() async throws {
        let path = "\(directory.path)/r.html"
        #expect(try await fleetctl("report", "-f", path).status == .success)
        let text = try FileSystem.readText(path)
        let edited = "\(directory.path)/edited.html"
        try FileSystem.writeDurably(edited, Array(text.replacing("<td>all</td>", with: "<td>any</td>").utf8))
        let found = try await fleetctl("verify", "--report", edited)
        #expect(found.status == .findings && found.out.contains("WRONG") && found.out.contains("any"), "\(found.out)")
        #expect(found.out.contains("NOT VERIFIED"))
        let json = try await fleetctl("verify", "--report", edited, "-o", "json")
        #expect(json.status == .findings && json.out.contains("\"verified\" : false"))
        try FileSystem.writeDurably(edited, Array("hello".utf8))
        let none = try await fleetctl("verify", "--report", edited)
        #expect(none.status == .findings && none.out.contains("does not begin as a report"))
        #expect(try await fleetctl("verify", "--report", directory.path + "/nothing").status == .failure)
        for words in [["--since", "soon"], ["--until", "3d"], ["--since", "2999-01-01"], ["--format", "pdf"]] {
            let usage = try await fleetctl("report", words[0], words[1])
            #expect(usage.status == .usage, "\(words) \(usage.err)")
        }
        #expect(try await fleetctl("report", "--cluster", "nobody").err.contains("no cluster"))
        await server.stop()
    }

    /// A forger names another version as the writer: what is shown can't be compared, and that is no word in its favour.
    @Test func aPageThatCantBeComparedIsNotTrusted() async throws {
        let path = "\(directory.path)/r.html"
        #expect(try await fleetctl("report", "-f", path).status == .success)
        let text = try FileSystem.readText(path).replacing("<td>all</td>", with: "<td>any</td>")
        let forged = "\(directory.path)/forged.html"
        try FileSystem.writeDurably(
            forged,
            Array(
                text.replacing(
                    "written by fleetctl \(FleetVersion.current)", with: "written by fleetctl 9.9.9"
                ).utf8))
        let found = try await fleetctl("verify", "--report", forged)
        #expect(found.status == .findings && !found.out.contains("nothing speaks against"), "\(found.out)")
        #expect(
            found.out.contains("what the page SHOWS was not checked; rely only on the embedded data"), "\(found.out)")
        await server.stop()
    }

    /// Of a broken chain a report is made, and whoever made it is told by the status too.
    @Test func aBrokenChainIsToldByTheStatus() async throws {
        try await server.catalogue.script(
            "DROP TRIGGER audit_events_no_update; UPDATE audit_events SET time = 0 WHERE sequence = 3")
        let path = "\(directory.path)/r.html"
        let made = try await fleetctl("report", "-f", path)
        #expect(made.status == .partialFailure && made.err.contains("BROKEN"), "\(made.err)")
        #expect(FileSystem.exists(path))
        await server.stop()
    }

    /// What was not signed was never handed out: no report is made for whoever only knows what to ask for.
    @Test func onlyASignedReportIsMadeAgain() async throws {
        let path = "\(directory.path)/r.json"
        #expect(try await fleetctl("report", "-f", path).status == .success)
        let file = try ReportFile(try FileSystem.read(path, limit: 1 << 20))
        let statement = try file.envelope.reportStatement()
        let forged = try JobSigner(key: .generateEd25519()).sign(statement)
        let connection = try await server.operate()
        func prove(_ request: some Encodable) async throws -> Int {
            let stream = try await connection.open(ControlMethod.proveReport, try JSON.encode(request), ends: true)
            return try await ReportStream.receive(stream).0.count
        }
        #expect(try await prove(file.envelope) > 1000)
        await #expect(throws: FleetError.self) { try await prove(statement) }
        await #expect(throws: FleetError.self) { try await prove(forged) }
        // The file with that signature is told of as any that is wrong.
        let other = try ReportFormat.json.render(try #require(file.signed).with(forged))
        try FileSystem.writeDurably(path + ".json", other)
        let found = try await fleetctl("verify", "--report", path + ".json")
        #expect(found.status == .findings && found.out.contains("WRONG    signature"), "\(found.out)\(found.err)")
        #expect(found.out.contains("it names the key") && found.out.contains("NOT VERIFIED"))
        await server.stop()
    }

    /// Whoever can write the database makes all that follows anew: the report finds it.
    @Test func aChainThatWasRewrittenIsFound() async throws {
        let path = "\(directory.path)/r.json"
        #expect(try await fleetctl("report", "-f", path).status == .success)
        let catalogue = server.catalogue
        var head = AuditChain.Head.empty
        var sql = "DROP TRIGGER audit_events_no_update;"
        for link in try await catalogue.auditPage(after: 0, count: 1000).links {
            var event = try link.record().event
            if event.action == "cluster.add", event.cluster == "b" { event.actor = "somebody else" }
            let forged = try AuditChain.Link(event, after: head)
            head = .init(sequence: forged.sequence, hash: forged.hash)
            sql += """
                UPDATE audit_events SET body = CAST(x'\(forged.body.hex)' AS TEXT), previous = x'\(forged.previous.hex)',
                    hash = x'\(forged.hash.hex)' WHERE sequence = \(forged.sequence);
                """
        }
        try await catalogue.script(sql)
        try await catalogue.set("audit.head", head.text)
        #expect(try await fleetctl("verify").status == .success, "the chain alone can't tell")
        let found = try await fleetctl("verify", "--report", path)
        #expect(found.status == .findings && found.out.contains("the chain was rewritten"), "\(found.out)")
        await server.stop()
    }
}

extension SignedReport {
    fileprivate func with(_ envelope: Envelope) throws -> SignedReport {
        try SignedReport(bytes: bytes, envelope: envelope)
    }
}
