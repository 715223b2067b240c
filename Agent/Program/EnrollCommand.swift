import FleetCommandLine
import FleetProtocol
import FleetSystem
private import Glibc

let enrollCommand = Command(
    "enroll", "Join the fleet with a token",
    discussion: """
        Makes a key on this node, has it certified by the coordinator that the token names, and pins that coordinator's
        authority and job key. The token comes from 'fleetctl agent token CLUSTER' and is good once; with '-' it is read
        from standard input.
        """,
    arguments: [.init("TOKEN", "the token, or '-'")],
    options: [
        .init("name", value: "NODE", "this node's name in the fleet (default: the host's name)"),
        AgentProgram.stateOption,
        .init("force", "replace an identity that this node has already"),
    ],
    examples: [
        .init("fleet-agent enroll -", "reads the token from standard input, so that no process list shows it"),
        .init("fleet-agent enroll TOKEN --name cp-1", "under a name of its own"),
    ]
) { call in
    var text = call.argument("TOKEN")!
    if text == "-" { text = readLine(strippingNewline: true) ?? "" }
    let token = try JoinToken(text)
    let paths = AgentProgram.paths(call)
    if AgentIdentity.exists(in: paths.identity), !call.has("force") {
        throw FleetError(
            .alreadyExists, "this node is enrolled already", hint: "to replace its identity, run the same with --force")
    }
    let name = call.value("name") ?? hostName()
    try Names.check(name, "node")
    // Whatever would keep the identity from being written is found before the token is spent.
    try FileSystem.makeDirectories(paths.identity)
    let result = try await Enrollment.redeem(
        token, name: name, role: .agent, software: "fleet-agent \(FleetVersion.current)")
    try AgentIdentity.save(result, coordinator: token.address, in: paths.identity)
    call.terminal.print("\(result.reply.name) has joined cluster \(result.reply.cluster ?? "")")
    call.terminal.note(
        call.has("force")
            ? "let the agent take up its new identity: systemctl restart fleet-agent"
            : "start the agent: systemctl enable --now fleet-agent")
    return .success
}

/// The host's name up to its first dot, in lower case.
private func hostName() -> String {
    var buffer = [UInt8](repeating: 0, count: 256)
    let result = buffer.withUnsafeMutableBytes { gethostname($0.baseAddress!.assumingMemoryBound(to: CChar.self), 255) }
    guard result == 0 else { return "" }
    return String(decoding: buffer.prefix { $0 != 0 && $0 != UInt8(ascii: ".") }, as: UTF8.self).lowercased()
}
