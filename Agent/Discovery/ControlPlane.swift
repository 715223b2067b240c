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
