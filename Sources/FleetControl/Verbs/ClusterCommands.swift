internal import FleetCommandLine
internal import FleetConcerns
internal import FleetProtocol
internal import FleetSystem

let clusterCommand = Command(
    "cluster", "Clusters of the inventory",
    subcommands: [
        Command(
            "add", "Add a cluster",
            discussion:
                "A cluster is a name that agents are enrolled under: 'fleetctl agent install' puts them on its nodes by ssh; without ssh, give them a token with 'fleetctl agent token'.",
            arguments: [.init("CLUSTER", "its name: lower-case letters, digits, '-' and '.'")],
            examples: [
                .init("fleetctl cluster add cluster-a", "adds it; next, agents on its control planes")
            ]
        ) { call in
            let control = try await Coordinator.control(call)
            let name = call.argument("CLUSTER")!
            let cluster: ClusterRecord = try await control.call(ControlMethod.addCluster, NameRequest(name: name))
            call.terminal.print("cluster \(cluster.name) added")
            call.terminal.note(
                "next: fleetctl agent install \(cluster.name) --ssh root@NODE --package fleet-agent_*.deb, or without ssh: "
                    + "fleetctl agent token \(cluster.name)")
            return .success
        },
        Command(
            "list", "List clusters", options: [Output.option],
            examples: [.init("fleetctl cluster list -o json", "all clusters, for a script")]
        ) { call in
            let control = try await Coordinator.control(call)
            let clusters: [ClusterRecord] = try await control.ask(ControlMethod.listClusters, ListRequest())
            if Output.isJSON(call) {
                try Output.json(clusters, call)
            } else if clusters.isEmpty {
                call.terminal.note(NoClusters.text(isScoped: await NoClusters.isScoped(control)))
            } else {
                clusterTable(clusters, call.terminal).print(call.terminal)
            }
            return .success
        },
        Command(
            "show", "Show a cluster and its agents", arguments: [.init("CLUSTER", "its name")],
            options: [Output.option],
            examples: [.init("fleetctl cluster show cluster-a", "where its etcd lies and who backs it up")]
        ) { call in
            let control = try await Coordinator.control(call)
            let detail: ClusterDetail = try await control.ask(
                ControlMethod.showCluster, NameRequest(name: call.argument("CLUSTER")!))
            if Output.isJSON(call) { try Output.json(detail, call) } else { show(detail, call.terminal) }
            return .success
        },
        Command(
            "accept", "Say which etcd a cluster is now",
            discussion: """
                A backup of an etcd cluster whose id is not known is stored as foreign and is never the latest: the agent may have
                been enrolled with another cluster's token. Where the cluster was restored or made anew by hand, or the coordinator
                lost the catalogue that knew of a restore, this says that it is right. So it is with one whose id is known and whose
                revision went back: it has lost data, or was made anew or restored by hand. Backups from now on are the cluster's own;
                those that are foreign stay so.
                """,
            arguments: [
                .init("CLUSTER", "its name"), .init("ID", "etcd's cluster id, as 'fleetctl snapshot show' gives it"),
            ],
            examples: [.init("fleetctl cluster accept cluster-a cdf818194e3a8c32", "then: fleetctl backup cluster-a")]
        ) { call in
            let control = try await Coordinator.control(call)
            let (name, id) = (call.argument("CLUSTER")!, call.argument("ID")!)
            let _: ClusterRecord = try await control.call(
                ControlMethod.acceptCluster, AcceptRequest(cluster: name, id: id))
            call.terminal.print("\(name) is the etcd cluster \(id), as it is now; next: fleetctl backup \(name)")
            return .success
        },
        clusterLabelCommand, clusterProtectCommand, clusterUnprotectCommand, clusterRemoveCommand,
    ])

func clusterTable(_ clusters: [ClusterRecord], _ terminal: Terminal) -> Table {
    var table = Table([
        ("CLUSTER", .left), ("AGENTS", .right), ("SNAPSHOTS", .right), ("LATEST", .left), ("AGE", .left),
        ("OBJECTIVE", .left), ("LAST JOB", .left), ("STATE", .left), ("DRILL", .left),
    ])
    for cluster in clusters {
        var paint = [8: DrillWords.paint(cluster.lastDrill, terminal)]
        paint[7] = cluster.lastJobState?.paint(terminal)
        table.add(
            [
                cluster.name, "\(cluster.agents)", "\(cluster.snapshots)", cluster.latestSnapshot ?? "",
                cluster.latestSavedAt?.ago() ?? "never",
                cluster.objective.map { ReportText.length(.seconds($0)) } ?? "", cluster.lastJobKind ?? "",
                cluster.lastJobState?.rawValue ?? "", DrillWords.short(cluster),
            ], paint: paint)
    }
    return table
}

