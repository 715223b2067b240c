import FleetCrypto
import FleetProtocol
import FleetSQLite
import FleetSystem

extension FleetError.Code {
    /// The cluster is protected, and nobody else has approved what is to be done to it.
    static let approvalNeeded: Self = "approval-needed"
    /// What can't be approved, or not by this operator.
    static let notApprovable: Self = "not-approvable"
}

/// Two people for what replaces the data of a protected cluster: one plans and does it, another approves the plan.
extension Catalogue {
    /// How long what was approved may be begun.
    static let approvalLasts = Duration.seconds(86_400)

    /// Tokens that operators made for its nodes are taken back: from now on they could make none.
    ///
    /// - Throws: `not-found`; `permission-denied` for whoever would lift it and is not root on the coordinator's host: else one
    ///   person alone could do both.
    func protect(_ cluster: String, _ isProtected: Bool, by actor: String) throws(FleetError) {
        var event = Act("cluster.protect", by: actor, cluster: cluster)
        event.detail["protected"] = String(isProtected)
        try act(event) { event throws(FleetError) in
            guard try clusterExists(cluster) else { throw try unknownCluster(cluster) }
            guard isProtected || actor == "root" else {
                throw FleetError(
                    .permissionDenied, "only root on the coordinator's host can lift the protection of \(cluster)",
                    hint: "there: fleetctl cluster unprotect \(cluster)")
            }
            try db.run("UPDATE clusters SET protected = ? WHERE name = ?", isProtected, cluster)
            guard isProtected else { return }
            let tokens = try takeBackOperatorsTokens(of: cluster)
            if tokens > 0 { event.detail["tokens"] = String(tokens) }
        }
    }

    func isProtected(_ cluster: String) throws(FleetError) -> Bool {
        try db.first("SELECT protected FROM clusters WHERE name = ?", cluster) { row throws(FleetError) in
            try row["protected"]
        } ?? false
    }

    /// What a dry run's approval would say.
    ///
    /// - Throws: `not-found`, `not-approvable`.
    func approvable(_ name: String) throws(FleetError) -> ApprovalPreview {
        let job = try job(name)
        guard job.dryRun, ["restore", "undo"].contains(job.kind), job.restore == nil else {
            throw FleetError(
                .notApprovable, "\(job.id) is no dry run of a restore or of an undo",
                hint: "whoever wants to restore plans it first: fleetctl restore \(job.cluster) --at SNAPSHOT --dry-run"
            )
        }
        guard job.state == .succeeded else {
            throw FleetError(
                .notApprovable, "the dry run \(job.id) \(job.state.isOpen ? "is under way" : "failed")",
                hint: "see: fleetctl job show \(job.id)")
        }
        guard let finished = job.finished, now < finished.adding(Self.approvalLasts) else {
            throw FleetError(
                .notApprovable, "the dry run \(job.id) is more than a day old, and what it found may be another by now",
                hint: "plan it again with --dry-run, and approve that")
        }
        let order = try plannedRestore(job)
        return ApprovalPreview(
            statement: ApprovalStatement(
                plan: job.id, planDigest: try ApprovalStatement.digest(of: job), cluster: job.cluster, kind: job.kind,
                snapshot: job.snapshot, undoes: job.undoes,
                withoutSafetySnapshot: order.map { $0.safety == nil } ?? false,
                withoutBump: order.map { $0.bump == nil } ?? false, replaces: ApprovalStatement.replaces(job),
                expires: now.adding(Self.approvalLasts)), job: job)
    }

    /// nil for an undo, which has neither.
    private func plannedRestore(_ job: JobRecord) throws(FleetError) -> Operation.Restore? {
        guard job.undoes == nil else { return nil }
        if job.members != nil { return try restorePlan(job.id) }
        guard case .restore(let restore) = try message(job.id).operation else { return nil }
        return restore
    }

