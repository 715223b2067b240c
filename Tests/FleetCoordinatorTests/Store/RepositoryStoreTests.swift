import FleetProtocol
import FleetRepository
import FleetSystem
import Glibc
import RepositoryTestFiles
import Testing

@testable import FleetCoordinator

@Suite("Repository as the store")
struct RepositoryStoreTests {
    @Test func contractOnTheRealFileSystem() async throws {
        let directory = try TemporaryDirectory()
        try await StoreContract { try RepositoryStore.test(directory.path + "/store") }.check()
    }

    @Test func contractOnTheInjectedFileSystem() async throws {
        let files = PowerCutFiles()
        try await StoreContract { try RepositoryStore.test("/s", files: files) }.check()
    }

    @Test func filesArePrivateAndSayNothing() throws {
        let directory = try TemporaryDirectory()
        let root = directory.path + "/store"
        let store = try RepositoryStore.test(root)
        let secret = Array("kube-system/secret: hunter2".utf8)
        var sample = SampleSnapshot("s1", pages: 40)
        sample.bytes.replaceSubrange(5000..<(5000 + secret.count), with: secret)
        sample.bytes.replaceSubrange(20490..<(20490 + 10), with: secret.prefix(10))
        let incoming = try store.begin("up")
        try incoming.append(sample.bytes)
        incoming.close()
        func examine() throws {
            try FileSystem.walk(root) { path, status throws(FleetError) in
                #expect(status.mode == (status.kind == .directory ? 0o700 : 0o600), "\(path)")
                guard status.kind == .file else { return }
                let bytes = try FileSystem.read(path)
                let found = bytes.indices.contains { i in bytes[i...].starts(with: secret.prefix(10)) }
                #expect(!found, "\(path) has a secret in the clear")
            }
        }
        try examine()
        try store.store(sample)
        try examine()
        #expect(try store.bytes("s1") == sample.bytes)
    }

