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
    /// Gives back what no snapshot needs: whole packs, then blocks inside of packs, as holes. Uploads, readers and
    /// commits may go on meanwhile.
    ///
    /// - Throws: `snapshot-damaged` where a snapshot can't be read: what it needs is not known, so nothing is touched.
    public func collect(dryRun: Bool) throws(FleetError) -> CollectReport {
        let (candidates, held, report) = try collectFiles(dryRun: dryRun)
        var all = report
        // Everything not held here can't become needed again: what commits from now on builds on these snapshots, on
        // held packs, or on packs that are not among the candidates.
        var needed: [PackID: Set<Int>] = [:]
        for id in try ids() {
            let snapshot: ResolvedSnapshot
            do throws(FleetError) { snapshot = try ResolvedSnapshot(id, core) } catch {
                if error.code == .notFound { continue }
                throw error
            }
            let blocks = try PackClosure.blocks(
                map: snapshot.map, table: snapshot.head.packs.map(\.id), packs: PackSet(core))
            for (pack, numbers) in blocks { needed[pack, default: []].formUnion(numbers) }
        }
        for id in candidates where !held.contains(id) {
            try release(id, keeping: needed[id] ?? [], dryRun: dryRun, &all)
        }
        return all
    }

    /// Removes files, and returns the packs that stay.
    private func collectFiles(
        dryRun: Bool
    ) throws(FleetError) -> (candidates: [PackID], held: Set<PackID>, report: CollectReport) {
        try publishing.attempt { heads throws(FleetError) in
            try refresh(&heads)
            for id in try ids() where heads[id] == nil {
                throw damaged("snapshot \(id) can't be read, so what it needs is not known; nothing was collected")
            }
            var (held, own) = (holds.all, Set<PackID>())
            for key in try uploads() {
                if let (_, opening, _) = try UploadLog.open(key, core) { own.insert(opening.table[0]) }
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

    private func release(
        _ id: PackID, keeping needed: Set<Int>, dryRun: Bool, _ report: inout CollectReport
    ) throws(FleetError) {
        let pack = try PackFile(id, in: core)
        guard needed.count < pack.index.blocks.count else { return }
        let file = try core.files.openStored(core.path(id))
        // Side by side they go at once: a file system gives back only the whole blocks of its own inside of a hole.
        var holes: [(range: Range<Int64>, isNew: Bool)] = []
        let unneeded = pack.index.blocks.enumerated().filter { !needed.contains($0.offset) }.map(\.element)
        for block in unneeded.sorted(by: { $0.offset < $1.offset }) {
            // A nonce of zeros: it was given back before.
            let isNew = try !file.read(at: block.offset, count: 16).allSatisfy { $0 == 0 }
            if isNew {
                report.blocks += 1
                report.blockBytes += Int64(block.length)
            }
            if let last = holes.last, last.range.upperBound == block.offset {
                holes[holes.count - 1] = (last.range.lowerBound..<block.end, last.isNew || isNew)
            } else {
                holes.append((block.offset..<block.end, isNew))
            }
        }
        for hole in holes where hole.isNew && !dryRun {
            guard try file.release(hole.range) else {
                report.cannotRelease = true
                return
            }
        }
    }
}
