internal import FleetSystem
internal import FleetTLS

/// The control plane out of the way and back: its manifests leave the kubelet's directory and return to it, each as it was, a
/// symbolic link too.
extension RestoreSteps {
    private var controlPlaneFiles: [String] { Self.files(work.controlPlane) }

    private static func files(_ manifests: [ControlPlaneManifest]) -> [String] {
        var seen: Set<String> = []
        return manifests.map(\.file).filter { seen.insert($0).inserted }
    }

    func held(_ file: String) -> String { work.held(file) }

    func stopControlPlane() throws(FleetError) -> String? {
        try FileSystem.makeDirectories(work.holdingDirectory)
        for file in controlPlaneFiles {
            switch (FileSystem.isThere(file), FileSystem.isThere(held(file))) {
            case (true, false): try FileSystem.rename(file, to: held(file))
            case (false, true): break
            case (true, true):
                throw FleetError(
                    .changedMeanwhile, "\(file) was written again while it was away",
                    hint: "compare it with \(held(file)) and keep one of the two")
            case (false, false):
                throw FleetError(
                    .changedMeanwhile, "\(file) is gone", hint: "put it back, then restore again")
            }
        }
        let gone = try Waiting.until(work.waitSeconds) { () throws(FleetError) in try survivors().isEmpty }
        guard gone else {
            throw FleetError(
                .notStopped,
                "\(try survivors().joined(separator: ", ")) did not stop within \(work.waitSeconds) s",
                hint: "see that the kubelet runs (journalctl -u kubelet)")
        }
        return nil
    }

    /// On the way forward: etcd is as it should be, so nothing is done but this.
    func startControlPlane() throws(FleetError) -> String? {
        if let late = try bringBackControlPlane(waiting: true) { throw late }
        return restartKubelet()
    }

    /// On the way back.
    func returnControlPlane() throws(FleetError) -> StepReport {
        let late = try bringBackControlPlane(waiting: work.wasHealthy)
        let report = try asFarAsItGoes { () throws(FleetError) in if let late { throw late } }
        try removeHoldingDirectory()
        return report
    }

    /// The apiserver before those that watch it: they are to see what it serves now and nothing else. When it is not ready in
    /// time they come back all the same: a node that waits for a person is not left with half of its control plane.
    ///
    /// - Returns: what was not ready in time.
    private func bringBackControlPlane(waiting: Bool) throws(FleetError) -> FleetError? {
        let servers = work.controlPlane.filter { $0.component == "kube-apiserver" }
        try returnManifests(servers)
        let late = waiting ? try notReady(servers) : nil
        try returnManifests(work.controlPlane)
        if late != nil || !waiting { return late }
        return try notReady(work.controlPlane)
    }

    /// What it has cached is of the time before, and its containers outlive it. All serves by now, so what fails here is told
    /// and changes nothing.
    func restartKubelet() -> String? {
        let unit = "kubelet.service"
        do throws(FleetError) {
            guard try Systemctl.property("LoadState", of: unit) == "loaded" else {
                return "this node has no \(unit): restart its kubelet by hand"
            }
            try Systemctl.run(["try-restart", unit], seconds: work.waitSeconds)
            return nil
        } catch { return "the kubelet could not be restarted, do it by hand: \(error.message)" }
    }

    private func returnManifests(_ manifests: [ControlPlaneManifest]) throws(FleetError) {
        for file in Self.files(manifests) where FileSystem.isThere(held(file)) {
            guard !FileSystem.isThere(file) else {
                throw FleetError(
                    .changedMeanwhile, "\(file) was written again while it was away",
                    hint: "compare it with \(held(file)), keep one of the two, then start the agent again")
            }
            try FileSystem.rename(held(file), to: file)
        }
    }

    /// The directory and what is above it of the agent's own, when nothing is in them any more.
    func removeHoldingDirectory() throws(FleetError) {
        for path in [work.holdingDirectory, FileSystem.parent(of: work.holdingDirectory)]
        where !work.holdingDirectory.isEmpty && FileSystem.exists(path) {
            if try FileSystem.list(path).isEmpty { try FileSystem.removeTree(path) }
        }
    }

    /// Renaming works within one file system only: asked before anything is moved.
    func checkHoldingDirectory() throws(FleetError) {
        guard let directory = work.manifestDirectory else { return }
        // ".../fleet-agent/JOB"
        let beside = FileSystem.parent(of: FileSystem.parent(of: work.holdingDirectory))
        guard let ours = try FileSystem.status(beside), let theirs = try FileSystem.status(directory),
            ours.device == theirs.device
        else {
            throw FleetError(
                .notEditable,
                "\(directory) is a file system of its own: manifests can't be moved out of it in one step",
                hint: "put the manifests on the file system of \(beside), or set staticPodPath to such a directory")
        }
    }

    /// Components of which a process or a listening port is left.
    private func survivors() throws(FleetError) -> [String] {
        let processes = try ProcessTable.all().map(\.arguments)
        return work.controlPlane.filter { manifest in
            processes.contains { manifest.isProcess($0) } || manifest.isListening
        }.map(\.component)
    }

    /// Waits for them.
    private func notReady(_ manifests: [ControlPlaneManifest]) throws(FleetError) -> FleetError? {
        var waiting: [String] = []
        let ready = try Waiting.until(work.waitSeconds) { () throws(FleetError) in
            let processes = try ProcessTable.all().map(\.arguments)
            waiting = manifests.filter { !$0.isReady(processes) }.map(\.component)
            return waiting.isEmpty
        }
        if ready { return nil }
        return FleetError(
            .notStarted, "\(waiting.joined(separator: ", ")) is not ready after \(work.waitSeconds) s",
            hint: "its manifest is in place; see the kubelet's and its own log")
    }
}

extension ControlPlaneManifest {
    /// A process shows the command of its manifest, after the interpreter where it is a script.
    func isProcess(_ arguments: [String]) -> Bool {
        guard let start = arguments.prefix(2).firstIndex(where: { FileSystem.name(of: $0) == component }) else {
            return false
        }
        return Array(arguments[(start + 1)...]) == Array(command.dropFirst())
    }

    /// The apiserver's port is taken; the others' ports are not etcd's business.
    var isListening: Bool {
        guard component == "kube-apiserver" else { return false }
        return HTTPProbe.isListening(host: probe?.host ?? "127.0.0.1", port: probe?.port ?? securePort)
    }

    /// The apiserver by its own manifest's probe; what has none by its process and port.
    func isReady(_ processes: [[String]]) -> Bool {
        guard component == "kube-apiserver" else { return processes.contains(where: isProcess) }
        guard let probe else { return isListening }
        let status = try? HTTPProbe.status(host: probe.host, port: probe.port, path: probe.path, isTLS: probe.isTLS)
        return status.map { (200..<400).contains($0) } ?? false
    }
}
