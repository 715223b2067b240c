import FleetSystem
import Testing

/// Faults in the middle of a backup: agent, coordinator and connection fail in the save and in the stream. What did not
/// arrive whole is no snapshot, and nothing is left of it on the node.
@Suite(.serialized, .enabled(if: Lab.isAvailable), .timeLimit(.minutes(45)))
struct BackupFaultTests {
    // MARK: the stream is cut

    @Test func coordinatorKilledInAStream() async throws {
        try await streaming { fleet in
            try await fleet.exec("hub", "systemctl", "kill", "-s", "KILL", "fleet-coordinator")
        } expecting: { fleet, result in
            #expect(result.status == 0, "\(result.output)\(result.errors)")
            #expect(result.output.contains("one  ok"))
            let journal = try await fleet.exec(
                "hub", "journalctl", "-u", "fleet-coordinator", "-o", "cat", "--no-pager")
            #expect(journal.contains("serving on"))
        }
    }

    /// At first only the agent knows that the connection is lost, then only the coordinator's host.
    @Test func cablePulledInAStream() async throws {
        try await streaming { fleet in
            // The rest takes longer than both faults.
            try await fleet.slowDown("one", megabitsASecond: 4)
            // The coordinator still reads from the old connection when the agent comes with a new one.
            let before = try await fleet.agentSays("one", "connected to")
            try await fleet.pullCable("one")
            try await fleet.exec("one", "ss", "-K", "dport", "=", "7400")
            try await fleet.plugCable("one")
            try await fleet.eventually("the agent has connected again") {
                try await fleet.agentSays("one", "connected to") > before
            }
            try await fleet.pullCable("one")
            try await Task.sleep(for: .seconds(2))
            try await fleet.killCoordinator()
            try await fleet.slowDown("one", megabitsASecond: 60)
            try await fleet.plugCable("one")
        } expecting: { fleet, result in
            #expect(result.status == 0, "\(result.output)\(result.errors)")
            let interruptions = try await fleet.agentSays("one", "was interrupted and will go on")
            #expect(interruptions >= 2)
        }
    }

