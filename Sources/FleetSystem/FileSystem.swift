private import CLinux
private import Glibc

/// Files and directories, as far as the fleet needs them. Every function blocks: call them off the reactor and off
/// the cooperative pool (`Blocking.run`).
public enum FileSystem {
    public struct Status: Sendable, Equatable {
        public enum Kind: Sendable { case file, directory, symbolicLink, other }
        public var kind: Kind
        public var size: Int64
        public var mode: UInt32
        public var owner: UInt32
        public var group: UInt32
        public var device: UInt64
        public var inode: UInt64
        /// Last change of content, seconds since the epoch.
        public var modified: Int64
    }

    /// nil where there is nothing. `following` false looks at a symbolic link itself.
    public static func status(_ path: String, following: Bool = true) throws(FleetError) -> Status? {
        var buffer = stat()
        let result = following ? stat(path, &buffer) : lstat(path, &buffer)
        guard result == 0 else {
            if errno == ENOENT || errno == ENOTDIR { return nil }
            throw FleetError(errno: errno, "look at \(path)")
        }
        return status(buffer)
    }

    /// Of an open file itself, whatever has its name by now.
    static func status(ofOpen raw: Int32) throws(FleetError) -> Status {
        var buffer = stat()
        try systemCall("look at an open file") { fstat(raw, &buffer) }
        return status(buffer)
    }

    fileprivate static func status(_ buffer: stat) -> Status {
        let kind: Status.Kind =
            switch buffer.st_mode & S_IFMT {
            case S_IFREG: .file
            case S_IFDIR: .directory
            case S_IFLNK: .symbolicLink
            default: .other
            }
        return Status(
            kind: kind, size: Int64(buffer.st_size), mode: buffer.st_mode & 0o7777, owner: buffer.st_uid,
            group: buffer.st_gid, device: UInt64(buffer.st_dev), inode: UInt64(buffer.st_ino),
            modified: Int64(buffer.st_mtim.tv_sec))
    }

    public static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// Whether the name is taken, by a symbolic link to nowhere too: a relative one leads nowhere from where it was moved to.
    public static func isThere(_ path: String) -> Bool {
        var buffer = stat()
        return lstat(path, &buffer) == 0
    }

    /// Whether this process may make, rename and remove names in a directory: root may by its mode, and still not where the
    /// file system, or this process's own view of it, is read-only.
    public static func isWritable(_ directory: String) -> Bool { access(directory, W_OK) == 0 }

    /// A file that this process may start.
    public static func isExecutable(_ path: String) -> Bool {
        guard let kind = try? status(path)?.kind, kind == .file else { return false }
        return access(path, X_OK) == 0
    }

