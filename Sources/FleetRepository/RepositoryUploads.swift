import FleetCrypto
public import FleetSystem
private import Glibc

/// Uploads: begun, gone on with, committed, forgotten.
extension Repository {
    /// The keys of uploads that are not committed.
    public func uploads() throws(FleetError) -> [String] {
        try core.files.list("\(core.root)/incoming").filter { !$0.hasPrefix(".") }
    }

    /// Begins an upload, or goes on with one where its last checkpoint was. It is stored against the newest sound
    /// snapshot of the lineage, of the same member where there is one.
    public func begin(_ key: String, lineage: String, member: String = "") throws(FleetError) -> Upload {
        try Self.check(key)
        if let upload = try resume(key) { return upload }
        return try publishing.attempt { heads throws(FleetError) in
            let parent = try self.parent(lineage: lineage, member: member, &heads)
            let own = PackID(SecureRandom.bytes(16))
            let opening = UploadLog.Opening(
                lineage: lineage, member: member, parent: parent?.head.id,
                table: [own] + (parent?.head.packs.map(\.id) ?? []))
            return Box(
                try Upload(
                    key: key, core: core, opening: opening, log: try UploadLog.create(key, opening, core),
                    checkpoints: [], parent: parent.map { PageReader($0, packs: PackSet(core)) },
                    hold: holds.hold(opening.table)))
        }.value
    }

    /// nil where there is nothing to go on with, nothing that it could be understood with, or nothing that may be gone on
    /// with: behind a rotation of the data key, nothing more is sealed with the former one.
    private func resume(_ key: String) throws(FleetError) -> Upload? {
        guard let (log, opening, checkpoints) = try UploadLog.open(key, core) else { return nil }
        let upload: Box? = try publishing.attempt { heads throws(FleetError) in
            guard log.generation == core.keys.generation,
                try !isTaken(opening.table[0], checkpoint: checkpoints.last?.packLength ?? 0, &heads)
            else { return nil }
            do throws(FleetError) {
                var parent: ResolvedSnapshot?
                if let id = opening.parent {
                    let found = try ResolvedSnapshot(id, core)
                    if let problem = try problem(found.head) { throw problem }
                    guard found.head.packs.map(\.id) == Array(opening.table.dropFirst()) else { return nil }
                    parent = found
                }
                let reader = parent.map { PageReader($0, packs: PackSet(core)) }
                return Box(
                    try Upload(
                        key: key, core: core, opening: opening, log: log, checkpoints: checkpoints, parent: reader,
                        hold: holds.hold(opening.table)))
            } catch {
                // Deleted or damaged meanwhile: the pages that were not sent again are gone with it.
                if error.code == .notFound || error.code == .snapshotDamaged { return nil }
                throw error
            }
        }
        if upload == nil { try discard(key) }
        return upload?.value
    }

    /// Whether a snapshot needs the pack of an upload, as far as can be known: then it must not be cut back to what its log
    /// says. A log outlives its commit when it can't be removed.
    private func isTaken(
        _ own: PackID, checkpoint: Int64, _ heads: inout [String: SnapshotHead]
    ) throws(FleetError) -> Bool {
        let isAllKnown = try refresh(&heads).isEmpty
        if isAllKnown || Self.isNeeded(own, heads) { return Self.isNeeded(own, heads) }
        // It may be one that can't be read. But a committed pack is longer than its log ever says; of one that is not,
        // nothing would be cut off, and a damaged snapshot need not keep all uploads from going on.
        return try core.files.size(core.path(own)) ?? 0 > checkpoint
    }

    private static func isNeeded(_ pack: PackID, _ heads: [String: SnapshotHead]) -> Bool {
        heads.values.contains { head in head.packs.contains { $0.id == pack } }
    }

    /// The heads are remembered: they never change but by what this process does.
    private func parent(
        lineage: String, member: String, _ heads: inout [String: SnapshotHead]
    ) throws(FleetError) -> ResolvedSnapshot? {
        try refresh(&heads)
        let distrusted = distrusted.withLock { $0 }
        let candidates = heads.values.filter { head in
            head.lineage == lineage && !head.packs.contains { distrusted.contains($0.id) }
        }.sorted {
            ($0.member == member ? 1 : 0, $0.created, $0.id) > ($1.member == member ? 1 : 0, $1.created, $1.id)
        }
        for head in candidates.prefix(4) {
            // What is damaged must not be built upon.
            if let snapshot = try? ResolvedSnapshot(head.id, core), try problem(snapshot.head) == nil {
                return snapshot
            }
        }
        return nil
    }