    @Test func agentKilledInAStream() async throws {
        try await streaming { fleet in
            try await fleet.exec("one", "systemctl", "kill", "-s", "KILL", "fleet-agent")
        } expecting: { fleet, result in
            #expect(result.status == 1)
            #expect(
                result.output.contains("FAILED") && result.output.contains("nothing was changed")
                    || result.errors.contains("nothing was changed"))
            #expect(
                try await fleet.fleetctl("snapshot", "list", "one", "-o", "json").output.trimmed == "[\n\n]",
                "what did not arrive whole is not a snapshot")
            #expect(try await fleet.spooled("one").isEmpty)
            // And the next one is as if nothing had been.
            try await fleet.waitForAgent("one")
            try await fleet.fleetctl("backup", "one")
        }
    }

    /// A backup of 40 MB over a slow cable; `fault` happens when some of it has arrived.
    private func streaming(
        _ fault: (LabFleet) async throws -> Void, expecting check: (LabFleet, LabFleet.Result) async throws -> Void
    ) async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("one", ["--kind", "external", "--layout", "kubespray"])
            try await fleet.fill("one", megabytes: 40)
            try await fleet.slowDown("one", megabitsASecond: 60)
            async let running = fleet.tryFleetctl("backup", "one")
            try await fleet.eventually("bytes arrive", within: .seconds(40)) {
                let sizes = try await fleet.exec(
                    "hub", "find", "/var/lib/fleet-coordinator/store/packs", "-type", "f", "-size", "+4096k")
                return !sizes.trimmed.isEmpty
            }
            try await fault(fleet)
            try await check(fleet, try await running)
            if let snapshot = try? await fleet.latestSnapshot("one"), !snapshot.isEmpty {
                // Byte for byte what etcd's own tool accepts.
                try await fleet.exec("hub", "fleetctl", "snapshot", "export", snapshot, "-f", "/root/exported.db")
            }
            let left = try await fleet.exec("hub", "find", "/var/lib/fleet-coordinator/store/incoming", "-type", "f")
            #expect(left.trimmed.isEmpty)
        }
    }

    // MARK: killed in a save

    @Test func agentKilledInASave() async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("one", ["--kind", "external", "--layout", "kubespray"])
            for point in ["preflight:after", "save:before", "save:after", "stream:before", "stream:after"] {
                try await fleet.armCrash("one", point)
                async let running = fleet.tryFleetctl("backup", "one")
                try await fleet.eventually("the agent died at \(point)") {
                    try await !fleet.isActive("one", "fleet-agent")
                }
                try await fleet.disarmCrash("one")
                let result = try await running
                let stored = try await fleet.fleetctl("snapshot", "list", "one", "-o", "json").output.contains(
                    "verified")
                // Once the snapshot is stored the backup has succeeded, whatever became of the agent afterwards.
                #expect(result.status == (stored ? 0 : 1), "\(point): \(result.output)\(result.errors)")
                #expect(stored == (point == "stream:after"), "\(point)")
                try await fleet.waitForAgent("one")
                #expect(try await fleet.spooled("one").isEmpty, "\(point)")
            }
            try await fleet.fleetctl("backup", "one")
        }
    }

    /// The coordinator is killed and the cable is pulled while the agent, alive, is at its save.
    @Test func coordinatorAndCableInASave() async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("one", ["--kind", "external", "--layout", "kubespray"])
            try await fleet.allowHolds("one")
            for point in ["preflight:before", "save:before", "save:after"] {
                for isCable in [false, true] {
                    try await fleet.hold("one", at: [point, "stream:before"])
                    async let running = fleet.tryFleetctl("backup", "one")
                    try await fleet.held("one", at: point)
                    if isCable { try await fleet.pullCable("one") } else { try await fleet.killCoordinator() }
                    try await fleet.release("one", from: point)
                    // The save needs nobody.
                    try await fleet.held("one", at: "stream:before")
                    #expect(try await fleet.spooled("one").contains("snapshot.db"))
                    try await fleet.release("one", from: "stream:before")
                    if isCable { try await fleet.plugCable("one") }
                    let result = try await running
                    #expect(
                        result.status == 0 && result.output.contains("one  ok"),
                        "\(point): \(result.output)\(result.errors)")
                    #expect(try await fleet.spooled("one").isEmpty, "\(point)")
                }
            }
            let listed = try await fleet.fleetctl("snapshot", "list", "one").output.split(separator: "\n")
            #expect(listed.count { $0.contains("verified") } == 6, "\(listed.joined(separator: "\n"))")
        }
    }

    // MARK: etcd

    @Test func etcdThatIsDown() async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("one", ["--kind", "external", "--layout", "kubespray"])
            try await fleet.exec("one", "systemctl", "stop", "etcd")
            let clock = ContinuousClock()
            var began = clock.now
            let result = try await fleet.tryFleetctl("backup", "one")
            #expect(result.status == 1 && result.output.contains("FAILED  etcd does not run on this node"), "\(result)")
            #expect(result.errors.contains("hint: start it: systemctl start etcd"), "\(result.errors)")
            print("a backup of a stopped etcd failed within \(clock.now - began)")
            #expect(clock.now - began < .seconds(10), "there is nothing to wait for")
            #expect(try await fleet.spooled("one").isEmpty)

            // One that is being started refuses as well, and is waited for.
            try await fleet.exec(
                "one", "sh", "-ec",
                "mkdir -p /etc/systemd/system/etcd.service.d; printf '[Service]\\nExecStartPre=/bin/sleep 5\\n' "
                    + ">/etc/systemd/system/etcd.service.d/late.conf; systemctl daemon-reload; systemctl start --no-block etcd"
            )
            began = clock.now
            let late = try await fleet.tryFleetctl("backup", "one")
            print("a backup of a starting etcd ended within \(clock.now - began)")
            #expect(late.status == 0, "\(late)")
        }
    }
}

extension LabFleet {
    /// Files in the agent's spool.
    func spooled(_ node: String) async throws -> String {
        try await exec(
            node, "sh", "-c", "! test -d /var/lib/fleet-agent/spool || find /var/lib/fleet-agent/spool -type f"
        ).trimmed
    }

    /// Values that do not compress and keys of their own.
    func fill(_ node: String, megabytes: Int) async throws {
        let script =
            "for i in $(seq \(megabytes)); do head -c 750000 /dev/urandom | base64 -w0 >/root/value; cat /root/value; echo; done >/root/values"
        try await exec(node, "sh", "-c", script)
        let values = try await exec(node, "cat", "/root/values").split(separator: "\n")
        for (i, value) in values.enumerated() {
            let outcome = try await Lab.run(["etcdctl", lab, node, "--", "put", "/filler/\(i)"], input: String(value))
            guard outcome.succeeded else { throw FleetError(.childFailed, "fill: \(outcome.complaint)") }
        }
        try await exec(node, "rm", "/root/value", "/root/values")
    }

    /// What the node sends goes no faster than this, so that a stream takes long enough to be disturbed.
    func slowDown(_ node: String, megabitsASecond rate: Int) async throws {
        let interface = try await exec(
            node, "sh", "-c", "ip -o link show | awk -F': ' '$2 !~ /^lo/ {sub(/@.*/, \"\", $2); print $2; exit}'"
        ).trimmed
        try await exec(
            node, "tc", "qdisc", "replace", "dev", interface, "root", "tbf", "rate", "\(rate)mbit", "burst", "64kb",
            "latency", "100ms")
    }
}
