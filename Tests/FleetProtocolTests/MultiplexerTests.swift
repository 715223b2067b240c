import FleetProtocol
import FleetSystem
import Testing

@Suite struct MultiplexerTests {
    let hello = Frame(.hello, payload: Array(#"{"oldest":1,"newest":1,"software":"peer"}"#.utf8))

    func listener(limit: Int = 2) throws -> Multiplexer {
        var multiplexer = Multiplexer(side: .listener, hello: Hello(software: "test"), peerStreamLimit: limit)
        guard case .agreed = try multiplexer.receive(hello) else { throw FleetError(.internalError, "not agreed") }
        return multiplexer
    }

    func open(_ id: UInt32, ends: Bool = false) -> Frame {
        Frame(.open, stream: id, payload: OpenPayload(method: "m", ends: ends, body: []).encoded)
    }

    func refuses(_ multiplexer: Multiplexer, _ frame: Frame) -> Bool {
        var copy = multiplexer
        do { _ = try copy.receive(frame) } catch { return error.code == .protocolViolation }
        return false
    }

    @Test func nothingBeforeHello() {
        let fresh = Multiplexer(side: .listener, hello: Hello(software: "test"), peerStreamLimit: 2)
        #expect(refuses(fresh, open(1)))
        #expect(refuses(fresh, Frame(.ping, payload: [UInt8](repeating: 0, count: 8))))
        #expect(refuses(fresh, Frame(.hello, payload: Array("not json".utf8))))
    }

    @Test func orderOfStreams() throws {
        var multiplexer = try listener()
        #expect(refuses(multiplexer, hello))
        #expect(refuses(multiplexer, open(2)), "an even id belongs to the listener")
        #expect(refuses(multiplexer, Frame(.data, stream: 1, payload: [1])), "never opened")
        #expect(refuses(multiplexer, Frame(.end, stream: 2)), "never opened by us")
        _ = try multiplexer.receive(open(3))
        #expect(refuses(multiplexer, open(3)) && refuses(multiplexer, open(1)))
        _ = try multiplexer.receive(Frame(.end, stream: 3))
        #expect(refuses(multiplexer, Frame(.data, stream: 3)) && refuses(multiplexer, Frame(.end, stream: 3)))
    }

    @Test func streamLimitRefusesOneStreamNotTheConnection() throws {
        var multiplexer = try listener(limit: 1)
        _ = try multiplexer.receive(open(1))
        guard case .refused(3, let error) = try multiplexer.receive(open(3)) else {
            throw FleetError(.internalError, "not refused")
        }
        #expect(error.code == .busy)
        // What the peer had sent before it learned of that is passed over.
        #expect(try multiplexer.receive(Frame(.data, stream: 3, payload: [1])) == nil)
        _ = try multiplexer.receive(Frame(.end, stream: 1))
        _ = multiplexer.send(.end, 1, [])
        guard case .opened(5, _) = try multiplexer.receive(open(5)) else {
            throw FleetError(.internalError, "the place was not freed")
        }
    }

    /// A stranger gets less than the connection was made for.
    @Test func theLimitCanBeLowered() throws {
        var multiplexer = try listener(limit: 8)
        multiplexer.limitPeerStreams(to: 1)
        _ = try multiplexer.receive(open(1))
        guard case .refused(3, _) = try multiplexer.receive(open(3)) else {
            throw FleetError(.internalError, "not refused")
        }
    }

    @Test func creditIsEnforced() throws {
        var multiplexer = try listener()
        _ = try multiplexer.receive(open(1))
        let piece = [UInt8](repeating: 0, count: Multiplexer.initialCredit / 2)
        _ = try multiplexer.receive(Frame(.data, stream: 1, payload: piece))
        _ = try multiplexer.receive(Frame(.message, stream: 1, payload: piece))
        #expect(refuses(multiplexer, Frame(.data, stream: 1, payload: [1])))
        _ = multiplexer.grant(1, 1)
        #expect(!refuses(multiplexer, Frame(.data, stream: 1, payload: [1])))
        #expect(refuses(multiplexer, Frame(.data, stream: 1, payload: [1, 2])))
        #expect(refuses(multiplexer, Frame(.credit, stream: 1, payload: [1, 2, 3])))
    }

    @Test func emptyPiecesAreRefused() throws {
        var multiplexer = try listener()
        _ = try multiplexer.receive(open(1))
        #expect(refuses(multiplexer, Frame(.data, stream: 1)) && refuses(multiplexer, Frame(.message, stream: 1)))
    }

    /// Whatever an error says, it fits into a frame: a long one must not be what ends the program.
    @Test func anErrorOfAnyLengthFitsIntoAFrame() throws {
        for text in [
            String(repeating: "x", count: 1 << 20), String(repeating: "\u{1F9E8}", count: 1 << 18),
            String(repeating: "\u{1}", count: 1 << 20),
        ] {
            let frame = Multiplexer.goAway(FleetError("code", text, hint: text))
            #expect(!frame.encoded.isEmpty && frame.payload.count <= Frame.maximumPayload)
        }
    }

    @Test func malformedOpen() throws {
        let multiplexer = try listener()
        for payload: [UInt8] in [[], [0], [0, 0], [0, 5, 65], [2, 1, 65], [0xff, 1, 65]] {
            #expect(refuses(multiplexer, Frame(.open, stream: 1, payload: payload)))
        }
    }

    /// Two multiplexers joined by a wire, random acts of both programs: never a violation, and both forget all streams.
    @Test(arguments: 0..<50) func randomProgramsNeverViolate(_ seed: UInt64) throws {
        var random = SplitMix(state: seed)
        var sides = [
            Multiplexer(side: .dialler, hello: Hello(software: "a"), peerStreamLimit: 8),
            Multiplexer(side: .listener, hello: Hello(software: "b"), peerStreamLimit: 8),
        ]
        var wires: [[Frame]] = [[hello], [hello]]  // wires[i] leads to side i
        var known: [Set<UInt32>] = [[], []]
        func deliver(_ side: Int) throws {
            guard !wires[side].isEmpty else { return }
            guard let event = try sides[side].receive(wires[side].removeFirst()) else { return }
            switch event {
            case .opened(let id, _): known[side].insert(id)
            case .refused(let id, let error): wires[1 - side].append(Multiplexer.reset(id, error))
            case .data(let id, let bytes), .message(let id, let bytes):
                if let frame = sides[side].grant(id, bytes.count) { wires[1 - side].append(frame) }
            default: break
            }
        }
        try deliver(0)
        try deliver(1)
        for _ in 0..<2000 {
            let side = Int(random.next() % 2)
            let id = known[side].randomElement(using: &random)
            switch random.next() % 6 {
            case 0 where known[side].count < 6:
                let frame = sides[side].open("m", [], ends: random.next() % 2 == 0)
                known[side].insert(frame.stream)
                wires[1 - side].append(frame)
            case 1, 2:
                guard let id else { continue }
                let size = min(sides[side].sendCredit(id), Int(random.next() % 100_000))
                guard size > 0 else { continue }
                if let frame = sides[side].send(.data, id, [UInt8](repeating: 0, count: size)) {
                    wires[1 - side].append(frame)
                }
            case 3:
                guard let id else { continue }
                if let frame = sides[side].send(.end, id, []) { wires[1 - side].append(frame) }
            case 4 where random.next() % 8 == 0:
                guard let id else { continue }
                if let frame = sides[side].reset(id, FleetError(.cancelled, "x")) { wires[1 - side].append(frame) }
            default: try deliver(side)
            }
        }
        for side in 0...1 {
            for id in known[side] {
                if let frame = sides[side].reset(id, FleetError(.cancelled, "x")) { wires[1 - side].append(frame) }
            }
        }
        while !wires[0].isEmpty || !wires[1].isEmpty {
            try deliver(0)
            try deliver(1)
        }
        // An open that was still under way when its opener reset it is forgotten by the reset behind it.
        #expect(sides[0].openStreams == 0 && sides[1].openStreams == 0)
    }
}

struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