    /// Forgets an upload; what is not there is fine.
    ///
    /// - Parameter isUnreadable: it can't be read back, perhaps because of what it shares with others: those that come
    ///   next share none of that.
    public func discard(_ key: String, isUnreadable: Bool = false) throws(FleetError) {
        try Self.check(key)
        try publishing.attempt { heads throws(FleetError) in
            let path = core.logPath(key)
            guard try core.files.size(path) != nil else { return }
            if let table = (try? UploadLog.opening(key, core))?.table {
                let own = table[0]
                if isUnreadable { distrusted.withLock { $0.formUnion(table.dropFirst()) } }
                // Where that can't be known, the pack is left to a collection.
                let mayBeNeeded = try !refresh(&heads).isEmpty || Self.isNeeded(own, heads)
                if !mayBeNeeded { try core.files.remove(core.path(own)) }
            }
            try core.files.remove(path)
        }
    }

    /// Makes an upload the snapshot `id`. When this returns, it would survive a power cut; until then it is in no
    /// listing. The upload is used up, unless this throws: then it can be begun again and committed.
    ///
    /// - Throws: `already-exists`, `no-space`.
    public func commit(_ upload: Upload, as id: String, member: String? = nil, payload: [UInt8]) throws(FleetError) {
        try Self.check(id)
        guard try core.files.size(core.snapshotPath(id)) == nil else {
            throw FleetError(.alreadyExists, "snapshot \(id) is in the repository already")
        }
        let (map, packLength, packs) = try upload.finish()
        let table = upload.opening.table
        let needed = try PackClosure.packs(map: map, table: table, packs: packs)
        var head = SnapshotHead(
            id: id, lineage: upload.opening.lineage, member: member ?? upload.opening.member, created: Self.now(),
            length: Int64(map.count * pageLength + upload.tail.count), payload: payload, parent: nil, chain: 0,
            packs: try needed.map { id throws(FleetError) in
                if id == table[0], let packLength { return PackReference(id: id, length: packLength) }
                return PackReference(id: id, length: try packs.pack(id).length ?? 0)
            }, own: packLength == nil ? nil : table[0], tail: upload.tail)
        let final = ResolvedSnapshot.translate(map, from: table, to: needed)
        try publishing.attempt { heads throws(FleetError) in
            guard try core.files.size(core.snapshotPath(id)) == nil else {
                throw FleetError(.alreadyExists, "snapshot \(id) is in the repository already")
            }
            var below: PageMap?
            if let name = upload.opening.parent, let parent = try? ResolvedSnapshot(name, core),
                parent.head.chain < SnapshotHead.maximumChain
            {
                below = ResolvedSnapshot.translate(parent.map, from: parent.head.packs.map(\.id), to: needed)
                (head.parent, head.chain) = (name, parent.head.chain + 1)
            }
            try core.files.writeDurably(
                core.snapshotPath(id), try SnapshotFile.encode(head, map: final, parent: below, core))
            heads[id] = head
            heads[id]?.payload = []
        }
        upload.abandon()
        // It is committed; that its log is still there is found out, and put right, at the next start or beginning.
        try? core.files.remove(core.logPath(upload.key))
    }

    /// After a start: logs of uploads that were committed right before the end go.
    public func recover() throws(FleetError) {
        try publishing.attempt { heads throws(FleetError) in
            for key in try uploads() {
                guard let own = (try? UploadLog.opening(key, core))?.table[0] else { continue }
                try refresh(&heads)
                if Self.isNeeded(own, heads) { try core.files.remove(core.logPath(key)) }
            }
        }
    }

    static func now() -> Int64 { Timestamp.now().milliseconds }

    /// An upload on its way out of a lock: made there, used by nobody else.
    private struct Box: @unchecked Sendable {
        let value: Upload
        init(_ value: Upload) { self.value = value }
    }
}
