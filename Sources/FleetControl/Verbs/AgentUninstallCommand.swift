internal import FleetCommandLine
internal import FleetConcerns
internal import FleetProtocol
internal import FleetSystem

let agentUninstallCommand = Command(
    "uninstall", "Remove an agent from its node, by ssh",
    discussion: """
        Stops and disables the agent, removes its package, or program and unit where these were installed without one, and the
        programs that upgrades have brought, and takes its right to connect. It says what it will do and asks. What else the agent
        keeps in /var/lib/fleet-agent stays unless --purge is given; etcd, its data and the directories that restores have left are never touched.

        It is refused while a restore is under way on the node, where the host does not have the certificate that is in force
        for the agent, and where nothing shows that it is the node. A unit that somebody has edited stays beside its place. What
        can't be removed is started again. Where the node is gone, there is nothing to uninstall: 'fleetctl
        agent revoke' is enough.

        \(SSHOptions.discussion)
        """,
    arguments: [.init("CLUSTER", "the agent's cluster"), .init("NODE", "its node, as 'fleetctl agent list' names it")],
    options: [
        .init("ssh", value: "HOST", "the node, as ssh takes it: root@HOST"), SSHOptions.option,
        .init("purge", "also remove the node's key, the journals of its restores, and settings of the unit"),
        .init("dry-run", "say what would be done, and change nothing"), .init("yes", short: "y", "do not ask"),
    ],
    examples: [
        .init("fleetctl agent uninstall cluster-a cp-1 --ssh root@cp1", "shows what it will do, then asks"),
        .init("fleetctl agent uninstall cluster-a cp-1 --ssh root@cp1 --purge --yes", "nothing of it is left there"),
    ],
    exitStatuses: [(.declined, "the question was not answered with yes")]
) { call in
    let (cluster, node, terminal) = (call.argument("CLUSTER")!, call.argument("NODE")!, call.terminal)
    guard let host = call.value("ssh") else {
        throw FleetError(
            .usage, "it is not known how ssh comes to the node",
            hint: "give --ssh root@HOST; for a node that is gone: fleetctl agent revoke \(cluster) \(node)")
    }
    let shell = try SecureShell(host: host, options: call.values("ssh-option"))
    let control = try await Coordinator.control(call)
    let terms: EnrolmentTerms = try await control.ask(
        ControlMethod.enrolmentTerms, EnrolmentTermsRequest(cluster: cluster, enrols: false))
    let look: NodeLook
    do throws(FleetError) { look = try await shell.look() } catch {
        var error = error
        if error.code == .unreachable {
            error.hint =
                (error.hint.map { $0 + "; " } ?? "")
                + "if the node is gone for good: fleetctl agent revoke \(cluster) \(node)"
        }
        throw error
    }
    func planned() async throws(FleetError) -> UninstallPlan {
        let detail: ClusterDetail = try await control.ask(ControlMethod.showCluster, NameRequest(name: cluster))
        let agent = detail.agents.first { $0.node == node }
        let moving = detail.openJobs?.first { job in agent.map(job.movesEtcd) ?? false }
        return try UninstallPlan.make(
            look, cluster: cluster, node: node, purge: call.has("purge"), terms: terms, agent: agent, moving: moving)
    }
    let plan = try await planned()
    if plan.isEmpty {
        terminal.print(
            "\(host)  \(terminal.green("ok"))  nothing to do: no agent is installed there, and \(cluster)/\(node) may not connect"
        )
        tellKept(plan, host, terminal)
        return .success
    }
    let isDryRun = call.has("dry-run")
    if isDryRun || !call.has("yes") {
        for line in plan.words(done: false, cluster: cluster, node: node) { terminal.print("\(host)  would \(line)") }
        tellKept(plan, host, terminal, word: "would keep")
    }
    if isDryRun {
        terminal.print("\(host)  nothing was changed (--dry-run)")
        return .success
    }
    guard call.has("yes") || terminal.confirms("Uninstall the agent of \(cluster) on \(node)?") else {
        terminal.note("nothing was done; it goes on with y on a terminal, or with --yes")
        return .declined
    }
    // Somebody may have thought about the question for long.
    guard try await planned() == plan else {
        throw FleetError(
            .busy, "what there is to do has changed meanwhile, and nothing was done", hint: "run the same again",
            retryable: true)
    }
    var leftover: FleetError?
    if plan.touchesNode {
        let script = NodeScript.remove(
            package: plan.package, isByHand: plan.removesByHand, keepsUnit: plan.keepsUnit, purges: plan.purges)
        let outcome = try await shell.run(script, deadline: .seconds(300))
        if outcome.status == NodeScript.begun {
            var error = FleetError.unfinished([NodeWords.last(outcome.errors, lines: 1)], cluster)
            error.message += "; it began while the agent was stopped, which was started again for it"
            throw error
        }
        if outcome.status == NodeScript.unfinished {
            throw FleetError.unfinished([NodeWords.last(outcome.errors)], cluster)
        }
        if outcome.status == NodeScript.leftovers {
            leftover = SecureShell.failure(
                "removing \(NodeScript.state)", outcome,
                "the agent itself is gone and may not connect any more; see what is in the way there, then run the same again"
            )
        }
        guard outcome.succeeded || leftover != nil else {
            throw SecureShell.failure(
                "removing the agent", outcome, "its right to connect stands; run the same again when that is mended")
        }
    }
    if plan.revokes {
        let _: RevokeReply = try await control.call(
            ControlMethod.revokeAgent, RevokeRequest(cluster: cluster, name: node))
    }
    if let leftover { throw leftover }
    for line in plan.words(done: true, cluster: cluster, node: node) { terminal.print("\(host)  \(line)") }
    terminal.print("\(host)  \(terminal.green("ok"))  the agent of \(cluster)/\(node) is uninstalled")
    tellKept(plan, host, terminal)
    return .success
}

private func tellKept(_ plan: UninstallPlan, _ host: String, _ terminal: Terminal, word: String = "kept") {
    for kept in plan.keeps { terminal.note("\(host)  \(word): \(kept)") }
}
