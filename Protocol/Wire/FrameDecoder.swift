public import FleetSystem

/// Cuts a byte stream into frames. A frame that is not legal is known from its first nine bytes, before its payload
/// is waited for or stored.
public struct FrameDecoder: Sendable {
    private var pending: [UInt8] = []
    private var consumed = 0

    public init() {}

    /// Bytes that belong to a frame that is not complete yet.
    public var pendingBytes: Int { pending.count - consumed }

    public mutating func append(_ bytes: some Collection<UInt8>) {
        if consumed > Frame.dataChunk {
            pending.removeFirst(consumed)
            consumed = 0
        }
        pending += bytes
    }

    /// The next complete frame, nil when more bytes are needed.
    ///
    /// - Throws: `protocol-violation` for a length below the header or above the cap, an unknown type, or a stream id
    ///   that does not fit the type.
    public mutating func next() throws(FleetError) -> Frame? {
        let rest = pending[consumed...]
        guard rest.count >= 4 else {
            // An idle connection holds no buffer.
            if rest.isEmpty { (pending, consumed) = ([], 0) }
            return nil
        }
        let length = Int(rest.bigEndianUInt32)
        guard length >= Frame.headerLength, length <= Frame.headerLength + Frame.maximumPayload else {
            throw FleetError(
                .protocolViolation, "a frame of \(length) bytes is not allowed",
                hint: "is the peer a program of this fleet?")
        }
        guard rest.count >= 4 + Frame.headerLength else { return nil }
        let header = rest.dropFirst(4)
        guard let kind = Frame.Kind(rawValue: header.first!) else {
            throw FleetError(
                .protocolViolation, "unknown frame type \(header.first!)",
                hint: "the peer speaks another version than was agreed on; upgrade the older side")
        }
        let stream = header.dropFirst().bigEndianUInt32
        guard kind.isOfConnection == (stream == 0) else {
            throw FleetError(.protocolViolation, "a \(kind) frame on stream \(stream)")
        }
        guard rest.count >= 4 + length else { return nil }
        let payload = Array(header.dropFirst(Frame.headerLength).prefix(length - Frame.headerLength))
        consumed += 4 + length
        return Frame(kind, stream: stream, payload: payload)
    }
}
