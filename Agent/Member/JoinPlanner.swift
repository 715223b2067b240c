internal import FleetProtocol
internal import FleetSystem

/// What a node does to let its member join the cluster anew, as exactly as a restore plans it: a new directory beside the
/// old one, and the settings by which etcd joins instead of founding. Pure but for reading files.
///
/// The old member's id is gone when the files are switched, so nothing leads back to its data. Where the settings are in
/// several files, the one that names the directory is written last: cut off before it, the old directory is still in force,
/// and with data there etcd does not read the others.
enum JoinPlanner {
    /// - Throws: `not-the-member`, `not-editable`, `already-exists`.
    static func plan(
        _ found: DiscoveredEtcd, _ joining: FleetProtocol.Operation.Joining, _ order: FleetProtocol.Operation.Member,
        job: Job
    ) throws(FleetError) -> RestoreWork {
        let instance = found.instance
        try checkOwn(joining, instance)
        let name = order.replacement
        var changes = FileChanges(found)
        let data = try RestorePlanner.move(found.dataDir, "data-dir", name, found.files, &changes, .replace)
        var directories = [data.root]
        var newWalDir: String?
        if let wal = found.walDir {
            let moved = try RestorePlanner.moveWal(wal, found, data, name, &changes, .replace)
            newWalDir = moved.path
            if moved.root != data.root { directories.append(moved.root) }
        }
        for directory in directories where try found.files.exists(directory.new) {
            throw FleetError(
                .alreadyExists, "\(directory.new) exists already",
                hint: "look what it is; a new replacement makes a directory with another name")
        }
        let switching = try changes.result()
        try RestorePlanner.checkOneFile(switching, found)
        for (flag, value) in [("initial-cluster", joining.initialCluster), ("initial-cluster-state", "existing")] {
            guard let setting = found.settings[flag], setting.value != value else { continue }
            try changes.set(flag, setting.origin, to: value)
        }
        let last = Set(switching.map(\.path))
        let all = try changes.result()
        let files = all.filter { !last.contains($0.path) } + all.filter { last.contains($0.path) }
        try prove(files, found, joining, data.path, newWalDir)
        try WritablePlaces.check(directories, files, found)

        var owner = RestoreWork.Owner(user: 0, group: 0)
        let launch: RestoreWork.Launch
        var holding = ""
        switch found.launch.kind {
        case .staticPod(let pod):
            let directory = try found.files.resolve(found.manifests.path)
            launch = .staticPod(
                manifest: try found.files.resolve(pod.manifest), manifestDirectory: directory,
                dataPath: normalised(found.settings["data-dir"]!.value, in: pod.workingDirectory))
            holding = HeldManifest.directory(beside: directory)
        case .unit(let unit):
            if let user = unit.value("User")?.text, let account = FileSystem.account(user) {
                owner = .init(user: account.user, group: account.group)
            }
            launch = .unit(name: unit.name, reload: try unit.needsReload(files.map(\.path)))
        }
        var plan = RestorePlan(
            cluster: job.cluster, node: job.node, snapshot: "", topology: instance.topology,
            oldDataDir: instance.dataDir, newDataDir: data.path, oldWalDir: instance.walDir, newWalDir: newWalDir,
            clusterToken: instance.initialClusterToken ?? "etcd-cluster", initialCluster: joining.initialCluster,
            holdingDirectory: holding.isEmpty ? nil : holding, changes: files, steps: [])
        plan.oldMemberID = joining.member
        var work = RestoreWork(
            plan: plan, snapshot: nothing(job, size: joining.databaseSize), job: job.id, expires: job.expires,
            waitSeconds: order.waitSeconds, instance: instance, launch: launch, controlPlane: [],
            directories: directories, owner: owner, wasHealthy: false, holdingDirectory: holding, memberID: 0,
            clusterID: 0, steps: [])
        work.joins = true
        work.hadOldData = try found.files.exists(instance.dataDir + "/member")
        // Where a disk was lost with all that was on it, nothing is kept.
        var isKept = work.hadOldData == true
        if let wal = instance.walDir, try found.files.exists(wal) { isKept = true }
        work.plan.oldDirectories = isKept ? work.keptData : []
        work.plan.steps = steps(work)
        return work
    }

