internal import FleetProtocol
internal import FleetSystem
private import Glibc

/// The etcd of a drill: a cluster of one on restored data, which listens on Unix sockets in a directory that only root
/// may enter. All the Secrets of a cluster are in it, so no port of the host leads to it. Every call blocks.
final class ScratchEtcd: Sendable {
    /// etcd wants a host and a port of every URL; of a Unix socket's, both are its name, in the directory where it works.
    static let client = "unix://localhost:2379"
    static let peer = "unix://localhost:2380"
    static let name = "drill"
    static func dataDir(_ directory: String) -> String { directory + "/data" }

    private let directory: String
    private let handle = Subprocess.Handle()
    private let end = Monitor<Result<Subprocess.Outcome, FleetError>?>(nil)

    /// Starts it. It ends with the agent, whatever `prefix` does for that; what does not is found at the agent's next start.
    init(
        _ tool: EtcdTool, under prefix: [String], environment: [String: String], directory: String, databaseSize: Int64,
        deadline: Duration
    ) {
        self.directory = directory
        let words =
            prefix + [
                tool.path, "--name=\(Self.name)", "--data-dir=\(Self.dataDir(directory))",
                "--listen-client-urls=\(Self.client)", "--advertise-client-urls=\(Self.client)",
                "--listen-peer-urls=\(Self.peer)", "--initial-advertise-peer-urls=\(Self.peer)",
                "--initial-cluster=\(Self.name)=\(Self.peer)",
                // Its default of 2 GB would be an alarm on a larger database.
                "--quota-backend-bytes=\(max(2 << 30, 2 * databaseSize))",
            ]
        let (handle, end) = (self.handle, self.end)
        // A thread that stays: the kernel sends the signal of the parent's death when the thread goes that started it.
        Thread.start(name: "drill-etcd") {
            do throws(FleetError) {
                let outcome = try Subprocess.run(
                    words[0], Array(words.dropFirst()), environment: environment,
                    directory: directory, deadline: deadline, handle: handle)
                end.withLock { $0 = .success(outcome) }
            } catch { end.withLock { $0 = .failure(error) } }
        }
    }

    var pid: Int32? { handle.pid }

    /// - Throws: `drill-failed` when it ends by itself; `timed-out` and `child-killed`, which the snapshot is not to blame for.
    func waitUntilHealthy(_ client: EtcdClient, within limit: Duration) throws(FleetError) {
        let deadline = ContinuousClock.now + limit
        var last = "it was never asked"
        while ContinuousClock.now < deadline {
            if let end = end.withLock(\.self) { throw Self.ended(end) }
            do throws(FleetError) { return try client.checkHealth() } catch { last = error.message }
            usleep(100_000)
        }
        throw FleetError(
            .timedOut, "the restored etcd was not healthy within \(Int(limit.seconds)) s: \(last)",
            hint: "give it more time or memory, or drill on a faster host")
    }

    /// Why it ended, if it does in that time; nil while it runs.
    func ending(within limit: Duration) -> FleetError? {
        let deadline = ContinuousClock.now + limit
        while ContinuousClock.now < deadline {
            if let end = end.withLock(\.self) { return Self.ended(end) }
            usleep(100_000)
        }
        return nil
    }

    /// - Returns: whether it is gone, as far as is known.
    @discardableResult
    func stop() -> Bool {
        handle.stop()
        for _ in 0..<150 {
            if end.withLock({ $0 != nil }) { return true }
            usleep(100_000)
        }
        return false
    }

    private static func ended(_ end: Result<Subprocess.Outcome, FleetError>) -> FleetError {
        switch end {
        case .failure(let error): return error.during("the restored etcd")
        case .success(let outcome):
            // The kernel for want of memory, or systemd with the host.
            if let signal = outcome.signal, [SIGKILL, SIGTERM, SIGINT, SIGHUP].contains(signal) {
                return .killed("the restored etcd", hint: "drill it again, or on another node")
            }
            if String(decoding: outcome.errors, as: UTF8.self).contains("no space left on device") {
                return FleetError(
                    .noSpace, "the restored etcd had no space left", hint: "free some where the agent's spool is")
            }
            let how = outcome.status.map { "exit status \($0)" } ?? "signal \(outcome.signal ?? 0)"
            return FleetError(
                .drillFailed, "the restored etcd ended with \(how): \(outcome.complaint)",
                hint:
                    "drill another snapshot; if that ends too, restore this one by hand elsewhere and look at etcd's log"
            )
        }
    }

    // MARK: what an earlier run of the agent left

    /// Ends every etcd that serves a drill's directory below this agent's own spool; nobody else has a reason to.
    static func endLeftovers(_ paths: AgentPaths) throws(FleetError) {
        let mark = "--data-dir=\(paths.spool)/\(AgentPaths.spoolPrefix)"
        func leftovers() throws(FleetError) -> [Int32] {
            try FileSystem.list("/proc").compactMap { Int32($0) }.filter { pid in
                guard let words = try? FileSystem.read("/proc/\(pid)/cmdline", limit: 1 << 20) else { return false }
                return words.split(separator: 0).contains { String(decoding: $0, as: UTF8.self).hasPrefix(mark) }
            }
        }
        for _ in 0..<100 {
            let pids = try leftovers()
            if pids.isEmpty { return }
            for pid in pids { kill(pid, SIGKILL) }
            usleep(50_000)
        }
        throw FleetError(
            .busy, "an etcd of a drill that an earlier run of the agent began can't be ended",
            hint: "see it with: pgrep -af \(AgentPaths.spoolPrefix)")
    }
}

extension FleetError.Code {
    /// The snapshot did not come to serve.
    static let drillFailed: Self = "drill-failed"
    /// The drill broke off for reasons of its node.
    static let drillInconclusive: Self = "drill-inconclusive"
    /// Somebody else ended a program, the kernel most of all.
    static let childKilled: Self = "child-killed"
}

extension FleetError {
    static func killed(_ what: String, hint: String) -> FleetError {
        FleetError(
            .childKilled, "\(what) was killed",
            hint: "the kernel may have ended it for lack of memory, or the host was shut down: see its log; \(hint)")
    }
}
