import FleetSystem
import Testing

@testable import FleetAgent

@Suite struct JournalTests {
    private let records: [RestoreEntry] = [
        .started(.fetch), .done(.fetch, note: "x\ny"), .failed(.preflight, FleetError(.noSpace, "full", hint: "h")),
        .concluded(.failed),
    ]

    private func write(_ path: String) throws -> [UInt8] {
        let journal = try Journal<RestoreEntry>(path)
        #expect(journal.recovered.isEmpty)
        for record in records { try journal.append(record) }
        return try FileSystem.read(path)
    }

    @Test func checksum() { #expect(CRC32C.checksum("123456789".utf8) == 0xE306_9283) }

    @Test func keepsRecords() throws {
        let tree = try NodeTree()
        _ = try write(tree.root + "/j")
        #expect(try Journal<RestoreEntry>.records(tree.root + "/j") == records)
    }

    /// Cut off at any byte, it holds the whole records before, and goes on after them.
    @Test func tornTail() throws {
        let tree = try NodeTree()
        let path = tree.root + "/j"
        let bytes = try write(path)
        var ends: [Int] = []
        for (index, byte) in bytes.enumerated() where byte == UInt8(ascii: "\n") { ends.append(index + 1) }
        for length in 0..<bytes.count {
            try FileSystem.writeDurably(path, bytes[..<length])
            let whole = ends.count { $0 <= length }
            do {
                let journal = try Journal<RestoreEntry>(path)
                #expect(journal.recovered == Array(records[..<whole]))
                try journal.append(.started(.verify))
            }
            #expect(try Journal<RestoreEntry>.records(path) == records[..<whole] + [.started(.verify)])
        }
    }

    @Test func damageIsSaid() throws {
        let tree = try NodeTree()
        let path = tree.root + "/j"
        let bytes = try write(path)
        let last = bytes.dropLast().lastIndex(of: UInt8(ascii: "\n"))!
        for index in stride(from: 0, to: last, by: 3) {
            var damaged = bytes
            damaged[index] ^= 0x04
            try FileSystem.writeDurably(path, damaged)
            let error = #expect(throws: FleetError.self) { try Journal<RestoreEntry>.records(path) }
            #expect(error?.code == .journalDamaged)
        }
    }
}
