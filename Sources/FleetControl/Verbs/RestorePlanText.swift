internal import FleetProtocol
internal import FleetSystem

/// The plans of a restore as people read them before they say yes: of several members what all share once, the steps with
/// the points at which the nodes wait for each other, and of each node only what is its own. Pure.
enum RestorePlanText {
    static func lines(_ plans: [RestorePlan]) -> [String] {
        guard let first = plans.first else { return [] }
        var lines: [String] = []
        if plans.count == 1 {
            lines.append("plan for \(first.cluster) on \(first.node) (\(first.topology.rawValue))")
            lines += directories([first])
            lines += identity(plans)
        } else {
            lines += [
                "plan for \(first.cluster): \(plans.count) members, \(first.undoes == nil ? "restored" : "taken back") as one",
                "  All wait for each other at each '--'. What fails before the last of them takes all back.",
            ]
            lines += identity(plans)
        }
        for group in Alike.groups(plans, by: Course.init) {
            if plans.count > 1 {
                lines += ["", "on \(names(group)) (\(group[0].topology.rawValue))"]
                lines += directories(group)
            }
            lines += steps(group[0])
        }
        for group in Alike.groups(plans.filter { !$0.changes.isEmpty }, by: \.changes) {
            lines.append("")
            if plans.count > 1 { lines.append("changes on \(names(group)):") }
            for change in group[0].changes {
                let diff = UnifiedDiff.text(path: change.path, before: change.before ?? "", after: change.after)
                lines += diff.split(separator: "\n").map(String.init)
            }
        }
        return lines + [""]
    }

    /// Nodes on which the same is done in the same order.
    private struct Course: Equatable {
        var topology: Topology
        var directories: [String?]
        var steps: [RestorePlan.Step]

        init(_ plan: RestorePlan) {
            topology = plan.topology
            directories = [plan.oldDataDir, plan.newDataDir, plan.oldWalDir, plan.newWalDir]
            steps = plan.steps
        }
    }

    private static func names(_ plans: [RestorePlan]) -> String { plans.map(\.node).joined(separator: ", ") }

    private static func identity(_ plans: [RestorePlan]) -> [String] {
        var lines = plans[0].initialCluster.map { ["  members   \($0)"] } ?? []
        if plans[0].undoes == nil {
            lines.append("  token     \(plans[0].clusterToken)")
            lines.append(
                "            (token, ids and new directories are this plan's: the restore names them after itself)")
        }
        for group in Alike.groups(plans.filter { $0.revisions != nil }, by: \.revisions) {
            let place = group.count == plans.count ? "" : " (on \(names(group)))"
            lines.append("  begins at \(group[0].revisions ?? "")\(place)")
        }
        guard let cluster = plans[0].clusterID else { return lines }
        let members = plans.map { plan in
            (plans.count > 1 ? "\(plan.node) " : "member ") + (plan.memberID ?? "unknown")
        }
        lines.append(
            "  \(plans[0].undoes == nil ? "new ids " : "ids then")  cluster \(cluster), \(members.joined(separator: ", "))"
        )
        return lines
    }

    private static func directories(_ alike: [RestorePlan]) -> [String] {
        let plan = alike[0]
        var lines =
            plan.undoes == nil
            ? ["  old data  \(plan.oldDataDir)", "  new data  \(plan.newDataDir)"]
            : ["  back to   \(plan.newDataDir)", "  keeps     \(plan.oldDataDir), with what was written since"]
        if let old = plan.oldWalDir, let new = plan.newWalDir { lines.append("  WAL       \(old) -> \(new)") }
        for plan in alike {
            let place = alike.count > 1 ? " on \(plan.node)" : ""
            if let aside = plan.holdingDirectory { lines.append("  aside     \(aside)\(place)") }
        }
        return lines
    }

    private static func steps(_ plan: RestorePlan) -> [String] {
        var lines: [String] = []
        var phase: RestorePhase?
        for (i, step) in plan.steps.enumerated() {
            if let its = step.phase, its != phase {
                phase = its
                lines.append("  \(heading(its))")
            }
            lines.append("  \(i + 1). \(step.name): \(step.description)")
        }
        return lines
    }

    /// What holds on all members when a phase begins on any.
    private static func heading(_ phase: RestorePhase) -> String {
        switch phase {
        case .prepare: "-- etcd serves, and nothing of it is touched"
        case .quiesce: "-- when all have ended that"
        case .stop: "-- when all have ended that: etcd is down from here"
        case .start: "-- when etcd is off on all"
        case .verify: "-- when etcd runs on all"
        case .commit: "-- when all are one cluster with the same data: from here nothing is taken back by itself"
        }
    }
}

/// Things that are the same in what people are shown.
enum Alike {
    /// In the order in which the first of each came.
    static func groups<Element, Key: Equatable>(_ elements: [Element], by key: (Element) -> Key) -> [[Element]] {
        var groups: [(key: Key, elements: [Element])] = []
        for element in elements {
            let its = key(element)
            if let known = groups.firstIndex(where: { $0.key == its }) {
                groups[known].elements.append(element)
            } else {
                groups.append((its, [element]))
            }
        }
        return groups.map(\.elements)
    }
}
