internal import FleetCommandLine
internal import FleetConcerns
internal import FleetProtocol
internal import FleetSystem

let statusCommand = Command(
    "status", "The whole fleet on one screen", options: [Output.option],
    examples: [.init("fleetctl status", "can everything be restored, and how far back")],
    exitStatuses: [(.partialFailure, "something needs attention; the lines that begin with '!' say what")]
) { call in
    let control = try await Coordinator.control(call)
    let status: FleetStatus = try await control.ask(ControlMethod.status, ListRequest())
    let isWell = Concern.all(status).isEmpty
    if Output.isJSON(call) { try Output.json(status, call) } else { showStatus(status, call.terminal) }
    return isWell ? .success : .partialFailure
}

func showStatus(_ status: FleetStatus, _ terminal: Terminal) {
    if status.clusters.isEmpty {
        terminal.print("no clusters yet; add one with 'fleetctl cluster add NAME'")
    } else {
        // The oldest restore point first: what is worst is on top.
        let worstFirst = status.clusters.sorted {
            ($0.latestSavedAt?.milliseconds ?? 0, $0.name) < ($1.latestSavedAt?.milliseconds ?? 0, $1.name)
        }
        clusterTable(worstFirst, terminal).print(terminal)
    }
    let agents = status.agents.filter { $0.certificate?.revoked == nil }
    let connected = agents.filter(\.connected).count
    terminal.print("")
    terminal.print("agents   \(connected) of \(agents.count) connected")
    terminal.print("jobs     \(status.openJobs.count) under way")
    for job in status.openJobs {
        if let waits = RestoreReport.waits(job) {
            terminal.print("         \(job.kind) \(job.id) of \(job.cluster) waits for \(Terminal.clean(waits))")
        } else if job.members == nil, agents.contains(where: { $0.isAway(at: job) }) {
            terminal.print(
                "         \(job.kind) \(job.id) of \(job.cluster) waits for \(Terminal.clean(job.node)), which is not connected"
            )
        }
    }
    if status.storeIsHidden != true {
        terminal.print("store    \(Human.bytes(status.storeUsed)) taken, \(Human.bytes(status.storeFree)) free")
    }
    terminal.print(
        "audit    \(status.audit.events) events, \(status.audit.isIntact ? "the chain holds" : "the chain is BROKEN")")
    for concern in Concern.all(status) { terminal.print("\(terminal.red("!")) \(Terminal.clean(concern.line))") }
}

extension AgentRecord {
    fileprivate func isAway(at job: JobRecord) -> Bool {
        cluster == job.cluster && node == job.node && !connected
    }
}
