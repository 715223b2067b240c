import FleetProtocol
import FleetSystem

/// Restores, undos, cleanups and replacements of members as the audit log tells of them, each as one whole. Pure.
struct RestoreHistory {
    private var all: [String: AuditReport.Restore] = [:]
    private var order: [String] = []
    /// Of plans: who approved each.
    private var approvals: [String: [AuditReport.Restore.Approval]] = [:]

    /// One member's part is called like the whole, with a number behind it.
    private func whole(_ id: String) -> String? {
        if all[id] != nil { return id }
        guard let dash = id.lastIndex(of: "-") else { return nil }
        let name = String(id[..<dash])
        return all[name] == nil ? nil : name
    }

    func isPart(_ id: String) -> Bool { all[id] == nil && whole(id) != nil }
    func isDryRun(_ id: String?) -> Bool { id.flatMap { all[$0] }?.dryRun ?? false }

    mutating func feed(_ event: AuditEvent, since: Timestamp) {
        guard let id = event.subject else { return }
        // What was refused changes nothing, but that a node refuses to begin is how an act ends.
        guard event.outcome != .refused || event.action.hasSuffix(".end") else { return }
        switch (event.action, event.outcome) {
        case ("job.create", .ok):
            if let kind = event.detail["kind"], kind == "restore" { begin(id, kind, event) }
        case ("restore.create", .ok): begin(id, "restore", event)
        case ("restore.undo", .ok): begin(id, "undo", event, of: event.detail["undoes"])
        case ("restore.cleanup", .ok): begin(id, "cleanup", event, of: event.detail["cleans"])
        case (ControlMethod.replaceMember, .ok): begin(id, "replace", event)
        case ("restore.approve", .ok):
            approvals[id, default: []].append(.init(time: event.time, by: event.actor))
        case ("restore.step", _), ("replace.step", _):
            let detail = [event.detail["detail"], event.detail["error"]].compactMap { $0 }.joined(separator: ": ")
            step(id, event, node: event.detail["node"], event.detail["step"] ?? "", detail)
        case ("restore.decide", _), ("replace.decide", _):
            step(id, event, node: nil, event.detail["decision"] ?? "", event.detail["code"] ?? "")
        case ("job.end", _), ("restore.end", _), ("undo.end", _), ("cleanup.end", _), ("replace.end", _):
            end(id, event, since: since)
        default: break
        }
    }

    private mutating func begin(_ id: String, _ kind: String, _ event: AuditEvent, of other: String? = nil) {
        let nodes = event.detail["nodes"] ?? event.detail["node"] ?? ""
        var restore = AuditReport.Restore(
            id: id, cluster: event.cluster ?? "", kind: kind, dryRun: event.detail["dryRun"] != nil, by: event.actor,
            asked: event.time, snapshot: event.detail["snapshot"], of: other,
            nodes: nodes.split(separator: ",").map { $0.trimmed })
        restore.approvedBy = event.detail["approvedBy"]
        restore.approvedPlan = event.detail["approvedPlan"]
        all[id] = restore
        order.append(id)
    }

    private mutating func step(_ id: String, _ event: AuditEvent, node: String?, _ what: String, _ detail: String) {
        guard let name = whole(id) else { return }
        guard all[name]!.steps.count < AuditReport.Restore.stepLimit else {
            all[name]!.stepsLeftOut += 1
            return
        }
        all[name]!.steps.append(
            .init(
                time: event.time, node: node, what: what, outcome: event.outcome, detail: detail.isEmpty ? nil : detail)
        )
    }

    private mutating func end(_ id: String, _ event: AuditEvent, since: Timestamp) {
        guard let name = whole(id) else { return }
        // Of a member's part it is one more step.
        guard name == id else {
            return step(
                id, event, node: event.detail["node"], "part ended: \(event.detail["state"] ?? "")",
                event.detail["error"] ?? "")
        }
        all[name]!.ended = event.time
        all[name]!.state = event.detail["state"]
        all[name]!.error = event.detail["error"]
        // It is not told, and its steps would only take memory.
        if event.time < since { all[name]!.steps = [] }
    }

    func all(since: Timestamp) -> ReportList<AuditReport.Restore> {
        var rows = BoundedRows<AuditReport.Restore>()
        for id in order {
            guard var restore = all[id], restore.ended.map({ $0 >= since }) ?? true else { continue }
            restore.approvals = approvals[id] ?? []
            rows.add(restore)
        }
        return rows.list
    }
}

extension Substring {
    /// Without the spaces around it.
    fileprivate var trimmed: String {
        var rest = self
        while rest.first == " " { rest.removeFirst() }
        while rest.last == " " { rest.removeLast() }
        return String(rest)
    }
}
