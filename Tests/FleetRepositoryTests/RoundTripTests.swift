import FleetSystem
import RepositoryTestFiles
import Testing

@testable import FleetRepository

@Suite("Repository: what goes in comes out")
struct RoundTripTests {
    @Test(arguments: 1...12)
    func randomSeries(_ seed: Int) throws {
        let files = PowerCutFiles()
        var repository = try Repository.test(files)
        var series = PageSeries(pages: 3 + seed * 11, tail: [0, 32, 4095][seed % 3], seed: UInt64(seed))
        var stored: [String: [UInt8]] = [:]
        for i in 0..<24 {
            let id = "s\(i)"
            try repository.store(
                series.bytes, as: id, lineage: i % 7 == 3 ? "b" : "a", member: "m\(i % 2)", piece: 1 + seed * 977)
            stored[id] = series.bytes
            series.change(seed * 2)
            // Some go, whatever is built on them, and the others stay as they are.
            if i % 3 == 2 {
                let gone = "s\(i - 1 - (seed + i) % 2)"
                try repository.delete(gone)
                stored[gone] = nil
            }
            if i % 5 == 4 {
                _ = try repository.collect(dryRun: false)
                repository = try Repository.test(files)
            }
        }
        for (id, bytes) in stored { #expect(try repository.bytes(id) == bytes, "\(id)") }
        #expect(try repository.list().heads.map(\.id) == stored.keys.sorted())
        let report = try repository.check(readData: true)
        #expect(report.isSound, "\(report.findings)")
        for head in try repository.list().heads { #expect(head.chain <= SnapshotHead.maximumChain) }
    }

    @Test(arguments: [0, 1, 31, 4095, 4096, 4097, 8192, 70_000])
    func anyLength(_ length: Int) throws {
        let repository = try Repository.test(PowerCutFiles())
        let bytes = Array(PageSeries(pages: 20).bytes.prefix(length))
        try repository.store(bytes, as: "s")
        #expect(try repository.bytes("s") == bytes)
        try repository.store(bytes, as: "t")
        #expect(try repository.bytes("t") == bytes)
    }

    @Test func anyPlaceCanBeRead() throws {
        let repository = try Repository.test(PowerCutFiles())
        var series = PageSeries(pages: 200)
        try repository.store(series.bytes, as: "s0")
        series.change(50)
        try repository.store(series.bytes, as: "s1")
        let snapshot = try repository.open("s1")
        var random = Seeded(5)
        for _ in 0..<300 {
            let offset = Int.random(in: 0...series.bytes.count, using: &random)
            var buffer = [UInt8](repeating: 0, count: Int.random(in: 1...20_000, using: &random))
            let count = try buffer.withUnsafeMutableBytes { try snapshot.read(at: Int64(offset), into: $0) }
            #expect(Array(buffer[..<count]) == Array(series.bytes[offset...].prefix(buffer.count)))
        }
    }

    @Test func whatIsThereAlreadyCostsNothing() throws {
        let files = PowerCutFiles()
        let repository = try Repository.test(files)
        var series = PageSeries(pages: 300)
        try repository.store(series.bytes, as: "s0")
        let packs = files.paths().filter { $0.hasSuffix(".pack") }
        try repository.store(series.bytes, as: "s1")
        #expect(files.paths().filter { $0.hasSuffix(".pack") } == packs)
        #expect(files.length("/r/snapshots/s1") < 500)
        // One page of it.
        series.bytes[4096 * 77] ^= 1
        try repository.store(series.bytes, as: "s2")
        let new = try #require(files.paths().first { $0.hasSuffix(".pack") && !packs.contains($0) })
        #expect(files.length(new) < 700)
        // Another lineage shares nothing, so that its deletion and its size tell nothing of this one.
        try repository.store(series.bytes, as: "s3", lineage: "other")
        #expect(try repository.head("s3").packs.allSatisfy { !packs.contains("/r/packs/\($0.id.fileName)") })
    }

    @Test func twoWritersAtOnce() async throws {
        let files = PowerCutFiles()
        let repository = try Repository.test(files)
        var series = PageSeries(pages: 100)
        try repository.store(series.bytes, as: "s0")
        var all: [(String, [UInt8])] = []
        for i in 1...6 {
            series.change(10)
            all.append(("s\(i)", series.bytes))
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (id, bytes) in all {
                group.addTask { try await Blocking.run { try repository.store(bytes, as: id) } }
            }
            group.addTask {
                try await Blocking.run {
                    for _ in 0..<20 { _ = try repository.collect(dryRun: false) }
                }
            }
            try await group.waitForAll()
        }
        for (id, bytes) in all { #expect(try repository.bytes(id) == bytes) }
        #expect(try repository.check(readData: true).isSound)
    }

    /// The predecessor goes, and is collected, while what builds on it is still arriving.
    @Test func thePredecessorIsDeletedMeanwhile() throws {
        let files = PowerCutFiles()
        let repository = try Repository.test(files)
        var series = PageSeries(pages: 100)
        try repository.store(series.bytes, as: "s0")
        let before = series.bytes
        series.change(5)
        let upload = try repository.begin("up", lineage: "a")
        try upload.append(series.bytes.prefix(100_000))
        _ = try upload.allBytes()
        try repository.delete("s0")
        _ = try repository.collect(dryRun: false)
        try upload.append(series.bytes[100_000...])
        try repository.commit(upload, as: "s1", payload: [])
        _ = try repository.collect(dryRun: false)
        #expect(try Repository.test(files).bytes("s1") == series.bytes)
        #expect(before != series.bytes)

        // And while it is not arriving: what came of it is of no use any more, so it starts anew.
        series.change(5)
        let second = try repository.begin("up", lineage: "a")
        try second.append(series.bytes.prefix(100_000))
        second.close()
        try repository.delete("s1")
        let restarted = try Repository.test(files)
        _ = try restarted.collect(dryRun: false)
        let third = try restarted.begin("up", lineage: "a")
        #expect(third.length == 0)
        try third.append(series.bytes)
        try restarted.commit(third, as: "s2", payload: [])
        #expect(try restarted.bytes("s2") == series.bytes)
        _ = try restarted.collect(dryRun: false)
        #expect(files.paths().filter { $0.hasSuffix(".pack") }.count == 1)
    }
}
