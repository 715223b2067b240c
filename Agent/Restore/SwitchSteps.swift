internal import FleetProtocol
internal import FleetSystem

/// The files that say where etcd's data is.
extension RestoreSteps {
    func switchFiles() throws(FleetError) -> String? {
        if !work.isMember { _ = try returnEtcdManifest() }
        for change in work.plan.changes {
            let path = place(change.path)
            let now = try content(path)
            if now == change.result { continue }
            guard now == change.before else { throw changedMeanwhile(path) }
            try put(change.result, path)
        }
        try reload()
        return nil
    }

    /// - Returns: a note when the kubelet did not notice by itself.
    func switchFilesBack() throws(FleetError) -> String? {
        var note: String?
        if !work.isMember, try returnEtcdManifest() { note = Self.pushNote }
        for change in work.plan.changes {
            let path = place(change.path)
            let now = try content(path)
            if now == change.before { continue }
            if now != change.result, isOthersAndOld(now) { continue }
            guard now == change.result else { throw changedMeanwhile(path) }
            try put(change.before, path)
        }
        try reload()
        // As one of several it is off, and comes back when all of this is undone.
        guard case .staticPod = work.launch, !work.isMember else { return nil }
        if work.wasHealthy { note = try waitForPod(work.plan.oldDataDir) ?? note }
        // An etcd that failed before may never come back, but the new one has to go: its data is removed next.
        return try waitUntilNewPodIsGone() ?? note
    }

    /// A file that somebody else changed before we did, or after, and that says nothing of the new directories: it leads
    /// to the old data as it stands, so going back needs nothing of it, and their change is left alone.
    private func isOthersAndOld(_ now: String?) -> Bool {
        guard let now else { return false }
        // An undo's new directory is the beginning of its old one's name, and so is in both: the longer one tells.
        if work.plan.oldDataDir.hasPrefix(work.plan.newDataDir) {
            return work.directories.contains { now.contains($0.old) }
        }
        return ![work.plan.newDataDir, work.plan.newWalDir].contains { $0.map(now.contains) ?? false }
    }

    /// nil: no file.
    private func put(_ text: String?, _ path: String) throws(FleetError) {
        if let text { return try write(path, text) }
        try FileSystem.remove(path)
        try FileSystem.syncDirectory(FileSystem.parent(of: path))
    }

    /// Where a file is now: one of several has its etcd's manifest aside until all members are off.
    func place(_ path: String) -> String {
        guard case .staticPod(path, _, _) = work.launch, FileSystem.exists(held(path)) else { return path }
        return held(path)
    }

    /// nil where there is no file.
    func content(_ path: String) throws(FleetError) -> String? {
        guard try FileSystem.status(path) != nil else { return nil }
        return try FileSystem.readText(path)
    }

    private func write(_ path: String, _ text: String) throws(FleetError) {
        let old = try FileSystem.status(path)
        try FileSystem.makeDirectories(FileSystem.parent(of: path), mode: 0o755)
        var staging: String?
        if case .staticPod = work.launch {
            // The kubelet acts on every file in its directory, a half-written one too.
            staging = work.holdingDirectory
            try FileSystem.makeDirectories(work.holdingDirectory)
        }
        try FileSystem.writeDurably(
            path, text.utf8, mode: old?.mode ?? 0o644, owner: old.map { ($0.owner, $0.group) }, staging: staging)
    }

    private func reload() throws(FleetError) {
        guard case .unit(_, let reload) = work.launch, reload else { return }
        try Systemctl.run(["daemon-reload"], seconds: work.waitSeconds)
    }

    private func changedMeanwhile(_ path: String) -> FleetError {
        FleetError(
            .changedMeanwhile, "\(path) was changed by somebody else since the plan was made; it was left as it is",
            hint: "see what was changed in \(path), then try again")
    }
}
