import FleetSystem
import RepositoryTestFiles
import Testing

@testable import FleetRepository

@Suite("Bundle files") struct BundleFileTests {
    private let files = PowerCutFiles()
    private let master = RepositoryKey.random(.master)
    private let repository: Repository
    private let secret = Array(String(repeating: "-----BEGIN PRIVATE KEY-----", count: 50).utf8)

    init() throws {
        _ = try Repository.create("/r", files: files, master: master)
        repository = try Repository("/r", files: files, key: master)
    }

    @Test func oneContentIsKeptOnce() throws {
        let name = try repository.addBundle(secret)
        let path = repository.bundlePath(name)
        let bytes = try files.read(path, limit: 1 << 20)
        #expect(try repository.addBundle(secret) == name)
        #expect(try files.read(path, limit: 1 << 20) == bytes, "it is not written again")
        #expect(try repository.bundle(name) == secret)
        #expect(try repository.bundles().map(\.name) == [name])
        #expect(!String(decoding: bytes, as: UTF8.self).contains("PRIVATE"))
        // Another repository has another name for it.
        _ = try Repository.create("/q", files: files, master: master)
        #expect(try Repository("/q", files: files, key: master).addBundle(secret) != name)
        try repository.removeBundle(name)
        #expect(throws: FleetError.self) { try repository.bundle(name) }
    }

    @Test func whatWasChangedIsFoundAndPutRight() throws {
        let name = try repository.addBundle(secret)
        let path = repository.bundlePath(name)
        let bytes = try files.read(path, limit: 1 << 20)
        for index in [0, 7, 10, 30, bytes.count - 1] {
            var other = bytes
            other[index] ^= 4
            try files.writeDurably(path, other)
            #expect(code { try repository.bundle(name) } == .snapshotDamaged, "\(index)")
        }
        try files.writeDurably(path, Array(bytes.prefix(40)))
        #expect(code { try repository.bundle(name) } == .snapshotDamaged)
        #expect(try repository.addBundle(secret) == name)
        #expect(try repository.bundle(name) == secret)
        // One bundle in another's place.
        let other = try repository.addBundle([1])
        try files.writeDurably(repository.bundlePath(other), try files.read(path, limit: 1 << 20))
        #expect(code { try repository.bundle(other) } == .snapshotDamaged)
    }

    @Test func aNewDataKeyChangesNoName() throws {
        let name = try repository.addBundle(secret)
        _ = try repository.replaceDataKey(master: master)
        let later = try Repository("/r", files: files, key: master)
        #expect(try later.bundle(name) == secret)
        #expect(try later.addBundle(secret) == name)
        let next = try later.addBundle([7])
        #expect(try files.read(later.bundlePath(next), limit: 1 << 20).prefix(8) == Array("FLTBNDL2".utf8)[...])
        #expect(try later.bundle(next) == [7])
    }

    /// It survives a power cut, or was never there.
    @Test func durable() throws {
        let name = try repository.addBundle(secret)
        files.restart()
        #expect(try Repository("/r", files: files, key: master).bundle(name) == secret)
    }

    private func code(_ body: () throws -> [UInt8]) -> FleetError.Code? {
        do {
            _ = try body()
            return nil
        } catch { return FleetError(error).code }
    }
}
