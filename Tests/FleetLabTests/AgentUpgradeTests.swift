import FleetSystem
import Testing

/// Agents that change their own program, on real nodes with real programs: one of another version is made of the one that was
/// built by writing another number in place of its own.
@Suite(.serialized, .enabled(if: Lab.isAvailable), .timeLimit(.minutes(25)))
struct AgentUpgradeTests {
    /// An upgrade, what it is good for afterwards, and how the bad ones end: before anything was changed, or by themselves.
    @Test func upgradesStaysAndFallsBack() async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("one", ["--kind", "external", "--layout", "kubespray"])
            let new = try await fleet.pushAgent("0.9.0")
            let dry = try await fleet.fleetctl("agent", "upgrade", "one", "--program", new, "--dry-run")
            #expect(dry.output.contains("1  one/one  0.1.0  canary"), "\(dry.output)")
            #expect(try await fleet.version("one") == "0.1.0")
            #expect(
                try await fleet.tryFleetctl("agent", "upgrade", "one", "--program", new).status == 6, "nobody said yes")

            let done = try await fleet.fleetctl("agent", "upgrade", "one", "--program", new, "--yes")
            #expect(done.output.contains("one/one  ok  runs 0.9.0 ("), "\(done.output)")
            #expect(try await fleet.version("one") == "0.9.0")
            let again = try await fleet.fleetctl("agent", "upgrade", "--all", "--program", new, "--yes")
            #expect(again.errors.contains("nothing is to be done"), "\(again.errors)")
            let log = try await fleet.fleetctl("audit", "log", "--limit", "200").output
            #expect(log.contains("program.store") && log.contains("upgrade.step"), "\(log)")

            // It is an agent like the one before: for a restore, a restart, a reboot.
            try await fleet.etcdctl("one", "put", "/kept", "before")
            try await fleet.fleetctl("backup", "one")
            try await fleet.etcdctl("one", "del", "/kept")
            try await fleet.fleetctl("restore", "one", "--at", "latest", "--yes", "--wait", "90s")
            #expect(try await fleet.value("one", "/kept") == "before")
            try await Lab.check("power-off", fleet.lab, "one")
            try await Lab.check("boot", fleet.lab, "one", "--no-wait")
            try await fleet.eventually("it is back", within: .seconds(120)) {
                try await fleet.version("one") == "0.9.0"
            }

            // A library that is not there: found before anything was changed.
            let broken = try await fleet.pushAgent("0.9.1", changing: "libssl.so.3", to: "libssl.so.9")
            try await fleet.failsToUpgrade("one", broken, because: "does not run on this node")
            #expect(try await fleet.version("one") == "0.9.0")

            // It starts and ends, again and again: back by itself to the one before, which is not the installed one.
            let sham = try await fleet.pushSham("0.9.2", "return 1;")
            try await fleet.failsToUpgrade("one", sham, because: "ended 3 times at its start")
            try await fleet.eventually("the former one runs") {
                try await fleet.version("one") == "0.9.0, not 0.9.2"
            }
            let listed = try await fleet.fleetctl("agent", "list")
            #expect(listed.errors.contains("went back to 0.9.0 from 0.9.2"), "\(listed.errors)")
            #expect(try await fleet.tryFleetctl("status").output.contains("went back to 0.9.0 from 0.9.2"))
            try await fleet.fleetctl("backup", "one")

            // It says that it runs, and never comes to the coordinator: the kernel ends it.
            let silent = try await fleet.pushSham("0.9.3", "ready(); for (;;) pause();")
            try await fleet.failsToUpgrade("one", silent, because: "did not reach the coordinator")
            try await fleet.eventually("the former one runs") {
                try await fleet.version("one") == "0.9.0, not 0.9.3"
            }

            // The next that is good makes all of that history.
            let better = try await fleet.pushAgent("0.9.4")
            try await fleet.fleetctl("agent", "upgrade", "one", "--program", better, "--yes")
            #expect(try await fleet.version("one") == "0.9.4")

            // Its file is damaged: the one before runs, and where that is damaged too, the installed one.
            for (expected, given) in [("0.9.0", "0.9.4"), ("0.1.0", "0.9.0")] {
                try await fleet.exec(
                    "one", "sh", "-ec",
                    "systemctl stop fleet-agent; cd /var/lib/fleet-agent/program; sha=$(sed -n '/\"chosen\"/,/\"sha256\"/s/.*\"sha256\" : \"\\(.*\\)\".*/\\1/p' choice.json); "
                        + "printf x | dd of=$sha/fleet-agent bs=1 seek=5000 conv=notrunc status=none; systemctl start fleet-agent"
                )
                try await fleet.eventually("\(expected) runs") {
                    try await fleet.version("one") == "\(expected), not \(given)"
                }
            }
            // What is written of it is damaged, or not to be run at all.
            try await fleet.fleetctl("agent", "upgrade", "one", "--program", better, "--yes")
            try await fleet.exec(
                "one", "sh", "-ec", "echo x >/var/lib/fleet-agent/program/choice.json; systemctl restart fleet-agent")
            try await fleet.eventually("the installed one runs") {
                try await fleet.version("one") == "0.1.0, not the chosen one"
            }
            try await fleet.fleetctl("agent", "upgrade", "one", "--program", better, "--yes")
            #expect(try await fleet.version("one") == "0.9.4")

            // What is installed on top and is newer goes before it, and clears up.
            let installed = try await fleet.patchedAgent("0.9.5")
            try await Lab.check("push", fleet.lab, "one", installed, "/usr/local/bin/fleet-agent", "--mode", "0755")
            try await fleet.exec("one", "systemctl", "restart", "fleet-agent")
            try await fleet.eventually("the installed one runs") { try await fleet.version("one") == "0.9.5" }
            #expect(
                try await fleet.exec("one", "ls", "/var/lib/fleet-agent/program").trimmed
                    == "choice.json\nchoice.json.damaged")
            let older = try await fleet.tryFleetctl("agent", "upgrade", "one", "--program", better, "--yes")
            #expect(older.output.contains("has 0.9.5 installed, which is newer"), "\(older.output)")
        }
    }

    /// From the package to an upgrade, and to a newer package on top of that: the later word counts.
    @Test(.enabled(if: Lab.packages != nil)) func aNewerPackageGoesBeforeAnUpgrade() async throws {
        try await LabFleet.with { fleet in
            try await Lab.check("node", fleet.lab, "one", "--kind", "external", "--layout", "debian")
            try await fleet.fleetctl("cluster", "add", "one")
            let file = try #require(
                try FileSystem.list(Lab.packages!).first { $0.hasPrefix("fleet-agent_") && $0.hasSuffix(".deb") })
            try await Lab.check("push", fleet.lab, "one", "\(Lab.packages!)/\(file)", "/root/agent.deb")
            try await fleet.exec("one", "dpkg", "--install", "/root/agent.deb")
            try await fleet.enroll("one", of: "one")
            try await fleet.waitForAgent("one")
            let program = try await fleet.pushAgent("0.9.0")
            try await fleet.fleetctl("agent", "upgrade", "one", "--program", program, "--yes")
            #expect(try await fleet.version("one") == "0.9.0")

            // The same package again is no later word: the one that it brings was there before.
            try await fleet.exec("one", "dpkg", "--install", "/root/agent.deb")
            try await fleet.eventually("it runs again") { try await fleet.version("one") == "0.9.0" }

            let newer = try await fleet.patchedAgent("0.9.5")
            try await Lab.check("push", fleet.lab, "one", newer, "/root/newer", "--mode", "0755")
            try await fleet.exec(
                "one", "sh", "-ec",
                "cd /root; dpkg-deb -R agent.deb tree; cp newer tree/usr/bin/fleet-agent; dpkg-deb -b tree newer.deb")
            try await fleet.exec("one", "dpkg", "--install", "/root/newer.deb")
            try await fleet.eventually("the package's runs") { try await fleet.version("one") == "0.9.5" }
            #expect(try await fleet.exec("one", "ls", "/var/lib/fleet-agent/program").trimmed == "choice.json")
            try await fleet.fleetctl("backup", "one")
        }
    }

    /// The agent dies at each point of the way: its node has an agent, and the job tells which.
    @Test func aKillAnywhereLeavesAnAgent() async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("one", ["--kind", "external", "--layout", "debian"])
            // By whether it was chosen by then.
            let points: [(String, isChosen: Bool, isLate: Bool)] = [
                ("fetch:before", false, false), ("fetch:after", false, false), ("try:after", false, false),
                ("choose:before", false, false), ("choose:after", true, false), ("restart:before", true, false),
                ("launch:before", true, true), ("launch:after", true, true), ("prove:before", true, true),
                ("prove:after", true, true),
            ]
            var version = "0.1.0"
            for (index, (point, isChosen, isLate)) in points.enumerated() {
                let next = "0.9.\(index)"
                let program = try await fleet.pushAgent(next)
                if isLate { try await fleet.armLateCrash("one", point) } else { try await fleet.armCrash("one", point) }
                async let upgrading = fleet.tryFleetctl("agent", "upgrade", "one", "--program", program, "--yes")
                try await fleet.eventually("the agent died at \(point)") {
                    try await !fleet.isActive("one", "fleet-agent")
                }
                if isLate {
                    // Until here it ended to be started again; now it dies.
                    try await fleet.exec(
                        "one", "sh", "-c", "sed -i 's/^#//' /etc/systemd/system/fleet-agent.service.d/crash.conf")
                    try await fleet.exec("one", "systemctl", "daemon-reload")
                    // 'start' would wait for the hour that is between its end and its next start.
                    _ = try await fleet.attempt("one", "systemctl", "restart", "fleet-agent")
                    try await fleet.eventually("it is dead") { try await !fleet.isActive("one", "fleet-agent") }
                    #expect(
                        try await fleet.exec("one", "systemctl", "show", "-P", "Result", "fleet-agent") == "signal\n")
                }
                try await fleet.disarmCrash("one")
                let result = try await upgrading
                if isChosen { version = next }
                #expect(result.status == (isChosen ? 0 : 1), "\(point): \(result.output)\(result.errors)")
                try await fleet.eventually("\(point): \(version) runs") { try await fleet.version("one") == version }
                let job = try await fleet.fleetctl("job", "list", "one").output.split(separator: "\n")[1]
                #expect(job.contains(isChosen ? "succeeded" : "failed"), "\(point): \(job)")
                print("\(point): exit status \(result.status ?? -1), \(version) runs")
            }
            try await fleet.fleetctl("backup", "one")
        }
    }

    /// A good program that can't reach the coordinator is left again, and the coordinator learns why when it is back.
    @Test func oneThatCantConnectFallsBack() async throws {
        try await LabFleet.with { fleet in
            try await fleet.addCluster("one", ["--kind", "external", "--layout", "debian"])
            let program = try await fleet.pushAgent("0.9.0")
            try await fleet.allowHolds("one")
            try await fleet.hold("one", at: ["restart:before"])
            async let upgrading = fleet.tryFleetctl("agent", "upgrade", "one", "--program", program, "--yes")
            try await fleet.held("one", at: "restart:before")
            try await fleet.exec("hub", "systemctl", "stop", "fleet-coordinator")
            try await fleet.release("one", from: "restart:before")
            try await fleet.eventually("the new one gives up", within: .seconds(180)) {
                try await fleet.agentSays("one", "the agent goes back from") + fleet.agentSays("one", "is given up") > 0
            }
            try await fleet.exec("hub", "systemctl", "start", "fleet-coordinator")
            let result = try await upgrading
            #expect(result.status == 1, "\(result.output)\(result.errors)")
            try await fleet.eventually("the former one runs", within: .seconds(120)) {
                try await fleet.version("one") == "0.1.0, not 0.9.0"
            }
            let listed = try await fleet.fleetctl("agent", "list").errors
            #expect(listed.contains("did not reach the coordinator within 120 s: "), "\(listed)")
            #expect(try await fleet.fleetctl("job", "list", "one").output.contains("failed"))
            // The coordinator is there, so the same program is good now; that has to be said.
            let refused = try await fleet.tryFleetctl("agent", "upgrade", "one", "--program", program, "--yes")
            #expect(refused.status == 1 && refused.errors.contains("--retry"), "\(refused.errors)")
            try await fleet.fleetctl("agent", "upgrade", "one", "--program", program, "--yes", "--retry")
            #expect(try await fleet.version("one") == "0.9.0")
        }
    }

    /// Three members, one by one; who is away is left out, and a failure of the first touches no other.
    @Test func rollsThroughAClusterAndStopsAtTheFirstFailure() async throws {
        try await LabFleet.with { fleet in
            let nodes = try await fleet.makeMembers(
                "m", ["--kind", "external", "--layout", "debian"])
            let sham = try await fleet.pushSham("0.8.0", "return 1;")
            let failed = try await fleet.tryFleetctl(
                "agent", "upgrade", "--all", "--program", sham, "--yes", "--canary", nodes[1])
            #expect(failed.status == 1 && failed.output.contains("m/\(nodes[1])  FAILED"), "\(failed.output)")
            #expect(failed.errors.contains("stopped here: 2 agents are untouched"), "\(failed.errors)")
            let versions = try await fleet.versions()
            #expect(versions[nodes[0]] == "0.1.0" && versions[nodes[2]] == "0.1.0", "\(versions)")

            let program = try await fleet.pushAgent("0.9.0")
            try await fleet.exec(nodes[2], "systemctl", "stop", "fleet-agent")
            let some = try await fleet.tryFleetctl("agent", "upgrade", "m", "--program", program, "--yes")
            #expect(some.status == 3 && some.output.contains("is not connected since"), "\(some.output)\(some.errors)")
            try await fleet.exec(nodes[2], "systemctl", "start", "fleet-agent")
            try await fleet.waitForAgent("m", count: 3)
            let rest = try await fleet.fleetctl("agent", "upgrade", "--all", "--program", program, "--yes")
            #expect(rest.output.contains("m/\(nodes[2])  ok"), "\(rest.output)")
            #expect(try await fleet.versions().values.allSatisfy { $0 == "0.9.0" })

            // One by one: a job begins when the one before it has ended.
            let jobs = try await fleet.fleetctl("job", "list", "m").output.split(separator: "\n").dropFirst()
            #expect(jobs.count { $0.contains("succeeded") } == 3, "\(jobs)")
            // They restore together, under the new program.
            try await fleet.fleetctl("backup", "m")
            try await fleet.fleetctl("restore", "m", "--at", "latest", "--yes", "--wait", "120s")
        }
    }
}

