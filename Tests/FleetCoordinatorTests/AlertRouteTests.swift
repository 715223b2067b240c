import FleetConcerns
import FleetCrypto
import FleetProtocol
import FleetSystem
import FleetWebhook
import Testing

@testable import FleetCoordinator

/// How an alert goes out: to whom, signed how, and which answer means that it was taken.
@Suite("Routes of alerts", .timeLimit(.minutes(5)))
struct AlertRouteTests {
    @Test(arguments: [
        ("https://a.example/x", false, "https://a.example"),
        ("https://u:p@a.example:1/x", false, "https://a.example:1"),
        ("http://a.example/", true, "http://a.example"), ("http://a.example/", false, nil),
        ("file:///etc/passwd", true, nil), ("https://", true, nil), ("a.example", true, nil),
        ("https://a.example/\r\nX: y", true, nil), ("gopher://a.example", true, nil), ("", true, nil),
    ])
    func addresses(_ url: String, _ allowsHTTP: Bool, _ host: String?) {
        #expect(Webhook.host(url, allowsHTTP: allowsHTTP) == host)
    }

    /// As a receiver checks it: RFC 2104 by another implementation gave this value.
    @Test func theSignature() throws {
        let now = Timestamp("2026-11-29T03:00:00Z")!
        #expect(now.milliseconds / 1000 == 1_795_921_200)
        #expect(
            AlertRoute.signature(Array(#"{"a":1}"#.utf8), "s3cret", now)
                == "t=1795921200,v1=09dd8edc66aa995e97ffc4f29a9060e283201ed0b0e11465f0d585d025d078e0")
    }

    @Test func aCommandGetsTheMessageAndItsEndCounts() throws {
        let directory = try TemporaryDirectory()
        let program = directory.path + "/told"
        let script =
            "#!/bin/sh\ncat >\(directory.path)/got\n[ ! -e \(directory.path)/broken ] || { echo no way >&2; exit 3; }\n"
        try FileSystem.writeDurably(program, Array(script.utf8), mode: 0o700)
        try AlertRoute.check(program: program)
        #expect(throws: FleetError.self) { try AlertRoute.check(program: "told") }
        #expect(throws: FleetError.self) { try AlertRoute.check(program: directory.path) }
        try AlertRoute.command(program: program).send(Array("{}".utf8), id: "1")
        #expect(try FileSystem.readText(directory.path + "/got") == "{}")
        try FileSystem.writeDurably(directory.path + "/broken", [], mode: 0o600)
        let error = #expect(throws: FleetError.self) {
            try AlertRoute.command(program: program).send(Array("{}".utf8), id: "1")
        }
        #expect(error?.message.contains("status 3: no way") == true && error?.isRetryable == true)
    }

    /// A catalogue that can't be written must not have one alert sent again and again.
    @Test func whatWasTakenIsNotSentAgain() async throws {
        let server = try await TestServer()
        let directory = try TemporaryDirectory()
        let program = directory.path + "/told"
        try FileSystem.writeDurably(
            program, Array("#!/bin/sh\ncat >>\(directory.path)/got; echo >>\(directory.path)/got\n".utf8), mode: 0o700)
        // It sends nothing by itself meanwhile.
        server.server.sending.withLock { _ = $0.insert("hook") }
        let catalogue = server.catalogue
        _ = try await catalogue.setAlertTarget("hook", .command(program: program), fleet: "f:1", by: "root")
        let concern = Concern(.backupFailed, cluster: "a", "the last backup of a has failed")
        try await catalogue.turnAlerts(
            .init(raised: [StandingAlert(concern: concern, since: .now())]), fleet: "f:1")
        try await catalogue.script(
            "CREATE TRIGGER full BEFORE DELETE ON alert_messages BEGIN SELECT RAISE(ABORT, 'full'); END")
        for _ in 0..<3 {
            let due = try #require(try await catalogue.dueAlerts().first)
            #expect(await server.server.send(due, pause: .zero) == nil)
        }
        #expect(try FileSystem.readText(directory.path + "/got").split(separator: "\n").count == 1)
        #expect(try await catalogue.alertTargets()[0].waiting == 1)
        try await catalogue.script("DROP TRIGGER full")
        let due = try #require(try await catalogue.dueAlerts().first)
        #expect(await server.server.send(due, pause: .zero) == nil)
        #expect(try await catalogue.alertTargets()[0].waiting == 0)
        #expect(try FileSystem.readText(directory.path + "/got").split(separator: "\n").count == 1)
        await server.stop()
    }

