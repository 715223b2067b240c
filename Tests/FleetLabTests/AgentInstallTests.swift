import FleetSystem
import Testing

/// Agents put on nodes and taken away again by ssh, from the hub, as somebody does it who has never done it.
@Suite(.serialized, .enabled(if: Lab.isAvailable && Lab.packages != nil), .timeLimit(.minutes(20)))
struct AgentInstallTests {
    @Test func threeNodesByPackage() async throws {
        try await LabFleet.with { fleet in
            let made = try await Lab.run(["cluster", fleet.lab, "ha", "--kind", "external", "--layout", "kubespray"])
            try #require(made.succeeded, "\(made.complaint)")
            let nodes = (1...3).map { "ha-\($0)" }
            for node in nodes { try await fleet.letIn(node) }
            let package = try await fleet.package()
            for name in ["ha", "other"] { try await fleet.fleetctl("cluster", "add", name) }
            let install =
                ["agent", "install", "ha"] + nodes.flatMap { ["--ssh", "root@\($0)"] } + ["--package", package]

            // Whom nobody has vouched for is not spoken to.
            let unknown = try await fleet.control([
                "agent", "install", "ha", "--ssh", "root@ha-1", "--package", package,
            ])
            #expect(unknown.status == 1 && unknown.output.contains("root@ha-1  FAILED  the host key of root@ha-1"))
            #expect(
                unknown.errors.contains("hint: connect once by hand and compare the fingerprint"), "\(unknown.errors)")
            for node in nodes { try await fleet.vouch(for: node) }

            let planned = try await fleet.control(install + ["--dry-run"])
            #expect(planned.status == 0 && planned.output.contains("root@ha-2  would copy fleet-agent_"), "\(planned)")
            #expect(planned.output.contains("root@ha-3  would enrol it as ha/ha-3, to dial "))
            for node in nodes {
                #expect(try await fleet.attempt(node, "test", "-e", "/usr/bin/fleet-agent").status == 1)
                #expect(
                    try await fleet.exec(node, "sh", "-c", "ls /var/tmp /var/lib | grep -c fleet-agent || true").trimmed
                        == "0")
            }
            #expect(try await !fleet.fleetctl("audit", "log").output.contains("token.create"))

