import FleetProtocol
import FleetSystem
import Glibc
import Testing

@testable import FleetCoordinator

@Suite("File store")
struct FileStoreTests {
    @Test func contractOnTheRealFileSystem() async throws {
        let directory = try TemporaryDirectory()
        try await StoreContract { try FileStore(directory.path + "/store") }.check()
    }

    @Test func contractOnTheInjectedFileSystem() async throws {
        let files = PowerCutFiles()
        try await StoreContract { try FileStore("/s", files: files) }.check()
    }

    @Test func filesArePrivate() throws {
        let directory = try TemporaryDirectory()
        let store = try FileStore(directory.path + "/store")
        let sample = SampleSnapshot("s1")
        try store.store(sample)
        _ = try store.begin("part")
        for name in ["", "/snapshots", "/incoming", "/orphans"] {
            #expect(try FileSystem.status(store.root + name)?.mode == 0o700)
        }
        for name in ["/snapshots/s1.db", "/snapshots/s1.json", "/incoming/part.part"] {
            #expect(try FileSystem.status(store.root + name)?.mode == 0o600)
        }
    }

    /// Uploads in three appends with a former snapshot in place; the power goes at every step there is.
    @Test(arguments: [false, true])
    func aPowerCutAtAnyStep(_ keepsUnsynced: Bool) async throws {
        let former = SampleSnapshot("s0", seed: 9)
        let sample = SampleSnapshot("s1")
        func run(_ store: FileStore) throws {
            let incoming = try store.begin("up")
            for piece in [0..<500, 500..<1000, 1000..<sample.bytes.count] {
                try incoming.append(sample.bytes[piece])
            }
            try incoming.commit(sample.record)
        }
        var step = 0
        var wasCut = true
        while wasCut {
            step += 1
            let files = PowerCutFiles()
            let store = try FileStore("/s", files: files)
            try store.store(former)
            files.fail(atStep: step, .cut, keepsUnsynced: keepsUnsynced)
            wasCut = await code { try run(store) } != nil
            files.restart()

            let again = try FileStore("/s", files: files)
            _ = try again.recover()
            let listing = try again.list()
            #expect(listing.problems.isEmpty, "step \(step)")
            #expect(listing.records == [former.record] || listing.records == [former.record, sample.record])
            for record in listing.records { #expect(try again.verify(record.id).isSound, "step \(step)") }
            #expect(try again.bytes("s0") == former.bytes)
            // The agent comes back and finishes what is not finished.
            if listing.records.count == 1 {
                let resumed = try again.begin("up")
                let there = try resumed.allBytes()
                #expect(there == Array(sample.bytes.prefix(there.count)), "step \(step)")
                try resumed.append(sample.bytes[there.count...])
                try resumed.commit(sample.record)
            }
            #expect(try again.bytes("s1") == sample.bytes)
            #expect(!wasCut || step < 100)
        }
        #expect(step > 8)
    }

    @Test func aFullDiskAtAnyStep() async throws {
        let sample = SampleSnapshot("s1")
        var step = 0
        var wasFull = true
        while wasFull {
            step += 1
            let files = PowerCutFiles()
            let store = try FileStore("/s", files: files)
            files.fail(atStep: step, .full)
            let failure = await code { try store.store(sample) }
            wasFull = failure != nil
            #expect(failure == nil || failure == .noSpace)
            files.restart()
            // There is space again, and the upload goes on where it was.
            if wasFull {
                #expect(try store.list() == StoreListing())
                try store.store(sample)
            }
            #expect(try store.bytes("s1") == sample.bytes)
            #expect(try store.recover().isEmpty)
        }
        #expect(step > 3)
    }

    @Test func everyFlippedBitIsFound() throws {
        let files = PowerCutFiles()
        let store = try FileStore("/s", files: files)
        let sample = SampleSnapshot("s1", pages: 1)
        try store.store(sample)
        for byte in stride(from: 0, to: sample.bytes.count, by: 3) + [sample.bytes.count - 1] {
            files.flip("/s/snapshots/s1.db", byte: byte, bit: byte % 8)
            #expect(try !store.verify("s1").isSound)
            files.flip("/s/snapshots/s1.db", byte: byte, bit: byte % 8)
        }
        #expect(try store.verify("s1").isSound)
    }

    @Test func oneOddEntryHidesNoOther() async throws {
        let directory = try TemporaryDirectory()
        let store = try FileStore(directory.path)
        for id in ["s1", "s2", "s3", "s4"] { try store.store(SampleSnapshot(id)) }
        try FileSystem.writeDurably(store.manifestPath("s1"), Array("{".utf8))
        try FileSystem.remove(store.snapshotPath("s2"))
        try FileSystem.writeDurably(store.snapshotPath("s3"), [1, 2, 3])
        try FileSystem.writeDurably(
            store.manifestPath("s5"), try FileSystem.read(store.manifestPath("s4")))
        let listing = try store.list()
        #expect(listing.records.map(\.id) == ["s4"])
        #expect(listing.problems.map(\.id) == ["s1", "s2", "s3", "s5"])
        #expect(listing.problems.map(\.error.code) == [.malformed, .notFound, .snapshotDamaged, .malformed])
        #expect(await code { _ = try store.open("s2") } == .notFound)
        #expect(try store.verify("s2").findings.map(\.code) == [.notFound])
        #expect(try store.verify("s3").findings.first?.code == .snapshotDamaged)
    }

    @Test func orphansArePutAsideAndNeverOverwritten() throws {
        let directory = try TemporaryDirectory()
        let store = try FileStore(directory.path)
        for content in [[1], [2]] as [[UInt8]] {
            try FileSystem.writeDurably(store.snapshotPath("s1"), content)
            #expect(try store.recover().count == 1)
        }
        #expect(try FileSystem.list(directory.path + "/orphans") == ["s1.db", "s1.db.2"])
        #expect(try FileSystem.read(directory.path + "/orphans/s1.db") == [1])
        #expect(try store.recover().isEmpty)
    }

    /// A real file system of 256 kB that is really full.
    @Test func aDiskThatIsReallyFull() async throws {
        let directory = try TemporaryDirectory()
        guard mount("tmpfs", directory.path, "tmpfs", 0, "size=256k,mode=0700") == 0 else {
            try Test.cancel("mounting a tmpfs is refused here (\(String(cString: strerror(errno))))")
        }
        defer { umount2(directory.path, Int32(MNT_DETACH)) }
        let store = try FileStore(directory.path)
        try store.store(SampleSnapshot("s1", pages: 100))
        let large = SampleSnapshot("s2", pages: 600, seed: 2)
        let incoming = try store.begin("up")
        #expect(
            await code {
                for i in stride(from: 0, to: large.bytes.count, by: 4000) {
                    try incoming.append(large.bytes[i..<min(i + 4000, large.bytes.count)])
                }
            } == .noSpace)
        // What was written before the disk was full is whole, and the stored snapshot is untouched.
        #expect(try incoming.allBytes() == Array(large.bytes.prefix(Int(incoming.length))))
        #expect(incoming.length > 100_000)
        #expect(try store.list().records.map(\.id) == ["s1"])
        #expect(try store.verify("s1").isSound)
        try store.discard("up")
        try store.store(SampleSnapshot("s3", pages: 100, seed: 3))
        #expect(try store.verify("s3").isSound)
    }
}