    /// A receiver of another make, over a real connection.
    ///
    /// - Parameter tls: the files of its certificate and key.
    private func receiving(tls: [String] = [], _ body: (_ port: Int, _ got: String) async throws -> Void) async throws {
        let directory = try TemporaryDirectory()
        let (program, got) = (directory.path + "/receiver.py", directory.path + "/got")
        try FileSystem.writeDurably(program, Array(Self.receiver.utf8), mode: 0o600)
        let handle = Subprocess.Handle()
        async let ended = Blocking.run {
            try Subprocess.run(
                "/usr/bin/python3", [program, got, directory.path + "/port"] + tls, deadline: .seconds(60),
                handle: handle)
        }
        var port: Int?
        for _ in 0..<200 where port == nil {
            try await Task.sleep(for: .milliseconds(50))
            port = (try? FileSystem.readText(directory.path + "/port")).flatMap { Int($0) }
        }
        defer { handle.stop() }
        try await body(try #require(port), got)
        handle.stop()
        _ = try await ended
    }

    /// Keeps what it is sent, and answers as the path says.
    private static let receiver = """
        import http.server, json, os, ssl, sys, time
        class Receiver(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with open(sys.argv[1], "a") as file:
                    file.write(json.dumps([self.path, dict(self.headers), body.decode()]) + "\\n")
                if self.path == "/slow": time.sleep(30)
                self.send_response({"/bad": 503, "/moved": 307, "/many": 429, "/unwanted": 400}.get(self.path, 204 if self.path == "/none" else 200))
                if self.path == "/moved": self.send_header("Location", "/ok")
                self.end_headers()
                if self.path == "/endless":
                    for _ in range(1000): self.wfile.write(b"x" * 4096)
            def log_message(self, *_): pass
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        if len(sys.argv) > 3:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*sys.argv[3:])
            server.socket = context.wrap_socket(server.socket, server_side=True)
        with open(sys.argv[2] + ".new", "w") as file: file.write(str(server.server_address[1]))
        os.rename(sys.argv[2] + ".new", sys.argv[2])
        server.serve_forever()
        """

    @Test func aWebhookIsPostedAndItsAnswerCounts() async throws {
        try await receiving { port, got in
            func send(_ path: String, _ body: String = "{}") async throws {
                let route = AlertRoute.webhook(
                    url: "http://127.0.0.1:\(port)\(path)", secret: "s3cret", authorities: nil, allowsHTTP: true)
                try await Blocking.run { try route.send(Array(body.utf8), id: "d1") }
            }
            // What is in it is passed on as it is, whatever bytes of text.
            try await send("/ok", #"{"text":"a \u0000 b ü"}"#)
            try await send("/none")
            let lines = try FileSystem.readText(got).split(separator: "\n")
            #expect(lines.count == 2)
            let first = String(lines[0])
            #expect(first.contains(#"\"text\":\"a \\u0000 b \u00fc\"#) && first.contains(#""X-Fleet-Delivery": "d1""#))
            #expect(
                first.contains(#""X-Fleet-Signature": "t="#) && first.contains(#""Content-Type": "application/json""#))
            try await send("/endless")
            let never = await #expect(throws: FleetError.self) { try await send("/unwanted") }
            #expect(never?.isRetryable == false, "the same again is refused again")
            for (path, word) in [("/bad", "503"), ("/moved", "307"), ("/many", "429")] {
                let error = await #expect(throws: FleetError.self) { try await send(path + "", "{}") }
                #expect(error?.code == .webhook && error?.isRetryable == true)
                #expect(error?.message.contains(word) == true || word.isEmpty, "\(error?.message ?? "")")
                #expect(error?.message.contains(path) == false, "the path may be a secret: \(error?.message ?? "")")
            }
            #expect(try FileSystem.readText(got).split(separator: "\n").count == 7, "a redirection is not followed")
            #expect(throws: FleetError.self) {
                try Webhook.post(
                    Webhook.Request(
                        url: "http://127.0.0.1:\(port)/slow", body: [], headers: [], allowsHTTP: true,
                        deadline: .milliseconds(300)))
            }
        }
        let refused = AlertRoute.webhook(url: "http://127.0.0.1:1/", secret: "s", authorities: nil, allowsHTTP: false)
        #expect(throws: FleetError.self) { try refused.send([], id: "1") }
    }

    /// The receiver's certificate counts: that of the system's authorities, or of those that were named.
    @Test func whoIsNotWhoTheyShouldBeIsToldNothing() async throws {
        let authority = try TemporaryDirectory()
        let (key, certificate) = (authority.path + "/key", authority.path + "/certificate")
        for (name, host) in [("", "127.0.0.1"), ("-other", "127.0.0.2")] {
            let made = try await Blocking.run {
                try Subprocess.run(
                    "/usr/bin/openssl",
                    [
                        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                        "/CN=hook",
                        "-addext", "subjectAltName=IP:\(host)", "-days", "2", "-keyout", key + name, "-out",
                        certificate + name,
                    ])
            }
            try #require(made.succeeded, "\(made.complaint)")
        }
        for (name, isTrusted) in [("", true), ("-other", false)] {
            try await receiving(tls: [certificate + name, key + name]) { port, got in
                let authorities = try FileSystem.readText(certificate + name)
                func send(_ authorities: String?) throws {
                    try Webhook.post(
                        Webhook.Request(
                            url: "https://127.0.0.1:\(port)/ok", body: Array("{}".utf8), headers: [],
                            authorities: authorities))
                }
                if isTrusted {
                    try send(authorities)
                } else {
                    #expect(throws: FleetError.self, "it is another host's certificate") { try send(authorities) }
                }
                #expect(throws: FleetError.self, "the system does not know who vouches for it") { try send(nil) }
                let lines = (try? FileSystem.readText(got))?.split(separator: "\n").count ?? 0
                #expect(lines == (isTrusted ? 1 : 0))
            }
        }
    }
}