            let done = try await fleet.control(install)
            #expect(done.status == 0, "\(done)")
            for node in nodes {
                #expect(
                    done.output.contains(
                        "root@\(node)  ok  ha/\(node) is connected; etcd 3.5.1 (external-systemd), data in /var/lib/etcd\n"
                    ), "\(done)")
            }
            try await fleet.waitForAgent("ha", count: 3)
            try await fleet.fleetctl("backup", "ha")

            // A second run is a look.
            let before = try await fleet.traces(of: nodes)
            let again = try await fleet.control(install)
            #expect(again.status == 0, "\(again)")
            for node in nodes {
                #expect(again.output.contains("root@\(node)  ok  nothing to do: already installed"), "\(again)")
            }
            #expect(try await fleet.traces(of: nodes) == before)

            // One that can't be reached keeps no other from it.
            try await fleet.exec("ha-2", "systemctl", "stop", "ssh")
            try await fleet.exec("ha-3", "systemctl", "disable", "--quiet", "--now", "fleet-agent")
            let partial = try await fleet.control(install)
            #expect(
                partial.status == 3 && partial.output.contains("root@ha-2  FAILED  root@ha-2 can't be reached by ssh"),
                "\(partial)")
            #expect(
                partial.output.contains("root@ha-3  started it\n") && partial.errors.contains("failed: root@ha-2"),
                "\(partial)")
            try await fleet.exec("ha-2", "systemctl", "start", "ssh")
            try await fleet.waitForAgent("ha", count: 3)

            let strange = try await fleet.control([
                "agent", "install", "other", "--ssh", "root@ha-1", "--package", package,
            ])
            #expect(
                strange.status == 1
                    && strange.output.contains(#"enrolled as "ha-1" of the cluster "ha", not of other (other-fleet)"#),
                "\(strange)")

            // What is newer replaces it, what is older does not.
            let newer = try await fleet.package(version: "99")
            let upgraded = try await fleet.control(["agent", "install", "ha", "--ssh", "root@ha-1", "--package", newer])
            #expect(
                upgraded.output.contains("root@ha-1  upgraded the package fleet-agent ")
                    && upgraded.output.contains("  ok  "), "\(upgraded)")
            let older = try await fleet.control(install)
            #expect(older.status == 0 && older.errors.contains("root@ha-1  keeps fleet-agent 99"), "\(older)")
            let forced = try await fleet.control(install + ["--force"])
            #expect(
                forced.status == 0 && forced.output.contains("root@ha-1  replaced the package fleet-agent 99 by "),
                "\(forced)")
            try await fleet.waitForAgent("ha", count: 3)

            try await uninstallAndBack(fleet)
            #expect(try await fleet.fleetctl("audit", "verify").output.contains("the chain holds"))
        }
    }

    private func uninstallAndBack(_ fleet: LabFleet) async throws {
        let uninstall = ["agent", "uninstall", "ha", "ha-3", "--ssh", "root@ha-3"]
        let etcd = try await fleet.exec("ha-3", "systemctl", "show", "--property=MainPID", "etcd")
        let wrong = try await fleet.control(["agent", "uninstall", "ha", "ha-2", "--ssh", "root@ha-3", "--yes"])
        #expect(wrong.status == 1 && wrong.errors.contains("not ha-2 of ha"), "\(wrong)")

        let journal = "/var/lib/fleet-agent/jobs/20200101-000000-aaaa/journal"
        try await fleet.exec(
            "ha-3", "sh", "-c", "mkdir -p \(FileSystem.parent(of: journal)); echo unfinished >\(journal)")
        let held = try await fleet.control(uninstall + ["--yes"])
        #expect(
            held.status == 1 && held.errors.contains("in the middle of a restore") && held.errors.contains(journal),
            "\(held)")
        #expect(try await fleet.isActive("ha-3", "fleet-agent"))
        try await fleet.exec("ha-3", "rm", "-r", FileSystem.parent(of: journal))

        try await fleet.exec("ha-3", "mkdir", "-p", "/var/lib/fleet-agent/program/x")
        let planned = try await fleet.control(uninstall + ["--dry-run"])
        #expect(planned.output.contains("root@ha-3  would remove /var/lib/fleet-agent/program, with"), "\(planned)")
        #expect(planned.output.contains("root@ha-3  would remove the package fleet-agent\n"), "\(planned)")
        #expect(try await fleet.control(uninstall).status == 6, "nobody said yes")
        #expect(try await fleet.isActive("ha-3", "fleet-agent"))
        let gone = try await fleet.control(uninstall + ["--yes"])
        #expect(
            gone.status == 0 && gone.output.contains("root@ha-3  ok  the agent of ha/ha-3 is uninstalled"), "\(gone)")
        #expect(gone.errors.contains("kept: /var/lib/fleet-agent"))
        #expect(try await fleet.attempt("ha-3", "test", "-e", "/var/lib/fleet-agent/program").status == 1)
        #expect(try await fleet.attempt("ha-3", "test", "-e", "/usr/bin/fleet-agent").status == 1)
        #expect(
            try await fleet.attempt(
                "ha-3", "test", "-e", "/etc/systemd/system/multi-user.target.wants/fleet-agent.service"
            ).status == 1)
        #expect(try await fleet.fleetctl("agent", "list", "ha", "--all").output.contains("revoked"))
        #expect(try await fleet.exec("ha-3", "systemctl", "show", "--property=MainPID", "etcd") == etcd)
        let twice = try await fleet.control(uninstall + ["--yes"])
        #expect(twice.status == 0 && twice.output.contains("nothing to do"), "\(twice)")

        // It comes back, now without a package, and then as one again.
        let byHand = try await fleet.control([
            "agent", "install", "ha", "--ssh", "root@ha-3", "--program", try await fleet.program(),
        ])
        #expect(
            byHand.status == 0 && byHand.output.contains("enrolled it anew as ha/ha-3: its certificate was revoked"),
            "\(byHand)")
        #expect(byHand.output.contains("installed /etc/systemd/system/fleet-agent.service"))
        try await fleet.waitForAgent("ha", count: 3)
        try await installOnAnUpgrade(fleet)
        let unit = "/etc/systemd/system/fleet-agent.service"
        try await fleet.exec("ha-3", "sh", "-c", "echo '# mine' >>\(unit); systemctl daemon-reload")
        let packaged = try await fleet.control([
            "agent", "install", "ha", "--ssh", "root@ha-3", "--package", try await fleet.package(),
        ])
        #expect(packaged.status == 0 && packaged.output.contains("removed what was installed by hand"), "\(packaged)")
        #expect(try await fleet.exec("ha-3", "tail", "-n", "1", "\(unit).replaced") == "# mine\n")
        #expect(
            try await fleet.exec("ha-3", "systemctl", "show", "--property=FragmentPath", "fleet-agent").contains(
                "/lib/systemd/system/"))
        try await fleet.waitForAgent("ha", count: 3)
        let purged = try await fleet.control(uninstall + ["--purge", "--yes"])
        #expect(purged.status == 0, "\(purged)")
        #expect(try await fleet.attempt("ha-3", "test", "-e", "/var/lib/fleet-agent").status == 1)
        #expect(try await fleet.exec("ha-3", "systemctl", "show", "--property=MainPID", "etcd") == etcd)

        // Without ssh: the package by hand, and the line that a terminal shows.
        let package = try await fleet.package(on: "ha-3")
        try await fleet.exec("ha-3", "dpkg", "--install", package)
        let shown = try await fleet.exec("hub", "script", "-qec", "fleetctl agent token ha", "/dev/null")
        let line = try #require(shown.split(whereSeparator: \.isNewline).first { $0.contains("printf") }, "\(shown)")
        try await fleet.exec("ha-3", "sh", "-c", String(line))
        try await fleet.waitForAgent("ha", count: 3)
    }

    /// What an upgrade has brought runs, and is what an install compares with.
    private func installOnAnUpgrade(_ fleet: LabFleet) async throws {
        let install = ["agent", "install", "ha", "--ssh", "root@ha-3", "--program"]
        let (old, new) = (try await fleet.program(), try await fleet.pushAgent("0.9.0"))
        func upgrade(to program: String, _ version: String) async throws {
            let words = ["agent", "upgrade", "ha", "--skip", "ha-1", "--skip", "ha-2", "--yes", "--program", program]
            // Those that are left out are left out by request.
            let done = try await fleet.control(words)
            #expect(done.status == 0 && done.output.contains("ha/ha-3  ok  runs \(version) ("), "\(done)")
            #expect(try await fleet.version("ha-3") == version)
        }
        try await upgrade(to: new, "0.9.0")
        let kept = try await fleet.control(install + [old])
        #expect(kept.status == 0 && kept.output.contains("nothing to do"), "\(kept)")
        #expect(kept.errors.contains(#"keeps fleet-agent "0.9.0", which an upgrade has brought"#), "\(kept)")
        let same = try await fleet.control(install + [new])
        #expect(same.output.contains("nothing to do") && same.errors.contains("it runs already"), "\(same)")

        // Cut off behind the copy: what is installed is not what runs.
        let file = try await fleet.patchedAgent("0.9.1")
        try await Lab.check("push", fleet.lab, "ha-3", file, "/usr/local/bin/fleet-agent", "--mode", "0755")
        let newer = try await fleet.pushAgent("0.9.1")
        let goesOn = try await fleet.control(install + [newer])
        #expect(goesOn.status == 0 && goesOn.output.contains("restarted it: what runs is what was"), "\(goesOn)")
        #expect(try await fleet.version("ha-3") == "0.9.1")

        try await upgrade(to: try await fleet.pushAgent("0.9.2"), "0.9.2")
        let forced = try await fleet.control(install + [newer, "--force"])
        #expect(
            forced.status == 0 && forced.output.contains("went back to the installed program from fleet-agent 0.9.2"),
            "\(forced)")
        #expect(try await fleet.version("ha-3") == "0.9.1")
        #expect(try await fleet.control(install + [newer]).output.contains("nothing to do"))
    }

    /// A node with no etcd, by an ordinary user with sudo, from a name in ~/.ssh/config, on a port of its own; with all that can
    /// be missing there.
    @Test func aVerifierByProgramAndSudo() async throws {
        try await LabFleet.with { fleet in
            try await Lab.check("node", fleet.lab, "spare", "--kind", "plain", "--etcd", "3.5")
            try await fleet.exec("spare", "useradd", "--create-home", "--shell", "/bin/bash", "admin")
            // What a shell prints at its start is not the node's answer.
            try await fleet.exec(
                "spare", "sh", "-c", "sed -i '1i echo begin; echo Welcome, host=evil' /home/admin/.bashrc")
            try await fleet.letIn("spare", user: "admin", port: 2222)
            try await fleet.vouch(for: "spare", port: 2222)
            try await fleet.exec(
                "hub", "sh", "-c",
                "printf 'Host v1\\n  HostName spare\\n  User admin\\n  Port 2222\\n' >>/root/.ssh/config")
            try await fleet.fleetctl("cluster", "add", "verifiers")
            let program = try await fleet.program()
            let install = ["agent", "install", "verifiers", "--ssh", "v1", "--program", program]

            let nobody = try await fleet.control(install)
            #expect(
                nobody.status == 1 && nobody.output.contains("is not root") && nobody.errors.contains("NOPASSWD"),
                "\(nobody)")
            try await fleet.exec("spare", "sh", "-c", "echo 'admin ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/admin")

            let library = "/usr/lib/x86_64-linux-gnu/libyaml-0.so.2"
            try await fleet.exec("spare", "mv", library, "/root/away")
            let missing = try await fleet.control(install)
            #expect(
                missing.status == 1 && missing.output.contains("libyaml-0.so.2")
                    && missing.errors.contains("libyaml-0-2"), "\(missing)")
            #expect(try await fleet.exec("spare", "ls", "-A", "/usr/local/bin").trimmed == "etcd\netcdctl\netcdutl")
            try await fleet.exec("spare", "mv", "/root/away", library)

            let hub = try await Lab.check("address", fleet.lab, "hub")
            try await fleet.exec("spare", "sh", "-ec", "ip route add 10.97.255.0/24 dev eth0")
            // What it dials is nobody there.
            let address = "s/\"advertise\" : \"[^\"]*\"/\"advertise\" : \"10.97.255.9:7400\"/"
            try await fleet.exec("hub", "sed", "-i", address, "/var/lib/fleet-coordinator/settings.json")
            try await fleet.exec("hub", "systemctl", "restart", "fleet-coordinator")
            for words in [install + ["--dry-run"], install] {
                let lost = try await fleet.control(words)
                #expect(
                    lost.status == 1
                        && lost.output.contains("FAILED  spare can't reach the coordinator at 10.97.255.9:7400: "),
                    "\(lost)")
                #expect(lost.errors.contains("hint: open the way from that host to 10.97.255.9:7400"), "\(lost)")
                #expect(!lost.output.contains("installed"), "\(lost)")
            }
            #expect(try await fleet.exec("spare", "ls", "-A", "/usr/local/bin").trimmed == "etcd\netcdctl\netcdutl")
            // Where nothing there can try it, the enrolment itself finds out, and what was done before is done.
            try await fleet.exec("spare", "sh", "-ec", "chsh -s /bin/sh admin; mv /bin/bash /root/bash")
            let late = try await fleet.control(install)
            try await fleet.exec("spare", "mv", "/root/bash", "/bin/bash")
            #expect(late.status == 1 && late.output.contains("FAILED  enrolling it as verifiers/spare: "), "\(late)")
            #expect(late.errors.contains("hint: "), "\(late)")
            let back = "s/\"advertise\" : \"[^\"]*\"/\"advertise\" : \"\(hub):7400\"/"
            try await fleet.exec("hub", "sed", "-i", back, "/var/lib/fleet-coordinator/settings.json")
            try await fleet.exec("hub", "systemctl", "restart", "fleet-coordinator")

            let done = try await fleet.control(install)
            #expect(
                done.status == 0 && done.output.contains("so it is a verifier, for drills of etcd 3.5.1"), "\(done)")
            #expect(!done.output.contains("installed /usr/local/bin"), "that was done: \(done)")
            let before = try await fleet.traces(of: ["spare"])
            let again = try await fleet.control(install)
            #expect(again.status == 0 && again.output.contains("v1  ok  nothing to do"), "\(again)")
            #expect(try await fleet.traces(of: ["spare"]) == before)

            // Another machine answers under its name.
            try await fleet.exec(
                "spare", "sh", "-ec", "rm /etc/ssh/ssh_host_*; ssh-keygen -q -A; systemctl restart ssh")
            let changed = try await fleet.control(install)
            #expect(
                changed.status == 1 && changed.output.contains("another host key")
                    && changed.errors.contains(#" -R "[spare]:2222""#), "\(changed)")
            // No key that it accepts.
            try await fleet.vouch(for: "spare", port: 2222)
            try await fleet.exec("spare", "rm", "/home/admin/.ssh/authorized_keys")
            let refused = try await fleet.control(install)
            #expect(
                refused.status == 1 && refused.output.contains("does not let this user in")
                    && refused.errors.contains("ssh-add"), "\(refused)")
        }
    }
}

