import EtcdSampleFiles
import FleetSystem
import Testing

@testable import EtcdSnapshot

/// Damage made on purpose, and the finding that names it.
@Suite struct FindingTests {
    private static let pageSize = 1024

    /// Offsets of the pages with these flags.
    private func pages(_ bytes: [UInt8], _ flags: UInt8) -> [Int] {
        stride(from: 2048, to: bytes.count, by: Self.pageSize).filter { at in
            Int(bytes[at]) == at / Self.pageSize && bytes[at + 1] == 0 && bytes[at + 8] == flags && bytes[at + 9] == 0
        }
    }

    private func kinds(_ bytes: [UInt8]) throws -> Set<Finding.Kind> { Set(try report(bytes).findings.map(\.kind)) }

    @Test func referencesThatGoInCircles() throws {
        let sound = SampleEtcd.rich().build()
        let branch = try #require(pages(sound, 1).first)
        var twice = sound
        twice.replaceSubrange((branch + 24)..<(branch + 32), with: sound[(branch + 40)..<(branch + 48)])
        #expect(try kinds(twice).contains(.reference))
        var circle = sound
        circle.replaceSubrange((branch + 24)..<(branch + 32), with: little(UInt64(branch / Self.pageSize)))
        #expect(try kinds(circle).contains(.reference))
        for outside in [0, 1, UInt64(sound.count / Self.pageSize), .max] {
            var away = sound
            away.replaceSubrange((branch + 24)..<(branch + 32), with: little(outside))
            #expect(try kinds(away).contains(.reference))
        }
    }

