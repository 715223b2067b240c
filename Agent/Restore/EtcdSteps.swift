internal import FleetProtocol
internal import FleetSystem

/// etcd itself: stopped, started, and waited for, as a unit or as a static pod.
///
/// A node that boots in the middle of a restore of several members may start the old etcd by itself, before its agent
/// does its part. That is no mix. A node runs one etcd at a time, so of all members more than half can run the old data or
/// more than half the new, never both, and members of the two can't join, since each restore has a token of its own. The
/// control planes are away meanwhile, and what other clients may write to an old quorum is what a restore replaces
/// anyway. Behind the commit there is no such node: all have switched, and what starts by itself is the new etcd.
extension RestoreSteps {
    func stopEtcd() throws(FleetError) -> String? {
        letFollowersGoFirst()
        guard case .unit(let name, _) = work.launch else {
            try stopPod()
            return nil
        }
        // An etcd that lost its quorum may take all the time that systemd gives it (90 s by default) before it is killed.
        try Systemctl.run(["stop", name], seconds: max(work.waitSeconds, 100))
        let gone = try Waiting.until(work.waitSeconds) { () throws(FleetError) in
            try ProcessTable.etcds().allSatisfy { !$0.belongs(to: name) }
        }
        guard gone else {
            throw FleetError(
                .notStopped, "\(name) is stopped, but its etcd is still there after \(work.waitSeconds) s",
                hint: "see systemctl status \(name)")
        }
        return nil
    }

    /// Runs on the new directory when this returns: the right process, started since, with its database open there.
    func startNewEtcd() throws(FleetError) -> String? {
        switch work.launch {
        case .unit(let name, _):
            try start(name)
            try waitForUnit(name, work.plan.newDataDir)
            return nil
        case .staticPod: return try waitForPod(work.plan.newDataDir)
        }
    }

    func stopNewEtcd() throws(FleetError) {
        // A static pod alone is stopped and started by its manifest, which goes back next.
        if case .staticPod = work.launch, !work.isMember { return }
        _ = try stopEtcd()
    }

    func startOldEtcd() throws(FleetError) -> StepReport {
        guard case .unit(let name, _) = work.launch else {
            _ = try returnEtcdManifest()
            guard work.wasHealthy else { return StepReport() }
            let push = try waitForPod(work.plan.oldDataDir)
            var report = try asFarAsItGoes("etcd") { () throws(FleetError) in try waitUntilHealthy() }
            let notes = [push, report.note].compactMap(\.self)
            report.note = notes.isEmpty ? nil : notes.joined(separator: "; ")
            return report
        }
        // A reboot on the way back may have started the unit before its files were the old ones again.
        let wrong = try ProcessTable.etcds().contains { process in
            process.belongs(to: name) && !LiveDirectory.isSame(process, process.openDataDir, work.plan.oldDataDir)
        }
        if wrong { _ = try stopEtcd() }
        if let remark = try reasonNotToStart(name) {
            return StepReport(remark: remark, unhealthy: work.wasHealthy ? remark : nil)
        }
        guard work.wasHealthy else {
            // It goes on failing as it did before; to wait for it would be to wait for ever.
            try Systemctl.run(["start", "--no-block", name], seconds: work.waitSeconds)
            return StepReport()
        }
        try start(name)
        try waitForUnit(name, work.plan.oldDataDir)
        return try asFarAsItGoes("etcd") { () throws(FleetError) in try waitUntilHealthy() }
    }

    /// What somebody had stopped stays stopped. And an etcd without data would be worse than none: in the state "new" it
    /// begins an empty cluster there and serves that as if it were the old one.
    private func reasonNotToStart(_ unit: String) throws(FleetError) -> String? {
        if work.wasRunning == false {
            let runs = try ProcessTable.etcds().contains { $0.belongs(to: unit) }
            return runs
                ? "etcd was stopped before, and systemd has started it meanwhile" : "etcd is stopped, as it was before"
        }
        // Whether there is a log is what etcd itself goes by (wal.Exist).
        let log = work.plan.oldWalDir ?? work.plan.oldDataDir + "/member/wal"
        let files = FileSystem.exists(log) ? try FileSystem.list(log) : []
        let hasLog = files.contains { $0.hasSuffix(".wal") }
        let member = work.plan.oldDataDir + "/member"
        if hasLog, FileSystem.exists(member) { return nil }
        return "etcd was not started: there is no data in \(hasLog ? member : log), and it would begin an empty cluster"
    }

