import EtcdSampleFiles
import FleetSystem
import Testing

@testable import EtcdSnapshot

/// A file that was made to keep its reader busy is read in proportion to its length, like any other.
@Suite struct WalkCostTests {
    private static let pageSize = 4096

    private final class CountingPages: PageSource {
        let inner: MemoryPages
        let bytes = Monitor(0)
        init(_ bytes: [UInt8]) { inner = MemoryPages(bytes) }
        var length: Int { inner.length }
        var readLimit: Int { 32 << 20 }
        func read(
            at offset: Int, count: Int, _ body: (UnsafeRawBufferPointer) throws(FleetError) -> Void
        ) throws(FleetError) {
            bytes.withLock { $0 += count }
            try inner.read(at: offset, count: count, body)
        }
    }

    private enum Leaf: CaseIterable { case good, ofAnotherNumber, overlapping }

    /// The root of the bucket `key` is a branch of 60,000 children that name one large leaf, or what is in it.
    private func hostile(_ leaf: Leaf) -> [UInt8] {
        let children = 60_000
        let overflow = 255
        let branchSlots = (16 + children * (16 + 4)) / Self.pageSize + 1
        var bytes = SampleEtcd.rich(pageSize: Self.pageSize).build()
        let branch = bytes.count / Self.pageSize
        let first = branch + branchSlots
        var page =
            little(UInt64(branch)) + little(UInt16(1)) + little(UInt16(children)) + little(UInt32(branchSlots - 1))
        for i in 0..<children {
            let child = leaf == .overlapping ? first + overflow - i % (overflow + 1) : first
            page += little(UInt32((children - i) * 16 + i * 4)) + little(UInt32(4)) + little(UInt64(child))
        }
        for i in 0..<children { page += big(UInt32(i)) }
        bytes += page + [UInt8](repeating: 0, count: branchSlots * Self.pageSize - page.count)
        for i in 0...overflow {
            let id = leaf == .ofAnotherNumber ? 7 : first + i
            let slot = little(UInt64(id)) + little(UInt16(2)) + little(UInt16(0)) + little(UInt32(overflow))
            bytes += slot + [UInt8](repeating: 0, count: Self.pageSize - slot.count)
        }
        // The pages that the last ones of the leaf claim to go on through.
        if leaf == .overlapping { bytes += [UInt8](repeating: 0, count: overflow * Self.pageSize) }
        let name = Array("key".utf8)
        let at = bytes.indices.dropFirst(2 * Self.pageSize).first {
            Array(bytes[$0...].prefix(3)) == name && bytes[$0 + 5] == 0 && bytes[$0 + 11] == 0 && bytes[$0 + 3] > 2
        }!
        bytes.replaceSubrange((at + 3)..<(at + 11), with: little(UInt64(branch)))
        for meta in 0..<2 {
            let start = meta * Self.pageSize
            bytes.replaceSubrange(
                (start + 56)..<(start + 64), with: little(UInt64(bytes.count / Self.pageSize)))
            BoltWriter.seal(&bytes, at: start)
        }
        return bytes
    }

    @Test(arguments: Leaf.allCases)
    private func referencesCostNothing(_ leaf: Leaf) throws {
        let source = CountingPages(hostile(leaf))
        let report = try SnapshotReader(source).report()
        #expect(report.findings.contains { $0.kind == .reference || $0.kind == .page })
        let read = source.bytes.withLock { $0 }
        // The tree is walked three times, and the first page of a large node is read before the others.
        #expect(read < 6 * source.length, "\(read) bytes of \(source.length)")
    }
}
