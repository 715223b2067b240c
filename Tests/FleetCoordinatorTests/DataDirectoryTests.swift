import FleetCrypto
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

    @Test func keysThatAreThereAreKept() throws {
        let place = try TemporaryDirectory()
        let (old, new) = (DataDirectory(path: place.path + "/old"), DataDirectory(path: place.path + "/new"))
        #expect(try old.create(settings).hadKeys == false)
        let key = try KeyRing(directory: old.keys)
        #expect(throws: FleetError.self) { try old.create(settings) }

        // The host is lost; the keys were copied.
        try FileSystem.makeDirectories(new.keys)
        for name in try FileSystem.list(old.keys) {
            try FileSystem.writeDurably("\(new.keys)/\(name)", try FileSystem.read("\(old.keys)/\(name)"))
        }
        #expect(try new.create(settings).hadKeys)
        let kept = try KeyRing(directory: new.keys)
        #expect(
            kept.jobKey == key.jobKey && kept.authority.certificate.fingerprint == key.authority.certificate.fingerprint
        )
    }

    @Test func halfASetOfKeysIsNotCompleted() throws {
        let place = try TemporaryDirectory()
        let one = DataDirectory(path: place.path)
        try FileSystem.makeDirectories(one.keys)
        try FileSystem.writeDurably("\(one.keys)/authority.key", "something".utf8)
        #expect { try one.create(settings) } throws: { ($0 as? FleetError)?.code == .malformed }
        #expect(try FileSystem.readText("\(one.keys)/authority.key") == "something")
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
        let paper = try #require(try directory.create(settings).recovery).text
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
        let recovery = try #require(try directory.create(settings).recovery)
        _ = try directory.openStore(recovery)
        _ = try directory.openStore()
    }

    /// The store was put back without its `config`: nothing is set up over it, and no key is made that opens nothing.
    @Test func aStoreWithoutItsConfigIsNotSetUp() async throws {
        let place = try TemporaryDirectory()
        let former = DataDirectory(path: place.path + "/former")
        let recovery = try #require(try former.create(settings).recovery)
        let sample = SampleSnapshot("20261124-065510-aaaa", pages: 30)
        try former.openStore().store(sample)
        let directory = DataDirectory(path: place.path + "/new")
        try FileSystem.makeDirectories(directory.path)
        try FileSystem.rename(former.store, to: directory.store)
        let config = try FileSystem.read(directory.store + "/config")
        try FileSystem.remove(directory.store + "/config")

        #expect(await code { try directory.create(settings) } == .notFound)
        #expect(!FileSystem.exists(directory.store + "/config"))
        #expect(!FileSystem.exists(directory.repositoryKey))
        try FileSystem.writeDurably(directory.store + "/config", config)
        #expect(try directory.openStore(recovery).bytes(sample.record.id) == sample.bytes)
    }
}
