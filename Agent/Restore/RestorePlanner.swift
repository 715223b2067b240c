internal import FleetProtocol
internal import FleetSystem
internal import FleetYAML

/// Turns what discovery found and the snapshot that is wanted into the exact plan. Pure but for reading files through
/// the discovery's own view of them.
enum RestorePlanner {
    /// - Throws: `several-members`, `not-the-member`, `not-editable`, `already-exists` for a directory of the new name.
    static func plan(
        _ found: DiscoveredEtcd, _ restore: FleetProtocol.Operation.Restore, job: Job
    ) throws(FleetError) -> RestoreWork {
        let instance = found.instance
        if let group = restore.group {
            try checkGroup(group, instance, node: job.node)
        } else {
            try checkOneMember(instance)
            if let members = restore.snapshot.facts.members { try check(members: members, "had", restore.snapshot) }
        }
        // One name on all nodes, for people who look at several of them.
        let name = restore.group?.restore ?? job.id
        let token = restore.group?.token ?? "fleet-restore-\(job.id)"
        let place = try newPlace(found, name)
        let (directories, files) = (place.directories, place.files)

        let member = MemberIdentity.member(peerURLs: instance.peerURLs, token: token)
        let cluster = restore.group?.clusterID ?? MemberIdentity.cluster(members: [member])
        let controlPlane = found.controlPlane
        let holding = try holdingDirectory(found, job.id)
        var owner = RestoreWork.Owner(user: 0, group: 0)
        let launch: RestoreWork.Launch
        switch found.launch.kind {
        case .staticPod(let pod):
            guard !controlPlane.contains(where: { $0.file == pod.manifest }) else {
                throw FleetError(
                    .notEditable, "\(pod.manifest) holds etcd and the control plane, which has to stop before it",
                    hint: "give etcd a manifest of its own, as kubeadm does")
            }
            launch = .staticPod(
                manifest: try found.files.resolve(pod.manifest),
                manifestDirectory: try found.files.resolve(found.manifests.path),
                dataPath: normalised(found.settings["data-dir"]!.value, in: pod.workingDirectory))
        case .unit(let unit):
            if let user = unit.value("User")?.text, let account = FileSystem.account(user) {
                owner = .init(user: account.user, group: account.group)
            }
            launch = .unit(name: unit.name, reload: try unit.needsReload(files.map(\.path)))
        }
        var steps: [RestoreStep] = [.fetch, .checkSnapshot, .preflight, .restoreData]
        let safety = restore.safety?.node == job.node ? restore.safety?.snapshot : nil
        if safety != nil { steps.insert(.safetySnapshot, at: 0) }
        if !controlPlane.isEmpty { steps.append(.stopControlPlane) }
        // One of several has to be off until all others are: old members that run could still form a quorum.
        let isUnit: Bool = if case .unit = launch { true } else { false }
        if isUnit || restore.group != nil { steps.append(.stopEtcd) }
        steps += [.switchFiles, .startEtcd, .verify]
        if !controlPlane.isEmpty { steps.append(.startControlPlane) }
        steps.append(.finish)
        var work = RestoreWork(
            plan: RestorePlan(
                cluster: job.cluster, node: job.node, snapshot: restore.snapshot.id, topology: instance.topology,
                oldDataDir: instance.dataDir, newDataDir: place.dataDir, oldWalDir: instance.walDir,
                newWalDir: place.walDir,
                clusterToken: token, initialCluster: nil, memberID: String(member, radix: 16),
                clusterID: String(cluster, radix: 16), holdingDirectory: holding.isEmpty ? nil : holding,
                changes: files,
                steps: []),
            snapshot: restore.snapshot, job: job.id, expires: job.expires, waitSeconds: restore.waitSeconds,
            instance: instance, launch: launch, controlPlane: controlPlane, directories: directories,
            owner: owner, wasHealthy: found.process != nil, holdingDirectory: holding, group: restore.group,
            memberID: member, clusterID: cluster, steps: steps)
        work.plan.initialCluster = work.initialCluster
        (work.safety, work.plan.safetySnapshot) = (safety, safety)
        work.bump = restore.bump
        work.hadOldData = try found.files.exists(instance.dataDir + "/member")
        work.plan.oldDirectories = work.keptData
        let onDisk: (String) throws(FleetError) -> String = { path throws(FleetError) in
            found.files.onDisk(try found.files.resolve(path))
        }
        if let old = OldIdentity.read(
            dataDir: try onDisk(instance.dataDir),
            walDir: try instance.walDir.map { path throws(FleetError) in try onDisk(path) })
        {
            (work.plan.oldMemberID, work.plan.oldClusterID) = (
                String(old.member, radix: 16), String(old.cluster, radix: 16)
            )
        }
        work.plan.steps = steps.map {
            .init(name: $0.rawValue, description: work.description(of: $0), phase: work.isMember ? $0.phase : nil)
        }
        return work
    }

