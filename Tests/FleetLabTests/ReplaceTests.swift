import FleetSystem
import Testing

/// One member of three is broken for good and replaced from the others: afterwards all three serve all that was written,
/// also while one was broken.
@Suite(.serialized, .enabled(if: Lab.isAvailable), .timeLimit(.minutes(45)))
struct ReplaceTests {
    @Test(
        arguments: Lab.cases(
            1,
            of: [
                ["--kind", "external", "--layout", "kubespray,rpm,config-file", "--wal-dir", "/var/lib/etcd-wal/wal"],
                ["--kind", "stacked"], ["--kind", "external", "--layout", "debian"], ["--kind", "static"],
            ]))
    func aDamagedMemberIsReplaced(_ kind: [String]) async throws {
        try await LabFleet.with { fleet in
            let nodes = try await fleet.makeMembers("ha", kind)
            let node = nodes[1]
            try await fleet.etcdctl("ha", "put", "/state", "before")
            let old = try await fleet.dataDirectory(node)
            let before = try await fleet.memberLines(nodes[0])
            try await fleet.damage(node, kind)
            try await fleet.etcdctl(nodes[0], "put", "/state", "while it was broken")

            let planned = try await fleet.fleetctl("member", "replace", "ha", node, "--dry-run")
            #expect(planned.output.contains("plan for the member of ha on \(node)"), "\(planned.output)")
            #expect(planned.output.contains("existing") && planned.output.contains("-replace-"))
            #expect(try await fleet.memberLines(nodes[0]) == before, "a dry run changes nothing")
            #expect(try await fleet.dataDirectory(node) == old)

            let replaced = try await fleet.tryFleetctl("member", "replace", "ha", node, "--yes", "--wait", "60s")
            #expect(replaced.status == 0, "\(replaced.output)\(replaced.errors)")
            #expect(replaced.output.contains("the member on \(node) is replaced"))
            try await fleet.expectAll(nodes, "/state", "while it was broken")
            try await fleet.expectThreeVoters(nodes[0])
            let new = try await fleet.dataDirectory(node)
            #expect(new.hasPrefix("\(old)-replace-"), "\(new)")
            #expect(try await fleet.exec(node, "ls", "\(old)/member").contains("snap"), "the old data is kept")
            #expect(
                try await fleet.exec(node, "stat", "-c", "%U:%G %a", new)
                    == (try await fleet.exec(node, "stat", "-c", "%U:%G %a", old)))

            // It is a member like any other: it comes back by itself, serves, and is backed up.
            try await fleet.restartEtcd(node, kind)
            try await fleet.etcdctl(node, "put", "/state", "through the new one")
            try await fleet.expectAll(nodes, "/state", "through the new one")
            try await fleet.waitForAgent("ha", count: 3)
            let again = try await fleet.tryFleetctl("member", "replace", "ha", node, "--yes")
            #expect(again.status == 1 && again.errors.contains("nothing is wrong with the member"), "\(again.errors)")
            try await fleet.fleetctl("backup", "ha")
            let shown = try await fleet.fleetctl("job", "list", "ha").output
            #expect(shown.contains("replace"))
            // Signed off: the old data goes, and nothing else.
            let line = shown.split(separator: "\n").first {
                $0.contains(" replace ") && $0.contains(" succeeded ") && !$0.contains("dry run")
            }
            let job = try #require(line?.split(separator: " ").first.map(String.init))
            let undo = try await fleet.tryFleetctl("restore", "undo", job, "--yes")
            #expect(undo.status == 1 && undo.errors.contains("only a restore"), "\(undo.errors)")
            let signed = try await fleet.fleetctl("restore", "cleanup", job, "--yes")
            #expect(signed.output.contains("removed \(old)"), "\(signed.output)")
            #expect(try await fleet.exec(node, "sh", "-c", "ls -d \(old)/member || true").isEmpty)
            try await fleet.expectAll(nodes, "/state", "through the new one")
            #expect(try await fleet.fleetctl("cluster", "show", "ha").output.contains(new))
            #expect(try await fleet.fleetctl("audit", "verify").output.contains("the chain holds"))
        }
    }

    /// `kill -9` of an agent in the middle of an act, on the broken node and beside the healthy members; and of the
    /// coordinator.
    @Test(arguments: Lab.cases(1, of: [["--kind", "external", "--layout", "kubespray"], ["--kind", "stacked"]]))
    func killedInTheMiddle(_ kind: [String]) async throws {
        try await LabFleet.with { fleet in
            let nodes = try await fleet.makeMembers("ha", kind)
            for (round, point) in [
                "stop-etcd:after", "make-directory:after", "switch-files:after", "start-etcd:after",
            ].enumerated() {
                let node = nodes[round % 3]
                try await fleet.damage(node, kind)
                try await fleet.etcdctl(nodes[(round + 1) % 3], "put", "/state", point)
                try await fleet.armCrash(node, point)
                let result = try await fleet.replacing(node) {
                    try await fleet.eventually("the agent died at \(point)") {
                        try await !fleet.isActive(node, "fleet-agent")
                    }
                    if round == 1 { try await fleet.killCoordinator() }
                    try await fleet.disarmCrash(node)
                }
                #expect(result.status == 0, "\(point): \(result.output)\(result.errors)")
                try await fleet.expectAll(nodes, "/state", point)
                try await fleet.expectThreeVoters(node)
                try await fleet.waitForAgent("ha", count: 3)
            }
            for point in ["remove-member:after", "add-member:after", "promote-member:before"] {
                try await fleet.damage(nodes[2], kind)
                try await fleet.etcdctl(nodes[0], "put", "/state", point)
                for other in nodes[0...1] { try await fleet.armCrash(other, point) }
                // Whichever does it dies, and the next one that does it too.
                let result = try await fleet.replacing(nodes[2]) {
                    for _ in 0..<2 {
                        var dead: String?
                        try await fleet.eventually("an agent died at \(point)") {
                            for other in nodes[0...1] where try await !fleet.isActive(other, "fleet-agent") {
                                dead = other
                            }
                            return dead != nil
                        }
                        try await fleet.disarmCrash(dead!)
                    }
                }
                #expect(result.status == 0, "\(point): \(result.output)\(result.errors)")
                try await fleet.expectAll(nodes, "/state", point)
                try await fleet.expectThreeVoters(nodes[0])
                try await fleet.waitForAgent("ha", count: 3)
            }
            #expect(try await fleet.fleetctl("audit", "verify").output.contains("the chain holds"))
        }
    }

    /// The power of the broken node goes in the middle of the switch. At its boot the old etcd starts, which is no member any
    /// more, or the new one.
    @Test(arguments: Lab.cases(1, of: [["--kind", "static"], ["--kind", "external", "--layout", "debian"]]))
    func powerCutInTheSwitch(_ kind: [String]) async throws {
        try await LabFleet.with { fleet in
            let nodes = try await fleet.makeMembers("ha", kind)
            for point in ["switch-files:before", "switch-files:after"] {
                try await fleet.damage(nodes[1], kind)
                try await fleet.etcdctl(nodes[0], "put", "/state", point)
                try await fleet.armCrash(nodes[1], point)
                let result = try await fleet.replacing(nodes[1]) {
                    try await fleet.eventually("the agent died at \(point)") {
                        try await !fleet.isActive(nodes[1], "fleet-agent")
                    }
                    try await fleet.exec(nodes[1], "rm", "-r", "/etc/systemd/system/fleet-agent.service.d")
                    try await Lab.check("power-off", fleet.lab, nodes[1])
                    try await Lab.check("boot", fleet.lab, nodes[1], "--no-wait")
                }
                #expect(result.status == 0, "\(point): \(result.output)\(result.errors)")
                try await fleet.expectAll(nodes, "/state", point)
                try await fleet.expectThreeVoters(nodes[0])
                try await fleet.waitForAgent("ha", count: 3)
            }
        }
    }

    /// The disk of kubeadm's first control plane is lost: its manifest names itself alone, so its etcd begins a cluster of its
    /// own with the ids that it always had, while the others go on.
    @Test(.enabled(if: Lab.runsAll)) func aFirstControlPlaneThatLostItsData() async throws {
        let kind = ["--kind", "stacked"]
        try await LabFleet.with { fleet in
            let nodes = try await fleet.makeMembers("ha", kind)
            try await fleet.etcdctl("ha", "put", "/state", "kept by two")
            let data = try await fleet.dataDirectory(nodes[0])
            try await fleet.switchEtcd(nodes[0], kind, on: false)
            try await fleet.exec(nodes[0], "rm", "-r", "\(data)/member")
            try await fleet.switchEtcd(nodes[0], kind, on: true)
            try await Task.sleep(for: .seconds(5))
            let result = try await fleet.tryFleetctl("member", "replace", "ha", nodes[0], "--yes", "--wait", "60s")
            #expect(result.status == 0, "\(result.output)\(result.errors)")
            try await fleet.expectAll(nodes, "/state", "kept by two")
            try await fleet.expectThreeVoters(nodes[1])
        }
    }

    @Test func refusalsChangeNothing() async throws {
        let kind = ["--kind", "external", "--layout", "debian"]
        try await LabFleet.with { fleet in
            let nodes = try await fleet.makeMembers("ha", kind)
            let before = try await fleet.memberLines(nodes[0])
            func refused(_ node: String, _ words: String) async throws {
                let result = try await fleet.tryFleetctl("member", "replace", "ha", node, "--yes", "--wait", "10s")
                #expect(result.status == 1 && result.errors.contains(words), "\(result.output)\(result.errors)")
            }
            try await refused("nobody", "has no agent on nobody")
            try await refused(nodes[0], "nothing is wrong with the member")
            try await fleet.exec(nodes[1], "systemctl", "stop", "etcd")
            // A third that is away, too: no quorum without the second.
            try await fleet.exec(nodes[2], "systemctl", "stop", "etcd")
            try await refused(nodes[1], "no other member of ha is healthy")
            try await fleet.exec(nodes[2], "systemctl", "start", "--no-block", "etcd")
            try await fleet.eventually("two are a quorum") {
                try await fleet.etcdctl(nodes[0], "put", "/state", "two")
                return true
            }
            // Its agent is away: nobody can say that it is healthy.
            try await fleet.exec(nodes[2], "systemctl", "stop", "fleet-agent")
            try await fleet.eventually("the coordinator knows") {
                try await fleet.fleetctl("agent", "list", "ha", "-o", "json").output.contains(#""connected" : false"#)
            }
            try await refused(nodes[1], "no agent of it is connected")
            try await fleet.exec(nodes[2], "systemctl", "start", "fleet-agent")
            try await fleet.waitForAgent("ha", count: 3)

            // The quorum goes between the question and the removal: the member's etcd is started again as it was.
            for node in [nodes[0], nodes[2]] {
                try await fleet.allowHolds(node, of: "ha", count: 3)
                try await fleet.hold(node, at: ["check-quorum:before"])
            }
            async let replacing = fleet.tryFleetctl("member", "replace", "ha", nodes[1], "--yes", "--wait", "10s")
            var holder = ""
            try await fleet.eventually("one is about to change the membership") {
                for node in [nodes[0], nodes[2]]
                where try await fleet.attempt(node, "test", "-e", "/run/fleet-holds/check-quorum:before.held").status
                    == 0
                {
                    holder = node
                }
                return !holder.isEmpty
            }
            let third = holder == nodes[0] ? nodes[2] : nodes[0]
            try await fleet.exec(third, "systemctl", "stop", "etcd")
            try await fleet.release(holder, from: "check-quorum:before")
            let result = try await replacing
            #expect(result.status == 1, "\(result.output)\(result.errors)")
            for node in [nodes[1], third] { try await fleet.exec(node, "systemctl", "start", "--no-block", "etcd") }
            try await fleet.expectAll(nodes, "/state", "two")
            #expect(try await fleet.memberLines(nodes[0]) == before)
        }
    }

    /// What an earlier one left half-way, made by hand: the same command goes on from there.
    @Test func goesOnFromHalfWay() async throws {
        let kind = ["--kind", "external", "--layout", "kubespray"]
        try await LabFleet.with { fleet in
            let nodes = try await fleet.makeMembers("ha", kind)
            let node = nodes[2]
            for state in ["removed", "added"] {
                try await fleet.damage(node, kind)
                try await fleet.etcdctl(nodes[0], "put", "/state", state)
                let lines = try await fleet.memberLines(nodes[0])
                // With kubespray members have names of their own.
                let address = try await Lab.check("address", fleet.lab, node)
                let own = lines.first { $0.contains("//\(address):2380") }
                let id = try #require(own?.split(separator: ",").first.map(String.init))
                try await fleet.etcdctl(nodes[0], "member", "remove", id)
                if state == "added" {
                    try await fleet.eventually("etcd takes it in") {
                        try await fleet.etcdctl(
                            nodes[0], "member", "add", "x", "--learner", "--peer-urls=https://\(address):2380")
                        return true
                    }
                }
                let result = try await fleet.tryFleetctl("member", "replace", "ha", node, "--yes", "--wait", "60s")
                #expect(result.status == 0, "\(state): \(result.output)\(result.errors)")
                try await fleet.expectAll(nodes, "/state", state)
                try await fleet.expectThreeVoters(nodes[0])
            }
            // Stopped behind the start: it is a learner that runs.
            try await fleet.damage(node, kind)
            for other in nodes[0...1] {
                try await fleet.allowHolds(other, of: "ha", count: 3)
                try await fleet.hold(other, at: ["promote-member:before"])
            }
            async let first = fleet.tryFleetctl("member", "replace", "ha", node, "--yes", "--wait", "60s")
            var holder = ""
            try await fleet.eventually("one is about to promote it", within: .seconds(120)) {
                for other in nodes[0...1]
                where try await fleet.attempt(other, "test", "-e", "/run/fleet-holds/promote-member:before.held").status
                    == 0
                {
                    holder = other
                }
                return !holder.isEmpty
            }
            let learner = try await fleet.etcdctl(nodes[0], "member", "list").contains("true")
            #expect(learner, "it is a learner until it has caught up")
            try await fleet.release(holder, from: "promote-member:before")
            #expect(try await first.status == 0)
            try await fleet.expectThreeVoters(nodes[0])
        }
    }
}

