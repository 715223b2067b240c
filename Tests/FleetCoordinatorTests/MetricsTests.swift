import FleetHTTP
import FleetProtocol
import FleetReactor
import FleetSystem
import Testing

@testable import FleetCoordinator

/// What Prometheus reads.
@Suite("Metrics", .timeLimit(.minutes(5)))
struct MetricsTests {
    @Test func theFormat() {
        var page = Exposition()
        page.gauge("a_bytes", "What is\nin \\ it.", 1.5)
        page.family("none", .gauge, "Nothing.", [])
        page.family(
            "b_total", .counter, "With \"labels\".",
            [([("name", "x \"y\"\\\n"), ("other", "z\r\n")], 3), ([], .infinity), ([], 1e15)])
        #expect(
            page.text == #"""
                # HELP a_bytes What is\nin \\ it.
                # TYPE a_bytes gauge
                a_bytes 1.5
                # HELP b_total With "labels".
                # TYPE b_total counter
                b_total{name="x \"y\"\\\n",other="z\#r\n"} 3
                b_total +Inf
                b_total 1000000000000000

                """#)
    }

    private func page() async throws -> String {
        let catalogue = try await Fixture.fleet()
        try await catalogue.add(Fixture.record("s1"), by: "agent")
        var policy = FleetPolicy(name: "p")
        policy.objective = 3600
        policy.clusters = ["a"]
        policy.drill = "0 5 * * sun"
        _ = try await catalogue.setPolicy(policy, by: "root")
        var status = FleetStatus(
            version: "1.2", time: Timestamp("2026-11-29T00:00:00.500Z")!, clusters: try await catalogue.clusters(),
            agents: try await catalogue.agents(), openJobs: [], storeFree: 5, storeUsed: 7,
            audit: try await catalogue.verifyAudit())
        status.clusters[0].encryptedAtRest = ["kms"]
        status.clusters[0].decryption = Decryption(providers: ["kms"], keys: ["kms/mykms"], kept: [])
        status.agents[0].nodeCertificates = [
            CertificateExpiry(path: "/b", notAfter: Timestamp("2026-12-29T00:00:00Z")!),
            CertificateExpiry(path: "/a", notAfter: Timestamp("2026-12-02T00:00:00Z")!),
            // A second one in the same file.
            CertificateExpiry(path: "/a", notAfter: Timestamp("2027-12-02T00:00:00Z")!),
            // Renewed every few days, and not late.
            CertificateExpiry(
                path: "/c", notAfter: Timestamp("2026-11-30T00:00:00Z")!, notBefore: Timestamp("2026-11-28T12:00:00Z")!),
        ]
        status.agents[0].configuration = BundleState(
            confirmed: Timestamp("2026-11-28T00:00:00Z")!, problem: nil)
        status.waiting = [
            WaitingTask(
                cluster: "b", kind: "backup", due: Timestamp("2026-11-28T00:00")!, reason: FleetError(.notFound, "none")
            )
        ]
        status.queue = [
            WaitingTask(
                cluster: "c", kind: "drill", due: Timestamp("2026-11-28T00:00")!, reason: FleetError(.limit, "its turn")
            )
        ]
        status.authority = AuthorityStanding(fingerprint: "f", notAfter: Timestamp("2026-12-29T00:00:00Z")!)
        status.agents[0].program = RunningProgram(sha256: "0", architecture: "x86_64", isChosen: true)
        status.agents[1].program = RunningProgram(
            sha256: "0", architecture: "x86_64", isChosen: false,
            fallback: ProgramFallback(version: "2", sha256: "1", error: FleetError(.timedOut, "no"), time: status.time))
        status.alertTargets = [
            AlertTarget(name: "pager", kind: .command, place: "/p", created: status.time),
            AlertTarget(
                name: "chat", kind: .webhook, place: "https://c.example", created: status.time,
                problem: FleetError(.timedOut, "no")),
        ]
        var facts = try await catalogue.metricFacts()
        facts.ends = [.init(kind: "backup", state: "succeeded", count: 4)]
        return FleetMetrics.page(status, facts)
    }

    @Test func theFigures() async throws {
        let lines = try await page().split(separator: "\n").map(String.init)
        for line in [
            #"fleet_build_info{version="1.2"} 1"#, "fleet_refresh_timestamp_seconds 1795910400.5",
            #"fleet_cluster_last_backup_timestamp_seconds{cluster="a"} 1795503300"#,
            #"fleet_cluster_objective_seconds{cluster="a"} 3600"#, #"fleet_cluster_snapshots{cluster="b"} 0"#,
            #"fleet_cluster_last_backup_size_bytes{cluster="a"} 544"#,
            #"fleet_cluster_last_drill_failed{cluster="a"} 0"#,
            #"fleet_cluster_decryption_not_kept{cluster="a"} 1"#, #"fleet_cluster_decryption_not_kept{cluster="b"} 0"#,
            #"fleet_cluster_drills_since_timestamp_seconds{cluster="a"} 1795503310.123"#,
            #"fleet_node_certificate_expiry_timestamp_seconds{cluster="a",node="n1",path="/a"} 1796169600"#,
            #"fleet_node_certificate_expiry_timestamp_seconds{cluster="a",node="n1",path="/b"} 1798502400"#,
            #"fleet_node_configuration_timestamp_seconds{cluster="a",node="n1"} 1795824000"#,
            #"fleet_agent_connected{cluster="a",node="n1"} 0"#, #"fleet_jobs_open{kind="backup"} 0"#,
            #"fleet_jobs_ended_total{kind="backup",state="succeeded"} 4"#,
            #"fleet_task_waiting_timestamp_seconds{cluster="b",kind="backup"} 1795824000"#,
            #"fleet_tasks_due{kind="backup"} 1"#, #"fleet_tasks_due{kind="drill"} 1"#,
            "fleet_authority_expiry_timestamp_seconds 1798502400",
            #"fleet_agent_upgrade_fell_back{cluster="a",node="n1"} 0"#,
            #"fleet_agent_upgrade_fell_back{cluster="b",node="n1"} 1"#,
            #"fleet_policy_unusable{policy="p"} 0"#,
            #"fleet_alert_target_failing{target="pager"} 0"#, #"fleet_alert_target_failing{target="chat"} 1"#,
            "fleet_store_used_bytes 7", "fleet_store_free_bytes 5", "fleet_audit_chain_intact 1",
        ] { #expect(lines.contains(line), "\(line)") }
        #expect(!lines.contains { $0.hasPrefix(#"fleet_cluster_last_backup_timestamp_seconds{cluster="b"}"#) })
        #expect(!lines.contains { $0.hasPrefix(#"fleet_cluster_drills_since_timestamp_seconds{cluster="b"}"#) })
        // Its turn is to come, as every night.
        #expect(lines.count { $0.hasPrefix("fleet_task_waiting_timestamp_seconds{") } == 1)
        #expect(lines.count { $0.hasPrefix("fleet_node_certificate_expiry_timestamp_seconds{") } == 2)
    }

    /// One that a later program has written, and one whose zone is not known here any more.
    @Test func policiesThatCantBeUsedAreTold() async throws {
        let catalogue = try await Fixture.fleet()
        for name in ["good", "odd", "nowhere"] {
            var policy = FleetPolicy(name: name)
            policy.schedule = "@daily"
            _ = try await catalogue.setPolicy(policy, by: "root")
        }
        try await catalogue.script(
            """
            UPDATE policies SET policy = '{"name":7}' WHERE name = 'odd';
            UPDATE policies SET policy = json_set(policy, '$.timezone', 'Mars/Olympus') WHERE name = 'nowhere';
            """)
        let status = FleetStatus(
            version: "1", time: .now(), clusters: try await catalogue.clusters(), agents: [], openJobs: [],
            storeFree: 5, storeUsed: 7, audit: try await catalogue.verifyAudit())
        let lines = FleetMetrics.page(status, try await catalogue.metricFacts()).split(separator: "\n")
        for (name, value) in [("good", 0), ("odd", 1), ("nowhere", 1)] {
            #expect(lines.contains("fleet_policy_unusable{policy=\"\(name)\"} \(value)"), "\(name)")
        }
    }

    /// A plan is no restore, and a failed one wakes nobody.
    @Test func dryRunsAreNotCounted() async throws {
        let catalogue = try await Fixture.fleet()
        for (state, isDry) in [("succeeded", 0), ("failed", 1), ("succeeded", 1)] {
            let id = try await catalogue.createBackup(cluster: "a", node: "n1", lifetime: .seconds(60), by: "root").id
            try await catalogue.script(
                "UPDATE jobs SET kind = 'restore', state = '\(state)', finished = created + 1000, dry_run = \(isDry) WHERE id = '\(id)'"
            )
            for (table, column) in [("member_restores", "plan"), ("replacements", "terms")] {
                let extra = table == "replacements" ? ("node, ", "'n1', ") : ("snapshot, ", "'s', ")
                try await catalogue.script(
                    """
                    INSERT INTO \(table) (id, cluster, \(extra.0)dry_run, \(column), state, requested_by, created, finished)
                        VALUES ('\(id)', 'a', \(extra.1)\(isDry), '{}', '\(state)', 'root', 1, 2)
                    """)
            }
        }
        #expect(
            try await catalogue.metricFacts().ends == [
                .init(kind: "replace", state: "succeeded", count: 1),
                .init(kind: "restore", state: "succeeded", count: 2),
            ])
    }

    /// No rule is about a figure that nobody tells.
    @Test func theRulesAreAboutTheseFigures() async throws {
        let tree = FileSystem.parent(of: FileSystem.parent(of: FileSystem.parent(of: #filePath)))
        let rules =
            try FileSystem.readText("\(tree)/ops/monitoring/fleet.rules.yaml")
            + FileSystem.readText("\(tree)/ops/monitoring/fleet.dashboard.json")
        var status = try await page()
        // What is there only behind a drill, or a backup that has a job.
        status += "fleet_cluster_last_drill_proven fleet_cluster_last_proven_timestamp_seconds "
        status += "fleet_cluster_last_backup_duration_seconds"
        let named = Set(rules.matches(of: /\bfleet_[a-z_]+/).map { String($0.output) })
        #expect(named.count > 12)
        for name in named { #expect(status.contains(name), "\(name)") }
    }

    @Test func theBoardTellsWhenItIsStale() {
        let board = MetricsBoard()
        #expect(board.answer("/metrics")?.status == 503 && board.answer("/readyz")?.status == 503)
        #expect(board.answer("/healthz")?.status == 200 && board.answer("/other") == nil)
        board.put("x 1\n")
        #expect(board.answer("/metrics")?.body == Array("x 1\n".utf8) && board.answer("/readyz")?.status == 200)
        #expect(board.answer("/readyz", now: .now + .seconds(301))?.status == 503)
    }

    /// Over a real connection, with a client of another make.
    @Test func aScrape() async throws {
        let socket = try Socket.listen(.tcp(host: "127.0.0.1", port: 0))
        let port = Socket.localPort(socket)
        let server = try HTTPServer(listeningOn: socket) { path in
            path == "/metrics"
                ? HTTPServer.Reply(String(repeating: "x", count: 100_000), type: "text/plain; version=0.0.4") : nil
        }
        func get(_ words: String...) async throws -> String {
            try await Blocking.run {
                try Subprocess.run(
                    "/usr/bin/curl", ["-sS", "-m", "10"] + words, environment: Subprocess.defaultEnvironment,
                    deadline: .seconds(20), outputLimit: 1 << 20
                ).outputText
            }
        }
        let base = "http://127.0.0.1:\(port)"
        #expect(try await get("\(base)/metrics").count == 100_000)
        #expect(
            try await get("-o", "/dev/null", "-w", "%{http_code} %{content_type}", "\(base)/metrics")
                == "200 text/plain; version=0.0.4")
        #expect(try await get("-w", "%{http_code}", "\(base)/other") == "not found\n404")
        #expect(try await get("-o", "/dev/null", "-w", "%{http_code}", "-d", "x=1", "\(base)/metrics") == "405")
        #expect(try await get("-I", "\(base)/metrics").contains("Content-Length: 100000"))
        server.stop()
        #expect(try await get("\(base)/metrics").isEmpty, "nobody listens any more")
    }
}
