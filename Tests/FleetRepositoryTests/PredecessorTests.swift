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

    /// What an agent sent as the snapshot before this one may say of itself what it likes: here, that each of its inner
    /// pages leads to hundreds of others, level below level, in a file of a few.
    @Test func aTreeIsNoLargerThanItsFile() throws {
        let pages = 300
        func little<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
            withUnsafeBytes(of: number.littleEndian) { Array($0) }
        }
        func page(_ id: Int, _ flags: UInt16, _ count: Int, _ rest: [UInt8]) -> [UInt8] {
            let bytes = little(UInt64(id)) + little(flags) + little(UInt16(count)) + little(UInt32(0)) + rest
            return bytes + [UInt8](repeating: 0, count: 4096 - bytes.count)
        }
        func meta(_ id: Int) -> [UInt8] {
            let fields = little(UInt32(0xED0C_DAED)) + little(UInt32(2)) + little(UInt32(4096)) + little(UInt32(0))
            return page(
                id, 4, 0, fields + little(UInt64(2)) + [UInt8](repeating: 0, count: 24) + little(UInt64(8 - id)))
        }
        func branch(_ id: Int, to child: Int, times count: Int) -> [UInt8] {
            let key = [UInt8](repeating: 0, count: 8) + [0x5f] + [UInt8](repeating: 0, count: 8)
            // All elements share one key, which lies behind the last of them.
            let elements = (0..<count).flatMap { number in
                little(UInt32((count - number) * 16)) + little(UInt32(key.count)) + little(UInt64(child))
            }
            return page(id, 1, count, elements + key)
        }
        let root =
            little(UInt32(1)) + little(UInt32(16)) + little(UInt32(3)) + little(UInt32(16)) + Array("key".utf8)
            + little(UInt64(3)) + little(UInt64(0))
        var bytes = meta(0) + meta(1) + page(2, 2, 1, root)
        bytes += branch(3, to: 4, times: 1) + branch(4, to: 5, times: 250) + branch(5, to: 5, times: 1)
        for id in 6..<pages { bytes += page(id, 2, 0, []) }
        let repository = try Repository.test(PowerCutFiles())
        try repository.store(bytes, as: "hostile")
        let reader = PageReader(try ResolvedSnapshot("hostile", repository.core), packs: PackSet(repository.core))
        #expect(reader.map.count == pages)
        let tree = try RevisionTree(reader)
        #expect(tree.slots == 1 && tree.branches.count > 1, "the tree was found")
        #expect(tree.branches.count + tree.leaves.count <= pages)
        // And the next upload builds on it as on any other.
        bytes[5 * 4096 + 100] ^= 1
        try repository.store(bytes, as: "next")
        #expect(try repository.bytes("next") == bytes)
    }
}
