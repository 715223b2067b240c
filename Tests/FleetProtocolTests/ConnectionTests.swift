import FleetCrypto
import FleetReactor
import FleetSystem
import FleetTLS
import Testing

@testable import FleetProtocol

/// Real TLS over loopback.
@Suite struct ConnectionTests {
    struct Fleet {
        let authority: CertificateAuthority
        let server: TLSContext
        let client: TLSContext

        init(validity: Duration = .seconds(3600), now: Timestamp = .now()) throws {
            let made = try CertificateAuthority.create(name: "test fleet", validity: .seconds(86_400))
            authority = try CertificateAuthority(certificatePEM: made.certificatePEM, keyPEM: made.keyPEM)
            server = try TLSContext.server(
                identity: try Self.identity(authority, .coordinator(hosts: ["localhost", "127.0.0.1"])),
                authority: authority.certificate)
            client = try TLSContext.client(
                identity: try Self.identity(
                    authority, .agent(cluster: "cluster-1", node: "node-1"), validity: validity, now: now),
                authority: authority.certificate)
        }

        static func identity(
            _ authority: CertificateAuthority, _ subject: CertificateAuthority.Subject,
            validity: Duration = .seconds(3600), now: Timestamp = .now()
        ) throws -> TLSContext.Identity {
            let key = try PrivateKey.generateP256()
            let request = try CertificateRequest(key: key, commonName: "anything")
            return TLSContext.Identity(
                certificate: try authority.issue(subject, for: request, validity: validity, now: now), key: key)
        }
    }

    static func options(_ software: String = "test") -> Connection.Options {
        var options = Connection.Options(software: software)
        // Long, for a machine that is busy with other tests.
        options.handshakeLimit = .seconds(60)
        return options
    }

    /// Serves `handler` on a free port of loopback.
    @Reactor static func listen(
        _ tls: TLSContext, options: Connection.Options = options("server"), _ handler: @escaping Connection.Handler
    ) throws -> (Listener, Address) {
        // Port 0 is not an address for people, so it is formed by hand.
        let listener = try Listener(
            try Socket.listen(.tcp(host: "127.0.0.1", port: 0)), tls: tls, options: options, log: .silent,
            handler: handler,
            accepted: { _ in })
        return (listener, .tcp(host: "127.0.0.1", port: listener.port))
    }

    static let echo: Connection.Handler = { stream in
        do { try await stream.finish(bytes: stream.request) } catch {}
    }

    @Test func callsInParallel() async throws {
        let fleet = try Fleet()
        let (listener, address) = try await Self.listen(fleet.server, Self.echo)
        let connection = try await Dialler.connect(address, tls: fleet.client, options: Self.options())
        try await withThrowingTaskGroup(of: Void.self) { group in
            for i in 0..<100 {
                group.addTask {
                    let reply = try await connection.call("echo", "\(i)", as: String.self)
                    #expect(reply == "\(i)")
                }
            }
            try await group.waitForAll()
        }
        #expect(await connection.peerSoftware == "server")
        await connection.close(FleetError(.cancelled, "done"))
        await listener.stop()
    }

