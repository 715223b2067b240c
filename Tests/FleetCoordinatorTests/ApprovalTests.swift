import FleetCrypto
import FleetProtocol
import FleetSystem
import Testing

@testable import FleetCoordinator

/// A protected cluster's data is replaced by two people or not at all.
@Suite("Approvals", .timeLimit(.minutes(5)))
struct ApprovalTests {
    private struct Operator {
        var actor: String
        var key: PrivateKey
        var certificate: X509Certificate

        func sign(_ statement: ApprovalStatement) throws -> Envelope {
            try Envelope.approval(statement, key: key, certificate: certificate)
        }
    }

    private let clock = TestClock()
    private let catalogue: Catalogue
    private let authority: CertificateAuthority
    private let alice: Operator
    private let bob: Operator

    init() async throws {
        catalogue = try await Fixture.fleet(clock)
        try await catalogue.add(Fixture.record("s1"), by: "agent")
        try await catalogue.add(Fixture.record("s2", job: "j2"), by: "agent")
        let made = try CertificateAuthority.create(name: "test fleet", validity: .seconds(86_400 * 9), now: clock.now)
        authority = try CertificateAuthority(certificatePEM: made.certificatePEM, keyPEM: made.keyPEM)
        alice = try await Self.enrol("alice", catalogue, authority, clock)
        bob = try await Self.enrol("bob", catalogue, authority, clock)
        try await catalogue.protect("a", true, by: "operator:alice")
    }

    private static func enrol(
        _ name: String, _ catalogue: Catalogue, _ authority: CertificateAuthority, _ clock: TestClock
    ) async throws -> Operator {
        let (key, now) = (try PrivateKey.generateP256(), clock.now)
        let request = try CertificateRequest(key: key, commonName: name)
        let certificate = try authority.issue(
            .person(name: name), for: request, validity: .seconds(86_400 * 8), now: now)
        let secret = Randomness.token(20)
        try await catalogue.operatorToken(name, secret: secret)
        _ = try await catalogue.enrol(secret: secret, name: "", from: "test") { _ throws(FleetError) in
            (
                CertificateRecord(
                    fingerprint: certificate.fingerprint, serial: certificate.serial, issued: now,
                    notAfter: certificate.notAfter), ""
            )
        }
        return Operator(actor: "operator:\(name)", key: key, certificate: certificate)
    }

    private func restore(
        _ snapshot: String = "s1", dryRun: Bool = false, bumps: Bool = true, by actor: String
    ) async throws -> JobRecord {
        clock.advance(.seconds(1))
        let order = RestoreOrder(snapshot: snapshot, dryRun: dryRun, safetyNode: "n1", bumpsRevisions: bumps)
        return try await catalogue.createRestore(
            order, cluster: "a", node: "n1", lifetime: .seconds(600), by: actor)
    }

    private func end(
        _ job: JobRecord, _ result: JobOutcome.Result = .succeeded, directory: String = "/n"
    ) async throws {
        clock.advance(.seconds(1))
        let plan = RestorePlan(
            cluster: "a", node: "n1", snapshot: job.snapshot, topology: .stacked, oldDataDir: "/var/lib/etcd",
            newDataDir: directory, oldWalDir: nil, newWalDir: nil, clusterToken: "t", clusterID: "beef", changes: [],
            steps: [])
        let outcome = JobOutcome(
            result: result, error: result == .succeeded ? nil : FleetError(.noSpace, "full"), summary: "planned",
            plan: plan)
        _ = try await catalogue.receive(
            JobEvent(job: job.id, sequence: 1, time: clock.now, kind: .outcome, outcome: outcome),
            from: NodeName(cluster: "a", node: "n1"))
    }

    private func planned(_ snapshot: String = "s1", bumps: Bool = true) async throws -> JobRecord {
        let job = try await restore(snapshot, dryRun: true, bumps: bumps, by: "operator:alice")
        try await end(job)
        return job
    }

    @discardableResult
    private func approve(_ job: JobRecord, _ who: Operator) async throws -> ApprovalRecord {
        let statement = try await catalogue.approvable(job.id).statement
        return try await catalogue.approve(
            ApproveRequest(job: job.id, envelope: try who.sign(statement)), certificate: who.certificate,
            by: who.actor)
    }

