internal import FleetSystem
internal import FleetYAML

/// Where this node's kubelet takes static pods from: its own flag, its configuration file's `staticPodPath`, or
/// kubeadm's place.
enum KubeletConfiguration {
    static let standardFile = "/var/lib/kubelet/config.yaml"

    static func manifestDirectory(
        _ files: NodeFiles, _ units: SystemdUnits
    ) throws(FleetError) -> (path: String, source: String) {
        var configuration = standardFile
        // The unit may be one that can't be followed; then the two standard places are looked at, as without a unit.
        if let unit = try? units.load("kubelet.service"), let command = try? unit.command(),
            let executable = command.first, FileSystem.name(of: executable.text) == "kubelet"
        {
            for (index, word) in command.enumerated() {
                func value(_ flag: String) -> TracedText? {
                    if word.text == flag { return index + 1 < command.count ? command[index + 1] : nil }
                    return word.hasPrefix(flag + "=") ? word[flag.utf8.count + 1..<word.bytes.count] : nil
                }
                if let path = value("--pod-manifest-path"), !path.isEmpty {
                    return (path.text, Setting(path, .flag("pod-manifest-path")).origin.description)
                }
                if let path = value("--config"), !path.isEmpty { configuration = path.text }
            }
        }
        if try files.exists(configuration),
            let node = try YAML.document(try files.read(configuration), file: configuration)?["staticPodPath"],
            let path = node.text, path.hasPrefix("/")
        {
            return (normalised(path), "\(configuration):\(node.line) (staticPodPath)")
        }
        return (ManifestDirectory.standard, "kubeadm's default")
    }
}
