internal import FleetSystem

/// The entries of the bucket `key` as they go by: each is checked, and the newest of each user key is remembered.
struct KeyBucket {
    static let name = "key"

    private(set) var index: LiveIndex
    /// Entries so far.
    private(set) var count = 0
    /// Of the last entry; 0 without any.
    private(set) var lastRevision: Int64 = 0
    private var lastSub: Int64?
    /// 'snapshot restore --bump-revision' was here: see `SnapshotReport.isBumped`.
    private(set) var isBumped = false
    private(set) var encryption = EncryptionAtRest()

    init(_ index: LiveIndex) { self.index = index }

    mutating func visit(_ entry: borrowing Entry, _ findings: inout Findings) throws(FleetError) {
        defer { count += 1 }
        guard !entry.isBucket else {
            return findings.add(.bucket, page: entry.page, bucket: entry.bucket, "a bucket among the keys")
        }
        guard let revision = Revision(entry.key) else {
            return findings.add(
                .encoding, page: entry.page, bucket: entry.bucket,
                "a key of \(entry.key.count) bytes that is not a revision")
        }
        // The tree's order is that of revisions; what remains is that a put and a deletion can't be one operation.
        if revision.main == lastRevision, let lastSub, revision.sub == lastSub {
            findings.add(
                .revision, page: entry.page, bucket: entry.bucket,
                "revision \(revision.main) sub \(revision.sub) is there twice")
        }
        if revision.main < 1 {
            findings.add(
                .revision, page: entry.page, bucket: entry.bucket, "revision \(revision.main) is none of etcd's")
        }
        lastRevision = revision.main
        lastSub = revision.sub
        if entry.value.isEmpty, !revision.isTombstone { isBumped = true }
        let record: KeyValue
        do throws(KeyValue.Problem) { record = try KeyValue(entry.value) } catch {
            return findings.add(
                .encoding, page: entry.page, bucket: entry.bucket, "revision \(revision.main): \(error.rawValue)")
        }
        if let problem = record.contradiction(revision, isEmpty: entry.value.isEmpty) {
            findings.add(.encoding, page: entry.page, bucket: entry.bucket, "revision \(revision.main): \(problem)")
        }
        encryption.note(record.value)
        try index.note(
            record.key, message: (entry.valueOffset, entry.value.count), position: count,
            isTombstone: revision.isTombstone)
    }

    /// Takes the passes that are still to be made for the live entries, and marks them all. nil with a finding where
    /// there are more keys than this is made for.
    mutating func live(
        _ source: any PageSource, _ layout: Layout, _ bucket: BucketRoot, _ findings: inout Findings
    ) throws(FleetError) -> (marks: Bitmap, count: Int)? {
        var marks = Bitmap(count: UInt64(count))
        var live = index.mark(&marks)
        while !index.isOverfull, index.advance() {
            var pass = IndexPass(index: index)
            var walk = TreeWalk(source, layout)
            try walk.walk(bucket, &pass)
            index = pass.index
            live += index.mark(&marks)
        }
        guard !index.isOverfull else {
            findings.add(.limit, bucket: bucket.name, "it has more user keys than can be counted")
            return nil
        }
        return (marks, live)
    }
}

/// A walk that only fills an index, optionally with the keys below a prefix alone.
struct IndexPass: EntryVisitor {
    var index: LiveIndex
    var prefix: [UInt8] = []
    private(set) var count = 0

    init(index: LiveIndex, prefix: [UInt8] = []) {
        self.index = index
        self.prefix = prefix
    }

    mutating func visit(_ entry: borrowing Entry, _ findings: inout Findings) throws(FleetError) {
        defer { count += 1 }
        guard !entry.isBucket, let revision = Revision(entry.key), let record = try? KeyValue(entry.value),
            record.key.starts(with: prefix)
        else { return }
        try index.note(
            record.key, message: (entry.valueOffset, entry.value.count), position: count,
            isTombstone: revision.isTombstone)
    }
}
