import FleetSystem

/// The agent stays at a point of its job, alive and connected, while a test lets something else fail.
extension LabFleet {
    private static let holds = "/run/fleet-holds"

    /// The agent restarts and looks out for points to stay at.
    func allowHolds(_ node: String, of cluster: String? = nil, count: Int = 1) async throws {
        try await exec(node, "mkdir", "-p", "/etc/systemd/system/fleet-agent.service.d", Self.holds)
        try await exec(
            node, "sh", "-c",
            "printf '[Service]\\nReadWritePaths=/run\\nEnvironment=FLEET_AGENT_HOLD_IN=%s\\n' \"$1\" >/etc/systemd/system/fleet-agent.service.d/hold.conf",
            "sh", Self.holds)
        try await exec(node, "systemctl", "daemon-reload")
        try await exec(node, "systemctl", "restart", "fleet-agent")
        try await waitForAgent(cluster ?? node, count: count)
    }

    /// - Parameter points: as "save:before".
    func hold(_ node: String, at points: [String]) async throws {
        try await exec(node, "sh", "-c", "cd \(Self.holds) && touch \(points.joined(separator: " "))")
    }

    /// Returns when the agent has come to the point.
    func held(_ node: String, at point: String) async throws {
        try await eventually("the agent is at \(point)") {
            try await attempt(node, "test", "-e", "\(Self.holds)/\(point).held").status == 0
        }
    }

    func release(_ node: String, from point: String) async throws {
        try await exec(node, "rm", "\(Self.holds)/\(point).held")
    }

    // MARK: what fails meanwhile

    /// systemd starts it again two seconds later.
    func killCoordinator() async throws {
        try await eventually("the coordinator serves") { try await isActive("hub", "fleet-coordinator") }
        try await exec("hub", "systemctl", "kill", "-s", "KILL", "fleet-coordinator")
    }

    func pullCable(_ node: String) async throws { try await Lab.check("link", lab, node, "down") }
    func plugCable(_ node: String) async throws { try await Lab.check("link", lab, node, "up") }
}
