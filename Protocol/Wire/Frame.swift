public import FleetSystem

/// The unit of the protocol; README.md beside this folder is its specification.
///
///     length u32 | type u8 | stream u32 | payload        all big-endian; length counts what follows it
public struct Frame: Sendable, Equatable {
    public enum Kind: UInt8, Sendable, CaseIterable {
        case hello = 0x01
        case ping = 0x02
        case pong = 0x03
        case goAway = 0x04
        case open = 0x10
        case data = 0x11
        case message = 0x12
        case credit = 0x13
        case end = 0x14
        case reset = 0x15

        /// Frames of the connection itself travel on stream 0, all others on a stream of their own.
        public var isOfConnection: Bool { rawValue < 0x10 }
    }

    /// Bytes of type and stream id, which `length` counts.
    public static let headerLength = 5
    /// The hard cap of a payload. It is checked before anything is allocated.
    public static let maximumPayload = 256 << 10
    /// What a sender of bytes puts into one frame: small enough that a heartbeat never waits long behind it.
    public static let dataChunk = 64 << 10

    public var kind: Kind
    public var stream: UInt32
    public var payload: [UInt8]

    public init(_ kind: Kind, stream: UInt32 = 0, payload: [UInt8] = []) {
        self.kind = kind
        self.stream = stream
        self.payload = payload
    }

    /// Appends the frame as it travels.
    public func encode(into buffer: inout [UInt8]) {
        precondition(payload.count <= Self.maximumPayload)
        // No reserveCapacity: it would make room for exactly this frame each time, and copy the whole buffer for each.
        buffer.append(bigEndian: UInt32(Self.headerLength + payload.count))
        buffer.append(kind.rawValue)
        buffer.append(bigEndian: stream)
        buffer += payload
    }

    public var encoded: [UInt8] {
        var bytes: [UInt8] = []
        encode(into: &bytes)
        return bytes
    }
}

extension [UInt8] {
    mutating func append(bigEndian value: UInt32) {
        for shift in stride(from: 24, through: 0, by: -8) { append(UInt8(truncatingIfNeeded: value >> shift)) }
    }
}

extension Collection<UInt8> {
    /// The first four bytes; there must be as many.
    var bigEndianUInt32: UInt32 { prefix(4).reduce(0) { $0 << 8 | UInt32($1) } }
}

extension FleetError.Code {
    /// The peer broke the protocol; the connection ends.
    public static let protocolViolation: Self = "protocol-violation"
    /// There is no version that both sides speak.
    public static let protocolVersion: Self = "protocol-version"
    /// The connection ended before what was asked for came.
    public static let connectionLost: Self = "connection-lost"
    public static let unknownMethod: Self = "unknown-method"
}
