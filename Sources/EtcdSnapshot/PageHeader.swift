/// The 16 bytes at the beginning of a page (bbolt `internal/common/page.go`): id u64 at 0, flags u16 at 8, count u16
/// at 10, overflow u32 at 12. A page goes on through `overflow` more page slots that have no header.
struct PageHeader {
    static let length = 16
    static let branch: UInt16 = 0x01
    static let leaf: UInt16 = 0x02
    static let meta: UInt16 = 0x04
    static let freelist: UInt16 = 0x10

    var id: UInt64
    var flags: UInt16
    /// Elements.
    var count: Int
    var overflow: UInt32

    /// From 16 bytes or more.
    init(_ page: UnsafeRawBufferPointer) {
        id = page.uint64(0)
        flags = page.uint16(8)
        count = Int(page.uint16(10))
        overflow = page.uint32(12)
    }
}

/// An element of a leaf: 16 bytes, flags u32 at 0, position u32 at 4, key length u32 at 8, value length u32 at 12.
/// Of a branch: position u32 at 0, key length u32 at 4, child page u64 at 8. The position counts from the element's own
/// beginning; the value follows its key.
enum Element {
    static let length = 16
    static let bucketFlag: UInt32 = 1
    /// bbolt's MaxKeySize.
    static let keyLimit = 32768
}
