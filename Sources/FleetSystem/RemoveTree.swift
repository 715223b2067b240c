private import CLinux
private import Glibc

extension FileSystem {
    /// Removes a directory and all in it, never through a symbolic link and never across a mount point.
    ///
    /// Every name is looked up in the open directory above it: one that somebody else replaces meanwhile, and etcd's user owns
    /// what root removes here, leads nowhere else. Where that is seen, it ends with an error.
    public static func removeTree(_ path: String) throws(FleetError) {
        guard let status = try status(path, following: false) else { return }
        try removeTree(path, name: path, in: AT_FDCWD, device: status.device, depth: 0)
    }

    /// Of what etcd makes it is three; each holds a descriptor.
    static let deepest = 64

    private static func removeTree(
        _ path: String, name: String, in parent: Int32, device: UInt64, depth: Int
    ) throws(FleetError) {
        let raw = fleet_open_directory_at(parent, name)
        guard raw >= 0 else {
            if errno == ENOENT { return }
            // Anything but a directory, a link to one included.
            guard errno == ENOTDIR || errno == ELOOP else { throw FleetError(errno: errno, "open \(path)") }
            if unlinkat(parent, name, 0) != 0, errno != ENOENT { throw FleetError(errno: errno, "remove \(path)") }
            return
        }
        let directory = Descriptor(owning: raw)
        guard depth < deepest else { throw FleetError(.limit, "\(path) lies too deep; it was left alone") }
        var status = stat()
        try systemCall("look at \(path)") { fstat(raw, &status) }
        guard UInt64(status.st_dev) == device else {
            throw FleetError(.system, "\(path) is a mount point; it was left alone")
        }
        for child in try names(in: directory, path) {
            try removeTree("\(path)/\(child)", name: child, in: raw, device: device, depth: depth + 1)
        }
        if unlinkat(parent, name, AT_REMOVEDIR) != 0, errno != ENOENT {
            throw FleetError(errno: errno, "remove directory \(path)")
        }
    }

    static func names(in directory: borrowing Descriptor, _ path: String) throws(FleetError) -> [String] {
        let raw = directory.raw
        // closedir(3) closes what it was given.
        let copy = try systemCall("open \(path) again") { fcntl(raw, F_DUPFD_CLOEXEC, 0) }
        guard let stream = fdopendir(copy) else {
            let error = FleetError(errno: errno, "list \(path)")
            close(copy)
            throw error
        }
        return try names(of: stream, path)
    }
}
