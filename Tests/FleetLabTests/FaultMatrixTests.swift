import FleetSystem
import Glibc
import Synchronization
import Testing

/// Restores of a cluster of three on real nodes, each with one fault: afterwards all members serve the restored data or
/// all the old, `fleetctl` says which, and nothing was deleted. `ops/faults` runs every cell and prints the table; here,
/// every `FLEET_FAULTS_EVERY`th of them is run, of those whose description has `FLEET_FAULTS_ONLY` in it. The grounds'
/// clusters have nothing to do with each other, so they are up side by side.
@Suite(.enabled(if: Lab.isAvailable), .timeLimit(.minutes(120)))
struct FaultMatrixTests {
    private static let stride = getenv("FLEET_FAULTS_EVERY").flatMap { Int(String(cString: $0)) } ?? 24
    private static let only = getenv("FLEET_FAULTS_ONLY").map { String(cString: $0) } ?? ""
    private static let wait = 20

    @Test(arguments: FaultCell.Ground.all)
    func everyCellEndsOneWayOrTheOther(on ground: FaultCell.Ground) async throws {
        let wanted = FaultCell.all.filter { Self.only.isEmpty || $0.description.contains(Self.only) }
        try #require(!wanted.isEmpty, "no cell has '\(Self.only)' in its description")
        let sampled = Swift.stride(from: 0, to: wanted.count, by: max(1, Self.stride)).map { wanted[$0] }
        let cells = sampled.filter { $0.ground == ground }
        guard !cells.isEmpty else { return }
        var rows = [row("FAULT", "AT", "ON", "OUTCOME", "DOWN", "WHOLE")]
        defer {
            print(
                """

                \(ground): \(rows.count - 1) of \(FaultCell.all.count { $0.ground == ground }) cells
                \(rows.joined(separator: "\n"))
                """)
        }
        try await LabFleet.with(hubDisk: "200M") { fleet in
            let nodes = try await fleet.saved("ha", ground.layout + ["--disk", "/var/lib/fleet-agent=256M"])
            for node in nodes { try await fleet.allowHolds(node, of: "ha", count: 3) }
            let matrix = FaultMatrix(
                fleet: fleet, nodes: nodes, snapshot: try await fleet.latestSnapshot("ha"), wait: Self.wait,
                ground: ground)
            // One cluster goes through all of them.
            for cell in cells {
                do {
                    let outcome = try await matrix.run(cell)
                    rows.append(
                        row(
                            cell.fault.rawValue, cell.point, cell.role.rawValue, outcome.verdict,
                            "\(outcome.downSeconds) s", "\(outcome.wholeSeconds) s"))
                } catch {
                    rows.append(row(cell.fault.rawValue, cell.point, cell.role.rawValue, "BROKEN: \(error)", "", ""))
                    throw error
                }
            }
            #expect(try await fleet.fleetctl("audit", "verify").output.contains("the chain holds"))
        }
    }

    private func row(_ words: String...) -> String {
        zip(words, [34, 23, 10, 12, 8, 8]).map { word, width in
            word + String(repeating: " ", count: max(1, width - word.count))
        }.joined().trimmed
    }
}

/// A cluster that goes through one cell after the other.
private struct FaultMatrix {
    let fleet: LabFleet
    let nodes: [String]
    let snapshot: String
    /// Seconds that each wait of the restore may take.
    let wait: Int
    let ground: FaultCell.Ground

    /// While it is there, the stand-in kubelet sees no change within a file.
    private static let deafness = "/run/kubelet-misses-changes"

    /// Of the beginning and those that restores have made, as the shell expands it.
    private var directoryPattern: String { "\(ground.data) \(ground.data)-restore-*" }

    struct Outcome {
        var verdict: String
        var downSeconds: Double
        var wholeSeconds: Int
    }

