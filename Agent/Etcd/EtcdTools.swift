internal import FleetSystem

/// etcd and its own command line tools, and which of them does what.
struct EtcdTool: Sendable, Equatable, CustomStringConvertible {
    enum Kind: String, Sendable, CaseIterable { case etcd, etcdctl, etcdutl }
    var kind: Kind
    var path: String
    var version: EtcdVersion
    /// Of the container that etcd ran in, and so of its version.
    var isCopy = false

    /// "etcdctl 3.5.1"
    var description: String { "\(kind.rawValue) \(version)" }
}

/// The tools of a node: those of the host, and those of the running etcd's own root, copied aside.
struct EtcdTools: Sendable, Equatable {
    var tools: [EtcdTool]

    /// What saves: `snapshot save` has stayed in etcdctl. The one of etcd's own minor version where there is one, else
    /// the newest.
    ///
    /// - Throws: `no-tool`.
    func client(for version: EtcdVersion?) throws(FleetError) -> EtcdTool {
        guard let tool = best(tools.filter { $0.kind == .etcdctl }, version) else { throw missing("etcdctl") }
        return tool
    }

    /// What tells the status of a snapshot file and restores it: below 3.5 etcdctl, from 3.5 etcdutl where there is
    /// one, from 3.6 only etcdutl (etcdctl lost both commands). It must be of the snapshot's minor version or newer, and
    /// one of the same minor version goes before any other.
    ///
    /// - Parameter version: of the etcd that the snapshot was saved from, or that is to run on what is restored.
    /// - Throws: `no-tool`, saying what was there.
    func offline(for version: EtcdVersion?) throws(FleetError) -> EtcdTool {
        let able = tools.filter { tool in
            let can =
                tool.kind == .etcdutl || tool.kind == .etcdctl && (tool.version.major, tool.version.minor) < (3, 6)
            return can && (version.map(tool.version.isSameMinorOrNewer) ?? true)
        }
        let isOld = version.map { ($0.major, $0.minor) < (3, 5) } ?? false
        if let tool = best(able, version, before: isOld ? .etcdctl : .etcdutl) { return tool }
        throw missing(version.map { "etcdutl \($0.major).\($0.minor) or newer" } ?? "etcdutl")
    }

    /// What a drill starts: an etcd that can read what the snapshot's could, the same minor version before any other.
    ///
    /// - Parameter version: of the etcd that the snapshot was saved from.
    /// - Throws: `no-tool`, saying what was there.
    func server(for version: EtcdVersion?) throws(FleetError) -> EtcdTool {
        let able = tools.filter { $0.kind == .etcd && (version.map($0.version.isSameMinorOrNewer) ?? true) }
        if let tool = best(able, version, before: .etcd) { return tool }
        throw missing(version.map { "etcd \($0.major).\($0.minor) or newer" } ?? "etcd")
    }

    private func best(
        _ candidates: [EtcdTool], _ version: EtcdVersion?, before kind: EtcdTool.Kind = .etcdctl
    ) -> EtcdTool? {
        func rank(_ tool: EtcdTool) -> (Int, Int, EtcdVersion) {
            let same = version.map { tool.version.major == $0.major && tool.version.minor == $0.minor } ?? false
            return (same ? 1 : 0, tool.kind == kind ? 1 : 0, tool.version)
        }
        return candidates.max { rank($0) < rank($1) }
    }

    private func missing(_ what: String) -> FleetError {
        let present = tools.isEmpty ? "none" : tools.map { "\($0) in \($0.path)" }.joined(separator: ", ")
        return FleetError(
            .noTool, "this node has no \(what) (tools found: \(present))",
            hint: "install \(what) in /usr/local/bin; the tools of etcd's own release are the right ones")
    }
}
