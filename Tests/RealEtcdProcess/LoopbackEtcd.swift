package import FleetSystem
private import Glibc

/// A real etcd on loopback ports of its own, in a directory of its own; ended with the value, which removes the
/// directory.
package final class LoopbackEtcd: Sendable {
    package let directory: String
    package let client: String
    package let peer: String
    private let pid: Int32

    /// What etcdctl is run with: API 3, and nothing of the caller's environment.
    package static let environment = ["PATH": "/usr/bin:/bin", "ETCDCTL_API": "3"]

    /// Starts `programs`/etcd as a cluster of one and waits until it is healthy.
    ///
    /// - Parameters:
    ///   - dataDir: an existing one to serve; otherwise `directory`/data.
    ///   - flags: more of etcd's own.
    ///   - Throws: `timedOut` with etcd's log.
    package init(
        programs: String, name: String = "m1", dataDir: String? = nil, flags more: [String] = []
    ) throws(FleetError) {
        let directory = "/tmp/fleet-etcd-test-\(Randomness.token(12))"
        try FileSystem.makeDirectories(directory)
        var failure = FleetError(.timedOut, "etcd did not start")
        // A port that was free may be taken before etcd binds it: then others are tried.
        for _ in 0..<5 {
            let (client, peer) = ("http://127.0.0.1:\(Self.freePort())", "http://127.0.0.1:\(Self.freePort())")
            let flags =
                [
                    "--name=\(name)", "--data-dir=\(dataDir ?? directory + "/data")", "--listen-client-urls=\(client)",
                    "--advertise-client-urls=\(client)", "--listen-peer-urls=\(peer)",
                    "--initial-advertise-peer-urls=\(peer)", "--initial-cluster=\(name)=\(peer)",
                ] + more
            // `timeout` ends it even when the test dies; the shell only detaches it.
            let script = "timeout 180 \(programs)/etcd \"$@\" > \(directory)/log 2>&1 < /dev/null & echo $!"
            let started = try Subprocess.check("/bin/sh", ["-c", script, "sh"] + flags)
            let pid = Int32(started.outputText.split(separator: "\n")[0])!
            if try Self.isHealthy(client, "\(programs)/etcdctl", log: directory + "/log") {
                (self.directory, self.client, self.peer, self.pid) = (directory, client, peer, pid)
                return
            }
            kill(pid, SIGTERM)
            let log = try FileSystem.readText(directory + "/log")
            failure = FleetError(.timedOut, "etcd did not start: \(log)")
            guard log.contains("address already in use") else { break }
        }
        throw failure
    }

    deinit {
        kill(pid, SIGTERM)
        for _ in 0..<50 where FileSystem.exists("/proc/\(pid)") { usleep(100_000) }
        try? FileSystem.removeTree(directory)
    }

    /// Waits for at most half a minute by the clock: each call of etcdctl may take seconds of its own.
    private static func isHealthy(_ client: String, _ etcdctl: String, log: String) throws(FleetError) -> Bool {
        let deadline = ContinuousClock.now + .seconds(30)
        while ContinuousClock.now < deadline {
            let answer = try Subprocess.run(
                etcdctl, ["--endpoints=\(client)", "--dial-timeout=1s", "--command-timeout=2s", "endpoint", "health"],
                environment: environment)
            if answer.succeeded { return true }
            if try FileSystem.readText(log).contains("address already in use") { return false }
            usleep(100_000)
        }
        return false
    }

    /// A port that nobody has now, below those that the kernel gives to outgoing connections.
    private static func freePort() -> UInt16 {
        for _ in 0..<100 {
            let port = UInt16.random(in: 10_000..<32_000)
            let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            defer { close(socket) }
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            let bound = withUnsafePointer(to: address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            if bound == 0 { return port }
        }
        return 0
    }
}