private func show(_ detail: ClusterDetail, _ terminal: Terminal) {
    let cluster = detail.cluster
    terminal.print("cluster          \(cluster.name)")
    terminal.print("added            \(cluster.created.short)")
    if let labels = cluster.labels, !labels.isEmpty {
        terminal.print("labels           \(Terminal.clean(LabelWords.text(labels)))")
    }
    if let policy = cluster.policy { terminal.print("follows          policy \(policy)") }
    terminal.print("snapshots        \(cluster.snapshots)")
    terminal.print(
        "latest           \(cluster.latestSnapshot.map { "\($0), \(cluster.latestSavedAt?.ago() ?? "")" } ?? "none yet")"
    )
    if cluster.isProtected == true { terminal.print("protected        a restore takes a second operator's approval") }
    if cluster.keepsConfiguration == false {
        terminal.print("configuration    of its nodes is not kept; 'fleetctl bundle on \(cluster.name)'")
    }
    for identity in cluster.identities {
        terminal.print(
            "etcd cluster id  \(identity.id), since \(identity.firstSeen.short) (\(identity.source))"
                + (identity.id == cluster.identityAgain ? ", in force again by an undo" : ""))
    }
    for job in detail.openJobs ?? [] {
        terminal.print("under way        \(job.kind) \(job.id), by \(job.requestedBy) since \(job.created.short)")
        if let waits = RestoreReport.waits(job) { terminal.print("  waits for      \(Terminal.clean(waits))") }
        for line in RestoreReport.missed(job, detail.agents) {
            terminal.print("  missing        \(Terminal.clean(line))")
        }
    }
    let open = detail.openJobs ?? []
    for agent in detail.agents {
        terminal.print("")
        terminal.print(
            "agent            \(agent.node), \(connection(agent)), version \(agent.version ?? "unknown")"
        )
        if agent.isVerifier {
            terminal.print("  verifier       drills etcd \(agent.drillVersions?.joined(separator: ", ") ?? "")")
        } else if agent.isControlPlane, let error = agent.discoveryError {
            terminal.print("  control plane  \(Terminal.clean(error.message))")
        } else if agent.discoveryError?.code == "busy" {
            let isKnown = open.contains { $0.movesEtcd(of: agent) }
            let why =
                isKnown
                ? "what is under way moves it"
                : cluster.halfRestored.map { "a restore stands half-way here: fleetctl job show \($0)" }
                    ?? "the agent is in the middle of a restore that is not open here; see its log"
            terminal.print("  etcd           not looked at: \(why)")
        } else if let error = agent.discoveryError {
            terminal.print("  no etcd found  \(Terminal.clean(error.message))")
            if let hint = error.hint { terminal.print("  hint           \(Terminal.clean(hint))") }
        }
        showKept(agent, terminal)
        guard let etcd = agent.instance else { continue }
        terminal.print("  topology       \(etcd.topology.rawValue)")
        let state =
            if open.contains(where: { $0.movesEtcd(of: agent) }) {
                "; what follows is as it was found before"
            } else { agent.stopped(open) == nil ? "" : ", does NOT run" }
        terminal.print(
            "  member         \(Terminal.clean(etcd.name)), etcd \(etcd.version ?? "version unknown")\(state)")
        terminal.print("  data           \(Terminal.clean(etcd.dataDir))")
        if let wal = etcd.walDir { terminal.print("  WAL            \(Terminal.clean(wal))") }
        terminal.print("  endpoint       \(Terminal.clean(etcd.endpoint))")
        if let problem = etcd.restoreProblem {
            terminal.print("  no restore     \(Terminal.clean(problem.message))")
            if let hint = problem.hint { terminal.print("  hint           \(Terminal.clean(hint))") }
        }
        terminal.print("  defined in     \(Terminal.clean(etcd.manifest ?? etcd.unit ?? ""))")
    }
}

/// What is known of its configuration, and when its certificates end, the first of them first.
private func showKept(_ agent: AgentRecord, _ terminal: Terminal) {
    if let kept = agent.configuration {
        terminal.print(
            "  configuration  " + (kept.confirmed.map { "kept, as it was at \($0.short)" } ?? "none kept yet"))
        if let left = kept.leftOut, left > 0 {
            terminal.print(
                "  not whole      " + terminal.red("\(left) of its certificates, keys and what decrypts were left out"))
        }
        if let problem = kept.problem { terminal.print("  not as it is   \(Terminal.clean(problem.message))") }
    }
    let now = Timestamp.now()
    for one in (agent.nodeCertificates ?? []).sorted(by: { ($0.notAfter, $0.path) < ($1.notAfter, $1.path) }) {
        let ends = "ends \(one.notAfter.short)"
        terminal.print(
            "  certificate    \(Terminal.clean(one.path)) \(one.isEnding(at: now) ? terminal.red(ends) : ends)"
                + (one.subject.map { " (\(Terminal.clean($0)))" } ?? ""))
    }
}

private func connection(_ agent: AgentRecord) -> String {
    if let revoked = agent.certificate?.revoked { return "revoked at \(revoked.short)" }
    return agent.connected ? "connected" : "not connected"
}
