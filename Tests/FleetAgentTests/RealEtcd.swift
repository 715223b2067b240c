import FleetProtocol
import FleetSystem
import RealEtcdProcess

@testable import FleetAgent

/// Debian's etcd as an agent would have found it.
final class RealEtcd: Sendable {
    let dataDir: String
    let walDir: String?
    let name: String
    private let process: LoopbackEtcd

    static var isInstalled: Bool { FileSystem.exists("/usr/bin/etcd") && FileSystem.exists("/usr/bin/etcdctl") }

    init(name: String = "m1", dataDir: String? = nil, walDir: String? = nil, flags: [String] = []) throws {
        process = try LoopbackEtcd(
            programs: "/usr/bin", name: name, dataDir: dataDir,
            flags: (walDir.map { ["--wal-dir=\($0)"] } ?? []) + flags)
        self.name = name
        self.dataDir = dataDir ?? process.directory + "/data"
        self.walDir = walDir
    }

    var directory: String { process.directory }
    var client: String { process.client }
    var peer: String { process.peer }

    var instance: EtcdInstance {
        EtcdInstance(
            topology: .externalSystemd, name: name, dataDir: dataDir, walDir: walDir, endpoint: client,
            peerURLs: [peer], initialCluster: "\(name)=\(peer)", sources: [:])
    }

    func put(_ key: String, _ value: String) throws { try etcdctl("put", key, value) }

    func etcdctl(_ words: String...) throws {
        _ = try Subprocess.check(
            "/usr/bin/etcdctl", ["--endpoints=\(client)"] + words, environment: EtcdClient.environment)
    }

    static func tools() throws -> EtcdTools { try ToolFinder.find(pid: nil, copies: "/nonexistent") }
}
