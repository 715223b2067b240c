internal import FleetSystem

/// What a new directory takes over from the one that it stands in for: owner, modes, SELinux label. A restored
/// database belongs to whoever ran the tool, and an etcd that runs as another user could not open it.
enum Inheritance {
    /// - Parameter fallback: the owner where the old directory is gone, as after a lost disk.
    static func carryOver(
        _ directory: RestoreWork.NewDirectory, fallback: RestoreWork.Owner
    ) throws(FleetError) {
        let old = try FileSystem.status(directory.old)
        let owner = old.map { RestoreWork.Owner(user: $0.owner, group: $0.group) } ?? fallback
        let label = FileSystem.label(directory.old)
        try FileSystem.walk(directory.new) { (path, status) throws(FleetError) in
            try FileSystem.setOwner(path, owner.user, owner.group)
            if let label { try FileSystem.setLabel(path, label) }
            guard status.kind == .directory else { return }
            // Directories that both have keep their mode; for the rest the tool's own, which is 0700, is right.
            let counterpart = directory.old + path.dropFirst(directory.new.count)
            if let mode = try FileSystem.status(counterpart)?.mode { try FileSystem.setMode(path, mode) }
        }
    }
}
