internal import FleetSystem

/// Whether the agent, which is root, may execute what a process brings along: its binary, the tools beside it. Anybody
/// may call a process etcd and give it any command line, so a name proves nothing.
enum ProcessTrust {
    /// - Parameter dataDir: the node's own, on the host. Who has the database in it open was let in by who owns it.
    static func holds(_ pid: Int32, dataDir: String?) -> Bool {
        if isRoot(pid) { return true }
        return dataDir.map { hasOpen(pid, $0 + "/member/snap/db") } ?? false
    }

    /// Runs as this machine's root, whoever started it, and what it runs is root's.
    private static func isRoot(_ pid: Int32) -> Bool {
        guard let status = try? FileSystem.readText("/proc/\(pid)/status"),
            let users = status.split(separator: "\n").first(where: { $0.hasPrefix("Uid:") }),
            let executable = try? FileSystem.status("/proc/\(pid)/exe")
        else { return false }
        // Real, effective, saved and of the file system (proc(5)): a program with the setuid bit has another real one.
        return users.split(whereSeparator: \.isWhitespace).dropFirst().allSatisfy { $0 == "0" }
            && executable.owner == 0 && executable.mode & 0o002 == 0
    }

    /// By what is open, not by what it is called: names in a process's own view can lead anywhere.
    private static func hasOpen(_ pid: Int32, _ file: String) -> Bool {
        guard let wanted = try? FileSystem.status(file) else { return false }
        let directory = "/proc/\(pid)/fd"
        return ((try? FileSystem.list(directory)) ?? []).contains { name in
            guard let open = try? FileSystem.status("\(directory)/\(name)") else { return false }
            return (open.device, open.inode) == (wanted.device, wanted.inode)
        }
    }
}
