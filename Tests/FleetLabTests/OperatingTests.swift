import FleetSystem
import Testing

/// The daily life around the two commands as the packages bring it: people with their rights on a machine of their own, a real
/// Prometheus with the rules from the package, and the report for the auditor.
@Suite(.serialized, .enabled(if: Lab.isAvailable && Lab.packages != nil), .timeLimit(.minutes(15)))
struct OperatingTests {
    private static let cluster = "one"

    @Test func fromThePackages() async throws {
        try await LabFleet.withLab { fleet in
            for node in ["hub", "desk"] { try await Lab.check("node", fleet.lab, node, "--kind", "plain") }
            try await Lab.check("node", fleet.lab, Self.cluster, "--kind", "external", "--layout", "debian")
            for (package, node) in [
                ("fleet-coordinator", "hub"), ("fleetctl", "hub"), ("fleetctl", "desk"), ("fleet-agent", Self.cluster),
            ] { try await fleet.installPackage(package, on: node) }
            try await fleet.initialise()
            try await fleet.exec("hub", "systemctl", "enable", "--quiet", "--now", "fleet-coordinator")
            try await fleet.fleetctl("cluster", "add", Self.cluster)
            try await fleet.enroll(Self.cluster, of: Self.cluster)
            try await fleet.waitForAgent(Self.cluster)
            try await startPrometheus(fleet)
            try await people(fleet)
            try await whatPrometheusSees(fleet)
            try await theReport(fleet)
        }
    }

    // MARK: people

    /// `fleetctl` of one of them, on their own machine.
    private func asks(_ fleet: LabFleet, _ who: String, _ words: String...) async throws -> LabFleet.Result {
        let outcome = try await Lab.run(
            ["exec", fleet.lab, "desk", "--", "env", "HOME=/root/\(who)", "fleetctl"] + words)
        return .init(
            status: outcome.status, output: outcome.outputText, errors: String(decoding: outcome.errors, as: UTF8.self))
    }

    private func people(_ fleet: LabFleet) async throws {
        try await fleet.fleetctl("backup", Self.cluster)
        for (name, role) in [("vera", "viewer"), ("rob", "restorer"), ("sam", "restorer")] {
            let token = try await fleet.fleetctl("operator", "add", name, "--role", role).output.trimmed
            try await fleet.exec("desk", "mkdir", "-m", "700", "/root/\(name)")
            let login = ["exec", fleet.lab, "desk", "--", "env", "HOME=/root/\(name)", "fleetctl", "login", "-"]
            let outcome = try await Lab.run(login, input: token + "\n")
            #expect(outcome.outputText.contains("as \(name)"), "\(outcome.complaint)")
            let again = try await Lab.run(login, input: token + "\n")
            #expect(again.status != 0, "a token is good once")
        }
        let seen = try await asks(fleet, "vera", "status")
        #expect(seen.status == 0 && seen.output.contains(Self.cluster), "\(seen)")
        let refused = try await asks(fleet, "vera", "backup", Self.cluster)
        #expect(refused.status != 0 && refused.output.contains("is viewer"), "\(refused)")
        #expect(try await fleet.fleetctl("audit", "log").output.contains("operator:vera"))

        // Two people for a restore, and one of them is not enough.
        try await fleet.etcdctl(Self.cluster, "put", "after", "the backup")
        try await fleet.fleetctl("cluster", "protect", Self.cluster)
        let restore = ["restore", Self.cluster, "--at", "latest"]
        let alone = try await asks(fleet, "rob", restore[0], restore[1], restore[2], restore[3], "--yes")
        #expect(alone.status != 0 && alone.errors.contains("approv"), "\(alone)")
        let plan = try await asks(fleet, "rob", restore[0], restore[1], restore[2], restore[3], "--dry-run")
        #expect(plan.status == 0, "\(plan)")
        struct Job: Decodable {
            var id: String
            var kind: String
            var dryRun: Bool
        }
        let list = try await asks(fleet, "sam", "job", "list", Self.cluster, "-o", "json").output
        let jobs = try JSON.decode([Job].self, from: Array(list.utf8))
        let planned = try #require(jobs.first { $0.kind == "restore" && $0.dryRun }).id
        let approved = try await asks(fleet, "sam", "restore", "approve", planned, "--yes")
        #expect(approved.status == 0, "\(approved)")
        let done = try await asks(
            fleet, "rob", restore[0], restore[1], restore[2], restore[3], "--yes", "--wait", "120s")
        #expect(done.status == 0, "\(done)")
        #expect(try await fleet.value(Self.cluster, "after") == nil)

        try await fleet.fleetctl("operator", "revoke", "rob")
        #expect(try await asks(fleet, "rob", "status").status != 0)
    }

