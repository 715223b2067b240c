import FleetCommandLine
import FleetReactor
import FleetSystem

let initCommand = Command(
    "init", "Set up a new coordinator",
    discussion: """
        Makes the fleet's certificate authority, the key that signs jobs, the encrypted snapshot repository, and the
        settings. Run it once, as the user that the service runs as. Keep a copy of the directory's keys: agents obey no
        other, and snapshots can't be read without them or the recovery key that is printed here, once. Where keys/ and
        store/ hold such copies already, they are kept.
        """,
    options: [
        .init(
            "advertise", value: "ADDRESS",
            "where agents and operators find this coordinator, HOST:PORT; part of every token"),
        .init("listen", value: "ADDRESS", "where it listens (default: every address, the advertised port)"),
        .init(
            "metrics", value: "ADDRESS",
            "where metrics are read, without a certificate (default 127.0.0.1:7401, 'none' for nowhere)"),
        .init(
            "certificates", value: "DURATION",
            "how long certificates are good (default 365d, at least 1d); agents renew theirs after two thirds of it"),
        CoordinatorProgram.dataOption,
    ],
    examples: [
        .init("fleet-coordinator init --advertise fleet.example.org:7400", "listens on port 7400 of every address")
    ]
) { call in
    guard let text = call.value("advertise") else {
        throw FleetError(
            .usage, "--advertise is missing",
            hint:
                "give the address under which the nodes reach this host, for instance --advertise fleet.example.org:7400"
        )
    }
    guard case .tcp(_, let port) = try Address(text, defaultPort: 7400) else {
        throw FleetError(.usage, "--advertise takes HOST:PORT, not a socket")
    }
    let advertise = try Address(text, defaultPort: 7400)
    let listen = try Address(call.value("listen") ?? "*:\(port)")
    let directory = CoordinatorProgram.directory(call)
    let metrics = call.value("metrics") ?? "127.0.0.1:7401"
    if metrics != "none" { _ = try Address(metrics) }
    let lifetime = try call.duration("certificates", default: KeyRing.clientValidity)
    guard lifetime >= .seconds(86_400), lifetime <= .seconds(3650 * 86_400) else {
        throw FleetError(
            .usage, "certificates that are good for \(Int(lifetime.seconds)) s are not possible",
            hint: "give --certificates between 1d and 3650d")
    }
    let made = try directory.create(
        DataDirectory.Settings(
            advertise: "\(advertise)", listen: "\(listen)", metrics: metrics == "none" ? nil : metrics,
            certificateLifetime: Int(lifetime.seconds)))
    call.terminal.print("\(directory.path) is set up; agents and operators will connect to \(advertise)")
    if made.hadKeys {
        call.terminal.print("its keys were there already and are kept: agents of that fleet will obey it")
    }
    if let recovery = made.recovery {
        try showRecoveryKey(
            recovery, call.terminal,
            otherwise: "everything else is set up: run 'fleet-coordinator rekey --new-recovery-key' for another one")
    }
    let keptStore = made.recovery == nil
    if keptStore, !made.hadKeys {
        call.terminal.print(
            "its store was there already and is kept; the authority is new: enroll agents and operators again")
    }
    let rebuild =
        keptStore && !FileSystem.exists(directory.catalogue)
        ? "\n  fleet-coordinator rebuild-catalogue   (as the same user: the list of the store's snapshots)" : ""
    call.terminal.note(
        """
        next:\(rebuild)
          systemctl enable --now fleet-coordinator
          fleetctl cluster add NAME
          fleetctl agent install NAME --ssh root@NODE --package fleet-agent_*.deb
        Without ssh: fleetctl agent token NAME, and on the node, with the agent installed, fleet-agent enroll -
        """)
    return .success
}
