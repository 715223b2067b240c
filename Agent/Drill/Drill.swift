internal import FleetProtocol
internal import FleetSystem

/// A drill's parts on this node. All of it blocks, and nothing of it touches what is not in the drill's own directory.
struct Drill: Sendable {
    var paths: AgentPaths
    var job: String
    var order: FleetProtocol.Operation.Drill

    struct Ready: Sendable {
        var server: EtcdTool
        var restorer: EtcdTool
        var client: EtcdTool
        var confinement: Confinement
    }

    private var directory: String { paths.drill(job) }
    private var size: Int64 { order.snapshot.size }
    private var limit: Duration { .seconds(order.limitSeconds) }

    /// Everything that would keep the drill from telling anything of the snapshot.
    ///
    /// - Throws: `no-tool`, `no-space`.
    func preflight() throws(FleetError) -> Ready {
        let tools = try ToolFinder.find(pid: nil, copies: paths.tools, more: paths.programs)
        let told = order.snapshot.facts.etcdVersion
        let version = EtcdVersion(told.isEmpty ? order.snapshot.verification?.clusterVersion ?? "" : told)
        let server = try tools.server(for: version)
        try checkSpace()
        return Ready(
            server: server, restorer: try tools.offline(for: server.version),
            client: try tools.client(for: server.version),
            confinement: try Confinement.find(
                job: job, memoryBytes: order.memoryBytes, cpuPercent: order.cpuPercent))
    }

    /// The snapshot, the database that is made of it, two files of etcd's log at 64 MB each, and 64 MB that stay free.
    private func checkSpace() throws(FleetError) {
        try FileSystem.removeTree(paths.spool(job))
        try FileSystem.makeDirectories(directory)
        guard try !FileSystem.isInMemory(paths.spool) else {
            throw FleetError(
                .noSpace, "the spool \(paths.spool) is in memory (tmpfs), where a database does not belong",
                hint: "set the agent's --spool to a directory on a disk")
        }
        let needed = 2 * size + 192 << 20
        let free = try FileSystem.freeSpace(paths.spool)
        guard free >= needed else {
            throw FleetError(
                .noSpace, "the spool \(paths.spool) has \(free) bytes free; a drill of this snapshot needs \(needed)",
                hint: "free some space there, set --spool to a larger file system, or drill on another node")
        }
    }

    /// As a restore does it: the digest at the end of the file is compared first, which etcd's tool does only in part.
    func restore(_ ready: Ready) throws(FleetError) {
        _ = try SnapshotFile.check(paths.snapshot(job))
        let restore = SnapshotTool.Restore(
            snapshot: paths.snapshot(job), name: ScratchEtcd.name,
            initialCluster: "\(ScratchEtcd.name)=\(ScratchEtcd.peer)", token: "fleet-drill-\(job)",
            peerURLs: [ScratchEtcd.peer], dataDir: ScratchEtcd.dataDir(directory))
        do throws(FleetError) {
            try SnapshotTool(tool: ready.restorer).restore(
                restore, size: size, deadline: limit, under: ready.confinement.prefix("restore"),
                environment: ready.confinement.environment)
        } catch {
            guard error.code == .childFailed else { throw error }
            throw FleetError(
                .drillFailed, error.message, hint: "drill another snapshot; this one does not restore on this node")
        }
        // Its pages are in the database now, and the space may be needed.
        try FileSystem.remove(paths.snapshot(job))
    }

    func start(_ ready: Ready) -> ScratchEtcd {
        ScratchEtcd(
            ready.server, under: ready.confinement.prefix("etcd"), environment: ready.confinement.environment,
            directory: directory, databaseSize: size,
            deadline: limit + .seconds(60))
    }

    func client(_ ready: Ready) -> EtcdClient {
        EtcdClient(tool: ready.client, socket: ScratchEtcd.client, directory: directory)
    }

    /// All at the revision of the snapshot: leases of it may end, and their keys go, while it is looked at.
    func read(_ client: EtcdClient) throws(FleetError) -> DrillReport.Figures {
        let revision = order.snapshot.verification?.hashRevision ?? max(1, order.snapshot.facts.status.revision)
        let hash = try client.hashKV(revision: revision, deadline: min(EtcdClient.hashDeadline(size), limit))
        let keys = try client.firstKeys(DrillSample.limit, revision: revision)
        return DrillReport.Figures(
            revision: try client.status().revision, liveKeys: try client.keyCount(revision: revision),
            hashKV: hash.hash, hashRevision: revision,
            compactRevision: hash.compactRevision > 0 ? hash.compactRevision : nil, sample: DrillSample(keys))
    }

    func clean() throws(FleetError) { try FileSystem.removeTree(paths.spool(job)) }
}
