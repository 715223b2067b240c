internal import FleetSystem
internal import FleetYAML

/// A static pod of the control plane that talks to etcd and has to be away while etcd is replaced.
struct ControlPlaneManifest: Codable, Sendable, Equatable {
    static let components = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"]

    /// "kube-apiserver"
    var component: String
    var file: String
    /// The container's whole command line: what its process shows in /proc.
    var command: [String]
    /// `readinessProbe`, or else `livenessProbe`, of the container when it is an HTTP one.
    var probe: Probe?

    struct Probe: Codable, Sendable, Equatable {
        var isTLS: Bool
        var host: String
        var port: UInt16
        var path: String
    }

    /// What `--etcd-servers` names.
    var etcdServers: [String] {
        let flag = "--etcd-servers"
        for (index, word) in command.enumerated() {
            if word.hasPrefix(flag + "=") {
                return word.dropFirst(flag.count + 1).split(separator: ",").map(String.init)
            }
            if word == flag, index + 1 < command.count {
                return command[index + 1].split(separator: ",").map(String.init)
            }
        }
        return []
    }

    /// The port that `--secure-port` names, the apiserver's default without it.
    var securePort: UInt16 {
        for word in command where word.hasPrefix("--secure-port=") {
            if let port = UInt16(word.dropFirst("--secure-port=".count)) { return port }
        }
        return 6443
    }
}

extension ManifestDirectory {
    /// The manifests of the control plane, each component once, in the order in which they are stopped.
    var controlPlane: [ControlPlaneManifest] {
        ControlPlaneManifest.components.flatMap { component in
            manifests.flatMap { manifest in
                manifest.pods.flatMap(\.containers).filter { $0.executable == component }.map { container in
                    ControlPlaneManifest(
                        component: component, file: manifest.file, command: container.commandLine.map(\.text),
                        probe: Self.probe(container))
                }
            }
        }
    }

    /// That the apiserver here goes to etcds of which none is on this host, as far as their addresses tell. One that goes to this
    /// host too has an etcd here, which should have been found.
    ///
    /// - Parameter own: this host's addresses and names.
    func etcdElsewhere(own: Set<String>) -> FleetError? {
        guard let apiserver = controlPlane.first(where: { $0.component == "kube-apiserver" }) else { return nil }
        let servers = apiserver.etcdServers
        let isHere = servers.contains { Endpoint.isHere(Endpoint.host(of: $0), own) }
        guard !servers.isEmpty, !isHere else { return nil }
        return FleetError(
            .etcdElsewhere,
            "no etcd here: kube-apiserver goes to \(servers.joined(separator: ", ")) (\(apiserver.file))",
            hint:
                "right for a control plane whose etcd is on other hosts: the agent keeps its configuration; where etcd should be "
                + "here, see what starts it")
    }

    private static func probe(_ container: PodManifest.Container) -> ControlPlaneManifest.Probe? {
        for key in ["readinessProbe", "livenessProbe"] {
            guard let get = container.node[key]?["httpGet"], let port = get["port"]?.text else { continue }
            // A named port is one of the container's own list.
            let number =
                UInt16(port)
                ?? container.node["ports"]?.items?.first { $0["name"]?.text == port }
                .flatMap { $0["containerPort"]?.text }.flatMap { UInt16($0) }
            guard let number else { continue }
            return .init(
                isTLS: get["scheme"]?.text?.uppercased() == "HTTPS", host: get["host"]?.text ?? "127.0.0.1",
                port: number, path: get["path"]?.text ?? "/")
        }
        return nil
    }
}
