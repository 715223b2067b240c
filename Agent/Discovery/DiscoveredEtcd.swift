public import FleetProtocol
internal import FleetSystem
internal import FleetYAML

/// What discovery yields: the values for everybody, and inside the agent the places to change.
public struct DiscoveredEtcd: Sendable {
    public var instance: EtcdInstance
    var launch: EtcdLaunch
    var settings: EtcdSettings
    var process: EtcdProcess?
    var manifests: ManifestDirectory
    var files: NodeFiles
    var dataDir: Directory
    var walDir: Directory?

    /// A directory of etcd's on the host, with the setting that a restore changes to move it.
    struct Directory: Sendable, Equatable {
        /// On the host.
        var path: String
        /// Where it is really set: for a static pod the volume's path, for a unit the flag, variable or key.
        var origin: Setting.Origin
        /// For a static pod: the volume, and what the directory has below the volume's path.
        var volume: StaticPod.HostPath?
    }

    /// The control plane on this host that has to be away while this etcd is replaced. Beside a systemd unit's, as kubespray has
    /// it, that is one whose apiserver goes to this very etcd.
    var controlPlane: [ControlPlaneManifest] {
        let all = manifests.controlPlane
        guard case .unit = launch.kind else { return all }
        guard let apiserver = all.first(where: { $0.component == "kube-apiserver" }) else { return [] }
        let urls = settings.list("advertise-client-urls") + settings.list("listen-client-urls")
        let own = Set(urls.map { Endpoint.host(of: $0) })
        let servers = apiserver.etcdServers.map { Endpoint.host(of: $0) }
        return servers.isEmpty || servers.contains { Endpoint.isHere($0, []) || own.contains($0) } ? all : []
    }

    init(
        _ launch: EtcdLaunch, _ settings: EtcdSettings, _ process: EtcdProcess?, _ manifests: ManifestDirectory,
        _ files: NodeFiles
    ) throws(FleetError) {
        self.launch = launch
        self.settings = settings
        self.process = process
        self.manifests = manifests
        self.files = files
        dataDir = try Self.directory(launch, settings["data-dir"]!, "--data-dir")
        walDir = try settings["wal-dir"].map { (setting) throws(FleetError) in
            try Self.directory(launch, setting, "--wal-dir")
        }
        let (endpoint, endpointOrigin) = try Endpoint.choose(settings)
        let name = settings["name"]!
        let cluster = settings["initial-cluster"]!
        let peers = settings["initial-advertise-peer-urls"]!
        let token = settings["initial-cluster-token"]!
        var sources = [
            "name": name.origin.description, "dataDir": dataDir.origin.description,
            "endpoint": endpointOrigin.description, "peerURLs": peers.origin.description,
            "initialCluster": cluster.origin.description, "initialClusterToken": token.origin.description,
        ]
        sources["walDir"] = walDir?.origin.description
        var topology = Topology.externalSystemd
        var manifest: String?
        var unit: String?
        switch launch.kind {
        case .staticPod(let pod):
            manifest = pod.manifest
            sources["manifest"] = manifests.source
            let server = manifests.controlPlane.first { $0.component == "kube-apiserver" }
            topology = server == nil ? .externalStaticPod : .stacked
            sources["topology"] = server.map { "\($0.file) beside it" } ?? "no kube-apiserver in \(manifests.path)"
        case .unit(let service):
            unit = service.name
            sources["unit"] = service.fragment
            sources["topology"] = service.fragment
        }
        var certificates: [String: String] = [:]
        if endpoint.hasPrefix("https:") {
            certificates = try Self.certificates(launch, settings, files, &sources)
        }
        if let process { sources["pid"] = "/proc/\(process.pid)" }
        instance = EtcdInstance(
            topology: topology, name: name.value, dataDir: dataDir.path, walDir: walDir?.path, endpoint: endpoint,
            cacert: certificates["cacert"], cert: certificates["cert"], key: certificates["key"],
            peerURLs: settings.list("initial-advertise-peer-urls"), initialCluster: cluster.value,
            initialClusterToken: token.value, pid: process?.pid, manifest: manifest, unit: unit, sources: sources)
    }

    private static func directory(
        _ launch: EtcdLaunch, _ setting: Setting, _ flag: String
    ) throws(FleetError) -> Directory {
        guard case .staticPod(let pod) = launch.kind else {
            return Directory(path: try launch.hostPath(setting.value, flag), origin: setting.origin, volume: nil)
        }
        let volume = try pod.hostPath(of: setting.value, flag)
        let origin = Setting.Origin(
            .hostPath(volume: volume.mount.volume), file: pod.manifest, line: volume.node.line,
            range: volume.node.range)
        return Directory(path: volume.path, origin: origin, volume: volume)
    }

    /// etcd's three files under etcdctl's names.
    ///
    /// - Throws: `missing-certificate` where one is not set or not there.
    private static func certificates(
        _ launch: EtcdLaunch, _ settings: EtcdSettings, _ files: NodeFiles, _ sources: inout [String: String]
    ) throws(FleetError) -> [String: String] {
        var result: [String: String] = [:]
        for (field, flag) in [("cacert", "trusted-ca-file"), ("cert", "cert-file"), ("key", "key-file")] {
            guard let setting = settings[flag] else {
                throw FleetError(
                    .missingCertificate, "\(launch.name): etcd serves TLS, but --\(flag) is not set",
                    hint: settings["auto-tls"]?.value == "true"
                        ? "auto-tls certificates can't be verified; give etcd certificates of an authority"
                        : "set --\(flag), so that the agent can reach etcd as its own clients do")
            }
            let path = try launch.hostPath(setting.value, "--\(flag)")
            if try !files.exists(path), try files.couldHold(path) {
                throw FleetError(
                    .missingCertificate, "\(path), which \(setting.origin) names, does not exist",
                    hint: "put the file back, or correct the path")
            }
            result[field] = path
            sources[field] = setting.origin.description
        }
        return result
    }
}
