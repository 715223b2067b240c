internal import FleetSystem

/// Which versions of etcd this node could start in a drill, for the coordinator to choose by. Each program has to be run
/// to tell its version, so they are asked again only when one has come, gone or changed.
final class DrillPrograms: Sendable {
    let paths: AgentPaths
    private let known = Monitor((files: [String](), versions: [String]()))

    init(paths: AgentPaths) { self.paths = paths }

    /// Those that have the tools that go with them. Blocks.
    func versions() throws(FleetError) -> [String] {
        let files = try files()
        if let same = known.withLock({ $0.files == files ? $0.versions : nil }), !files.isEmpty { return same }
        let tools = try ToolFinder.find(pid: nil, copies: paths.tools, more: paths.programs)
        let versions = Self.versions(tools)
        known.withLock { $0 = (files, versions) }
        return versions
    }

    /// Pure.
    static func versions(_ tools: EtcdTools) -> [String] {
        let able = tools.tools.filter { tool in
            tool.kind == .etcd && (try? tools.offline(for: tool.version)) != nil
                && (try? tools.client(for: tool.version)) != nil
        }
        return Set(able.map(\.version)).sorted().map(\.description)
    }

    private func files() throws(FleetError) -> [String] {
        var found: [String] = []
        for directory in ToolFinder.directories + [paths.programs].compactMap(\.self) {
            for kind in EtcdTool.Kind.allCases {
                let path = "\(directory)/\(kind.rawValue)"
                if let status = try FileSystem.status(path) {
                    found.append("\(path) \(status.size) \(status.modified)")
                }
            }
        }
        if FileSystem.exists(paths.tools) { found += try FileSystem.list(paths.tools) }
        return found
    }
}
