internal import FleetProtocol
internal import FleetSystem

/// Where a restore writes. The agent's unit leaves it the usual places only, and a node may have others: that is found out
/// when the node is looked at, not in the middle of a restore.
enum WritablePlaces {
    /// - Throws: `not-writable`. A copy of a node's files, which nothing is written to, passes.
    static func check(
        _ directories: [RestoreWork.NewDirectory], _ files: [RestorePlan.FileChange], _ found: DiscoveredEtcd
    ) throws(FleetError) {
        guard found.files.isLive else { return }
        var paths = directories.map(\.new) + files.map(\.path)
        if !(try RestorePlanner.holdingDirectory(found, "any").isEmpty) {
            // Manifests leave their directory for one beside it.
            let manifests = try found.files.resolve(found.manifests.path)
            paths += ["\(manifests)/any", manifests]
        }
        try check(paths, exists: FileSystem.exists, isWritable: FileSystem.isWritable)
    }

    /// Of a restore that is in its middle: the unit may have become stricter since it was planned.
    static func check(
        _ work: RestoreWork, isWritable: (String) -> Bool = FileSystem.isWritable
    ) throws(FleetError) {
        // An undo makes no directory.
        var paths = work.undoes == nil ? work.directories.map(\.new) : []
        paths += work.plan.changes.map(\.path) + work.controlPlane.map(\.file)
        if case .staticPod(let manifest, _, _) = work.launch { paths.append(manifest) }
        if !work.holdingDirectory.isEmpty { paths.append(work.holdingDirectory) }
        try check(paths, exists: FileSystem.exists, isWritable: isWritable)
    }

    /// - Parameter paths: what would be made or replaced, each in its directory or in one that would be made for it.
    static func check(
        _ paths: [String], exists: (String) -> Bool, isWritable: (String) -> Bool
    ) throws(FleetError) {
        for path in paths {
            var place = FileSystem.parent(of: path)
            while place != "/", !exists(place) { place = FileSystem.parent(of: place) }
            guard isWritable(place) else {
                throw FleetError(
                    .notWritable, "the agent can't write in \(place)",
                    hint:
                        "if the disk is not read-only itself, the agent's unit keeps it away: 'systemctl edit fleet-agent', "
                        + "add [Service] and \(setting(for: place)), then 'systemctl restart fleet-agent'")
            }
        }
    }

    /// Of two settings for the same path systemd takes the stricter one, so ReadWritePaths= opens neither "/" nor a home; and
    /// with ProtectSystem=full, /etc would be closed in the same way.
    static func setting(for place: String) -> String {
        if place == "/" { return "ProtectSystem=yes" }
        let isHome = ["/home", "/root", "/run/user"].contains { remainder(of: place, below: $0) != nil }
        return isHome ? "ProtectHome=no" : "ReadWritePaths=\(place)"
    }
}
