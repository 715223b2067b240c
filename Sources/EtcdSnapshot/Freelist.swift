internal import FleetSystem

/// The list of free pages, where the file has one: etcd keeps it only on systems other than Linux. Ids in ascending
/// order from byte 16 on; a count of 0xFFFF means that the first number is the real count (bbolt `freelist.go`).
///
/// Without a list whatever the tree does not reach is free, and there is nothing to contradict.
enum Freelist {
    /// Checks it against the pages that the walk has reached: free pages may not be in use, the others must be.
    static func check(_ walk: inout TreeWalk) throws(FleetError) {
        let layout = walk.layout
        guard let id = layout.freelist else { return }
        guard id >= 2, id < layout.readable else {
            return walk.findings.add(.freelist, page: id, "the list of free pages is not in the file")
        }
        let start = Int(id) * layout.pageSize
        var overflow: UInt32 = 0
        try walk.source.read(at: start, count: layout.pageSize) { page throws(FleetError) in
            overflow = PageHeader(page).overflow
        }
        guard walk.claim(id, overflow, nil) else { return }
        let used = walk.reached
        var free = Bitmap(count: layout.readable)
        let length = min((Int(overflow) + 1) * layout.pageSize, walk.source.readLimit)
        try walk.source.read(at: start, count: length) { page throws(FleetError) in
            fill(&free, page, id, used, layout, &walk.findings)
        }
        for page in 2..<max(2, layout.readable) where !walk.reached.contains(page) && !free.contains(page) {
            walk.findings.add(.freelist, page: page, "it is neither in use nor in the list of free pages")
        }
    }

    private static func fill(
        _ free: inout Bitmap, _ page: UnsafeRawBufferPointer, _ id: UInt64, _ used: Bitmap, _ layout: Layout,
        _ findings: inout Findings
    ) {
        let header = PageHeader(page)
        guard header.id == id, header.flags == PageHeader.freelist else {
            return findings.add(.freelist, page: id, "it is not the list of free pages that it should be")
        }
        let isLong = header.count == 0xFFFF
        let count = isLong ? page.uint64(PageHeader.length) : UInt64(header.count)
        let first = PageHeader.length + (isLong ? 8 : 0)
        guard count <= UInt64((page.count - first) / 8) else {
            return findings.add(.freelist, page: id, "its \(count) ids do not fit in it")
        }
        var previous: UInt64 = 1
        for i in 0..<Int(count) {
            let one = page.uint64(first + i * 8)
            guard one < layout.readable, one > 1 else {
                findings.add(.freelist, page: one, "the list of free pages names it, but it does not exist")
                continue
            }
            if free.contains(one) {
                findings.add(.freelist, page: one, "it is in the list of free pages twice")
            } else if one < previous {
                findings.add(.freelist, page: one, "the list of free pages is not in order")
            }
            if used.contains(one) { findings.add(.freelist, page: one, "it is in use and in the list of free pages") }
            free.insert(one)
            previous = one
        }
    }
}
