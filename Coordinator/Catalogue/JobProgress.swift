import FleetProtocol
import FleetSQLite
import FleetSystem

extension Catalogue {
    /// The present attempt is about to be put on the wire. Nothing to deliver: the job has ended, or ends now because
    /// it is too late for it.
    func willSend(_ id: String) throws(FleetError) -> JobEffect {
        if try isRecalled(id) { return JobEffect(decide: [id]) }
        var effect = try advance(id, .sending)
        effect.deliver = try job(id).state == .delivered ? try message(id) : nil
        return effect
    }

    /// The agent's answer to a delivery.
    @discardableResult
    func answered(_ id: String, refusal: FleetError? = nil) throws(FleetError) -> JobEffect {
        try advance(id, refusal.map { .refused($0) } ?? .accepted)
    }

    /// An event that an agent sent. It is acknowledged when this returns, and never before.
    ///
    /// - Throws: `not-found` for a job that is not this node's, `malformed`.
    func receive(_ event: JobEvent, from node: NodeName) throws(FleetError) -> JobEffect {
        try checkOwner(event.job, node)
        guard event.sequence > 0, event.isWanted || event.sequence <= EventLimits.count else {
            throw FleetError(.malformed, "an event of job \(event.job) has the number \(event.sequence)")
        }
        let known: Bool? = try db.first(
            "SELECT 1 AS known FROM job_events WHERE job = ? AND sequence = ?", event.job, event.sequence
        ) { row throws(FleetError) in try row["known"] }
        if known == nil { try checkSize(event) }
        return try advance(event.job, .event(event, isNew: known == nil))
    }

    private func checkSize(_ event: JobEvent) throws(FleetError) {
        let size = try JSON.encode(event).count
        let limit = event.kind == .outcome ? EventLimits.outcomeBytes : EventLimits.bytes
        let before: Int =
            try db.first("SELECT coalesce(sum(length(event)), 0) AS total FROM job_events WHERE job = ?", event.job) {
                row throws(FleetError) in try row["total"]
            } ?? 0
        guard size <= limit, before + size <= EventLimits.totalBytes * (event.isWanted ? 2 : 1) else {
            throw FleetError(
                .malformed, "event \(event.sequence) of job \(event.job) has \(size) bytes, behind \(before) of others")
        }
    }

    /// Bytes of the job's snapshot move: a sign of life, not recorded more than once a minute.
    func transferring(_ id: String) throws(FleetError) {
        let heard: Timestamp?? = try db.first("SELECT last_heard FROM jobs WHERE id = ?", id) {
            row throws(FleetError) in
            try row["last_heard"]
        }
        if let heard = heard ?? nil, now < heard.adding(.seconds(60)) { return }
        _ = try advance(id, .transferring)
    }

    /// What an agent says of itself is recorded. Where it has just connected, its open jobs go on or are closed by it: one that
    /// says so again later, because its etcd has changed, has told of its jobs by their events, and what it says here may
    /// be from before it was given one.
    func registered(
        _ node: NodeName, _ request: RegisterRequest, hasJustConnected: Bool
    ) throws(FleetError) -> [JobEffect] {
        try register(cluster: node.cluster, node: node.node, request)
        guard hasJustConnected else { return [] }
        var effects = looking(try openJobIDs(where: "cluster = ? AND node = ?", node.cluster, node.node)) {
            id throws(FleetError) in
            try advance(
                id, .registered(isActive: request.activeJobs.contains(id), lastCounter: request.lastCounter))
        }
        // Also of jobs that are closed here: one that was given up for lost may have waited for this all the time.
        effects += looking(request.activeJobs) { id throws(FleetError) in
            guard let part = try part(id), part.node == node.node else { return JobEffect() }
            return JobEffect(decide: [id])
        }
        return effects.filter { $0 != JobEffect() }
    }

    /// Of what an agent says that it is at, the jobs that are not known here: the catalogue is another than they were made
    /// by.
    func unknown(_ request: RegisterRequest) throws(FleetError) -> [String] {
        var unknown: [String] = []
        for id in request.activeJobs {
            let known: Bool? = try db.first("SELECT 1 AS known FROM jobs WHERE id = ?", id) { row throws(FleetError) in
                try row["known"]
            }
            if known == nil { unknown.append(id) }
        }
        return unknown
    }

    /// Closes what has waited for too long: called every minute or so, and once at start, when nobody is connected. A job
    /// whose rows can't be read keeps none of the others from it.
    func tick(connected: Set<NodeName>) throws(FleetError) -> [JobEffect] {
        var effects = try endRevoked()
        effects += looking(try openJobIDs(where: "1")) { id throws(FleetError) in
            try advance(id, .tick(isConnected: connected.contains(try owner(id))))
        }
        // An agent may have been unable to take a decision: its disk was full, say.
        effects += looking(try openRestores()) { id throws(FleetError) in
            JobEffect(decide: try memberJobs(id).map(\.id))
        }
        return effects.filter { $0 != JobEffect() }
    }

