import FleetSystem
import Glibc

/// A process that runs beside the benchmark and is measured through /proc.
struct Child: Sendable {
    let pid: pid_t

    init(_ program: String, _ arguments: [String]) throws(FleetError) {
        var argv: [UnsafeMutablePointer<CChar>?] = ([program] + arguments).map { strdup($0) } + [nil]
        defer { for pointer in argv { free(pointer) } }
        var pid = pid_t()
        let result = posix_spawn(&pid, program, nil, nil, &argv, environ)
        guard result == 0 else { throw FleetError(.childFailed, "\(program) could not be started") }
        self.pid = pid
    }

    func stop() {
        kill(pid, SIGTERM)
        var status: Int32 = 0
        waitpid(pid, &status, 0)
    }

    /// VmRSS of /proc/PID/status.
    func residentBytes() throws(FleetError) -> Int64 {
        for line in try FileSystem.readText("/proc/\(pid)/status").split(separator: "\n") where line.hasPrefix("VmRSS:")
        {
            if let kilobytes = line.split(separator: " ").dropFirst().first.flatMap({ Int64($0.drop { $0 == "\t" }) }) {
                return kilobytes * 1024
            }
        }
        throw FleetError(.malformed, "/proc/\(pid)/status has no VmRSS")
    }

    /// utime and stime of /proc/PID/stat, fields 14 and 15, in seconds.
    func processorSeconds() throws(FleetError) -> Double {
        let text = try FileSystem.readText("/proc/\(pid)/stat")
        let fields = text[(text.lastIndex(of: ")") ?? text.startIndex)...].split(separator: " ")
        guard fields.count > 13, let user = Double(fields[12]), let system = Double(fields[13]) else {
            throw FleetError(.malformed, "/proc/\(pid)/stat is not what it was")
        }
        return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }
}
