public import FleetReactor
public import FleetSystem

/// One exchange on a connection: a method with its request, then messages and bytes in both directions, then each
/// side's end with a last body, or a reset with an error.
@Reactor public final class Stream {
    public enum Item: Sendable, Equatable {
        /// A piece of a byte stream; its borders mean nothing.
        case data([UInt8])
        /// One whole JSON value.
        case message([UInt8])
        /// The peer's last word; nothing follows.
        case end([UInt8])
    }

    public nonisolated let method: String
    public nonisolated let request: [UInt8]
    public nonisolated let connection: Connection
    let id: UInt32
    var weEnded = false
    private var theyEnded: Bool
    private var inbox: [Item] = []
    private var inboxHead = 0
    /// Bytes taken out of the inbox that the peer has not been granted again.
    private var owed = 0
    private var failure: FleetError?
    private var reader: CheckedContinuation<Void, Never>?
    private var writers: [CheckedContinuation<Void, Never>] = []

    init(id: UInt32, method: String, request: [UInt8], peerEnded: Bool, connection: Connection) {
        self.id = id
        self.method = method
        self.request = request
        self.connection = connection
        theyEnded = peerEnded
    }

    // MARK: receiving

    /// The next item. One reader at a time.
    ///
    /// - Throws: what the peer reset the stream with, `connection-lost`, or `cancelled`.
    public func receive() async throws(FleetError) -> Item {
        while inboxHead == inbox.count {
            if let failure { throw failure }
            if Task.isCancelled { throw FleetError(.cancelled, "cancelled", retryable: true) }
            guard !theyEnded else { throw FleetError(.protocolViolation, "nothing follows the end of a stream") }
            precondition(reader == nil, "two readers of one stream")
            await withTaskCancellationHandler {
                await withCheckedContinuation { reader = $0 }
            } onCancel: {
                Task { @Reactor in self.wakeReader() }
            }
        }
        let item = inbox[inboxHead]
        // What was taken is let go of at once: a reader that is slower than the network may never find the inbox empty.
        inbox[inboxHead] = .end([])
        inboxHead += 1
        if inboxHead == inbox.count {
            (inbox, inboxHead) = ([], 0)
        } else if inboxHead >= 64 {
            inbox.removeFirst(inboxHead)
            inboxHead = 0
        }
        switch item {
        case .data(let bytes), .message(let bytes):
            owed += bytes.count
            if owed >= Multiplexer.initialCredit / 2 {
                connection.grant(id, owed)
                owed = 0
            }
        case .end: break
        }
        return item
    }

    /// The next item, which must be a message of this type.
    public func receiveMessage<Message: Decodable>(_ type: Message.Type) async throws(FleetError) -> Message {
        guard case .message(let bytes) = try await receive() else {
            throw FleetError(.protocolViolation, "a message was expected in \(method)")
        }
        return try JSON.decode(type, from: bytes)
    }

    /// The whole of a reply: pieces of data, then the end.
    public func receiveReply(limit: Int = 64 << 20) async throws(FleetError) -> [UInt8] {
        var reply: [UInt8] = []
        while true {
            switch try await receive() {
            case .data(let bytes):
                guard reply.count + bytes.count <= limit else {
                    throw FleetError(.malformed, "the reply to \(method) is too large")
                }
                reply += bytes
            case .end(let bytes): return reply + bytes
            case .message: throw FleetError(.protocolViolation, "a message in place of the reply to \(method)")
            }
        }
    }

    // MARK: sending

    /// Sends bytes, cut into frames, no faster than the peer and the network take them.
    public func send(_ bytes: [UInt8]) async throws(FleetError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let credit = try await waitForCredit(1)
            let piece = rest.prefix(min(credit, Frame.dataChunk))
            try connection.send(.data, id, Array(piece))
            rest = rest.dropFirst(piece.count)
        }
    }

    public func send(message: some Encodable & Sendable) async throws(FleetError) {
        let bytes = try JSON.encode(message)
        guard bytes.count <= Multiplexer.initialCredit / 2 else {
            throw FleetError(.internalError, "a message of \(bytes.count) bytes is too large")
        }
        _ = try await waitForCredit(bytes.count)
        try connection.send(.message, id, bytes)
    }

    /// Ends our side with a body of any length.
    public func finish(bytes: [UInt8] = []) async throws(FleetError) {
        let tail = bytes.suffix(bytes.count <= Frame.dataChunk ? bytes.count : 0)
        try await send(Array(bytes.dropLast(tail.count)))
        weEnded = true
        try connection.send(.end, id, Array(tail))
        endIfDone()
    }

    public func finish(_ body: some Encodable & Sendable) async throws(FleetError) {
        try await finish(bytes: try JSON.encode(body))
    }

    /// Ends both sides with an error; the peer's next `receive` or `send` throws it.
    public func fail(_ error: FleetError) {
        guard failure == nil else { return }
        failure = error
        connection.reset(id, error)
        wake()
    }

    private func waitForCredit(_ needed: Int) async throws(FleetError) -> Int {
        while true {
            if let failure { throw failure }
            if Task.isCancelled { throw FleetError(.cancelled, "cancelled", retryable: true) }
            if connection.isClosed { throw connection.closingError }
            let credit = connection.credit(of: id)
            if credit >= needed {
                let full = await connection.room()
                if !full { return credit }
                continue
            }
            await withTaskCancellationHandler {
                await withCheckedContinuation { writers.append($0) }
            } onCancel: {
                Task { @Reactor in self.creditArrived() }
            }
        }
    }

    /// Bytes that have arrived and wait for the reader.
    var held: Int {
        inbox[inboxHead...].reduce(0) { sum, item in
            switch item {
            case .data(let bytes), .message(let bytes), .end(let bytes): sum + bytes.count
            }
        }
    }

    // MARK: the connection's side

    func arrived(_ item: Item) {
        // Pieces are joined, so that many small frames cost no more memory than their bytes.
        if case .data(let bytes) = item, inboxHead < inbox.count, case .data(var last) = inbox[inbox.count - 1],
            last.count + bytes.count <= Frame.dataChunk
        {
            inbox[inbox.count - 1] = .end([])
            last += bytes
            inbox[inbox.count - 1] = .data(last)
        } else {
            inbox.append(item)
        }
        if case .end = item {
            theyEnded = true
            endIfDone()
        }
        wakeReader()
    }

    func creditArrived() {
        for writer in writers { writer.resume() }
        writers = []
    }

    func resetByPeer(_ error: FleetError) {
        if failure == nil { failure = error }
        wake()
    }

    func connectionEnded(_ error: FleetError) {
        // A stream that had ended on both sides has all it needs.
        if failure == nil, !(theyEnded && weEnded) { failure = error }
        wake()
    }

    private func endIfDone() { if weEnded, theyEnded { connection.forget(id) } }

    private func wakeReader() {
        reader?.resume()
        reader = nil
    }

    private func wake() {
        wakeReader()
        creditArrived()
    }
}

extension Connection {
    /// One request, one reply.
    public func call<Reply: Decodable & Sendable>(
        _ method: String, _ request: some Encodable & Sendable, as type: Reply.Type = Reply.self
    ) async throws(FleetError) -> Reply {
        let stream = try open(method, try JSON.encode(request), ends: true)
        return try JSON.decode(type, from: try await stream.receiveReply())
    }
}
