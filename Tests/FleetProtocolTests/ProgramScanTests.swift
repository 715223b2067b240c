import FleetSystem
import Testing

@testable import FleetProtocol

/// What the bytes of a file tell of it.
@Suite struct ProgramScanTests {
    static func elf(machine: UInt8 = 62, isWide: Bool = true, type: UInt8 = 3) -> [UInt8] {
        [0x7f, 0x45, 0x4c, 0x46, isWide ? 2 : 1, 1, 1, 0] + [UInt8](repeating: 0, count: 8) + [type, 0, machine, 0]
            + [UInt8](repeating: 0, count: 44)
    }
    static func replacing(_ offset: Int, _ bytes: [UInt8]) -> [UInt8] {
        var header = elf()
        header.replaceSubrange(offset..<offset + bytes.count, with: bytes)
        return header
    }
    static let mark = "etcd-backup-fleet program " + "fleet-agent "

    private func record(_ bytes: [UInt8], pieces: Int = 1 << 20) throws(FleetError) -> ProgramRecord {
        var scan = ProgramScan()
        var rest = bytes[...]
        while !rest.isEmpty {
            scan.take(Array(rest.prefix(pieces)))
            rest = rest.dropFirst(pieces)
        }
        return try scan.record(size: Int64(bytes.count), sha256: String(repeating: "a", count: 64))
    }

    /// Wherever the pieces end, the mark is found.
    @Test(arguments: [1, 2, 7, 40, 41, 64, 1000, 1 << 20]) func theMarkIsFoundAcrossPieces(_ pieces: Int) throws {
        let filler = [UInt8](repeating: 0x65, count: 777)
        let bytes = Self.elf() + filler + Array("\(Self.mark)0.3.1;\0".utf8) + filler
        let record = try record(bytes, pieces: pieces)
        #expect(record.version == "0.3.1" && record.architecture == "x86_64" && record.size == Int64(bytes.count))
        #expect(record.isValid)
    }

    @Test func architectures() throws {
        let mark = Array("\(Self.mark)1;".utf8)
        for (machine, name) in [(62, "x86_64"), (183, "aarch64"), (243, "machine-243")] {
            #expect(try record(Self.elf(machine: UInt8(machine)) + mark).architecture == name)
        }
        #expect(try record(Self.elf(machine: 3, isWide: false) + mark).architecture == "machine-3-32")
    }

    @Test(arguments: [
        [], Array("#!/bin/sh\nexec fleet-agent # \(mark)0.3.1;".utf8), elf(),
        elf(type: 1) + Array("\(mark)0.3.1;".utf8),
        elf() + Array("\(mark);".utf8), elf() + Array("\(mark)0.3.1".utf8), elf() + Array("\(mark)a b;".utf8),
        elf() + Array(mark.utf8) + [UInt8](repeating: 0x31, count: 65) + [0x3b], Array(elf().prefix(19)),
        // Sections far behind its end, and so far that no number holds where.
        replacing(40, [0, 0, 0, 1]) + Array("\(mark)0.3.1;".utf8),
        replacing(32, [UInt8](repeating: 0xff, count: 8)) + Array("\(mark)0.3.1;".utf8),
        replacing(40, [UInt8](repeating: 0xff, count: 8)) + Array("\(mark)0.3.1;".utf8),
    ])
    func whatIsNoAgentIsRefused(_ bytes: [UInt8]) {
        #expect(throws: FleetError.self) { try self.record(bytes) }
    }

    /// As a copy that was cut off: what starts of it would end at the first byte that it misses.
    @Test func aPartOfARealProgramIsRefused() throws {
        let program = try FileSystem.read("/proc/self/exe", limit: 1 << 30)
        #expect(ProgramScan.neededSize(Array(program.prefix(64))) <= program.count)
        #expect(ProgramScan.neededSize(Array(program.prefix(64))) > program.count - 4096)
        for big in [false, true] {
            var header = Self.elf()
            header[5] = big ? 2 : 1
            header.replaceSubrange(40..<48, with: big ? [0, 0, 0, 0, 0, 0, 1, 0] : [0, 1, 0, 0, 0, 0, 0, 0])
            header.replaceSubrange(58..<62, with: big ? [0, 64, 0, 2] : [64, 0, 2, 0])
            #expect(ProgramScan.neededSize(header) == 256 + 128)
        }
    }

    /// One that only looks as if, before the real one.
    @Test func aFalseBeginningIsPassedOver() throws {
        #expect(try record(Self.elf() + Array("\(Self.mark)\(Self.mark)0.4.0;".utf8)).version == "0.4.0")
    }
}
