internal import FleetSystem
internal import FleetYAML

/// A file, or a directory with all below it, that belongs to a node's configuration.
struct ConfigurationSource: Sendable, Equatable {
    enum Kind: String, Sendable {
        case pki, encryption, etcd, manifest, kubeconfig, kubelet, unit
        /// Named by a flag of the control plane's.
        case controlPlane = "control-plane"
    }
    var path: String
    var kind: Kind
    /// So many levels of directories; 0: it is a file.
    var depth = 0
    /// Somebody names it: that it is not there is worth saying.
    var isNamed = false
}

/// Where a node's configuration is, as far as the etcd's data alone does not bring it back. What comes first is collected
/// first, should there be more than a bundle takes.
struct ConfigurationPlan: Sendable, Equatable {
    static let kubernetes = "/etc/kubernetes"

    var sources: [ConfigurationSource] = []
    /// What can't even be named on the host, and why.
    var unreachable: [(path: String, kind: ConfigurationSource.Kind, reason: String)] = []

    static func == (a: Self, b: Self) -> Bool {
        a.sources == b.sources && a.unreachable.elementsEqual(b.unreachable) { $0 == $1 }
    }

    /// - Parameter found: nil where there is no etcd, or none that can be told: what else there is counts all the same.
    init(_ found: DiscoveredEtcd?, _ files: NodeFiles) {
        let units = SystemdUnits(files: files)
        let place = (try? KubeletConfiguration.manifestDirectory(files, units))?.path ?? ManifestDirectory.standard
        add(Self.kubernetes + "/pki", .pki, depth: 6)
        let manifests = found?.manifests ?? (try? ManifestDirectory(files, path: place, source: ""))
        if let manifests { addNamed(by: manifests) }
        if let found { addEtcd(found) }
        add(place, .manifest, depth: 1)
        for name in (try? files.list(Self.kubernetes)) ?? [] where name.hasSuffix(".conf") {
            add("\(Self.kubernetes)/\(name)", .kubeconfig)
        }
        add(KubeletConfiguration.file(units), .kubelet)
        // Those that the kubelet has now; it leaves the former ones beside them.
        for name in ["kubelet-client-current.pem", "kubelet-server-current.pem", "kubelet.crt", "kubelet.key"] {
            add("/var/lib/kubelet/pki/\(name)", .kubelet)
        }
        if let unit = try? units.load("kubelet.service") { add(unit, files: .kubelet) }
    }

    private mutating func add(
        _ path: String, _ kind: ConfigurationSource.Kind, depth: Int = 0, isNamed: Bool = false
    ) {
        guard !sources.contains(where: { $0.path == path }) else { return }
        sources.append(ConfigurationSource(path: path, kind: kind, depth: depth, isNamed: isNamed))
    }

    private mutating func add(_ unit: SystemdUnit, files kind: ConfigurationSource.Kind) {
        for part in unit.parts { add(part.path, .unit) }
        for file in (try? unit.environmentFiles()) ?? [] { add(file, kind) }
    }

    // MARK: the control plane

    /// Files that flags of the control plane's name, on the host.
    private mutating func addNamed(by manifests: ManifestDirectory) {
        for manifest in manifests.manifests {
            for pod in manifest.pods {
                for container in pod.containers {
                    guard let component = container.executable, ControlPlaneManifest.components.contains(component)
                    else { continue }
                    addNamed(by: container, manifests, manifest, pod)
                }
            }
        }
    }

    private mutating func addNamed(
        by container: PodManifest.Container, _ manifests: ManifestDirectory, _ manifest: PodManifest,
        _ pod: PodManifest.Pod
    ) {
        for (flag, value) in Self.namedFiles(container.commandLine.map(\.text)) {
            let kind = Self.kind(flag)
            do throws(FleetError) {
                let path = try manifests.staticPod(manifest, pod, container).hostPath(of: value, "--\(flag)").path
                add(path, kind, isNamed: true)
            } catch { unreachable.append((value, kind, error.message)) }
        }
    }

    private static func kind(_ flag: String) -> ConfigurationSource.Kind {
        if flag == "encryption-provider-config" { return .encryption }
        let endings = [
            "-cert-file", "-certificate", "-key", "-key-file", "-ca-file", "-cafile", "-certfile", "-keyfile",
        ]
        return endings.contains { flag.hasSuffix($0) } ? .pki : .controlPlane
    }

    /// Flags of the control plane's that take a file, as they are called; not those that say where logs go.
    static func namedFiles(_ command: [String]) -> [(flag: String, value: String)] {
        var found: [(flag: String, value: String)] = []
        for (index, word) in command.enumerated() where word.hasPrefix("--") {
            let parts = word.dropFirst(2).split(separator: "=", maxSplits: 1).map(String.init)
            guard let flag = parts.first else { continue }
            let next = index + 1 < command.count ? command[index + 1] : ""
            let value = parts.count == 2 ? parts[1] : next
            let endings = [
                "-file", "-config", "-certificate", "-key", "-cafile", "-certfile", "-keyfile", "kubeconfig",
                "-policy-file",
            ]
            let takesFile = flag == "config" || endings.contains { flag.hasSuffix($0) }
            guard takesFile, value.hasPrefix("/"), !value.hasPrefix("/var/log/") else { continue }
            found.append((flag, normalised(value)))
        }
        return found
    }

    // MARK: etcd

    private mutating func addEtcd(_ found: DiscoveredEtcd) {
        if case .unit(let unit) = found.launch.kind { add(unit, files: .etcd) }
        var paths: [(flag: String, path: String)] = []
        if let file = found.settings.configFile { paths.append(("config-file", file.value)) }
        paths += Self.certificateFiles(found.launch, found.settings, found.files)
        for (flag, path) in paths {
            do throws(FleetError) {
                add(try found.launch.hostPath(path, "--\(flag)"), .etcd, isNamed: true)
            } catch { unreachable.append((path, .etcd, error.message)) }
        }
    }

    /// What etcd serves clients and peers with; the peers' settings are of no other use to the agent, and of no harm where they
    /// can't be made out.
    private static func certificateFiles(
        _ launch: EtcdLaunch, _ settings: EtcdSettings, _ files: NodeFiles
    ) -> [(flag: String, path: String)] {
        let names = ["trusted-ca-file", "cert-file", "key-file"]
        var found = names.compactMap { name in settings.given[name].map { (name, $0.value) } }
        guard settings.configFile == nil else {
            let path = try? launch.hostPath(settings.configFile!.value, "--config-file")
            let node = path.flatMap { path in
                try? YAML.document(try files.read(path), file: path)?["peer-transport-security"]
            }
            found += names.compactMap { name in node?[name]?.text.map { ("peer-\(name)", $0) } }
            return found.filter { !$0.1.isEmpty }
        }
        let flags = (try? EtcdFlags.parse(launch.arguments)) ?? []
        for name in names.map({ "peer-\($0)" }) {
            let variable = launch.environment["ETCD_" + name.uppercased().replacing("-", with: "_")]
            if let value = flags.last(where: { $0.name == name })?.value ?? variable, !value.isEmpty {
                found.append((name, value.text))
            }
        }
        return found
    }
}
