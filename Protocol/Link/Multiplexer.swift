public import FleetSystem

/// The rules of a connection without its input and output: which frames may come when, and how much may be sent.
/// Frames in, events out.
///
/// Credit: each side may send 256 KiB of payload in `data` and `message` frames on a stream; a `credit` frame grants
/// more once the receiver's program has taken bytes out. So a slow receiver holds back one stream and nothing else.
public struct Multiplexer: Sendable {
    public static let initialCredit = 256 << 10

    /// Who opened the connection. The dialler's streams have odd ids, the listener's even ones.
    public enum Side: Sendable { case dialler, listener }

    public enum Event: Sendable, Equatable {
        case agreed(version: Int, peer: Hello)
        case ping([UInt8])
        case goneAway(FleetError)
        case opened(UInt32, OpenPayload)
        /// More streams than the limit; the stream is to be reset with this error, the connection goes on.
        case refused(UInt32, FleetError)
        case data(UInt32, [UInt8])
        case message(UInt32, [UInt8])
        case credit(UInt32, Int)
        case ended(UInt32, [UInt8])
        case reset(UInt32, FleetError)
    }

    private struct State {
        var weEnded = false
        var theyEnded: Bool
        var sendCredit = Multiplexer.initialCredit
        /// Bytes that the peer may still send.
        var receiveCredit = Multiplexer.initialCredit
    }

    private let side: Side
    private let hello: Hello
    private var peerStreamLimit: Int
    private var agreed = false
    private var streams: [UInt32: State] = [:]
    private var lastOwn: UInt32
    private var lastPeer: UInt32 = 0
    private var peerStreams = 0

    public init(side: Side, hello: Hello, peerStreamLimit: Int) {
        self.side = side
        self.hello = hello
        self.peerStreamLimit = peerStreamLimit
        lastOwn = side == .dialler ? UInt32.max : 0  // the first are 1 and 2
    }

    public var openStreams: Int { streams.count }

    /// From now on the peer may have so many streams open at once.
    public mutating func limitPeerStreams(to limit: Int) { peerStreamLimit = limit }

    // MARK: receiving

    /// - Throws: `protocol-violation` or `protocol-version`; the connection is then told so and closed.
    public mutating func receive(_ frame: Frame) throws(FleetError) -> Event? {
        guard agreed else {
            guard frame.kind == .hello else { throw violation("a \(frame.kind) frame before hello") }
            let theirs: Hello
            do throws(FleetError) { theirs = try JSON.decode(Hello.self, from: frame.payload) } catch {
                throw violation("a hello that is not well formed")
            }
            let version = try Hello.agree(hello, theirs)
            agreed = true
            return .agreed(version: version, peer: theirs)
        }
        switch frame.kind {
        case .hello: throw violation("a second hello")
        case .ping:
            guard frame.payload.count == 8 else { throw violation("a ping of \(frame.payload.count) bytes") }
            return .ping(frame.payload)
        case .pong: return nil
        case .goAway: return .goneAway(Self.error(frame.payload))
        case .open: return try opened(frame)
        default: return try received(frame)
        }
    }

    private mutating func opened(_ frame: Frame) throws(FleetError) -> Event {
        let theirs = frame.stream % 2 == (side == .dialler ? 0 : 1)
        guard theirs, frame.stream > lastPeer else { throw violation("stream \(frame.stream) was opened out of turn") }
        lastPeer = frame.stream
        let payload = try OpenPayload(frame.payload)
        guard peerStreams < peerStreamLimit else {
            return .refused(
                frame.stream, FleetError(.busy, "more than \(peerStreamLimit) streams at once", retryable: true))
        }
        peerStreams += 1
        streams[frame.stream] = State(theyEnded: payload.ends)
        return .opened(frame.stream, payload)
    }

