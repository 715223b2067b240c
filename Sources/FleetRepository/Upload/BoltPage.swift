import FleetSystem

/// As much of bbolt's page format as is needed to guess what a page resembles (facts: a page has id u64, flags u16,
/// count u16, overflow u32, then elements whose `pos` counts from the element's own start). Only guesses: a page that
/// lies about itself costs compression, never content. Nothing is read outside of `bytes`.
struct BoltPage {
    let bytes: UnsafeRawBufferPointer

    static let branch: UInt16 = 0x01
    static let leaf: UInt16 = 0x02
    private static let metaMagic: UInt32 = 0xED0C_DAED
    private static let headerLength = 16
    private static let elementLength = 16
    /// Page slots that one page may span; larger claims are not believed.
    private static let maximumOverflow = 4096

    private func load<Value: FixedWidthInteger>(_ offset: Int, as type: Value.Type) -> Value {
        guard offset >= 0, offset + MemoryLayout<Value>.size <= bytes.count else { return 0 }
        return Value(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: type))
    }

    var id: UInt64 { load(0, as: UInt64.self) }
    var flags: UInt16 { load(8, as: UInt16.self) }
    var count: Int { Int(load(10, as: UInt16.self)) }
    var overflow: Int { min(Int(load(12, as: UInt32.self)), Self.maximumOverflow) }

    /// Of a meta page: size of pages in bytes, root bucket's page, transaction. nil for anything else.
    var meta: (pageSize: Int, root: UInt64, transaction: UInt64)? {
        guard load(16, as: UInt32.self) == Self.metaMagic else { return nil }
        let size = Int(load(24, as: UInt32.self))
        guard size >= 1024, size <= 65536, size.nonzeroBitCount == 1 else { return nil }
        return (size, load(32, as: UInt64.self), load(64, as: UInt64.self))
    }

    /// Where an element's key begins and its length; for a leaf also the value's length.
    private func element(_ number: Int) -> (key: Int, keyLength: Int, valueLength: Int)? {
        let start = Self.headerLength + number * Self.elementLength
        guard number >= 0, number < count, start + Self.elementLength <= bytes.count else { return nil }
        if flags == Self.leaf {
            return (
                start + Int(load(start + 4, as: UInt32.self)), Int(load(start + 8, as: UInt32.self)),
                Int(load(start + 12, as: UInt32.self))
            )
        }
        return (start + Int(load(start, as: UInt32.self)), Int(load(start + 4, as: UInt32.self)), 0)
    }

    /// The key of an element as a revision; nil where it is none, or lies behind `bytes`.
    func revision(_ number: Int) -> Revision? {
        guard let (start, length, _) = element(number), length == 17 || length == 18, start + 17 <= bytes.count,
            bytes[start + 8] == UInt8(ascii: "_")
        else { return nil }
        return Revision(
            main: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: start, as: UInt64.self)),
            sub: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: start + 9, as: UInt64.self)))
    }

    /// The page that a branch's element leads to.
    func child(_ number: Int) -> UInt64? {
        let start = Self.headerLength + number * Self.elementLength
        guard number < count, start + Self.elementLength <= bytes.count else { return nil }
        return load(start + 8, as: UInt64.self)
    }

    /// The first page of a bucket that a leaf's entry names.
    func bucket(_ name: String) -> UInt64? {
        for number in 0..<count {
            guard let (start, length, valueLength) = element(number), valueLength >= 16,
                start + length + 16 <= bytes.count
            else { continue }
            if bytes[start..<(start + length)].elementsEqual(name.utf8) { return load(start + length, as: UInt64.self) }
        }
        return nil
    }
}

/// A key of etcd's `key` bucket: 17 bytes, main revision and sub revision big-endian around '_'. As numbers they sort
/// as the bytes do.
struct Revision: Comparable, Sendable, Hashable {
    var main: UInt64
    var sub: UInt64
    static func < (a: Revision, b: Revision) -> Bool { a.main != b.main ? a.main < b.main : a.sub < b.sub }
}
