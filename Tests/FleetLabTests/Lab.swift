import FleetSystem
import Glibc
import Testing

/// Real nodes, made by ops/lab. `ops/test` says where it is and where the programs are; without that these tests are
/// not run, since they need root, minutes and a prepared lab.
enum Lab {
    static let command = variable("FLEET_LAB")
    static let programs = variable("FLEET_PROGRAMS")
    /// Where ops/package has put its packages.
    static let packages = variable("FLEET_PACKAGES")
    static var isAvailable: Bool { command != nil && programs != nil }

    /// What of a test's cases is run: the first few, since nodes take their time; all of them with FLEET_LAB_ALL set.
    static func cases<Case>(_ count: Int, of all: [Case]) -> [Case] {
        runsAll ? all : Array(all.prefix(count))
    }

    static var runsAll: Bool { variable("FLEET_LAB_ALL") != nil }

    private static func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

    /// `ops/lab` with these words. Root's own PATH is passed on, since the lab uses the machine's tools.
    static func run(_ words: [String], input: String = "", deadline: Duration = .seconds(240)) async throws
        -> Subprocess.Outcome
    {
        var environment = Subprocess.defaultEnvironment
        environment["HOME"] = "/root"
        if let state = variable("ETCD_FLEET_LAB_DIR") { environment["ETCD_FLEET_LAB_DIR"] = state }
        let (command, whole) = (Self.command!, environment)
        return try await Blocking.run {
            try Subprocess.run(
                command, words, environment: whole, input: Array(input.utf8), deadline: deadline, outputLimit: 64 << 20)
        }
    }

    @discardableResult
    static func check(_ words: String..., deadline: Duration = .seconds(240)) async throws -> String {
        let outcome = try await run(words, deadline: deadline)
        guard outcome.succeeded else {
            throw FleetError(
                .childFailed, "ops/lab \(words.joined(separator: " ")): \(outcome.complaint) \(outcome.outputText)")
        }
        return outcome.outputText.trimmed
    }
}

extension String {
    var trimmed: String {
        var text = self[...]
        while let last = text.last, last.isWhitespace { text.removeLast() }
        while let first = text.first, first.isWhitespace { text.removeFirst() }
        return String(text)
    }
}

/// A coordinator node "hub" and clusters of one member, each on a node of its own, in a lab of their own.
struct LabFleet: Sendable {
    let lab: String

    struct Result: Sendable {
        var status: Int32?
        var output: String
        var errors: String
    }

    /// Makes a lab with a running coordinator, does `body`, and takes everything down again.
    static func with(hubDisk: String? = nil, _ body: (LabFleet) async throws -> Void) async throws {
        try await withLab { fleet in
            try await fleet.startHub(disk: hubDisk)
            try await body(fleet)
        }
    }

    /// The same with no node in it yet.
    static func withLab(_ body: (LabFleet) async throws -> Void) async throws {
        await LabPlaces.shared.take()
        let ended = await withResult { try await make(body) }
        await LabPlaces.shared.giveBack()
        try ended.get()
    }

    private static func withResult(_ body: () async throws -> Void) async -> Swift.Result<Void, any Error> {
        do { return .success(try await body()) } catch { return .failure(error) }
    }

    private static func make(_ body: (LabFleet) async throws -> Void) async throws {
        let fleet = LabFleet(lab: "test-\(Randomness.token(6))")
        try await Lab.check("create", fleet.lab)
        do {
            try await body(fleet)
        } catch {
            await fleet.explain()
            _ = try? await Lab.run(["destroy", fleet.lab])
            throw error
        }
        try await Lab.check("destroy", fleet.lab)
    }

    // MARK: nodes

    private func startHub(disk: String?) async throws {
        var words = ["node", lab, "hub", "--kind", "plain"]
        if let disk { words += ["--disk", "/var/lib/fleet-coordinator=\(disk)"] }
        let made = try await Lab.run(words)
        try #require(made.succeeded, "\(made.complaint)")
        for program in ["fleet-coordinator", "fleetctl"] { try await install(program, on: "hub") }
        try await installUnit("fleet-coordinator", on: "hub")
        try await exec(
            "hub", "useradd", "--system", "--home-dir", "/var/lib/fleet-coordinator", "--shell", "/usr/sbin/nologin",
            "fleet-coordinator")
        try await exec(
            "hub", "install", "-d", "-o", "fleet-coordinator", "-g", "fleet-coordinator", "-m", "0700",
            "/var/lib/fleet-coordinator")
        try await initialise()
        try await exec("hub", "systemctl", "start", "fleet-coordinator")
    }

    func initialise() async throws {
        let address = try await Lab.check("address", lab, "hub")
        try await exec(
            "hub", "runuser", "-u", "fleet-coordinator", "--", "fleet-coordinator", "init", "--advertise",
            "\(address):7400")
    }

    /// A node with etcd, its cluster of the same name, and its agent, connected.
    func makeCluster(_ name: String, _ kind: [String]) async throws {
        let made = try await Lab.run(["node", lab, name] + kind)
        try #require(made.succeeded, "\(made.complaint)")
        try await fleetctl("cluster", "add", name)
        try await startAgent(name, of: name)
        try await waitForAgent(name)
    }

    /// A cluster of three members on nodes NAME-1 to NAME-3, each with its agent, all connected.
    func makeMembers(_ name: String, _ kind: [String]) async throws -> [String] {
        let made = try await Lab.run(["cluster", lab, name] + kind)
        try #require(made.succeeded, "\(made.complaint)")
        try await fleetctl("cluster", "add", name)
        let nodes = (1...3).map { "\(name)-\($0)" }
        for node in nodes { try await startAgent(node, of: name) }
        try await waitForAgent(name, count: 3)
        return nodes
    }

