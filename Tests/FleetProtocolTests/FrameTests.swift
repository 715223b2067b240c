import FleetProtocol
import FleetSystem
import Testing

/// Golden bytes: README.md's examples. They pin the wire format; changing one breaks every agent in the field.
@Suite struct FrameTests {
    static let golden: [(Frame, String)] = [
        (Frame(.ping, payload: [0, 0, 0, 0, 0, 0, 0, 7]), "0000000d02000000000000000000000007"),
        (
            Frame(
                .open, stream: 1, payload: OpenPayload(method: "job.event", ends: true, body: Array("{}".utf8)).encoded),
            "0000001210000000010109" + "6a6f622e6576656e74" + "7b7d"
        ),
        (Frame(.data, stream: 3, payload: [0xde, 0xad]), "000000071100000003dead"),
        (Frame(.message, stream: 2, payload: Array("{}".utf8)), "0000000712000000027b7d"),
        (Frame(.credit, stream: 0x0102_0304, payload: [0, 2, 0, 0]), "00000009130102030400020000"),
        (Frame(.end, stream: 5), "000000051400000005"),
        (Frame(.reset, stream: 4, payload: Array("{}".utf8)), "0000000715000000047b7d"),
        (
            Frame(.hello, payload: Array("{\"newest\":1,\"oldest\":1,\"software\":\"fleet-agent 0.1.0\"}".utf8)),
            "0000003b01000000007b226e6577657374223a312c226f6c64657374223a312c22736f667477617265223a22666c6565742d6167656e7420302e312e30227d"
        ),
    ]

    @Test(arguments: golden) func goldenFrame(_ frame: Frame, _ hex: String) throws {
        #expect(frame.encoded.hex == hex)
        var decoder = FrameDecoder()
        decoder.append([UInt8](hex: hex)!)
        #expect(try decoder.next() == frame)
        #expect(try decoder.next() == nil)
        #expect(decoder.pendingBytes == 0)
    }

    @Test func framesArriveInAnyPieces() throws {
        let bytes = Self.golden.flatMap { $0.0.encoded }
        for size in 1...40 {
            var decoder = FrameDecoder()
            var frames: [Frame] = []
            for start in stride(from: 0, to: bytes.count, by: size) {
                decoder.append(bytes[start..<min(start + size, bytes.count)])
                while let frame = try decoder.next() { frames.append(frame) }
            }
            #expect(frames == Self.golden.map(\.0))
        }
    }

    @Test(arguments: [
        "00040006",  // one byte above the cap, refused from the length alone
        "ffffffff", "00000004", "00000000",
        "000000052000000001",  // unknown type
        "000000050200000001",  // a ping on a stream
        "000000051100000000",  // data on stream 0
        "474554202f20485454502f312e310d0a",  // "GET / HTTP/1.1": garbage has an impossible length
    ]) func illegalFrames(_ hex: String) {
        var decoder = FrameDecoder()
        decoder.append([UInt8](hex: hex)!)
        #expect { _ = try decoder.next() } throws: { ($0 as? FleetError)?.code == .protocolViolation }
    }

    @Test func truncatedFrameIsNotAFrame() throws {
        for (frame, _) in Self.golden {
            var decoder = FrameDecoder()
            decoder.append(frame.encoded.dropLast())
            #expect(try decoder.next() == nil)
        }
    }
}

@Suite struct HelloTests {
    @Test func theHighestCommonVersion() throws {
        let ours = Hello(oldest: 1, newest: 2, software: "a")
        #expect(try Hello.agree(ours, Hello(oldest: 1, newest: 9, software: "b")) == 2)
        #expect(try Hello.agree(ours, Hello(oldest: 1, newest: 1, software: "b")) == 1)
    }

    @Test(arguments: [(3, 9), (0, 0), (5, 4)]) func noCommonVersion(_ oldest: Int, _ newest: Int) {
        #expect {
            _ = try Hello.agree(
                Hello(oldest: 1, newest: 2, software: "a"), Hello(oldest: oldest, newest: newest, software: "b"))
        } throws: {
            ($0 as? FleetError)?.code == .protocolVersion
        }
    }
}
