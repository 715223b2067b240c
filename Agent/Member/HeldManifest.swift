internal import FleetSystem

/// Where etcd's manifest waits while its member is replaced: one place for all replacements of a node, so that the next one
/// finds what an earlier one left half-way.
enum HeldManifest {
    static func directory(beside manifests: String) -> String {
        normalised("\(FileSystem.parent(of: manifests))/fleet-agent/replace")
    }

    /// The node as it is with what is held in its place.
    ///
    /// - Parameter files: of the live node.
    static func overlay(_ files: NodeFiles) throws(FleetError) -> NodeFiles {
        var files = files
        let place = try KubeletConfiguration.manifestDirectory(files, SystemdUnits(files: files)).path
        let manifests = try files.resolve(place)
        let held = directory(beside: manifests)
        for name in try files.list(held) where try !files.exists("\(manifests)/\(name)") {
            files.put(try files.read("\(held)/\(name)"), "\(manifests)/\(name)")
        }
        return files
    }
}
