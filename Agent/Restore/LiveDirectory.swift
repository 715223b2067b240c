internal import FleetSystem

/// Whether a process works in a directory of the host, whatever the path is called in its own view of the files.
enum LiveDirectory {
    /// - Parameter inner: the path as the process sees it; nil is no directory.
    static func isSame(_ process: EtcdProcess, _ inner: String?, _ host: String) -> Bool {
        guard let inner, let theirs = try? FileSystem.status("/proc/\(process.pid)/root\(inner)/member"),
            let ours = try? FileSystem.status(host + "/member")
        else { return false }
        return (theirs.device, theirs.inode) == (ours.device, ours.inode)
    }
}
