internal import FleetSystem

extension FleetError.Code {
    /// ssh did not come to the host.
    static let ssh: Self = "ssh-failed"
    static let hostKey: Self = "host-key"
    static let unreachable: Self = "unreachable"
}

/// Why ssh did not come to a host, and what to do. ssh has one exit status for all of it, and its messages are in English
/// whatever the language is.
enum SSHFailure {
    /// - Parameter options: as they were given to ssh, for the lines that a person is told to try.
    static func explain(_ host: String, _ errors: [UInt8], options: [String] = []) -> FleetError {
        let text = String(decoding: errors.suffix(8000), as: UTF8.self)
        let said = NodeWords.last(errors)
        func line(_ more: [String] = []) -> String {
            (["ssh"] + (more + options).flatMap { ["-o", NodeScript.word($0)] } + [host]).joined(separator: " ")
        }
        let (ssh, unasked) = (line(), line(["BatchMode=yes"]))
        func has(_ parts: String...) -> Bool { parts.contains { text.contains($0) } }
        if has("REMOTE HOST IDENTIFICATION HAS CHANGED") {
            return FleetError(
                .hostKey,
                "\(host) has another host key than the one that is known: it may be another machine that answers",
                hint:
                    "find out why first; if the machine was made anew: \(removal(host, text)), then '\(ssh)' once, and compare the fingerprint"
            )
        }
        if has("Host key verification failed", "host key is known for") {
            return FleetError(
                .hostKey, "the host key of \(host) is not known here",
                hint:
                    "connect once by hand and compare the fingerprint: \(ssh); or have its key in ~/.ssh/known_hosts"
            )
        }
        if has("Permission denied", "Too many authentication failures") {
            return FleetError(
                .permissionDenied, "\(host) does not let this user in: \(said)",
                hint:
                    "it has to go without a question: put a key that \(host) accepts into the agent (ssh-add), or name it in ~/.ssh/config; try: \(unasked) true"
            )
        }
        if has("Could not resolve hostname") {
            return FleetError(
                .unreachable, "the name in \(host) is not known: \(said)",
                hint: "check the name, or give it a HostName in ~/.ssh/config")
        }
        if has(
            "Connection refused", "timed out", "No route to host", "Network is unreachable", "Connection closed",
            "Connection reset", "not responding", "Broken pipe")
        {
            return FleetError(
                .unreachable, "\(host) can't be reached by ssh: \(said)",
                hint:
                    "try: \(ssh) true; a port or a jump host is given in ~/.ssh/config, or with --ssh-option Port=2222",
                retryable: true)
        }
        return FleetError(
            .ssh, "ssh to \(host) failed\(said.isEmpty ? "" : ": \(said)")",
            hint: "try: \(unasked) true")
    }

    /// What makes the key unknown again: as ssh itself says it, which knows file, name and port.
    private static func removal(_ host: String, _ text: String) -> String {
        let said = text.split(whereSeparator: \.isNewline).first {
            $0.contains("ssh-keygen -f ") && $0.contains(" -R ")
        }
        guard let said else { return "ssh-keygen -R \(host.split(separator: "@").last ?? "HOST")" }
        return NodeWords.last(Array(said.drop { $0 == " " }.utf8))
    }
}
