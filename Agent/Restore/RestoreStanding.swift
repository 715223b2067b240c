internal import FleetProtocol
internal import FleetSystem

extension RestoreSteps {
    /// Where the node stands, read off the node itself: for people who have to take over.
    func standing() throws(FleetError) -> String {
        var parts: [String] = []
        for change in work.plan.changes {
            let now = try content(place(change.path))
            let state =
                now == change.result
                ? (work.undoes == nil ? "names the new directory" : "is as before the restore")
                : now == change.before ? "is as before" : "was changed by somebody else"
            parts.append("\(change.path) \(now == nil ? "is not there" : state)")
        }
        let away = work.heldManifests
        if !away.isEmpty {
            parts.append("in \(work.holdingDirectory): \(away.map(FileSystem.name).joined(separator: ", "))")
        }
        let processes = try ProcessTable.etcds()
        let inner: (EtcdProcess) -> String? = { process in
            if case .staticPod(_, _, let path) = work.launch { path } else { process.openDataDir }
        }
        if processes.contains(where: { LiveDirectory.isSame($0, inner($0), work.plan.newDataDir) }) {
            parts.append("etcd runs on \(work.plan.newDataDir)")
        } else if processes.contains(where: { LiveDirectory.isSame($0, inner($0), work.plan.oldDataDir) }) {
            parts.append("etcd runs on \(work.plan.oldDataDir)")
        } else {
            parts.append("etcd does not run")
        }
        parts.append(work.oldData)
        return parts.joined(separator: "; ")
    }
}
