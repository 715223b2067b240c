private import CLinux
private import Glibc

extension FileSystem {
    /// Whose a tree becomes.
    public struct Heir: Sendable {
        var user: UInt32
        var group: UInt32
        /// The SELinux label; nil leaves those that there are.
        var label: [UInt8]?

        public init(user: UInt32, group: UInt32, label: [UInt8]?) {
            (self.user, self.group, self.label) = (user, group, label)
        }
    }

    /// Gives all files and directories of a tree to somebody, who may be at work beside it; all of it and its name are on the
    /// disk when this returns.
    ///
    /// Every name is looked up in the open directory above it, and a directory is given away behind what it holds: until then
    /// only root puts anything there. The tree's own name may be in a directory of theirs, so what is there is not trusted
    /// either: a link, or a file that has another name elsewhere, would be given away with what it leads to.
    ///
    /// - Parameter mode: of a directory, by its path; nil leaves the one that it has.
    /// - Throws: `not-handed-over` for what is neither a directory nor a file of one name; some of the rest may be given then.
    public static func handOver(
        _ path: String, to heir: Heir, mode: (String) throws(FleetError) -> UInt32?
    ) throws(FleetError) {
        try handOver(path, name: path, in: AT_FDCWD, heir, mode, depth: 0)
        try syncDirectory(parent(of: path))
    }

    private static func handOver(
        _ path: String, name: String, in parent: Int32, _ heir: Heir, _ mode: (String) throws(FleetError) -> UInt32?,
        depth: Int
    ) throws(FleetError) {
        func refused(_ what: String) -> FleetError {
            FleetError(
                .notHandedOver, "\(path) is \(what); it was left as it is",
                hint: "see who has changed it: the agent had just made it")
        }
        let raw = fleet_open_at(parent, name)
        guard raw >= 0 else {
            throw errno == ELOOP ? refused("a symbolic link") : FleetError(errno: errno, "open \(path)")
        }
        let file = Descriptor(owning: raw)
        var status = stat()
        try systemCall("look at \(path)") { fstat(raw, &status) }
        let isDirectory = status.st_mode & S_IFMT == S_IFDIR
        if isDirectory {
            guard depth < deepest else { throw FleetError(.limit, "\(path) lies too deep; it was left alone") }
            for child in try names(in: file, path) {
                try handOver("\(path)/\(child)", name: child, in: raw, heir, mode, depth: depth + 1)
            }
        } else if status.st_mode & S_IFMT != S_IFREG {
            throw refused("neither a file nor a directory")
        } else if status.st_nlink > 1 {
            throw refused("a file that has another name too")
        }
        let newMode = try isDirectory ? mode(path) : nil
        do throws(FleetError) {
            try systemCall("change owner") { fchown(raw, heir.user, heir.group) }
            if let label = heir.label { try file.setLabel(label) }
            if let newMode { try systemCall("change mode") { fchmod(raw, newMode) } }
            try file.sync()
        } catch { throw error.during(path) }
    }
}

extension FleetError.Code {
    /// What was to be given to somebody is not what it was.
    public static let notHandedOver: Self = "not-handed-over"
}
