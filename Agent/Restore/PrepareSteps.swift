internal import FleetProtocol
internal import FleetSystem

/// Preparation: nothing here touches the running etcd.
extension RestoreSteps {
    var snapshotPath: String { paths.snapshot(work.job) }

    func checkSnapshot() throws(FleetError) -> String? {
        let file = try SnapshotFile.check(snapshotPath)
        guard file.size == work.snapshot.size, file.sha256 == work.snapshot.sha256 else {
            throw FleetError(
                .badSnapshot, "the file that arrived is not snapshot \(work.snapshot.id)",
                hint: "nothing was changed; start the restore again")
        }
        let status = try SnapshotTool(tool: try offlineTool()).status(snapshotPath, size: file.size)
        let expected = work.snapshot.facts.status
        // What counts as a key differs between tools of etcd 3.5 and 3.6; the hash covers every one of them.
        guard (status.hash, status.revision, status.totalSize) == (expected.hash, expected.revision, expected.totalSize)
        else {
            throw FleetError(
                .badSnapshot, "`snapshot status` tells other values than those recorded for \(work.snapshot.id)",
                hint: "nothing was changed; restore another snapshot, and look why this one differs")
        }
        return "revision \(status.revision), hash \(String(status.hash, radix: 16))"
    }

    func preflight() throws(FleetError) -> String? {
        let certificates = try CertificateCheck.expiries(work.instance, now: .now())
        _ = try offlineTool()
        // What verifies in the end is not looked for only then.
        let client = try client()
        if let version = work.instance.version.flatMap({ EtcdVersion($0) }),
            let saved = EtcdVersion(work.snapshot.facts.etcdVersion), !version.isSameMinorOrNewer(than: saved)
        {
            throw FleetError(
                .etcdTooOld, "this node runs etcd \(version), the snapshot is of etcd \(saved)",
                hint: "install etcd \(saved.major).\(saved.minor) or newer on this node, then restore again")
        }
        try checkBump()
        try checkSpace()
        try checkHoldingDirectory()
        if let group = work.group { try checkMembers(group, client) } else { try checkOneMember(client) }
        return CertificateCheck.warnings(certificates, now: .now()).first
    }

    func restoreData() throws(FleetError) -> String? {
        // What is there under these names is a part of this very job's: the plan refused names that were taken.
        try removeNewData()
        for path in [work.plan.newDataDir, work.plan.newWalDir].compactMap({ $0 }) {
            try FileSystem.makeDirectories(FileSystem.parent(of: path))
        }
        try SnapshotTool(tool: try offlineTool()).restore(
            .init(
                snapshot: snapshotPath, name: work.instance.name, initialCluster: work.initialCluster,
                token: work.plan.clusterToken, peerURLs: work.instance.peerURLs, dataDir: work.plan.newDataDir,
                walDir: work.plan.newWalDir, bump: work.bump?.amount),
            size: work.snapshot.size)
        for directory in work.directories { try Inheritance.carryOver(directory, fallback: work.owner) }
        return nil
    }

    /// - Throws: `internal` rather than removing what an etcd works on.
    func removeNewData() throws(FleetError) {
        guard work.undoes == nil else { throw FleetError(.internalError, "an undo made no directory") }
        for directory in work.directories where FileSystem.exists(directory.new) {
            // One that its kubelet or systemd starts again and again may have come up once more.
            var user = try newEtcd()
            if user != nil {
                _ = try Waiting.until(work.waitSeconds) { () throws(FleetError) in
                    user = try newEtcd()
                    return user == nil
                }
            }
            guard user == nil else {
                throw FleetError(
                    .internalError, "\(directory.new) is in use by process \(user!.pid) and was left as it is",
                    hint: "stop that etcd, then start the agent again")
            }
            try FileSystem.removeTree(directory.new)
        }
    }

    func offlineTool() throws(FleetError) -> EtcdTool {
        try tools().offline(for: EtcdVersion(work.snapshot.facts.etcdVersion))
    }

    private func tools() throws(FleetError) -> EtcdTools {
        try ToolFinder.find(pid: nil, copies: paths.tools, in: toolDirectories)
    }

    /// - Throws: `no-tool`.
    func client() throws(FleetError) -> EtcdClient {
        EtcdClient(
            tool: try tools().client(for: work.instance.version.flatMap { EtcdVersion($0) }), instance: work.instance)
    }

    /// The files that start a member may name only that one for ever: kubeadm's first control plane does. So the snapshot
    /// and the running etcd are asked, and where neither can tell, nothing is done.
    private func checkOneMember(_ client: EtcdClient) throws(FleetError) {
        let recorded = work.snapshot.facts.members
        if let recorded { try RestorePlanner.check(members: recorded, "had", work.snapshot) }
        let live: [EtcdClient.Member]
        do throws(FleetError) { live = try client.members() } catch {
            guard recorded == nil else { return }
            throw FleetError(
                .severalMembers,
                "nothing tells how many members the cluster has: the snapshot does not, and etcd does not answer",
                hint: "restore a snapshot that 'fleetctl snapshot show' has a member count of, or start etcd first")
        }
        try RestorePlanner.check(members: live.count, "has", work.snapshot)
    }

    /// A member that is left out would go on with the old data. The running etcd is asked, and where it does not answer,
    /// the snapshot: that one may know members that are gone since, but a guess could split the cluster.
    private func checkMembers(_ group: RestoreGroup, _ client: EtcdClient) throws(FleetError) {
        let live: [EtcdClient.Member]
        do throws(FleetError) { live = try client.members() } catch {
            guard let recorded = work.snapshot.facts.members, recorded > group.members.count else { return }
            throw FleetError(
                .severalMembers,
                "\(work.snapshot.id) was saved of \(recorded) members, \(group.members.count) are to be restored, and etcd "
                    + "does not answer which are right",
                hint: "enrol an agent on every member, or restore a snapshot that was saved since members were removed")
        }
        // By their peer URLs: a member that has not started yet has no name.
        let known = Set(group.members.flatMap(\.peerURLs))
        let others = live.filter { !$0.peerURLs.contains(where: known.contains) }
        guard others.isEmpty else {
            throw RestorePlanner.leftOut(
                others.map { $0.name.isEmpty ? $0.peerURLs.joined(separator: ",") : $0.name }, "the running cluster")
        }
    }

    /// A journal that can't be written any more would leave the node in the middle.
    func checkJournalSpace() throws(FleetError) {
        guard try FileSystem.freeSpace(paths.state) >= 16 << 20 else {
            throw FleetError(
                .noSpace, "\(paths.state) has less than 16 MiB free for the journal",
                hint: "free some space there; nothing was changed")
        }
    }

    /// Twice the database, since etcd copies it on, and two preallocated log files of 64 MB.
    func checkSpace() throws(FleetError) {
        try checkJournalSpace()
        let needed = 2 * work.snapshot.size + 160 << 20
        for directory in work.directories {
            // What is missing above it will be made.
            var place = FileSystem.parent(of: directory.new)
            while !FileSystem.exists(place) { place = FileSystem.parent(of: place) }
            let free = try FileSystem.freeSpace(place)
            guard free >= needed else {
                throw FleetError(
                    .noSpace, "\(place) has \(free) bytes free; the restored data needs \(needed)",
                    hint: "free some space there; nothing was changed")
            }
        }
    }
}