    /// An operator's signed word. When this returns it is durable.
    ///
    /// - Throws: `not-found`, `not-approvable`, `bad-signature`.
    func approve(
        _ request: ApproveRequest, certificate: X509Certificate, by actor: String
    ) throws(FleetError) -> ApprovalRecord {
        let preview = try approvable(request.job)
        var event = Act("restore.approve", by: actor, cluster: preview.job.cluster, subject: preview.job.id)
        event.detail["certificate"] = certificate.fingerprint
        return try act(event) { event throws(FleetError) in
            let statement = try request.envelope.approval(signedBy: certificate)
            event.detail["planDigest"] = statement.planDigest
            // All but the time, which was given out with the preview: that may be no later than now allows.
            var expected = preview.statement
            let latest = expected.expires
            expected.expires = statement.expires
            guard statement == expected, statement.expires <= latest, statement.expires > now else {
                throw FleetError(
                    .notApprovable, "what was signed is not what \(preview.job.id) planned, or was shown too long ago",
                    hint: "run it again: fleetctl restore approve \(preview.job.id)")
            }
            // Given twice it is good once.
            try db.run(
                "DELETE FROM approvals WHERE plan = ? AND approver = ? AND \(Self.isUnused)", statement.plan, actor)
            try db.run(
                """
                INSERT INTO approvals (plan, approver, certificate, given, expires, statement, envelope)
                VALUES (?, ?, ?, ?, ?, ?, ?)
                """, statement.plan, actor, try certificate.pem(), now, statement.expires, try JSON.text(statement),
                try JSON.text(request.envelope))
            return ApprovalRecord(statement: statement, by: actor, given: now, usedBy: nil)
        }
    }

    /// Of a dry run, oldest first.
    func approvals(of plan: String) throws(FleetError) -> [ApprovalRecord] {
        try approvalRows("plan = ? ORDER BY id", plan).map { id, record, certificate throws(FleetError) in
            var record = record
            let counts = hasRole(certificate, record.statement)
            record.isVoid = try isRevoked(certificate) || !counts ? true : nil
            record.isUnused = try db.first(
                "SELECT \(Self.isUnused) AS unused FROM approvals WHERE id = ?", id
            ) { row throws(FleetError) in try row["unused"] }
            return record
        }
    }

    /// Inside the transaction that begins it: uses up somebody else's approval of just this, where the cluster is protected.
    ///
    /// - Throws: `approval-needed`.
    func useApproval(_ need: ApprovalNeed, job: String, by actor: String, _ event: inout Act) throws(FleetError) {
        guard let (id, approval) = try approval(of: need, by: actor) else { return }
        try db.run("UPDATE approvals SET used_by = ? WHERE id = ?", job, id)
        event.detail["approvedBy"] = approval.by
        event.detail["approvedPlan"] = approval.statement.plan
    }

    /// What would be used now; nil where none is needed.
    ///
    /// - Throws: `approval-needed`.
    @discardableResult
    func approval(of need: ApprovalNeed, by actor: String) throws(FleetError) -> (id: Int64, record: ApprovalRecord)? {
        guard try isProtected(need.cluster) else { return nil }
        let given = try approvalRows("expires > ? AND \(Self.isUnused) ORDER BY id", now).filter {
            $0.record.statement.cluster == need.cluster && $0.record.statement.kind == need.kind
        }
        let present = try replaces(need)
        let same = given.filter { need.isMet(by: $0.record.statement) }
        let here = same.filter { $0.record.statement.replaces == present }
        for (id, record, certificate) in here where record.by != actor {
            if mayApprove(certificate, record.statement) { return (id, record) }
        }
        let why =
            if !here.isEmpty {
                "nobody else who may has approved this: it takes two people"
            } else if !same.isEmpty {
                "what was approved was planned while its members or their directories were others"
            } else if let other = given.last?.record {
                "what \(other.by) approved is of snapshot \(other.statement.snapshot), or with other options"
            } else { "a second operator has to approve this first" }
        let command =
            need.undoes.map { "fleetctl restore undo \($0)" }
            ?? "fleetctl restore \(need.cluster) --at \(need.snapshot)"
        throw FleetError(
            .approvalNeeded, "\(need.cluster) is protected: \(why)",
            hint:
                "plan it with '\(command) --dry-run' and the same options; another operator looks at that and runs 'fleetctl "
                + "restore approve' with its job; then the same without --dry-run")
    }

