internal import FleetProtocol
internal import FleetSystem

/// A restore whose journal on this node has no end: it is at work, waits, or is stuck.
struct UnfinishedRestore {
    /// The job, or this member's part of one.
    let job: String
    let work: RestoreWork
    let machine: RestoreMachine
    /// Its journal.
    let path: String

    /// - Throws: `journal-damaged`.
    static func all(_ paths: AgentPaths) throws(FleetError) -> [UnfinishedRestore] {
        var found: [UnfinishedRestore] = []
        for job in try FileSystem.exists(paths.jobs) ? FileSystem.list(paths.jobs) : [] {
            guard FileSystem.exists(paths.journal(job)) else { continue }
            let entries = try Journal<RestoreEntry>.records(paths.journal(job))
            guard case .planned(let work, let boot)? = entries.first else { continue }
            var machine = RestoreMachine(work, boot)
            for entry in entries { machine.apply(entry) }
            if case .end(let verdict, _) = machine.next(), verdict != .stuck { continue }
            found.append(UnfinishedRestore(job: job, work: work, machine: machine, path: paths.journal(job)))
        }
        return found
    }

    /// What discovery found wrong, with the restore in whose middle the node is: what it moved aside is not lost, and what is
    /// found meanwhile is neither what was nor what will be.
    static func explain(_ error: FleetError, _ paths: AgentPaths) -> FleetError {
        guard let restore = (try? all(paths))?.first else { return error }
        let name = restore.work.group?.restore ?? restore.job
        let held = (try? FileSystem.list(restore.work.holdingDirectory)) ?? []
        let place = held.isEmpty ? "" : ": \(held.joined(separator: ", ")) lie in \(restore.work.holdingDirectory)"
        return FleetError(
            .restoreUnfinished, "\(error.message); restore \(name) is not at its end here\(place)",
            hint: "see 'fleetctl job show \(name)' before you change anything", retryable: error.isRetryable)
    }
}

extension Discovery {
    /// This node's etcd, as people and the coordinator are told of it.
    ///
    /// - Throws: as `discover()`; `restore-unfinished` where a restore or a replacement explains what is wrong.
    static func discover(_ paths: AgentPaths) throws(FleetError) -> DiscoveredEtcd {
        do throws(FleetError) { return try discover() } catch {
            throw JoinRecord.explain(UnfinishedRestore.explain(error, paths), paths)
        }
    }
}

extension FleetError.Code {
    /// A restore is in its middle on this node: what is found meanwhile says nothing of its etcd.
    static let restoreUnfinished: Self = "restore-unfinished"
}
