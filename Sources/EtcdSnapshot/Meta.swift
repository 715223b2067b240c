/// A meta page: where the tree begins, as of one transaction. There are two, pages 0 and 1, written in turn, so that a
/// crash while one is written leaves the other.
///
/// Layout from the page's beginning (bbolt 1.0 to 1.5, `internal/common/meta.go`): magic u32 at 16, version u32 at 20,
/// page size u32 at 24, flags u32 at 28, root page u64 at 32, root sequence u64 at 40, freelist page u64 at 48, page
/// count ("high water mark") u64 at 56, transaction u64 at 64, FNV-1a of bytes 16 to 72 as u64 at 72.
struct Meta: Equatable {
    /// Bytes of a page that are a meta.
    static let length = 80
    /// The page sizes that are looked for: bbolt takes the operating system's, 4 kB to 64 kB in practice.
    static let pageSizes = (0...14).map { 1024 << $0 }
    /// In the freelist's place when none is kept in the file, as etcd on Linux does.
    static let noFreelist = UInt64.max

    var pageSize: Int
    var root: UInt64
    var sequence: UInt64
    var freelist: UInt64
    var pageCount: UInt64
    var transaction: UInt64

    enum Problem: String, Error {
        case short = "the file ends before it"
        case magic = "its magic number is wrong"
        case version = "its format version is not 2"
        case checksum = "its checksum is wrong"
        case pageSize = "its page size is none that bbolt uses"
    }

    /// From a page's first 80 bytes or more.
    init(_ page: UnsafeRawBufferPointer) throws(Problem) {
        guard page.count >= Self.length else { throw .short }
        guard page.uint32(16) == 0xED0C_DAED else { throw .magic }
        guard page.uint32(20) == 2 else { throw .version }
        guard page.uint64(72) == Self.checksum(page) else { throw .checksum }
        pageSize = Int(page.uint32(24))
        root = page.uint64(32)
        sequence = page.uint64(40)
        freelist = page.uint64(48)
        pageCount = page.uint64(56)
        transaction = page.uint64(64)
        guard Self.pageSizes.contains(pageSize) else { throw .pageSize }
    }

    /// FNV-1a, 64 bits, of bytes 16 to 72.
    private static func checksum(_ page: UnsafeRawBufferPointer) -> UInt64 {
        page[16..<72].reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01b3 }
    }
}
