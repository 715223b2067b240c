internal import FleetProtocol
public import FleetSystem

/// Finds the etcd of a node from what is there: the running process, the static pod's manifest, the systemd unit.
public enum Discovery {
    /// Blocks. With `root` other than `/` it looks at a copy of a node's file system and at no process.
    ///
    /// - Throws: the codes of `DiscoveryErrors.swift`, each with what to do about it.
    public static func discover(root: String = "/") throws(FleetError) -> DiscoveredEtcd {
        let files = NodeFiles(root: root)
        guard try FileSystem.status(root)?.kind == .directory else {
            throw FleetError(.notFound, "\(root) is not a directory", hint: "name the root of a node's file system")
        }
        var found = try discover(
            files, processes: files.isLive ? try ProcessTable.etcds() : [],
            addresses: files.isLive ? HostAddresses.all() : [])
        if let version = EtcdVersionProbe.version(found) {
            found.instance.version = version.value
            found.instance.sources["version"] = version.source
        }
        return found
    }

    /// The same of any view of files and processes; what plans are tried with.
    ///
    /// - Parameters:
    ///   - only: the manifest or unit that is meant, where the choice was made before.
    ///   - addresses: of the host, and its name.
    static func discover(
        _ files: NodeFiles, processes: [EtcdProcess], only: String? = nil, addresses: Set<String> = []
    ) throws(FleetError) -> DiscoveredEtcd {
        let units = SystemdUnits(files: files)
        let place = try KubeletConfiguration.manifestDirectory(files, units)
        let manifests = try ManifestDirectory(files, path: place.path, source: place.source)
        var candidates: [Candidate] = []
        for pod in try manifests.etcds() { candidates.append(Candidate(launch: EtcdLaunch(pod: pod), isActive: true)) }
        for name in try units.namesMentioningEtcd() {
            guard let unit = try units.load(name), let launch = try EtcdLaunch(unit: unit) else { continue }
            candidates.append(Candidate(launch: launch, isActive: try units.isEnabled(name)))
        }
        if let only { candidates.removeAll { $0.launch.name != only } }
        if candidates.isEmpty, let broken = manifests.broken.first { throw broken }
        if candidates.isEmpty, processes.isEmpty, let elsewhere = manifests.etcdElsewhere(own: addresses) {
            throw elsewhere
        }
        let (launch, process) = try Candidate.choose(candidates, processes, manifests.path)
        let settings = try launch.settings(files)
        if let process { try CrossCheck.compare(launch, settings, process, files) }
        return try DiscoveredEtcd(launch, settings, process, manifests, files)
    }
}

/// Something that would start an etcd, and whether the node is set to start it.
private struct Candidate {
    var launch: EtcdLaunch
    var isActive: Bool

    /// The one that is meant, with its process: what runs decides; where nothing runs, what is set to start.
    static func choose(
        _ candidates: [Candidate], _ processes: [EtcdProcess], _ manifestDirectory: String
    ) throws(FleetError) -> (EtcdLaunch, EtcdProcess?) {
        let unitNames = candidates.compactMap { if case .unit(let unit) = $0.launch.kind { unit.name } else { nil } }
        let loose = processes.filter { process in !unitNames.contains { process.belongs(to: $0) } }
        var running: [(EtcdLaunch, EtcdProcess)] = []
        for candidate in candidates {
            switch candidate.launch.kind {
            case .unit(let unit):
                running += processes.filter { $0.belongs(to: unit.name) }.map { (candidate.launch, $0) }
            case .staticPod(let pod):
                let flags = pod.command.dropFirst().map(\.text)
                running += loose.filter { Array($0.arguments.dropFirst()) == flags }.map { (candidate.launch, $0) }
            }
        }
        if running.count > 1 { throw several(running.map { "\($0.0.name) (process \($0.1.pid))" }) }
        if let only = running.first { return only }

        let active = candidates.filter(\.isActive)
        let chosen = active.isEmpty ? candidates : active
        if chosen.count > 1 { throw several(chosen.map(\.launch.name)) }
        guard let only = chosen.first else { throw none(processes, manifestDirectory) }
        // A static pod whose command line is another one now: taken for it here, told apart by the comparison.
        if case .staticPod = only.launch.kind, let process = loose.first {
            if loose.count > 1 { throw several(loose.map { "process \($0.pid)" }) }
            return (only.launch, process)
        }
        if let process = loose.first {
            throw FleetError(
                .filesAndProcessDiffer,
                "etcd runs as process \(process.pid), but \(only.launch.name), which should start it, did not",
                hint: "stop that process and start \(only.launch.name), or remove what starts the other")
        }
        return (only.launch, nil)
    }

    private static func several(_ names: [String]) -> FleetError {
        FleetError(
            .severalEtcds, "this node has \(names.count) etcds: \(names.joined(separator: ", "))",
            hint: "one agent serves one etcd: disable or remove those that are not meant")
    }

    private static func none(_ processes: [EtcdProcess], _ manifestDirectory: String) -> FleetError {
        if let process = processes.first {
            return FleetError(
                .noEtcd, "etcd runs as process \(process.pid), but no static pod and no systemd unit starts it",
                hint: "start etcd from a unit or a manifest, so that it can be stopped and started again")
        }
        return FleetError(
            .noEtcd, "no manifest in \(manifestDirectory) and no systemd unit starts etcd",
            hint: "run the agent on a node with etcd, or name a copy of one's file system with --root; on a verifier, "
                + "which only drills, this is right")
    }
}
