internal import FleetCommandLine
internal import FleetConcerns
internal import FleetProtocol
internal import FleetSystem

let agentCommand = Command(
    "agent", "Agents beside the etcd members",
    subcommands: [
        agentInstallCommand, agentUninstallCommand,
        Command(
            "token", "Make a join token for an agent",
            discussion: """
                The token lets one agent in, once. It is shown here and kept nowhere. Install the agent on the node first: its
                package, or the program and its unit. Then, there and as root:

                  fleet-agent enroll -                    # paste the token
                  systemctl enable --now fleet-agent
                  fleet-agent discover                    # what it found, and where

                On a terminal, a line is printed that does the first two, to paste on the node as it is; elsewhere the token alone
                goes to standard output. Where ssh comes to the node, 'fleetctl agent install' does all of it.

                It takes an admin of all clusters; the agents of a protected cluster are enrolled by root on the coordinator's
                host.
                """,
            arguments: [.init("CLUSTER", "the cluster that the agent belongs to")],
            options: [.init("valid", value: "DURATION", "how long it can be used (default 1h)"), Output.option],
            examples: [.init("fleetctl agent token cluster-a", "a token for one hour")]
        ) { call in
            let control = try await Coordinator.control(call)
            let valid = try call.duration("valid", default: .seconds(3600))
            let reply: TokenReply = try await control.call(
                ControlMethod.agentToken,
                TokenRequest(name: call.argument("CLUSTER")!, validSeconds: Int(valid.seconds)))
            try printToken(reply, call, next: tokenAdvice(reply, call.terminal))
            return .success
        },
        Command(
            "list", "List agents", discussion: "Revoked ones are left out.",
            arguments: [.init("CLUSTER", "only this cluster's", count: .optional)],
            options: [.init("all", "revoked ones too"), Output.option],
            examples: [.init("fleetctl agent list", "all agents and whether they are connected")]
        ) { call in
            let control = try await Coordinator.control(call)
            let known: [AgentRecord] = try await control.ask(
                ControlMethod.listAgents, ListRequest(cluster: call.argument("CLUSTER")))
            let agents = call.has("all") ? known : known.filter { $0.certificate?.revoked == nil }
            if Output.isJSON(call) {
                try Output.json(agents, call)
                return .success
            }
            // Only where it tells anything apart.
            let hasCommits = agents.contains { $0.program?.commit != nil }
            var table = Table(
                ["CLUSTER", "NODE", "CONNECTED", "LAST SEEN", "ETCD", "TOPOLOGY", "VERSION"]
                    + (hasCommits ? ["COMMIT"] : []))
            let terminal = call.terminal
            for agent in agents {
                table.add(
                    [
                        agent.cluster, agent.node, agent.standing,
                        agent.connected ? "now" : agent.lastSeen?.ago() ?? "never",
                        agent.instance?.version ?? (agent.discoveryError.map { $0.code.rawValue } ?? ""),
                        agent.instance?.topology.rawValue
                            ?? (agent.isVerifier
                                ? "verifier: \(agent.drillVersions?.joined(separator: ", ") ?? "")"
                                : agent.isControlPlane ? "control plane" : ""),
                        agent.versionNow,
                    ] + (hasCommits ? [agent.program?.commit ?? ""] : []),
                    paint: [2: { agent.connected ? terminal.green($0) : terminal.red($0) }])
            }
            if table.isEmpty {
                terminal.note(
                    "no agents are enrolled; put them on nodes with 'fleetctl agent install CLUSTER --ssh root@NODE', or "
                        + "make a token with 'fleetctl agent token CLUSTER'")
            } else {
                table.print(terminal)
            }
            for agent in agents {
                if let fallback = Concern.fellBack(agent) { terminal.note(Terminal.clean(fallback.line)) }
            }
            let leftOut = known.count - agents.count
            if leftOut > 0 {
                terminal.note("\(leftOut) revoked \(leftOut == 1 ? "one is" : "ones are") left out; --all lists them")
            }
            return .success
        },
        agentUpgradeCommand,
        Command(
            "revoke", "Take an agent's right to connect, at once",
            discussion:
                "Its certificate counts for nothing from now on, and an open connection ends. A job that it was at is over; a restore of several members is taken back on the others, or finished where it was committed. While something is under way that stops and starts the node's etcd, it asks first. To let the node in again, enroll it anew.",
            arguments: [.init("CLUSTER", "the agent's cluster"), .init("NODE", "its node")],
            options: [.init("yes", short: "y", "do not ask")],
            examples: [.init("fleetctl agent revoke cluster-a cp-1", "for a node that is retired, or lost")],
            exitStatuses: [(.declined, "the question was not answered with yes")]
        ) { call in
            let control = try await Coordinator.control(call)
            let (cluster, node) = (call.argument("CLUSTER")!, call.argument("NODE")!)
            // Whoever is sure is not kept from it by what can't be told.
            let detail: ClusterDetail? =
                call.has("yes")
                ? nil : try await control.ask(ControlMethod.showCluster, NameRequest(name: cluster))
            let agent = detail?.agents.first { $0.node == node }
            let moving = detail?.openJobs?.first { job in agent.map(job.movesEtcd) ?? false }
            if let moving {
                call.terminal.note(
                    "\(moving.kind) \(moving.id) is under way with \(node): \(RestoreReport.without(node, moving)), and "
                        + "what is on \(node) stays as it is")
                guard call.terminal.confirms("Revoke it all the same?") else {
                    call.terminal.note("nothing was done; it goes on with y on a terminal, or with --yes")
                    return .declined
                }
            }
            let reply: RevokeReply = try await control.call(
                ControlMethod.revokeAgent, RevokeRequest(cluster: cluster, name: node))
            call.terminal.print(
                "the agent on \(node) (\(cluster)) may not connect any more; certificates revoked: \(reply.certificates)"
            )
            call.terminal.note("what became of a job that it was at: fleetctl job list \(cluster)")
            return .success
        },
    ])

/// The token alone on standard output, so that a script can take it; what to do with it on standard error.
func printToken(_ reply: TokenReply, _ call: Invocation, next: String) throws(FleetError) {
    if Output.isJSON(call) { return try Output.json(reply, call) }
    call.terminal.print(reply.token)
    call.terminal.note("good once, until \(reply.expires.short); \(next)")
}

extension AgentRecord {
    /// "yes", "no" or "revoked".
    fileprivate var standing: String { connected ? "yes" : certificate?.revoked != nil ? "revoked" : "no" }
}