    @Test func onePlansAnotherApprovesAndItIsGoodForOne() async throws {
        let plan = try await planned()
        #expect(await code { _ = try await restore(by: alice.actor) } == .approvalNeeded)
        // What was planned for oneself is not approved by oneself.
        try await approve(plan, alice)
        let need = RestoreOrder(snapshot: "s1", safetyNode: "n1", bumpsRevisions: true).need("a")
        #expect(await code { try await catalogue.approval(of: need, by: alice.actor) } == .approvalNeeded)
        #expect(await code { _ = try await restore(by: alice.actor) } == .approvalNeeded)
        try await approve(plan, bob)
        #expect(await code { _ = try await restore("s2", by: alice.actor) } == .approvalNeeded)
        #expect(await code { _ = try await restore(bumps: false, by: alice.actor) } == .approvalNeeded)
        let begun = try await restore(by: alice.actor)
        try await end(begun)
        let used = try await catalogue.job(plan.id).approvals
        #expect(used?.map(\.by) == ["operator:alice", "operator:bob"] && used?.last?.usedBy == begun.id)
        #expect(await code { _ = try await restore(by: alice.actor) } == .approvalNeeded)
        let events = try await catalogue.auditLog().map(\.event)
        #expect(events.filter { $0.action == "restore.approve" }.map(\.actor) == ["operator:alice", "operator:bob"])
        let creation = events.last { $0.action == "job.create" && $0.outcome == .ok }
        #expect(creation?.detail["approvedBy"] == "operator:bob" && creation?.detail["approvedPlan"] == plan.id)
        let report = try await catalogue.report(
            since: clock.now.adding(.seconds(-86_400)), until: nil, only: []
        ).report
        let told = report.restores.rows
        #expect(told.map(\.id) == [plan.id, begun.id] && told.map(\.dryRun) == [true, false])
        #expect(told[0].approvals.map(\.by) == ["operator:alice", "operator:bob"] && told[0].state == "succeeded")
        #expect(told[1].by == alice.actor && told[1].approvedBy == "operator:bob" && told[1].approvedPlan == plan.id)
        #expect(told[1].state == "succeeded")
        #expect(report.refusals.rows.filter { $0.detail["code"] == "approval-needed" }.count >= 4)
    }

    /// Nobody is woken twice for what touched nothing, nor asked once for what is done twice.
    @Test func anApprovalIsGoodForOneThatTouchesSomething() async throws {
        let plan = try await planned()
        try await approve(plan, bob)
        try await approve(plan, bob)
        #expect(try await catalogue.job(plan.id).approvals?.count == 1)
        try await end(try await restore(by: alice.actor), .failed)
        try await end(try await restore(by: alice.actor), .rolledBack)
        #expect(await code { _ = try await restore(by: alice.actor) } == .approvalNeeded)
    }

    /// Given anew behind a failure, it is still good for one.
    @Test func anApprovalGivenAnewTakesTheFirstOnesPlace() async throws {
        let plan = try await planned()
        try await approve(plan, bob)
        let failed = try await restore(by: alice.actor)
        try await end(failed, .failed)
        let again = try await catalogue.job(plan.id).approvals
        #expect(again?.map(\.usedBy) == [failed.id] && again?.map(\.isUnused) == [true])
        try await approve(plan, bob)
        try await end(try await restore(by: alice.actor), .rolledBack)
        #expect(try await catalogue.job(plan.id).approvals?.map(\.isUnused) == [false])
        #expect(await code { _ = try await restore(by: alice.actor) } == .approvalNeeded)
    }

