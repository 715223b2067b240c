internal import FleetSystem
internal import FleetYAML

/// The etcd of a static pod: one container of one manifest, as far as a backup and a restore need it.
struct StaticPod: Sendable, Equatable {
    struct Volume: Sendable, Equatable {
        var name: String
        /// The value of `hostPath.path`; nil for any other kind of volume.
        var hostPath: YAMLNode?
    }
    struct Mount: Sendable, Equatable {
        var volume: String
        var path: String
        var subPath: String
    }
    /// A directory or file of the container, on the host.
    struct HostPath: Sendable, Equatable {
        var path: String
        var mount: Mount
        /// The volume's `hostPath.path` in the manifest.
        var node: YAMLNode
        /// What `path` has after the volume's path: "" or "/data".
        var below: String
    }

    /// As the node names it.
    var manifest: String
    var command: [TracedText]
    var environment: [String: TracedText]
    /// `workingDir`, where a relative data-dir begins.
    var workingDirectory: String
    var volumes: [Volume]
    var mounts: [Mount]

    /// The host's path of one inside the container: the mount with the longest path above it decides.
    ///
    /// - Parameter flag: what names the path, for errors.
    /// - Throws: `missing-host-path` where no hostPath volume brings it in.
    func hostPath(of inner: String, _ flag: String) throws(FleetError) -> HostPath {
        let inner = normalised(inner, in: workingDirectory)
        let mount = mounts.filter { remainder(of: inner, below: $0.path) != nil }.max { $0.path.count < $1.path.count }
        guard let mount else {
            throw FleetError(
                .missingHostPath, "\(manifest): \(flag) is \(inner), which no volume brings into the container",
                hint: "mount a hostPath volume at \(inner): what is in the container goes with the container")
        }
        guard let volume = volumes.first(where: { $0.name == mount.volume }) else {
            throw FleetError(
                .missingHostPath, "\(manifest): the volume \(mount.volume), mounted at \(mount.path), is not defined",
                hint: "define the volume \(mount.volume) with a hostPath")
        }
        guard let node = volume.hostPath, let base = node.text, base.hasPrefix("/") else {
            throw FleetError(
                .missingHostPath,
                "\(manifest): the volume \(volume.name), which holds \(flag) \(inner), has no hostPath with a path",
                hint: "give the volume \(volume.name) a hostPath with an absolute path")
        }
        let below = (mount.subPath.isEmpty ? "" : "/" + mount.subPath) + (remainder(of: inner, below: mount.path) ?? "")
        let root = normalised(base)
        return HostPath(path: normalised(root + below), mount: mount, node: node, below: below)
    }
}
