import FleetCrypto
import FleetSystem
import RepositoryTestFiles
import Testing

@testable import FleetRepository

@Suite("Repository: reading all of a snapshot")
struct ExportTests {
    /// Snapshots that are compressed against each other, and what each should give.
    private func series(_ files: PowerCutFiles, pages: Int, seed: UInt64) throws -> [String: [UInt8]] {
        let repository = try Repository.test(files)
        var series = PageSeries(pages: pages, seed: seed)
        var stored: [String: [UInt8]] = [:]
        for i in 0..<6 {
            try repository.store(series.bytes, as: "s\(i)")
            stored["s\(i)"] = series.bytes
            series.change(pages / 8)
        }
        return stored
    }

    @Test(arguments: [1, 255, 256, 257, 700])
    func whatIsWrittenIsWhatWasStored(_ pages: Int) throws {
        let files = PowerCutFiles()
        for (id, bytes) in try series(files, pages: pages, seed: UInt64(pages)) {
            let target = MemoryTarget()
            let digest = try Repository.test(files).open(id).write(to: target)
            #expect(target.bytes == bytes, "\(id)")
            #expect(digest == SHA256.hash(bytes))
            #expect(target.writtenTwice == 0)
        }
    }

    @Test func nothingIsWrittenForNothing() throws {
        let repository = try Repository.test(PowerCutFiles())
        try repository.store([], as: "empty")
        let target = MemoryTarget()
        #expect(try repository.open("empty").write(to: target) == SHA256.hash([]))
        #expect(target.bytes.isEmpty)
    }

    /// Reading on lets go of what is behind; whoever turns round gets it all the same.
    @Test(arguments: [4096, 70_000, 1 << 20])
    func piecesInOrderAndOutOfOrder(_ piece: Int) throws {
        let files = PowerCutFiles()
        let bytes = try #require(try series(files, pages: 900, seed: 7)["s5"])
        let snapshot = try Repository.test(files).open("s5")
        var random = Seeded(UInt64(piece))
        var offset = 0
        for turn in 0..<(3 * bytes.count / piece + 40) {
            var buffer = [UInt8](repeating: 0, count: piece)
            let count = try buffer.withUnsafeMutableBytes { try snapshot.read(at: Int64(offset), into: $0) }
            #expect(Array(buffer[..<count]) == Array(bytes[offset...].prefix(piece)))
            offset += count
            if offset == bytes.count || turn % 50 == 49 { offset = Int.random(in: 0..<bytes.count, using: &random) }
        }
    }

    /// What is decoded for the whole takes no more room than it needs: at the end nothing is left.
    @Test func nothingStaysDecodedBehindTheReader() throws {
        let files = PowerCutFiles()
        _ = try series(files, pages: 900, seed: 3)
        let repository = try Repository.test(files)
        _ = try repository.open("s5").write(to: MemoryTarget())
        #expect(repository.core.cache.bytes == 0)
        let snapshot = try repository.open("s5")
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        var offset: Int64 = 0
        while case let count = try buffer.withUnsafeMutableBytes({ try snapshot.read(at: offset, into: $0) }), count > 0
        {
            offset += Int64(count)
        }
        #expect(repository.core.cache.bytes < 1 << 20)
    }

    @Test func damageIsNoSnapshot() throws {
        let files = PowerCutFiles()
        _ = try series(files, pages: 600, seed: 5)
        let packs = files.paths().filter { $0.hasSuffix(".pack") }
        files.flip(packs[0], byte: files.length(packs[0]) / 2, bit: 3)
        let results = try (0..<6).map { number in
            let snapshot = try Repository.test(files).open("s\(number)")
            return code { _ = try snapshot.write(to: MemoryTarget()) }
        }
        #expect(results.contains(.snapshotDamaged))
        #expect(results.allSatisfy { $0 == nil || $0 == .snapshotDamaged })
    }

    /// A disk that is full ends it, and when that is said, nothing writes any more.
    @Test func aFullTargetEndsIt() throws {
        let files = PowerCutFiles()
        _ = try series(files, pages: 700, seed: 5)
        for limit in [0, 1, 7, 60] {
            let target = MemoryTarget(limit: limit)
            let snapshot = try Repository.test(files).open("s5")
            #expect(code { _ = try snapshot.write(to: target) } == .noSpace)
            let calls = target.calls
            _ = try Repository.test(files).open("s5").write(to: MemoryTarget())
            #expect(target.calls == calls)
        }
    }
}

private final class MemoryTarget: SnapshotTarget {
    private struct State {
        var bytes: [UInt8] = []
        var written: Set<Int> = []
        var writtenTwice = 0
        var calls = 0
    }
    private let state = Monitor(State())
    private let limit: Int

    init(limit: Int = .max) { self.limit = limit }

    var bytes: [UInt8] { state.withLock { $0.bytes } }
    var writtenTwice: Int { state.withLock { $0.writtenTwice } }
    var calls: Int { state.withLock { $0.calls } }

    func prepare(_ length: Int64) throws(FleetError) {
        state.withLock { $0.bytes = [UInt8](repeating: 0, count: Int(length)) }
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(FleetError) {
        let isFull = state.withLock { state in
            state.calls += 1
            if state.calls > limit { return true }
            for page in stride(from: Int(offset), to: Int(offset) + bytes.count, by: 4096) {
                if !state.written.insert(page).inserted { state.writtenTwice += 1 }
            }
            state.bytes.withUnsafeMutableBytes { all in
                UnsafeMutableRawBufferPointer(rebasing: all[Int(offset)...]).copyMemory(from: bytes)
            }
            return false
        }
        if isFull { throw FleetError(.noSpace, "disk full") }
    }

    func read(at offset: Int64, into buffer: UnsafeMutableRawBufferPointer) throws(FleetError) {
        state.withLock { state in
            state.bytes.withUnsafeBytes { all in
                buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: all[Int(offset)...].prefix(buffer.count)))
            }
        }
    }
}