    /// One whose job ended before it touched anything is as good as before.
    private static let isUnused = """
        (used_by IS NULL OR EXISTS (SELECT 1 FROM whole_jobs w WHERE w.id = used_by
            AND w.state IN ('failed', 'refused', 'expired')))
        """

    private func isRevoked(_ certificate: X509Certificate) throws(FleetError) -> Bool {
        do throws(FleetError) { _ = try identify(fingerprint: certificate.fingerprint) } catch {
            if error.code == .certificateExpired { return false }
            if error.code == .certificateRevoked || error.code == .certificateUnknown { return true }
            throw error
        }
        return false
    }

    /// Who gave an approval may have lost the right to since.
    private func mayApprove(_ certificate: X509Certificate, _ statement: ApprovalStatement) -> Bool {
        guard (try? identify(fingerprint: certificate.fingerprint)) != nil else { return false }
        return hasRole(certificate, statement)
    }

    private func hasRole(_ certificate: X509Certificate, _ statement: ApprovalStatement) -> Bool {
        guard case .operator(let name) = try? holder(fingerprint: certificate.fingerprint),
            let who = try? principal(operator: name), let access = who.access
        else { return false }
        let source = (try? entry(statement.snapshot))??.record.cluster ?? statement.cluster
        return access.role >= .restorer && who.scope.contains(statement.cluster) && who.scope.contains(source)
    }

    /// Of the members as they are now.
    private func replaces(_ need: ApprovalNeed) throws(FleetError) -> [String] {
        try agents(cluster: need.cluster).filter { $0.instance != nil && $0.certificate?.revoked == nil }
            .sorted { $0.node < $1.node }.map { "\($0.node) \($0.instance?.dataDir ?? "")" }
    }

    private func approvalRows(
        _ condition: String, _ value: any SQLiteBindable
    ) throws(FleetError) -> [(id: Int64, record: ApprovalRecord, certificate: X509Certificate)] {
        let ids: [Int64] = try db.all("SELECT id FROM approvals WHERE \(condition)", value) { row throws(FleetError) in
            try row["id"]
        }
        var rows: [(id: Int64, record: ApprovalRecord, certificate: X509Certificate)] = []
        for id in ids {
            do throws(FleetError) {
                let found = try db.first("SELECT * FROM approvals WHERE id = ?", id) { row throws(FleetError) in
                    guard let statement = try row.json(ApprovalStatement.self, "statement") else {
                        throw FleetError(.databaseCorrupt, "an approval says nothing")
                    }
                    let record = ApprovalRecord(
                        statement: statement, by: try row["approver"], given: try row["given"],
                        usedBy: try row["used_by"])
                    return (id, record, try X509Certificate(pem: try row["certificate"]))
                }
                if let found { rows.append(found) }
            } catch { log.error("approval \(id) can't be read, and counts for nothing", error) }
        }
        return rows
    }
}

/// What is about to be begun on a cluster, as an approval has to name it.
struct ApprovalNeed: Sendable {
    var cluster: String
    var kind: String
    var snapshot: String
    var undoes: String?
    var withoutSafetySnapshot: Bool
    var withoutBump: Bool

    init(
        cluster: String, kind: String, snapshot: String, withoutSafetySnapshot: Bool = false, withoutBump: Bool = false
    ) {
        (self.cluster, self.kind, self.snapshot) = (cluster, kind, snapshot)
        (self.withoutSafetySnapshot, self.withoutBump) = (withoutSafetySnapshot, withoutBump)
    }

    init(undoing restore: JobRecord) {
        self.init(cluster: restore.cluster, kind: "undo", snapshot: restore.snapshot)
        undoes = restore.id
    }

    func isMet(by statement: ApprovalStatement) -> Bool {
        statement.cluster == cluster && statement.kind == kind && statement.snapshot == snapshot
            && statement.undoes == undoes && statement.withoutSafetySnapshot == withoutSafetySnapshot
            && statement.withoutBump == withoutBump
    }
}
