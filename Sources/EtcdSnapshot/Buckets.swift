internal import FleetSystem

/// A named bucket: where its tree begins.
struct BucketRoot {
    enum Place {
        case page(UInt64)
        /// A page image within a leaf's value: offset and length in the snapshot, and the page that holds it.
        case inline(offset: Int, count: Int, page: UInt64)
    }

    /// etcd's names are ASCII; what is not UTF-8 is shown with replacement characters.
    var name: String
    /// As it is in the file.
    var rawName: [UInt8]
    var place: Place
}

/// Collects the named buckets from the root bucket's tree. A bucket's value is its header: root page u64, sequence
/// u64; root page 0 means that the one leaf it has follows in place.
struct BucketCollector: EntryVisitor {
    /// etcd has 11.
    static let limit = 64
    private static let headerLength = 16

    private(set) var buckets: [BucketRoot] = []

    mutating func visit(_ entry: borrowing Entry, _ findings: inout Findings) {
        let name = String(decoding: entry.key.prefix(64), as: UTF8.self)
        guard entry.isBucket else {
            return findings.add(
                .bucket, page: entry.page, bucket: name, "the root has a value where only buckets may be")
        }
        guard entry.value.count >= Self.headerLength else {
            return findings.add(.bucket, page: entry.page, bucket: name, "its header is cut off")
        }
        guard buckets.count < Self.limit else {
            return findings.add(.limit, page: entry.page, bucket: name, "more than \(Self.limit) buckets")
        }
        if entry.value.uint64(8) != 0 {
            findings.add(.bucket, page: entry.page, bucket: name, "it has a sequence, which etcd never sets")
        }
        let root = entry.value.uint64(0)
        if root != 0, entry.value.count != Self.headerLength {
            findings.add(.bucket, page: entry.page, bucket: name, "it has a root page and an inline page")
        }
        buckets.append(
            BucketRoot(
                name: name, rawName: Array(entry.key),
                place: root != 0
                    ? .page(root)
                    : .inline(
                        offset: entry.valueOffset + Self.headerLength, count: entry.value.count - Self.headerLength,
                        page: entry.page)))
    }
}
