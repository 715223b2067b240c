internal import FleetProtocol
internal import FleetSystem

/// Turns the journal of a restore that was committed on this node into the plan that goes back: each file as it was before,
/// and for the new directory the old one. Nothing is guessed: where the node is not exactly what that restore left, it is
/// refused before anything is touched.
enum UndoPlanner {
    /// - Throws: `not-restored-here`, `changed-meanwhile`, `old-data-gone`, `not-the-member`, `not-editable`.
    static func plan(
        _ found: DiscoveredEtcd, _ undo: FleetProtocol.Operation.Undo, job: Job, journal: [RestoreEntry]
    ) throws(FleetError) -> RestoreWork {
        let done = try committed(journal, undo.restored)
        if let group = undo.group { try RestorePlanner.checkGroup(group, found.instance, node: job.node) }
        try checkConfiguration(found, done)
        let old = try oldIdentity(of: done, found.files)
        if let group = undo.group, group.clusterID != old.cluster || !group.memberIDs.contains(old.member) {
            throw FleetError(
                .oldDataGone, "\(done.plan.oldDataDir) is of cluster \(hex(old.cluster)), not of the members' own",
                hint: "see what was put there; nothing was changed")
        }
        let changes = done.plan.changes.map { change in
            RestorePlan.FileChange(path: change.path, before: change.result, after: change.before)
        }
        try RestorePlanner.checkOneFile(changes, found)
        try RestorePlanner.prove(changes, found, done.plan.oldDataDir, done.plan.oldWalDir)
        try WritablePlaces.check([], changes, found)

        var work = done
        work.undoes = undo.restored
        (work.job, work.expires, work.waitSeconds) = (job.id, job.expires, undo.waitSeconds)
        (work.instance, work.group) = (found.instance, undo.group)
        (work.memberID, work.clusterID) = (old.member, old.cluster)
        work.directories = done.directories.map { .init(old: $0.new, new: $0.old) }
        work.wasHealthy = found.process != nil
        work.hadOldData = try found.files.exists(done.plan.newDataDir + "/member")
        work.controlPlane = found.controlPlane
        work.holdingDirectory = try RestorePlanner.holdingDirectory(found, job.id)
        var steps: [RestoreStep] = [.preflight]
        if !work.controlPlane.isEmpty { steps.append(.stopControlPlane) }
        if done.steps.contains(.stopEtcd) { steps.append(.stopEtcd) }
        steps += [.switchFiles, .startEtcd, .verify]
        if !work.controlPlane.isEmpty { steps.append(.startControlPlane) }
        work.steps = steps + [.finish]

        var plan = RestorePlan(
            cluster: job.cluster, node: job.node, snapshot: done.plan.snapshot, topology: work.instance.topology,
            oldDataDir: done.plan.newDataDir, newDataDir: done.plan.oldDataDir, oldWalDir: done.plan.newWalDir,
            newWalDir: done.plan.oldWalDir, clusterToken: done.instance.initialClusterToken ?? "etcd-cluster",
            initialCluster: done.instance.initialCluster, memberID: hex(old.member), clusterID: hex(old.cluster),
            holdingDirectory: work.holdingDirectory.isEmpty ? nil : work.holdingDirectory, changes: changes, steps: [])
        (plan.oldMemberID, plan.oldClusterID) = (done.plan.memberID, done.plan.clusterID)
        plan.liveRevision = done.plan.liveRevision
        plan.revisions =
            "the revisions of before the restore: watchers would see them go back; \(work.whatToRestart)"
        plan.oldDirectories = work.directories.map(\.old)
        plan.undoes = undo.restored
        work.plan = plan
        work.plan.steps = work.steps.map {
            .init(name: $0.rawValue, description: work.description(of: $0), phase: work.isMember ? $0.phase : nil)
        }
        return work
    }

    /// Empty where there is none.
    static func journal(_ paths: AgentPaths, _ job: String) throws(FleetError) -> [RestoreEntry] {
        let path = paths.journal(job)
        return FileSystem.exists(path) ? try Journal<RestoreEntry>.records(path) : []
    }

    /// What a journal holds, when it is one of a restore that was carried to its end.
    static func committed(_ journal: [RestoreEntry], _ job: String) throws(FleetError) -> RestoreWork {
        guard case .planned(let work, _) = journal.first, journal.contains(.concluded(.succeeded)) else {
            throw FleetError(
                .notRestoredHere, "this node has no journal of a restore \(job) that was carried to its end",
                hint: "see 'fleetctl job list'; the journals are in the agent's state directory, under jobs")
        }
        return work
    }

    /// Every file is byte for byte what the restore wrote, and etcd works where it put it.
    private static func checkConfiguration(_ found: DiscoveredEtcd, _ done: RestoreWork) throws(FleetError) {
        let (now, plan) = (found.instance, done.plan)
        guard now.dataDir == plan.newDataDir, now.walDir == plan.newWalDir else {
            throw FleetError(
                .changedMeanwhile, "etcd's data is in \(now.dataDir) now, the restore put it into \(plan.newDataDir)",
                hint: "something has moved it since, a later restore say; only the last one can be undone")
        }
        guard now.unit == done.instance.unit, now.manifest == done.instance.manifest else {
            throw FleetError(
                .changedMeanwhile, "\(found.launch.name) starts etcd now, which is not what the restore switched",
                hint: "see what was changed; to go back by hand, let data-dir name \(plan.oldDataDir)")
        }
        for change in plan.changes {
            let text = try found.files.exists(change.path) ? try found.files.read(change.path) : nil
            guard text == change.result.map({ Array($0.utf8) }) else {
                throw FleetError(
                    .changedMeanwhile, "\(change.path) was changed since the restore wrote it",
                    hint:
                        "compare: 'fleetctl job show \(done.job) -o json' has what the restore wrote; put that back, or go back by hand and let "
                        + "data-dir name \(plan.oldDataDir)")
            }
        }
    }

    /// - Throws: `old-data-gone`, also where it is not what the restore had found.
    static func oldIdentity(of done: RestoreWork, _ files: NodeFiles) throws(FleetError) -> OldIdentity {
        for directory in done.directories where try files.status(directory.old)?.kind != .directory {
            throw FleetError(
                .oldDataGone, "\(directory.old) is gone: it was removed by hand, or was lost before the restore",
                hint: "there is nothing to go back to; restore a snapshot instead")
        }
        func place(_ path: String) throws(FleetError) -> String { files.onDisk(try files.resolve(path)) }
        let database = done.plan.oldDataDir + "/member/snap/db"
        let wal = try done.plan.oldWalDir.map { path throws(FleetError) in try place(path) }
        guard try files.exists(database),
            let old = OldIdentity.read(dataDir: try place(done.plan.oldDataDir), walDir: wal)
        else {
            throw FleetError(
                .oldDataGone, "\(done.plan.oldDataDir) holds no data of a member any more",
                hint: "there is nothing to go back to; restore a snapshot instead")
        }
        guard hex(old.member) == done.plan.oldMemberID, hex(old.cluster) == done.plan.oldClusterID else {
            throw FleetError(
                .oldDataGone,
                "\(done.plan.oldDataDir) is of member \(hex(old.member)) of cluster \(hex(old.cluster)), the restore left "
                    + "\(done.plan.oldMemberID ?? "none") of \(done.plan.oldClusterID ?? "none") there",
                hint: "something else was put there since; nothing was changed")
        }
        return old
    }

    private static func hex(_ id: UInt64) -> String { String(id, radix: 16) }
}
