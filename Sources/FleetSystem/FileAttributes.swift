private import CLinux
private import Glibc

/// What a directory tree carries besides its content: who owns it, its mode, its SELinux label.
extension FileSystem {
    fileprivate static let labelName = "security.selinux"

    /// The SELinux label, its final zero byte included; nil where the system or the file has none. Of a symbolic link, as
    /// `status`, that of what it leads to.
    public static func label(_ path: String) -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 512)
        let count = getxattr(path, labelName, &buffer, buffer.count)
        return count > 0 ? Array(buffer[..<count]) : nil
    }

    /// Calls `body` for a path and all below it, a directory before what it holds, never through a symbolic link; where others
    /// can change the tree meanwhile, nothing may be changed by what it tells.
    public static func walk(
        _ path: String, _ body: (String, Status) throws(FleetError) -> Void
    ) throws(FleetError) {
        guard let status = try status(path, following: false) else { return }
        try body(path, status)
        guard status.kind == .directory else { return }
        for name in try list(path) { try walk(path + "/" + name, body) }
    }

    /// User and primary group of an account of this host; nil where there is no such account.
    public static func account(_ name: String) -> (user: UInt32, group: UInt32)? {
        if let id = UInt32(name) { return (id, id) }
        var entry = passwd()
        var result: UnsafeMutablePointer<passwd>?
        var buffer = [CChar](repeating: 0, count: 16 << 10)
        guard getpwnam_r(name, &entry, &buffer, buffer.count, &result) == 0, result != nil else { return nil }
        return (entry.pw_uid, entry.pw_gid)
    }
}

extension Descriptor {
    /// - Parameter label: the SELinux label, with its final zero byte.
    public borrowing func setLabel(_ label: [UInt8]) throws(FleetError) {
        try systemCall("label") { fsetxattr(raw, FileSystem.labelName, label, label.count, 0) }
    }
}
