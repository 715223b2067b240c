import FleetSystem

@testable import FleetAgent

/// A copy of a node's file system in a directory of its own, gone with the value.
final class NodeTree: Sendable {
    let root: String

    init(_ files: [String: String] = [:], links: [String: String] = [:]) throws {
        root = "/tmp/fleet-agent-test-\(Randomness.token(12))"
        try FileSystem.makeDirectories(root)
        for (path, text) in files { try write(path, text) }
        for (path, target) in links {
            try FileSystem.makeDirectories(root + FileSystem.parent(of: path))
            _ = try Subprocess.check("/bin/ln", ["-s", target, root + path])
        }
    }

    deinit { try? FileSystem.removeTree(root) }

    func write(_ path: String, _ text: String) throws {
        try FileSystem.makeDirectories(root + FileSystem.parent(of: path))
        try FileSystem.writeDurably(root + path, text.utf8)
    }

    var files: NodeFiles { NodeFiles(root: root) }

    func discover(processes: [EtcdProcess] = []) throws -> DiscoveredEtcd {
        try Discovery.discover(files, processes: processes)
    }

    /// The code of the error that discovery ends in, nil when it finds an etcd.
    func failure(processes: [EtcdProcess] = []) -> FleetError? {
        do {
            _ = try discover(processes: processes)
            return nil
        } catch { return FleetError(error) }
    }
}
