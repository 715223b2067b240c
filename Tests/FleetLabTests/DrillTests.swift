import FleetSystem
import Testing

/// Drills on real nodes: a verifier that is nothing but a host with etcd's programs, and the snapshots of other clusters.
@Suite(.serialized, .enabled(if: Lab.isAvailable), .timeLimit(.minutes(45)))
struct DrillTests {
    @Test func everyClustersBackupIsProven() async throws {
        try await LabFleet.with { fleet in
            try await fleet.makeCluster("old", ["--kind", "external", "--layout", "debian"])
            try await fleet.makeCluster("new", ["--kind", "stacked"])
            for cluster in ["old", "new"] {
                for index in 0..<20 { try await fleet.etcdctl(cluster, "put", "/registry/k\(index)", "v\(index)") }
                try await fleet.etcdctl(cluster, "del", "/registry/k3")
            }
            try await fleet.fleetctl("backup", "--all")

            // Nobody else can: the cluster's own node does it, and its etcd goes on as it was.
            let before = try await fleet.exec("new", "pidof", "etcd")
            let alone = try await fleet.fleetctl("drill", "new")
            #expect(alone.output.contains("proven") && alone.output.contains("on new/new"), "\(alone.output)")
            print(alone.output)
            #expect(try await fleet.exec("new", "pidof", "etcd") == before)

            try await fleet.makeVerifier("spare", of: "verifiers")
            let all = try await fleet.fleetctl("drill", "--all")
            print(all.output)
            let lines = all.output.split(separator: "\n")
            #expect(lines.count == 2 && lines.allSatisfy { $0.contains("proven") }, "\(all.output)\(all.errors)")
            #expect(lines.allSatisfy { $0.contains("on verifiers/spare") && $0.contains("19 keys") })

            let shown = try await fleet.fleetctl("snapshot", "list", "old").output
            #expect(shown.contains("proven 20"))
            let json = try await fleet.fleetctl("snapshot", "list", "old", "-o", "json").output
            #expect(json.contains(#""verdict" : "proven""#))
            // A verifier's missing etcd is nothing to attend to, and there is nothing in its cluster to back up.
            #expect(try await fleet.fleetctl("status").output.contains("proven"))
            #expect(try await fleet.fleetctl("backup", "--all").output.contains("verifiers") == false)
            #expect(try await fleet.fleetctl("audit", "log").output.contains("snapshot.drill"))

            // What has no snapshot is not proven, and is said; the others are.
            try await fleet.makeVerifier("bare", of: "empty")
            try await fleet.exec("bare", "systemctl", "stop", "fleet-agent")
            try await fleet.exec("bare", "rm", "/usr/local/bin/etcd")
            try await fleet.exec("bare", "systemctl", "start", "fleet-agent")
            try await fleet.eventually("the agent without an etcd is no verifier") {
                let list = try await fleet.fleetctl("agent", "list", "empty")
                return list.output.contains("yes") && !list.output.contains("verifier: ")
            }
            let some = try await fleet.tryFleetctl("drill", "--all")
            #expect(some.status == 3 && some.output.contains("empty  FAILED"), "\(some.output)\(some.errors)")
            let wrong = try await fleet.tryFleetctl("drill", "old", "--on", "bare")
            #expect(wrong.status == 1 && wrong.errors.contains("hint:"), "\(wrong.output)\(wrong.errors)")
        }
    }

    /// The agent is killed while its etcd serves a snapshot full of Secrets: neither process nor file stays.
    @Test func nothingStaysOfAKilledDrill() async throws {
        try await LabFleet.with { fleet in
            try await fleet.makeCluster("one", ["--kind", "external", "--layout", "kubespray"])
            try await fleet.etcdctl("one", "put", "/registry/k", "v")
            try await fleet.fleetctl("backup", "one")
            try await fleet.makeVerifier("spare", of: "verifiers")
            try await fleet.exec(
                "spare", "mkdir", "-p", "/run/fleet-holds", "/etc/systemd/system/fleet-agent.service.d")
            try await fleet.exec(
                "spare", "sh", "-c",
                "printf '[Service]\\nRestart=no\\nReadWritePaths=/run\\nEnvironment=FLEET_AGENT_HOLD_IN=/run/fleet-holds\\n' "
                    + ">/etc/systemd/system/fleet-agent.service.d/hold.conf")
            try await fleet.exec("spare", "systemctl", "daemon-reload")
            try await fleet.exec("spare", "systemctl", "restart", "fleet-agent")
            try await fleet.waitForVerifier("verifiers")
            try await fleet.hold("spare", at: ["read:before"])
            async let drilling = fleet.tryFleetctl("drill", "one")
            try await fleet.held("spare", at: "read:before")
            // It serves, and no port leads to it.
            _ = try await fleet.exec("spare", "pidof", "etcd")
            #expect(try await !fleet.exec("spare", "ss", "-ltnp").contains("etcd"))
            let mode = try await fleet.exec(
                "spare", "sh", "-c", "stat -c %a /var/lib/fleet-agent/spool/fleet-job-*/drill")
            #expect(mode.trimmed == "700")
            let scopes = try await fleet.exec("spare", "systemctl", "list-units", "--no-legend", "fleet-drill-*")
            #expect(scopes.contains("-etcd.scope"), "\(scopes)")
            try await fleet.exec("spare", "systemctl", "kill", "-s", "KILL", "fleet-agent")
            try await fleet.eventually("its etcd is gone", within: .seconds(10)) {
                try await fleet.attempt("spare", "pidof", "etcd").status != 0
            }
            try await fleet.exec("spare", "rm", "-r", "/etc/systemd/system/fleet-agent.service.d")
            try await fleet.exec("spare", "systemctl", "daemon-reload")
            try await fleet.exec("spare", "systemctl", "reset-failed", "fleet-agent")
            try await fleet.exec("spare", "systemctl", "start", "fleet-agent")
            let result = try await drilling
            #expect(result.status == 1 && result.output.contains("interrupted"), "\(result.output)\(result.errors)")
            #expect(try await fleet.exec("spare", "ls", "/var/lib/fleet-agent/spool").trimmed == "")
            #expect(try await fleet.fleetctl("snapshot", "list", "one").output.contains("never"))
            #expect(try await fleet.fleetctl("drill", "one").output.contains("proven"))
        }
    }
}

extension LabFleet {
    /// A plain host with etcd 3.5's programs and an agent, in a cluster of its own.
    func makeVerifier(_ node: String, of cluster: String) async throws {
        let made = try await Lab.run(["node", lab, node, "--kind", "plain", "--etcd", "3.5"])
        try #require(made.succeeded, "\(made.complaint)")
        try await fleetctl("cluster", "add", cluster)
        try await startAgent(node, of: cluster)
        try await waitForVerifier(cluster)
    }

    func waitForVerifier(_ cluster: String) async throws {
        try await eventually("the verifier of \(cluster) is connected") {
            let list = try await fleetctl("agent", "list", cluster).output
            return list.contains("yes") && list.contains("verifier: ")
        }
    }
}