    /// What is open on agents that are revoked is over, and nobody waits for it. Behind the revocation and not with it: that
    /// has to stand whatever the rows of a job are like.
    func endRevoked() throws(FleetError) -> [JobEffect] {
        let revoked = try openJobIDs(
            where: """
                NOT EXISTS (SELECT 1 FROM certificates k WHERE k.cluster = jobs.cluster AND k.node = jobs.node
                    AND k.revoked IS NULL)
                """)
        return looking(revoked) { id throws(FleetError) in try advance(id, .revoked) }
    }

    private func openJobIDs(
        where condition: String, _ values: (any SQLiteBindable)?...
    ) throws(FleetError) -> [String] {
        try db.all(
            "SELECT id FROM jobs WHERE \(condition) AND finished IS NULL ORDER BY created, id", values: values
        ) { row throws(FleetError) in try row["id"] }
    }

    /// What is done with one is durable, and has to be carried out whatever is wrong with the next.
    func looking(
        _ ids: [String], _ body: (String) throws(FleetError) -> JobEffect
    ) -> [JobEffect] {
        var effects: [JobEffect] = []
        for id in ids {
            do throws(FleetError) { effects.append(try body(id)) } catch {
                log.with("job", id).error("a job could not be looked after, and will be again", error)
            }
        }
        return effects
    }

    func owner(_ id: String) throws(FleetError) -> NodeName {
        let owner = try db.first("SELECT cluster, node FROM jobs WHERE id = ?", id) { row throws(FleetError) in
            NodeName(cluster: try row["cluster"], node: try row["node"])
        }
        guard let owner else { throw FleetError(.notFound, "there is no job \(Names.quote(id))") }
        return owner
    }

    /// A node that reaches for what is another's is on record.
    func checkOwner(_ id: String, _ node: NodeName) throws(FleetError) {
        guard try owner(id) == node else {
            let error = FleetError(.notFound, "there is no job \(Names.quote(id)) of \(node)")
            let actor = "agent:\(node)"
            turnedAway(Act("job.access", by: actor, cluster: node.cluster, subject: id), error, budget: actor)
            throw error
        }
    }

    // MARK: the machine and its rows

    private func advance(_ id: String, _ input: JobMachine.Input) throws(FleetError) -> JobEffect {
        try db.transaction { () throws(FleetError) in try advanceInside(id, input) }
    }

    private func advanceInside(_ id: String, _ input: JobMachine.Input) throws(FleetError) -> JobEffect {
        var before = try machine(id)
        if case .event(let event, isNew: true) = input {
            switch before.kind {
            case .drill: before.objection = try objection(to: event)
            case .upgrade: before.objection = try objection(toUpgrade: event)
            case .backup, .restore, .cleanup, .member: break
            }
        }
        var machine = before
        let commands = machine.handle(input, at: now)
        if machine != before { try save(machine, id, started: before.state) }
        var effect = JobEffect()
        var closed: (state: JobState, error: FleetError?)?
        for command in commands {
            switch command {
            case .deliver:
                if try isRecalled(id) { effect.decide = [id] } else { effect.deliver = try message(id) }
            case .renew:
                try renew(id, machine)
                effect.deliver = try message(id)
            case .record(let event): try insert(event, kind: machine.kind)
            case .close(let state, let error):
                try close(id, machine, error)
                effect.closed = try job(id)
                closed = (state, error)
            }
        }
        if let part = try part(id) {
            if part.isAlone {
                if closed != nil { try concludeAlone(part.restore, &effect) }
            } else {
                let event: JobEvent? = if case .event(let event, isNew: true) = input { event } else { nil }
                let news = RestoreWords.records(node: part.node, event: event, closed: closed)
                if !news.isEmpty { try advance(restore: part.restore, news, &effect) }
            }
        }
        if let closed, let whole = try replacement(of: id) {
            let outcome = try job(id).outcome
            let end = ReplaceTransaction.End(closed.state, closed.error, outcome?.member)
            try advance(replacement: whole, [.ended(job: id, end)], &effect)
        }
        return effect
    }

