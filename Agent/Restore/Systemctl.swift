internal import FleetSystem

/// systemd's own tool, from wherever the host has it.
enum Systemctl {
    /// Whether a unit runs or systemd will start it by itself: one in a loop of crashes is, one that was stopped, or has
    /// failed too often, is not.
    static func isActive(_ unit: String) throws(FleetError) -> Bool {
        let state = try property("ActiveState", of: unit)
        return state != "inactive" && state != "failed"
    }

    static func property(_ name: String, of unit: String) throws(FleetError) -> String {
        let text = try run(["show", "--property=\(name)", unit], seconds: 20).outputText
        guard let line = text.split(whereSeparator: \.isNewline).first(where: { $0.hasPrefix(name + "=") }) else {
            throw FleetError(.malformed, "systemctl show tells no \(name) of \(unit)")
        }
        return String(line.dropFirst(name.count + 1))
    }

    @discardableResult
    static func run(_ arguments: [String], seconds: Int) throws(FleetError) -> Subprocess.Outcome {
        let path = ["/usr/bin/systemctl", "/bin/systemctl"].first(where: FileSystem.exists)
        guard let path else {
            throw FleetError(.notFound, "this host has no systemctl", hint: "run the agent on the host itself")
        }
        return try Subprocess.check(
            path, ["--no-ask-password"] + arguments, deadline: .seconds(seconds),
            hint: "see journalctl -u \(arguments.last ?? "")")
    }
}
