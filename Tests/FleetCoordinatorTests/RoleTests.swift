import FleetConcerns
import FleetProtocol
import FleetReactor
import FleetSQLite
import FleetSystem
import Testing

@testable import FleetCoordinator

/// What each role may, and of which clusters, asked over real connections.
@Suite("Roles", .timeLimit(.minutes(5))) struct RoleTests {
    /// Clusters a (production) and b, with a snapshot each.
    private func fleet() async throws -> TestServer {
        let server = try await TestServer()
        for cluster in ["a", "b"] {
            _ = try await server.catalogue.addCluster(cluster, by: "root")
            try await Fixture.enrol(server.catalogue, cluster: cluster, node: "n1")
            let record = Fixture.record("s-\(cluster)", cluster: cluster, etcdID: cluster == "a" ? "aa" : "bb")
            try await server.catalogue.add(record, by: "root")
        }
        _ = try await server.catalogue.label(
            LabelRequest(cluster: "a", set: ["env": "production"], remove: []), by: "root")
        return server
    }

    private func refusal(
        _ connection: Connection, _ method: String, _ request: some Encodable & Sendable
    ) async -> FleetError? {
        do { let _: Acknowledgement = try await connection.call(method, request) } catch { return error }
        return nil
    }

    private func restore(_ cluster: String, _ at: String = "latest") -> RestoreRequest {
        RestoreRequest(cluster: cluster, at: at, dryRun: true, fromOtherCluster: true, waitSeconds: 60)
    }

    /// By what the least role is that is not refused.
    @Test func eachRoleMayWhatTheLesserMayAndMore() async throws {
        let server = try await fleet()
        let cases: [(String, any Encodable & Sendable, OperatorRole)] = [
            (ControlMethod.status, ListRequest(), .viewer),
            (ControlMethod.showSnapshot, NameRequest(name: "s-a"), .viewer),
            (ControlMethod.verifyAudit, ListRequest(), .viewer),
            (ControlMethod.listOperators, ListRequest(), .viewer),
            (ControlMethod.startBackup, BackupRequest(cluster: "a"), .operator),
            (ControlMethod.listKeys, KeysRequest(snapshot: "s-a", prefix: ""), .operator),
            (ControlMethod.pinSnapshot, PinRequest(name: "s-a", pinned: true), .operator),
            (ControlMethod.pinSnapshot, PinRequest(name: "s-a", pinned: false), .admin),
            (ControlMethod.acceptCluster, AcceptRequest(cluster: "a", id: "nonsense"), .restorer),
            (ControlMethod.startRestore, restore("a"), .restorer),
            (ControlMethod.exportSnapshot, NameRequest(name: "s-a"), .restorer),
            (ControlMethod.showValue, ValueRequest(snapshot: "s-a", key: "k", showSecrets: false), .restorer),
            (ControlMethod.deleteSnapshot, NameRequest(name: "none"), .admin),
            (ControlMethod.addCluster, NameRequest(name: "a"), .admin),
            (ControlMethod.removeCluster, ClusterRemovalRequest(name: "a", dryRun: true), .admin),
            (ControlMethod.agentToken, TokenRequest(name: "a", validSeconds: 60), .admin),
            (ControlMethod.enrolmentTerms, EnrolmentTermsRequest(cluster: "a", enrols: true), .admin),
            (ControlMethod.collectStore, StoreCollectRequest(dryRun: true), .admin),
        ]
        for role in OperatorRole.allCases {
            let one = try await server.dial(.operator(name: role.rawValue), as: OperatorAccess(role: role))
            for (method, request, least) in cases {
                let before = try await server.events(method).count
                let error = await refusal(one, method, request)
                #expect((error?.code == .permissionDenied) == (role < least), "\(role) \(method)")
                guard role < least else { continue }
                #expect(error?.message.contains("needs the role") == true, "\(method)")
                let events = try await server.events(method)
                #expect(events.count == before + 1, "\(role) \(method)")
                #expect(events.last?.outcome == .refused && events.last?.actor == "operator:\(role.rawValue)")
            }
            for method in [ControlMethod.addOperator, ControlMethod.setOperator, ControlMethod.operatorToken] {
                let change = OperatorChange(name: "eve", role: .admin, clusters: nil)
                #expect(await refusal(one, method, change)?.code == .permissionDenied, "\(role) \(method)")
            }
        }
        #expect(try await server.catalogue.operators().map(\.name) == OperatorRole.allCases.map(\.rawValue).sorted())
        await server.stop()
    }

    /// How large the store is, is the fleet's; that it is full stops their backups.
    @Test func whoHasSomeClustersIsToldThatTheStoreIsFull() async throws {
        let server = try await fleet()
        var status = try await server.server.status()
        status.storeUsed = 1 << 40
        for (free, isFull) in [(Int64(1 << 36), true), (1 << 38, false)] {
            status.storeFree = free
            var hidden = status
            hidden.hideStore()
            let told = Concern.all(hidden).filter { $0.kind == .storeFull }
            #expect(told.count == (isFull ? 1 : 0) && Concern.all(status).count { $0.kind == .storeFull } == told.count)
            #expect(told.allSatisfy { !$0.line.contains("B ") })
        }
        await server.stop()
    }

    @Test func whoHasSomeClustersSeesNoOthers() async throws {
        let server = try await fleet()
        let catalogue = server.catalogue
        for (name, clusters) in [("ours", ["a", "b"]), ("theirs", ["b"]), ("behind", [])] {
            var policy = FleetPolicy(name: name)
            policy.clusters = clusters
            _ = try await catalogue.setPolicy(policy, by: "root")
        }
        let selector = try ClusterSelector("env=production")
        let alice = try await server.dial(
            .operator(name: "alice"), as: OperatorAccess(role: .admin, clusters: selector))
        let who: WhoAmIReply = try await alice.call(ControlMethod.whoAmI, ListRequest())
        #expect(who.actor == "operator:alice" && who.clusters == ["a"] && who.access?.text == "admin on env=production")

        let clusters: [ClusterRecord] = try await alice.call(ControlMethod.listClusters, ListRequest())
        #expect(clusters.map(\.name) == ["a"])
        let status: FleetStatus = try await alice.call(ControlMethod.status, ListRequest())
        #expect(status.clusters.map(\.name) == ["a"] && status.agents.map(\.cluster) == ["a"])
        let snapshots: [SnapshotEntry] = try await alice.call(ControlMethod.listSnapshots, ListRequest())
        #expect(snapshots.map(\.record.id) == ["s-a"])
        let audit: [AuditRecord] = try await alice.call(ControlMethod.auditLog, ListRequest())
        #expect(!audit.isEmpty && audit.allSatisfy { $0.event.cluster == "a" })
        let kept: [RetentionRecord] = try await alice.call(ControlMethod.listRetention, ListRequest())
        #expect(kept.map(\.cluster) == ["a"])

        let theirs: [(String, any Encodable & Sendable)] = [
            (ControlMethod.showCluster, NameRequest(name: "b")),
            (ControlMethod.showCluster, NameRequest(name: "none")),
            (ControlMethod.listJobs, ListRequest(cluster: "b")),
            (ControlMethod.startBackup, BackupRequest(cluster: "b")),
            (ControlMethod.startRestore, restore("b")),
            // A verifier of hers would get everybody's snapshots.
            (ControlMethod.agentToken, TokenRequest(name: "a", validSeconds: 60)),
            (ControlMethod.enrolmentTerms, EnrolmentTermsRequest(cluster: "a", enrols: true)),
            (ControlMethod.enrolmentTerms, EnrolmentTermsRequest(cluster: "b", enrols: false)),
            (ControlMethod.labelCluster, LabelRequest(cluster: "b", set: ["env": "production"], remove: [])),
            (ControlMethod.addCluster, NameRequest(name: "c")),
            (ControlMethod.removeCluster, ClusterRemovalRequest(name: "a", dryRun: false)),
            (ControlMethod.collectStore, StoreCollectRequest(dryRun: true)),
            (ControlMethod.revokeOperator, RevokeRequest(name: "bob")),
        ]
        for (method, request) in theirs {
            #expect(await refusal(alice, method, request)?.code == .permissionDenied, "\(method)")
        }
        // She may take the right of her own agents, and let nobody in.
        let terms: EnrolmentTerms = try await alice.call(
            ControlMethod.enrolmentTerms, EnrolmentTermsRequest(cluster: "a", enrols: false))
        #expect(terms.authority.count == 64 && terms.address.contains(":"))
        // What is not theirs is not there, and no beginning of an id tells of it.
        let absent: [(String, any Encodable & Sendable)] = [
            (ControlMethod.showSnapshot, NameRequest(name: "s-b")),
            (ControlMethod.exportSnapshot, NameRequest(name: "s-b")),
            (ControlMethod.deleteSnapshot, NameRequest(name: "s-b")),
            (ControlMethod.showValue, ValueRequest(snapshot: "s-b", key: "k", showSecrets: true)),
            (ControlMethod.compareSnapshots, DiffRequest(from: "s-a", to: "s-b", prefix: "", wantsKeys: false)),
            (ControlMethod.startDrill, DrillRequest(name: "s-b")),
            // All that is in b would be in a then.
            (ControlMethod.startRestore, restore("a", "s-b")),
            (ControlMethod.previewRestore, restore("a", "s-b")),
        ]
        for (method, request) in absent {
            #expect(await refusal(alice, method, request)?.code == .notFound, "\(method)")
        }
        let whole: SnapshotEntry = try await alice.call(ControlMethod.showSnapshot, NameRequest(name: "s"))
        #expect(whole.record.id == "s-a")
        #expect(await refusal(alice, ControlMethod.startBackup, BackupRequest(cluster: "a"))?.code == .noAgent)
        #expect(
            await refusal(alice, ControlMethod.startDrill, DrillRequest(name: "s-a", node: "b/n1"))?.code != nil)
        let policies: [PolicyRecord] = try await alice.call(ControlMethod.listPolicies, ListRequest())
        // Those that select hers, also where she follows one before.
        #expect(policies.map(\.policy.name) == ["ours", "behind"] && policies.map(\.selects) == [1, 1])
        #expect(policies.map(\.clusters) == [["a"], []] && policies.map(\.policy.clusters) == [["a"], []])
        #expect(await refusal(alice, ControlMethod.storeStatistics, [String: String]())?.code == .permissionDenied)
        #expect(status.storeIsHidden == true && status.storeUsed == 0 && status.storeFree == .max)
        let all: FleetStatus = try await server.operate().call(ControlMethod.status, ListRequest())
        #expect(all.storeIsHidden == nil && all.storeFree < .max)

        // From the next request on, whatever is changed.
        _ = try await catalogue.label(LabelRequest(cluster: "b", set: ["env": "production"], remove: []), by: "root")
        let more: [ClusterRecord] = try await alice.call(ControlMethod.listClusters, ListRequest())
        #expect(more.map(\.name) == ["a", "b"])
        let narrow = OperatorChange(name: "alice", role: .viewer, clusters: ClusterSelector(clusters: ["b"]))
        _ = try await catalogue.setOperator(narrow, by: "root")
        let fewer: [ClusterRecord] = try await alice.call(ControlMethod.listClusters, ListRequest())
        #expect(fewer.map(\.name) == ["b"])
        #expect(
            await refusal(alice, ControlMethod.startBackup, BackupRequest(cluster: "b"))?.message.contains("viewer")
                == true)
        await server.stop()
    }

    /// It is a job of the verifier's cluster, and their snapshot is what it proves.
    @Test func aDrillIsSeenByThoseWhoseSnapshotItProves() async throws {
        let server = try await fleet()
        var record = Fixture.record("s-a", etcdID: "aa")
        record.verification = SnapshotVerification(
            status: .init(hash: 1, revision: 42, totalKey: 9, totalSize: 512), liveKeys: 7, hashKV: 77,
            hashRevision: 42, compactRevision: 30, findings: [], totalFindings: 0)
        let job = try await server.catalogue.createDrill(
            record, expecting: try DrillExpectation(record, sample: DrillSample(keys: 2, sha256: "ab")),
            on: try await server.catalogue.agents(cluster: "b")[0], lifetime: .seconds(60), by: "root")
        _ = try await server.catalogue.addCluster("c", by: "root")
        for (cluster, sees) in [("a", true), ("b", true), ("c", false)] {
            let one = try await server.dial(
                .operator(name: "of-\(cluster)"),
                as: OperatorAccess(role: .viewer, clusters: ClusterSelector(clusters: [cluster])))
            let jobs: [JobRecord] = try await one.call(ControlMethod.listJobs, ListRequest())
            #expect(jobs.map(\.id) == (sees ? [job.id] : []), "\(cluster)")
            let found = await refusal(one, ControlMethod.showJob, NameRequest(name: job.id))
            #expect((found?.code == .notFound) != sees, "\(cluster)")
            let status: FleetStatus = try await one.call(ControlMethod.status, ListRequest())
            #expect(status.openJobs.map(\.id) == (sees ? [job.id] : []))
        }
        await server.stop()
    }

    @Test func selectorsAreNamesAndLabels() throws {
        #expect(try ClusterSelector("a,b").clusters == ["a", "b"])
        let both = try ClusterSelector("a,env=prod,tier=gold")
        #expect(both.text == "a,env=prod,tier=gold")
        #expect(both.selects("a", labels: [:]))
        #expect(both.selects("z", labels: ["env": "prod", "tier": "gold", "x": "y"]))
        #expect(!both.selects("z", labels: ["env": "prod"]))
        for text in ["", "a,", "=", "env=", "=prod", "env=a,env=b", "Not A Name"] {
            #expect(throws: FleetError.self, "\(text)") { try ClusterSelector(text) }
        }
    }

    @Test func anOperatorIsMadeOnceAndForClustersThatAreThere() async throws {
        let catalogue = try Fixture.catalogue()
        _ = try await catalogue.addCluster("a", by: "root")
        let access = OperatorAccess(role: .viewer, clusters: ClusterSelector(clusters: ["a"]))
        #expect(try await catalogue.addOperator("alice", access, by: "root").access == access)
        #expect(await code { _ = try await catalogue.addOperator("alice", access, by: "root") } == .alreadyExists)
        let other = OperatorAccess(role: .viewer, clusters: ClusterSelector(clusters: ["z"]))
        #expect(await code { _ = try await catalogue.addOperator("bob", other, by: "root") } == .notFound)
        #expect(
            await code {
                _ = try await catalogue.setOperator(.init(name: "bob", role: .admin, clusters: nil), by: "root")
            }
                == .notFound)
        #expect(
            await code {
                _ = try await catalogue.createToken(
                    secret: "s", role: .operator, name: "bob", lifetime: .seconds(60), by: "root")
            } == .notFound)
        let events = try await catalogue.auditLog().map(\.event).filter { $0.action == "operator.add" }
        #expect(events.first?.detail == ["role": "viewer", "clusters": "a"])
    }

    @Test func whoGuessesAtTokensPaysForIt() {
        var attempts = FailedAttempts()
        let start = Timestamp("2026-11-24T06:00:00Z")!
        for second in 0..<FailedAttempts.limit { attempts.failed("192.0.2.1", at: start.adding(.seconds(second))) }
        let last = start.adding(.seconds(FailedAttempts.limit))
        #expect(!attempts.isTooMany("192.0.2.1", at: last))
        attempts.failed("192.0.2.1", at: last)
        #expect(attempts.isTooMany("192.0.2.1", at: last) && !attempts.isTooMany("192.0.2.2", at: last))
        #expect(!attempts.isTooMany("192.0.2.1", at: last.adding(FailedAttempts.window)))
        #expect(!attempts.isTooMany("192.0.2.1", at: start.adding(.seconds(-3600))), "the clock was set back")
        attempts.failed("192.0.2.1", at: last.adding(FailedAttempts.window))
        #expect(!attempts.isTooMany("192.0.2.1", at: last.adding(FailedAttempts.window)), "it begins anew")
    }

    /// A method that is not in the table is served to nobody: none may be forgotten.
    @Test func eachMethodHasItsPermission() throws {
        let here = FileSystem.parent(of: FileSystem.parent(of: FileSystem.parent(of: #filePath)))
        var methods: Set<String> = []
        for file in try FileSystem.list(here + "/Protocol/Messages") {
            var isInside = false
            for line in try FileSystem.readText(here + "/Protocol/Messages/" + file).split(separator: "\n") {
                if line.hasSuffix("ControlMethod {") { isInside = true }
                if line == "}" { isInside = false }
                guard isInside, line.hasPrefix("    public static let") else { continue }
                methods.insert(String(line.split(separator: "\"")[1]))
            }
        }
        #expect(methods.count > 50 && methods.isSuperset(of: ["status", "restore.start", "policy.apply", "whoami"]))
        for method in methods { #expect(Permission.of(method) != nil, "\(method)") }
    }

    @Test func whatCantBeReadOfAnOperatorIsNotGuessed() async throws {
        let place = try TemporaryDirectory()
        let path = place.path + "/catalogue.db"
        let catalogue = try Fixture.catalogue(path: path)
        _ = try await catalogue.addOperator("bob", OperatorAccess(role: .operator), by: "root")
        try SQLiteConnection(.file(path)).run("UPDATE operators SET clusters = 'nonsense'")
        #expect(await code { _ = try await catalogue.principal(operator: "bob") } == .databaseCorrupt)
        #expect(
            await code {
                _ = try await catalogue.setOperator(.init(name: "bob", role: .admin, clusters: nil), by: "root")
            }
                == .usage)
        let both = OperatorChange(name: "bob", role: .viewer, clusters: ClusterSelector())
        #expect(try await catalogue.setOperator(both, by: "root").access == OperatorAccess(role: .viewer))
    }
}
