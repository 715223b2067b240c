internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

/// How hosts are named, for install and uninstall.
enum SSHOptions {
    static let option = Command.Option(
        "ssh-option", value: "OPTION", "as behind ssh's own -o: Port=2222, ProxyJump=bastion, IdentityFile=...",
        repeated: true)

    static let discussion = """
        It goes by this machine's own ssh, with ~/.ssh/config, agent, known hosts and jump hosts as they are, and asks nothing:
        a host whose key is not known, or that wants a password, is refused with what to do. Whoever comes there is root, or
        may run sudo without a password.
        """
}

let agentInstallCommand = Command(
    "install", "Install agents on nodes, by ssh",
    discussion: """
        Looks at each node first, sees whether it reaches the coordinator, and does only what is missing: copies the package or
        the program, enrols the node with a token that goes to its standard input, enables and starts the agent, waits until the
        coordinator hears of it, and says which etcd it found. A second run changes nothing; one behind a run that was cut off
        goes on from there.

        Nodes come one after the other, and one that fails does not keep the others from it. A node of another cluster or another
        coordinator is refused, and so is one in the middle of a restore. An agent that is older than what is given is replaced,
        a newer one stays unless --force is given; a program of the same version is replaced where its bytes are others. What
        counts is the program that runs, be it the installed one or one that 'agent upgrade' has brought. On a node with the
        package, a unit that somebody has edited stays, too, unless --force is given.

        \(SSHOptions.discussion)

        What is installed is the package or the program that is given; without either it is the fleet-agent_*.deb in the
        current directory, where there is one alone. Nodes without packages (RHEL 9) get the program with
        --program, and the unit with it, as /usr/local/bin/fleet-agent and /etc/systemd/system/fleet-agent.service. Without ssh:
        'fleetctl agent token'.

        It takes an admin of all clusters; the agents of a protected cluster are enrolled by root on the coordinator's host.
        """,
    arguments: [.init("CLUSTER", "the cluster that the nodes belong to; 'fleetctl cluster add' makes it")],
    options: [
        .init("ssh", value: "HOST", "a node, as ssh takes it; several are given as --ssh A --ssh B", repeated: true),
        .init("package", value: "FILE", "fleet-agent_VERSION_ARCHITECTURE.deb, as 'ops/package' makes it"),
        .init("program", value: "FILE", "the program fleet-agent, for nodes without packages"),
        .init("name", value: "NODE", "the node's name in the fleet, with one --ssh (default: the host's name)"),
        SSHOptions.option, .init("dry-run", "look at the nodes, say what would be done, and change nothing"),
        .init(
            "force",
            "install also what is older than what is there, or may be, and move an edited unit away from before the package's"
        ),
        .init("wait", value: "DURATION", "how long the coordinator may take to hear of an agent (default 1m)"),
        Output.option,
    ],
    examples: [
        .init(
            "fleetctl agent install cluster-a --ssh root@cp1 --ssh root@cp2 --ssh root@cp3 --package fleet-agent_0.1.0-1_amd64.deb",
            "all control planes of a cluster"),
        .init("fleetctl agent install cluster-a --ssh root@cp1 --package FILE --dry-run", "what would be done"),
        .init("fleetctl agent install cluster-b --ssh admin@db1 --program ./fleet-agent", "without packages, by sudo"),
    ],
    exitStatuses: [(.partialFailure, "some nodes have their agent and some do not; each line says which and why")]
) { call in
    let cluster = call.argument("CLUSTER")!
    let hosts = call.values("ssh")
    try checkHosts(hosts, named: call.value("name"))
    let options = call.values("ssh-option")
    var shells: [SecureShell] = []
    for host in hosts { shells.append(try SecureShell(host: host, options: options)) }
    let source = try await givenSource(call)
    let patience = try call.duration("wait", default: .seconds(60))

    // Whoever is refused is refused before a node is touched.
    let control = try await Coordinator.control(call)
    let terms: EnrolmentTerms = try await control.ask(
        ControlMethod.enrolmentTerms, EnrolmentTermsRequest(cluster: cluster, enrols: true))
    let isSilent = Output.isJSON(call)
    let terminal = call.terminal
    var results: [InstallResult] = []
    var taken: [String: String] = [:]
    Interruption.says("what was begun on a node ends there; the same command again goes on from there")
    for shell in shells {
        let host = shell.host
        if let lost = await lostCoordinator(results, control) {
            results.append(InstallResult(host: host, outcome: .failed, error: lost))
            report(results.last!, call)
            continue
        }
        var result: InstallResult
        do throws(FleetError) {
            let wish = InstallWish(
                cluster: cluster, name: call.value("name"), force: call.has("force"), source: source, terms: terms,
                agents: try await control.ask(ControlMethod.listAgents, ListRequest()), taken: taken)
            let installation = NodeInstallation(
                shell: shell, wish: wish, control: control, isDryRun: call.has("dry-run"), patience: patience,
                say: { if !isSilent { terminal.print("\(host)  \(Terminal.clean($0))") } },
                note: { if !isSilent { terminal.note("\(host)  \(Terminal.clean($0))") } })
            result = await installation.run()
        } catch { result = InstallResult(host: host, outcome: .failed, error: error) }
        if let node = result.node { taken[node] = host }
        results.append(result)
        report(result, call)
    }
    Interruption.isOver()
    if isSilent { try Output.json(results, call) }
    let failed = results.filter { $0.outcome == .failed }
    if failed.isEmpty { return .success }
    if results.count > 1 {
        let what = call.has("dry-run") ? "could be looked at" : "are as they should be"
        terminal.note(
            "\(results.count - failed.count) of \(results.count) nodes \(what); failed: \(failed.map(\.host).joined(separator: ", "))"
        )
    }
    return failed.count == results.count ? .failure : .partialFailure
}

