internal import FleetCommandLine
internal import FleetConcerns
internal import FleetProtocol
internal import FleetSystem

/// What a restore is before it is begun, and what became of it, in words: of one member or of several alike.
enum RestoreReport {
    /// What is to be restored, and what that replaces.
    static func lines(_ preview: RestorePreview) -> [String] {
        var lines: [String] = []
        let (record, facts) = (preview.snapshot.record, preview.snapshot.record.facts)
        let nodes = preview.agents.map(\.node).joined(separator: ", ")
        lines.append(
            "restore   \(preview.cluster.name), \(preview.agents.count == 1 ? "member" : "members") on \(nodes)")
        lines.append(
            "to        \(record.id), saved \(facts.savedAt.short) (\(facts.savedAt.ago())) on \(record.node), revision \(facts.status.revision), \(Human.bytes(record.size))"
        )
        if record.cluster != preview.cluster.name {
            lines.append("CAUTION   the snapshot was taken of another cluster: \(record.cluster)")
        }
        if let saved = facts.members, saved != preview.agents.count {
            lines.append(
                "CAUTION   it was saved of a cluster of \(saved) members, and \(preview.agents.count) are restored: a member "
                    + "that still runs and has no agent makes the restore fail")
        }
        if preview.snapshot.condition == .foreign {
            lines.append("CAUTION   \(preview.snapshot.problem?.message ?? "nothing ties it to this cluster's etcd")")
        }
        let directories = preview.agents.compactMap { agent in agent.instance.map { (agent.node, $0.dataDir) } }
        for group in Alike.groups(directories, by: \.1) {
            let place = preview.agents.count == 1 ? "" : " on \(group.map(\.0).joined(separator: ", "))"
            lines.append("replaces  the data in \(group[0].1)\(place), which is kept")
        }
        lines.append("          all writes since then are lost to etcd")
        if let left = preview.leftBy { lines += departure(left) }
        // What the agents can't keep away from etcd: its clients on other hosts.
        let known = preview.controlPlanes ?? []
        if !known.isEmpty || preview.agents.contains(where: { $0.instance?.topology != .stacked }) {
            lines.append(
                "CAUTION   stop the clients of this etcd first, its kube-apiservers above all: what they write")
            lines.append("          during the restore is lost, and what they have cached is of the time before;")
            lines.append("          only static pods of a control plane on these nodes are stopped by the plan")
            if !known.isEmpty {
                lines.append(
                    "          stop yourself, and start again behind it, the kube-apiserver on "
                        + known.joined(separator: ", "))
            }
        }
        return lines.map(Terminal.clean)
    }

    /// What is there now does not go on from the snapshot: by their times alone it would seem to.
    private static func departure(_ left: Departure) -> [String] {
        if let restore = left.undoes {
            return [
                "CAUTION   it was saved between restore \(restore) and its undo \(left.job) (\(left.time.short)):",
                "          what is there now goes on from before that restore, and what of it the snapshot never had is",
                "          lost too, whenever it was written",
            ]
        }
        return [
            "CAUTION   it was saved before restore \(left.job), which put \(left.snapshot) in force (\(left.time.short)):",
            "          what is there now goes on from \(left.snapshot), and not from this snapshot",
        ]
    }

    static func print(_ job: JobRecord, _ terminal: Terminal, dryRun: Bool) {
        if job.kind == "replace" { return ReplaceReport.print(job, terminal) }
        if dryRun {
            let plans = (job.members ?? [job]).compactMap { $0.outcome?.plan }
            for line in RestorePlanText.lines(plans) { terminal.print(Terminal.clean(line)) }
        }
        // Of a plan that all have made, each would only say so again.
        if !dryRun || job.state != .succeeded || job.cleans != nil {
            for member in job.members ?? [] { terminal.print(line(member, terminal)) }
        }
        if job.state == .succeeded {
            terminal.print(terminal.green("ok") + "  " + Terminal.clean(summary(job, dryRun)))
            for note in notes(job) { terminal.note("note: \(Terminal.clean(note))") }
            if let down = DownTime.of(job) { terminal.note("etcd was down for \(Human.duration(down))") }
            return
        }
        terminal.print(terminal.red(job.state.rawValue.uppercased()) + "  " + Terminal.clean(summary(job, dryRun)))
        if let error = job.error { terminal.error(error) }
        for line in unwell(job) { terminal.note("hint: \(Terminal.clean(line))") }
        for member in job.members ?? [] where member.state == .stuck || member.state == .lost {
            if let hint = member.error?.hint { terminal.note("hint: on \(member.node): \(Terminal.clean(hint))") }
        }
    }

    /// "n2  stop-etcd done, waits for the others", "n2  rolled-back: ..."
    ///
    /// - Parameter isWaitedFor: all others wait for it: it may be away, and what it told last is from before that.
    static func line(_ member: JobRecord, isWaitedFor: Bool = false, _ terminal: Terminal) -> String {
        let state = member.state.paint(terminal)(member.state.rawValue)
        let standing = isWaitedFor ? "is waited for; its last word: \(lastWord(member))" : standing(member)
        return "\(member.node)  \(state)  \(Terminal.clean(standing))"
    }

    private static func lastWord(_ member: JobRecord) -> String {
        let last = member.events.last { $0.kind != .note }
        switch last?.kind {
        case .reached: return "it has ended \(last?.phase?.rawValue ?? "")"
        case .held: return "it can't go on: \(last?.error?.message ?? "")"
        case .stepStarted: return "\(last?.step ?? "") began"
        case .stepDone: return "\(last?.step ?? "") done"
        case .stepFailed: return "\(last?.step ?? "") failed"
        case .accepted: return "it took the job"
        default: return "none yet"
        }
    }

    /// What can still be done with what a restore has left.
    static func lines(_ aftermath: RestoreAftermath, job: String) -> [String] {
        let kept = aftermath.nodes.filter { $0.cleanedUp == nil && !$0.directories.isEmpty }
        let cleaned = aftermath.nodes.filter { $0.cleanedUp != nil }
        let at = aftermath.at.map { " at \($0.short)" } ?? ""
        func places(_ nodes: [RestoreAftermath.Node]) -> String {
            Alike.groups(nodes, by: \.directories).map { group in
                "\(group[0].directories.joined(separator: ", ")) on \(group.map(\.node).joined(separator: ", "))"
            }.joined(separator: "; ")
        }
        var lines: [String] = []
        switch aftermath.state {
        case .undoable: lines.append("can be undone: fleetctl restore undo \(job)")
        case .undone: return ["undone by \(aftermath.by ?? "")\(at)"]
        case .overtaken:
            lines.append("can't be undone any more: \(aftermath.by ?? "") has switched the cluster since, or may have")
        case .cleanedUp: lines.append("can't be undone any more: old data was cleaned up")
        case .final: break
        }
        if !cleaned.isEmpty { lines.append("cleaned up on \(cleaned.map(\.node).joined(separator: ", "))\(at)") }
        if !kept.isEmpty {
            lines.append("old data kept in \(places(kept)); sign it off: fleetctl restore cleanup \(job)")
        }
        return lines
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

    /// Whom a restore of several members waits for, until when, and what then; nil where it waits for nobody.
    static func waits(_ job: JobRecord) -> String? {
        guard let nodes = job.waitsFor?.joined(separator: ", "), !nodes.isEmpty else { return nil }
        if let deadline = job.deadline { return "\(nodes), until \(deadline.short); then it is taken back" }
        let end =
            if case .recall = job.decision { "to go back, as all do" } else { "to finish, as all do" }
        return "\(nodes) \(end)"
    }

    /// What becomes of a job that is under way when the agent of this node is revoked.
    static func without(_ node: String, _ job: JobRecord) -> String {
        if job.kind == "replace" { return "it ends where it stands" }
        guard let members = job.members, members.contains(where: { $0.node != node }) else {
            return "its end will not be heard of"
        }
        return "without it the others take it back, or finish where that was decided"
    }

    /// What to do about those that a decided restore waits for and that are not there.
    static func missed(_ job: JobRecord, _ agents: [AgentRecord]) -> [String] {
        job.missed(agents).map { "\($0.agent.node) is not connected: \($0.action)" }
    }

    /// What is to be known and done behind a success: what all members say is shown once, and without their names.
    static func notes(_ job: JobRecord) -> [String] {
        let all = job.members ?? [job]
        let said = all.flatMap { member in (member.outcome?.notes ?? []).map { (node: member.node, note: $0) } }
        return Alike.groups(said, by: \.note).map { group in
            let isOfAll = group.count == all.count
            return (isOfAll ? "" : "on \(group.map(\.node).joined(separator: ", ")): ") + group[0].note
        }
    }

    /// What went back and could not be seen to serve again, with where to look.
    static func unwell(_ job: JobRecord) -> [String] {
        (job.members ?? [job]).compactMap { member in
            guard let outcome = member.outcome, let unhealthy = outcome.unhealthy else { return nil }
            let isUnit = outcome.plan?.topology == .externalSystemd
            let place = isUnit ? "journalctl -u etcd" : "the log of etcd's container (crictl logs)"
            return "on \(member.node): \(unhealthy); see \(place)"
        }
    }

    static func summary(_ job: JobRecord, _ dryRun: Bool) -> String {
        guard let members = job.members else { return job.outcome?.summary ?? (job.state == .succeeded ? "done" : "") }
        switch job.state {
        case .succeeded where job.cleans != nil: return "\(dryRun ? "looked" : "cleaned up") on \(job.node)"
        case .failed where job.cleans != nil: return "not all nodes are cleaned up"
        case .succeeded where dryRun: return "planned on all \(members.count) members; nothing was changed"
        case .succeeded where job.undoes != nil:
            return "undone on all \(members.count) members: the data from before \(job.undoes ?? "") is in force again"
        case .rolledBack:
            let what = job.undoes == nil ? "old" : "restored"
            let ill = members.filter { $0.outcome?.unhealthy != nil }.map(\.node).joined(separator: ", ")
            return "the \(what) configuration and the \(what) data are in force again on all members"
                + (ill.isEmpty ? "" : ", but etcd was not seen to be healthy on \(ill)")
        case .succeeded: return "restored \(job.snapshot) on all \(members.count) members"
        case .failed: return "nothing was changed on any member"
        case .stuck: return "not all members are done; those that are not say what to do"
        default: return ""
        }
    }
}
