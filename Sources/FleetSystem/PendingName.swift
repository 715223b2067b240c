private import CLinux
private import Glibc

/// The name that a new file gets when it is whole. Until then it has none, so that whatever ends the process, a kill or a
/// power cut, leaves nothing of its content behind. File systems that can't do that give it a name beside the target.
public final class PendingName: Sendable {
    private let path: String
    /// What it is called meanwhile; nil for nothing.
    private let temporary: String?

    /// - Parameter isUnnamed: false for the way of a file system that has no files without a name.
    public init(_ path: String, isUnnamed: Bool = true) {
        self.path = path
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
        let (raw, path, temporary) = (file.raw, self.path, self.temporary)
        try systemCall("name \(path)") {
            // open(2): "linkat(AT_FDCWD, "/proc/self/fd/<fd>", AT_FDCWD, path, AT_SYMLINK_FOLLOW)"
            temporary.map { link($0, path) }
                ?? linkat(AT_FDCWD, "/proc/self/fd/\(raw)", AT_FDCWD, path, AT_SYMLINK_FOLLOW)
        }
        if let temporary { try FileSystem.remove(temporary) }
        try FileSystem.syncDirectory(FileSystem.parent(of: path))
    }
}
