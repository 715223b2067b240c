internal import FleetSystem

/// A key and its value in a leaf, valid only while the visitor looks at it.
struct Entry {
    /// The page that holds it; for a bucket within a page, that page.
    var page: UInt64
    var bucket: String
    var key: UnsafeRawBufferPointer
    var value: UnsafeRawBufferPointer
    /// Of `value`, from the snapshot's beginning.
    var valueOffset: Int
    var isBucket: Bool
}

protocol EntryVisitor {
    /// Called for every entry that lies within its page, in the tree's order.
    mutating func visit(_ entry: borrowing Entry, _ findings: inout Findings) throws(FleetError)
}

/// Goes through a bucket's tree in key order and checks its structure on the way: all that `bbolt check` checks, and
/// that elements lie in their page, one behind the other, as bbolt has always written them.
///
/// Bounded on any input: every page slot is claimed before it is read, and so read once; depth is limited; and since
/// elements of a page may not overlap, the bytes handed to the visitor are never more than the file has.
struct TreeWalk {
    /// A tree of 8 GB is 5 deep; bbolt has no limit of its own.
    static let depthLimit = 32

    let source: any PageSource
    let layout: Layout
    private(set) var reached: Bitmap
    var findings = Findings()

    init(_ source: any PageSource, _ layout: Layout) {
        self.source = source
        self.layout = layout
        reached = Bitmap(count: layout.readable)
    }

    /// What the page above says of the keys below: at or above `lower`, below `upper`.
    private struct Bounds {
        var lower: UnsafeRawBufferPointer?
        var upper: UnsafeRawBufferPointer?
    }

    mutating func walk(_ bucket: BucketRoot, _ visitor: inout some EntryVisitor) throws(FleetError) {
        switch bucket.place {
        case .page(let root): try node(root, bucket.name, 0, Bounds(), &visitor)
        case .inline(let offset, let count, let page):
            // Tx.Check skips these; etcd's small buckets are all of this kind.
            try source.read(at: offset, count: count) { bytes throws(FleetError) in
                guard bytes.count >= PageHeader.length else {
                    return findings.add(.bucket, page: page, bucket: bucket.name, "an inline bucket without a page")
                }
                let header = PageHeader(bytes)
                guard header.flags == PageHeader.leaf else {
                    return findings.add(.page, page: page, bucket: bucket.name, "an inline bucket that is not a leaf")
                }
                if header.id != 0 || header.overflow != 0 {
                    findings.add(.page, page: page, bucket: bucket.name, "an inline bucket with a page id or overflow")
                }
                let used = try leaf(bytes, header.count, page, offset, bucket.name, Bounds(), &visitor)
                if used != bytes.count {
                    findings.add(
                        .bounds, page: page, bucket: bucket.name,
                        "an inline bucket of \(bytes.count) bytes uses \(used)")
                }
            }
        }
    }

    /// Marks a page and those it goes on through; false, with a finding, where that can't be.
    mutating func claim(_ id: UInt64, _ overflow: UInt32, _ bucket: String?) -> Bool {
        let readable = layout.readable
        let (end, isTooFar) = id.addingReportingOverflow(UInt64(overflow) + 1)
        guard id >= 2, !isTooFar, end <= readable else {
            findings.add(
                .reference, page: id, bucket: bucket,
                overflow == 0
                    ? "it is referenced, but is a meta page or not below \(readable)"
                    : "it is referenced with \(overflow) more, but they are not all below \(readable)")
            return false
        }
        for slot in id..<end {
            if reached.contains(slot) {
                findings.add(.reference, page: slot, bucket: bucket, "it is referenced more than once")
                return false
            }
            reached.insert(slot)
        }
        return true
    }

    private mutating func node(
        _ id: UInt64, _ bucket: String, _ depth: Int, _ bounds: Bounds, _ visitor: inout some EntryVisitor
    ) throws(FleetError) {
        guard depth < Self.depthLimit else {
            return findings.add(.reference, page: id, bucket: bucket, "the tree is more than \(Self.depthLimit) deep")
        }
        guard claim(id, 0, bucket) else { return }
        let source = self.source
        let start = Int(id) * layout.pageSize
        var overflow: UInt32 = 0
        try source.read(at: start, count: layout.pageSize) { page throws(FleetError) in
            let header = PageHeader(page)
            guard header.id == id else {
                return findings.add(.page, page: id, bucket: bucket, "it says that it is page \(header.id)")
            }
            overflow = header.overflow
            if overflow == 0 { try content(page, id, bucket, depth, bounds, &visitor) }
        }
        guard overflow > 0 else { return }
        let (length, isTooLong) = layout.pageSize.multipliedReportingOverflow(by: Int(overflow) + 1)
        guard !isTooLong, length <= Int(layout.readable) * layout.pageSize - start else {
            return findings.add(
                .reference, page: id, bucket: bucket, "its \(overflow) pages of overflow are not all there")
        }
        guard claim(id + 1, overflow - 1, bucket) else { return }
        guard length <= source.readLimit else {
            return findings.add(
                .limit, page: id, bucket: bucket,
                "its \(length) bytes are more than \(source.readLimit), and were not read")
        }
        try source.read(at: start, count: length) { pages throws(FleetError) in
            // Read again, since what counts is what these bytes say now.
            let header = PageHeader(pages)
            guard header.overflow == overflow, header.id == id else { return }
            try content(pages, id, bucket, depth, bounds, &visitor)
        }
    }

