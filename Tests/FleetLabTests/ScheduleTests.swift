import FleetSystem
import Testing

/// What happens by itself on real nodes, while agents go and the coordinator is killed.
@Suite(.serialized, .enabled(if: Lab.isAvailable), .timeLimit(.minutes(45)))
struct ScheduleTests {
    private struct Backup: Decodable {
        var id: String
        var node: String
        var state: String
        var requestedBy: String
        var created: Timestamp
        var finished: Timestamp?
    }

    private static let policies = """
        policies:
          - name: often
            labels: {env: lab}
            schedule: "@every 1m"
            bandwidth: 100kB
            objective: 10m
            retention: {last: 2}
        """

    @Test func backupsAreMadeWhoeverIsAway() async throws {
        try await LabFleet.with { fleet in
            let nodes = try await fleet.makeMembers("ha", ["--kind", "external", "--layout", "debian"])
            // 400 kB can't arrive in less than three seconds, at the 100 kB a second that the policy allows.
            for key in 0..<4 {
                try await fleet.etcdctl(nodes[0], "put", "fill-\(key)", String(repeating: "x", count: 100_000))
            }
            try await fleet.exec("hub", "sh", "-c", "printf '%s\\n' \"$1\" >/root/policies.yaml", "sh", Self.policies)
            let applied = try await fleet.fleetctl("policy", "apply", "/root/policies.yaml", "--yes")
            #expect(applied.output.contains("often  added"))
            #expect(try await fleet.fleetctl("policy", "show").output.contains("followed   by no cluster"))
            try await fleet.fleetctl("cluster", "label", "ha", "env=lab")
            #expect(try await fleet.fleetctl("policy", "show").output.contains("followed   by ha"))

            let parts = try await parts(fleet)
            #expect(parts.values.sorted() == ["follower", "follower", "leader"], "\(parts)")
            let first = try await made(1, fleet)
            for backup in first {
                #expect((backup.finished ?? backup.created).since(backup.created) > .seconds(3), "\(backup)")
            }
            #expect(parts[first[0].node] == "follower", "the leader has enough to do")
            // Whoever made it goes away: another member does the next.
            try await fleet.exec(first[0].node, "systemctl", "stop", "fleet-agent")
            let second = try await made(2, fleet)
            #expect(second[0].node != first[0].node)
            try await fleet.killCoordinator()
            let all = try await made(3, fleet)
            #expect(Set(all.map(\.requestedBy)) == ["schedule:often"] && Set(all.map(\.id)).count == all.count)
            try await fleet.eventually("two are kept") {
                try await fleet.fleetctl("snapshot", "list", "ha").output.split(separator: "\n").count == 3
            }
            // Under the hardened unit, and as Prometheus reads it.
            try await fleet.eventually("metrics tell of it") {
                let page = try await fleet.exec("hub", "busybox", "wget", "-qO-", "http://127.0.0.1:7401/metrics")
                return page.contains("fleet_cluster_objective_seconds{cluster=\"ha\"} 600")
                    && page.contains("fleet_cluster_last_backup_timestamp_seconds{cluster=\"ha\"}")
            }
            let status = try await fleet.tryFleetctl("status")
            #expect(!status.output.contains("allows"), "no objective is broken: \(status.output)")
            #expect(try await fleet.fleetctl("audit", "verify").output.contains("the chain holds"))
        }
    }

    /// What each node's etcd is to the others, as its agent has told.
    private func parts(_ fleet: LabFleet) async throws -> [String: String] {
        struct Agent: Decodable {
            struct Instance: Decodable { var part: String? }
            var node: String
            var instance: Instance?
        }
        let list = try await fleet.fleetctl("agent", "list", "ha", "-o", "json").output
        let agents = try JSON.decode([Agent].self, from: Array(list.utf8))
        return Dictionary(uniqueKeysWithValues: agents.map { ($0.node, $0.instance?.part ?? "unknown") })
    }

    /// Waits until so many were made, newest first.
    private func made(_ count: Int, _ fleet: LabFleet) async throws -> [Backup] {
        var backups: [Backup] = []
        try await fleet.eventually("\(count) backups were made by themselves", within: .seconds(240)) {
            let list = try await fleet.fleetctl("job", "list", "ha", "-o", "json").output
            backups = try JSON.decode([Backup].self, from: Array(list.utf8)).filter { $0.state == "succeeded" }
            return backups.count >= count
        }
        return backups
    }
}
