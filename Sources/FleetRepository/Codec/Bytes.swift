import FleetSystem

/// Writes the formats of the repository: fixed integers little-endian, variable ones as LEB128 (seven bits a byte, low
/// ones first, the top bit set where more follow).
struct ByteWriter {
    var bytes: [UInt8] = []

    mutating func fixed(_ value: UInt64) { withUnsafeBytes(of: value.littleEndian) { bytes += $0 } }

    mutating func varint(_ value: UInt64) {
        var value = value
        while value > 0x7f {
            bytes.append(UInt8(truncatingIfNeeded: value) | 0x80)
            value >>= 7
        }
        bytes.append(UInt8(value))
    }

    mutating func varint(_ value: Int) { varint(UInt64(value)) }

    /// Zigzag: 0, -1, 1, -2, ... as 0, 1, 2, 3, ...
    mutating func signed(_ value: Int) { varint(UInt64(bitPattern: Int64((value << 1) ^ (value >> 63)))) }

    mutating func raw(_ value: [UInt8]) { bytes += value }

    /// Length first.
    mutating func block(_ value: [UInt8]) {
        varint(value.count)
        bytes += value
    }

    mutating func text(_ value: String) { block(Array(value.utf8)) }
}

/// Reads them. What does not fit is `snapshot-damaged`, never a trap: lengths are checked before they are used.
struct ByteReader {
    let bytes: [UInt8]
    private(set) var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { position == bytes.count }

    mutating func fixed() throws(FleetError) -> UInt64 {
        var value: UInt64 = 0
        for byte in try raw(8).reversed() { value = value << 8 | UInt64(byte) }
        return value
    }

    mutating func varint() throws(FleetError) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while true {
            guard position < bytes.count, shift < 64 else { throw damaged("a number is cut") }
            let byte = bytes[position]
            position += 1
            value |= UInt64(byte & 0x7f) << shift
            if byte & 0x80 == 0 { return value }
            shift += 7
        }
    }

    /// A number that counts or measures something: at most `limit`.
    mutating func count(limit: Int = 1 << 40) throws(FleetError) -> Int {
        let value = try varint()
        guard value <= UInt64(limit) else { throw damaged("a count of \(value) is more than there can be") }
        return Int(value)
    }

    mutating func signed() throws(FleetError) -> Int {
        let value = try varint()
        return Int(Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1))
    }

    mutating func raw(_ count: Int) throws(FleetError) -> ArraySlice<UInt8> {
        guard count >= 0, count <= bytes.count - position else { throw damaged("a field is cut") }
        defer { position += count }
        return bytes[position..<(position + count)]
    }

    mutating func block() throws(FleetError) -> [UInt8] { Array(try raw(try count())) }

    mutating func text() throws(FleetError) -> String { String(decoding: try block(), as: UTF8.self) }

    /// Nothing may be left: a byte that nobody reads is one whose change nobody finds.
    func finish() throws(FleetError) {
        guard isAtEnd else { throw damaged("\(bytes.count - position) bytes too many") }
    }
}
