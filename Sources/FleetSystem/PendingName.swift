private import CLinux
private import Glibc

/// The name that a new file gets when it is whole. Until then it has none, so that whatever ends the process, a kill or a
/// power cut, leaves nothing of its content behind. File systems that can't do that give it a name beside the target; some
/// of those, FAT and exFAT for instance, have no hard links either.
public final class PendingName: Sendable {
    private let path: String
    /// What it is called meanwhile; nil for nothing.
    private let temporary: String?
    private let hasLinks: Bool

    /// - Parameters:
    ///   - isUnnamed: false for the way of a file system that has no files without a name.
    ///   - hasLinks: false for the way of one that has no hard links.
    public init(_ path: String, isUnnamed: Bool = true, hasLinks: Bool = true) {
        self.path = path
        self.hasLinks = hasLinks
        // Naming it goes through /proc, which may not be there.
        let probe = isUnnamed && FileSystem.exists("/proc/self/fd") ? Self.openUnnamed(beside: path) : -1
        if probe >= 0 { _ = close(probe) }
        temporary = probe >= 0 ? nil : "\(path).part-\(Randomness.token(6))"
    }

    /// It was never whole, or has its own name by now.
    deinit { if let temporary { _ = unlink(temporary) } }

    private static func openUnnamed(beside path: String) -> Int32 {
        fleet_open_unnamed(FileSystem.parent(of: path), 0o600)
    }

    /// The new file, for reading and writing by its owner. Once.
    public func open() throws(FleetError) -> Descriptor {
        if let temporary { return try Descriptor.open(temporary, O_RDWR | O_CREAT | O_EXCL) }
        let path = self.path
        return Descriptor(owning: try systemCall("make a file beside \(path)") { Self.openUnnamed(beside: path) })
    }

    /// Makes it durable under its name.
    ///
    /// - Throws: `already-exists`: what has the name stays.
    public func give(to file: borrowing Descriptor) throws(FleetError) {
        try file.sync()
        let (raw, path, temporary, hasLinks) = (file.raw, self.path, self.temporary, self.hasLinks)
        try systemCall("name \(path)") {
            // open(2): "linkat(AT_FDCWD, "/proc/self/fd/<fd>", AT_FDCWD, path, AT_SYMLINK_FOLLOW)"
            temporary.map { Self.rename($0, to: path, hasLinks: hasLinks) }
                ?? linkat(AT_FDCWD, "/proc/self/fd/\(raw)", AT_FDCWD, path, AT_SYMLINK_FOLLOW)
        }
        try FileSystem.syncDirectory(FileSystem.parent(of: path))
    }

    /// In place of nothing, in the surest way that the file system has. As a system call: below 0, `errno` tells why.
    private static func rename(_ former: String, to path: String, hasLinks: Bool) -> Int32 {
        if hasLinks {
            if link(former, path) == 0 { return unlink(former) }
            // link(2): "EPERM The filesystem containing oldpath and newpath does not support the creation of hard links."
            guard [EPERM, EOPNOTSUPP, ENOSYS].contains(errno) else { return -1 }
        }
        if fleet_rename_new(former, path) == 0 { return 0 }
        // rename(2): "EINVAL The filesystem does not support one of the flags in flags." FUSE, for instance.
        guard errno == EINVAL || errno == ENOSYS else { return -1 }
        var there = stat()
        guard lstat(path, &there) != 0 else {
            errno = EEXIST
            return -1
        }
        // What comes between the two is replaced; there is no other way here.
        return Glibc.rename(former, path)
    }
}
