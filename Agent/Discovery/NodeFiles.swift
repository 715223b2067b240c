internal import FleetSystem

/// The files of a node, named as the node itself names them. At `/` that is this machine; below another root it is a
/// copy of a node's file system, and every symbolic link is followed inside it, never out of it.
public struct NodeFiles: Sendable {
    public let root: String
    /// Contents that files would have, by resolved path: how a plan is tried before anything is written.
    var overlay: [String: [UInt8]] = [:]
    /// Files that would be gone.
    private var removed: Set<String> = []

    /// nil: it would be gone.
    mutating func put(_ bytes: [UInt8]?, _ resolved: String) {
        overlay[resolved] = bytes
        if bytes == nil { removed.insert(resolved) }
    }

    public init(root: String = "/") {
        self.root = root.count > 1 && root.hasSuffix("/") ? String(root.dropLast()) : root
    }

    var isLive: Bool { root == "/" }

    /// False where a file's absence says nothing: a copy of a node often leaves out whole directories, those of the
    /// private keys first of all.
    func couldHold(_ path: String) throws(FleetError) -> Bool {
        if isLive || !overlay.isEmpty { return true }
        return try exists(FileSystem.parent(of: path))
    }

    /// The node's path without symbolic links. What does not exist resolves to itself.
    ///
    /// - Throws: `malformed` for a loop of links.
    func resolve(_ path: String) throws(FleetError) -> String { try follow(path).path }

    /// The same, with the links that were followed on the way: each where it really is.
    func follow(_ path: String) throws(FleetError) -> (path: String, links: [String]) {
        var pending = path.split(separator: "/").map(String.init)[...]
        var done: [String] = []
        var links: [String] = []
        while let part = pending.popFirst() {
            if part == "." { continue }
            if part == ".." {
                _ = done.popLast()
                continue
            }
            let candidate = "/" + (done + [part]).joined(separator: "/")
            guard try FileSystem.status(onDisk(candidate), following: false)?.kind == .symbolicLink else {
                done.append(part)
                continue
            }
            links.append(candidate)
            guard links.count <= 40 else {
                throw FleetError(.malformed, "\(path) is a loop of symbolic links", hint: "correct the links")
            }
            let target = try FileSystem.readLink(onDisk(candidate))
            if target.hasPrefix("/") { done = [] }
            pending = target.split(separator: "/").map(String.init) + pending
        }
        return ("/" + done.joined(separator: "/"), links)
    }

    /// Where a resolved path of the node lies on this machine.
    func onDisk(_ resolved: String) -> String { isLive ? resolved : root + resolved }

    func status(_ path: String) throws(FleetError) -> FileSystem.Status? {
        let resolved = try resolve(path)
        return removed.contains(resolved) ? nil : try FileSystem.status(onDisk(resolved), following: false)
    }

    func exists(_ path: String) throws(FleetError) -> Bool {
        let resolved = try resolve(path)
        if removed.contains(resolved) { return false }
        return overlay[resolved] != nil ? true : try FileSystem.status(onDisk(resolved), following: false) != nil
    }

    /// - Throws: `not-found`, `permission-denied`; the message names the node's path.
    func read(_ path: String) throws(FleetError) -> [UInt8] {
        let resolved = try resolve(path)
        if let planned = overlay[resolved] { return planned }
        if removed.contains(resolved) { throw FleetError(.notFound, "\(path) would be gone") }
        return try FileSystem.read(onDisk(resolved))
    }

    /// Names in a directory, sorted; nothing where there is no directory.
    func list(_ path: String) throws(FleetError) -> [String] {
        let resolved = try resolve(path)
        var names: Set<String> = []
        if try FileSystem.status(onDisk(resolved), following: false)?.kind == .directory {
            names = Set(try FileSystem.list(onDisk(resolved)))
        }
        for planned in overlay.keys where FileSystem.parent(of: planned) == resolved {
            names.insert(FileSystem.name(of: planned))
        }
        return names.filter { !removed.contains(resolved == "/" ? "/" + $0 : resolved + "/" + $0) }.sorted()
    }
}

/// "/a//b/./c/../d" -> "/a/b/d"; a relative path is taken from `directory`.
func normalised(_ path: String, in directory: String = "/") -> String {
    var parts: [Substring] = []
    for part in (path.hasPrefix("/") ? path : directory + "/" + path).split(separator: "/") where part != "." {
        if part == ".." { _ = parts.popLast() } else { parts.append(part) }
    }
    return "/" + parts.joined(separator: "/")
}

/// What is left of `path` below `directory` ("" for itself, "/x" for a child), nil when it is not inside.
func remainder(of path: String, below directory: String) -> String? {
    if directory == "/" { return path == "/" ? "" : path }
    guard path.hasPrefix(directory) else { return nil }
    let rest = path.dropFirst(directory.count)
    return rest.isEmpty || rest.hasPrefix("/") ? String(rest) : nil
}
