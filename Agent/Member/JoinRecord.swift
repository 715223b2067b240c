internal import FleetProtocol
internal import FleetSystem

/// What a node keeps of the replacement of its own member, on its disk before each step and until the end: what etcd was
/// before, and what its files are to be. The acts come one by one from the coordinator, and an agent that was killed in one
/// finds here what it is about.
struct JoinRecord: Codable, Sendable, Equatable {
    enum Stage: String, Codable, Sendable { case planned, stopping, returning, joining }

    var replacement: String
    var work: RestoreWork
    var stage: Stage
    /// The replacement before it that was never carried to its end, where it has switched the files: one at most, with the one
    /// before that in it. What it calls old is no less old behind this one.
    var former: [JoinRecord]?

    /// Of a plan that is made now, which may go on from one that stands half-way.
    static func planned(_ replacement: String, _ work: RestoreWork, after before: JoinRecord?) -> JoinRecord {
        JoinRecord(
            replacement: replacement, work: work, stage: .planned,
            former: before?.stage == .joining ? before.map { [$0] } : before?.former)
    }

    func write(_ paths: AgentPaths) throws(FleetError) {
        try FileSystem.makeDirectories(paths.state)
        try FileSystem.writeDurably(paths.joining, try JSON.encode(self))
    }

    /// - Throws: `not-found` where this node has no plan of that replacement.
    static func read(_ paths: AgentPaths, of replacement: String) throws(FleetError) -> JoinRecord {
        guard let record = try any(paths), record.replacement == replacement else { throw missing(replacement) }
        return record
    }

    /// Behind the end, of whichever replacement it is: this node's member serves, or its etcd is as it was.
    ///
    /// - Parameter end: the replacement that comes to its end: one that had only to make a learner a voter has no plan of its
    ///   own here.
    /// - Returns: the plan that was carried out, with all that is old behind it; nil where there was none.
    @discardableResult
    static func close(_ paths: AgentPaths, end: String) throws(FleetError) -> RestorePlan? {
        guard let record = try any(paths) else {
            // Asked a second time, it tells the same.
            return try done(paths, end).first?.plan
        }
        guard record.stage == .joining else {
            try RestoreSteps(work: record.work, paths: paths).removeHoldingDirectory()
            if let former = record.former?.first {
                try former.write(paths)
            } else {
                try FileSystem.remove(paths.joining)
            }
            return nil
        }
        try FileSystem.makeDirectories(FileSystem.parent(of: paths.replaced(end)))
        for id in Set([end, record.replacement]) {
            try FileSystem.writeDurably(paths.replaced(id), try JSON.encode(record))
        }
        try RestoreSteps(work: record.work, paths: paths).removeHoldingDirectory()
        try FileSystem.remove(paths.joining)
        return record.works.first?.plan
    }

    /// What a replacement that was carried to its end here has done, and those before it that never were, the last one first;
    /// none where there was none of that id.
    static func done(_ paths: AgentPaths, _ replacement: String) throws(FleetError) -> [RestoreWork] {
        guard FileSystem.exists(paths.replaced(replacement)) else { return [] }
        return try JSON.decode(JoinRecord.self, from: try FileSystem.read(paths.replaced(replacement))).works
    }

    /// The first one's plan names what all of them have left.
    private var works: [RestoreWork] {
        // One that never came to switch the files has the same old data as this one.
        let before = (former?.first?.works ?? []).filter { $0.directories.map(\.old) != work.directories.map(\.old) }
        var own = work
        own.plan.oldDirectories = (own.plan.oldDirectories ?? []) + (before.first?.plan.oldDirectories ?? [])
        return [own] + before
    }

    /// nil: this node's member is not being replaced.
    static func any(_ paths: AgentPaths) throws(FleetError) -> JoinRecord? {
        guard FileSystem.exists(paths.joining) else { return nil }
        return try JSON.decode(JoinRecord.self, from: try FileSystem.read(paths.joining))
    }

    /// Whether a replacement has put a manifest away: what is to be found on the node then is not all of it.
    static func holdsManifest(_ paths: AgentPaths) -> Bool {
        guard let record = try? any(paths) else { return false }
        return !((try? FileSystem.list(record.work.holdingDirectory)) ?? []).isEmpty
    }

    /// What discovery found wrong, with the replacement in whose middle the node is.
    static func explain(_ error: FleetError, _ paths: AgentPaths) -> FleetError {
        guard error.code == .noEtcd || error.code == .etcdElsewhere, let record = try? any(paths) else { return error }
        let (plan, held) = (record.work.plan, (try? FileSystem.list(record.work.holdingDirectory)) ?? [])
        guard !held.isEmpty else { return error }
        return FleetError(
            .restoreUnfinished,
            "\(error.message); the replacement \(record.replacement) of the member is not at its end here: "
                + "\(held.joined(separator: ", ")) lie in \(record.work.holdingDirectory)",
            hint: "see 'fleetctl job show \(record.replacement)'; go on with 'fleetctl member replace \(plan.cluster) "
                + "\(plan.node)'")
    }

    private static func missing(_ replacement: String) -> FleetError {
        FleetError(
            .notFound, "this node has no plan of the replacement \(replacement)",
            hint: "start it again: fleetctl member replace CLUSTER NODE")
    }
}
