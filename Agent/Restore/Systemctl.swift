internal import FleetSystem

/// systemd's own tool, from wherever the host has it.
enum Systemctl {
    static func run(_ arguments: [String], seconds: Int) throws(FleetError) {
        let path = ["/usr/bin/systemctl", "/bin/systemctl"].first(where: FileSystem.exists)
        guard let path else {
            throw FleetError(.notFound, "this host has no systemctl", hint: "run the agent on the host itself")
        }
        _ = try Subprocess.check(
            path, ["--no-ask-password"] + arguments, deadline: .seconds(seconds),
            hint: "see journalctl -u \(arguments.last ?? "")")
    }
}
