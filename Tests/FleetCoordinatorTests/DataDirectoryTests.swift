import FleetProtocol
import FleetRepository
import FleetSystem
import Testing

@testable import FleetCoordinator

@Suite("Data directory")
struct DataDirectoryTests {
    private let settings = DataDirectory.Settings(advertise: "fleet.example.org:7400", listen: "*:7400")

    @Test func isMadeOnceAndPrivate() async throws {
        let place = try TemporaryDirectory()
        let directory = DataDirectory(path: place.path + "/data")
        #expect(await code { _ = try directory.settings() } == .notFound)
        try directory.create(settings)
        #expect(try directory.settings() == settings)
        let key = try KeyRing(directory: directory.keys).jobKey
        #expect(await code { try directory.create(settings) } == .alreadyExists)
        #expect(try KeyRing(directory: directory.keys).jobKey == key)
        for name in ["", "/keys"] { #expect(try FileSystem.status(directory.path + name)?.mode == 0o700) }
        for name in ["/settings.json", "/keys/authority.key", "/keys/job-signing.key", "/keys/repository.key", "/lock"]
        {
            #expect(try FileSystem.status(directory.path + name)?.mode == 0o600)
        }
    }

    @Test func oneProcessAtATime() async throws {
        let place = try TemporaryDirectory()
        let directory = DataDirectory(path: place.path)
        let first = try directory.lock()
        #expect(await code { _ = try directory.lock() } == .alreadyExists)
        _ = consume first
        let second = try directory.lock()
        _ = consume second
    }

    @Test func aKeyThatOthersCanReadIsRefused() async throws {
        let place = try TemporaryDirectory()
        let directory = DataDirectory(path: place.path)
        try directory.create(settings)
        try FileSystem.setMode(directory.keys + "/job-signing.key", 0o640)
        #expect(await code { _ = try KeyRing(directory: directory.keys) } == .permissionDenied)
    }

    /// Without a catalogue, from the store alone.
    @Test func theCatalogueIsRebuilt() async throws {
        let place = try TemporaryDirectory()
        let directory = DataDirectory(path: place.path)
        try directory.create(settings)
        let sample = SampleSnapshot("20261124-065510-aaaa")
        try directory.openStore().store(sample)
        let vault = try openVault(directory, log: .silent)
        #expect(try await vault.reconcile().added == [sample.record.id])
        await vault.catalogue.close()
        let again = try openVault(directory, log: .silent)
        #expect(try await again.reconcile() == Reconciliation())
        #expect(try await again.catalogue.findSnapshot("latest", cluster: "a").record == sample.record)
    }

    /// The drill: the key file is lost, and what was written down opens the repository again.
    @Test func theRecoveryKeyOpensWhatTheLostKeyNoLongerDoes() async throws {
        let place = try TemporaryDirectory()
        let directory = DataDirectory(path: place.path)
        let paper = try directory.create(settings).text
        let sample = SampleSnapshot("20261124-065510-aaaa", pages: 30)
        try directory.openStore().store(sample)
        try FileSystem.remove(directory.repositoryKey)
        #expect(await code { _ = try directory.openStore() } == .notFound)

        let recovery = try RepositoryKey(text: "  \(paper.lowercased())\n")
        #expect(try directory.openStore(recovery).bytes(sample.record.id) == sample.bytes)
        try directory.replaceMasterKey(openedBy: recovery)
        #expect(try directory.openStore().bytes(sample.record.id) == sample.bytes)
        #expect(try FileSystem.status(directory.repositoryKey)?.mode == 0o600)
        // Another repository's key is none of this one's, and the former master key is none any more.
        let former = try directory.masterKey()
        try directory.replaceMasterKey(openedBy: former)
        #expect(await code { _ = try directory.openStore(former) } == .wrongKey)
        #expect(await code { _ = try directory.openStore(.random(.recovery)) } == .wrongKey)
        try FileSystem.setMode(directory.repositoryKey, 0o640)
        #expect(await code { _ = try directory.openStore() } == .permissionDenied)
    }

    /// 'init' was killed between repository and settings; the second one starts anew.
    @Test func aHalfSetUpIsSetUpAgain() async throws {
        let place = try TemporaryDirectory()
        let directory = DataDirectory(path: place.path)
        try FileSystem.makeDirectories(directory.keys)
        _ = try directory.createRepository()
        let recovery = try directory.create(settings)
        _ = try directory.openStore(recovery)
        _ = try directory.openStore()
    }
}