extension LabFleet {
    /// One line a member, as etcdctl prints it, in the order of their ids.
    func memberLines(_ node: String) async throws -> [String] {
        try await etcdctl(node, "member", "list").split(separator: "\n").map(String.init).sorted()
    }

    func expectThreeVoters(_ node: String) async throws {
        let lines = try await memberLines(node)
        // "ID, started, NAME, PEERS, CLIENTS, false": the last says whether it is a learner.
        #expect(lines.count == 3 && lines.allSatisfy { $0.contains(", started,") && $0.hasSuffix("false") }, "\(lines)")
    }

    /// Cuts the database and the log of a member's data short while its etcd is off, and lets it try to start on that.
    func damage(_ node: String, _ kind: [String]) async throws {
        let data = try await dataDirectory(node)
        try await switchEtcd(node, kind, on: false)
        try await exec(
            node, "sh", "-c",
            "truncate -s 5000 \"$1/member/snap/db\" && for log in \"$1\"/member/wal/*.wal /var/lib/etcd-wal/*/*.wal; do "
                + "if [ -e \"$log\" ]; then truncate -s 100 \"$log\"; fi; done", "sh", data)
        try await switchEtcd(node, kind, on: true)
        try await Task.sleep(for: .seconds(3))
    }

    /// Does not wait until it serves.
    func switchEtcd(_ node: String, _ kind: [String], on: Bool) async throws {
        let (place, aside) = ("/etc/kubernetes/manifests/etcd.yaml", "/etc/kubernetes/etcd.yaml")
        if kind.contains("external") {
            try await exec(node, "systemctl", on ? "start" : "stop", on ? "--no-block" : "--quiet", "etcd")
        } else if on {
            try await exec(node, "mv", aside, place)
        } else {
            try await exec(node, "mv", place, aside)
            try await eventually("etcd is off on \(node)") {
                try await attempt(node, "pgrep", "-x", "etcd").status == 1
            }
        }
    }

    func restartEtcd(_ node: String, _ kind: [String]) async throws {
        try await switchEtcd(node, kind, on: false)
        try await switchEtcd(node, kind, on: true)
        try await eventually("etcd on \(node) is back") { try await value(node, "/state") != nil }
    }

    /// A replacement of this node's member, while something else happens.
    func replacing(_ node: String, _ meanwhile: () async throws -> Void) async throws -> Result {
        async let replacing = tryFleetctl("member", "replace", "ha", node, "--yes", "--wait", "60s")
        try await meanwhile()
        return try await replacing
    }
}
