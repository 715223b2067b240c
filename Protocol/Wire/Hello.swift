public import FleetSystem

/// The first frame of each side: the versions it speaks. The highest that both speak is the connection's.
public struct Hello: Codable, Sendable, Equatable {
    public static let oldest = 1
    public static let newest = 1

    public var oldest: Int
    public var newest: Int
    /// "fleet-agent 0.1.0", for logs.
    public var software: String

    public init(oldest: Int = Hello.oldest, newest: Int = Hello.newest, software: String) {
        self.oldest = oldest
        self.newest = newest
        self.software = software
    }

    /// - Throws: `protocol-version` when there is none.
    public static func agree(_ ours: Hello, _ theirs: Hello) throws(FleetError) -> Int {
        let version = min(ours.newest, theirs.newest)
        guard version >= max(ours.oldest, theirs.oldest), theirs.oldest <= theirs.newest else {
            throw FleetError(
                .protocolVersion,
                "no protocol version in common: this side speaks \(ours.oldest) to \(ours.newest), "
                    + "\(theirs.software) speaks \(theirs.oldest) to \(theirs.newest)",
                hint: "upgrade the older side")
        }
        return version
    }
}

/// The payload of an `open` frame: flags u8 | length of the method's name u8 | name | body.
public struct OpenPayload: Sendable, Equatable {
    /// Flag bit 0: the opener will send nothing more on this stream, the body is its whole request.
    private static let endsFlag: UInt8 = 1

    public var method: String
    public var ends: Bool
    public var body: [UInt8]

    public init(method: String, ends: Bool, body: [UInt8]) {
        self.method = method
        self.ends = ends
        self.body = body
    }

    public init(_ payload: [UInt8]) throws(FleetError) {
        guard payload.count >= 2, payload[0] & ~Self.endsFlag == 0, payload.count >= 2 + Int(payload[1]), payload[1] > 0
        else {
            throw FleetError(.protocolViolation, "an open frame that is not well formed")
        }
        ends = payload[0] & Self.endsFlag != 0
        method = String(decoding: payload[2..<(2 + Int(payload[1]))], as: UTF8.self)
        body = Array(payload[(2 + Int(payload[1]))...])
    }

    public var encoded: [UInt8] { [ends ? Self.endsFlag : 0, UInt8(method.utf8.count)] + Array(method.utf8) + body }
}
