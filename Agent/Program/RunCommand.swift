import FleetCommandLine
import FleetProtocol
import FleetSystem
private import Glibc

let runCommand = Command(
    "run", "Serve the coordinator until told to stop",
    discussion: """
        Runs under systemd (Type=notify). It dials the coordinator and listens on nothing. The log goes to standard error, as
        text on a terminal, else one JSON object a line, of which those about a job have its id as 'job', as the coordinator's
        have. A restore that was under way when
        the agent or the node stopped goes on, or is rolled back, at the next start.

        Where 'fleetctl agent upgrade' has brought another program, that one is run in place of this, out of the state
        directory, unless this one is newer or was installed since. It is left again where it does not come back to the
        coordinator and stay. To run this one whatever was chosen: stop the agent, remove program/choice.json there, and start
        it; an agent that ends may write that file again.
        """,
    options: [
        AgentProgram.stateOption, AgentProgram.spoolOption, AgentProgram.programsOption,
        .init(
            "log-level", value: "LEVEL", "how much to log (default info)",
            choices: ["debug", "info", "warning", "error"]),
    ],
    examples: [.init("fleet-agent run --spool /var/spool/fleet", "with the spool on another disk")],
    isService: true
) { call in
    let log = Log.standardError(level: Log.Level.allCases.first { $0.name == call.value("log-level") } ?? .info)
    let paths = AgentProgram.paths(call)
    let identity = try AgentIdentity(directory: paths.identity)
    // Two agents on one state directory would do one job twice.
    let lock = try FileLock(paths.state + "/lock", hint: "an agent runs on this node already; stop it first")
    let gate = JobGate(node: identity.node, cluster: identity.cluster, key: identity.jobKey)
    let program = try await onDisk { () throws(FleetError) in
        try ProgramLaunch(files: paths.ownPrograms, gate: gate, log: log).settle()
    }
    let link = AgentLink(identity: identity, log: log)
    let runner = JobRunner(paths: paths, gate: gate, port: link, log: log, program: program)
    try await runner.start()
    let inventory = Inventory(
        runner: runner, programs: DrillPrograms(paths: paths), own: program, log: log)
    let configuration = ConfigurationSender(
        collect: { () throws(FleetError) in
            try Configuration.collect { () throws(FleetError) in try Discovery.discover() }
        }, log: log)
    let connecting = Task {
        await link.run(
            registration: { await inventory.registration() },
            deliver: { envelope throws(FleetError) in try await runner.accept(envelope) },
            decide: { envelope throws(FleetError) in try await runner.decide(envelope) },
            connected: { connection, told in
                await withTaskGroup(of: Void.self) { group in
                    group.addTask { await sendEvents(runner, inventory, connection, log) }
                    group.addTask { await inventory.keepUpToDate(connection, told: told) }
                    group.addTask { await link.keepCertificate(on: connection, of: runner) }
                    group.addTask { await runner.registered() }
                    group.addTask {
                        await configuration.keepUpToDate(on: connection) {
                            // A replacement that stands half-way has put etcd's manifest away.
                            let isJoining = JoinRecord.holdsManifest(paths)
                            return await runner.isRestoring || isJoining
                        }
                    }
                }
            })
    }
    let trial = Task {
        await program.writeDown()
        if await program.isOverdue({ await link.problem }) { exit(1) }
        await program.staysUp()
    }
    log.debug("this is \(AgentProgram.mark)")
    log.info(
        "agent of \(identity.cluster)/\(identity.node) is running",
        ["version": FleetVersion.current, "program": program.told.sha256])
    Service.notify("READY=1\nSTATUS=agent of \(identity.cluster)/\(identity.node)")
    await Service.termination()
    trial.cancel()
    try? await onDisk { program.endsAsTold() }
    Service.notify("STOPPING=1")
    log.info("stopping")
    connecting.cancel()
    await connecting.value
    _ = consume lock
    return .success
}

/// Sends what the outbox holds, oldest first, as long as the connection lasts. An event leaves the outbox only when the
/// coordinator has written it down.
private func sendEvents(_ runner: JobRunner, _ inventory: Inventory, _ connection: Connection, _ log: Log) async {
    while !Task.isCancelled {
        guard let event = await runner.outbox.nextUnacknowledged() else {
            await runner.outbox.waitForEvents()
            continue
        }
        if event.outcome?.plan != nil { await inventory.tellOfRestore(connection) }
        do throws(FleetError) {
            do throws(FleetError) {
                // An earlier version of the agent may have written down a longer one than can be sent.
                let _: Acknowledgement = try await connection.call(Method.event, try event.fitting())
            } catch {
                // The coordinator knows no such job, or finds the event malformed: sending it for ever helps nobody.
                guard error.code == .notFound || error.code == .malformed, await !connection.isClosed else {
                    throw error
                }
                log.error("the coordinator does not take event \(event.sequence) of job \(event.job)", error)
            }
            try await runner.acknowledge(event.job, event.sequence)
        } catch {
            if await connection.isClosed { return }
            log.error("an event could not be delivered and will be tried again", error)
            try? await Task.sleep(for: .seconds(5))
        }
    }
}