extension LabFleet {
    /// fleetctl on the hub, with whatever exit status it has.
    fileprivate func control(_ words: [String]) async throws -> Result {
        let outcome = try await Lab.run(["exec", lab, "hub", "--", "fleetctl"] + words)
        return Result(
            status: outcome.status, output: outcome.outputText, errors: String(decoding: outcome.errors, as: UTF8.self))
    }

    /// Starts sshd on a node, with a key of its own, and lets root of the hub in.
    fileprivate func letIn(_ node: String, user: String = "root", port: Int = 22) async throws {
        try await exec(
            "hub", "sh", "-ec",
            "mkdir -p -m 700 /root/.ssh; cd /root/.ssh; [ -e id_ed25519 ] || ssh-keygen -q -t ed25519 -N '' -f id_ed25519"
        )
        let key = try await exec("hub", "cat", "/root/.ssh/id_ed25519.pub").trimmed
        let home = user == "root" ? "/root" : "/home/\(user)"
        try await exec(
            node, "sh", "-ec",
            "mkdir -p -m 700 \(home)/.ssh; echo '\(key)' >\(home)/.ssh/authorized_keys; chown -R \(user) \(home)/.ssh; "
                + "echo 'Port \(port)' >/etc/ssh/sshd_config.d/port.conf; ssh-keygen -q -A; systemctl start ssh")
    }

