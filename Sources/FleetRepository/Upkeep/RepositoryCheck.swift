import FleetCrypto
public import FleetSystem

/// Something that is wrong with a file, and which snapshots can't be read because of it.
public struct CheckFinding: Sendable, Equatable, Codable {
    public var path: String
    public var problem: FleetError
    public var snapshots: [String]
}

public struct CheckReport: Sendable, Equatable, Codable {
    public var findings: [CheckFinding] = []
    public var snapshots = 0
    public var packs = 0
    /// Bytes of blocks that were read and compared with their fingerprints.
    public var bytesRead: Int64 = 0
    public var isSound: Bool { findings.isEmpty }
    /// All that are touched by any finding.
    public var damagedSnapshots: [String] { Set(findings.flatMap(\.snapshots)).sorted() }
}

extension Repository {
    /// Examines every file that a snapshot needs. With `readData` also every block: it is decrypted, decompressed, and
    /// each page compared with its fingerprint, so a flipped bit anywhere in what snapshots need is found. Reads only;
    /// uploads and deletions may go on meanwhile. Of a snapshot without a file nobody here knows: its owner has to.
    public func check(readData: Bool) throws(FleetError) -> CheckReport {
        var run = CheckRun(self)
        let ids = try self.ids()
        let hold = publishing.withLock { _ in
            holds.hold(ids.flatMap { id in ((try? head(id))?.packs ?? []).map(\.id) })
        }
        defer { withExtendedLifetime(hold) {} }
        run.config()
        try run.snapshots(ids)
        try run.packs()
        try run.maps(readData: readData)
        // What was deleted meanwhile is no loss.
        let still = Set(try self.ids())
        for i in run.report.findings.indices { run.report.findings[i].snapshots.removeAll { !still.contains($0) } }
        run.report.findings.removeAll { $0.snapshots.isEmpty && !$0.path.hasSuffix("/config") }
        return run.report
    }
}

/// One examination, in steps; each knows what the former found.
private struct CheckRun {
    var report = CheckReport()
    private let repository: Repository
    private var core: RepositoryCore { repository.core }
    private var heads: [String: SnapshotHead] = [:]
    /// Snapshots whose own file can't be read.
    private var bad: [String: FleetError] = [:]
    /// Of snapshots that a finding touches already.
    private var unreadable: Set<String> = []
    private var badBlocks: [PackID: Set<Int>] = [:]

    init(_ repository: Repository) { self.repository = repository }

    private mutating func found(_ path: String, _ problem: FleetError, _ snapshots: [String]) {
        report.findings.append(CheckFinding(path: path, problem: problem, snapshots: snapshots.sorted()))
        unreadable.formUnion(snapshots)
    }

    mutating func config() {
        do throws(FleetError) {
            let config = try Repository.config(core.root, core.files)
            guard try config.isAuthentic(core.keys) else { throw damaged("it was changed") }
        } catch { found("\(core.root)/config", error, []) }
    }

    mutating func snapshots(_ ids: [String]) throws(FleetError) {
        read(ids)
        try lookAgain()
        report.snapshots = heads.count + bad.count
        // Whoever builds on a file needs it as well.
        var missing: Set<String> = []
        for head in heads.values {
            if let parent = head.parent, heads[parent] == nil, bad[parent] == nil { missing.insert(parent) }
        }
        for id in missing { bad[id] = FleetError(.notFound, "snapshot \(id) is not there, and others build on it") }
        for (id, problem) in bad.sorted(by: { $0.key < $1.key }) {
            let touched = heads.values.filter { chain($0).contains(id) }.map(\.id)
            found(core.snapshotPath(id), problem, touched + [id])
        }
    }

    private mutating func read(_ ids: some Sequence<String>) {
        for id in ids {
            (heads[id], bad[id]) = (nil, nil)
            do throws(FleetError) { heads[id] = try SnapshotFile.read(id, core).0 } catch { bad[id] = error }
        }
    }

    /// A deletion writes anew what builds on the snapshot that goes. Whoever read before and behind it finds a file gone,
    /// or another's predecessor: what looks so is read once more while nothing can be deleted.
    private mutating func lookAgain() throws(FleetError) {
        try repository.publishing.attempt { _ throws(FleetError) in
            let there = Set(try repository.ids())
            for id in Set(heads.keys).union(bad.keys).subtracting(there) { (heads[id], bad[id]) = (nil, nil) }
            let astray = heads.values.filter { head in head.parent.map { heads[$0] == nil } ?? false }.map(\.id)
            read(Set(astray).union(bad.keys))
        }
    }

    /// With its map; nothing on the way to it is deleted meanwhile.
    private func resolved(_ id: String) throws(FleetError) -> ResolvedSnapshot {
        try repository.publishing.attempt { _ throws(FleetError) in try ResolvedSnapshot(id, core) }
    }

