import FleetSystem
private import Glibc

/// The unit of systemd's that this process is the main one of. An upgrade ends the agent, and a bad program ends itself: who
/// brings it back, and with it the way back, is systemd alone.
enum OwnUnit {
    /// - Throws: `refused-here` unless systemd starts this agent again, however it ended.
    static func checkRestart() throws(FleetError) {
        let name = name(cgroup: try FileSystem.readText("/proc/self/cgroup"))
        var properties: [String: String] = [:]
        if let name {
            for property in ["Restart", "MainPID"] {
                properties[property] = try Systemctl.property(property, of: name)
            }
        }
        try check(name, properties, pid: getpid())
    }

    /// The service that a control group is of: its last part, of the one hierarchy or of systemd's own among several.
    static func name(cgroup: String) -> String? {
        for line in cgroup.split(whereSeparator: \.isNewline) {
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3, parts[1].isEmpty || parts[1] == "name=systemd",
                let last = parts[2].split(separator: "/").last, last.hasSuffix(".service")
            else { continue }
            return String(last)
        }
        return nil
    }

    static func check(_ name: String?, _ properties: [String: String], pid: Int32) throws(FleetError) {
        guard let name, properties["MainPID"] == String(pid) else {
            throw FleetError(
                .refusedHere, "this agent was not started by systemd, so nothing would start the new one",
                hint: "let its unit run it: systemctl enable --now fleet-agent")
        }
        let restart = properties["Restart"] ?? ""
        guard restart == "always" else {
            throw FleetError(
                .refusedHere, "\(name) has Restart=\(restart), so nothing would start the new agent",
                hint: "give it Restart=always: systemctl edit \(name)")
        }
    }
}
