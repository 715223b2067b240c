/// The elements of a page in turn. bbolt writes their keys and values without gaps, in order, right behind the
/// elements' own array; a file that has them otherwise was not written by it, and could name the same bytes many times.
struct ElementReader {
    private let page: UnsafeRawBufferPointer
    /// Behind the last byte that an element uses.
    private(set) var end: Int

    /// The array of `count` elements must fit in the page.
    init(_ page: UnsafeRawBufferPointer, _ count: Int) {
        self.page = page
        end = PageHeader.length + count * Element.length
    }

    /// nil, with a finding, where the element does not lie in the page behind those before it.
    mutating func leaf(
        _ i: Int, _ findings: inout Findings, _ id: UInt64, _ bucket: String
    ) -> (flags: UInt32, key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, valueStart: Int)? {
        let base = PageHeader.length + i * Element.length
        let flags = page.uint32(base)
        let keyCount = Int(page.uint32(base + 8))
        let valueCount = Int(page.uint32(base + 12))
        guard
            let start = take(
                i, from: base + Int(page.uint32(base + 4)), keyCount: keyCount, valueCount: valueCount, &findings, id,
                bucket)
        else { return nil }
        if flags & ~Element.bucketFlag != 0 {
            findings.add(.page, page: id, bucket: bucket, "element \(i) has flags 0x\(String(flags, radix: 16))")
        }
        return (flags, page.part(start, keyCount), page.part(start + keyCount, valueCount), start + keyCount)
    }

    mutating func branch(
        _ i: Int, _ findings: inout Findings, _ id: UInt64, _ bucket: String
    ) -> (key: UnsafeRawBufferPointer, child: UInt64)? {
        let base = PageHeader.length + i * Element.length
        let keyCount = Int(page.uint32(base + 4))
        guard
            let start = take(
                i, from: base + Int(page.uint32(base)), keyCount: keyCount, valueCount: 0, &findings, id, bucket)
        else { return nil }
        return (page.part(start, keyCount), page.uint64(base + 8))
    }

    /// The sums can't overflow: they are of numbers of 32 bits.
    private mutating func take(
        _ i: Int, from start: Int, keyCount: Int, valueCount: Int, _ findings: inout Findings, _ id: UInt64,
        _ bucket: String
    ) -> Int? {
        guard start >= end, start + keyCount + valueCount <= page.count else {
            findings.add(
                .bounds, page: id, bucket: bucket,
                start < end ? "element \(i) lies over another" : "element \(i) reaches out of the page")
            return nil
        }
        guard keyCount > 0, keyCount <= Element.keyLimit else {
            findings.add(.bounds, page: id, bucket: bucket, "element \(i) has a key of \(keyCount) bytes")
            return nil
        }
        if start > end { findings.add(.bounds, page: id, bucket: bucket, "there is a gap before element \(i)") }
        end = start + keyCount + valueCount
        return start
    }
}