    /// 64 MB in each direction with a slow reader, and calls that go through meanwhile.
    @Test func callsPassWhileStreamsAreFull() async throws {
        let fleet = try Fleet()
        let total = 64 << 20
        let (listener, address) = try await Self.listen(fleet.server) { stream in
            if stream.method == "echo" { return await Self.echo(stream) }
            do {
                var count = 0
                var hash = SHA256()
                while case .data(let bytes) = try await stream.receive() {
                    count += bytes.count
                    hash.update(bytes)
                    try await stream.send(bytes)
                }
                try await stream.finish("\(count) \(hash.finalize().hex)")
            } catch { await stream.fail(FleetError(error)) }
        }
        let connection = try await Dialler.connect(address, tls: fleet.client, options: Self.options())
        let stream = try await connection.open("upload", [])
        let sender = Task {
            var random = SplitMix(state: 1)
            var hash = SHA256()
            var sent = 0
            while sent < total {
                let bytes = (0..<(100_000 / 8)).flatMap { _ in withUnsafeBytes(of: random.next()) { Array($0) } }
                hash.update(bytes)
                try await stream.send(bytes)
                sent += bytes.count
            }
            try await stream.finish()
            return "\(sent) \(hash.finalize().hex)"
        }
        let receiver = Task {
            var count = 0
            while true {
                switch try await stream.receive() {
                case .data(let bytes): count += bytes.count
                case .end(let body): return (count, try JSON.decode(String.self, from: body))
                case .message: Issue.record("a message")
                }
            }
        }
        for i in 0..<50 { #expect(try await connection.call("echo", i, as: Int.self) == i) }
        let (sent, received) = (try await sender.value, try await receiver.value)
        #expect(sent == received.1 && sent.hasPrefix("\(received.0) "))
        await connection.close(FleetError(.cancelled, "done"))
        await listener.stop()
    }

    /// A reader that is slower than the network never finds its inbox empty; what it has taken is let go of all the same.
    @Test func aSlowReaderHoldsNoMoreThanTheCredit() async throws {
        let fleet = try Fleet()
        let total = 256 << 20
        let (listener, address) = try await Self.listen(fleet.server) { stream in
            do {
                let piece = [UInt8](repeating: 1, count: 64 << 10)
                for _ in 0..<(total / piece.count) { try await stream.send(piece) }
                try await stream.finish(total)
            } catch { await stream.fail(FleetError(error)) }
        }
        let connection = try await Dialler.connect(address, tls: fleet.client, options: Self.options())
        let stream = try await connection.open("download", [], ends: true)
        var (count, most) = (0, 0)
        while case .data(let bytes) = try await stream.receive() {
            count += bytes.count
            if count % (8 << 20) < bytes.count { try await Task.sleep(for: .milliseconds(2)) }
            most = max(most, await stream.held)
        }
        #expect(count == total && most <= Multiplexer.initialCredit)
        await connection.close(FleetError(.cancelled, "done"))
        await listener.stop()
    }

    /// Somebody who pings without end and never reads the answers is dropped, before the answers fill the memory.
    @Test func aPeerThatNeverReadsIsDropped() async throws {
        let fleet = try Fleet()
        let (listener, address) = try await Self.listen(fleet.server, Self.echo)
        guard case .tcp(_, let port) = address else { return }
        let hello = Frame(.hello, payload: Array(#"{"newest":1,"oldest":1,"software":"x"}"#.utf8)).encoded.hex
        let ping = Frame(.ping, payload: [UInt8](repeating: 0, count: 8)).encoded.hex
        // Python's TLS, since our own side would read.
        let script = """
            import socket, ssl, sys
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            raw = socket.socket()
            # Before it connects: a window that shrinks later may leave the other side's acknowledgements outside of it,
            # and then nothing moves any more, whatever that side reads.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.connect(("127.0.0.1", \(port)))
            peer = context.wrap_socket(raw)
            peer.settimeout(120)
            peer.sendall(bytes.fromhex("\(hello)"))
            pings = bytes.fromhex("\(ping)") * 4096
            try:
                for _ in range(2000):
                    peer.sendall(pings)
                print("never dropped")
            except (ConnectionError, ssl.SSLError, BrokenPipeError):
                print("dropped")
            except TimeoutError:
                print("not read any more")
            """
        let output = try await Blocking.run {
            try Subprocess.run("/usr/bin/python3", ["-c", script], deadline: .seconds(240)).outputText
        }
        #expect(output == "dropped\n")
        let connection = try await Dialler.connect(address, tls: fleet.client, options: Self.options())
        #expect(try await connection.call("echo", 1, as: Int.self) == 1)
        await connection.close(FleetError(.cancelled, "done"))
        await listener.stop()
    }

    @Test func everyAddressIsBothKinds() async throws {
        let socket = try Socket.listen(.tcp(host: "*", port: 0))
        let port = Socket.localPort(socket)
        for host in ["127.0.0.1", "::1"] {
            let endpoint = try Socket.resolve(.tcp(host: host, port: port))[0]
            let client = try Socket.connect(endpoint)
            try await Task.sleep(for: .milliseconds(100))
            #expect(Socket.connectError(client) == nil, "\(host)")
        }
        try socket.close()
    }

    @Test func errorsTravelWhole() async throws {
        let fleet = try Fleet()
        let failure = FleetError("some-code", "what happened", hint: "what to do", retryable: true)
        let (listener, address) = try await Self.listen(fleet.server) { await $0.fail(failure) }
        let connection = try await Dialler.connect(address, tls: fleet.client, options: Self.options())
        await #expect(throws: failure) { try await connection.call("x", 1, as: Int.self) }
        await connection.close(FleetError(.cancelled, "done"))
        await listener.stop()
    }

    @Test func aClientOfAnotherAuthorityIsRefused() async throws {
        let (fleet, other) = (try Fleet(), try Fleet())
        let (listener, address) = try await Self.listen(fleet.server, Self.echo)
        // Its own authority is not ours, so it would refuse the server; believe ours to get to the server's check.
        let intruder = try TLSContext.client(
            identity: try Fleet.identity(other.authority, .agent(cluster: "cluster-1", node: "node-1")),
            authority: fleet.authority.certificate)
        await #expect { _ = try await Dialler.connect(address, tls: intruder, options: Self.options()) } throws: {
            ($0 as? FleetError)?.code == .untrusted
        }
        await #expect { _ = try await Dialler.connect(address, tls: other.client, options: Self.options()) } throws: {
            ($0 as? FleetError)?.code == .untrusted
        }
        await listener.stop()
    }

    /// Whose it is, and when it ended, is for whoever serves them to see and to say.
    @Test func aCertificateThatHasEndedIsLookedAtByTheHandler() async throws {
        let ended = Timestamp.now().adding(.seconds(-3600))
        let fleet = try Fleet(validity: .seconds(60), now: ended)
        let (listener, address) = try await Self.listen(fleet.server) { stream in
            guard case .certificate(let certificate) = await stream.connection.peer else { return }
            try? await stream.finish(certificate.notAfter)
        }
        let connection = try await Dialler.connect(address, tls: fleet.client, options: Self.options())
        #expect(try await connection.call("when", "", as: Timestamp.self) < Timestamp.now())
        await connection.close(FleetError(.cancelled, "done"))

        // Only its end is let by.
        let other = try Fleet()
        let strange = try TLSContext.client(
            identity: try Fleet.identity(
                other.authority, .agent(cluster: "cluster-1", node: "node-1"), validity: .seconds(60), now: ended),
            authority: fleet.authority.certificate)
        await #expect { _ = try await Dialler.connect(address, tls: strange, options: Self.options()) } throws: {
            ($0 as? FleetError)?.code == .untrusted
        }
        await listener.stop()
    }

