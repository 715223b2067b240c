import EtcdSampleFiles
import FleetSystem
import Testing

@testable import EtcdSnapshot

/// Every single bit of a small snapshot is flipped. Either the reader notices (a finding, another status, or "not a
/// snapshot"), or the bit has no meaning, and then it is in this list:
///
/// - With the digest at the end, every bit has a meaning: a flip anywhere in the pages changes the computed SHA-256, a
///   flip in the digest the stored one.
/// - Without it (a raw database), harmless are
///   1. free pages: nothing refers to them, etcd overwrites them before it reads them;
///   2. the rest of a page behind its last element, likewise the rest of the last overflow page: never read;
///   3. the bits of a branch's keys, and of their lengths, that leave the key above everything in the child before and not above the first key of
///      its own child: such a key leads every search to the same child as before. bbolt itself leaves those behind
///      when the first entries of a page are deleted, so equality can't be asked for.
@Suite struct BitFlipTests {
    /// Offsets that mean nothing, and those of the keys of branches, from a parser of its own.
    private static func meaning(of bytes: [UInt8], pageSize: Int) -> (unread: Set<Int>, separators: Set<Int>) {
        func u16(_ at: Int) -> Int { Int(bytes[at]) | Int(bytes[at + 1]) << 8 }
        func u32(_ at: Int) -> Int { u16(at) | u16(at + 2) << 16 }
        var unread = Set<Int>()
        var separators = Set<Int>()
        var id = 2
        while id * pageSize < bytes.count {
            let start = id * pageSize
            // A page in use begins with its own number; the stale bytes of the writer's free pages do not.
            guard u32(start) == id else {
                unread.formUnion(start..<(start + pageSize))
                id += 1
                continue
            }
            let isBranch = u16(start + 8) == 1
            var end = start + 16
            for i in 0..<u16(start + 10) {
                let element = start + 16 + i * 16
                if isBranch {
                    let key = element + u32(element)
                    end = key + u32(element + 4)
                    separators.formUnion(key..<end)
                    separators.formUnion((element + 4)..<(element + 8))
                } else {
                    end = element + u32(element + 4) + u32(element + 8) + u32(element + 12)
                }
            }
            let next = id + 1 + u32(start + 12)
            unread.formUnion(end..<(next * pageSize))
            id = next
        }
        return (unread, separators)
    }

    private static func isSeen(_ bytes: [UInt8], _ sound: SnapshotReport) -> Bool {
        guard let found = try? report(bytes) else { return true }
        return found != sound
    }

    @Test(arguments: 0..<8)
    func withoutADigestOnlyExplainedBitsAreHarmless(bit: Int) throws {
        let pages = SampleEtcd.rich().build(compacted: 20)
        let sound = try report(pages)
        #expect(sound.isSound)
        let (unread, separators) = Self.meaning(of: pages, pageSize: 1024)
        #expect(!unread.isEmpty && !separators.isEmpty)
        var (seen, harmless) = (0, 0)
        for offset in pages.indices {
            var copy = pages
            copy[offset] ^= 1 << UInt8(bit)
            let isSeen = Self.isSeen(copy, sound)
            if isSeen { seen += 1 } else { harmless += 1 }
            if unread.contains(offset) {
                #expect(!isSeen, "a byte without a meaning, \(offset), bit \(bit), changes something")
            } else if !separators.contains(offset) {
                #expect(isSeen, "nobody notices byte \(offset % 1024) of page \(offset / 1024), bit \(bit)")
            }
        }
        #expect(seen > 0 && harmless >= unread.count)
    }

    @Test(arguments: 0..<8)
    func withADigestEveryBitIsSeen(bit: Int) throws {
        var sample = SampleEtcd()
        sample.put("a", [1])
        let bytes = withTrailer(sample.build())
        let sound = try report(bytes)
        #expect(sound.isSound)
        for offset in bytes.indices {
            var copy = bytes
            copy[offset] ^= 1 << UInt8(bit)
            if let found = try? report(copy) {
                #expect(found.sha256?.ok == false && !found.isSound, "byte \(offset), bit \(bit)")
            }
        }
    }

    @Test(.enabled(if: !EtcdPrograms.installed.isEmpty), arguments: EtcdPrograms.installed)
    func bitsOfARealSnapshot(programs: EtcdPrograms) throws {
        let etcd = try RealEtcd(programs)
        try etcd.call(["put", "a", "1"])
        let bytes = try FileSystem.read(try etcd.save())
        let raw = Array(bytes.dropLast(32))
        let sound = try report(raw)
        var choices = Choices(state: 5)
        for _ in 0..<500 {
            let offset = Int.random(in: raw.indices, using: &choices)
            var copy = bytes
            copy[offset] ^= 1 << UInt8.random(in: 0..<8, using: &choices)
            if let found = try? report(copy) { #expect(found.sha256?.ok == false) }
            // Whatever the bit meant, etcd's own tool and this reader agree where this reader finds nothing wrong.
            guard let found = try? report(Array(copy.dropLast(32))), found.isSound, found != sound else { continue }
            let path = "\(etcd.directory)/flipped.db"
            try FileSystem.writeDurably(path, copy)
            #expect(try programs.status(path)?.hash == found.hash, "offset \(offset)")
        }
    }
}
