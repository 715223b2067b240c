internal import FleetCommandLine
internal import FleetSystem

/// How the programs of a drill are held down: the host may be a control plane, and has other work. Memory and processor
/// are limited by a scope of systemd's, which is the one that may make groups on a host that it runs; priorities need
/// nobody's leave.
struct Confinement: Sendable, Equatable {
    /// Ends what it starts when the agent ends, however that happens.
    var setpriv: String?
    /// nil: there can be no scope, `obstacle` says why.
    var systemdRun: String?
    var nice: String?
    var ionice: String?
    var unit: String
    var memoryBytes: Int64
    var cpuPercent: Int
    var obstacle: String?

    /// Looks what this host has, and tries it. Blocks.
    static func find(job: String, memoryBytes: Int64, cpuPercent: Int) throws(FleetError) -> Confinement {
        func program(_ name: String) -> String? {
            ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map { "\($0)/\(name)" }.first(where: FileSystem.exists)
        }
        var found = Confinement(
            setpriv: program("setpriv"), systemdRun: program("systemd-run"), nice: program("nice"),
            ionice: program("ionice"), unit: "fleet-drill-\(job)", memoryBytes: memoryBytes, cpuPercent: cpuPercent)
        // sd_booted(3): "checks whether the directory /run/systemd/system/ exists".
        guard found.systemdRun != nil, FileSystem.exists("/run/systemd/system") else {
            found.systemdRun = nil
            found.obstacle = "systemd does not run this host"
            return found
        }
        let words = found.prefix("probe") + [program("true") ?? "/bin/true"]
        let outcome = try Subprocess.run(words[0], Array(words.dropFirst()), deadline: .seconds(20))
        if !outcome.succeeded {
            found.systemdRun = nil
            found.obstacle = "systemd-run failed: \(outcome.complaint)"
        }
        return found
    }

    /// What comes before a program's own words.
    func prefix(_ part: String) -> [String] {
        var words: [String] = []
        if let setpriv { words += [setpriv, "--pdeathsig", "KILL"] }
        if let systemdRun {
            words += [
                systemdRun, "--scope", "--quiet", "--collect", "--no-ask-password", "--unit=\(unit)-\(part)",
                "--property=MemoryMax=\(memoryBytes)", "--property=CPUQuota=\(cpuPercent)%", "--",
            ]
        }
        if let nice { words += [nice, "-n", "19"] }
        if let ionice { words += [ionice, "-c", "3"] }
        return words
    }

    /// Go computes on no more processors than this says, whatever systemd can do.
    var environment: [String: String] {
        EtcdClient.environment.merging(["GOMAXPROCS": "\(max(1, cpuPercent / 100))"]) { $1 }
    }

    /// For people. A limit that was asked for counts only when the kernel shows it.
    func words(inForce limits: CgroupLimits?) -> String {
        let priority = nice == nil ? "" : ", lowest priority"
        let runtime = "GOMAXPROCS=\(max(1, cpuPercent / 100))"
        if let obstacle { return "\(runtime), no limit of memory: \(obstacle)\(priority)" }
        let memory = limits?.memoryBytes.map { "memory \(Human.bytes($0))" } ?? "no limit of memory in force"
        let cpu = limits?.cpuPercent.map { "CPU \($0)%" } ?? runtime
        return "\(memory), \(cpu)\(priority)"
    }
}

/// What the kernel allows a process, of either version of control groups.
struct CgroupLimits: Sendable, Equatable {
    var memoryBytes: Int64?
    var cpuPercent: Int?

    /// - Parameters:
    ///   - groups: of /proc/PID/cgroup.
    ///   - read: a file's text; nil where there is none.
    init(groups: String, read: (String) -> String?) {
        func number(_ path: String) -> Int64? {
            read("/sys/fs/cgroup/" + path).flatMap { Int64($0.prefix { !$0.isNewline }) }
        }
        func percent(_ quota: Int64?, _ period: Int64?) -> Int? {
            guard let quota, let period, quota > 0, period > 0 else { return nil }
            return Int(quota * 100 / period)
        }
        for line in groups.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3 else { continue }
            let path = parts[2] == "/" ? "" : parts[2]
            if parts[0] == "0", parts[1].isEmpty {
                if let bytes = number("\(path.dropFirst())/memory.max") { memoryBytes = bytes }
                let quota = read("/sys/fs/cgroup\(path)/cpu.max")?.split(whereSeparator: \.isWhitespace).map {
                    Int64($0)
                }
                if let quota, quota.count == 2 { cpuPercent = percent(quota[0], quota[1]) ?? cpuPercent }
            }
            for controller in parts[1].split(separator: ",") {
                switch controller {
                case "memory":
                    // "No limit" is the largest multiple of a page.
                    let bytes = number("memory\(path)/memory.limit_in_bytes")
                    if let bytes, bytes < 1 << 60 { memoryBytes = bytes }
                case "cpu":
                    for mount in ["cpu", "cpu,cpuacct"] {
                        let one = percent(
                            number("\(mount)\(path)/cpu.cfs_quota_us"), number("\(mount)\(path)/cpu.cfs_period_us"))
                        cpuPercent = one ?? cpuPercent
                    }
                default: break
                }
            }
        }
    }

    /// Of a process; blocks. nil when it is gone.
    static func of(_ pid: Int32) -> CgroupLimits? {
        guard let groups = try? FileSystem.readText("/proc/\(pid)/cgroup") else { return nil }
        return CgroupLimits(groups: groups) { try? FileSystem.readText($0) }
    }
}