    private mutating func received(_ frame: Frame) throws(FleetError) -> Event? {
        let id = frame.stream
        guard var state = streams[id] else {
            // What was under way when a stream was reset arrives late, and is nothing to complain about. A stream that
            // was never opened is.
            let isOwn = id % 2 == (side == .dialler ? 1 : 0)
            guard isOwn ? (lastOwn != .max && id <= lastOwn) : id <= lastPeer else {
                throw violation("a \(frame.kind) frame on stream \(id), which was never opened")
            }
            return nil
        }
        switch frame.kind {
        case .data, .message:
            guard !state.theyEnded else { throw violation("a \(frame.kind) frame after the end of stream \(id)") }
            // An empty one would cost no credit and still a place in the receiver's queue.
            guard !frame.payload.isEmpty else { throw violation("an empty \(frame.kind) frame") }
            state.receiveCredit -= frame.payload.count
            guard state.receiveCredit >= 0 else { throw violation("more than the credit of stream \(id)") }
            streams[id] = state
            return frame.kind == .data ? .data(id, frame.payload) : .message(id, frame.payload)
        case .credit:
            guard frame.payload.count == 4 else { throw violation("a credit of \(frame.payload.count) bytes") }
            let granted = Int(frame.payload.bigEndianUInt32)
            state.sendCredit += granted
            guard state.sendCredit <= Int(Int32.max) else { throw violation("a credit that is too large") }
            streams[id] = state
            return .credit(id, granted)
        case .end:
            guard !state.theyEnded else { throw violation("a second end of stream \(id)") }
            state.theyEnded = true
            keep(id, state)
            return .ended(id, frame.payload)
        default:
            forget(id)
            return .reset(id, Self.error(frame.payload))
        }
    }

    // MARK: sending

    public mutating func open(_ method: String, _ body: [UInt8], ends: Bool) -> Frame {
        lastOwn = lastOwn == .max ? 1 : lastOwn + 2
        var state = State(theyEnded: false)
        state.weEnded = ends
        streams[lastOwn] = state
        return Frame(.open, stream: lastOwn, payload: OpenPayload(method: method, ends: ends, body: body).encoded)
    }

    /// How many bytes may be sent on the stream now.
    public func sendCredit(_ id: UInt32) -> Int { streams[id]?.sendCredit ?? 0 }

    public mutating func send(_ kind: Frame.Kind, _ id: UInt32, _ payload: [UInt8]) -> Frame? {
        guard var state = streams[id], !state.weEnded else { return nil }
        switch kind {
        case .data, .message: state.sendCredit -= payload.count
        case .end: state.weEnded = true
        default: return nil
        }
        keep(id, state)
        return Frame(kind, stream: id, payload: payload)
    }

    /// The program has taken `count` bytes out of the stream; nil once the peer can't use more.
    public mutating func grant(_ id: UInt32, _ count: Int) -> Frame? {
        guard var state = streams[id], !state.theyEnded, count > 0 else { return nil }
        state.receiveCredit += count
        streams[id] = state
        var payload: [UInt8] = []
        payload.append(bigEndian: UInt32(count))
        return Frame(.credit, stream: id, payload: payload)
    }

    public mutating func reset(_ id: UInt32, _ error: FleetError) -> Frame? {
        guard streams[id] != nil else { return nil }
        forget(id)
        return Self.reset(id, error)
    }

    public static func reset(_ id: UInt32, _ error: FleetError) -> Frame {
        Frame(.reset, stream: id, payload: encode(error))
    }

    public static func goAway(_ error: FleetError) -> Frame { Frame(.goAway, payload: encode(error)) }

    private mutating func keep(_ id: UInt32, _ state: State) {
        if state.weEnded && state.theyEnded { forget(id) } else { streams[id] = state }
    }

    private mutating func forget(_ id: UInt32) {
        guard streams.removeValue(forKey: id) != nil else { return }
        if id % 2 == (side == .dialler ? 0 : 1) { peerStreams -= 1 }
    }

    private func violation(_ what: String) -> FleetError { FleetError(.protocolViolation, what) }

    private static func encode(_ error: FleetError) -> [UInt8] {
        // Far below a frame's cap even where every byte has to be escaped.
        (try? JSON.encode(error.shortened(to: 16 << 10))) ?? []
    }

    private static func error(_ payload: [UInt8]) -> FleetError {
        (try? JSON.decode(FleetError.self, from: payload))
            ?? FleetError(.protocolViolation, "an error that is not well formed")
    }
}

extension FleetError.Code {
    /// What was asked for is under way already, or too much is.
    public static let busy: Self = "busy"
}
