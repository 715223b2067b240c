/// Something in a snapshot that is not as etcd and bbolt write it.
public struct Finding: Codable, Sendable, Equatable {
    public enum Kind: String, Codable, Sendable {
        /// A meta page.
        case meta
        /// The file's length does not fit its content.
        case length
        /// The SHA-256 at the end is not that of the content.
        case trailer
        /// A page's own header.
        case page
        /// A page is referenced twice, from outside, or too deep.
        case reference
        /// Keys are not in order, within a page or against the pages above.
        case order
        /// An element reaches out of its page or into another element.
        case bounds
        /// The persisted list of free pages.
        case freelist
        /// A bucket that should not be there, is missing, or has a wrong header.
        case bucket
        /// A key or value does not have the form that etcd gives it.
        case encoding
        /// Revisions that contradict each other.
        case revision
        /// More than this reader is willing to count.
        case limit
    }

    public var kind: Kind
    /// Id of the page; nil when it is about the whole file.
    public var page: UInt64?
    public var bucket: String?
    public var reason: String

    public init(_ kind: Kind, page: UInt64? = nil, bucket: String? = nil, _ reason: String) {
        self.kind = kind
        self.page = page
        self.bucket = bucket
        self.reason = reason
    }
}

/// The first findings in full and the number of all: a ruined file has millions, and they say no more than a hundred.
public struct Findings: Codable, Sendable, Equatable {
    public static let limit = 100

    public private(set) var total = 0
    public private(set) var listed: [Finding] = []

    public init() {}

    public var isEmpty: Bool { total == 0 }

    /// `reason` is put together only if it is kept.
    mutating func add(
        _ kind: Finding.Kind, page: UInt64? = nil, bucket: String? = nil, _ reason: @autoclosure () -> String
    ) {
        total += 1
        if listed.count < Self.limit { listed.append(Finding(kind, page: page, bucket: bucket, reason())) }
    }
}