    /// Where manifests wait outside the kubelet's directory, beside it; empty where none has to: no kubelet's etcd, and no control
    /// plane, which kubespray has beside an etcd of systemd's.
    static func holdingDirectory(_ found: DiscoveredEtcd, _ job: String) throws(FleetError) -> String {
        if case .unit = found.launch.kind, found.controlPlane.isEmpty { return "" }
        let manifests = try found.files.resolve(found.manifests.path)
        return normalised("\(FileSystem.parent(of: manifests))/fleet-agent/\(job)")
    }

    /// Why a restore on this node would be refused as it is now, for people who would rather know before the night of it; nil
    /// where its files and directories are as a restore can change them.
    static func obstacle(_ found: DiscoveredEtcd) -> FleetError? {
        do throws(FleetError) {
            _ = try newPlace(found, "check")
            return nil
        } catch { return error }
    }

    /// Where the new data comes, and the files that name it then.
    private struct NewPlace {
        var dataDir: String
        var walDir: String?
        var directories: [RestoreWork.NewDirectory]
        var files: [RestorePlan.FileChange]
    }

    private static func newPlace(_ found: DiscoveredEtcd, _ name: String) throws(FleetError) -> NewPlace {
        var changes = FileChanges(found)
        let data = try move(found.dataDir, "data-dir", name, found.files, &changes)
        var directories = [data.root]
        var newWalDir: String?
        if let wal = found.walDir {
            let moved = try moveWal(wal, found, data, name, &changes)
            newWalDir = moved.path
            if moved.root != data.root { directories.append(moved.root) }
        }
        for directory in directories where try found.files.exists(directory.new) {
            throw FleetError(
                .alreadyExists, "\(directory.new) exists already",
                hint: "look what it is; a new restore makes a directory with another name")
        }
        let files = try changes.result()
        try checkOneFile(files, found)
        try prove(files, found, data.path, newWalDir)
        try WritablePlaces.check(directories, files, found)
        return NewPlace(dataDir: data.path, walDir: newWalDir, directories: directories, files: files)
    }

    /// What made a directory, as its name says.
    enum Mark: String, CaseIterable { case restore, replace }

    /// "/var/lib/etcd" -> "/var/lib/etcd-restore-JOB"; the suffix of an earlier one is replaced, not added to.
    static func newName(_ path: String, job: String, _ made: Mark = .restore) -> String {
        var base = path[...]
        for mark in Mark.allCases {
            if let found = base.ranges(of: "-\(mark.rawValue)-").last,
                Identifier.isValid(String(base[found.upperBound...]))
            {
                base = base[..<found.lowerBound]
            }
        }
        return "\(base)-\(made.rawValue)-\(job)"
    }

    struct Moved {
        /// The directory itself, on the host.
        var path: String
        var root: RestoreWork.NewDirectory
    }

    static func move(
        _ directory: DiscoveredEtcd.Directory, _ flag: String, _ job: String, _ files: NodeFiles,
        _ changes: inout FileChanges, _ mark: Mark = .restore
    ) throws(FleetError) -> Moved {
        guard let volume = directory.volume else {
            let new = try place(directory.path, job, mark, files)
            try changes.set(flag, directory.origin, to: new)
            return Moved(path: new, root: .init(old: directory.path, new: new))
        }
        let old = normalised(volume.node.text!)
        let new = try place(old, job, mark, files)
        try changes.set(flag, directory.origin, to: new)
        return Moved(path: normalised(new + volume.below), root: .init(old: old, new: new))
    }

    /// Beside the old one, on the same file system. Where the old one is itself what is mounted, or a link to another disk, that
    /// is in it: etcd looks at nothing there but `member`.
    private static func place(
        _ root: String, _ job: String, _ mark: Mark, _ files: NodeFiles
    ) throws(FleetError) -> String {
        newName(try isFileSystem(root, files) ? "\(root)/data" : root, job: job, mark)
    }

    /// What is gone, after a lost disk say, is none.
    private static func isFileSystem(_ root: String, _ files: NodeFiles) throws(FleetError) -> Bool {
        guard let own = try files.status(root), let above = try files.status(FileSystem.parent(of: root)) else {
            return false
        }
        return own.device != above.device
    }

