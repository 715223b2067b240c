internal import FleetSystem

/// etcd's version, asked of the very binary that runs or that the unit would start. Never of a copied file system:
/// what is found there is looked at, not executed.
enum EtcdVersionProbe {
    static func version(_ found: DiscoveredEtcd) -> (value: String, source: String)? {
        guard found.files.isLive else { return nil }
        var binaries: [String] = []
        if let process = found.process, ProcessTrust.holds(process.pid, dataDir: found.dataDir.path) {
            binaries.append("/proc/\(process.pid)/exe")
        }
        if case .unit = found.launch.kind { binaries.append(found.launch.executable.text) }
        for binary in binaries where binary.hasPrefix("/") {
            // A binary of an image may need libraries that the host has not; then the next source is asked.
            guard let outcome = try? Subprocess.run(binary, ["--version"], deadline: .seconds(10)), outcome.succeeded,
                let version = EtcdVersion.find(in: outcome.outputText)
            else { continue }
            return (version.description, "\(binary) --version")
        }
        return nil
    }
}
