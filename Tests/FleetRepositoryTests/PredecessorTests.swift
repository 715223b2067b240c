import FleetSystem
import RepositoryTestFiles
import Testing

@testable import FleetRepository

@Suite("Repository: bounds of what a snapshot needs")
struct PredecessorTests {
    /// Sixty snapshots, each built upon the one before, are read through few packs and few maps, and the packs of
    /// deleted ones go.
    @Test func packsAndMapsAreBounded() throws {
        let files = PowerCutFiles()
        let repository = try Repository.test(files)
        var series = PageSeries(pages: 120)
        for i in 0..<60 {
            try repository.store(series.bytes, as: "s\(i)")
            #expect(try repository.bytes("s\(i)") == series.bytes)
            let head = try repository.head("s\(i)")
            #expect(head.packs.count <= Predecessor.maximumPacks)
            #expect(head.chain <= SnapshotHead.maximumChain)
            if i >= 3 { try repository.delete("s\(i - 3)") }
            if i % 10 == 9 { _ = try repository.collect(dryRun: false) }
            series.change(8)
        }
        #expect(try repository.check(readData: true).isSound)
        #expect(try repository.statistics().packs <= Predecessor.maximumPacks + 3)
    }

    @Test func blocksAreNoDeeperThanTheLimit() throws {
        let files = PowerCutFiles()
        let repository = try Repository.test(files)
        var series = PageSeries(pages: 40)
        for i in 0..<12 {
            try repository.store(series.bytes, as: "s\(i)")
            for page in 0..<40 { series.bytes[page * 4096 + i] ^= 1 }
        }
        for path in files.paths() where path.hasSuffix(".pack") {
            let id = try #require(PackID(fileName: FileSystem.name(of: path)))
            let pack = try PackFile(id, in: repository.core)
            for block in pack.index.blocks {
                #expect(block.depth <= BlockEntry.maximumDepth)
                #expect(block.bases.isEmpty == (block.depth == 0))
            }
        }
        #expect(try repository.check(readData: true).isSound)
    }
}