extension LabFleet {
    /// A file on this machine: the agent as it was built, with another version. It is a real agent, and another file.
    func patchedAgent(_ version: String, changing old: String? = nil, to new: String = "") async throws -> String {
        let path = "/tmp/\(lab)-agent-\(version)"
        let more = old.map { "; s/\($0)/\(new)/g" } ?? ""
        let source = Lab.programs! + "/fleet-agent"
        _ = try await Blocking.run {
            try Subprocess.check(
                "/bin/sh", ["-ec", "sed 's/0\\.1\\.0/\(version)/g\(more)' \(source) >\(path); chmod 755 \(path)"])
        }
        return path
    }

    /// On the hub.
    func pushAgent(_ version: String, changing old: String? = nil, to new: String = "") async throws -> String {
        try await push(try await patchedAgent(version, changing: old, to: new), version)
    }

    /// A program that passes for an agent until it is to be one.
    func pushSham(_ version: String, _ statements: String) async throws -> String {
        let path = "/tmp/\(lab)-agent-\(version)"
        let source = """
            #include <stdio.h>
            #include <stdlib.h>
            #include <string.h>
            #include <unistd.h>
            #include <sys/socket.h>
            #include <sys/un.h>
            const char mark[] = "etcd-backup-fleet program fleet-agent \(version);";
            void ready(void) {
                struct sockaddr_un to = {AF_UNIX, ""};
                strcpy(to.sun_path, getenv("NOTIFY_SOCKET"));
                sendto(socket(AF_UNIX, SOCK_DGRAM, 0), "READY=1", 7, 0, (void *)&to, sizeof(sa_family_t) + strlen(to.sun_path));
            }
            int main(int count, char **words) {
                if (count > 1 && !strcmp(words[1], "--version")) return puts("fleet-agent \(version)") < 0 || !*mark;
                \(statements)
            }
            """
        try await Blocking.run {
            try FileSystem.writeDurably(path + ".c", source.utf8)
            _ = try Subprocess.check("/usr/bin/cc", ["-O0", "-o", path, path + ".c"])
            try FileSystem.remove(path + ".c")
        }
        return try await push(path, version)
    }

