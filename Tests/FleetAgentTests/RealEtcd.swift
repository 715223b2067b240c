import FleetProtocol
import FleetSystem
import Glibc

@testable import FleetAgent

/// A real etcd on the loopback with free ports and a directory of its own; ended with the value.
final class RealEtcd: Sendable {
    let directory: String
    let dataDir: String
    let walDir: String?
    let client: String
    let peer: String
    let name: String
    private let pid: Int32

    static var isInstalled: Bool { FileSystem.exists("/usr/bin/etcd") && FileSystem.exists("/usr/bin/etcdctl") }

    init(name: String = "m1", dataDir: String? = nil, walDir: String? = nil) throws {
        let directory = "/tmp/fleet-etcd-test-\(Randomness.token(12))"
        try FileSystem.makeDirectories(directory)
        self.directory = directory
        self.name = name
        self.dataDir = dataDir ?? directory + "/data"
        self.walDir = walDir
        let (first, second) = (Self.freePort(), Self.freePort())
        client = "http://127.0.0.1:\(first)"
        peer = "http://127.0.0.1:\(second)"
        var flags = [
            "--name=\(name)", "--data-dir=\(self.dataDir)", "--listen-client-urls=\(client)",
            "--advertise-client-urls=\(client)", "--listen-peer-urls=\(peer)",
            "--initial-advertise-peer-urls=\(peer)", "--initial-cluster=\(name)=\(peer)",
        ]
        if let walDir { flags.append("--wal-dir=\(walDir)") }
        // `timeout` ends it even when the test dies; the shell only detaches it.
        let script = "timeout 120 /usr/bin/etcd \"$@\" > \(directory)/log 2>&1 < /dev/null & echo $!"
        let started = try Subprocess.check("/bin/sh", ["-c", script, "sh"] + flags)
        pid = Int32(started.outputText.split(separator: "\n")[0])!
        let client = EtcdClient(tool: try Self.tools().client(for: nil), instance: instance)
        for _ in 0..<100 {
            if (try? client.checkHealth()) != nil { return }
            usleep(100_000)
        }
        throw FleetError(.timedOut, "etcd did not start: \(try FileSystem.readText(directory + "/log"))")
    }

    deinit {
        kill(pid, SIGTERM)
        for _ in 0..<50 where FileSystem.exists("/proc/\(pid)") { usleep(100_000) }
        try? FileSystem.removeTree(directory)
    }

    var instance: EtcdInstance {
        EtcdInstance(
            topology: .externalSystemd, name: name, dataDir: dataDir, walDir: walDir, endpoint: client,
            peerURLs: [peer], initialCluster: "\(name)=\(peer)", sources: [:])
    }

    func put(_ key: String, _ value: String) throws {
        _ = try Subprocess.check(
            "/usr/bin/etcdctl", ["--endpoints=\(client)", "put", key, value], environment: EtcdClient.environment)
    }

    static func tools() throws -> EtcdTools { try ToolFinder.find(pid: nil, copies: "/nonexistent") }

    private static func freePort() -> UInt16 {
        let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(socket) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = bind(socket, $0, length)
                _ = getsockname(socket, $0, &length)
            }
        }
        return UInt16(bigEndian: address.sin_port)
    }
}
