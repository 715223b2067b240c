internal import FleetProtocol
internal import FleetSystem
private import Glibc

/// The commands on snapshot files, which need no etcd.
struct SnapshotTool: Sendable {
    var tool: EtcdTool

    /// `snapshot status`: etcd's own check of the file's structure, and its values.
    ///
    /// - Throws: `bad-snapshot` when the tool finds fault with the file.
    func status(_ path: String, size: Int64) throws(FleetError) -> SnapshotStatus {
        let outcome = try Subprocess.run(
            tool.path, ["--write-out=json", "snapshot", "status", path], environment: EtcdClient.environment,
            deadline: SnapshotTool.deadline(size))
        guard outcome.succeeded, let status = try? JSON.decode(SnapshotStatus.self, from: outcome.output) else {
            throw FleetError(
                .badSnapshot, "\(tool) finds fault with the snapshot: \(outcome.complaint)",
                hint: "save another one; this file can't be restored")
        }
        return status
    }

    struct Restore: Sendable, Equatable {
        var snapshot: String
        var name: String
        var initialCluster: String
        var token: String
        var peerURLs: [String]
        var dataDir: String
        var walDir: String?
        /// By how much; old revisions count as compacted then.
        var bump: Int64?
    }

    /// - Parameter prefix: what holds the tool down, its executable first; it runs as it is without.
    func restore(
        _ restore: Restore, size: Int64, deadline: Duration? = nil, under prefix: [String] = [],
        environment: [String: String] = EtcdClient.environment
    ) throws(FleetError) {
        var arguments = [
            "snapshot", "restore", restore.snapshot, "--name=\(restore.name)",
            "--initial-cluster=\(restore.initialCluster)", "--initial-cluster-token=\(restore.token)",
            "--initial-advertise-peer-urls=\(restore.peerURLs.joined(separator: ","))",
            "--data-dir=\(restore.dataDir)",
        ]
        if let walDir = restore.walDir { arguments.append("--wal-dir=\(walDir)") }
        // Both or neither: 3.4 silently ignores one alone.
        if let bump = restore.bump { arguments += ["--bump-revision=\(bump)", "--mark-compacted"] }
        let words = prefix + [tool.path] + arguments
        let outcome = try Subprocess.run(
            words[0], Array(words.dropFirst()), environment: environment,
            deadline: deadline ?? Self.deadline(size))
        guard outcome.signal != SIGKILL else {
            throw .killed("\(tool) snapshot restore", hint: "the running etcd was not touched: try again")
        }
        guard outcome.succeeded else {
            throw FleetError(
                outcome.complaint.lowercased().contains("no space left on device") ? .noSpace : .childFailed,
                "\(tool) snapshot restore failed: \(outcome.complaint)",
                hint: "the running etcd was not touched; correct what the tool says and restore again")
        }
    }

    /// Generous: a slow disk of 5 MB/s, and five minutes on top.
    static func deadline(_ size: Int64) -> Duration { .seconds(300 + size / 5_000_000) }
}
