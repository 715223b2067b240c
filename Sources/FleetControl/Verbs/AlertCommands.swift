internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

private let nameArgument = Command.Argument("NAME", "what to call it: pager, chat")

let alertCommand = Command(
    "alert", "Who is told by itself when something needs attention",
    discussion: """
        What is wrong by 'fleetctl status' is sent as one JSON object: once when it has stood for a while (a failed backup
        or drill, a broken objective and a broken audit chain at once, an agent that is away after five minutes), once more
        each time that it is worse than it was told to be (a certificate that ends within 7 days, and then has ended; more
        snapshots that can't be used), and once when it is over. Nothing is sent when it has become better and is not over,
        nor when it is as bad again as it was told to be. A message that is not taken is sent again, with pauses that grow to half an
        hour, while what it tells of stands, and for a week where that is over; others that were tried less often go before it. Of
        one matter only the newest message waits, so that whoever was away hears how things are; and what waits comes at once when a
        test is taken.
        The coordinator can't tell that it is down itself: have Prometheus watch it, or another host.
        """,
    subcommands: [webhookCommand, commandCommand, listCommand, testCommand, removeCommand, resumeCommand])

private let webhookCommand = Command(
    "webhook", "Send alerts to an address",
    discussion: """
        Each is posted as JSON with a field 'text' that says what is wrong and what to do, which chat servers show as it is;
        'alert' is what kind it is, 'state' is firing, over or test, and 'key' is the same in all messages about one matter: a
        second one that is firing with the same key says that it is worse by now, and one that is over, that it is over. Let a
        pager make its incident by the key, and it updates that one. Beside these there are 'fleet' (the coordinator), 'since' (when
        it was seen first), 'time', 'version' (1), and where they say something 'cluster', 'node' and 'action' (what to do). Any answer from 200 to 299 means that it was taken.

        The header X-Fleet-Signature is t=SECONDS,v1=HEX, where HEX is the HMAC-SHA256 of SECONDS, a full stop and the body,
        by the secret that is shown here once, as the text that it is. X-Fleet-Delivery is the same each time that one message is sent: it may arrive
        twice.

        A webhook that is there already under this name is replaced, also its secret.
        """,
    arguments: [
        nameArgument,
        .init("URL", "https://..., or '-' to read it from standard input: many have a secret in them"),
    ],
    options: [
        .init("ca", value: "FILE", "trust these authorities (PEM) for it instead of the system's"),
        .init("http", "allow http://, where who listens on the way may know all"), Output.option,
    ],
    examples: [.init("fleetctl alert webhook pager -", "asks for the address, and prints the secret")]
) { call in
    var url = call.argument("URL")!
    if url == "-" { url = call.terminal.reads("the webhook's address") }
    let authorities = try call.value("ca").map { path throws(FleetError) in
        try FileSystem.readText(path, limit: 1 << 20)
    }
    let name = call.argument("NAME")!
    let control = try await Coordinator.control(call)
    let reply: WebhookReply = try await control.call(
        ControlMethod.setWebhook,
        WebhookRequest(name: name, url: url, authorities: authorities, allowsHTTP: call.has("http") ? true : nil))
    if Output.isJSON(call) {
        try Output.json(reply, call)
        return .success
    }
    call.terminal.print(reply.secret)
    call.terminal.note(
        "alerts go to \(name) (\(Terminal.clean(reply.target.place))), signed with this secret, which is shown only now; try it: fleetctl "
            + "alert test \(name)")
    return .success
}

private let commandCommand = Command(
    "command", "Have the coordinator start a program for each alert",
    discussion: """
        It gets the same JSON object as a webhook on standard input, no arguments, and 30 seconds; it has to end with 0 where it
        has passed the message on. It runs as the coordinator does: as its user, within what its unit allows (no
        setuid programs, as some that send mail are; a /tmp of its own), without this shell's environment. For root on the coordinator's host.
        What it writes to standard error at its end is shown where it failed, in 'alert list' and the log: no secret belongs there.
        """,
    arguments: [nameArgument, .init("PROGRAM", "its absolute path on the coordinator's host")],
    options: [Output.option],
    examples: [.init("fleetctl alert command chat /usr/local/lib/fleet/tell-chat", "a script of your own")]
) { call in
    let control = try await Coordinator.control(call)
    let name = call.argument("NAME")!
    let target: AlertTarget = try await control.call(
        ControlMethod.setAlertCommand, AlertCommandRequest(name: name, program: call.argument("PROGRAM")!))
    if Output.isJSON(call) {
        try Output.json(target, call)
    } else {
        call.terminal.print(
            "\(Terminal.clean(target.place)) is started for each alert; try it: fleetctl alert test \(name)")
    }
    return .success
}

private let listCommand = Command(
    "list", "List who is told, and whether it reaches them", options: [Output.option],
    examples: [.init("fleetctl alert list", "with what waits for each, and why")]
) { call in
    let control = try await Coordinator.control(call)
    let targets: [AlertTarget] = try await control.ask(ControlMethod.listAlertTargets, ListRequest())
    if Output.isJSON(call) {
        try Output.json(targets, call)
        return .success
    }
    var table = Table(["NAME", "KIND", "TO", "LAST DELIVERED", "WAITING", "PROBLEM"])
    for target in targets {
        table.add([
            target.name, target.kind.rawValue, Terminal.clean(target.place), target.delivered?.ago() ?? "never",
            "\(target.waiting)", Terminal.clean(target.problem?.message ?? ""),
        ])
    }
    if table.isEmpty {
        call.terminal.note(
            "nobody is told of anything; name a webhook with 'fleetctl alert webhook NAME URL', or a program with 'fleetctl "
                + "alert command NAME PROGRAM'")
    } else {
        table.print(call.terminal)
    }
    return .success
}

private let testCommand = Command(
    "test", "Send a message now, and see whether it is taken", arguments: [nameArgument],
    examples: [.init("fleetctl alert test pager", "whoever is behind it should be told within seconds")]
) { call in
    let control = try await Coordinator.control(call)
    let name = call.argument("NAME")!
    let _: Acknowledgement = try await control.call(ControlMethod.testAlertTarget, NameRequest(name: name))
    call.terminal.print("\(name) took a test message; see whether it arrived")
    return .success
}

private let removeCommand = Command(
    "remove", "Send no more alerts there", arguments: [nameArgument],
    examples: [.init("fleetctl alert remove pager", "what waits for it goes too")]
) { call in
    let control = try await Coordinator.control(call)
    let name = call.argument("NAME")!
    let _: Acknowledgement = try await control.call(ControlMethod.removeAlertTarget, NameRequest(name: name))
    call.terminal.print("\(name) is told of nothing any more")
    return .success
}

private let resumeCommand = Command(
    "resume", "Tell people again, with a coordinator that was put back from a copy",
    discussion: """
        'fleet-coordinator restore' holds alerts back: it may be a drill, and what such a coordinator sees is not how the fleet
        is.
        """,
    examples: [.init("fleetctl alert resume", "agents are connected, and this is the fleet's coordinator")]
) { call in
    let control = try await Coordinator.control(call)
    let _: Acknowledgement = try await control.call(ControlMethod.resumeAlerts, ListRequest())
    call.terminal.print("alerts are sent again")
    return .success
}
