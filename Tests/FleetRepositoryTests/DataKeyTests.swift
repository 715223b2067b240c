import FleetSystem
import RepositoryTestFiles
import Testing

@testable import FleetRepository

@Suite("Repository: another data key")
struct DataKeyTests {
    private func opened(_ files: PowerCutFiles, _ key: RepositoryKey = Repository.testKey) throws -> Repository {
        try Repository("/r", files: files, key: key)
    }

    /// The generation that a file says it is sealed with.
    private func generation(_ files: PowerCutFiles, _ path: String) -> UInt8 {
        files.bytes(path)[7] - UInt8(ascii: "0")
    }

    @Test func oldAndNewAreReadAndDeduplicationGoesOn() throws {
        let files = PowerCutFiles()
        var repository = try Repository.test(files)
        var series = PageSeries(pages: 300)
        var stored: [String: [UInt8]] = [:]
        func store(_ id: String) throws {
            try repository.store(series.bytes, as: id)
            stored[id] = series.bytes
        }
        try store("s0")
        let former = files.paths().filter { $0.hasSuffix(".pack") }
        for turn in 2...4 {
            _ = try repository.replaceDataKey(master: Repository.testKey)
            repository = try opened(files)
            // The same again: not a page is new.
            let packs = files.paths().filter { $0.hasSuffix(".pack") }
            try store("same\(turn)")
            #expect(files.paths().filter { $0.hasSuffix(".pack") } == packs)
            series.change(20)
            try store("s\(turn)")
            let new = try #require(files.paths().first { $0.hasSuffix(".pack") && !packs.contains($0) })
            #expect(files.length(new) < files.length(former[0]) / 3)
            for path in [new, "/r/snapshots/s\(turn)", "/r/snapshots/same\(turn)"] {
                #expect(generation(files, path) == turn, "\(path)")
            }
        }
        #expect(former.allSatisfy { generation(files, $0) == 1 })
        for (id, bytes) in stored { #expect(try opened(files).bytes(id) == bytes, "\(id)") }
        #expect(try opened(files).check(readData: true).isSound)
        // What is written anew because something below it went is sealed with the newest key, too.
        try repository.delete("s0")
        #expect(generation(files, "/r/snapshots/same2") == 4)
        _ = try repository.collect(dryRun: false)
        for (id, bytes) in stored where id != "s0" { #expect(try opened(files).bytes(id) == bytes, "\(id)") }
    }

    @Test func onlyTheNewKeysOpenIt() throws {
        let files = PowerCutFiles()
        let recovery = try Repository.create("/r", files: files, master: Repository.testKey)
        let repository = try opened(files)
        try repository.store(PageSeries(pages: 20).bytes, as: "s0")
        let config = try RepositoryConfig.decode(files.bytes("/r/config"))
        #expect(config.format == 1)
        let master = RepositoryKey.random(.master)
        let paper = try repository.replaceDataKey(master: master)
        for key in [master, paper] { #expect(try opened(files, key).bytes("s0") == PageSeries(pages: 20).bytes) }
        for key in [Repository.testKey, recovery] { #expect(code { _ = try opened(files, key) } == .wrongKey) }
        #expect(try RepositoryConfig.decode(files.bytes("/r/config")).format == 2)
        // Whoever kept the former config and key has the former data key alone: nothing of what is new.
        let again = try opened(files, master)
        try again.store(PageSeries(pages: 20, seed: 2).bytes, as: "s1", lineage: "b")
        try files.writeDurably("/r/config", try config.encoded())
        let thief = try opened(files)
        #expect(try thief.bytes("s0").count > 0)
        #expect(code { _ = try thief.head("s1") } == .snapshotDamaged)
    }

    /// A file that says it is of another generation is not read as one.
    @Test func anotherGenerationIsDamage() throws {
        let files = PowerCutFiles()
        let repository = try Repository.test(files)
        try repository.store(PageSeries(pages: 20).bytes, as: "s0")
        _ = try repository.replaceDataKey(master: Repository.testKey)
        let path = "/r/snapshots/s0"
        for bit in 0..<8 {
            files.flip(path, byte: 7, bit: bit)
            #expect(code { _ = try opened(files).bytes("s0") } == .snapshotDamaged)
            files.flip(path, byte: 7, bit: bit)
        }
        #expect(try opened(files).bytes("s0").count > 0)
    }

    /// The power goes at every step of the rotation: the master key opens the repository, and one recovery key does.
    @Test(arguments: [false, true])
    func aPowerCutAtAnyStep(_ keepsUnsynced: Bool) throws {
        let bytes = PageSeries(pages: 20).bytes
        var (step, wasCut, outcomes) = (0, true, Set<Int>())
        while wasCut {
            step += 1
            let files = PowerCutFiles()
            let former = try Repository.create("/r", files: files, master: Repository.testKey)
            try opened(files).store(bytes, as: "s0")
            let upload = try opened(files).begin("up", lineage: "a")
            try upload.append(bytes.prefix(9000))
            upload.close()
            let repository = try opened(files)
            files.fail(atStep: step, .cut, keepsUnsynced: keepsUnsynced)
            wasCut = code { _ = try repository.replaceDataKey(master: Repository.testKey) } != nil
            files.restart()

            let again = try opened(files)
            let generation = again.core.keys.generation
            outcomes.insert(generation)
            #expect(wasCut || generation == 2)
            #expect((code { _ = try opened(files, former) } == nil) == (generation == 1), "step \(step)")
            #expect(try again.bytes("s0") == bytes)
            #expect(try again.check(readData: true).isSound)
            #expect(try again.begin("up", lineage: "a").length == (generation == 1 ? 9000 : 0))
            #expect(step < 20)
        }
        #expect(step > 2 && outcomes.contains(2))
    }

    /// An upload that was under way is begun anew: nothing that arrives now is sealed with the former key.
    @Test func anUploadBeginsAnewBehindIt() throws {
        let files = PowerCutFiles()
        let bytes = PageSeries(pages: 400).bytes
        let repository = try Repository.test(files)
        let upload = try repository.begin("up", lineage: "a")
        try upload.append(bytes.prefix(900_000))
        upload.close()
        _ = try repository.replaceDataKey(master: Repository.testKey)
        let again = try opened(files)
        let begun = try again.begin("up", lineage: "a")
        #expect(begun.length == 0)
        try begun.append(bytes)
        try again.commit(begun, as: "s0", payload: [])
        #expect(try opened(files).bytes("s0") == bytes)
        let stored = files.paths().filter { $0 != "/r/config" }
        #expect(stored.count == 2)
        for path in stored { #expect(generation(files, path) == 2, "\(path)") }
        #expect(try opened(files).check(readData: true).isSound)
    }

    @Test func thereIsALast() throws {
        let files = PowerCutFiles()
        _ = try Repository.test(files)
        for _ in 1..<DataKeys.maximum { _ = try opened(files).replaceDataKey(master: Repository.testKey) }
        let before = files.bytes("/r/config")
        #expect(before.count < Repository.configLimit)
        #expect(code { _ = try opened(files).replaceDataKey(master: Repository.testKey) } == .alreadyExists)
        #expect(files.bytes("/r/config") == before)
        let repository = try opened(files)
        try repository.store(PageSeries(pages: 3).bytes, as: "s0")
        #expect(generation(files, "/r/snapshots/s0") == 64)
        #expect(try opened(files).bytes("s0") == PageSeries(pages: 3).bytes)
    }
}