    func startAgent(_ node: String, of cluster: String) async throws {
        try await install("fleet-agent", on: node)
        try await installUnit("fleet-agent", on: node)
        try await enroll(node, of: cluster)
    }

    func enroll(_ node: String, of cluster: String) async throws {
        let token = try await fleetctl("agent", "token", cluster).output.trimmed
        let enrolled = try await Lab.run(["exec", lab, node, "--", "fleet-agent", "enroll", "-"], input: token + "\n")
        try #require(enrolled.succeeded, "\(enrolled.complaint)")
        try await exec(node, "systemctl", "enable", "--quiet", "--now", "fleet-agent")
    }

    /// All of a cluster's agents are connected and know their etcd.
    func waitForAgent(_ cluster: String, count: Int = 1) async throws {
        try await eventually("the agents of \(cluster) are connected") {
            let list = try await fleetctl("agent", "list", cluster, "-o", "json").output
            let connected = list.ranges(of: #""connected" : true"#).count
            return connected == count && list.ranges(of: #""peerURLs" : ["#).count == count
        }
    }

    private func install(_ program: String, on node: String) async throws {
        try await Lab.check(
            "push", lab, node, "\(Lab.programs!)/\(program)", "/usr/local/bin/\(program)", "--mode", "0755")
    }

    /// From what ops/package has made.
    ///
    /// - Returns: what dpkg prints.
    @discardableResult
    func installPackage(_ name: String, on node: String) async throws -> String {
        let files = try FileSystem.list(Lab.packages!).filter { $0.hasPrefix("\(name)_") && $0.hasSuffix(".deb") }
        let file = try #require(files.first, "ops/package makes them")
        try await Lab.check("push", lab, node, "\(Lab.packages!)/\(file)", "/root/\(file)")
        return try await exec(node, "dpkg", "--install", "/root/\(file)")
    }

    private func installUnit(_ name: String, on node: String) async throws {
        let units = FileSystem.parent(of: Lab.command!) + "/systemd"
        try await Lab.check(
            "push", lab, node, "\(units)/\(name).service", "/etc/systemd/system/\(name).service", "--mode", "0644")
    }

    // MARK: commands

    /// On a node; an exit status other than 0 is an error.
    @discardableResult
    func exec(_ node: String, _ words: String...) async throws -> String {
        let outcome = try await Lab.run(["exec", lab, node, "--"] + words)
        guard outcome.succeeded else {
            throw FleetError(
                .childFailed,
                "\(node)# \(words.joined(separator: " ")): status \(outcome.status ?? -1): \(outcome.complaint) \(outcome.outputText)"
            )
        }
        return outcome.outputText
    }

    /// On a node, with whatever exit status it has.
    func attempt(_ node: String, _ words: String...) async throws -> Result { try await attempt(node, words) }

    private func attempt(_ node: String, _ words: [String]) async throws -> Result {
        let outcome = try await Lab.run(["exec", lab, node, "--"] + words)
        return Result(
            status: outcome.status, output: outcome.outputText, errors: String(decoding: outcome.errors, as: UTF8.self))
    }

    /// `fleetctl` on the hub; an exit status other than 0 is an error.
    @discardableResult
    func fleetctl(_ words: String...) async throws -> Result {
        let result = try await attempt("hub", ["fleetctl"] + words)
        guard result.status == 0 else {
            throw FleetError(
                .childFailed,
                "fleetctl \(words.joined(separator: " ")): status \(result.status ?? -1): \(result.errors) \(result.output)"
            )
        }
        return result
    }

    func tryFleetctl(_ words: String...) async throws -> Result { try await attempt("hub", ["fleetctl"] + words) }

    @discardableResult
    func etcdctl(_ node: String, _ words: String...) async throws -> String {
        let outcome = try await Lab.run(["etcdctl", lab, node, "--"] + words)
        guard outcome.succeeded else {
            throw FleetError(.childFailed, "etcdctl \(words.joined(separator: " ")) on \(node): \(outcome.complaint)")
        }
        return outcome.outputText
    }

    /// The value of a key, nil without it.
    func value(_ node: String, _ key: String) async throws -> String? {
        let text = try await etcdctl(node, "get", "--print-value-only", key).trimmed
        return text.isEmpty ? nil : text
    }

    /// In how many lines of its log the agent has said so.
    func agentSays(_ node: String, _ words: String) async throws -> Int {
        let journal = try await exec(node, "journalctl", "-u", "fleet-agent", "-o", "cat", "--no-pager")
        return journal.split(separator: "\n").count { $0.contains(words) }
    }

    // MARK: waiting

    /// Asks twice a second until it is so; every wait has an end.
    func eventually(_ what: String, within limit: Duration = .seconds(60), _ condition: () async throws -> Bool)
        async throws
    {
        let deadline = ContinuousClock.now + limit
        var last: (any Error)?
        while ContinuousClock.now < deadline {
            do { if try await condition() { return } } catch { last = error }
            try await Task.sleep(for: .milliseconds(500))
        }
        throw FleetError(.timedOut, "not so within \(Int(limit.seconds)) s: \(what)\(last.map { "; \($0)" } ?? "")")
    }

    /// What the logs say, when a test fails.
    private func explain() async {
        for node in ["hub"]
            + ((try? await Lab.check("ls", lab)) ?? "").split(separator: "\n").compactMap({
                $0.split(separator: " ").first.map(String.init)
            })
        {
            guard
                let journal = try? await attempt(
                    node,
                    [
                        "journalctl", "--no-pager", "-o", "cat", "-n", "40", "-u", "fleet-*", "-u", "etcd", "-u",
                        "kubelet",
                    ]),
                journal.status == 0
            else { continue }
            print("---- journal of \(node)\n\(journal.output)")
        }
    }
}
