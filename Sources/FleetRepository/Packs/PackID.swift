import FleetSystem

/// A pack's 16 random bytes: its file's name in hexadecimal, and the salt of its key.
struct PackID: Hashable, Sendable, Comparable, CustomStringConvertible {
    let bytes: [UInt8]

    init(_ bytes: some Collection<UInt8>) { self.bytes = Array(bytes) }

    /// nil for a file name that is not one of a pack.
    init?(fileName: String) {
        guard fileName.hasSuffix(Self.ending), let bytes = [UInt8](hex: fileName.dropLast(Self.ending.count)),
            bytes.count == 16
        else { return nil }
        self.bytes = bytes
    }

    private static let ending = ".pack"
    var description: String { bytes.hex }
    var fileName: String { bytes.hex + Self.ending }

    static func < (a: PackID, b: PackID) -> Bool { a.bytes.lexicographicallyPrecedes(b.bytes) }
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