    func run(_ cell: FaultCell) async throws -> Outcome {
        let old = "old \(Randomness.token(6))"
        try await fleet.waitForAgent("ha", count: 3)
        try await fleet.eventually("the cluster takes writes") {
            try await fleet.etcdctl("ha", "put", "/state", old)
            return true
        }
        let node = try await member(cell.role)
        let before = try await directories()
        var inForce: [String: String] = [:]
        for node in nodes { inForce[node] = try await fleet.dataDirectory(node) }
        let files = try await keptFiles()
        try await prepare(cell, node)
        try await fleet.hold(node, at: [cell.point])
        let started = ContinuousClock.now
        let watch = DownTime(fleet)
        defer { watch.stop() }
        async let down = watch.measure()
        async let restoring = fleet.tryFleetctl("restore", "ha", "--at", snapshot, "--yes", "--wait", "\(wait)s")
        try await fleet.held(node, at: cell.point)
        try await strike(cell, node)
        let result = try await restoring
        try await heal(cell, node)
        let whole = Int((ContinuousClock.now - started).seconds)

        let isRestored = result.status == 0
        #expect(
            [0, 1, 4].contains(result.status),
            "\(cell): status \(result.status ?? -1): \(result.output)\(result.errors)")
        if cell.expected != .either {
            #expect(isRestored == (cell.expected == .restored), "\(cell): \(result.output)\(result.errors)")
        }
        try await fleet.expectAll(nodes, "/state", isRestored ? "saved" : old)
        watch.stop()
        let seconds = await down
        let after = try await directories()
        for (name, kept) in before {
            #expect(after[name]?.isSuperset(of: kept) == true, "\(cell): nothing is deleted on \(name)")
        }
        let filesAfter = try await keptFiles()
        for node in nodes {
            let (old, now) = (inForce[node]!, filesAfter[node]!.files)
            #expect(!files[node]!.below(old).isEmpty, "\(cell): \(node) has data in \(old)")
            for (path, file) in files[node]!.files {
                #expect(now[path]?.inode == file.inode, "\(cell): \(path) on \(node) is still the same file")
            }
            // Its etcd has written there until it was stopped. The files are switched behind that, and from then on nobody does.
            guard isRestored else { continue }
            let touched = try await fleet.exec(node, "find", "\(old)/member", "-newer", ground.file)
            #expect(touched.isEmpty, "\(cell): the old data on \(node) was touched: \(touched)")
            for other in before[node]!.subtracting([old]) {
                #expect(
                    filesAfter[node]!.below(other) == files[node]!.below(other),
                    "\(cell): \(other) on \(node) has nothing to do with it")
            }
        }
        try await removeOld()
        return Outcome(
            verdict: isRestored ? "restored" : result.status == 4 ? "rolled back" : "not begun", downSeconds: seconds,
            wholeSeconds: whole)
    }

    // MARK: the faults

    private func prepare(_ cell: FaultCell, _ node: String) async throws {
        if cell.fault == .kubeletDeaf { try await fleet.exec(node, "touch", Self.deafness) }
        guard cell.fault == .startRefused else { return }
        try await fleet.exec(node, "mkdir", "-p", "/etc/systemd/system/etcd.service.d")
        // The directory that is in force now may be a restored one itself.
        try await fleet.exec(
            node, "sh", "-c",
            "grep ^ETCD_DATA_DIR= $1 >/etc/etcd.now; printf '[Service]\\nExecStartPre=/bin/grep -qxFf /etc/etcd.now %s\\n' $1 >/etc/systemd/system/etcd.service.d/refuse.conf",
            "sh", ground.file)
        try await fleet.exec(node, "systemctl", "daemon-reload")
    }

    private func strike(_ cell: FaultCell, _ node: String) async throws {
        func release() async throws { try await fleet.release(node, from: cell.point) }
        switch cell.fault {
        case .agentKilled:
            try await fleet.exec(node, "systemctl", "kill", "-s", "KILL", "fleet-agent")
            try await release()
        case .coordinatorKilled:
            try await fleet.killCoordinator()
            try await release()
        case .etcdKilled:
            try await fleet.exec(node, "pkill", "-KILL", "-x", "etcd")
            try await release()
        case .cableShort:
            try await fleet.pullCable(node)
            try await release()
            try await Task.sleep(for: .seconds(5))
            try await fleet.plugCable(node)
        case .cableLong:
            try await fleet.pullCable(node)
            try await release()
            try await outlastTheDeadline()
            try await fleet.plugCable(node)
        case .powerCut:
            try await Lab.check("power-off", fleet.lab, node)
            try await Lab.check("boot", fleet.lab, node, "--no-wait")
        case .agentDiskFull:
            try await fill(node, "/var/lib/fleet-agent")
            try await release()
            try await Task.sleep(for: .seconds(8))
            try await fleet.exec(node, "rm", "-f", "/var/lib/fleet-agent/filler")
        case .coordinatorDiskFull:
            try await fill("hub", "/var/lib/fleet-coordinator")
            try await release()
            try await Task.sleep(for: .seconds(8))
            try await fleet.exec("hub", "rm", "-f", "/var/lib/fleet-coordinator/filler")
        case .downloadFlipped:
            try await fleet.exec(
                node, "sh", "-c",
                "for f in /var/lib/fleet-agent/spool/*/snapshot.db; do printf X | dd of=\"$f\" bs=1 seek=9000 conv=notrunc status=none; done"
            )
            try await release()
        case .configurationEdited:
            try await fleet.exec(node, "sh", "-c", "echo '# somebody was here' >>\(ground.file)")
            try await release()
        case .startRefused, .kubeletDeaf: try await release()
        case .kubeletStopped:
            try await fleet.exec(node, "systemctl", "stop", "kubelet")
            try await release()
            try await outlastTheDeadline()
            try await fleet.exec(node, "systemctl", "start", "kubelet")
        case .newDirectoryFull:
            try await fill(node, FileSystem.parent(of: ground.data))
            try await release()
            try await Task.sleep(for: .seconds(8))
            try await fleet.exec(node, "rm", "-f", "\(FileSystem.parent(of: ground.data))/filler")
        case .certificateExpired:
            try await Lab.check("certificate", fleet.lab, node, "expired")
            try await release()
        case .clockAhead:
            try await restartAgent(node, clock: "ahead")
            try await release()
        case .clockBehind:
            try await restartAgent(node, clock: "behind")
            try await release()
            try await outlastTheDeadline()
            try await restartAgent(node, clock: "right")
        }
    }

    /// Killed, and up again with this clock two seconds later; that it has this clock is seen.
    private func restartAgent(_ node: String, clock: String) async throws {
        try await Lab.check("clock", fleet.lab, node, "fleet-agent", clock)
        let before = try await fleet.exec(node, "systemctl", "show", "-P", "MainPID", "fleet-agent").trimmed
        try await fleet.exec(node, "systemctl", "kill", "-s", "KILL", "fleet-agent")
        try await fleet.eventually("the agent on \(node) has the clock that is \(clock)") {
            let now = try await fleet.exec(node, "systemctl", "show", "-P", "MainPID", "fleet-agent").trimmed
            let isLoaded = (try? await fleet.exec(node, "grep", "-q", "wrong-clock", "/proc/\(now)/maps")) != nil
            return now != before && now != "0" && isLoaded == (clock != "right")
        }
    }

    /// Until all others are told to go back. The first phase has an hour, and behind the commit nobody is recalled: there
    /// some while is enough.
    private func outlastTheDeadline() async throws {
        let started = ContinuousClock.now
        while true {
            try await Task.sleep(for: .seconds(1))
            let jobs = try await fleet.fleetctl("job", "list", "ha", "--limit", "1", "-o", "json").output
            if jobs.contains("\"recall\"") { return }
            // To stop is the phase that has most time.
            let enough = jobs.contains("\"commit\"") || jobs.contains("\"prepare\"") ? 3 * wait : 9 * wait
            if ContinuousClock.now - started > .seconds(enough) { return }
        }
    }

    private func fill(_ node: String, _ directory: String) async throws {
        // dd ends with an error when there is no more room; that is what is wanted.
        try await fleet.exec(
            node, "sh", "-c", "dd if=/dev/zero of=\(directory)/filler bs=64k status=none 2>/dev/null; true")
    }

    private func heal(_ cell: FaultCell, _ node: String) async throws {
        switch cell.fault {
        case .startRefused:
            try await fleet.exec(node, "rm", "-r", "/etc/systemd/system/etcd.service.d")
            try await fleet.exec(node, "systemctl", "daemon-reload")
        case .kubeletDeaf: try await fleet.exec(node, "rm", Self.deafness)
        case .powerCut: try await fleet.exec(node, "mkdir", "-p", "/run/fleet-holds")
        case .certificateExpired: try await Lab.check("certificate", fleet.lab, node, "right")
        case .clockAhead: try await restartAgent(node, clock: "right")
        default: break
        }
    }

    // MARK: the cluster

    private func member(_ role: FaultCell.Role) async throws -> String {
        var leader = ""
        for node in nodes {
            let status = try await fleet.etcdctl(node, "endpoint", "status", "-w", "simple")
            if status.split(separator: ",").dropFirst(4).first?.contains("true") == true { leader = node }
        }
        try #require(!leader.isEmpty, "the cluster has a leader")
        return role == .leader ? leader : nodes.first { $0 != leader }!
    }

    private func directories() async throws -> [String: Set<String>] {
        var found: [String: Set<String>] = [:]
        for node in nodes {
            let names = try await fleet.exec(node, "sh", "-c", "ls -d \(directoryPattern); true")
            found[node] = Set(names.split(separator: "\n").map(String.init))
        }
        return found
    }

    private func keptFiles() async throws -> [String: KeptFiles] {
        var found: [String: KeptFiles] = [:]
        for node in nodes { found[node] = try await fleet.keptFiles(node, directoryPattern) }
        return found
    }

    /// Each is 130 MB: only what is in force and the first one stay for the next cell.
    private func removeOld() async throws {
        for node in nodes {
            let now = try await fleet.dataDirectory(node)
            try await fleet.exec(
                node, "sh", "-c",
                "for d in \(ground.data)-restore-*; do [ \"$d\" = \"$1\" ] || rm -rf \"$d\"; done", "sh", now)
        }
    }
}

/// The longest time during which the cluster answered no linearizable read.
private final class DownTime: Sendable {
    private let fleet: LabFleet
    private let isOver = Mutex(false)

    init(_ fleet: LabFleet) { self.fleet = fleet }

    func stop() { isOver.withLock { $0 = true } }

    /// Until `stop`; to half a second, since each question is a program that is started.
    func measure() async -> Double {
        var (last, longest) = (ContinuousClock.now, 0.0)
        let limit = last + .seconds(900)
        while !isOver.withLock({ $0 }), ContinuousClock.now < limit {
            if (try? await fleet.etcdctl("ha", "get", "/state", "--command-timeout=1s")) != nil {
                longest = max(longest, (ContinuousClock.now - last).seconds)
                last = .now
            }
            try? await Task.sleep(for: .milliseconds(100))
        }
        return (longest * 10).rounded() / 10
    }
}
