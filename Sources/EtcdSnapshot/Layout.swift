public import FleetSystem

extension FleetError.Code {
    /// The file is not a snapshot at all: no meta page of it is valid.
    public static let notASnapshot: Self = "not-a-snapshot"
}

/// Where the parts of a snapshot are: pages, then, unless it is a member's raw database, 32 bytes of SHA-256.
public struct Layout: Sendable, Equatable {
    /// Bytes.
    public let pageSize: Int
    /// Pages that the valid meta counts: ids below it exist.
    public let pageCount: UInt64
    /// bbolt's transaction that this is the state of.
    public let transaction: UInt64
    /// Offset of the digest: etcd appends it to pages whose sizes are multiples of 512, so the file's length tells.
    /// nil for a raw database, or for a length that is neither.
    public let trailer: Int?

    let root: UInt64
    let freelist: UInt64?
    /// Pages that can be read: fewer than `pageCount` in a file that was cut off.
    let readable: UInt64

    /// `pageCount` times `pageSize`: etcd's "total size".
    public var totalSize: Int64 {
        Int64(clamping: pageCount.multipliedReportingOverflow(by: UInt64(pageSize)).partialValue)
    }

    /// - Throws: `notASnapshot` when neither meta is valid, and what the source throws.
    static func find(_ source: any PageSource, _ findings: inout Findings) throws(FleetError) -> Layout {
        let first = try meta(source, at: 0)
        var candidates: [(id: UInt64, meta: Meta)] = []
        switch first {
        case .success(let meta):
            candidates.append((0, meta))
            switch try self.meta(source, at: meta.pageSize) {
            case .success(let second) where second.pageSize == meta.pageSize: candidates.append((1, second))
            case .success:
                findings.add(.meta, page: 1, "its page size is not that of meta page 0")
            case .failure(let problem): findings.add(.meta, page: 1, problem.rawValue)
            }
        case .failure(let problem):
            findings.add(.meta, page: 0, problem.rawValue)
            for size in Meta.pageSizes {
                if case .success(let meta) = try meta(source, at: size), meta.pageSize == size {
                    candidates.append((1, meta))
                    break
                }
            }
        }
        guard let best = candidates.max(by: { $0.meta.transaction < $1.meta.transaction })?.meta else {
            throw FleetError(
                .notASnapshot,
                "no bbolt meta page is valid in it (page 0: \(findings.listed.last?.reason ?? "invalid"))",
                hint: "a snapshot is what 'etcdctl snapshot save' writes, or a stopped member's member/snap/db")
        }
        for (id, _) in candidates { try checkPage(source, id, best.pageSize, &findings) }
        return try Layout(source, best, &findings)
    }

    private init(_ source: any PageSource, _ meta: Meta, _ findings: inout Findings) throws(FleetError) {
        pageSize = meta.pageSize
        pageCount = meta.pageCount
        transaction = meta.transaction
        root = meta.root
        freelist = meta.freelist == Meta.noFreelist ? nil : meta.freelist
        let length = source.length
        trailer = length % 512 == 32 ? length - 32 : nil
        let content = trailer ?? length
        let whole = UInt64(content / pageSize)
        readable = min(whole, pageCount)
        if trailer == nil, length % 512 != 0 {
            findings.add(
                .length, "its \(length) bytes are neither pages (a multiple of 512) nor pages and a SHA-256 (32 more)")
        }
        if pageCount > whole {
            findings.add(
                .length, "it was cut off: \(pageCount) pages of \(pageSize) bytes are expected, \(whole) are there")
        } else if trailer != nil, content != Int(pageCount) * pageSize {
            // Tx.WriteTo writes exactly the counted pages; only a raw database may be longer.
            findings.add(
                .length, "it has \(content) bytes before its SHA-256, but \(pageCount) pages of \(pageSize) bytes")
        }
        if meta.sequence != 0 {
            findings.add(.meta, "the root bucket has sequence \(meta.sequence), which etcd never sets")
        }
    }

    private static func meta(_ source: any PageSource, at offset: Int) throws(FleetError) -> Result<Meta, Meta.Problem>
    {
        guard offset + Meta.length <= source.length else { return .failure(.short) }
        var result: Result<Meta, Meta.Problem> = .failure(.short)
        try source.read(at: offset, count: Meta.length) { page throws(FleetError) in
            do throws(Meta.Problem) { result = .success(try Meta(page)) } catch { result = .failure(error) }
        }
        return result
    }

    /// The rest of a meta page: its header, and nothing but zeros behind the meta.
    private static func checkPage(
        _ source: any PageSource, _ id: UInt64, _ pageSize: Int, _ findings: inout Findings
    ) throws(FleetError) {
        let offset = Int(id) * pageSize
        guard offset + pageSize <= source.length else { return }
        var problem: String?
        try source.read(at: offset, count: pageSize) { page throws(FleetError) in
            let header = PageHeader(page)
            if header.id != id || header.flags != PageHeader.meta || header.count != 0 || header.overflow != 0 {
                problem = "its page header is not that of meta page \(id)"
            } else if page.uint32(28) != 0 {
                problem = "its flags are not 0"
            } else if !page.allZero(from: Meta.length) {
                problem = "there are bytes other than 0 behind the meta"
            }
        }
        if let problem { findings.add(.meta, page: id, problem) }
    }
}
