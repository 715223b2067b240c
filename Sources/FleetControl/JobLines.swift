internal import FleetProtocol
internal import FleetSystem

/// What happens in a job as lines for people, one an event in their order, as `restore` and `job show` show it. Pure.
struct JobLines {
    /// By job: which member it is of, where there are several.
    let nodes: [String: String]
    /// By node: the last phase that it has ended.
    private var reached: [String: RestorePhase] = [:]
    /// Nodes that nobody waits for any more.
    private var out: Set<String> = []
    private var ended: Set<String> = []
    /// The events come as they happen, so that after each it is known who is missing.
    var isLive: Bool
    /// The acts of a replacement are jobs too; who is told what, the coordinator's own lines say.
    private let isReplacement: Bool

    init(_ job: JobRecord, isLive: Bool) {
        self.isLive = isLive
        isReplacement = job.kind == "replace"
        // Acts come to it while it is followed, and are not known here: with some of them named it would look as if all were.
        let parts = isLive && isReplacement ? [] : job.members ?? []
        nodes = Dictionary(parts.map { ($0.id, $0.node) }) { first, _ in first }
    }

    /// - Returns: nil for what is no news of its own.
    mutating func line(_ event: JobEvent) -> String? {
        let time = event.time.short.dropFirst(11) + (nodes[event.job].map { "  \($0)" } ?? "")
        let detail = event.detail.map { ": \($0)" } ?? ""
        let step = event.step ?? "step"
        if let node = nodes[event.job] {
            if event.kind == .held || event.kind == .outcome { out.insert(node) }
            if event.kind == .outcome { ended.insert(node) }
        }
        switch event.kind {
        case .accepted where isReplacement: return nil
        case .accepted: return "\(time)  the agent has accepted the job"
        case .stepStarted: return "\(time)  \(step) ...\(detail)"
        case .stepDone: return "\(time)  \(step) done\(detail)"
        case .stepFailed: return "\(time)  \(step) FAILED: \(event.error?.message ?? event.detail ?? "no reason given")"
        case .note, .decided: return event.detail.map { "\(time)  \($0)" }
        case .reached: return "\(time)  has ended \(event.phase?.rawValue ?? "a phase")\(others(event))"
        case .held: return "\(time)  can't go on: \(event.error?.message ?? "no reason given")"
        case .outcome:
            guard !nodes.isEmpty, let outcome = event.outcome else { return nil }
            let left = isLive ? nodes.values.filter { !ended.contains($0) }.sorted() : []
            let waits = left.isEmpty ? "" : "; not at the end yet: \(left.joined(separator: ", "))"
            return "\(time)  \(outcome.result.rawValue): \(outcome.summary)\(waits)"
        case .progress: return nil
        }
    }

    /// Who has not come as far yet.
    private mutating func others(_ event: JobEvent) -> String {
        guard let phase = event.phase, let node = nodes[event.job] else { return "" }
        reached[node] = max(reached[node] ?? phase, phase)
        guard isLive else { return "" }
        let missing = nodes.values.filter { (reached[$0].map { $0 < phase } ?? true) && !out.contains($0) }.sorted()
        return missing.isEmpty ? ", the last of all" : ", waits for \(missing.joined(separator: ", "))"
    }
}
