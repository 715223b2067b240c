public import FleetSystem

/// An etcd snapshot, read natively from bbolt's pages. Whatever the bytes are, reading them gives values and findings,
/// never a crash, and takes time and memory in proportion to the file.
///
/// Its functions block and use the processor: call them off the cooperative pool (`Blocking.run`).
public struct SnapshotReader: Sendable {
    public let layout: Layout
    let source: any PageSource
    /// Slots of a `LiveIndex`; tests make it small to see several passes.
    var slotLimit = LiveIndex.slotLimit
    /// What was wrong already with the meta pages and the length.
    let first: Findings

    /// - Throws: `notASnapshot` when no meta page is valid, and what the source throws.
    public init(_ source: any PageSource) throws(FleetError) {
        var findings = Findings()
        layout = try Layout.find(source, &findings)
        self.source = source
        first = findings
    }

    /// - Throws: also what mapping the file throws: `not-found`, `permission-denied`, `malformed`.
    public init(path: String) throws(FleetError) {
        do throws(FleetError) { try self.init(try MappedPages(path)) } catch {
            throw error.code == .notASnapshot ? error.during(path) : error
        }
    }

    /// Reads all of it: status as etcd gives it, everything else that a snapshot says, and every check there is.
    ///
    /// Memory: one bit a page and an entry, and at most 64 MB for the keys, in several walks if there are more.
    /// Time: that of the SHA-256, which is computed on a second thread meanwhile.
    /// - Parameter computed: SHA-256 of all bytes before the last 32, from somebody who has hashed them anyway, as they
    ///   arrived; it is then not computed again, and only the tree takes time.
    /// - Throws: only what the source throws; all that is wrong with the content is in the report.
    public func report(computed: [UInt8]? = nil) throws(FleetError) -> SnapshotReport {
        if let computed, let trailer = layout.trailer {
            return try contents().with(try TrailerDigest.compare(source, trailer, computed))
        }
        let digest = layout.trailer.map { TrailerDigest(source, trailer: $0) }
        let result: SnapshotReport
        do throws(FleetError) { result = try contents() } catch {
            // The digest's thread holds the source; nothing is left behind when this returns.
            _ = try? digest?.wait()
            throw error
        }
        guard let digest else { return result }
        return result.with(try digest.wait())
    }

    private func contents() throws(FleetError) -> SnapshotReport {
        var walk = TreeWalk(source, layout)
        walk.findings = first
        var collector = BucketCollector()
        try walk.walk(BucketRoot(name: "(root)", rawName: [], place: .page(layout.root)), &collector)
        var content = ContentVisitor(LiveIndex(source, slotLimit: slotLimit))
        for bucket in collector.buckets {
            content.begin(bucket)
            try walk.walk(bucket, &content)
        }
        try Freelist.check(&walk)
        check(content.cluster.facts, collector.buckets, &walk.findings)
        var live: (marks: Bitmap, count: Int)?
        var hashKV: HashKV?
        var oldest: OldestKeys?
        var values: LiveValues?
        if let keys = collector.buckets.first(where: { $0.name == KeyBucket.name }) {
            live = try content.live(source, layout, keys, &walk.findings)
            if let live { (hashKV, oldest, values) = try secondLook(keys, content, live) }
        }
        return SnapshotReport(
            layout, fileSize: source.length, content: content, live: live?.count, sha256: nil, hashKV: hashKV,
            oldestKeys: oldest, values: values, walk.findings)
    }

    private func secondLook(
        _ bucket: BucketRoot, _ content: ContentVisitor, _ live: (marks: Bitmap, count: Int)
    ) throws(FleetError) -> (HashKV, OldestKeys, LiveValues) {
        let compact = content.cluster.facts.compactRevision ?? -1
        var pass = HashKVPass(compactRevision: compact, live: live.marks, hasLive: live.count > 0)
        var walk = TreeWalk(source, layout)
        try walk.walk(bucket, &pass)
        let newest = content.keys.lastRevision
        return (
            HashKV(hash: pass.checksum.value, revision: max(newest, compact, 1)), pass.oldest.result(newest: newest),
            pass.values
        )
    }

    private func check(_ facts: ClusterFacts, _ buckets: [BucketRoot], _ findings: inout Findings) {
        for name in ["key", "meta"] where !buckets.contains(where: { $0.name == name }) {
            findings.add(.bucket, bucket: name, "it is missing, and every etcd has it")
        }
        if let scheduled = facts.scheduledCompaction, let finished = facts.finishedCompaction, finished > scheduled {
            findings.add(
                .revision, bucket: "meta", "compaction \(finished) was finished, but \(scheduled) was asked for last")
        }
    }

    /// The root of the bucket `key`; nil, or a damaged tree below it, gives no keys.
    func keyBucket() throws(FleetError) -> BucketRoot? {
        var walk = TreeWalk(source, layout)
        var collector = BucketCollector()
        try walk.walk(BucketRoot(name: "(root)", rawName: [], place: .page(layout.root)), &collector)
        return collector.buckets.first { $0.name == KeyBucket.name }
    }
}

extension SnapshotReport {
    /// With the digest of its pages, and a finding if it is not the stored one.
    func with(_ digest: Digest) -> SnapshotReport {
        var report = self
        report.sha256 = digest
        guard !digest.ok else { return report }
        var findings = Findings()
        findings.add(
            .trailer, "the SHA-256 at its end is not that of its pages: bytes were changed after it was saved")
        report.findings = Array((findings.listed + report.findings).prefix(Findings.limit))
        report.totalFindings += 1
        return report
    }
}
