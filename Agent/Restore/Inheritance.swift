internal import FleetSystem

/// What a new directory takes over from the one that it stands in for: owner, modes, SELinux label. A restored
/// database belongs to whoever ran the tool, and an etcd that runs as another user could not open it.
enum Inheritance {
    /// All of it is on the disk when this returns.
    ///
    /// - Parameter fallback: the owner where the old directory is gone, as after a lost disk.
    /// - Throws: `not-handed-over` where somebody has put something else there meanwhile.
    static func carryOver(
        _ directory: RestoreWork.NewDirectory, fallback: RestoreWork.Owner
    ) throws(FleetError) {
        let old = try FileSystem.status(directory.old)
        let owner = old.map { RestoreWork.Owner(user: $0.owner, group: $0.group) } ?? fallback
        let heir = FileSystem.Heir(
            user: owner.user, group: owner.group, label: FileSystem.label(directory.old))
        try FileSystem.handOver(directory.new, to: heir) { (path) throws(FleetError) in
            // Directories that both have keep their mode; for the rest the tool's own, which is 0700, is right.
            try FileSystem.status(directory.old + path.dropFirst(directory.new.count))?.mode
        }
    }
}