    /// The whole file, refused above `limit` bytes before anything is allocated for it. Files of /proc, whose size
    /// reads 0, are read as they come.
    public static func read(_ path: String, limit: Int = 16 << 20) throws(FleetError) -> [UInt8] {
        let file = try Descriptor.open(path, O_RDONLY)
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count: Int
            do throws(FleetError) { count = try file.read(into: &chunk) } catch { throw error.during(path) }
            if count == 0 { return bytes }
            guard bytes.count + count <= limit else {
                throw FleetError(
                    .malformed, "\(path) is larger than \(limit) bytes", hint: "this is not the file that was meant")
            }
            bytes += chunk[..<count]
        }
    }

    public static func readText(_ path: String, limit: Int = 16 << 20) throws(FleetError) -> String {
        String(decoding: try read(path, limit: limit), as: UTF8.self)
    }

    /// Names in a directory, sorted, without "." and "..".
    public static func list(_ path: String) throws(FleetError) -> [String] {
        guard let directory = opendir(path) else { throw FleetError(errno: errno, "list \(path)") }
        return try names(of: directory, path)
    }

    /// Closes the stream.
    static func names(of directory: OpaquePointer, _ path: String) throws(FleetError) -> [String] {
        defer { closedir(directory) }
        var names: [String] = []
        while true {
            // readdir(3): "If the end of the directory stream is reached, NULL is returned and errno is not changed." A list
            // that an error has cut must not be taken for the whole: what is not in it may be deleted.
            errno = 0
            guard let entry = readdir(directory) else { break }
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        guard errno == 0 else { throw FleetError(errno: errno, "list \(path)") }
        return names.sorted()
    }

    public static func readLink(_ path: String) throws(FleetError) -> String {
        var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let count = try systemCall("read link \(path)") {
            buffer.withUnsafeMutableBytes {
                readlink(path, $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count)
            }
        }
        return String(decoding: buffer[..<count], as: UTF8.self)
    }

    /// Makes the directory and what is missing above it; an existing one is fine. New ones get `mode`.
    public static func makeDirectories(_ path: String, mode: UInt32 = 0o700) throws(FleetError) {
        if let status = try status(path) {
            guard status.kind == .directory else {
                throw FleetError(.alreadyExists, "\(path) exists and is not a directory")
            }
            return
        }
        let parent = parent(of: path)
        if parent != path { try makeDirectories(parent, mode: mode) }
        if mkdir(path, mode) == 0 {
            // The umask may have taken bits away: what was asked for is what is set.
            try setMode(path, mode)
        } else if errno != EEXIST {
            throw FleetError(errno: errno, "make directory \(path)")
        }
        try syncDirectory(parent)
    }

    public static func remove(_ path: String) throws(FleetError) {
        if unlink(path) != 0, errno != ENOENT { throw FleetError(errno: errno, "remove \(path)") }
    }

    /// rename(2), then the directories are synced: after this returns, the new name survives a power cut.
    public static func rename(_ from: String, to: String) throws(FleetError) {
        try systemCall("rename \(from) to \(to)") { Glibc.rename(from, to) }
        try syncDirectory(parent(of: to))
        if parent(of: from) != parent(of: to) { try syncDirectory(parent(of: from)) }
    }

    public static func syncDirectory(_ path: String) throws(FleetError) {
        let directory = try Descriptor.open(path, O_RDONLY | O_DIRECTORY)
        do throws(FleetError) { try directory.sync() } catch { throw error.during(path) }
    }

    /// The durable write, written once: a temporary file in the target's own directory (or in `staging`, on the same
    /// file system, where every file of the target's directory is acted on by somebody), synced, renamed over the
    /// target, directory synced. After a crash at any moment the target is the old file or the new one, whole.
    public static func writeDurably(
        _ path: String, _ bytes: some Sequence<UInt8>, mode: UInt32 = 0o600, owner: (UInt32, UInt32)? = nil,
        staging: String? = nil
    ) throws(FleetError) {
        let directory = staging ?? parent(of: path)
        let temporary = "\(directory)/.\(name(of: path)).\(Randomness.token(8)).tmp"
        do throws(FleetError) {
            let file = try Descriptor.open(temporary, O_WRONLY | O_CREAT | O_EXCL, mode: mode)
            try file.write(bytes)
            let raw = file.raw
            // The umask may have taken bits away at open; what was asked for is what is set.
            try systemCall("set mode") { fchmod(raw, mode) }
            if let owner { try systemCall("set owner") { fchown(raw, owner.0, owner.1) } }
            try file.sync()
            try file.close()
            try rename(temporary, to: path)
        } catch {
            _ = unlink(temporary)
            throw error.during("write \(path)")
        }
    }

    /// A durable copy of one file's bytes, whole under its new name or not there; an existing one is replaced.
    public static func copyDurably(_ from: String, to: String, mode: UInt32) throws(FleetError) {
        let temporary = "\(parent(of: to))/.\(name(of: to)).\(Randomness.token(8)).tmp"
        do throws(FleetError) {
            let source = try Descriptor.open(from, O_RDONLY)
            let target = try Descriptor.open(temporary, O_WRONLY | O_CREAT | O_EXCL, mode: mode)
            var chunk = [UInt8](repeating: 0, count: 1 << 20)
            while true {
                let count = try source.read(into: &chunk)
                if count == 0 { break }
                try target.write(chunk[..<count])
            }
            try target.sync()
            try target.close()
            try setMode(temporary, mode)
            try rename(temporary, to: to)
        } catch {
            _ = unlink(temporary)
            throw error.during("copy \(from) to \(to)")
        }
    }

    public static func setMode(_ path: String, _ mode: UInt32) throws(FleetError) {
        try systemCall("change mode of \(path)") { chmod(path, mode) }
    }

    /// Whether `path` is on a file system that takes memory for disk.
    public static func isInMemory(_ path: String) throws(FleetError) -> Bool {
        try systemCall("look at \(path)") { fleet_is_in_memory(path) } == 1
    }

    /// Bytes that an unprivileged writer may still use on the file system that holds `path`.
    public static func freeSpace(_ path: String) throws(FleetError) -> Int64 {
        var buffer = statvfs()
        try systemCall("free space of \(path)") { statvfs(path, &buffer) }
        return Int64(buffer.f_bavail) * Int64(buffer.f_frsize)
    }

    /// Gives the whole file system blocks inside `range` back; they then read as zeros, and the length stays. Not durable
    /// when this returns: behind a power cut the bytes may be there again.
    ///
    /// - Returns: false where the file system can't do that.
    public static func punch(_ path: String, _ range: Range<Int64>) throws(FleetError) -> Bool {
        let file = try Descriptor.open(path, O_WRONLY | O_NOFOLLOW)
        if fleet_punch_hole(file.raw, range.lowerBound, range.upperBound - range.lowerBound) != 0 {
            if errno == EOPNOTSUPP { return false }
            throw FleetError(errno: errno, "give back space of \(path)")
        }
        return true
    }

    /// Bytes on the disk of a file, which may have holes.
    public static func allocatedBytes(_ path: String) throws(FleetError) -> Int64 {
        var buffer = stat()
        try systemCall("look at \(path)") { stat(path, &buffer) }
        return Int64(buffer.st_blocks) * 512
    }

    /// Bytes of all regular files below a directory.
    public static func treeSize(_ path: String) throws(FleetError) -> Int64 {
        var total: Int64 = 0
        try walk(path) { _, status in if status.kind == .file { total += status.size } }
        return total
    }

    /// "/a/b" -> "/a", "b" -> ".", "/" -> "/".
    public static func parent(of path: String) -> String {
        let trimmed = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
        guard let slash = trimmed.lastIndex(of: "/") else { return "." }
        return slash == trimmed.startIndex ? "/" : String(trimmed[..<slash])
    }

    public static func name(of path: String) -> String {
        path.split(separator: "/").last.map(String.init) ?? path
    }
}