    private func push(_ path: String, _ version: String) async throws -> String {
        try await Lab.check("push", lab, "hub", path, "/root/agent-\(version)", "--mode", "0755")
        try await Blocking.run { try FileSystem.remove(path) }
        return "/root/agent-\(version)"
    }

    /// Of each node's agent, as the list shows it.
    func versions() async throws -> [String: String] {
        let lines = try await fleetctl("agent", "list").output.split(separator: "\n")
        guard let start = lines.first?.firstRange(of: "VERSION")?.lowerBound, let head = lines.first else { return [:] }
        let column = head.distance(from: head.startIndex, to: start)
        let end = head.firstRange(of: "COMMIT").map { head.distance(from: head.startIndex, to: $0.lowerBound) }
        var versions: [String: String] = [:]
        for line in lines.dropFirst() {
            // Only who is there now says which it is.
            guard line.contains("  yes  ") || line.contains("  yes ") else { continue }
            let node = line.split(separator: " ", omittingEmptySubsequences: true)[1]
            versions[String(node)] = String(line.prefix(end ?? line.count).dropFirst(column)).trimmed
        }
        return versions
    }

    func version(_ node: String) async throws -> String? { try await versions()[node] }

    func failsToUpgrade(_ node: String, _ program: String, because reason: String) async throws {
        let result = try await tryFleetctl("agent", "upgrade", node, "--program", program, "--yes")
        #expect(
            result.status == 1 && result.output.contains("FAILED") && result.output.contains(reason),
            "\(result.output)\(result.errors)")
        let jobs = try await fleetctl("job", "list", node).output.split(separator: "\n")
        #expect(jobs.count > 1 && jobs[1].contains("upgrade") && jobs[1].contains("failed"), "\(jobs)")
    }

    /// The crash is armed for the start behind the one that is asked for: the first end is the agent's own, and systemd is slow.
    func armLateCrash(_ node: String, _ point: String) async throws {
        try await exec(node, "mkdir", "-p", "/etc/systemd/system/fleet-agent.service.d")
        try await exec(
            node, "sh", "-c",
            "printf '[Service]\\nRestartSec=1h\\nRestartPreventExitStatus=SIGKILL\\n#Environment=FLEET_AGENT_CRASH_AT=%s\\n' \"$1\" >/etc/systemd/system/fleet-agent.service.d/crash.conf",
            "sh", point)
        try await exec(node, "systemctl", "daemon-reload")
        try await exec(node, "systemctl", "restart", "fleet-agent")
        try await waitForAgent(node)
    }
}
