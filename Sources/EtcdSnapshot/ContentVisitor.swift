internal import FleetSystem

/// What one walk over all buckets gathers: etcd's hash and counts, and each bucket's own content.
struct ContentVisitor: EntryVisitor {
    private(set) var checksum = CRC32C()
    private(set) var total: Int64 = 0
    private(set) var keys: KeyBucket
    private(set) var cluster = ClusterBuckets()
    private var isKeys = false

    init(_ index: LiveIndex) { keys = KeyBucket(index) }

    mutating func begin(_ bucket: BucketRoot) {
        checksum.update(bucket.rawName)
        isKeys = bucket.rawName == Array(KeyBucket.name.utf8)
    }

    mutating func visit(_ entry: borrowing Entry, _ findings: inout Findings) throws(FleetError) {
        checksum.update(entry.key)
        // A bucket's ForEach gives no value for a bucket within it.
        if !entry.isBucket { checksum.update(entry.value) }
        total += 1
        if isKeys { try keys.visit(entry, &findings) } else { cluster.visit(entry, &findings) }
    }

    /// The live entries, which may take more walks; `keys` does not change otherwise.
    mutating func live(
        _ source: any PageSource, _ layout: Layout, _ bucket: BucketRoot, _ findings: inout Findings
    ) throws(FleetError) -> (marks: Bitmap, count: Int)? {
        try keys.live(source, layout, bucket, &findings)
    }
}