    /// The static pod's etcd on a directory of the host. A kubelet that does not notice in half the time gets a push.
    ///
    /// - Returns: a note when it got one.
    func waitForPod(_ directory: String) throws(FleetError) -> String? {
        guard case .staticPod(let manifest, _, let inner) = work.launch else { return nil }
        // One of several finds it outside in any case: that is where it waited for the others.
        var wasPushed = try returnEtcdManifest() && !work.isMember
        func runs() throws(FleetError) -> Bool {
            try ProcessTable.etcds().contains { LiveDirectory.isSame($0, inner, directory) }
        }
        if try !Waiting.until(max(1, work.waitSeconds / 2), runs) {
            // Read before the manifest goes.
            let flags = try containerFlags(manifest)
            try push(manifest) { () throws(FleetError) in try isGone(flags) }
            wasPushed = true
            guard try Waiting.until(work.waitSeconds, runs) else {
                throw FleetError(
                    .notStarted,
                    "the kubelet did not start etcd on \(directory) within \(work.waitSeconds) s, "
                        + "although its manifest was moved out and back",
                    hint: "see that the kubelet runs, and its log (journalctl -u kubelet)")
            }
        }
        // One of several has no quorum before the others are there: that is for `verify`.
        if !work.isMember { try waitUntilHealthy() }
        return wasPushed ? Self.pushNote : nil
    }

    /// One of several: its manifest waits outside the kubelet's directory until all members are off.
    private func stopPod() throws(FleetError) {
        guard case .staticPod(let manifest, _, _) = work.launch else { return }
        try FileSystem.makeDirectories(work.holdingDirectory)
        switch (FileSystem.exists(manifest), FileSystem.exists(held(manifest))) {
        case (true, false): try FileSystem.rename(manifest, to: held(manifest))
        case (false, true): break
        case (true, true): _ = try returnEtcdManifest()
        case (false, false):
            throw FleetError(.changedMeanwhile, "\(manifest) is gone", hint: "put it back, then restore again")
        }
        let flags = try containerFlags(held(manifest))
        let gone = try Waiting.until(work.waitSeconds) { () throws(FleetError) in
            guard try isGone(flags) else { return false }
            return try newEtcd() == nil
        }
        guard gone else {
            throw FleetError(
                .notStopped, "the kubelet did not stop etcd within \(work.waitSeconds) s",
                hint: "see that the kubelet runs, and its log (journalctl -u kubelet)")
        }
    }

    /// No etcd with the flags of a manifest's container.
    private func isGone(_ flags: [String]) throws(FleetError) -> Bool {
        try ProcessTable.etcds().allSatisfy { Array($0.arguments.dropFirst()) != flags }
    }

    /// On the way back, when the manifest is the old one again.
    ///
    /// - Returns: a note when the kubelet got a push.
    func waitUntilNewPodIsGone() throws(FleetError) -> String? {
        guard case .staticPod(let manifest, _, _) = work.launch else { return nil }
        func isGone() throws(FleetError) -> Bool { try newEtcd() == nil }
        if try Waiting.until(max(1, work.waitSeconds / 2), isGone) { return nil }
        try push(manifest, isGone)
        guard try isGone() else {
            throw FleetError(
                .notStopped, "the kubelet did not stop the etcd on \(work.plan.newDataDir)",
                hint: "see that the kubelet runs, and its log (journalctl -u kubelet)")
        }
        return Self.pushNote
    }

    /// A process that works in the new directory, as it shows itself or as its manifest says.
    func newEtcd() throws(FleetError) -> EtcdProcess? {
        try ProcessTable.etcds().first { process in
            if LiveDirectory.isSame(process, process.openDataDir, work.plan.newDataDir) { return true }
            guard case .staticPod(_, _, let inner) = work.launch else { return false }
            return LiveDirectory.isSame(process, inner, work.plan.newDataDir)
        }
    }

    func waitUntilHealthy() throws(FleetError) {
        let client = try client()
        var last: FleetError?
        let healthy = try Waiting.until(work.waitSeconds) { () throws(FleetError) in
            do throws(FleetError) {
                try client.checkHealth()
                return true
            } catch {
                last = error
                return false
            }
        }
        guard healthy else { throw last ?? FleetError(.unhealthy, "etcd does not answer") }
    }

    private func start(_ unit: String) throws(FleetError) {
        // A unit that failed too often is not started again until that is forgotten.
        _ = try? Systemctl.run(["reset-failed", unit], seconds: work.waitSeconds)
        // systemd holds a unit to be started when etcd says that it is ready, which one of several is with a quorum only.
        let words = work.isMember ? ["start", "--no-block", unit] : ["start", unit]
        try Systemctl.run(words, seconds: work.waitSeconds)
    }

    private func waitForUnit(_ name: String, _ directory: String) throws(FleetError) {
        let runs = try Waiting.until(work.waitSeconds) { () throws(FleetError) in
            try ProcessTable.etcds().contains { process in
                process.belongs(to: name) && LiveDirectory.isSame(process, process.openDataDir, directory)
            }
        }
        guard runs else {
            throw FleetError(
                .notStarted, "\(name) does not run on \(directory) after \(work.waitSeconds) s",
                hint: "see journalctl -u \(name)")
        }
    }

    private func containerFlags(_ manifest: String) throws(FleetError) -> [String] {
        let pods = try PodManifest(try FileSystem.read(manifest), file: manifest).pods
        let etcd = pods.flatMap(\.containers).first { $0.executable == "etcd" }
        return etcd.map { $0.commandLine.dropFirst().map(\.text) } ?? []
    }
}