    private func chain(_ head: SnapshotHead) -> [String] {
        var (names, next): ([String], String?) = ([], head.parent)
        while let name = next, names.count <= SnapshotHead.maximumChain {
            names.append(name)
            next = heads[name]?.parent
        }
        return names
    }

    mutating func packs() throws(FleetError) {
        var users: [PackID: [String]] = [:]
        var lengths: [PackID: Set<Int64>] = [:]
        for head in heads.values {
            for pack in head.packs {
                users[pack.id, default: []].append(head.id)
                lengths[pack.id, default: []].insert(pack.length)
            }
        }
        report.packs = users.count
        for (id, snapshots) in users.sorted(by: { $0.key < $1.key }) {
            do throws(FleetError) {
                let pack = try PackFile(id, in: core)
                guard lengths[id] == [pack.length!] else { throw damaged("pack \(id) has another length") }
            } catch {
                found(core.path(id), error, snapshots)
            }
        }
    }

    /// The maps lead to pages that are there; with `readData`, these are what they were.
    mutating func maps(readData: Bool) throws(FleetError) {
        var needed: [PackID: Set<Int>] = [:]
        let packs = PackSet(core)
        for id in heads.keys.sorted() where !unreadable.contains(id) {
            do throws(FleetError) {
                let snapshot = try resolved(id)
                let table = snapshot.head.packs.map(\.id)
                let blocks = try PackClosure.blocks(map: snapshot.map, table: table, packs: packs)
                guard Set(blocks.keys) == Set(table) else { throw damaged("it names other packs than it needs") }
                for (pack, numbers) in blocks { needed[pack, default: []].formUnion(numbers) }
            } catch { found(core.snapshotPath(id), error, [id]) }
        }
        guard readData else { return }
        for (id, numbers) in needed.sorted(by: { $0.key < $1.key }) { try read(id, numbers, packs) }
        try nameTouched(packs)
    }

    private mutating func read(_ id: PackID, _ numbers: Set<Int>, _ packs: PackSet) throws(FleetError) {
        let fingerprinter = core.fingerprinter()
        let (pack, ids): (PackFile, ContiguousArray<PageID>)
        do throws(FleetError) {
            pack = try packs.pack(id)
            ids = try pack.ids()
        } catch {
            found(core.path(id), error, heads.values.filter { $0.packs.contains { $0.id == id } }.map(\.id))
            return
        }
        for number in numbers.sorted() {
            do throws(FleetError) {
                // The seal first, always from the disk: a block in the cache proves nothing.
                _ = try pack.block(number)
                let block = try packs.decoded(pack, number, asBase: true)
                report.bytesRead += Int64(pack.index.blocks[number].length)
                for page in 0..<pack.index.blocks[number].pages {
                    let (high, low) = block.bytes.withUnsafeBytes { bytes in
                        fingerprinter.fingerprint(
                            UnsafeRawBufferPointer(rebasing: bytes[(page * pageLength)..<((page + 1) * pageLength)]))
                    }
                    guard ids[pack.starts[number] + page] == PageID(high: high, low: low) else {
                        throw damaged("pack \(id): page \(page) of block \(number) is another")
                    }
                }
            } catch { badBlocks[id, default: []].insert(number) }
        }
    }

    /// One finding for each pack with bad blocks, naming exactly the snapshots that need one of them. A block that may be
    /// bad only because a base of it is makes no finding of its own: whoever needs it needs that base as well.
    private mutating func nameTouched(_ packs: PackSet) throws(FleetError) {
        guard !badBlocks.isEmpty else { return }
        var roots: [PackID: Set<Int>] = [:]
        for (id, numbers) in badBlocks {
            let pack = try packs.pack(id)
            for number in numbers {
                let bases = (try? packs.bases(of: pack, number)) ?? []
                let isBaseBad = bases.contains { badBlocks[$0.0.id]?.contains($0.1) ?? false }
                if !isBaseBad || (try? pack.block(number)) == nil { roots[id, default: []].insert(number) }
            }
        }
        var touched: [PackID: [String]] = [:]
        for id in heads.keys.sorted() where !unreadable.contains(id) {
            guard let snapshot = try? resolved(id),
                let blocks = try? PackClosure.blocks(
                    map: snapshot.map, table: snapshot.head.packs.map(\.id), packs: packs)
            else { continue }
            for (pack, numbers) in roots where !numbers.isDisjoint(with: blocks[pack] ?? []) {
                touched[pack, default: []].append(id)
            }
        }
        for (id, numbers) in roots.sorted(by: { $0.key < $1.key }) {
            let list = numbers.sorted().prefix(8).map(String.init).joined(separator: ", ")
            let problem = damaged("pack \(id): \(numbers.count) blocks are not what was written (\(list))")
            found(core.path(id), problem, touched[id] ?? [])
        }
    }
}