    /// In the words of a plan: the acts of the other nodes too, in the order in which all are done.
    private static func steps(_ work: RestoreWork) -> [RestorePlan.Step] {
        let member = work.plan.oldMemberID
        let etcd = work.description(of: .startEtcd)
        return [
            .init(name: "stop-etcd", description: work.description(of: .stopEtcd)),
            .init(
                name: "remove-member",
                description: member.map { "beside a healthy member: remove \($0); from here there is no way back" }
                    ?? "no member of this node is listed any more: nothing to remove"),
            .init(
                name: "add-member",
                description: "beside it: add \(work.instance.name) at \(work.instance.peerURLs.joined(separator: ",")) "
                    + "as a learner, which counts for no quorum"),
            .init(
                name: "make-directory",
                description: "make \(work.plan.newDataDir), empty, with owner and mode of \(work.plan.oldDataDir)"),
            .init(name: "switch-files", description: work.description(of: .switchFiles)),
            .init(name: "start-etcd", description: "\(etcd); it gets its data from the others"),
            .init(name: "promote-member", description: "when it has caught up: make it a voter"),
            .init(
                name: "prove",
                description: "check on every member health, members, one leader and HashKV at one revision"),
        ]
    }

    /// The cluster is to have this node's member as the node itself starts it.
    private static func checkOwn(
        _ joining: FleetProtocol.Operation.Joining, _ instance: EtcdInstance
    ) throws(FleetError) {
        let own = joining.initialCluster.split(separator: ",").filter { $0.hasPrefix("\(instance.name)=") }
        let urls = own.map { String($0.dropFirst(instance.name.utf8.count + 1)) }
        guard !urls.isEmpty, urls.sorted() == instance.peerURLs.sorted() else {
            throw FleetError(
                .notTheMember,
                "etcd here is \(instance.name) at \(instance.peerURLs.joined(separator: ",")) now, the replacement was "
                    + "begun with \(joining.initialCluster)",
                hint: "its configuration was changed meanwhile: see that it is right, then replace it again")
        }
    }

    /// Discovery of the files as they would be finds the new directory, the cluster to join, and all else as it is.
    private static func prove(
        _ changes: [RestorePlan.FileChange], _ found: DiscoveredEtcd, _ joining: FleetProtocol.Operation.Joining,
        _ dataDir: String, _ walDir: String?
    ) throws(FleetError) {
        var files = found.files
        for change in changes { files.put(change.result.map { Array($0.utf8) }, change.path) }
        let changed = try Discovery.discover(files, processes: [], only: found.launch.name)
        var (planned, expected) = (changed.instance, found.instance)
        (expected.dataDir, expected.walDir, expected.initialCluster) = (dataDir, walDir, joining.initialCluster)
        (planned.sources, expected.sources) = ([:], [:])
        (planned.version, planned.pid) = (expected.version, expected.pid)
        guard planned == expected, changed.settings["initial-cluster-state"]?.value == "existing" else {
            throw FleetError(
                .notEditable,
                "changing \(changes.map(\.path).joined(separator: ", ")) would change more than data-dir and "
                    + "initial-cluster",
                hint: "set data-dir, initial-cluster and initial-cluster-state in places of their own, then try again")
        }
    }

    /// No snapshot: what comes is as large as what the others have.
    private static func nothing(_ job: Job, size: Int64) -> SnapshotRecord {
        SnapshotRecord(
            id: "", cluster: job.cluster, node: job.node, job: job.id, storedAt: job.issued, size: size, sha256: "",
            facts: SnapshotFacts(
                status: SnapshotStatus(hash: 0, revision: 0, totalKey: 0, totalSize: size), tool: "", etcdVersion: "",
                clusterID: "", memberID: "", memberName: "", size: size, savedAt: job.issued, certificates: [],
                warnings: []))
    }
}
