internal import FleetSystem
internal import FleetYAML

/// Where this node's kubelet takes static pods from: its own flag, its configuration file's `staticPodPath`, or
/// kubeadm's place.
enum KubeletConfiguration {
    static let standardFile = "/var/lib/kubelet/config.yaml"

    static func manifestDirectory(
        _ files: NodeFiles, _ units: SystemdUnits
    ) throws(FleetError) -> (path: String, source: String) {
        if let path = flag("--pod-manifest-path", units) {
            return (path.text, Setting(path, .flag("pod-manifest-path")).origin.description)
        }
        let configuration = file(units)
        if try files.exists(configuration),
            let node = try YAML.document(try files.read(configuration), file: configuration)?["staticPodPath"],
            let path = node.text, path.hasPrefix("/")
        {
            return (normalised(path), "\(configuration):\(node.line) (staticPodPath)")
        }
        return (ManifestDirectory.standard, "kubeadm's default")
    }

    /// Its configuration file, which need not be there.
    static func file(_ units: SystemdUnits) -> String { flag("--config", units)?.text ?? standardFile }

    /// A flag of its unit. That may be one that can't be followed; then the standard places are looked at, as without a unit.
    private static func flag(_ flag: String, _ units: SystemdUnits) -> TracedText? {
        guard let unit = try? units.load("kubelet.service"), let command = try? unit.command(),
            let executable = command.first, FileSystem.name(of: executable.text) == "kubelet"
        else { return nil }
        var found: TracedText?
        for (index, word) in command.enumerated() {
            var value: TracedText?
            if word.text == flag {
                value = index + 1 < command.count ? command[index + 1] : nil
            } else if word.hasPrefix(flag + "=") {
                value = word[flag.utf8.count + 1..<word.bytes.count]
            }
            if let value, !value.isEmpty { found = value }
        }
        return found
    }
}
