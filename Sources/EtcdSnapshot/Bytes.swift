private import Glibc

// Loads from bytes whose bounds the caller has checked. bbolt's files are in the order of the machine that wrote
// them: little-endian wherever etcd runs today but on s390x, whose files are refused as no snapshot.
extension UnsafeRawBufferPointer {
    func uint16(_ offset: Int) -> UInt16 {
        UInt16(littleEndian: loadUnaligned(fromByteOffset: offset, as: UInt16.self))
    }
    func uint32(_ offset: Int) -> UInt32 {
        UInt32(littleEndian: loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }
    func uint64(_ offset: Int) -> UInt64 {
        UInt64(littleEndian: loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }
    /// etcd's own numbers in keys and values are big-endian.
    func bigEndian64(_ offset: Int) -> UInt64 {
        UInt64(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    func part(_ start: Int, _ count: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: self[start..<(start + count)])
    }

    /// Unsigned and bytewise, the shorter of two with a common beginning first; below, at or above 0.
    func compared(to other: UnsafeRawBufferPointer) -> Int {
        let common = Swift.min(count, other.count)
        if common > 0 {
            let result = memcmp(baseAddress!, other.baseAddress!, common)
            if result != 0 { return Int(result) }
        }
        return count - other.count
    }

    func equals(_ other: UnsafeRawBufferPointer) -> Bool { count == other.count && compared(to: other) == 0 }

    func starts(with prefix: [UInt8]) -> Bool {
        prefix.withUnsafeBytes { count >= $0.count && part(0, $0.count).equals($0) }
    }

    func allZero(from start: Int) -> Bool { self[start...].allSatisfy { $0 == 0 } }
}
