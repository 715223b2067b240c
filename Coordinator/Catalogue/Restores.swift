import FleetProtocol
import FleetSQLite
import FleetSystem

extension Catalogue {
    /// In the order in which they were begun.
    func restoreSteps(_ job: String) throws(FleetError) -> [RestoreStepRecord] {
        try db.all("SELECT * FROM restore_steps WHERE restore = ? ORDER BY position", job) { row throws(FleetError) in
            let state: String = try row["state"]
            return RestoreStepRecord(
                node: try row["node"], name: try row["name"], state: .init(rawValue: state) ?? .started,
                started: try row["started"], ended: try row["ended"], detail: try row["detail"],
                error: try row.json(FleetError.self, "error"))
        }
    }

    /// Inside a transaction: a step of a restore that the agent told of. Each end of a step is audited, since each
    /// changes something on the node.
    func recordStep(_ event: JobEvent) throws(FleetError) {
        let state: RestoreStepRecord.State
        switch event.kind {
        case .stepStarted: state = .started
        case .stepDone: state = .done
        case .stepFailed: state = .failed
        default: return
        }
        guard let name = event.step else { return }
        let job = try message(event.job)
        // The position is the first event's number: steps are listed in the order in which they were begun.
        try db.run(
            """
            INSERT INTO restore_steps (restore, node, position, name, state, started, ended, detail, error)
            VALUES (?1, ?2, ?3, ?4, ?5, CASE WHEN ?5 = 'started' THEN ?6 END, CASE WHEN ?5 <> 'started' THEN ?6 END, ?7, ?8)
            ON CONFLICT (restore, node, name) DO UPDATE SET state = excluded.state,
                started = coalesce(started, excluded.started), ended = excluded.ended,
                detail = coalesce(excluded.detail, detail), error = excluded.error
            """, event.job, job.node, event.sequence, name, state.rawValue, event.time, event.detail,
            try event.error.map { value throws(FleetError) in try JSON.text(value) })
        try auditStep(event, as: "restore.step")
    }

    /// Inside a transaction: the end of a step, which may have changed something on the node.
    func auditStep(_ event: JobEvent, as action: String) throws(FleetError) {
        guard let name = event.step, event.kind == .stepDone || event.kind == .stepFailed else { return }
        let job = try message(event.job)
        var step = Act(action, by: "agent:\(job.cluster)/\(job.node)", cluster: job.cluster, subject: event.job)
        step.detail = ["step": name, "node": job.node]
        step.detail["detail"] = event.detail
        step.detail["error"] = event.error?.message
        try append(step, event.kind == .stepFailed ? .failed : .ok)
    }
}
