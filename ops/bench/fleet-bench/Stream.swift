import FleetCommandLine
import FleetCrypto
import FleetProtocol
import FleetReactor
import FleetSystem
import FleetTLS

/// Whether a call, as short as a heartbeat, passes while gigabytes stream on the same connection.
let streamCommand = Command(
    "stream", "Stream bytes over one TLS connection and time short calls beside them",
    options: [.init("gigabytes", value: "N", "how much to stream (default 8)")]
) { call in
    let total = Int64(try call.number("gigabytes", default: 8)) * 1_000_000_000
    let made = try CertificateAuthority.create(name: "bench", validity: .seconds(86_400))
    let authority = try CertificateAuthority(certificatePEM: made.certificatePEM, keyPEM: made.keyPEM)
    func identity(_ subject: CertificateAuthority.Subject) throws -> TLSContext.Identity {
        let key = try PrivateKey.generateP256()
        return TLSContext.Identity(
            certificate: try authority.issue(
                subject, for: try CertificateRequest(key: key, commonName: "bench"), validity: .seconds(3600)), key: key
        )
    }
    let server = try TLSContext.server(
        identity: try identity(.coordinator(hosts: ["localhost"])), authority: authority.certificate)
    let client = try TLSContext.client(
        identity: try identity(.agent(cluster: "cluster-1", node: "bench")), authority: authority.certificate)
    let listener = try await listen(server)
    let connection = try await Dialler.connect(
        .tcp(host: "127.0.0.1", port: listener.port), tls: client, options: .init(software: "fleet-bench"))

    let started = ContinuousClock.now
    let sending = Task {
        let stream = try await connection.open("sink", [])
        let piece = [UInt8](repeating: 7, count: 256 << 10)
        var sent: Int64 = 0
        while sent < total {
            try await stream.send(piece)
            sent += Int64(piece.count)
        }
        try await stream.finish()
        return try JSON.decode(Int64.self, from: try await stream.receiveReply())
    }
    let timing = Task {
        var times: [Double] = []
        while !Task.isCancelled {
            let before = ContinuousClock.now
            let _: Int = try await connection.call("echo", 1)
            times.append((ContinuousClock.now - before).seconds * 1000)
            try? await Task.sleep(for: .milliseconds(20))
        }
        return times.sorted()
    }
    let received = try await sending.value
    let seconds = (ContinuousClock.now - started).seconds
    timing.cancel()
    let times = try await timing.value
    func milliseconds(_ value: Double) -> String { "\((value * 100).rounded() / 100) ms" }
    call.terminal.print(
        "streamed          \(Human.bytes(received)) in \(Human.duration(.milliseconds(Int(seconds * 1000)))), \(Human.bytes(Int64(Double(received) / seconds)))/s"
    )
    call.terminal.print(
        "calls beside it   \(times.count): median \(milliseconds(times[times.count / 2])), slowest \(milliseconds(times.last ?? 0))"
    )
    await connection.close(FleetError(.cancelled, "done"))
    return received >= total ? .success : .failure
}

@Reactor private func listen(_ tls: TLSContext) throws -> Listener {
    try Listener(
        try Socket.listen(.tcp(host: "127.0.0.1", port: 0)), tls: tls, options: .init(software: "fleet-bench"),
        log: .silent,
        handler: { stream in
            do {
                if stream.method == "echo" { return try await stream.finish(bytes: stream.request) }
                var count: Int64 = 0
                while case .data(let bytes) = try await stream.receive() { count += Int64(bytes.count) }
                try await stream.finish(count)
            } catch { await stream.fail(FleetError(error)) }
        }, accepted: { _ in })
}
