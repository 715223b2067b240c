public import FleetProtocol
internal import FleetSystem

/// A snapshot in the spool, and what is known of it.
public struct SavedSnapshot: Sendable, Equatable {
    public var file: String
    public var facts: SnapshotFacts
    /// Of the whole file, lower-case hexadecimal.
    public var sha256: String
}

/// Takes a snapshot of the node's etcd into the spool. All of it blocks, none of it changes anything of etcd's, and
/// what fails leaves nothing behind.
struct SnapshotSaver: Sendable {
    var paths: AgentPaths
    var instance: EtcdInstance

    struct Preflight: Sendable {
        var client: EtcdClient
        var status: EtcdClient.Status
        var certificates: [CertificateExpiry]
        var warnings: [String]
    }

    /// Everything that would make the snapshot fail or be worthless, asked before the first byte.
    ///
    /// - Throws: `no-tool`, `certificate-expired`, `missing-certificate`, `unhealthy`, `corrupt-alarm`, `learner`,
    ///   `no-space`.
    func preflight(now: Timestamp = .now()) throws(FleetError) -> Preflight {
        let certificates = try CertificateCheck.expiries(instance, now: now)
        let tools = try ToolFinder.find(pid: instance.pid, dataDir: instance.dataDir, copies: paths.tools)
        let client = EtcdClient(
            tool: try tools.client(for: instance.version.flatMap { EtcdVersion($0) }), instance: instance)
        do throws(FleetError) { try client.checkHealth() } catch {
            guard instance.pid == nil else { throw error }
            guard (try? EtcdAbsence().runs(instance)) == true else { throw EtcdAbsence.error(instance) }
            // It came up meanwhile: etcd's tool tries again later and later, and may have missed it.
            try client.checkHealth()
        }
        let status = try client.status()
        var warnings = CertificateCheck.warnings(certificates, now: now)
        warnings += EtcdVersion(status.version).map(KnownProblems.warnings) ?? []
        for alarm in try client.alarms() {
            if alarm.kind == .corrupt {
                throw FleetError(
                    .corruptAlarm, "etcd's CORRUPT alarm is on: its members' data differ",
                    hint: "don't back this up: find the member that differs (etcdctl endpoint hashkv) and replace it")
            }
            if alarm.kind == .noSpace { warnings.append("etcd's NOSPACE alarm is on: it takes no writes") }
        }
        guard !status.isLearner else {
            throw FleetError(
                .learner, "\(instance.name) is a learner, which may lag behind", hint: "back up a voting member")
        }
        try checkSpace(for: status.databaseSize)
        return Preflight(client: client, status: status, certificates: certificates, warnings: warnings)
    }

    func save(job: String, _ preflight: Preflight) throws(FleetError) -> SavedSnapshot {
        let path = paths.snapshot(job)
        do throws(FleetError) {
            try FileSystem.removeTree(paths.spool(job))
            try FileSystem.makeDirectories(paths.spool(job))
            let started = Timestamp.now()
            try preflight.client.saveSnapshot(to: path, deadline: SnapshotTool.deadline(preflight.status.databaseSize))
            try FileSystem.setMode(path, 0o600)
            return try check(path, started, preflight)
        } catch {
            discard(job: job)
            throw error
        }
    }

    /// Removes what a job has in the spool.
    func discard(job: String) { try? FileSystem.removeTree(paths.spool(job)) }

    private func check(
        _ path: String, _ started: Timestamp, _ preflight: Preflight
    ) throws(FleetError) -> SavedSnapshot {
        let file = try SnapshotFile.check(path)
        let tools = try ToolFinder.find(pid: instance.pid, dataDir: instance.dataDir, copies: paths.tools)
        let version = EtcdVersion(preflight.status.version)
        let status = try SnapshotTool(tool: try tools.offline(for: version)).status(path, size: file.size)
        // At the snapshot's own revision the count is exact, whatever was written since; unless it was compacted.
        let keys = status.revision == 0 ? 0 : try? preflight.client.keyCount(revision: status.revision)
        let facts = SnapshotFacts(
            status: status, tool: preflight.client.tool.description, etcdVersion: preflight.status.version,
            clusterID: String(preflight.status.clusterID, radix: 16),
            memberID: String(preflight.status.memberID, radix: 16), memberName: instance.name, size: file.size,
            savedAt: started, certificates: preflight.certificates, liveKeys: keys,
            members: try? preflight.client.members().count, warnings: preflight.warnings)
        return SavedSnapshot(file: path, facts: facts, sha256: file.sha256)
    }

    /// The database, a tenth for what is written meanwhile, and 64 MiB that stay free in any case.
    func checkSpace(for size: Int64) throws(FleetError) {
        try FileSystem.makeDirectories(paths.spool)
        let needed = size + size / 10 + 64 << 20
        let free = try FileSystem.freeSpace(paths.spool)
        guard free >= needed else {
            throw FleetError(
                .noSpace, "the spool \(paths.spool) has \(free) bytes free; a snapshot of this etcd needs \(needed)",
                hint: "free some space there, or set the spool to a larger file system")
        }
    }
}

/// The spool as a whole.
enum Spool {
    /// Removes what jobs left that are not under way any more: called once, at the agent's start.
    static func clean(_ paths: AgentPaths, keeping jobs: Set<String>) throws(FleetError) {
        guard try FileSystem.status(paths.spool) != nil else { return }
        let prefix = AgentPaths.spoolPrefix
        for name in try FileSystem.list(paths.spool) where name.hasPrefix(prefix) {
            if !jobs.contains(String(name.dropFirst(prefix.count))) {
                try FileSystem.removeTree(paths.spool + "/" + name)
            }
        }
    }
}
