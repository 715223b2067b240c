import FleetCommandLine
import FleetCrypto
import FleetProtocol
import FleetReactor
import FleetSystem
import FleetTLS
import Glibc

/// How much memory and processor time a coordinator needs for agents that only stay connected. Each is enrolled, has a
/// certificate of its own, is registered and sends its heartbeats: what a real agent does between two jobs.
let idleAgentsCommand = Command(
    "idle-agents", "Connect many idle agents to a coordinator of its own and measure that process",
    options: [
        .init("agents", value: "N", "how many (default 10000)"),
        .init("seconds", value: "N", "how long to watch them once all are connected (default 30)"),
        .init("coordinator", value: "PATH", "the program to measure"),
    ]
) { call in
    guard let program = call.value("coordinator") else { throw FleetError(.usage, "--coordinator is missing") }
    let count = try call.number("agents", default: 10_000)
    let seconds = try call.number("seconds", default: 30)
    try raiseDescriptorLimit(to: UInt(count) + 512)
    let directory = "/tmp/fleet-bench-\(Randomness.token(8))"
    defer { try? FileSystem.removeTree(directory) }
    let port = UInt16.random(in: 20_000...60_000)
    _ = try await Blocking.run {
        try Subprocess.check(
            program, ["init", "--data", directory, "--advertise", "127.0.0.1:\(port)", "--listen", "127.0.0.1:\(port)"])
    }
    let coordinator = try Child(
        program, ["serve", "--data", directory, "--socket", directory + "/socket", "--log-level", "error"])
    defer { coordinator.stop() }
    let control = try await connectControl(directory + "/socket")
    let _: ClusterRecord = try await control.call(ControlMethod.addCluster, NameRequest(name: "bench"))
    let before = try coordinator.residentBytes()

    let started = ContinuousClock.now
    let agents = Monitor<[Connection]>([])
    try await withThrowingTaskGroup(of: Void.self) { group in
        for worker in 0..<8 {
            group.addTask {
                for i in stride(from: worker, to: count, by: 8) {
                    let connection = try await connectAgent("node-\(i)", control)
                    agents.withLock { $0.append(connection) }
                }
            }
        }
        try await group.waitForAll()
    }
    let took = (ContinuousClock.now - started).seconds
    let cpuBefore = try coordinator.processorSeconds()
    let peak = try coordinator.residentBytes()
    try await Task.sleep(for: .seconds(seconds))
    let cpu = try coordinator.processorSeconds() - cpuBefore
    let after = try coordinator.residentBytes()
    let listed: [AgentRecord] = try await control.call(ControlMethod.listAgents, ListRequest())
    let connected = listed.filter(\.connected).count
    call.terminal.print(
        "agents connected         \(connected) of \(count), enrolled and registered in \(Human.duration(.milliseconds(Int(took * 1000))))"
    )
    call.terminal.print("memory before            \(Human.bytes(before))")
    call.terminal.print("memory when all were in  \(Human.bytes(peak))")
    call.terminal.print("memory after \(seconds) s idle    \(Human.bytes(after))")
    call.terminal.print(
        "memory an agent          \(Human.bytes((after - before) / Int64(count)))  (goal: 64.0 kB or less)")
    call.terminal.print("processor while idle     \((cpu / Double(seconds) * 1000).rounded() / 10) % of one core")
    return connected == count && (after - before) / Int64(count) <= 64_000 ? .success : .failure
}

private func connectControl(_ path: String) async throws -> Connection {
    for _ in 0..<100 {
        if let connection = try? await Dialler.connect(
            .unix(path: path), tls: nil, options: .init(software: "fleet-bench"))
        {
            return connection
        }
        try await Task.sleep(for: .milliseconds(50))
    }
    throw FleetError(.timedOut, "the coordinator did not start")
}

private func connectAgent(_ name: String, _ control: Connection) async throws -> Connection {
    let reply: TokenReply = try await control.call(
        ControlMethod.agentToken, TokenRequest(name: "bench", validSeconds: 3600))
    let token = try JoinToken(reply.token)
    let enrolled = try await Enrollment.redeem(token, name: name, role: .agent, software: "fleet-bench")
    let identity = TLSContext.Identity(
        certificate: try X509Certificate(pem: enrolled.reply.certificate), key: enrolled.key)
    let tls = try TLSContext.client(identity: identity, authority: try X509Certificate(pem: enrolled.reply.authority))
    let connection = try await Dialler.connect(token.address, tls: tls, options: .init(software: "fleet-bench"))
    let request = RegisterRequest(
        agentVersion: FleetVersion.current, instance: nil, discoveryError: nil, activeJobs: [], lastCounter: 0)
    let _: Acknowledgement = try await connection.call(Method.register, request)
    return connection
}

private func raiseDescriptorLimit(to wanted: UInt) throws {
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(7), &limit)  // RLIMIT_NOFILE
    limit.rlim_cur = min(limit.rlim_max, max(wanted, limit.rlim_cur))
    guard setrlimit(__rlimit_resource_t(7), &limit) == 0, limit.rlim_cur >= wanted else {
        throw FleetError(
            .usage, "\(wanted) descriptors are needed and \(limit.rlim_max) are allowed",
            hint: "raise the limit: ulimit -Hn")
    }
}
