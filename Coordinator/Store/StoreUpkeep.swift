import FleetProtocol
import FleetRepository
import FleetSystem

/// What the store does for its owner besides keeping snapshots. Every function blocks, for as long as reading what it
/// looks at takes; uploads and restores go on meanwhile.
protocol StoreUpkeep: Sendable {
    /// What is there; a snapshot without a file never was, to the store.
    func check(readData: Bool) throws(FleetError) -> StoreCheckReply
    /// Where a snapshot's own file is, or should be.
    func path(_ id: String) -> String
    func statistics() throws(FleetError) -> StoreStatistics
    func collect(dryRun: Bool) throws(FleetError) -> StoreCollectReply
}

extension RepositoryStore: StoreUpkeep {
    func check(readData: Bool) throws(FleetError) -> StoreCheckReply {
        let report = try repository.check(readData: readData)
        return StoreCheckReply(
            findings: report.findings.map { .init(path: $0.path, problem: $0.problem, snapshots: $0.snapshots) },
            snapshots: report.snapshots, packs: report.packs, bytesRead: report.bytesRead)
    }

    func path(_ id: String) -> String { repository.path(id) }

    func statistics() throws(FleetError) -> StoreStatistics {
        let all = try repository.statistics()
        return StoreStatistics(
            snapshots: all.snapshots, bytes: all.bytes, storedBytes: all.packBytes + all.mapBytes, packs: all.packs,
            uploads: all.uploads,
            clusters: all.lineages.map {
                .init(name: $0.name, snapshots: $0.snapshots, bytes: $0.bytes, storedBytes: $0.storedBytes)
            })
    }

    func collect(dryRun: Bool) throws(FleetError) -> StoreCollectReply {
        let report = try repository.collect(dryRun: dryRun)
        return StoreCollectReply(
            files: report.files, fileBytes: report.fileBytes, blocks: report.blocks, blockBytes: report.blockBytes,
            cannotRelease: report.cannotRelease)
    }
}
