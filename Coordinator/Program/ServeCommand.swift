import FleetCommandLine
import FleetProtocol
import FleetReactor
import FleetSQLite
import FleetSystem
private import Glibc

let serveCommand = Command(
    "serve", "Serve agents and operators until told to stop",
    discussion: """
        Runs under systemd (Type=notify). The log goes to standard error, as text on a terminal, else one JSON object a line, of
        which those about a job have its id as 'job', as the agent's have. SIGTERM stops it cleanly; after a kill -9 the next start finishes, resumes or
        honestly closes every job that was under way.
        """,
    options: [
        .init(
            "socket", value: "PATH",
            "the socket for fleetctl on this host (default /run/fleet-coordinator/control.sock)"),
        .init(
            "metrics", value: "ADDRESS",
            "where metrics are read, HOST:PORT, or 'none' (default: as in settings.json, where init has put 127.0.0.1:7401)"
        ),
        .init(
            "log-level", value: "LEVEL", "how much to log (default info)",
            choices: ["debug", "info", "warning", "error"]),
        CoordinatorProgram.dataOption,
    ],
    examples: [.init("fleet-coordinator serve --data /srv/fleet", "in the foreground, on another directory")],
    isService: true
) { call in
    let level = Log.Level.allCases.first { $0.name == call.value("log-level") } ?? .info
    let log = Log.standardError(level: level)
    let directory = CoordinatorProgram.directory(call)
    let settings = try directory.settings()
    let lock = try directory.lock()
    let keys = try KeyRing(directory: directory.keys)
    let vault = try openVault(directory, log: log)

    let done = try await vault.reconcile()
    log.info(
        "store and catalogue agree",
        [
            "added": "\(done.added.count)", "missing": "\(done.missing.count)", "damaged": "\(done.damaged.count)",
            "deleted": "\(done.deleted.count)",
        ])
    let place = call.value("metrics") ?? settings.metrics ?? "none"
    let metrics = place == "none" ? nil : try Address(place)
    let server = CoordinatorServer(
        CoordinatorServer.Configuration(
            listen: try Address(settings.listen), advertise: try Address(settings.advertise),
            controlSocket: call.value("socket") ?? "/run/fleet-coordinator/control.sock", metrics: metrics,
            clientValidity: settings.certificateLifetime.map { .seconds($0) } ?? KeyRing.clientValidity,
            user: geteuid()),
        catalogue: vault.catalogue, vault: vault, keys: keys,
        copies: (vault.store as? RepositoryStore).map {
            CoordinatorCopies(directory: directory, repository: $0.repository, log: log)
        }, programs: ProgramStore(directory: directory.programs), log: log)
    let running = try await server.start()
    log.info("serving on \(settings.listen)", ["version": FleetVersion.current])
    Service.notify("READY=1\nSTATUS=serving on \(settings.listen)")
    let looking = Task {
        do throws(FleetError) { _ = try await vault.lookAgain(by: "coordinator") } catch {
            log.error("snapshots that are marked could not be looked at", error)
        }
    }

    await Service.termination()
    log.info("stopping")
    Service.notify("STOPPING=1")
    looking.cancel()
    await server.stop(running)
    await vault.catalogue.close()
    _ = consume lock
    return .success
}

func openVault(_ directory: DataDirectory, log: Log) throws(FleetError) -> Vault {
    let catalogue = try Catalogue(.file(directory.catalogue), log: log)
    return Vault(store: try directory.openStore(), catalogue: catalogue, log: log)
}
