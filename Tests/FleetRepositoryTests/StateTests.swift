import FleetSystem
import RepositoryTestFiles
import Testing

@testable import FleetRepository

/// What a repository keeps besides snapshots.
@Suite("State") struct StateTests {
    private let files = PowerCutFiles()
    private let recovery: RepositoryKey
    private let repository: Repository
    private let contents: [(String, [UInt8])] = [
        ("settings.json", Array("{}".utf8)), ("empty", []),
        ("catalogue.db", (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 13) }),
    ]

    init() throws {
        let master = RepositoryKey.random(.master)
        recovery = try Repository.create("/r", files: files, master: master)
        repository = try Repository("/r", files: files, key: master)
    }

    private func add(_ name: String) throws {
        try repository.addState(name) { writer throws(FleetError) in
            for (file, bytes) in contents {
                try writer.begin(file)
                for start in stride(from: 0, to: bytes.count, by: 70_000) {
                    try writer.append(Array(bytes[start..<min(start + 70_000, bytes.count)]))
                }
            }
        }
    }

    private func read(_ reader: StateReader) throws -> [(String, [UInt8])] {
        var found: [(String, [UInt8])] = []
        while let piece = try reader.next() {
            switch piece {
            case .file(let name): found.append((name, []))
            case .bytes(let bytes): found[found.count - 1].1 += bytes
            }
        }
        return found
    }

    private func expectWhole(_ found: [(String, [UInt8])]) {
        #expect(found.map(\.0) == contents.map(\.0))
        #expect(found.map(\.1) == contents.map(\.1))
    }

    @Test func whatWasWrittenIsRead() throws {
        try add("one")
        expectWhole(try read(try repository.openState("one")))
        #expect(try repository.states().map(\.name) == ["one"])
        #expect(throws: FleetError.self) { try add("one") }
        try repository.removeState("one")
        #expect(try repository.states().isEmpty)
    }

    /// As after a crash, and as a copy that was not copied whole.
    @Test func whatWasCutIsFound() throws {
        try add("one")
        let whole = try files.read("/r/state/one", limit: .max)
        for length in Set(stride(from: 0, to: whole.count, by: 9973)).union([whole.count - 1, whole.count - 40]) {
            try files.writeDurably("/r/state/cut", Array(whole.prefix(length)))
            #expect(throws: FleetError.self, "\(length)") { try read(try repository.openState("cut")) }
        }
    }

    @Test func everyChangedByteIsFound() throws {
        try add("one")
        let whole = try files.read("/r/state/one", limit: .max)
        for place in Array(0..<300) + Array(stride(from: 300, to: whole.count, by: 4999)) + [whole.count - 1] {
            var changed = whole
            changed[place] ^= 1
            try files.writeDurably("/r/state/changed", changed)
            #expect(throws: FleetError.self, "\(place)") { try read(try repository.openState("changed")) }
        }
    }

    /// On another machine, with the key from the paper and nothing else.
    @Test func aCopyStandsForItself() throws {
        try add("one")
        var copy: [UInt8] = []
        let source = try repository.copy("one")
        while let piece = try source.next() { copy += piece }
        try files.writeDurably("/copy", copy)
        expectWhole(try read(try StateReader(copy: "/copy", key: recovery, files: files)))
        do {
            _ = try StateReader(copy: "/copy", key: .random(.recovery), files: files)
            Issue.record("another key opens it")
        } catch { #expect(error.code == .wrongKey) }
        #expect(copy.firstRange(of: Array("settings.json".utf8)) == nil, "nothing of it is in the clear")
    }

    @Test func whatCantBeWrittenIsNotThere() throws {
        do {
            try repository.addState("one") { writer throws(FleetError) in
                try writer.begin("a")
                throw FleetError(.noSpace, "full")
            }
            Issue.record("it was written")
        } catch { #expect(error.code == .noSpace) }
        #expect(try repository.states().isEmpty)
    }
}
