internal import FleetCrypto
internal import FleetSystem

/// One host by the system's own ssh, with all that the user has set for it: configuration, agent, known hosts, jump hosts.
/// It asks nothing, so that nothing hangs, and whether a host is the right one is left to ssh alone.
struct SecureShell: Sendable {
    let host: String
    /// As behind ssh's own -o.
    let options: [String]
    private let program: String
    let environment: [String: String]

    /// - Throws: `usage` for what is no host, `not-found` without ssh.
    init(host: String, options: [String]) throws(FleetError) {
        guard !host.isEmpty, !host.hasPrefix("-"), host.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else {
            throw FleetError(
                .usage, "\(host.debugDescription) is no host",
                hint: "name it as ssh does: root@HOST, or a name from ~/.ssh/config")
        }
        var environment: [String: String] = [:]
        // The user's own, whole: a ProxyCommand may need any of it.
        for entry in try FileSystem.read("/proc/self/environ").split(separator: 0) {
            let parts = entry.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count == 2 {
                environment[String(decoding: parts[0], as: UTF8.self)] = String(decoding: parts[1], as: UTF8.self)
            }
        }
        // BatchMode is not handed on to a jump host's ssh, and this is.
        environment["SSH_ASKPASS"] = "/bin/false"
        environment["SSH_ASKPASS_REQUIRE"] = "force"
        let places = (environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin").split(separator: ":")
        guard let program = places.map({ "\($0)/ssh" }).first(where: FileSystem.exists) else {
            throw FleetError(
                .notFound, "there is no ssh on this machine", hint: "install it: apt-get install openssh-client")
        }
        (self.host, self.options, self.program, self.environment) = (host, options, program, environment)
    }

    /// What ssh is called with, before the command.
    var arguments: [String] {
        // Of several values of an option, ssh takes the first one.
        ["-T", "-o", "BatchMode=yes"] + options.flatMap { ["-o", $0] }
            + [
                "-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=6", "-o",
                "ForwardAgent=no", "-o", "ForwardX11=no", "--", host,
            ]
    }

    /// `script` as root, with `input` as its standard input.
    ///
    /// - Throws: what kept ssh from it, see `SSHFailure`; `permission-denied`, `timed-out`. Another exit status than 0 is none.
    func run(_ script: String, input: [UInt8] = [], deadline: Duration = .seconds(60)) async throws(FleetError)
        -> Subprocess.Outcome
    {
        let words = arguments + [NodeScript.asRoot(script)]
        let (program, environment) = (self.program, self.environment)
        let outcome: Subprocess.Outcome
        do throws(FleetError) {
            outcome = try await onDisk { () throws(FleetError) in
                try Subprocess.run(program, words, environment: environment, input: input, deadline: deadline)
            }
        } catch {
            guard error.code == .timedOut else { throw error.during("ssh to \(host)") }
            throw FleetError(
                .timedOut, "what was begun on \(host) did not end within \(Int(deadline.seconds)) s",
                hint: "the node or the way to it is slow; run the same again, which goes on from where it is",
                retryable: true)
        }
        if outcome.status == 255 || outcome.status == nil {
            throw SSHFailure.explain(host, outcome.errors, options: options)
        }
        if outcome.status == NodeScript.noRights {
            let said = NodeWords.last(outcome.errors, lines: 1)
            throw FleetError(
                .permissionDenied,
                "who comes to \(host) by ssh is not root, and may not become it without a password\(said.isEmpty ? "" : ": \(said)")",
                hint: "come as root (--ssh root@HOST), or let that user run sudo there without one (NOPASSWD)")
        }
        return outcome
    }

    /// The same, where another status than 0 is an error with the last that was said.
    ///
    /// - Parameter libraryHint: instead of `hint`, where that names a library.
    func check(
        _ act: String, _ script: String, input: [UInt8] = [], deadline: Duration = .seconds(60), hint: String? = nil,
        libraryHint: String? = nil
    ) async throws(FleetError) {
        let outcome = try await run(script, input: input, deadline: deadline)
        guard outcome.succeeded else {
            let namesOne = ["libyaml", "libssl", "libcrypto", ".so."].contains { outcome.complaint.contains($0) }
            throw Self.failure(act, outcome, namesOne ? libraryHint ?? hint : hint)
        }
    }

    static func failure(_ act: String, _ outcome: Subprocess.Outcome, _ hint: String?) -> FleetError {
        let said = NodeWords.last(outcome.errors)
        return FleetError(
            .childFailed, "\(act) failed with exit status \(outcome.status ?? -1)\(said.isEmpty ? "" : ": \(said)")",
            hint: hint)
    }

    /// What the node is, read by one script that changes nothing.
    func look(packageHead: [UInt8]? = nil) async throws(FleetError) -> NodeLook {
        let marker = SecureRandom.bytes(16).hex
        let script = NodeScript.look(marker, packageHead: packageHead)
        let outcome = try await run(NodeScript.fromInput, input: Array(script.utf8))
        do throws(FleetError) { return try NodeLook(outcome.outputText, marker: marker) } catch {
            var error = error
            let said = NodeWords.last(outcome.errors)
            if !said.isEmpty { error.message += ": \(said)" }
            error.hint = error.hint?.replacing("HOST", with: host)
            throw error
        }
    }
}

/// What a program on a node has said, for an error's text.
enum NodeWords {
    /// The last lines on one, bounded and without control characters.
    static func last(_ bytes: [UInt8], lines: Int = 3) -> String {
        let text = String(decoding: bytes.suffix(2000), as: UTF8.self)
        let kept = text.split(whereSeparator: \.isNewline).suffix(lines).map { line in
            String(
                String.UnicodeScalarView(
                    line.unicodeScalars.filter { $0.value >= 0x20 && !(0x7f..<0xa0).contains($0.value) }
                ).prefix(400))
        }
        return kept.joined(separator: "; ")
    }

    /// An error as the fleet's own programs print it: a line of each, "error: " and "hint: ". nil: it is none.
    static func error(_ bytes: [UInt8], _ code: FleetError.Code) -> FleetError? {
        let lines = String(decoding: bytes.suffix(4000), as: UTF8.self).split(whereSeparator: \.isNewline)
        func line(_ beginning: String) -> String? {
            lines.last { $0.hasPrefix(beginning) }.map { last(Array($0.dropFirst(beginning.count).utf8)) }
        }
        return line("error: ").map { FleetError(code, $0, hint: line("hint: ")) }
    }
}
