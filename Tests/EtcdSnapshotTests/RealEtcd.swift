import FleetSystem
import Glibc
import RealEtcdProcess
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
            statusTool, ["snapshot", "status", path, "-w", "json"], environment: LoopbackEtcd.environment)
        return outcome.succeeded ? try JSON.decode(ToolStatus.self, from: outcome.output) : nil
    }
}

struct ToolStatus: Codable, Equatable {
    var hash: UInt32
    var revision: Int64
    var totalKey: Int64
    var totalSize: Int64
}

/// A real etcd of one of these versions, and its etcdctl.
final class RealEtcd: Sendable {
    let programs: EtcdPrograms
    private let process: LoopbackEtcd

    init(_ programs: EtcdPrograms, flags: [String] = []) throws {
        self.programs = programs
        process = try LoopbackEtcd(programs: programs.directory, flags: flags)
    }

    var directory: String { process.directory }

    /// etcdctl; throws when it fails.
    @discardableResult
    func call(_ arguments: [String], user: String? = nil, input: String = "") throws -> String {
        let login = user.map { ["--user=\($0)"] } ?? []
        let outcome = try Subprocess.run(
            programs.directory + "/etcdctl", ["--endpoints=\(process.client)"] + login + arguments,
            environment: LoopbackEtcd.environment, input: Array(input.utf8))
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
}