    // MARK: Prometheus

    private static let configuration = """
        global: {scrape_interval: 1s, evaluation_interval: 1s}
        rule_files: [/root/fleet.rules.yaml]
        scrape_configs:
          - job_name: fleet-coordinator
            static_configs: [{targets: ["127.0.0.1:7401"]}]
        """

    private func startPrometheus(_ fleet: LabFleet) async throws {
        try await Lab.check(
            "push", fleet.lab, "hub", "/usr/bin/prometheus", "/usr/local/bin/prometheus", "--mode", "0755")
        try await fleet.exec(
            "hub", "sh", "-ec",
            """
            cd /usr/share/doc/fleet-coordinator/examples
            if [ -e fleet.rules.yaml.gz ]; then zcat fleet.rules.yaml.gz; else cat fleet.rules.yaml; fi >/root/fleet.rules.yaml
            printf '%s\\n' "$1" >/root/prometheus.yaml
            """, "sh", Self.configuration)
        try await fleet.exec(
            "hub", "systemd-run", "--quiet", "--unit=prometheus", "prometheus", "--config.file=/root/prometheus.yaml",
            "--storage.tsdb.path=/root/prometheus", "--web.listen-address=127.0.0.1:9090")
    }

    private func get(_ fleet: LabFleet, _ url: String) async throws -> LabFleet.Result {
        try await fleet.attempt("hub", "busybox", "wget", "-qO-", url)
    }

    private struct Alerts: Decodable {
        struct Content: Decodable { var alerts: [Alert] }
        struct Alert: Decodable {
            var labels: [String: String]
            var annotations: [String: String]
            var state: String
        }
        var data: Content
    }

    /// Pending or firing: which of the two is a matter of minutes.
    private func alerts(_ fleet: LabFleet) async throws -> [Alerts.Alert] {
        let answer = try await get(fleet, "http://127.0.0.1:9090/api/v1/alerts")
        return try JSON.decode(Alerts.self, from: Array(answer.output.utf8)).data.alerts
    }

    private func whatPrometheusSees(_ fleet: LabFleet) async throws {
        for probe in ["healthz", "readyz"] {
            #expect(try await get(fleet, "http://127.0.0.1:7401/\(probe)").status == 0, "\(probe)")
        }
        let rules = try await get(fleet, "http://127.0.0.1:9090/api/v1/rules").output
        #expect(rules.contains("FleetBackupFailed") && !rules.contains(#""health":"err""#), "\(rules)")
        // A value of ours, through its scrape and its own query.
        try await fleet.eventually("Prometheus has scraped the coordinator") {
            let query = "http://127.0.0.1:9090/api/v1/query?query=fleet_agent_connected"
            return try await get(fleet, query).output.contains(#""node":"one""#)
        }
        #expect(try await alerts(fleet).allSatisfy { $0.labels["alertname"] != "FleetBackupFailed" })
        try await fleet.exec(Self.cluster, "systemctl", "stop", "etcd")
        #expect(try await fleet.tryFleetctl("backup", Self.cluster).status != 0)
        try await fleet.eventually("the rule sees the failed backup") {
            try await alerts(fleet).contains {
                $0.labels["alertname"] == "FleetBackupFailed" && $0.labels["cluster"] == Self.cluster
            }
        }
        try await fleet.exec(Self.cluster, "systemctl", "start", "etcd")
        try await fleet.eventually("a backup succeeds again") {
            try await fleet.tryFleetctl("backup", Self.cluster).status == 0
        }
        try await fleet.eventually("and the rule sees that") {
            try await alerts(fleet).allSatisfy { $0.labels["alertname"] != "FleetBackupFailed" }
        }
    }

    // MARK: the auditor

    private func theReport(_ fleet: LabFleet) async throws {
        try await fleet.fleetctl("audit", "report", "--since", "1d", "-f", "/root/audit.html")
        let page = try await fleet.exec("hub", "cat", "/root/audit.html")
        for word in ["operator:rob", "operator:sam", "operator:vera", "<svg", Self.cluster] {
            #expect(page.contains(word), "\(word)")
        }
        #expect(try await fleet.tryFleetctl("audit", "verify", "--report", "/root/audit.html").status == 0)
        try await fleet.exec(
            "hub", "sh", "-ec", "sed 's/operator:rob/operator:bob/' /root/audit.html >/root/forged.html")
        #expect(try await fleet.tryFleetctl("audit", "verify", "--report", "/root/forged.html").status != 0)
    }
}