    /// Uploads in three appends with a former snapshot in place; the power goes at every step there is.
    @Test(arguments: [false, true])
    func aPowerCutAtAnyStep(_ keepsUnsynced: Bool) async throws {
        let former = SampleSnapshot("s0", pages: 40, seed: 9)
        let sample = SampleSnapshot("s1", pages: 50)
        func run(_ store: RepositoryStore) throws {
            let incoming = try store.begin("up")
            for piece in [0..<9000, 9000..<9100, 9100..<sample.bytes.count] {
                try incoming.append(sample.bytes[piece])
                // A reader of what is there makes it durable, so there are checkpoints to cut between.
                _ = try incoming.allBytes()
            }
            try incoming.commit(sample.record)
        }
        var step = 0
        var wasCut = true
        while wasCut {
            step += 1
            let files = PowerCutFiles()
            let store = try RepositoryStore.test("/s", files: files)
            try store.store(former)
            files.fail(atStep: step, .cut, keepsUnsynced: keepsUnsynced)
            wasCut = await code { try run(store) } != nil
            files.restart()

            let again = try RepositoryStore.test("/s", files: files)
            _ = try again.recover()
            let listing = try again.list()
            #expect(listing.problems.isEmpty, "step \(step)")
            #expect(listing.records == [former.record] || listing.records == [former.record, sample.record])
            for record in listing.records { #expect(try again.verify(record.id).isSound, "step \(step)") }
            #expect(try again.bytes("s0") == former.bytes)
            #expect(try again.repository.check(readData: true).isSound, "step \(step)")
            _ = try again.repository.collect(dryRun: false)
            // The agent comes back and finishes what is not finished.
            if listing.records.count == 1 {
                let resumed = try again.begin("up")
                let there = try resumed.allBytes()
                #expect(there == Array(sample.bytes.prefix(there.count)), "step \(step)")
                try resumed.append(sample.bytes[there.count...])
                try resumed.commit(sample.record)
            }
            #expect(try again.bytes("s1") == sample.bytes)
            _ = try again.repository.collect(dryRun: false)
            #expect(try again.repository.check(readData: true).isSound, "step \(step)")
            #expect(try again.bytes("s0") == former.bytes)
            #expect(files.paths().count == 5, "step \(step): \(files.paths())")
            #expect(!wasCut || step < 100)
        }
        #expect(step > 15)
    }

    @Test func aFullDiskAtAnyStep() async throws {
        let sample = SampleSnapshot("s1", pages: 50)
        var step = 0
        var wasFull = true
        while wasFull {
            step += 1
            let files = PowerCutFiles()
            let store = try RepositoryStore.test("/s", files: files)
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

    @Test func oneOddEntryHidesNoOther() async throws {
        let directory = try TemporaryDirectory()
        let store = try RepositoryStore.test(directory.path)
        func path(_ id: String) -> String { "\(directory.path)/snapshots/\(id)" }
        for (seed, id) in ["s1", "s2", "s3", "s4"].enumerated() {
            let sample = SampleSnapshot(id, pages: 20, seed: UInt8(seed))
            let incoming = try store.begin("up", cluster: id, node: "n1")
            try incoming.append(sample.bytes)
            try incoming.commit(sample.record)
        }
        try FileSystem.writeDurably(path("s1"), Array("{".utf8))
        let pack = try store.repository.list().heads.first { $0.id == "s2" }.map(store.repository.packPaths)
        try FileSystem.remove(try #require(pack?.first))
        try FileSystem.writeDurably(path("s5"), try FileSystem.read(path("s4")))
        let listing = try store.list()
        #expect(listing.records.map(\.id) == ["s3", "s4"])
        #expect(listing.problems.map(\.id) == ["s1", "s2", "s5"])
        #expect(listing.problems.map(\.error.code) == [.snapshotDamaged, .notFound, .snapshotDamaged])
        #expect(await code { _ = try store.open("s2") } == .notFound)
        #expect(try store.verify("s2").findings.map(\.code) == [.notFound])
        #expect(try store.verify("s1").findings.first?.code == .snapshotDamaged)
    }

    /// A real file system of 256 kB that is really full.
    @Test func aDiskThatIsReallyFull() async throws {
        let directory = try TemporaryDirectory()
        guard mount("tmpfs", directory.path, "tmpfs", 0, "size=256k,mode=0700") == 0 else {
            try Test.cancel("mounting a tmpfs is refused here (\(String(cString: strerror(errno))))")
        }
        defer { umount2(directory.path, Int32(MNT_DETACH)) }
        let store = try RepositoryStore.test(directory.path)
        try store.store(SampleSnapshot("s1", pages: 100))
        var generator = SystemRandomNumberGenerator()
        let large = (0..<50_000).flatMap { _ in withUnsafeBytes(of: generator.next()) { Array($0) } }
        let incoming = try store.begin("up")
        #expect(
            await code {
                for i in stride(from: 0, to: large.count, by: 40_000) {
                    try incoming.append(large[i..<min(i + 40_000, large.count)])
                    _ = try incoming.allBytes()
                }
            } == .noSpace)
        // What was written before the disk was full is whole, and the stored snapshot is untouched.
        #expect(try incoming.allBytes() == Array(large.prefix(Int(incoming.length))))
        #expect(incoming.length > 40_000)
        #expect(try store.list().records.map(\.id) == ["s1"])
        #expect(try store.verify("s1").isSound)
        incoming.close()
        #expect(try store.begin("up").allBytes().count >= 40_000)
        try store.discard("up")
        try store.store(SampleSnapshot("s3", pages: 100, seed: 3))
        #expect(try store.verify("s3").isSound)
    }

    /// Two connections of one agent begin the same upload at the same moment: one of them has it, and nothing of the other
    /// is in it.
    @Test(arguments: ["begin", "discard"])
    func whoBeginsAtOnceIsNotInTheWay(_ other: String) async throws {
        let files = HookedFiles(PowerCutFiles())
        let store = try RepositoryStore.test("/s", files: files)
        let sample = SampleSnapshot("s1", pages: 400)
        let former = try store.begin("up")
        try former.append(sample.bytes[..<60_000])
        former.close()
        let second = Monitor<(writer: (any IncomingSnapshot)?, isDone: Bool)>((nil, false))
        files.onAppend { path throws(FleetError) in
            guard path == "/s/incoming/up" else { return }
            files.onAppend(nil)
            Thread.start(name: "second") {
                do {
                    if other == "begin" {
                        let writer = try store.begin("up")
                        // Not durable yet: it will be when the writer is closed.
                        try writer.append(sample.bytes[Int(writer.length)..<100_000])
                        second.withLock { $0.writer = writer }
                    } else {
                        try store.discard("up")
                    }
                } catch { Issue.record(error) }
                second.withLock { $0.isDone = true }
                second.broadcast()
            }
            _ = second.waiting(seconds: 1, until: \.isDone) { _, isReady in isReady }
        }
        let first = try store.begin("up")
        #expect(second.waiting(seconds: 20, until: \.isDone) { _, isReady in isReady })
        let writers = [first] + (second.withLock { $0.writer }.map { [$0] } ?? [])
        var living: [any IncomingSnapshot] = []
        for writer in writers where await code({ _ = try writer.allBytes() }) == nil { living.append(writer) }
        if other == "discard" {
            // It came later, and what it threw away is nobody's any more.
            #expect(try living.isEmpty && store.incoming() == [])
        } else {
            #expect(living.count == 1)
            for writer in living {
                #expect(try writer.allBytes() == Array(sample.bytes[..<Int(writer.length)]))
                try writer.append(sample.bytes[Int(writer.length)...])
                try writer.commit(sample.record)
            }
            #expect(try RepositoryStore.test("/s", files: files).bytes("s1") == sample.bytes)
            #expect(try store.repository.check(readData: true).findings == [])
        }
    }

    /// A kill or a power cut leaves nothing of a snapshot in the clear: while it is written it has no name.
    @Test func anExportHasNoNameUntilItIsWhole() throws {
        let directory = try TemporaryDirectory()
        let files = HookedFiles(PowerCutFiles())
        let sample = SampleSnapshot("s1", pages: 400)
        try RepositoryStore.test("/s", files: files).store(sample)
        let seen = Monitor<[[String]]>([])
        let store = try RepositoryStore.test("/s", files: files)
        let snapshots = "/s/packs/"
        files.onOpen { path throws(FleetError) in
            guard path.hasPrefix(snapshots) else { return }
            let names = try FileSystem.list(directory.path)
            seen.withLock { $0.append(names) }
        }
        let path = directory.path + "/a.db"
        _ = try StoreExport.write("s1", of: store, to: path)
        #expect(seen.withLock { !$0.isEmpty && $0.allSatisfy(\.isEmpty) })
        #expect(try FileSystem.read(path) == sample.bytes)
        #expect(try FileSystem.status(path)?.mode == 0o600)
        // What has the name already stays.
        #expect(throws: FleetError.self) { try StoreExport.write("s1", of: store, to: path) }
        #expect(try FileSystem.list(directory.path) == ["a.db"])
    }
}
