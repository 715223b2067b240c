import FleetSystem

/// A pack's 16 random bytes: its file's name in hexadecimal, and the salt of its key.
struct PackID: Hashable, Sendable, Comparable, CustomStringConvertible {
    // Two numbers, big-endian in the bytes: they are compared and hashed for every block that is read.
    private let high: UInt64
    private let low: UInt64

    /// Of 16 bytes.
    init(_ bytes: some Collection<UInt8>) {
        precondition(bytes.count == 16)
        high = bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
        low = bytes.dropFirst(8).reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// nil for a file name that is not one of a pack.
    init?(fileName: String) {
        guard fileName.hasSuffix(Self.ending), let bytes = [UInt8](hex: fileName.dropLast(Self.ending.count)),
            bytes.count == 16
        else { return nil }
        self.init(bytes)
        guard self.fileName == fileName else { return nil }
    }

    var bytes: [UInt8] {
        [high, low].flatMap { number in (0..<8).map { UInt8(truncatingIfNeeded: number >> (56 - 8 * $0)) } }
    }
    private static let ending = ".pack"
    var description: String { bytes.hex }
    var fileName: String { bytes.hex + Self.ending }

    static func < (a: PackID, b: PackID) -> Bool { a.high != b.high ? a.high < b.high : a.low < b.low }
}

/// A fingerprint of a page's content; see `Fingerprinter`.
struct PageID: Equatable, Sendable, Hashable {
    var high: UInt64
    var low: UInt64
    static let length = 16
    /// Equal to a page's own with the probability of any two pages' being equal.
    static let none = PageID(high: 0, low: 0)
}

/// Where the content of a page is: the pack's number in some table, and the page's number in the pack, counted in the
/// order of storage.
struct PageLocation: Equatable, Sendable {
    var pack: UInt32
    var ordinal: UInt32
}

/// The unit of deduplication, in bytes. Pages of bbolt are as large or larger, by a power of two, on nearly all
/// machines; where they are smaller, several are one unit.
let pageLength = 4096
