internal import FleetSystem

/// The running process against the files that start it. The process is the truth, and a file that says something else
/// would come into force at the next restart, a restore's own included.
enum CrossCheck {
    /// - Throws: `files-and-process-differ`, with both values and the place of the file's.
    static func compare(
        _ launch: EtcdLaunch, _ settings: EtcdSettings, _ process: EtcdProcess, _ files: NodeFiles
    ) throws(FleetError) {
        let effective = try EtcdSettings.resolve(
            arguments: process.arguments.dropFirst().map { TracedText($0) },
            environment: process.environment.mapValues { TracedText($0) }
        ) { (path) throws(FleetError) in
            let file = try launch.hostPath(path, "--config-file")
            return (file, try files.read(file))
        }
        // etcd reads the state only where it has no data yet, so many set it to "existing" behind the first start.
        for name in EtcdSettings.names where name != "initial-cluster-state" {
            let (ours, theirs) = (settings[name], effective[name])
            guard ours?.value != theirs?.value else { continue }
            throw differ(
                launch, process, name, theirs?.value ?? "nothing",
                ours.map { "\($0.origin) says \($0.value)" } ?? "\(launch.name) does not set it")
        }
        // A configuration file may have been changed since etcd read it; the open database tells.
        if let open = process.openDataDir, let setting = settings["data-dir"] {
            let host = try launch.hostPath(setting.value, "--data-dir")
            guard !LiveDirectory.isSame(process, open, host) else { return }
            // One that ended meanwhile has no directories any more: it works in no other one.
            guard FileSystem.exists("/proc/\(process.pid)/root/.") else { return }
            throw differ(launch, process, "data-dir", open, "\(setting.origin) leads to \(host) on the host")
        }
    }

    private static func differ(
        _ launch: EtcdLaunch, _ process: EtcdProcess, _ name: String, _ running: String, _ file: String
    ) -> FleetError {
        FleetError(
            .filesAndProcessDiffer, "etcd (process \(process.pid)) runs with \(name) \(running), but \(file)",
            hint: "restart etcd so that the file comes into force, or correct the file")
    }
}