    /// A WAL directory on the data's own volume moves with it; any other gets a new place of its own.
    static func moveWal(
        _ wal: DiscoveredEtcd.Directory, _ found: DiscoveredEtcd, _ data: Moved, _ job: String,
        _ changes: inout FileChanges, _ mark: Mark = .restore
    ) throws(FleetError) -> Moved {
        if let volume = wal.volume, volume.mount.volume == found.dataDir.volume?.mount.volume {
            return Moved(path: normalised(data.root.new + volume.below), root: data.root)
        }
        if wal.volume == nil, let below = remainder(of: wal.path, below: found.dataDir.path),
            try !isFileSystem(wal.path, found.files)
        {
            try changes.set("wal-dir", wal.origin, to: data.path + below)
            return Moved(path: data.path + below, root: data.root)
        }
        return try move(wal, "wal-dir", job, found.files, &changes, mark)
    }

    /// A file changes in one step, two do not: after a power cut between them systemd would start etcd at the boot, before
    /// any agent, with the new data and the old log or the other way round, and it would write on in both.
    static func checkOneFile(
        _ changes: [RestorePlan.FileChange], _ found: DiscoveredEtcd
    ) throws(FleetError) {
        guard changes.count > 1 else { return }
        throw FleetError(
            .notEditable,
            "data-dir comes from \(found.dataDir.origin), wal-dir from \(found.walDir?.origin.description ?? "elsewhere"): "
                + "they can't be changed in one step (\(changes.map(\.path).joined(separator: ", ")))",
            hint: "set both in one file, restart etcd, then try again")
    }

    /// The node is the member that the coordinator takes it for, and no member that it knows of is left out.
    static func checkGroup(_ group: RestoreGroup, _ instance: EtcdInstance, node: String) throws(FleetError) {
        guard let own = group.members.first(where: { $0.node == node }), own.name == instance.name,
            own.peerURLs.sorted() == instance.peerURLs.sorted()
        else {
            throw FleetError(
                .notTheMember,
                "etcd on \(node) is \(instance.name) at \(instance.peerURLs.joined(separator: ",")) now, which is not "
                    + "what the restore was planned with",
                hint: "its configuration was changed meanwhile: see that it is right, then restore again")
        }
        let known = Set(group.members.map(\.name))
        let others = names(instance.initialCluster).filter { !known.contains($0) }
        guard others.isEmpty else { throw leftOut(others, "initial-cluster on \(node)") }
    }

    static func leftOut(_ names: some Sequence<String>, _ source: String) -> FleetError {
        FleetError(
            .severalMembers,
            "\(source) has members that would not be restored: \(names.sorted().joined(separator: ", "))",
            hint: "enrol an agent on each; where a member is gone for good, take it out of initial-cluster")
    }

    private static func names(_ initialCluster: String) -> Set<String> {
        let names = initialCluster.split(separator: ",").compactMap { $0.split(separator: "=").first }
        return Set(names.map { TracedText(String($0)).trimmed.text })
    }

    private static func checkOneMember(_ instance: EtcdInstance) throws(FleetError) {
        let others = names(instance.initialCluster).subtracting([instance.name])
        guard others.isEmpty else {
            throw FleetError(
                .severalMembers,
                "the cluster has other members: \(others.sorted().joined(separator: ", ")) (initial-cluster)",
                hint: "one node alone can't be restored; all members are restored together")
        }
    }

    /// - Parameter verb: "had" when the snapshot was saved, "has" now.
    static func check(members: Int, _ verb: String, _ snapshot: SnapshotRecord) throws(FleetError) {
        guard members > 1 else { return }
        throw FleetError(
            .severalMembers,
            "the cluster \(verb) \(members) members\(verb == "had" ? " when \(snapshot.id) was saved" : "")",
            hint: "one node alone can't be restored; all members are restored together")
    }

    /// Discovery of the files as they would be must find the new directories, and everything else as it is.
    static func prove(
        _ changes: [RestorePlan.FileChange], _ found: DiscoveredEtcd, _ dataDir: String, _ walDir: String?
    ) throws(FleetError) {
        var files = found.files
        for change in changes { files.put(change.result.map { Array($0.utf8) }, change.path) }
        var planned = try Discovery.discover(files, processes: [], only: found.launch.name).instance
        var expected = found.instance
        (expected.dataDir, expected.walDir) = (dataDir, walDir)
        (planned.sources, expected.sources) = ([:], [:])
        (planned.version, planned.pid) = (expected.version, expected.pid)
        guard planned == expected else {
            throw FleetError(
                .notEditable, "changing \(changes.map(\.path).joined(separator: ", ")) would change more than data-dir",
                hint: "set data-dir in one place of its own, restart etcd, then try again")
        }
    }
}
