internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

/// Policies in words.
enum PolicyWords {
    static func line(_ change: PolicyChange) -> String {
        "\(change.name)  \(change.kind.rawValue)" + deletion(change.deletes ?? 0)
    }

    /// Who would follow what, if a policy were removed. Where that one can't be read, others come from none.
    static func removal(of name: String, _ planned: [PolicyChange]) -> [String] {
        guard let leaves = planned.first(where: { $0.name == name })?.leaves else {
            return ["its clusters follow the next that selects them, if any"]
        }
        let all = planned.flatMap { $0.comes ?? [] } + leaves.filter { $0.to == nil }
        return all.isEmpty ? ["\(name) is followed by no cluster"] : moves(all) { $0.to }
    }

    /// A line for each policy that clusters come to.
    static func moves(_ moves: [PolicyMove], by other: (PolicyMove) -> String?) -> [String] {
        Dictionary(grouping: moves, by: other).sorted { ($0.key ?? "") < ($1.key ?? "") }.map { policy, moves in
            let verb = moves.count == 1 ? "follows" : "follow"
            let who = names(moves.map(\.cluster))
            guard let policy else { return "\(who) \(verb) no policy then: nothing happens by itself" }
            return "\(who) \(verb) policy \(policy) then" + deletion(moves.reduce(0) { $0 + $1.deletes })
        }
    }

    /// What a cluster follows now.
    static func followed(by cluster: ClusterRecord) -> String {
        if let policy = cluster.policy { return "\(cluster.name) follows policy \(policy)" }
        let more = cluster.unscheduledSince == nil ? "" : " any more"
        return "\(cluster.name) follows no policy\(more): nothing happens by itself"
    }

    private static func deletion(_ count: Int) -> String {
        count == 0 ? "" : "; behind the next backups retention deletes \(count) of the snapshots that there are now"
    }

    /// "a, b and 3 more"
    static func names(_ all: [String]) -> String {
        let (shown, rest) = (all.prefix(8), all.count - 8)
        return shown.joined(separator: ", ") + (rest > 0 ? " and \(rest) more" : "")
    }

    /// What there is instead of a list of policies.
    static func none(_ control: Control) async -> String {
        await seesAll(control)
            ? "there are no policies; nothing happens by itself. Write a file: fleetctl policy apply --help"
            : "no policy selects a cluster of yours; \(othersHidden)"
    }

    static let othersHidden = "policies of others are not shown"

    /// Whoever has some clusters is told that there may be more than is shown.
    static func seesAll(_ control: Control) async -> Bool {
        let me: WhoAmIReply? = try? await control.ask(ControlMethod.whoAmI, ListRequest())
        return me?.clusters == nil
    }

    /// What becomes of one: each field that changes, and who comes to it and leaves it.
    static func lines(_ change: PolicyChange) -> [String] {
        var lines = [line(change)]
        if let after = change.after, let before = change.before, change.kind == .changed {
            lines += differences(before, after).map { "  \(column($0.label))\($0.before) -> \($0.after)" }
        } else if let after = change.after, change.kind == .added {
            lines += fields(after).map { "  \(column($0.label))\($0.value)" }
        }
        lines += others(change.comes ?? []) { $0.from }.map { other, who in
            "  \(column("comes"))\(who), from \(other.map { "policy \($0)" } ?? "no policy")"
        }
        lines += others(change.leaves ?? []) { $0.to }.map { other, who in
            "  \(column("leaves"))\(who), to \(other.map { "policy \($0)" } ?? "no policy: nothing happens by itself")"
        }
        if let nobody = nobody(change.name, change.selects) { lines.append("  \(nobody)") }
        return lines
    }

    /// Said of one that is right and does nothing, since a label may be mistyped.
    static func nobody(_ name: String, _ selects: Int?) -> String? {
        selects == 0 ? "policy \(name) selects no cluster at present" : nil
    }

    private static func others(
        _ moves: [PolicyMove], by other: (PolicyMove) -> String?
    ) -> [(policy: String?, clusters: String)] {
        Dictionary(grouping: moves, by: other).sorted { ($0.key ?? "") < ($1.key ?? "") }.map {
            ($0, names($1.map(\.cluster)))
        }
    }

    /// By the words of `policy show`.
    static func differences(
        _ before: FleetPolicy, _ after: FleetPolicy
    ) -> [(label: String, before: String, after: String)] {
        let (old, new) = (fields(before, all: true), fields(after, all: true))
        func values(_ label: String, _ fields: [(label: String, value: String)]) -> String {
            let values = fields.filter { $0.label == label }.map(\.value)
            return values.isEmpty ? "none" : values.joined(separator: "; ")
        }
        var labels: [String] = []
        for field in old + new where !labels.contains(field.label) { labels.append(field.label) }
        return labels.map { ($0, values($0, old), values($0, new)) }.filter { $0.1 != $0.2 }
    }

    /// `@every` counts in UTC, whatever the zone.
    private static func timed(_ schedule: String, _ zone: String) -> String {
        "\(schedule) (\(schedule.hasPrefix("@every") ? "UTC" : zone))"
    }

    private static func column(_ label: String) -> String {
        label + String(repeating: " ", count: max(1, 11 - label.count))
    }

    static func selector(_ policy: FleetPolicy) -> String {
        var selects = policy.clusters
        if !policy.labels.isEmpty {
            selects.append(policy.labels.sorted { $0.key < $1.key }.map { "\($0)=\($1)" }.joined(separator: " and "))
        }
        return selects.isEmpty ? "every cluster" : selects.joined(separator: ", ")
    }

    static func lines(_ record: PolicyRecord) -> [String] {
        let policy = record.policy
        var lines = ["policy     \(policy.name), as it is since \(record.since.short)"]
        if let problem = record.problem {
            lines.append("problem    \(problem.message)")
            if let hint = problem.hint { lines.append("hint       \(hint)") }
        }
        var fields = fields(policy)
        if record.selects == 0 { fields[0].value += " (no cluster at present)" }
        fields.insert(("followed", "by \(record.clusters.isEmpty ? "no cluster" : names(record.clusters))"), at: 1)
        return lines + fields.map { column($0.label) + $0.value }
    }

    /// The selector first.
    ///
    /// - Parameter all: also what is of no use without a schedule.
    private static func fields(_ policy: FleetPolicy, all: Bool = false) -> [(label: String, value: String)] {
        let zone = policy.timezone
        var fields = [(label: "selects", value: selector(policy))]
        fields.append(("backups", policy.schedule.map { timed($0, zone) } ?? "by hand only"))
        if policy.schedule != nil || all {
            if policy.jitter > 0 { fields.append(("jitter", "up to \(Human.duration(.seconds(policy.jitter)))")) }
            for window in policy.windows { fields.append(("window", "\(window) (\(zone))")) }
            fields.append(("at once", "\(policy.parallel); \(policy.attempts) attempts each"))
        }
        if let bandwidth = policy.bandwidth {
            fields.append(("bandwidth", "\(Human.bytes(Int64(bandwidth))) a second, of all its backups together"))
        }
        if let objective = policy.objective {
            fields.append(("objective", "the newest backup is no older than \(Human.duration(.seconds(objective)))"))
        }
        if let retention = policy.retention { fields.append(("keeps", retention.text)) }
        if let drill = policy.drill { fields.append(("drills", timed(drill, zone))) }
        return fields
    }
}
