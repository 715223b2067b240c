internal import FleetCommandLine
internal import FleetCrypto
internal import FleetProtocol
internal import FleetSystem

let loginCommand = Command(
    "login", "Log in to a coordinator with a token",
    discussion: """
        The token is good once, for an hour, and names the coordinator's address and authority. Root on the coordinator's host
        makes it: 'fleetctl operator add NAME --role ROLE' for somebody new, 'fleetctl operator token NAME' for who is known.
        With '-' it is read from standard input.

        Makes a key on this machine, which never leaves it, has it certified, and remembers the coordinator as a context, the
        current one from then on, beside ~/.config/fleetctl/config.json (or where FLEETCTL_CONFIG says). The certificate
        is good for a year; then log in again. Where the context is another person's, that stays, and the new one is called by
        the address and the new name; with --name what is there under it is replaced.
        """,
    arguments: [.init("TOKEN", "the token, or '-'")],
    options: [.init("name", value: "NAME", "what to call the context (default: the coordinator's address)")],
    examples: [.init("fleetctl login -", "reads the token from standard input, so that no process list shows it")]
) { call in
    var text = call.argument("TOKEN")!
    if text == "-" { text = call.terminal.reads("token") }
    let token = try JoinToken(text)
    let path = try ContextFile.path()
    var file = try ContextFile.load(path)
    let result = try await Enrollment.redeem(
        token, name: "operator", role: .operator, software: "fleetctl \(FleetVersion.current)")
    let name = call.value("name") ?? file.name(for: "\(token.address)", result.reply.name)
    let directory =
        FileSystem.parent(of: path) + "/"
        + String(name.map { $0.isLetter || $0.isNumber || $0 == "." || $0 == "-" ? $0 : "_" })
    try FileSystem.makeDirectories(directory)
    let context = Context(
        name: name, server: "\(token.address)", certificate: directory + "/operator.crt",
        key: directory + "/operator.key",
        authority: directory + "/authority.crt")
    try FileSystem.writeDurably(context.key!, try result.key.pem().utf8)
    try FileSystem.writeDurably(context.certificate!, result.reply.certificate.utf8)
    try FileSystem.writeDurably(context.authority!, result.reply.authority.utf8)
    file.put(context)
    file.current = name
    try file.save(path)
    call.terminal.print("logged in to \(token.address) as \(result.reply.name); the context is called \(name)")
    call.terminal.note("what you may: fleetctl whoami")
    if call.value("name") == nil, name != "\(token.address)" {
        call.terminal.note(
            "the context \(token.address) is another's and stays: fleetctl context use \(token.address)")
    }
    return .success
}

let contextCommand = Command(
    "context", "Coordinators that this user has logged in to",
    subcommands: [
        Command(
            "list", "List contexts", options: [Output.option],
            examples: [.init("fleetctl context list", "'*' marks the current one")]
        ) { call in
            let file = try ContextFile.load(try ContextFile.path())
            if Output.isJSON(call) {
                try Output.json(file, call)
                return .success
            }
            var table = Table(["CURRENT", "NAME", "SERVER", "OPERATOR"])
            for context in file.contexts {
                table.add([
                    context.name == file.current ? "*" : "", context.name, context.server,
                    Terminal.clean(context.person ?? "-"),
                ])
            }
            if table.isEmpty {
                call.terminal.note("there are none; log in with 'fleetctl login -'")
            } else {
                table.print(call.terminal)
            }
            return .success
        },
        Command(
            "use", "Make a context the current one", arguments: [.init("NAME", "its name")],
            examples: [.init("fleetctl context use production", "all commands go there from now on")]
        ) { call in
            let path = try ContextFile.path()
            var file = try ContextFile.load(path)
            file.current = try file.context(call.argument("NAME")!).name
            try file.save(path)
            call.terminal.print("using \(file.current!)")
            return .success
        },
    ])
