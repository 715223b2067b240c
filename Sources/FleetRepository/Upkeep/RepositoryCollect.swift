public import FleetSystem

/// What a collection found, and, unless it was a rehearsal, did.
public struct CollectReport: Sendable, Equatable, Codable {
    /// Files that nothing needs: packs of deleted snapshots, what crashes left behind.
    public var files: [String] = []
    public var fileBytes: Int64 = 0
    /// Blocks that no snapshot needs any more, inside of packs that are needed.
    public var blocks = 0
    public var blockBytes: Int64 = 0
    /// The file system can't give back parts of files.
    public var cannotRelease = false
}

extension Repository {
    /// Gives back what no snapshot needs: whole packs, then blocks inside of packs, as holes. Uploads, readers,
    /// commits and deletions may go on meanwhile.
    ///
    /// - Throws: `snapshot-damaged` where a snapshot can't be read: what it needs is not known, so nothing (more) is touched.
    public func collect(dryRun: Bool) throws(FleetError) -> CollectReport {
        let (candidates, held, report) = try collectFiles(dryRun: dryRun)
        var (all, needs) = (report, BlockNeeds())
        try look(&needs)
        for id in candidates where !held.contains(id) {
            guard try !unneeded(id, needs).isEmpty else { continue }
            // Looking takes long, and meanwhile a snapshot may have been committed whose predecessor is gone by now. So
            // what is there is decided under the lock; before, for those of a moment ago, to hold it shortly.
            try look(&needs)
            try publishing.attempt { heads throws(FleetError) in
                try requireAll(&heads)
                guard !holds.all.contains(id) else { return }
                for head in heads.values where needs.lacks(head) {
                    try needs.add(try ResolvedSnapshot(head.id, core), core)
                }
                try release(id, needs, dryRun: dryRun, &all)
            }
        }
        return all
    }

    /// Adds what those snapshots need that were not looked at. Their packs are held while it goes on: another
    /// collection may come along.
    private func look(_ needs: inout BlockNeeds) throws(FleetError) {
        let seen = needs
        for id in publishing.withLock({ $0.values.filter(seen.lacks).map(\.id) }).sorted() {
            let found: (snapshot: ResolvedSnapshot, hold: PackHold)? = try publishing.attempt {
                heads throws(FleetError) in
                guard heads[id] != nil else { return nil }
                let snapshot = try ResolvedSnapshot(id, core)
                return (snapshot, holds.hold(snapshot.head.packs.map(\.id)))
            }
            guard let found else { continue }
            defer { withExtendedLifetime(found.hold) {} }
            try needs.add(found.snapshot, core)
        }
    }

    private func requireAll(_ heads: inout [String: SnapshotHead]) throws(FleetError) {
        guard let (id, error) = try refresh(&heads).first else { return }
        var refusal = error
        refusal.message =
            "snapshot \(id) can't be read, so what it needs is not known; until it can, nothing is collected: "
            + error.message
        throw refusal
    }

    /// Removes files, and returns the packs that stay.
    private func collectFiles(
        dryRun: Bool
    ) throws(FleetError) -> (candidates: [PackID], held: Set<PackID>, report: CollectReport) {
        try publishing.attempt { heads throws(FleetError) in
            try requireAll(&heads)
            var (held, own) = (holds.all, Set<PackID>())
            for key in try uploads() {
                if let opening = try UploadLog.opening(key, core) { own.insert(opening.table[0]) }
            }
            held.formUnion(own)
            let needed = heads.values.reduce(into: held) { $0.formUnion($1.packs.map(\.id)) }
            var (report, candidates): (CollectReport, [PackID]) = (CollectReport(), [])
            func collect(_ path: String) throws(FleetError) {
                report.files.append(path)
                report.fileBytes += try core.files.size(path) ?? 0
                if !dryRun { try core.files.remove(path) }
            }
            for name in try core.files.list("\(core.root)/packs") {
                if let id = PackID(fileName: name), needed.contains(id) {
                    candidates.append(id)
                } else {
                    try collect("\(core.root)/packs/\(name)")
                }
            }
            for name in try core.files.list("\(core.root)/snapshots") where name.hasPrefix(".") {
                try collect("\(core.root)/snapshots/\(name)")
            }
            return (candidates, held, report)
        }
    }

    /// Blocks of a pack that nobody needs and that were not given back before, with those beside them that were: a file
    /// system gives back only the whole blocks of its own inside of a hole. Nothing of a pack that is gone.
    private func unneeded(_ id: PackID, _ needs: BlockNeeds) throws(FleetError) -> [Hole] {
        let needed = needs.blocks[id] ?? []
        do throws(FleetError) {
            let pack = try PackFile(id, in: core)
            guard needed.count < pack.index.blocks.count else { return [] }
            let file = try core.files.openStored(core.path(id))
            var holes: [Hole] = []
            let blocks = pack.index.blocks.enumerated().filter { !needed.contains($0.offset) }.map(\.element)
            for block in blocks.sorted(by: { $0.offset < $1.offset }) {
                // A nonce of zeros: it was given back before.
                let isNew = try !file.read(at: block.offset, count: 16).allSatisfy { $0 == 0 }
                if holes.last?.range.upperBound != block.offset { holes.append(Hole(at: block.offset)) }
                holes[holes.count - 1].add(block, isNew: isNew)
            }
            return holes.filter { $0.blocks > 0 }
        } catch {
            if error.code == .notFound { return [] }
            throw error
        }
    }

    private func release(
        _ id: PackID, _ needs: BlockNeeds, dryRun: Bool, _ report: inout CollectReport
    ) throws(FleetError) {
        let holes = try unneeded(id, needs)
        for hole in holes {
            report.blocks += hole.blocks
            report.blockBytes += hole.bytes
        }
        guard !dryRun, !holes.isEmpty else { return }
        let file = try core.files.openStored(core.path(id))
        for hole in holes {
            guard try file.release(hole.range) else {
                report.cannotRelease = true
                return
            }
        }
    }
}

/// What the snapshots need that were looked at.
private struct BlockNeeds {
    private(set) var blocks: [PackID: Set<Int>] = [:]
    /// With the time of the commit: an id may be used again.
    private var seen: [String: Int64] = [:]

    func lacks(_ head: SnapshotHead) -> Bool { seen[head.id] != head.created }

    mutating func add(_ snapshot: ResolvedSnapshot, _ core: RepositoryCore) throws(FleetError) {
        let found = try PackClosure.blocks(
            map: snapshot.map, table: snapshot.head.packs.map(\.id), packs: PackSet(core))
        for (pack, numbers) in found { blocks[pack, default: []].formUnion(numbers) }
        seen[snapshot.head.id] = snapshot.head.created
    }
}

private struct Hole {
    private(set) var range: Range<Int64>
    /// Those of it that were not given back before.
    private(set) var blocks = 0
    private(set) var bytes: Int64 = 0

    init(at offset: Int64) { range = offset..<offset }

    mutating func add(_ block: BlockEntry, isNew: Bool) {
        range = range.lowerBound..<block.end
        guard isNew else { return }
        blocks += 1
        bytes += Int64(block.length)
    }
}
