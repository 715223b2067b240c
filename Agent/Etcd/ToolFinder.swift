internal import FleetSystem

/// Finds etcd's tools. Those of a container are copied aside at once: when etcd is stopped, its root is gone.
enum ToolFinder {
    static let directories = [
        "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/opt/bin",
    ]

    /// Blocks. Tools that don't run or don't tell their version are left out.
    ///
    /// - Parameters:
    ///   - pid: the running etcd, nil when there is none.
    ///   - dataDir: the one that it must work in, on the host, for its tools to be executed.
    ///   - more: a directory besides the usual ones.
    static func find(
        pid: Int32?, dataDir: String? = nil, copies: String, more: String? = nil,
        in directories: [String] = Self.directories
    ) throws(FleetError) -> EtcdTools {
        if let pid { try copy(from: pid, dataDir: dataDir, to: copies) }
        var tools: [EtcdTool] = []
        for kind in EtcdTool.Kind.allCases {
            if let path = directories.map({ "\($0)/\(kind.rawValue)" }).first(where: FileSystem.exists),
                let tool = probe(kind, path)
            {
                tools.append(tool)
            }
            if let more, FileSystem.exists("\(more)/\(kind.rawValue)"),
                let tool = probe(kind, "\(more)/\(kind.rawValue)")
            {
                tools.append(tool)
            }
            let copied = try FileSystem.status(copies) == nil ? [] : try FileSystem.list(copies)
            for name in copied where name.hasPrefix(kind.rawValue + "-") {
                if var tool = probe(kind, "\(copies)/\(name)") {
                    tool.isCopy = true
                    tools.append(tool)
                }
            }
        }
        return EtcdTools(tools: tools)
    }

    private static func probe(_ kind: EtcdTool.Kind, _ path: String) -> EtcdTool? {
        guard
            let outcome = try? Subprocess.run(
                path, [kind == .etcd ? "--version" : "version"], environment: EtcdClient.environment,
                deadline: .seconds(10)),
            outcome.succeeded, let version = EtcdVersion.find(in: outcome.outputText)
        else { return nil }
        return EtcdTool(kind: kind, path: path, version: version)
    }

    /// From the root that etcd itself runs in, unless that is the host's. Links are followed inside that root: one
    /// that leads out of a container is not the host's business.
    static func copy(from pid: Int32, dataDir: String?, to directory: String) throws(FleetError) {
        let root = "/proc/\(pid)/root"
        guard let theirs = try? FileSystem.status(root), let ours = try? FileSystem.status("/"),
            (theirs.device, theirs.inode) != (ours.device, ours.inode), ProcessTrust.holds(pid, dataDir: dataDir)
        else { return }
        let files = NodeFiles(root: root)
        for kind in EtcdTool.Kind.allCases {
            for candidate in directories + ["/"] {
                guard let path = try? files.resolve("\(candidate)/\(kind.rawValue)"),
                    let status = try FileSystem.status(files.onDisk(path), following: false), status.kind == .file
                else { continue }
                // Size and time of change tell one release's binary from another's.
                let copy = "\(directory)/\(kind.rawValue)-\(status.size)-\(status.modified)"
                if try FileSystem.status(copy) == nil {
                    try FileSystem.makeDirectories(directory)
                    try FileSystem.copyDurably(files.onDisk(path), to: copy, mode: 0o700)
                }
                break
            }
        }
    }
}
