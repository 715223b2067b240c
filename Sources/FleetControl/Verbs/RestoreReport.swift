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
        if let saved = facts.members, saved != preview.agents.count {
            terminal.note(
                "CAUTION   it was saved of a cluster of \(saved) members, and \(preview.agents.count) are restored: a member "
                    + "that still runs and has no agent makes the restore fail")
        }
        if record.imported != nil, preview.snapshot.condition == .foreign {
            terminal.note("CAUTION   \(Terminal.clean(preview.snapshot.problem?.message ?? "it was imported"))")
        }
        let directories = preview.agents.compactMap { agent in agent.instance.map { (agent.node, $0.dataDir) } }
        for group in Alike.groups(directories, by: \.1) {
            let place = preview.agents.count == 1 ? "" : " on \(group.map(\.0).joined(separator: ", "))"
            terminal.note("replaces  the data in \(Terminal.clean(group[0].1))\(place), which is kept")
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
            let plans = (job.members ?? [job]).compactMap { $0.outcome?.plan }
            for line in RestorePlanText.lines(plans) { terminal.print(Terminal.clean(line)) }
        }
        // Of a plan that all have made, each would only say so again.
        if !dryRun || job.state != .succeeded {
            for member in job.members ?? [] { terminal.print(line(member, terminal)) }
        }
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
}