private func checkHosts(_ hosts: [String], named name: String?) throws(FleetError) {
    guard !hosts.isEmpty else {
        throw FleetError(
            .usage, "no node was named",
            hint: "give --ssh root@HOST, once a node; without ssh, 'fleetctl agent token' has a line to paste")
    }
    if let twice = hosts.first(where: { host in hosts.count { $0 == host } > 1 }) {
        throw FleetError(.usage, "\(twice.debugDescription) was given twice", hint: "name each node once")
    }
    guard let name else { return }
    guard hosts.count == 1 else {
        throw FleetError(
            .usage, "--name is for one node, and \(hosts.count) were given", hint: "install them one by one")
    }
    do throws(FleetError) { try Names.check(name, "node") } catch {
        throw FleetError(.usage, error.message, hint: error.hint)
    }
}

private func givenSource(_ call: Invocation) async throws(FleetError) -> AgentSource {
    var package = call.value("package")
    let program = call.value("program")
    if package == nil, program == nil {
        let name = try await onDisk { () throws(FleetError) in try AgentSource.onlyPackage(in: ".") }
        call.terminal.note("the package is \(name), which is in this directory")
        package = name
    }
    let chosen = (package, program)
    return try await onDisk { () throws(FleetError) in
        switch chosen {
        case (let path?, nil): try AgentSource.package(path)
        case (nil, let path?): try AgentSource.program(path)
        default:
            throw FleetError(
                .usage, "--package and --program were given",
                hint: "give one: the Debian package of fleet-agent, or the program alone")
        }
    }
}

/// Without a coordinator no further node makes sense.
private func lostCoordinator(_ results: [InstallResult], _ control: Control) async -> FleetError? {
    guard results.last?.error != nil, await !control.isConnected else { return nil }
    return FleetError(
        .cancelled, "not tried, since the coordinator is not reached any more",
        hint: "run the same again when it is: what is done stays done", retryable: true)
}

private func report(_ result: InstallResult, _ call: Invocation) {
    guard !Output.isJSON(call) else { return }
    let (terminal, host) = (call.terminal, result.host)
    if let error = result.error {
        terminal.print("\(host)  \(terminal.red("FAILED"))  \(Terminal.clean(error.message)) (\(error.code))")
        if let hint = error.hint { terminal.note("\(host)  hint: \(Terminal.clean(hint))") }
        return
    }
    if result.outcome == .planned { return terminal.print("\(host)  nothing was changed (--dry-run)") }
    let found = result.agent.map(Discovered.words)
    let what =
        result.outcome == .installed
        ? "\(result.agent?.cluster ?? "")/\(result.node ?? "") is connected"
        : "nothing to do: already installed, enrolled and connected as \(result.agent?.cluster ?? "")/\(result.node ?? "")"
    terminal.print("\(host)  \(terminal.green("ok"))  \(what)\(found.map { "; \(Terminal.clean($0.line))" } ?? "")")
    if let hint = found?.hint { terminal.note("\(host)  hint: \(Terminal.clean(hint))") }
}

/// What to do with a token: on a terminal a whole line to paste, elsewhere only words, since what is told about a token may
/// be kept where the token must not be.
func tokenAdvice(_ reply: TokenReply, _ terminal: Terminal) -> String {
    guard terminal.outputIsTerminal, terminal.errorIsTerminal else {
        return "on the node, as root: fleet-agent enroll -"
    }
    // printf is the shell's own: no list of processes has the token.
    return """
        on the node, with fleet-agent installed, paste as root:

          printf '%s\\n' \(NodeScript.quoted(reply.token)) | fleet-agent enroll - && systemctl enable --now fleet-agent

        """
}
