internal import FleetProtocol
internal import FleetSystem

/// Removes what a committed restore has left behind, once somebody signed it off. This is the one place that deletes data of
/// an etcd that ever served, so it asks the node itself each time: a directory goes only if the journal names it as old, no
/// etcd that is configured or runs here has anything to do with it, and its path leads there without a symbolic link.
struct OldDirectories: Sendable {
    /// Of the restore, or of the undo.
    let done: RestoreWork
    let restored: String

    struct Result: Sendable, Equatable {
        /// Removed, or in a dry run: would be.
        var removed: [(path: String, size: Int64)] = []
        var gone: [String] = []

        static func == (a: Self, b: Self) -> Bool {
            a.gone == b.gone && a.removed.map(\.path) == b.removed.map(\.path)
        }
    }

    /// All are looked at before the first is touched.
    ///
    /// - Throws: `in-force`, `symbolic-link`, `mount-point`; what can't be removed, naming what is still there.
    func remove(_ found: DiscoveredEtcd, _ processes: [EtcdProcess], dryRun: Bool) throws(FleetError) -> Result {
        var result = Result()
        var present: [String] = []
        for directory in done.directories {
            var isThere = false
            let parts = try parts(directory)
            for part in parts {
                try checkPath(part)
                try checkUse(part, directory, found, processes)
                // Moved aside first, so that half of it is never taken for the old data.
                for path in [part, aside(part)] where try FileSystem.status(path, following: false) != nil {
                    // Emptied before: its bare directory is all that the agent has to leave.
                    if try checkMounts(path) == .agentsOwn, try FileSystem.list(path).isEmpty { continue }
                    if path == directory.old { try checkContents(path) }
                    isThere = true
                    present.append(path)
                    result.removed.append((path, try FileSystem.treeSize(path)))
                }
            }
            if !isThere { result.gone += parts }
        }
        guard !dryRun else { return result }
        for (index, path) in present.enumerated() {
            do throws(FleetError) {
                if try mounts(path) == .agentsOwn {
                    // Nothing is renamed across a mount, so what is in it is moved aside in it.
                    try empty(path, to: path + "/" + mark)
                    try FileSystem.removeTree(path + "/" + mark)
                    continue
                }
                if !path.hasSuffix(mark) { try empty(path, to: aside(path)) }
                try FileSystem.removeTree(path)
                if !path.hasSuffix(mark) { try FileSystem.removeTree(aside(path)) }
            } catch {
                throw FleetError(
                    error.code,
                    "still on this node: \(present[index...].joined(separator: ", ")): \(error.message)",
                    hint: "\(error.hint ?? "correct the cause"), then run the cleanup again")
            }
        }
        return result
    }

    private func parts(_ directory: RestoreWork.NewDirectory) throws(FleetError) -> [String] {
        var parts: [String] = []
        for part in RestoreWork.oldParts(of: directory, done.directories, done.plan) {
            switch part {
            case .directory(let path): parts.append(path)
            case .segments(let wal):
                guard FileSystem.exists(wal) else { continue }
                // One that was moved aside is found by the name that it had.
                let names = try FileSystem.list(wal).map { $0.hasSuffix(mark) ? String($0.dropLast(mark.count)) : $0 }
                for name in Set(names).sorted() where try isSegment(name, in: wal, orGone: true) {
                    parts.append("\(wal)/\(name)")
                }
            }
        }
        return parts
    }

    /// What is in it goes by one rename each, and the directory itself stays in its place: an overlay file system, which has
    /// a part of it in its lower layer, can't rename that.
    private func empty(_ path: String, to aside: String) throws(FleetError) {
        try FileSystem.removeTree(aside)
        try FileSystem.makeDirectories(aside)
        guard try FileSystem.status(path, following: false)?.kind == .directory else { return }
        for name in try FileSystem.list(path) where "\(path)/\(name)" != aside {
            try FileSystem.rename("\(path)/\(name)", to: "\(aside)/\(name)")
        }
    }

    private var mark: String { ".removed-by-\(restored)" }
    private func aside(_ path: String) -> String { path + mark }

    private func checkPath(_ path: String) throws(FleetError) {
        var place = path
        while place != "/" {
            if try FileSystem.status(place, following: false)?.kind == .symbolicLink {
                throw FleetError(
                    .symbolicLink, "\(place) is a symbolic link, and nothing is removed through one",
                    hint: "see where it leads, then remove \(path) by hand")
            }
            place = FileSystem.parent(of: place)
        }
    }

