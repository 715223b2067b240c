import FleetSystem
import Glibc
import Testing

/// Where real etcd programs are: Debian's 3.4 in /usr/bin, 3.5 where ETCD35_DIR says. Without them their tests are
/// skipped; ops/test installs both.
struct EtcdPrograms: Sendable, CustomTestStringConvertible {
    var version: String
    var directory: String
    /// The tool that has `snapshot status`.
    var statusTool: String

    var testDescription: String { version }

    static let installed: [EtcdPrograms] = {
        var all: [EtcdPrograms] = []
        if FileSystem.exists("/usr/bin/etcd"), FileSystem.exists("/usr/bin/etcdctl") {
            all.append(EtcdPrograms(version: "3.4", directory: "/usr/bin", statusTool: "/usr/bin/etcdctl"))
        }
        if let path = getenv("ETCD35_DIR").map({ String(cString: $0) }), FileSystem.exists(path + "/etcdutl") {
            all.append(EtcdPrograms(version: "3.5", directory: path, statusTool: path + "/etcdutl"))
        }
        return all
    }()

    /// `snapshot status`, nil when it fails, as it does for what bbolt can't read.
    func status(_ path: String) throws -> ToolStatus? {
        let outcome = try Subprocess.run(
            statusTool, ["snapshot", "status", path, "-w", "json"], environment: RealEtcd.environment)
        return outcome.succeeded ? try JSON.decode(ToolStatus.self, from: outcome.output) : nil
    }
}

struct ToolStatus: Codable, Equatable {
    var hash: UInt32
    var revision: Int64
    var totalKey: Int64
    var totalSize: Int64
}

/// A real etcd on the loopback with free ports and a directory of its own; ended with the value.
final class RealEtcd: Sendable {
    static let environment = ["PATH": "/usr/bin:/bin", "ETCDCTL_API": "3"]

    let directory: String
    let programs: EtcdPrograms
    private let client: String
    private let pid: Int32

    init(_ programs: EtcdPrograms, flags more: [String] = []) throws {
        let directory = "/tmp/fleet-reader-test-\(Randomness.token(12))"
        try FileSystem.makeDirectories(directory)
        self.directory = directory
        self.programs = programs
        let (first, second) = (Self.freePort(), Self.freePort())
        client = "http://127.0.0.1:\(first)"
        let peer = "http://127.0.0.1:\(second)"
        let flags =
            [
                "--name=m1", "--data-dir=\(directory)/data", "--listen-client-urls=\(client)",
                "--advertise-client-urls=\(client)", "--listen-peer-urls=\(peer)",
                "--initial-advertise-peer-urls=\(peer)", "--initial-cluster=m1=\(peer)",
            ] + more
        // `timeout` ends it even when the test dies; the shell only detaches it.
        let script = "timeout 180 \(programs.directory)/etcd \"$@\" > \(directory)/log 2>&1 < /dev/null & echo $!"
        let started = try Subprocess.check("/bin/sh", ["-c", script, "sh"] + flags)
        pid = Int32(started.outputText.split(separator: "\n")[0])!
        for _ in 0..<150 {
            if (try? call(["endpoint", "health"])) != nil { return }
            usleep(100_000)
        }
        throw FleetError(.timedOut, "etcd did not start: \(try FileSystem.readText(directory + "/log"))")
    }

    deinit {
        kill(pid, SIGTERM)
        for _ in 0..<50 where FileSystem.exists("/proc/\(pid)") { usleep(100_000) }
        try? FileSystem.removeTree(directory)
    }

    /// etcdctl; throws when it fails.
    @discardableResult
    func call(_ arguments: [String], user: String? = nil, input: String = "") throws -> String {
        let login = user.map { ["--user=\($0)"] } ?? []
        let outcome = try Subprocess.run(
            programs.directory + "/etcdctl", ["--endpoints=\(client)"] + login + arguments,
            environment: Self.environment, input: Array(input.utf8))
        guard outcome.succeeded else { throw FleetError(.childFailed, "etcdctl \(arguments[0]): \(outcome.complaint)") }
        return outcome.outputText
    }

    func save(user: String? = nil) throws -> String {
        let path = "\(directory)/\(Randomness.token(8)).db"
        try call(["snapshot", "save", path], user: user)
        return path
    }

    /// What the member itself computes over its keys.
    func hashKV(user: String? = nil) throws -> HashReply {
        struct Reply: Decodable {
            struct Hash: Decodable {
                struct Header: Decodable { var revision: Int64 }
                enum CodingKeys: String, CodingKey {
                    case header, hash
                    case compactRevision = "compact_revision"
                }
                var header: Header
                var hash: UInt32
                var compactRevision: Int64?
            }
            enum CodingKeys: String, CodingKey { case hash = "HashKV" }
            var hash: Hash
        }
        let text = try call(["endpoint", "hashkv", "-w", "json"], user: user)
        let reply = try JSON.decode([Reply].self, from: Array(text.utf8))[0].hash
        return HashReply(hash: reply.hash, revision: reply.header.revision, compactRevision: reply.compactRevision ?? 0)
    }

    struct HashReply: Equatable { var hash: UInt32, revision: Int64, compactRevision: Int64 }

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