    private func machine(_ id: String) throws(FleetError) -> JobMachine {
        let found = try db.first(
            """
            SELECT CASE WHEN j.cleans IS NULL THEN j.kind ELSE 'cleanup' END AS kind, j.state, j.created, j.last_heard,
                j.agents_word, a.number, a.counter, a.issued, a.expires,
                s.id IS NOT NULL AS stored, CASE s.condition WHEN 'foreign' THEN s.problem END AS stored_problem
            FROM jobs j JOIN job_attempts a ON a.job = j.id
            LEFT JOIN snapshots s ON s.id = j.snapshot AND s.job = j.id AND s.condition IN ('verified', 'foreign')
            WHERE j.id = ? ORDER BY a.number DESC LIMIT 1
            """, id
        ) { row throws(FleetError) in
            let kind: String = try row["kind"]
            let counter: Int64 = try row["counter"]
            var machine = JobMachine(
                kind: JobMachine.Kind(rawValue: kind) ?? .restore, counter: UInt64(counter),
                created: try row["created"],
                issued: try row["issued"], expires: try row["expires"])
            machine.state = try row.state("state") ?? .queued
            machine.attempt = try row["number"]
            machine.lastHeard = try row["last_heard"]
            machine.isSnapshotStored = try row["stored"]
            machine.storedProblem = try row.json(FleetError.self, "stored_problem")
            machine.isAgentsWord = try row["agents_word"]
            return machine
        }
        guard let found else { throw FleetError(.notFound, "there is no job \(Names.quote(id))") }
        return found
    }

    private func save(_ machine: JobMachine, _ id: String, started before: JobState) throws(FleetError) {
        try db.run(
            """
            UPDATE jobs SET state = ?2, last_heard = ?3, agents_word = ?4,
                started = CASE WHEN ?5 THEN coalesce(started, ?6) ELSE started END,
                finished = CASE WHEN ?7 THEN NULL ELSE coalesce(finished, ?6) END
            WHERE id = ?1
            """, id, machine.state.rawValue, machine.lastHeard, machine.isAgentsWord, machine.lastHeard != nil, now,
            machine.state.isOpen)
        if before == .queued, machine.state == .delivered {
            try db.run(
                "UPDATE job_attempts SET delivered = coalesce(delivered, ?) WHERE job = ? AND number = ?", now, id,
                machine.attempt)
        }
    }

    private func renew(_ id: String, _ machine: JobMachine) throws(FleetError) {
        let owner = try message(id)
        try addAttempt(job: id, cluster: owner.cluster, node: owner.node, expires: machine.expires)
        var event = Act("job.renew", by: "coordinator", cluster: owner.cluster, subject: id)
        event.detail = ["attempt": String(machine.attempt), "node": owner.node]
        try append(event, .ok)
    }

    private func close(_ id: String, _ machine: JobMachine, _ error: FleetError?) throws(FleetError) {
        try db.run(
            "UPDATE jobs SET error = ? WHERE id = ?",
            try error.map { value throws(FleetError) in try JSON.text(value) }, id)
        let job = try message(id)
        let actor = machine.isAgentsWord ? "agent:\(job.cluster)/\(job.node)" : "coordinator"
        var event = Act("job.end", by: actor, cluster: job.cluster, subject: id)
        event.detail = ["kind": job.operation.kind, "node": job.node, "state": machine.state.rawValue]
        let isDryRun: Bool? = try db.first("SELECT dry_run FROM jobs WHERE id = ?", id) { row throws(FleetError) in
            try row["dry_run"]
        }
        if isDryRun == true { event.detail["dryRun"] = "true" }
        event.detail["code"] = error?.code.rawValue
        event.detail["error"] = error?.message
        if machine.kind == .drill, machine.state == .succeeded {
            event.detail["stands"] = try settleDrills(provenBy: id)
        }
        let outcome: AuditOutcome =
            switch machine.state {
            case .succeeded: .ok
            case .refused: .refused
            default: .failed
            }
        try append(event, outcome)
        if machine.kind == .restore, machine.state == .succeeded {
            try noteRestored(id, cluster: job.cluster)
        }
        if machine.kind == .drill { try recordDrill(id, state: machine.state, error) }
    }

    private func insert(_ event: JobEvent, kind: JobMachine.Kind) throws(FleetError) {
        try db.run(
            "INSERT INTO job_events (job, sequence, time, received, event) VALUES (?, ?, ?, ?, ?)", event.job,
            event.sequence, event.time, now, try JSON.text(event))
        if let outcome = event.outcome {
            try db.run(
                """
                UPDATE jobs SET outcome = ? WHERE id = ?
                    AND (outcome IS NULL OR json_extract(outcome, '$.result') = 'stuck')
                """, try JSON.text(outcome), event.job)
            if let plan = outcome.plan {
                try db.run("UPDATE restores SET plan = ? WHERE job = ?", try JSON.text(plan), event.job)
            }
        }
        if kind == .restore { try recordStep(event) }
        if kind == .member { try auditStep(event, as: "replace.step") }
        if kind == .upgrade { try auditStep(event, as: "upgrade.step") }
    }
}
