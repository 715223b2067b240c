internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

/// What a restore is before it is begun, and what became of it, in words: of one member or of several alike.
enum RestoreReport {
    static func describe(_ preview: RestorePreview, _ terminal: Terminal) {
        let (record, facts) = (preview.snapshot.record, preview.snapshot.record.facts)
        let nodes = preview.agents.map(\.node).joined(separator: ", ")
        terminal.note(
            "restore   \(preview.cluster.name), \(preview.agents.count == 1 ? "member" : "members") on \(nodes)")
        terminal.note(
            "to        \(record.id), saved \(facts.savedAt.short) (\(facts.savedAt.ago())), revision \(facts.status.revision), \(Human.bytes(record.size))"
        )
        if record.cluster != preview.cluster.name {
            terminal.note("CAUTION   the snapshot was taken of another cluster: \(record.cluster)")
        }
        if record.imported != nil, preview.snapshot.condition == .foreign {
            terminal.note("CAUTION   \(Terminal.clean(preview.snapshot.problem?.message ?? "it was imported"))")
        }
        for agent in preview.agents {
            guard let etcd = agent.instance else { continue }
            let place = preview.agents.count == 1 ? "" : " on \(agent.node)"
            terminal.note("replaces  the data in \(Terminal.clean(etcd.dataDir))\(place), which is kept")
        }
        terminal.note("          all writes since then are lost to etcd")
        // What the agents can't keep away from etcd: its clients on other hosts.
        if preview.agents.count > 1, preview.agents.contains(where: { $0.instance?.topology != .stacked }) {
            terminal.note(
                "CAUTION   stop the clients of this etcd first, its kube-apiservers above all: what they write")
            terminal.note("          during the restore is lost, and what they have cached is of the time before")
        }
    }

    static func print(_ job: JobRecord, _ terminal: Terminal, dryRun: Bool) {
        if dryRun {
            for part in job.members ?? [job] { if let plan = part.outcome?.plan { print(plan, terminal) } }
        }
        for member in job.members ?? [] { terminal.print(line(member, terminal)) }
        if job.state == .succeeded {
            terminal.print(terminal.green("ok") + "  " + Terminal.clean(summary(job, dryRun)))
            return
        }
        terminal.print(terminal.red(job.state.rawValue.uppercased()) + "  " + Terminal.clean(summary(job, dryRun)))
        if let error = job.error { terminal.error(error) }
        for member in job.members ?? [] where member.state == .stuck || member.state == .lost {
            if let hint = member.error?.hint { terminal.note("hint: on \(member.node): \(Terminal.clean(hint))") }
        }
    }

    /// "n2  stop-etcd done, waits for the others", "n2  rolled-back: ..."
    static func line(_ member: JobRecord, _ terminal: Terminal) -> String {
        let state = member.state.paint(terminal)(member.state.rawValue)
        return "\(member.node)  \(state)  \(Terminal.clean(standing(member)))"
    }

    private static func standing(_ member: JobRecord) -> String {
        if !member.state.isOpen { return member.outcome?.summary ?? member.error?.message ?? "" }
        let last = member.events.last { $0.kind != .note }
        switch last?.kind {
        case .held: return "can't go on and waits to be taken back: \(last?.error?.message ?? "")"
        case .reached: return "has ended \(last?.phase?.rawValue ?? "") and waits for the others"
        default: return member.steps?.last.map { "\($0.name) \($0.state.rawValue)" } ?? "not begun yet"
        }
    }

    private static func summary(_ job: JobRecord, _ dryRun: Bool) -> String {
        guard let members = job.members else { return job.outcome?.summary ?? (job.state == .succeeded ? "done" : "") }
        switch job.state {
        case .succeeded where dryRun: return "planned on all \(members.count) members; nothing was changed"
        case .succeeded: return "restored \(job.snapshot) on all \(members.count) members"
        case .rolledBack: return "the old configuration and the old data are in force again on all members"
        case .failed: return "nothing was changed on any member"
        case .stuck: return "not all members are done; those that are not say what to do"
        default: return ""
        }
    }

    private static func print(_ plan: RestorePlan, _ terminal: Terminal) {
        terminal.print("plan for \(plan.cluster) on \(plan.node) (\(plan.topology.rawValue))")
        terminal.print("  old data  \(Terminal.clean(plan.oldDataDir))")
        terminal.print("  new data  \(Terminal.clean(plan.newDataDir))")
        if let old = plan.oldWalDir, let new = plan.newWalDir {
            terminal.print("  WAL       \(Terminal.clean(old)) -> \(Terminal.clean(new))")
        }
        if let members = plan.initialCluster { terminal.print("  members   \(Terminal.clean(members))") }
        terminal.print("  token     \(Terminal.clean(plan.clusterToken))")
        if let member = plan.memberID, let cluster = plan.clusterID {
            terminal.print("  new ids   member \(Terminal.clean(member)), cluster \(Terminal.clean(cluster))")
        }
        for (i, step) in plan.steps.enumerated() {
            terminal.print("  \(i + 1). \(step.name): \(Terminal.clean(step.description))")
        }
        for change in plan.changes {
            terminal.print("")
            for line in UnifiedDiff.text(path: change.path, before: change.before ?? "", after: change.after).split(
                separator: "\n", omittingEmptySubsequences: false) where !line.isEmpty
            {
                terminal.print(Terminal.clean(String(line)))
            }
        }
        terminal.print("")
    }
}
