internal import FleetSystem
internal import FleetYAML

/// The directory whose files the kubelet runs as static pods: where it is, and what is in it.
struct ManifestDirectory: Sendable {
    static let standard = "/etc/kubernetes/manifests"

    var path: String
    /// Where it is said: "/var/lib/kubelet/config.yaml:22 (staticPodPath)".
    var source: String
    var manifests: [PodManifest]
    /// Files that are no YAML: the kubelet can't run them either, so they count only when etcd is nowhere else.
    var broken: [FleetError]

    /// Reads every file of it as the kubelet does (config/file_linux.go, config/file.go): whatever its name, except
    /// names that begin with a dot; no directories.
    ///
    /// - Throws: `setting-twice` for a manifest that gives a key twice.
    init(_ files: NodeFiles, path: String, source: String) throws(FleetError) {
        self.path = path
        self.source = source
        (manifests, broken) = ([], [])
        for name in try files.list(path) where !name.hasPrefix(".") {
            let file = path + "/" + name
            guard try files.status(file)?.kind != .directory else { continue }
            do throws(FleetError) { manifests.append(try PodManifest(try files.read(file), file: file)) } catch {
                switch error.code {
                // It went between the listing and the reading; or it is a link to nowhere.
                case .notFound: continue
                case .unreadableManifest: broken.append(error)
                default: throw error
                }
            }
        }
    }

    /// The static pods that are etcd: any container whose command is it.
    ///
    /// - Throws: `manifest-args` for flags without a command, `several-etcds` for two in one pod.
    func etcds() throws(FleetError) -> [StaticPod] {
        var found: [StaticPod] = []
        for manifest in manifests {
            for pod in manifest.pods {
                for container in pod.containers {
                    if container.command.isEmpty, looksLikeEtcd(container) { throw argumentsOnly(manifest, container) }
                    if container.executable == "etcd" { found.append(try staticPod(manifest, pod, container)) }
                }
            }
        }
        return found
    }

    /// A container of a pod, with the mounts that lead out of it.
    func staticPod(
        _ manifest: PodManifest, _ pod: PodManifest.Pod, _ container: PodManifest.Container
    ) throws(FleetError) -> StaticPod {
        let volumes = (pod.node["spec"]?["volumes"]?.items ?? []).map {
            StaticPod.Volume(name: $0["name"]?.text ?? "", hostPath: $0["hostPath"]?["path"])
        }
        var mounts: [StaticPod.Mount] = []
        for mount in container.node["volumeMounts"]?.items ?? [] {
            guard let volume = mount["name"]?.text, let path = mount["mountPath"]?.text else { continue }
            guard mount["subPathExpr"] == nil else {
                throw FleetError(
                    .settingUnresolved, "\(manifest.file):\(mount.line): subPathExpr is known only to the kubelet",
                    hint: "use subPath, or mount the directory itself")
            }
            mounts.append(.init(volume: volume, path: normalised(path), subPath: mount["subPath"]?.text ?? ""))
        }
        return StaticPod(
            manifest: manifest.file, command: container.commandLine, environment: container.environment,
            workingDirectory: container.node["workingDir"]?.text ?? "/", volumes: volumes, mounts: mounts)
    }

    private func looksLikeEtcd(_ container: PodManifest.Container) -> Bool {
        container.arguments.contains { argument in
            ["--data-dir", "-data-dir", "--listen-peer-urls", "--initial-cluster"].contains { argument.hasPrefix($0) }
        } || (container.arguments.first.map { FileSystem.name(of: $0.text) == "etcd" } ?? false)
    }

    private func argumentsOnly(_ manifest: PodManifest, _ container: PodManifest.Container) -> FleetError {
        let line = container.node["args"]?.line ?? container.node.line
        return FleetError(
            .manifestArgs, "\(manifest.file):\(line): a container has args: and no command:, so what runs is not said",
            hint: "write the whole command as `command:`, with etcd as its first word, as kubeadm does")
    }
}
