/// Writes bbolt files as bbolt lays them out, small and with every shape: any page size, inline buckets, branches,
/// overflow pages, with or without a list of free pages, free pages with stale bytes in them.
package struct BoltWriter {
    package typealias Entry = (key: [UInt8], value: [UInt8])

    package var pageSize = 1024
    package var keepsFreelist = false
    package var freePages = 2
    private var buckets: [(name: String, entries: [Entry])] = []
    private var pages: [[UInt8]] = []

    package init() {}

    package mutating func add(_ name: String, _ entries: [Entry]) {
        buckets.append((name, entries.sorted { $0.key.lexicographicallyPrecedes($1.key) }))
    }

    /// The file's pages, without a digest.
    package func build() -> [UInt8] {
        var copy = self
        return copy.write()
    }

    private mutating func write() -> [UInt8] {
        let meta = [UInt8](repeating: 0, count: pageSize)
        let stale = (0..<pageSize).map { UInt8(truncatingIfNeeded: $0 &* 7 | 1) }
        pages = [meta, meta] + [[UInt8]](repeating: stale, count: freePages)
        var root: [(key: [UInt8], value: [UInt8], flags: UInt32)] = []
        for (name, entries) in buckets.sorted(by: { $0.name < $1.name }) {
            let rows = entries.map { (key: $0.key, value: $0.value, flags: UInt32(0)) }
            let whole = leaf(rows, id: 0)
            let isInline = whole.count <= pageSize / 4
            let header = little(isInline ? 0 : tree(rows)) + little(UInt64(0))
            root.append((Array(name.utf8), isInline ? header + whole : header, 1))
        }
        let rootPage = tree(root)
        var freelist = UInt64.max
        if keepsFreelist {
            freelist = UInt64(pages.count)
            let ids = (0..<freePages).flatMap { little(UInt64($0 + 2)) }
            place(header(freelist, 0x10, freePages, 0) + ids)
        }
        for id in 0..<2 { pages[id] = metaPage(UInt64(id), rootPage, freelist, UInt64(pages.count)) }
        return pages.flatMap(\.self)
    }

    /// Writes a tree and returns its root page.
    private mutating func tree(_ rows: [(key: [UInt8], value: [UInt8], flags: UInt32)]) -> UInt64 {
        var level: [(key: [UInt8], id: UInt64)] = []
        for group in split(rows, size: { 16 + $0.key.count + $0.value.count }) {
            let id = UInt64(pages.count)
            level.append((group.first?.key ?? [], id))
            place(leaf(group, id: id))
        }
        while level.count > 1 {
            level = split(level, size: { 16 + $0.key.count }).map { group in
                let id = UInt64(pages.count)
                place(branch(group, id: id))
                return (group[0].key, id)
            }
        }
        return level[0].id
    }

    /// As many as fit in a page, at least two, since a branch of one child is none.
    private func split<Row>(_ rows: [Row], size: (Row) -> Int) -> [[Row]] {
        var groups: [[Row]] = [[]]
        var used = 16
        for row in rows {
            if groups[groups.count - 1].count >= 2, used + size(row) > pageSize {
                groups.append([])
                used = 16
            }
            groups[groups.count - 1].append(row)
            used += size(row)
        }
        return groups
    }

    private mutating func place(_ bytes: [UInt8]) {
        let slots = (bytes.count + pageSize - 1) / pageSize
        var padded = bytes + [UInt8](repeating: 0, count: slots * pageSize - bytes.count)
        padded.replaceSubrange(12..<16, with: little(UInt32(slots - 1)))
        for i in 0..<slots { pages.append(Array(padded[(i * pageSize)..<((i + 1) * pageSize)])) }
    }

    private func leaf(_ rows: [(key: [UInt8], value: [UInt8], flags: UInt32)], id: UInt64) -> [UInt8] {
        var elements: [UInt8] = []
        var data: [UInt8] = []
        for (i, row) in rows.enumerated() {
            let position = UInt32((rows.count - i) * 16 + data.count)
            elements += little(row.flags) + little(position) + little(UInt32(row.key.count))
            elements += little(UInt32(row.value.count))
            data += row.key + row.value
        }
        return header(id, 2, rows.count, 0) + elements + data
    }

    private func branch(_ rows: [(key: [UInt8], id: UInt64)], id: UInt64) -> [UInt8] {
        var elements: [UInt8] = []
        var data: [UInt8] = []
        for (i, row) in rows.enumerated() {
            elements += little(UInt32((rows.count - i) * 16 + data.count)) + little(UInt32(row.key.count))
            elements += little(row.id)
            data += row.key
        }
        return header(id, 1, rows.count, 0) + elements + data
    }

    private func header(_ id: UInt64, _ flags: UInt16, _ count: Int, _ overflow: UInt32) -> [UInt8] {
        little(id) + little(flags) + little(UInt16(count)) + little(overflow)
    }

    /// Page 0 with transaction 8 and page 1 with 7, as Tx.WriteTo writes them.
    private func metaPage(_ id: UInt64, _ root: UInt64, _ freelist: UInt64, _ count: UInt64) -> [UInt8] {
        var page = header(id, 4, 0, 0)
        page += little(UInt32(0xED0C_DAED)) + little(UInt32(2)) + little(UInt32(pageSize)) + little(UInt32(0))
        page += little(root) + little(UInt64(0)) + little(freelist) + little(count) + little(8 - id)
        page += [UInt8](repeating: 0, count: pageSize - page.count)
        Self.seal(&page, at: 0)
        return page
    }

    /// Computes the checksum of the meta page at `offset` anew.
    package static func seal(_ bytes: inout [UInt8], at offset: Int) {
        let sum = bytes[(offset + 16)..<(offset + 72)].reduce(UInt64(0xcbf2_9ce4_8422_2325)) {
            ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01b3
        }
        bytes.replaceSubrange((offset + 72)..<(offset + 80), with: little(sum))
    }
}

package func little<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
    withUnsafeBytes(of: number.littleEndian) { Array($0) }
}
package func big<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
    withUnsafeBytes(of: number.bigEndian) { Array($0) }
}
