internal import FleetProtocol
internal import FleetSystem

/// A restore, or the undo of one, as its journal on this node has it.
struct JournalledRestore {
    /// The job, or this member's part of one.
    let job: String
    let work: RestoreWork
    let machine: RestoreMachine
    /// Its journal.
    let path: String

    /// As operators know it.
    var name: String { work.group?.restore ?? job }

    /// How it ended; nil where it is at work, waits, or is stuck.
    var verdict: RestoreMachine.Verdict? {
        if case .end(let verdict, _) = machine.next(), verdict != .stuck { verdict } else { nil }
    }

    /// All that are kept, oldest first.
    ///
    /// - Throws: `journal-damaged`.
    static func all(_ paths: AgentPaths) throws(FleetError) -> [JournalledRestore] {
        var found: [JournalledRestore] = []
        for job in try FileSystem.exists(paths.jobs) ? FileSystem.list(paths.jobs).sorted() : [] {
            guard FileSystem.exists(paths.journal(job)) else { continue }
            let entries = try Journal<RestoreEntry>.records(paths.journal(job))
            guard case .planned(let work, let boot)? = entries.first else { continue }
            var machine = RestoreMachine(work, boot)
            for entry in entries { machine.apply(entry) }
            found.append(JournalledRestore(job: job, work: work, machine: machine, path: paths.journal(job)))
        }
        return found
    }

    /// The one that has no end; nil without such a one, and where the journals can't be read.
    static func unfinished(_ paths: AgentPaths) -> JournalledRestore? {
        (try? all(paths))?.last { $0.verdict == nil }
    }

    /// "restore 20261124-065510-k3f9 is not at its end here; in /etc/kubernetes/fleet-agent/...: etcd.yaml"
    var standing: String {
        let away = work.heldManifests.map(FileSystem.name)
        return "restore \(name) is not at its end here"
            + (away.isEmpty ? "" : "; in \(work.holdingDirectory): \(away.joined(separator: ", "))")
    }

    /// What discovery found wrong, with the restore or replacement in whose middle the node is: what it moved aside is not lost, and what is
    /// found meanwhile is neither what was nor what will be.
    static func explain(_ error: FleetError, _ paths: AgentPaths) -> FleetError {
        guard let restore = unfinished(paths) else { return JoinRecord.explain(error, paths) }
        return FleetError(
            .restoreUnfinished, "\(error.message); \(restore.standing)",
            hint: "see 'fleetctl job show \(restore.name)' before you change anything", retryable: error.isRetryable)
    }
}

extension RestoreWork {
    /// Manifests that are out of the kubelet's directory now, by their paths in it.
    var heldManifests: [String] {
        var manifests = controlPlane.map(\.file)
        if case .staticPod(let manifest, _, _) = launch { manifests.append(manifest) }
        return manifests.filter { FileSystem.isThere(held($0)) }
    }

    /// What manifests are moved out of; nil where none are.
    var manifestDirectory: String? {
        if case .staticPod(_, let directory, _) = launch { return directory }
        return controlPlane.first.map { FileSystem.parent(of: $0.file) }
    }

    func held(_ file: String) -> String { holdingDirectory + "/" + FileSystem.name(of: file) }
}

extension FleetError.Code {
    /// A restore is in its middle on this node: what is found meanwhile says nothing of its etcd.
    static let restoreUnfinished: Self = "restore-unfinished"
}
