public import FleetSystem
private import Glibc

/// A bundle as files of their own. Blocks.
public enum BundleTree {
    /// A directory for bundles: made, or empty.
    ///
    /// - Throws: `already-exists` for one that has anything in it, `permission-denied` for one of somebody else's.
    public static func prepare(_ directory: String) throws(FleetError) {
        if let status = try FileSystem.status(directory, following: false) {
            guard status.owner == geteuid() else {
                throw FleetError(
                    .permissionDenied,
                    "\(directory) belongs to somebody else, who could read and replace what is written there",
                    hint: "name a directory that does not exist yet")
            }
            guard status.kind == .directory, try FileSystem.list(directory).isEmpty else {
                throw FleetError(
                    .alreadyExists, "\(directory) is there already, and is no empty directory",
                    hint: "name a directory that does not exist yet")
            }
            // Private keys go there: whoever made it may have made it for everybody.
            return try FileSystem.setMode(directory, 0o700)
        }
        try FileSystem.makeDirectories(directory, mode: 0o700)
    }

    /// Writes the files below `DIRECTORY/NODE`, each with its own permissions, in directories that whoever gets past
    /// `DIRECTORY/NODE` may enter, which is the owner alone; and what they were on the node (owners and links, too) as
    /// `DIRECTORY/NODE_files.json`, which no node can be called. Owners are not set: who has a number here may be another there.
    /// Links are not made: what was there would be reached through them, on this machine.
    ///
    /// - Parameter directory: as `prepare` left it; what is below was made by this.
    /// - Throws: `malformed` for a name that is none.
    public static func write(_ bundle: Bundle, of node: String, to directory: String) throws(FleetError) {
        try Names.check(node, "node")
        // It was checked when it was made, and is what stands between a name of an agent's and this file system.
        try bundle.manifest.check()
        let root = "\(directory)/\(node)"
        try FileSystem.makeDirectories(root, mode: 0o700)
        for (file, bytes) in zip(bundle.manifest.files, bundle.contents) {
            let path = root + file.path
            try FileSystem.makeDirectories(FileSystem.parent(of: path), mode: 0o755)
            try FileSystem.writeDurably(path, bytes, mode: 0o600)
            // Only what may be read and run: nothing that is set on execution comes from a node.
            try FileSystem.setMode(path, mode_t(file.mode & 0o777))
        }
        try FileSystem.writeDurably(
            "\(directory)/\(node)_files.json", try JSON.encode(bundle.manifest, pretty: true) + [10], mode: 0o600)
    }
}
