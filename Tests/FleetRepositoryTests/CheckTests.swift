import FleetCrypto
import FleetSystem
import RepositoryTestFiles
import Testing

@testable import FleetRepository

@Suite("Repository: check, keys, collection")
struct CheckTests {
    /// Three snapshots that build on each other and one of another lineage.
    private func small(_ files: PowerCutFiles) throws -> Repository {
        let repository = try Repository.test(files)
        var series = PageSeries(pages: 5, letters: 3)
        for id in ["s0", "s1", "s2"] {
            try repository.store(series.bytes, as: id)
            series.bytes[4096 * 2 + 7] ^= 1
            series.bytes[4096 * 4] &+= 3
        }
        try repository.store(PageSeries(pages: 1, seed: 9, letters: 2).bytes, as: "t0", lineage: "b")
        return repository
    }

    /// Every byte of every file, each time another of its bits.
    @Test func everyFlippedBitIsFoundAndNamesWhatItTouches() throws {
        let files = PowerCutFiles()
        let repository = try small(files)
        #expect(try repository.check(readData: true).isSound)
        var checked = 0
        for path in files.paths() {
            let owners = try repository.list().heads.filter { head in
                path == "/r/config" || path == "/r/snapshots/\(head.id)" || repository.packPaths(head).contains(path)
            }.map(\.id)
            for byte in 0..<files.length(path) {
                files.flip(path, byte: byte, bit: byte % 8)
                let report = try Repository.check(repository, fresh: files)
                #expect(!report.isSound, "\(path) byte \(byte)")
                if path != "/r/config" {
                    #expect(report.findings.map(\.path) == [path], "\(path) byte \(byte)")
                    #expect(
                        Set(owners).isSuperset(of: report.damagedSnapshots.filter { !path.hasSuffix($0) })
                            || path.contains("/snapshots/"))
                    #expect(!report.damagedSnapshots.isEmpty)
                    #expect(!report.damagedSnapshots.contains("t0") || owners.contains("t0"))
                }
                files.flip(path, byte: byte, bit: byte % 8)
                checked += 1
            }
        }
        #expect(checked > 5000)
        #expect(try repository.check(readData: true).isSound)
    }

    /// A block that opens and holds other pages than it should, and has a base that is sound: it is damage of its own,
    /// whatever else is damaged elsewhere.
    @Test func aWrongBlockWithSoundBasesIsNamedBesideOtherDamage() throws {
        let files = PowerCutFiles()
        let repository = try small(files)
        let id = try #require(try repository.head("s1").own)
        let pack = try PackFile(id, in: repository.core)
        let number = try #require(pack.index.blocks.firstIndex { !$0.bases.isEmpty })
        // The fingerprint is what is changed: that the page is not the fingerprint's is all that can be seen.
        var record = ByteWriter()
        for (page, id) in try pack.ids().enumerated() {
            record.fixed(page == pack.starts[number] ? ~id.high : id.high)
            record.fixed(id.low)
        }
        let path = repository.core.path(id)
        var bytes = files.bytes(path)
        let sealed = try SealedFile(.pack, header: bytes.prefix(24), repository.core.keys).seal(record.bytes, "ids 0")
        let start = Int(pack.index.blocks.map(\.end).max()!)
        bytes.replaceSubrange(start..<(start + sealed.count), with: sealed)
        try files.writeDurably(path, bytes)
        #expect(try Repository.check(repository, fresh: files).damagedSnapshots == ["s1", "s2"])

        let other = try #require(repository.packPaths(try repository.head("t0")).first)
        files.flip(other, byte: 100, bit: 1)
        let report = try Repository.check(repository, fresh: files)
        #expect(Set(report.findings.map(\.path)) == [path, other])
        #expect(report.damagedSnapshots == ["s1", "s2", "t0"])
    }

    @Test func everyMissingFileIsFound() throws {
        let files = PowerCutFiles()
        let repository = try small(files)
        for path in files.paths() where path != "/r/config" {
            let bytes = files.bytes(path)
            try files.remove(path)
            let report = try repository.check(readData: false)
            if path == "/r/snapshots/s2" || path == "/r/snapshots/t0" {
                // Nothing builds on it: as far as the repository knows there is no such snapshot.
                #expect(report.isSound && report.snapshots == 3)
            } else {
                #expect(report.findings.map(\.path) == [path])
                #expect(!report.damagedSnapshots.isEmpty)
            }
            try files.writeDurably(path, bytes)
        }
    }

    /// A cut or exchanged pack is told from its length and its salt.
    @Test func packsCanNotBeExchanged() throws {
        let files = PowerCutFiles()
        let repository = try small(files)
        let packs = files.paths().filter { $0.hasSuffix(".pack") }
        let (a, b) = (files.bytes(packs[0]), files.bytes(packs[1]))
        try files.writeDurably(packs[0], b)
        try files.writeDurably(packs[1], a)
        #expect(try Set(repository.check(readData: false).findings.map(\.path)) == Set(packs.prefix(2)))
        try files.writeDurably(packs[0], Array(a.dropLast(30)))
        #expect(try repository.check(readData: false).findings.contains { $0.path == packs[0] })
    }

    @Test func theWrongKeyOpensNothing() throws {
        let files = PowerCutFiles()
        let repository = try small(files)
        #expect(code { _ = try Repository("/r", files: files, key: .random(.master)) } == .wrongKey)
        #expect(code { _ = try Repository("/r", files: files, key: .random(.recovery)) } == .wrongKey)
        #expect(code { _ = try Repository("/nowhere", files: files, key: .random(.master)) } == .notFound)
        #expect(code { _ = try Repository.create("/r", files: files, master: .random(.master)) } == .alreadyExists)
        let new = RepositoryKey.random(.master)
        try repository.addKey(new)
        _ = try Repository("/r", files: files, key: new)
        _ = try Repository("/r", files: files, key: Repository.testKey)
        try repository.replaceKey(.master, with: new)
        #expect(try Repository("/r", files: files, key: new).bytes("s2").count > 0)
        #expect(code { _ = try Repository("/r", files: files, key: Repository.testKey) } == .wrongKey)
        #expect(try repository.check(readData: true).isSound)
    }

    /// What is there would be unreadable for good beside another `config`.
    @Test(arguments: ["snapshots", "packs"])
    func nothingIsMadeWhereOnlyTheConfigIsMissing(_ kept: String) throws {
        let files = PowerCutFiles()
        let repository = try small(files)
        let config = files.bytes("/r/config")
        for path in files.paths() where !path.hasPrefix("/r/\(kept)/") { try files.remove(path) }
        #expect(code { _ = try Repository.create("/r", files: files, master: .random(.master)) } == .notFound)
        #expect(try files.size("/r/config") == nil)
        try files.writeDurably("/r/config", config)
        #expect(try Repository.test(files).ids() == (kept == "snapshots" ? repository.ids() : []))
    }

    @Test func keysSurvivePaper() throws {
        for role in RepositoryKey.Role.allCases {
            let key = RepositoryKey.random(role)
            #expect(try RepositoryKey(text: key.text).secret == key.secret)
            #expect(
                try RepositoryKey(text: "  " + key.text.lowercased().replacing("-", with: " -\n") + "\n").secret
                    == key.secret)
            let characters = Array(key.text)
            for i in characters.indices.suffix(60) where characters[i] != "-" {
                var typo = characters
                typo[i] = typo[i] == "7" ? "8" : "7"
                #expect(code { _ = try RepositoryKey(text: String(typo)) } == .malformed)
            }
            #expect(code { _ = try RepositoryKey(text: String(characters.dropLast())) } == .malformed)
        }
        for text in ["", "fleet", "fleet-master-", "secret"] {
            #expect(code { _ = try RepositoryKey(text: text) } == .malformed)
        }
    }

    @Test func collectionTakesWhatNobodyNeedsAndNothingElse() throws {
        let files = PowerCutFiles()
        let repository = try Repository.test(files)
        var series = PageSeries(pages: 400)
        var stored: [String: [UInt8]] = [:]
        for i in 0..<8 {
            try repository.store(series.bytes, as: "s\(i)")
            stored["s\(i)"] = series.bytes
            series.change(60)
        }
        let upload = try repository.begin("up", lineage: "a")
        try upload.append(series.bytes.prefix(300_000))
        upload.close()
        for i in 0..<7 {
            try repository.delete("s\(i)")
            stored["s\(i)"] = nil
            let planned = try repository.collect(dryRun: true)
            #expect(try repository.collect(dryRun: true) == planned)
            #expect(try repository.collect(dryRun: false) == planned)
            #expect(try repository.collect(dryRun: false) == CollectReport())
            #expect(try repository.check(readData: true).isSound)
            for (id, bytes) in stored { #expect(try Repository.test(files).bytes(id) == bytes) }
        }
        let resumed = try repository.begin("up", lineage: "a")
        #expect(resumed.length == 300_000)
        try resumed.append(series.bytes[300_000...])
        try repository.commit(resumed, as: "s8", payload: [])
        #expect(try repository.bytes("s8") == series.bytes)
        try repository.delete("s7")
        try repository.delete("s8")
        _ = try repository.collect(dryRun: false)
        #expect(files.paths() == ["/r/config"])
        #expect(try repository.statistics().packs == 0)
    }

    /// On a real file system, whose own blocks are not much smaller than the repository's.
    @Test func spaceComesBack() throws {
        let root = "/tmp/fleet-repository-collect-\(Randomness.token(10))"
        defer { try? FileSystem.removeTree(root) }
        let repository = try Repository.test(SystemRepositoryFiles(), root: root)
        var series = PageSeries(pages: 2000)
        try repository.store(series.bytes, as: "s0")
        let pack = try #require(repository.packPaths(try repository.head("s0")).first)
        let before = try FileSystem.allocatedBytes(pack)
        series.bytes.removeSubrange((1000 * 4096)..<(2000 * 4096))
        try repository.store(series.bytes, as: "s1")
        try repository.delete("s0")
        let report = try repository.collect(dryRun: false)
        try #require(!report.cannotRelease)
        let after = try FileSystem.allocatedBytes(pack)
        let needed = try FileSystem.status(pack)!.size - report.blockBytes
        #expect(report.blocks > 50)
        #expect(after < needed + (64 << 10), "\(before) before, \(after) after, \(needed) needed")
        #expect(try repository.statistics().packBytes == after)
        #expect(try repository.check(readData: true).isSound)
        #expect(try repository.bytes("s1") == series.bytes)
    }

    /// What can't be read might need anything.
    @Test func collectionStopsAtAnUnreadableSnapshot() throws {
        let files = PowerCutFiles()
        let repository = try small(files)
        try repository.delete("t0")
        files.flip("/r/snapshots/s1", byte: 40, bit: 1)
        let restarted = try Repository.test(files)
        #expect(code { _ = try restarted.collect(dryRun: false) } == .snapshotDamaged)
        #expect(files.paths().filter { $0.hasSuffix(".pack") }.count == 4)
    }
}

extension Repository {
    /// As another process would see it: nothing in the cache.
    fileprivate static func check(_ repository: Repository, fresh files: PowerCutFiles) throws -> CheckReport {
        let core = RepositoryCore(root: "/r", files: files, keys: repository.core.keys)
        return try Repository(core).check(readData: true)
    }
}