    @Test func whoEnrollsChecksTheAuthority() async throws {
        let (fleet, other) = (try Fleet(), try Fleet())
        let (listener, address) = try await Self.listen(fleet.server, Self.echo)
        let connection = try await Dialler.connect(
            address, tls: try TLSContext.enrolling(), authorityFingerprint: fleet.authority.certificate.fingerprint,
            options: Self.options())
        #expect(await connection.authority?.fingerprint == fleet.authority.certificate.fingerprint)
        await connection.close(FleetError(.cancelled, "done"))
        await #expect {
            _ = try await Dialler.connect(
                address, tls: try TLSContext.enrolling(), authorityFingerprint: other.authority.certificate.fingerprint,
                options: Self.options())
        } throws: { ($0 as? FleetError)?.code == .untrusted }
        await listener.stop()
    }

    @Test func garbageBeforeTLSIsDroppedAndOthersAreServed() async throws {
        let fleet = try Fleet()
        let (listener, address) = try await Self.listen(fleet.server, Self.echo)
        for garbage in ["GET / HTTP/1.1\r\n\r\n", "\0\0\0\0\0\0\0\0", String(repeating: "x", count: 100_000)] {
            let result = try await Blocking.run {
                guard case .tcp(_, let port) = address else { return "" }
                return try Subprocess.run(
                    "/bin/bash", ["-c", "exec 3<>/dev/tcp/127.0.0.1/\(port); cat >&3; cat <&3 | head -c 4096 | wc -c"],
                    input: Array(garbage.utf8),
                    deadline: .seconds(20)
                ).outputText
            }
            #expect(result.hasSuffix("\n"), "the connection was closed by the listener")
        }
        let connection = try await Dialler.connect(address, tls: fleet.client, options: Self.options())
        #expect(try await connection.call("echo", 1, as: Int.self) == 1)
        await connection.close(FleetError(.cancelled, "done"))
        await listener.stop()
    }

    @Test func aSilentPeerIsGivenUp() async throws {
        let fleet = try Fleet()
        var options = Self.options()
        options.handshakeLimit = .milliseconds(300)
        // A listener that never answers: the backlog takes the connection.
        let socket = try Socket.listen(.tcp(host: "127.0.0.1", port: 0))
        let address = Address.tcp(host: "127.0.0.1", port: Socket.localPort(socket))
        await #expect { _ = try await Dialler.connect(address, tls: fleet.client, options: options) } throws: {
            ($0 as? FleetError)?.code == .timedOut
        }
        try socket.close()
    }

    @Test func aLostConnectionEndsWhatWaits() async throws {
        let fleet = try Fleet()
        let (listener, address) = try await Self.listen(fleet.server) { stream in
            await stream.connection.close(FleetError(.cancelled, "gone"), tellPeer: false)
        }
        let connection = try await Dialler.connect(address, tls: fleet.client, options: Self.options())
        await #expect { try await connection.call("x", 1, as: Int.self) } throws: {
            ($0 as? FleetError)?.code == .connectionLost
        }
        #expect(await connection.closed().code == .connectionLost)
        await listener.stop()
    }

    @Test func aCancelledReaderWakesUp() async throws {
        let fleet = try Fleet()
        let (listener, address) = try await Self.listen(fleet.server) { stream in _ = try? await stream.receive() }
        let connection = try await Dialler.connect(address, tls: fleet.client, options: Self.options())
        let stream = try await connection.open("wait", [])
        let reader = Task { try await stream.receive() }
        try await Task.sleep(for: .milliseconds(50))
        reader.cancel()
        await #expect { _ = try await reader.value } throws: { ($0 as? FleetError)?.code == .cancelled }
        await connection.close(FleetError(.cancelled, "done"))
        await listener.stop()
    }

    @Test func unixSocketPeerIsKnownByTheKernel() async throws {
        let path = "/tmp/fleet-test-\(Randomness.token(10)).sock"
        let listener = try await Task { @Reactor in
            try Listener(
                try Socket.listen(.unix(path: path)), tls: nil, options: Self.options("server"), log: .silent,
                handler: { stream in
                    guard case .user(let id) = await stream.connection.peer else {
                        return await stream.fail(FleetError(.untrusted, "no user"))
                    }
                    do { try await stream.finish(id) } catch {}
                }, accepted: { _ in })
        }.value
        let connection = try await Dialler.connect(.unix(path: path), tls: nil, options: Self.options())
        #expect(try await connection.call("who", 0, as: UInt32.self) == FileSystem.status(path)!.owner)
        await connection.close(FleetError(.cancelled, "done"))
        await listener.stop()
        try FileSystem.remove(path)
    }
}