    @Test func aTreeDeeperThanAnyIsLeft() throws {
        var bytes = SampleEtcd.rich().build()
        let first = bytes.count / Self.pageSize
        // Branches with one child each, one below the other, put where the bucket's root was.
        let key = big(UInt64(2)) + [0x5f] + big(UInt64(0))
        for i in 0..<200 {
            var page = little(UInt64(first + i)) + little(UInt16(1)) + little(UInt16(1)) + little(UInt32(0))
            page += little(UInt32(16)) + little(UInt32(17)) + little(UInt64(first + i + 1)) + key
            bytes += page + [UInt8](repeating: 0, count: Self.pageSize - page.count)
        }
        let name = Array("key".utf8)
        let at = try #require(
            bytes.indices.dropFirst(2048).first {
                Array(bytes[$0...].prefix(3)) == name && bytes[$0 + 5] == 0 && bytes[$0 + 11] == 0 && bytes[$0 + 3] > 2
            })
        bytes.replaceSubrange((at + 3)..<(at + 11), with: little(UInt64(first)))
        for meta in 0..<2 {
            bytes.replaceSubrange((meta * 1024 + 56)..<(meta * 1024 + 64), with: little(UInt64(first + 200)))
            BoltWriter.seal(&bytes, at: meta * 1024)
        }
        let found = try report(bytes)
        #expect(found.findings.contains { $0.kind == .reference && $0.reason.contains("deep") })
    }

    /// Elements that all name the same bytes would be hashed again and again.
    @Test func elementsMayNotLieOverEachOther() throws {
        var bytes = SampleEtcd.rich().build()
        let leaf = try #require(pages(bytes, 2).first)
        bytes.replaceSubrange((leaf + 36)..<(leaf + 40), with: little(UInt32(bytes[leaf + 20]) - 16))
        #expect(try kinds(bytes).contains(.bounds))
        bytes.replaceSubrange((leaf + 10)..<(leaf + 12), with: [0xFF, 0xFF])
        #expect(try kinds(bytes).contains(.bounds))
    }

    @Test func theListOfFreePages() throws {
        let sound = SampleEtcd.rich(keepsFreelist: true).build()
        let list = try #require(pages(sound, 0x10).first)
        for (what, ids) in [("twice", [2, 2]), ("unordered", [3, 2]), ("in use", [2, 5]), ("outside", [2, 900])] {
            var bytes = sound
            bytes.replaceSubrange((list + 16)..<(list + 32), with: ids.flatMap { little(UInt64($0)) })
            #expect(try kinds(bytes).contains(.freelist), "\(what)")
        }
        var short = sound
        short[list + 10] = 1
        #expect(try kinds(short) == [.freelist])
        short[list + 10] = 0xFF
        short[list + 11] = 0xFF
        #expect(try kinds(short).contains(.freelist))
    }

    private func withKeys(_ entries: [BoltWriter.Entry], _ meta: [BoltWriter.Entry] = []) throws -> [Finding] {
        var writer = BoltWriter()
        writer.add("key", entries)
        writer.add("meta", meta)
        return try report(writer.build()).findings
    }

    @Test func revisionsAndTheirValues() throws {
        func key(_ main: UInt64, _ sub: UInt64 = 0, _ mark: [UInt8] = []) -> [UInt8] {
            big(main) + [0x5f] + big(sub) + mark
        }
        func value(_ create: UInt64, _ mod: UInt64, _ version: UInt64) -> [UInt8] {
            text(1, [97]) + number(2, create) + number(3, mod) + number(4, version)
        }
        #expect(
            try withKeys([(key(5), value(5, 5, 1)), (key(6, 1), value(5, 6, 2)), (key(7, 0, [0x74]), text(1, [97]))])
                == [])
        // The mark of 'snapshot restore --bump-revision'.
        #expect(try withKeys([(key(1_000_000_000), [])]) == [])
        let wrong: [(String, BoltWriter.Entry, Finding.Kind)] = [
            ("short key", ([1, 2, 3], value(5, 5, 1)), .encoding),
            ("other mark", (key(5, 0, [0x75]), value(5, 5, 1)), .encoding),
            ("no underscore", (big(UInt64(5)) + [0x5e] + big(UInt64(0)), value(5, 5, 1)), .encoding),
            ("negative", (key(1 << 63), value(5, 5, 1)), .encoding),
            ("other revision", (key(5), value(4, 4, 1)), .encoding),
            ("created later", (key(5), value(6, 5, 2)), .encoding), ("no version", (key(5), value(5, 5, 0)), .encoding),
            ("first version of an old key", (key(5), value(4, 5, 1)), .encoding),
            ("not a message", (key(5), [0xFF, 0xFF]), .encoding),
            ("unknown field", (key(5), value(5, 5, 1) + number(9, 1)), .encoding),
            ("fields not in order", (key(5), number(2, 5) + text(1, [97])), .encoding),
            ("deletion with a value", (key(5, 0, [0x74]), value(5, 5, 1)), .encoding),
            ("deletion of nothing", (key(5, 0, [0x74]), []), .encoding), ("revision 0", (key(0), []), .revision),
        ]
        for (what, entry, kind) in wrong {
            #expect(try withKeys([entry]).map(\.kind) == [kind], "\(what)")
        }
        let both = try withKeys([(key(5), value(5, 5, 1)), (key(5, 0, [0x74]), text(1, [97]))])
        #expect(both.map(\.kind) == [.revision])
        let finished: BoltWriter.Entry = (Array("finishedCompactRev".utf8), key(9))
        #expect(try withKeys([], [finished, (Array("scheduledCompactRev".utf8), key(8))]).map(\.kind) == [.revision])
    }

    @Test func whatIsInTheOtherBuckets() throws {
        let wrong: [(String, BoltWriter.Entry)] = [
            ("meta", (Array("term".utf8), [1])), ("meta", (Array("storageVersion".utf8), [0xFF])),
            ("meta", (Array("confState".utf8), Array("{".utf8))), ("lease", (big(UInt64(7)), number(1, 8))),
            ("lease", ([1], number(1, 1))), ("alarm", ([0xFF], [])), ("cluster", (Array("clusterVersion".utf8), [1])),
            ("members", (Array("1f".utf8), Array(#"{"id":32}"#.utf8))),
            ("members", (Array("1f".utf8), Array("[".utf8))),
            ("members_removed", (Array("1F".utf8), Array("removed".utf8))), ("auth", (Array("authEnabled".utf8), [2])),
            ("authUsers", (Array("a".utf8), text(1, [98]))), ("authRoles", (Array("a".utf8), [0x80])),
        ]
        for (bucket, entry) in wrong {
            var writer = BoltWriter()
            for name in ["key", "meta"] where name != bucket { writer.add(name, []) }
            if bucket != "meta" { writer.add(bucket, [entry]) } else { writer.add("meta", [entry]) }
            let found = try report(writer.build()).findings
            #expect(found.map(\.kind) == [.encoding] && found.map(\.bucket) == [bucket], "\(bucket) \(entry)")
        }
        var none = BoltWriter()
        none.add("other", [])
        #expect(try report(none.build()).findings.map(\.kind) == [.bucket, .bucket])
    }

    /// JSON as deep as it is long, on a thread with a stack of 1 MB, where the coordinator reads snapshots.
    @Test func jsonOfAnyDepth() async throws {
        for opening in [#"{"peerURLs":"#, "[", #"{"a":"#] {
            let text = String(repeating: opening, count: 60_000 / opening.utf8.count)
            var writer = BoltWriter()
            writer.add("key", [])
            writer.add("meta", [(Array("confState".utf8), Array(("{\"a\":" + text).utf8))])
            writer.add("members", [(Array("1f".utf8), Array(text.utf8))])
            let bytes = writer.build()
            let found = try await Blocking.run { try report(bytes).findings }
            #expect(found.map(\.kind) == [.encoding, .encoding])
        }
    }

    @Test func onlyTheFirstAreListed() throws {
        var writer = BoltWriter()
        writer.add("key", (0..<1000).map { (big(UInt64($0) + 2), [1]) })
        writer.add("meta", [])
        let found = try report(writer.build())
        #expect(found.findings.count == Findings.limit && found.totalFindings == 1000)
    }

    /// A source that hands out copies in memory of its own, as one over a repository does, and no long ones.
    @Test func aSourceThatAssemblesItsPages() throws {
        struct Assembled: PageSource {
            var bytes: [UInt8]
            var readLimit: Int
            var length: Int { bytes.count }
            func read(
                at offset: Int, count: Int, _ body: (UnsafeRawBufferPointer) throws(FleetError) -> Void
            ) throws(FleetError) {
                precondition(count <= readLimit && offset >= 0 && offset + count <= length)
                let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 1)
                defer {
                    for i in copy.indices { copy[i] = 0xEE }
                    copy.deallocate()
                }
                copy.copyBytes(from: bytes[offset..<(offset + count)])
                try body(UnsafeRawBufferPointer(copy))
            }
        }
        let bytes = withTrailer(SampleEtcd.rich().build(compacted: 12))
        let whole = try SnapshotReader(Assembled(bytes: bytes, readLimit: 4096))
        #expect(try whole.report() == report(bytes))
        #expect(try whole.liveKeys() == SnapshotReader(MemoryPages(bytes)).liveKeys())
        let short = try SnapshotReader(Assembled(bytes: bytes, readLimit: 1024)).report()
        #expect(short.findings.map(\.kind) == [.limit] && short.sha256?.ok == true)
    }
}
