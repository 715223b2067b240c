/// A protobuf message, field by field. Only what etcd's messages use: varints and byte strings.
struct ProtoReader {
    enum Value {
        case varint(UInt64)
        /// Offset from the message's beginning, and the bytes.
        case bytes(Int, UnsafeRawBufferPointer)
    }
    enum Malformed: Error { case message }

    private let message: UnsafeRawBufferPointer
    private var offset = 0

    init(_ message: UnsafeRawBufferPointer) { self.message = message }

    /// nil at the end.
    mutating func next() throws(Malformed) -> (field: UInt64, value: Value)? {
        guard offset < message.count else { return nil }
        let tag = try varint()
        guard tag >> 3 > 0 else { throw .message }
        switch tag & 7 {
        case 0: return (tag >> 3, .varint(try varint()))
        case 2:
            let count = try varint()
            guard count <= UInt64(message.count - offset) else { throw .message }
            defer { offset += Int(count) }
            return (tag >> 3, .bytes(offset, message.part(offset, Int(count))))
        default: throw .message
        }
    }

    private mutating func varint() throws(Malformed) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while offset < message.count, shift < 64 {
            let byte = message[offset]
            offset += 1
            // The tenth byte has room for one bit.
            if shift == 63, byte > 1 { throw .message }
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        throw .message
    }
}