    @Test func whatWasPlannedElsewhereIsNotApprovedHere() async throws {
        let plan = try await planned()
        try await approve(plan, bob)
        let node = NodeName(cluster: "a", node: "n1")
        var moved = Fixture.registration()
        moved.instance?.dataDir = "/elsewhere"
        _ = try await catalogue.registered(node, moved, hasJustConnected: false)
        #expect(await code { _ = try await restore(by: alice.actor) } == .approvalNeeded)
        _ = try await catalogue.registered(node, Fixture.registration(), hasJustConnected: false)
        // One that can't be read is none, and keeps no other from counting.
        try await catalogue.script(
            "INSERT INTO approvals SELECT 9, plan, approver, 'x', given, expires, statement, envelope, NULL FROM approvals"
        )
        _ = try await restore(by: alice.actor)
        clock.advance(.seconds(86_400))
        #expect(
            await code { _ = try await catalogue.approvable(plan.id) } == .notApprovable, "who knows what is there now")
    }

    @Test func anUndoTakesTwoAsWell() async throws {
        try await approve(try await planned(), bob)
        let done = try await restore(by: alice.actor)
        try await end(done)
        func undo(dryRun: Bool) async throws -> JobRecord {
            clock.advance(.seconds(1))
            return try await catalogue.createUndo(
                of: done.id, dryRun: dryRun, waitSeconds: 60, lifetime: .seconds(600), by: alice.actor)
        }
        #expect(await code { _ = try await undo(dryRun: false) } == .approvalNeeded)
        let plan = try await undo(dryRun: true)
        try await end(plan, directory: "/old")
        try await approve(plan, bob)
        #expect(await code { _ = try await restore(by: alice.actor) } == .approvalNeeded, "it is for the undo")
        let undone = try await undo(dryRun: false)
        #expect(undone.undoes == done.id)
        let told = try await catalogue.report(
            since: clock.now.adding(.seconds(-86_400)), until: nil, only: []
        ).report.restores.rows.last
        #expect(told?.id == undone.id && told?.kind == "undo" && told?.of == done.id && told?.ended == nil)
        #expect(told?.approvedBy == "operator:bob")
    }

    @Test func anApprovalEndsWithItsDayAndWithItsOperator() async throws {
        let plan = try await planned()
        try await approve(plan, bob)
        clock.advance(.seconds(86_400))
        #expect(await code { _ = try await restore(by: alice.actor) } == .approvalNeeded)
        try await approve(try await planned(), bob)
        _ = try await catalogue.revoke(.operator(name: "bob"), by: "root")
        let approvals = try await catalogue.jobs().first { $0.dryRun }.map { $0.id }
        #expect(try await catalogue.job(approvals!).approvals?.map(\.isVoid) == [true])
        #expect(await code { _ = try await restore(by: alice.actor) } == .approvalNeeded)
    }

    @Test(arguments: [
        OperatorChange(name: "bob", role: .operator, clusters: nil),
        OperatorChange(name: "bob", role: nil, clusters: ClusterSelector(clusters: ["b"])),
    ])
    func anApprovalEndsWithTheRightToGiveIt(_ change: OperatorChange) async throws {
        let plan = try await planned()
        try await approve(plan, bob)
        _ = try await catalogue.setOperator(change, by: "root")
        #expect(await code { _ = try await restore(by: alice.actor) } == .approvalNeeded)
        #expect(try await catalogue.job(plan.id).approvals?.map(\.isVoid) == [true])
        let back = OperatorChange(name: "bob", role: .restorer, clusters: ClusterSelector())
        _ = try await catalogue.setOperator(back, by: "root")
        _ = try await restore(by: alice.actor)
    }

    /// Nobody was revoked whose certificate has only ended.
    @Test func anApprovalOutlivesACertificateThatEnds() async throws {
        let plan = try await planned()
        try await approve(plan, bob)
        clock.advance(.seconds(86_400 * 8))
        #expect(try await catalogue.job(plan.id).approvals?.map(\.isVoid) == [nil])
    }

    @Test func onlyWhatWasShownAndByOnesOwnKey() async throws {
        let plan = try await planned()
        let shown = try await catalogue.approvable(plan.id).statement
        func give(_ statement: ApprovalStatement, key: Operator, as who: Operator) async -> FleetError.Code? {
            await code {
                _ = try await catalogue.approve(
                    ApproveRequest(job: plan.id, envelope: try key.sign(statement)), certificate: who.certificate,
                    by: who.actor)
            }
        }
        #expect(await give(shown, key: alice, as: bob) == .badSignature)
        var changed = shown
        changed.planDigest = String(repeating: "0", count: 64)
        #expect(await give(changed, key: bob, as: bob) == .notApprovable)
        changed = shown
        changed.withoutBump = true
        #expect(await give(changed, key: bob, as: bob) == .notApprovable)
        changed = shown
        changed.expires = shown.expires.adding(.seconds(60))
        #expect(await give(changed, key: bob, as: bob) == .notApprovable)
        #expect(try await catalogue.job(plan.id).approvals?.isEmpty == true)
        // A plan that is not made yet, a restore that was done, a backup.
        let open = try await restore("s2", dryRun: true, by: alice.actor)
        #expect(await code { _ = try await catalogue.approvable(open.id) } == .notApprovable)
        try await end(open)
        #expect(await give(shown, key: bob, as: bob) == nil)
        let done = try await restore(by: alice.actor)
        #expect(await code { _ = try await catalogue.approvable(done.id) } == .notApprovable)
    }

    @Test func onlyRootLiftsIt() async throws {
        #expect(await code { try await catalogue.protect("a", false, by: alice.actor) } == .permissionDenied)
        #expect(await code { try await catalogue.protect("nope", true, by: alice.actor) } == .notFound)
        #expect(try await catalogue.cluster("a").isProtected == true)
        try await catalogue.protect("a", false, by: "root")
        _ = try await restore(by: alice.actor)
        #expect(try await catalogue.cluster("b").isProtected == false)
    }

    /// Root has no key of its own at the socket.
    @Test func theSocketApprovesNothing() async throws {
        let server = try await TestServer()
        let root = try await server.operate()
        #expect(
            await code {
                _ = try await root.call(
                    ControlMethod.previewApproval, NameRequest(name: "j1"), as: ApprovalPreview.self)
            } == .permissionDenied)
        #expect(try await server.events(ControlMethod.previewApproval).map(\.outcome) == [.refused])
        await server.stop()
    }
}