    private mutating func content(
        _ page: UnsafeRawBufferPointer, _ id: UInt64, _ bucket: String, _ depth: Int, _ bounds: Bounds,
        _ visitor: inout some EntryVisitor
    ) throws(FleetError) {
        let header = PageHeader(page)
        switch header.flags {
        case PageHeader.leaf:
            let used = try leaf(page, header.count, id, Int(id) * layout.pageSize, bucket, bounds, &visitor)
            checkLength(page, used, id, bucket)
        case PageHeader.branch: try branch(page, header.count, id, bucket, depth, bounds, &visitor)
        default:
            findings.add(
                .page, page: id, bucket: bucket,
                "its flags are 0x\(String(header.flags, radix: 16)), neither branch nor leaf")
        }
    }

    /// bbolt before 1.3 allocated one slot more than a full node needs, none allocated two.
    private mutating func checkLength(_ page: UnsafeRawBufferPointer, _ used: Int, _ id: UInt64, _ bucket: String) {
        let slots = page.count / layout.pageSize
        if slots > used / layout.pageSize + 1 {
            findings.add(.page, page: id, bucket: bucket, "it has \(slots) pages for \(used) bytes")
        }
    }

    private mutating func branch(
        _ page: UnsafeRawBufferPointer, _ count: Int, _ id: UInt64, _ bucket: String, _ depth: Int, _ bounds: Bounds,
        _ visitor: inout some EntryVisitor
    ) throws(FleetError) {
        guard count > 0 else { return findings.add(.page, page: id, bucket: bucket, "a branch without children") }
        guard PageHeader.length + count * Element.length <= page.count else {
            return findings.add(.bounds, page: id, bucket: bucket, "its \(count) elements do not fit in it")
        }
        var reader = ElementReader(page, count)
        var next = reader.branch(0, &findings, id, bucket)
        for i in 0..<count {
            let this = next
            next = i + 1 < count ? reader.branch(i + 1, &findings, id, bucket) : nil
            guard let this else { continue }
            checkOrder(this.key, after: nil, bounds, id, bucket)
            if let following = next, this.key.compared(to: following.key) >= 0 {
                findings.add(.order, page: id, bucket: bucket, "key \(i + 1) is not above key \(i)")
            }
            let below = Bounds(lower: this.key, upper: next?.key ?? bounds.upper)
            try node(this.child, bucket, depth + 1, below, &visitor)
        }
        checkLength(page, reader.end, id, bucket)
    }

    /// Returns how many bytes of the page are used.
    private mutating func leaf(
        _ page: UnsafeRawBufferPointer, _ count: Int, _ id: UInt64, _ offset: Int, _ bucket: String, _ bounds: Bounds,
        _ visitor: inout some EntryVisitor
    ) throws(FleetError) -> Int {
        guard PageHeader.length + count * Element.length <= page.count else {
            findings.add(.bounds, page: id, bucket: bucket, "its \(count) elements do not fit in it")
            return page.count
        }
        var reader = ElementReader(page, count)
        var previous: UnsafeRawBufferPointer?
        for i in 0..<count {
            guard let element = reader.leaf(i, &findings, id, bucket) else { continue }
            checkOrder(element.key, after: previous, bounds, id, bucket)
            previous = element.key
            let entry = Entry(
                page: id, bucket: bucket, key: element.key, value: element.value,
                valueOffset: offset + element.valueStart, isBucket: element.flags & Element.bucketFlag != 0)
            try visitor.visit(entry, &findings)
        }
        return reader.end
    }

    private mutating func checkOrder(
        _ key: UnsafeRawBufferPointer, after previous: UnsafeRawBufferPointer?, _ bounds: Bounds, _ id: UInt64,
        _ bucket: String
    ) {
        if let previous, key.compared(to: previous) <= 0 {
            findings.add(.order, page: id, bucket: bucket, "its keys do not ascend")
        }
        if let lower = bounds.lower, key.compared(to: lower) < 0 {
            findings.add(.order, page: id, bucket: bucket, "a key is below the one that leads to this page")
        }
        if let upper = bounds.upper, key.compared(to: upper) >= 0 {
            findings.add(.order, page: id, bucket: bucket, "a key is not below the one that leads to the next page")
        }
    }
}
