internal import FleetCommandLine
internal import FleetConcerns
internal import FleetProtocol
internal import FleetSystem

let statusCommand = Command(
    "status", "The whole fleet on one screen",
    discussion: """
        A row a cluster, the worst on top: first those that could not be restored now (no backup, no agent that is connected, not
        laid out for it, a failed drill, a restore that stands half-way), then those whose last backup failed, is older than its
        objective or is not of what a restore or undo has put in force, then those whose next backup or restore is in danger,
        then the rest, each by the age of the newest backup against the objective. Clusters of verifiers only come last.
        '-o json' has the same order.

        LATEST is the newest snapshot that can be restored; AGE is how far back it goes: all that was written since is lost with
        the cluster. OBJECTIVE is how old it may be by the policy that the cluster follows ('-': nothing is said). LAST JOB and
        STATE are what was begun last and where it stands. DRILL is whether a snapshot was proven to restore, and which, where
        that is not the latest.

        Below are the agents that are connected, the jobs that are under way and for whom they wait, the store, and the audit
        chain. A 'note' says what may be meant so: which clusters no policy backs up. Each line that begins with '!' says one
        thing that needs attention, and what to do about it; the same are sent as alerts ('fleetctl alert').
        """,
    options: [Output.option],
    examples: [
        .init("fleetctl status", "can everything be restored, and how far back"),
        .init("fleetctl status -o json | jq -r '.clusters[0].name'", "the cluster to look after first"),
    ],
    exitStatuses: [(.partialFailure, "something needs attention; the lines that begin with '!' say what")]
) { call in
    let control = try await Coordinator.control(call)
    var status: FleetStatus = try await control.ask(ControlMethod.status, ListRequest())
    status.clusters = status.worstFirst
    let isWell = Concern.all(status).isEmpty
    if Output.isJSON(call) { try Output.json(status, call) } else { showStatus(status, call.terminal) }
    return isWell ? .success : .partialFailure
}

func showStatus(_ status: FleetStatus, _ terminal: Terminal) {
    if status.clusters.isEmpty {
        terminal.print(NoClusters.text(isScoped: status.storeIsHidden == true))
    } else {
        clusterTable(status.worstFirst, terminal).print(terminal)
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
    let queue = (status.queue ?? []) + (status.waiting ?? []).filter { $0.since != nil }
    if !queue.isEmpty {
        terminal.print("queue    \(queue.count) due and not begun yet")
        for one in queue.sorted(by: { ($0.due, $0.cluster) < ($1.due, $1.cluster) }).prefix(5) {
            terminal.print(
                "         the \(one.kind) of \(one.cluster), due \(one.due.short): \(Terminal.clean(one.reason.message))"
            )
        }
        if queue.count > 5 { terminal.print("         and \(queue.count - 5) more") }
    }
    if status.storeIsHidden != true {
        terminal.print("store    \(Human.bytes(status.storeUsed)) taken, \(Human.bytes(status.storeFree)) free")
    }
    terminal.print(
        "audit    \(status.audit.events) events, \(status.audit.isIntact ? "the chain holds" : "the chain is BROKEN")")
    for notice in Concern.notices(status) { terminal.print("note     \(Terminal.clean(notice.line))") }
    for concern in Concern.all(status) { terminal.print("\(terminal.red("!")) \(Terminal.clean(concern.line))") }
}

extension AgentRecord {
    func isAway(at job: JobRecord) -> Bool {
        cluster == job.cluster && node == job.node && !connected
    }
}
