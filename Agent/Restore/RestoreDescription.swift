internal import FleetProtocol
internal import FleetSystem

extension RestoreWork {
    /// What a step does on this node, for the plan that people read. What differs between like nodes is not in it: of
    /// several members, those with the same steps are shown once.
    func description(of step: RestoreStep) -> String {
        let components = controlPlane.map(\.component).joined(separator: ", ")
        let files = plan.changes.map(\.path).joined(separator: ", ")
        switch step {
        case .safetySnapshot:
            return
                "save what is there as snapshot \(safety ?? ""), pinned, if etcd answers; if it does not, the restore goes on"
        case .fetch: return "fetch snapshot \(snapshot.id) (\(snapshot.size) bytes) into the spool"
        case .checkSnapshot: return "check its length, SHA-256, etcd's own digest and `snapshot status`"
        case .preflight where undoes != nil:
            return "check certificates, tools, that \(plan.newDataDir) is what the restore left and that "
                + "no member was added"
        case .preflight:
            return "check space, certificates, tools and that the cluster has "
                + (group.map { "these \($0.members.count) members" } ?? "this one member")
        case .restoreData:
            let wal = plan.newWalDir.map { ", WAL to \($0)" } ?? ""
            return "restore to \(plan.newDataDir)\(wal), with owner and mode of \(plan.oldDataDir)"
        case .stopControlPlane: return "move the manifests of \(components) aside and wait until they are gone"
        case .stopEtcd:
            guard case .staticPod(let manifest, _, _) = launch else {
                return "stop \(unitName) and be sure that its process is gone"
            }
            return "move \(manifest) aside and wait until etcd is gone"
        case .switchFiles: return "change \(files)"
        case .startEtcd:
            if case .unit(let name, let reload) = launch {
                return (reload ? "reload systemd and " : "") + "start \(name)"
            }
            return (isMember ? "put its manifest back and " : "")
                + "wait until the kubelet runs etcd on \(plan.newDataDir); "
                + "if it has not noticed after \(waitSeconds / 2) s, move the manifest out and back"
        case .verify where undoes != nil:
            return "check health, the ids of before, members, revision and alarms"
                + (isMember ? "; compare HashKV with the other members" : "")
        case .verify:
            return "check health, the new ids, members, revision, keys and alarms; disarm NOSPACE"
                + (isMember ? "; compare HashKV with the other members" : "")
        case .startControlPlane:
            return
                "put the manifests of \(components) back, the apiserver's first, wait for each, then restart the kubelet"
        case .finish:
            let first = undoes == nil ? ["remove the snapshot from the spool"] : []
            let rest =
                ["\(undoes == nil ? oldPlace : plan.oldDataDir) stays as it is"] + (kubeadmNote.map { [$0] } ?? [])
            return (first + rest).joined(separator: "; ")
        }
    }

    var unitName: String {
        switch launch {
        case .unit(let name, _): name
        case .staticPod(let manifest, _, _): manifest
        }
    }

    /// One line for an outcome.
    var success: String {
        guard undoes == nil else {
            return "undone: \(plan.newDataDir) is in force again; what was written since the restore is kept in "
                + plan.oldDataDir
        }
        return "restored \(snapshot.id); \(oldData)"
    }

    /// What people should know behind a success, and do. Like nodes say the same, so that it is shown once.
    var notes: [String] {
        let revisions =
            undoes == nil
            ? "it begins at \(plan.revisions ?? "revision \(snapshot.facts.status.revision)")"
            : "it goes on at \(plan.revisions ?? "its own revisions")"
        return [revisions] + (kubeadmNote.map { [$0] } ?? [])
    }

    /// One line for the outcome of what went back.
    func takenBack(_ remarks: [String], _ unhealthy: [String]) -> String {
        let force =
            hasOldData
            ? "the \(configurationBefore) and \(plan.oldDataDir) are in force again"
            : "the \(configurationBefore) is in force again; \(oldData)"
        // A remark may be the very reason why it is not healthy.
        let but = unhealthy.filter { !remarks.contains($0) }
        let seen = but.isEmpty ? force : force + ", but " + but.joined(separator: ", and ")
        let before = wasHealthy || !remarks.isEmpty ? [] : ["etcd was not healthy before, and was not waited for"]
        return (["rolled back: " + seen] + remarks + before).joined(separator: "; ")
    }

    /// What a rollback puts back.
    var configurationBefore: String { undoes == nil ? "old configuration" : "restored configuration" }

    /// `kubeadm upgrade` writes etcd's manifest anew from the cluster's configuration, which still names the old
    /// directory: etcd would start on the data from before the restore, and nobody would be told.
    var kubeadmNote: String? {
        guard plan.topology == .stacked else { return nil }
        // The field is what the manifest mounts, not a directory below it.
        let directory = directories.first?.new ?? plan.newDataDir
        return "before the next kubeadm upgrade set etcd.local.dataDir to \(directory) in ClusterConfiguration "
            + "(kubectl -n kube-system edit configmap kubeadm-config), or it starts etcd on the old data again"
    }

    /// A restore may follow the loss of the directory; then there is nothing that could be kept.
    var oldData: String {
        if hasOldData { return "old data kept in \(oldPlace)" }
        return FileSystem.exists(plan.oldDataDir)
            ? "\(plan.oldDataDir) held no data before" : "\(plan.oldDataDir) was gone before"
    }

    /// Never a directory that the new data is in: whoever reads it may remove that.
    private var oldPlace: String {
        directories.contains(where: \.isInside) ? keptData.joined(separator: ", ") : plan.oldDataDir
    }

    /// What is there now may have been made on the way: a kubelet makes the directory of a volume, and etcd its data.
    private var hasOldData: Bool { hadOldData ?? FileSystem.exists(plan.oldDataDir + "/member") }
}
