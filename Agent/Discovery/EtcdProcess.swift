internal import FleetSystem

/// A running etcd as /proc shows it.
struct EtcdProcess: Sendable, Equatable {
    var pid: Int32
    /// Clock ticks from the boot to its start: with `pid` it names one process for ever.
    var startTime: UInt64
    var arguments: [String]
    var environment: [String: String]
    /// Paths of its control groups, of every hierarchy.
    var controlGroups: [String]
    /// It sees the same process ids as the agent, so it is not in a container of its own.
    var sharesNamespace: Bool
    /// The data directory that it has its database open in, as it sees it; nil before it has.
    var openDataDir: String?

    func belongs(to unit: String) -> Bool {
        sharesNamespace && controlGroups.contains { Self.isGroup($0, of: unit) }
    }

    /// systemd puts a unit into its slices ("/system.slice/etcd.service"), below a group of the whole machine where that
    /// is a container. Below user@UID.service everybody makes groups as they like, whatever they are called.
    private static func isGroup(_ path: String, of unit: String) -> Bool {
        let parts = path.split(separator: "/")
        guard let end = parts.firstIndex(of: Substring(unit)) else { return false }
        let above = parts[..<end]
        let slices = above.reversed().prefix { $0.hasSuffix(".slice") }
        guard let outermost = slices.last, !above.contains(where: { $0.hasPrefix("user@") }) else { return false }
        return outermost == "system.slice" || slices.count == above.count && outermost != "user.slice"
    }
}

/// The process table, read from /proc: no tool, no cache.
enum ProcessTable {
    /// Every running etcd: what is executed, or what it was started as, has that name.
    static func etcds() throws(FleetError) -> [EtcdProcess] {
        let own = try? FileSystem.readLink("/proc/self/ns/pid")
        var result: [EtcdProcess] = []
        for name in try FileSystem.list("/proc") {
            guard let pid = Int32(name), let arguments = commandLine(pid), let first = arguments.first else { continue }
            let executable = executable(pid) ?? first
            guard FileSystem.name(of: executable) == "etcd" || FileSystem.name(of: first) == "etcd" else { continue }
            // It may end while it is looked at; then there is nothing to report.
            guard let start = startTime(pid), let environment = environment(pid) else { continue }
            let openDataDir = openDataDir(pid)
            guard openDataDir != nil || !onlyTells(arguments) else { continue }
            result.append(
                EtcdProcess(
                    pid: pid, startTime: start, arguments: arguments, environment: environment,
                    controlGroups: controlGroups(pid),
                    sharesNamespace: own != nil && (try? FileSystem.readLink("/proc/\(pid)/ns/pid")) == own,
                    openDataDir: openDataDir))
        }
        return result.sorted { $0.pid < $1.pid }
    }

    /// It says what it is and ends, whatever else is on the line: the agent asks so itself.
    private static func onlyTells(_ arguments: [String]) -> Bool {
        arguments.dropFirst().contains { ["-version", "--version", "-help", "--help", "-h", "--h"].contains($0) }
    }

    /// The command line of every process, for waiting until some are gone.
    static func all() throws(FleetError) -> [(pid: Int32, arguments: [String])] {
        try FileSystem.list("/proc").compactMap { name in
            guard let pid = Int32(name), let arguments = commandLine(pid), !arguments.isEmpty else { return nil }
            return (pid, arguments)
        }
    }

    /// Field 22 of /proc/PID/stat (proc(5)), in clock ticks since the boot; nil for a process that has ended, a zombie
    /// included.
    static func startTime(_ pid: Int32) -> UInt64? {
        guard let text = try? FileSystem.readText("/proc/\(pid)/stat"), let name = text.lastIndex(of: ")") else {
            return nil
        }
        // After the name, which may hold blanks and brackets, comes field 3, the state.
        let fields = text[text.index(after: name)...].split(separator: " ")
        guard fields.count > 19, fields[0] != "Z", fields[0] != "X" else { return nil }
        return UInt64(fields[19])
    }

    private static func commandLine(_ pid: Int32) -> [String]? {
        guard let bytes = try? FileSystem.read("/proc/\(pid)/cmdline") else { return nil }
        return bytes.split(separator: 0, omittingEmptySubsequences: false).dropLast().map {
            String(decoding: $0, as: UTF8.self)
        }
    }

    private static func executable(_ pid: Int32) -> String? {
        guard let path = try? FileSystem.readLink("/proc/\(pid)/exe") else { return nil }
        let deleted = " (deleted)"
        return path.hasSuffix(deleted) ? String(path.dropLast(deleted.count)) : path
    }

    private static func environment(_ pid: Int32) -> [String: String]? {
        guard let bytes = try? FileSystem.read("/proc/\(pid)/environ") else { return nil }
        var result: [String: String] = [:]
        for entry in bytes.split(separator: 0) {
            guard let equals = entry.firstIndex(of: UInt8(ascii: "=")) else { continue }
            result[String(decoding: entry[..<equals], as: UTF8.self)] = String(
                decoding: entry[(equals + 1)...], as: UTF8.self)
        }
        return result
    }

    private static func controlGroups(_ pid: Int32) -> [String] {
        ((try? FileSystem.readText("/proc/\(pid)/cgroup")) ?? "").split(separator: "\n").compactMap {
            $0.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false).dropFirst(2).first.map(String.init)
        }
    }

    /// etcd keeps DATADIR/member/snap/db open from its start to its end.
    private static func openDataDir(_ pid: Int32) -> String? {
        let directory = "/proc/\(pid)/fd"
        for name in (try? FileSystem.list(directory)) ?? [] {
            guard let target = try? FileSystem.readLink("\(directory)/\(name)") else { continue }
            if target.hasSuffix("/member/snap/db") { return String(target.dropLast("/member/snap/db".count)) }
        }
        return nil
    }
}