    /// A volume may hold more than etcd's data, and people save snapshots where etcd can write: what etcd did not make there
    /// is not removed with it.
    private func checkContents(_ path: String) throws(FleetError) {
        let data = [(done.plan.oldDataDir, false)] + (done.plan.oldWalDir.map { [($0, true)] } ?? [])
        var places = [path]
        for (place, _) in data where remainder(of: place, below: path).map({ !$0.isEmpty }) ?? false {
            places.append(place)
        }
        for place in places {
            guard try FileSystem.status(place, following: false)?.kind == .directory else { continue }
            var strange: [String] = []
            for name in try FileSystem.list(place) {
                let entry = "\(place)/\(name)"
                var isEtcds = name == mark
                for (directory, isWal) in data where !isEtcds {
                    if directory == place {
                        isEtcds = isWal ? try isSegment(name, in: place) : name == "member"
                    } else {
                        isEtcds = entry == directory || remainder(of: directory, below: entry) != nil
                    }
                }
                if !isEtcds { strange.append(name) }
            }
            guard strange.isEmpty else {
                throw FleetError(
                    .notEtcds,
                    "\(place) holds what etcd did not make: \(strange.sorted().prefix(5).joined(separator: ", "))",
                    hint: "nothing was removed; move that away if it is of use, then run the cleanup again")
            }
        }
    }

    /// A file that is named exactly as etcd names its log's (etcd: wal.walName; filePipeline counts "0.tmp", "1.tmp"): beside
    /// them may be somebody else's.
    private func isSegment(_ name: String, in wal: String, orGone: Bool = false) throws(FleetError) -> Bool {
        guard name.wholeMatch(of: /[0-9a-f]{16}-[0-9a-f]{16}\.wal(\.broken)?|[0-9]+\.tmp/) != nil else { return false }
        guard let status = try FileSystem.status("\(wal)/\(name)", following: false) else { return orGone }
        return status.kind == .file
    }

    /// In force, or above or below what is; but a directory that a restore had made in one whose etcd is back in force.
    private func checkUse(
        _ path: String, _ directory: RestoreWork.NewDirectory, _ found: DiscoveredEtcd, _ processes: [EtcdProcess]
    ) throws(FleetError) {
        func refuse(_ by: String) -> FleetError {
            FleetError(
                .inForce, "\(path) is in force: \(by)",
                hint: "nothing was removed; see 'fleetctl cluster show' for where etcd's data is")
        }
        let target = try FileSystem.status(path)
        let wasMadeInside = remainder(of: directory.old, below: directory.new).map { !$0.isEmpty } ?? false
        for (place, data) in [(found.dataDir, "/member"), (found.walDir, "")] {
            guard let place else { continue }
            let used = try found.files.resolve(place.path)
            // Beside what etcd makes in a directory is none of its data: in that of a log are only files.
            let isBeside = wasMadeInside && (data.isEmpty || remainder(of: path, below: used + data) == nil)
            if remainder(of: used, below: path) != nil || (!isBeside && remainder(of: path, below: used) != nil) {
                throw refuse("\(place.origin) names \(place.path)")
            }
            if isAbove(target, used + data, root: "") { throw refuse("\(place.origin) leads there") }
        }
        for process in processes {
            guard let inner = process.openDataDir else { continue }
            if isAbove(target, inner + "/member", root: "/proc/\(process.pid)/root") {
                throw refuse("process \(process.pid) has a database open in it")
            }
        }
    }

    /// By what it is, not by what it is called: a container has names of its own, and a mount gives a second one.
    private func isAbove(_ target: FileSystem.Status?, _ path: String, root: String) -> Bool {
        guard let target else { return false }
        var place = path
        for _ in 0..<64 {
            if let status = try? FileSystem.status(root + place),
                (status.device, status.inode) == (target.device, target.inode)
            {
                return true
            }
            if place == "/" { return false }
            place = FileSystem.parent(of: place)
        }
        return false
    }

    private func checkMounts(_ path: String) throws(FleetError) -> Mounts {
        let mounts = try mounts(path)
        if case .below(let point) = mounts {
            throw FleetError(
                .mountPoint, "\(point) is a mount point, and nothing is removed across one",
                hint: "unmount it, then run the cleanup again")
        }
        return mounts
    }

    private func mounts(_ path: String) throws(FleetError) -> Mounts {
        // Init's view is the host's; where it can't be read, all that is mounted counts.
        Self.mounts(
            path, own: try FileSystem.readText("/proc/self/mountinfo"),
            host: try? FileSystem.readText("/proc/1/mountinfo"))
    }

    enum Mounts: Equatable {
        case none
        /// On the host it is a plain directory, and the agent's unit mounts it for the agent alone, to let it write there:
        /// what is in it can be removed, and the agent can't remove the directory itself.
        case agentsOwn
        case below(String)
    }

    /// - Parameters: mountinfo(5) as the agent sees it, and as the host does.
    static func mounts(_ path: String, own: String, host: String?) -> Mounts {
        func inside(_ mountinfo: String) -> [String] {
            points(mountinfo).filter { remainder(of: $0, below: path) != nil }
        }
        if let host, let point = inside(host).first { return .below(point) }
        let mounted = inside(own)
        if let point = mounted.first(where: { host == nil || $0 != path }) { return .below(point) }
        return mounted.isEmpty ? .none : .agentsOwn
    }

    private static func points(_ mountinfo: String) -> [String] {
        mountinfo.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: " ")
            // Field 5 is the mount point (proc(5)); blanks in it are written "\040".
            return fields.count > 4 ? String(fields[4]).replacing("\\040", with: " ") : nil
        }
    }
}