    /// Takes the node's key from the node itself, not from whoever answers, into the hub's known hosts.
    fileprivate func vouch(for node: String, port: Int = 22) async throws {
        let key = try await exec(node, "cat", "/etc/ssh/ssh_host_ed25519_key.pub").trimmed
        let name = port == 22 ? node : "[\(node)]:\(port)"
        try await exec(
            "hub", "sh", "-ec",
            "ssh-keygen -R '\(name)' >/dev/null 2>&1 || true; echo '\(name) \(key)' >>/root/.ssh/known_hosts")
    }

    /// The agent's package on a node, as it is or as of another version.
    fileprivate func package(version: String? = nil, on node: String = "hub") async throws -> String {
        let files = try FileSystem.list(Lab.packages!).filter { $0.hasPrefix("fleet-agent_") && $0.hasSuffix(".deb") }
        var file = "\(Lab.packages!)/\(try #require(files.first, "ops/package makes them"))"
        let place = "/tmp/\(lab)"
        defer { try? FileSystem.removeTree(place) }
        if let version {
            let words =
                "dpkg-deb -R \(file) \(place); sed -i 's/^Version: .*/Version: \(version)/' \(place)/DEBIAN/control; "
                + "dpkg-deb -b \(place) \(place)/fleet-agent_\(version)_amd64.deb"
            _ = try await Blocking.run { try Subprocess.check("/bin/sh", ["-ec", words]) }
            file = "\(place)/fleet-agent_\(version)_amd64.deb"
        }
        let target = "/root/\(FileSystem.name(of: file))"
        try await Lab.check("push", lab, node, file, target)
        return target
    }

    fileprivate func program() async throws -> String {
        try await Lab.check("push", lab, "hub", "\(Lab.programs!)/fleet-agent", "/root/fleet-agent", "--mode", "0755")
        return "/root/fleet-agent"
    }

    /// What any change on the nodes would change: the process, and the times of all that belongs to the agent.
    fileprivate func traces(of nodes: [String]) async throws -> [String] {
        var traces: [String] = []
        for node in nodes {
            traces.append(
                try await exec(
                    node, "sh", "-c",
                    "systemctl show --property=MainPID,ActiveEnterTimestampMonotonic fleet-agent; "
                        + "for file in /usr/bin/fleet-agent /usr/local/bin/fleet-agent /etc/systemd/system/fleet-agent.service "
                        + "/etc/systemd/system/multi-user.target.wants /var/lib/dpkg/status /var/lib/fleet-agent/identity; do "
                        + "stat -c '%n %i %z' $file 2>/dev/null; done; ls -A /var/tmp /usr/local/bin /etc/systemd/system; true"
                ))
        }
        return traces
    }
}
