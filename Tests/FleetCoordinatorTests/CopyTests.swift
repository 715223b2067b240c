import FleetCrypto
import FleetProtocol
import FleetReactor
import FleetRepository
import FleetSQLite
import FleetSystem
import Testing

@testable import FleetCoordinator

extension CoordinatorCopies {
    fileprivate static func put(_ reader: StateReader, into directory: DataDirectory) throws(FleetError) {
        try publish(try stage(reader, for: directory), as: directory)
    }
}

/// A coordinator made again from a copy of itself.
@Suite("Coordinator copies") struct CopyTests {
    private let place: TemporaryDirectory
    private let directory: DataDirectory
    private let recovery: RepositoryKey

    init() throws {
        place = try TemporaryDirectory()
        directory = DataDirectory(path: place.path + "/data")
        let made = try directory.create(.init(advertise: "127.0.0.1:7400", listen: "127.0.0.1:7400"))
        recovery = try #require(made.recovery)
    }

    private func copies() throws -> CoordinatorCopies {
        CoordinatorCopies(directory: directory, repository: try directory.openStore().repository)
    }

    private func work() async throws {
        let catalogue = try Catalogue(.file(directory.catalogue))
        _ = try await catalogue.addCluster("a", by: "root")
        try await Fixture.enrol(catalogue, cluster: "a", node: "n1")
        await catalogue.close()
    }

    private func keys(_ directory: DataDirectory) throws -> [[UInt8]] {
        try ["authority.crt", "authority.key", "job-signing.key"].map { try FileSystem.read("\(directory.keys)/\($0)") }
    }

    /// Everything is lost but the store and the paper.
    @Test func theStoreAndTheRecoveryKeyAreEnough() async throws {
        try await work()
        let copy = try copies().make()
        #expect(try copies().list() == [copy] && copy.size > 1000)
        #expect(!FileSystem.exists(directory.catalogue + ".copy"), "nothing of it stays in the clear")
        let other = DataDirectory(path: place.path + "/other")
        try FileSystem.makeDirectories(other.path)
        try FileSystem.rename(directory.store, to: other.store)
        let repository = try other.openStore(recovery).repository
        try CoordinatorCopies.put(try repository.openState(copy.name), into: other)
        #expect(try other.settings() == directory.settings())
        #expect(try keys(other) == keys(directory))
        for file in ["settings.json", "catalogue.db", "keys/authority.key"] {
            #expect(try FileSystem.status("\(other.path)/\(file)").map { $0.mode & 0o077 } == 0, "\(file)")
        }
        let catalogue = try Catalogue(.file(other.catalogue))
        #expect(try await catalogue.agents().map(\.node) == ["n1"])
        #expect(try await catalogue.verifyAudit().isIntact)
        await catalogue.close()
        // It is there now: no copy takes its place.
        #expect(throws: FleetError.self) {
            try CoordinatorCopies.put(try repository.openState(copy.name), into: other)
        }
    }

    @Test func oneThatWasCutLeavesNothing() async throws {
        try await work()
        let copy = try copies().make()
        let path = "\(directory.store)/state/\(copy.name)"
        let bytes = try FileSystem.read(path)
        try FileSystem.writeDurably(path, bytes.prefix(bytes.count - 50))
        let other = DataDirectory(path: place.path + "/other")
        try FileSystem.makeDirectories(other.path)
        #expect(
            await code { try CoordinatorCopies.put(try copies().repository.openState(copy.name), into: other) }
                == .snapshotDamaged)
        #expect(try FileSystem.list(other.path).isEmpty)
    }

    /// Put back, it would decide what the lost one has decided since.
    @Test func noneIsMadeWhileMembersWait() async throws {
        try await work()
        let db = try SQLiteConnection(.file(directory.catalogue))
        try db.run(
            """
            INSERT INTO member_restores (id, cluster, snapshot, dry_run, plan, state, requested_by, created)
            VALUES ('r', 'a', 's', 0, '{}', 'running', 'root', 1)
            """)
        #expect(await code { _ = try copies().make() } == .busy)
        #expect(try copies().list().isEmpty)
        try db.run("UPDATE member_restores SET state = 'stuck', finished = 2")
        _ = try copies().make()
        db.close()
    }

    /// What kept something from being deleted may have been lost; tokens may have been used.
    @Test func aCatalogueThatWasPutBackIsCareful() async throws {
        let clock = TestClock()
        let catalogue = try await Fixture.fleet(clock)
        try await catalogue.operatorToken("alice", secret: "s")
        #expect(try await catalogue.retentionWaits() == nil)
        let before = try await catalogue.auditSequence()
        #expect(try await catalogue.putBack(from: "copy").events == before)
        #expect(try await catalogue.retentionWaits() == clock.now.adding(Catalogue.retentionPause))
        #expect(
            await code {
                _ = try await catalogue.enrol(secret: "s", name: "", from: "peer") { _ throws(FleetError) in
                    (Fixture.certificate(), true)
                }
            } == .tokenUsed)
        #expect(try await catalogue.auditLog().contains { $0.event.action == "coordinator.restore" })
        clock.advance(Catalogue.retentionPause)
        #expect(try await catalogue.retentionWaits() == nil)
    }

    @Test func whatIsBrokenAtTheEndGoes() async throws {
        try await work()
        let whole = try copies().make()
        for number in 1...2 {
            let path = "\(directory.store)/state/00000000009\(number)-20261124-065510-aaaa"
            try FileSystem.writeDurably(path, try FileSystem.read("\(directory.store)/state/\(whole.name)").dropLast(9))
        }
        #expect(try copies().list().count == 3)
        try copies().removeBroken()
        #expect(try copies().list() == [whole])
    }

    /// Nothing of before is mixed with it: a log beside the catalogue would be played over it.
    @Test(arguments: ["settings.json", "catalogue.db", "catalogue.db-wal", "keys/authority.key"])
    func nothingIsReplaced(_ file: String) async throws {
        try await work()
        let copy = try copies().make()
        let other = DataDirectory(path: place.path + "/other")
        try FileSystem.makeDirectories(other.keys)
        try FileSystem.writeDurably("\(other.path)/\(file)", "kept".utf8)
        #expect(
            await code { try CoordinatorCopies.put(try copies().repository.openState(copy.name), into: other) }
                == .alreadyExists)
        #expect(try FileSystem.readText("\(other.path)/\(file)") == "kept")
    }

    @Test func onePutBackHalfWayIsDoneAgain() async throws {
        try await work()
        let copy = try copies().make()
        let other = DataDirectory(path: place.path + "/other")
        try FileSystem.makeDirectories(other.path + "/restore.new")
        try FileSystem.makeDirectories(other.keys)
        try FileSystem.writeDurably(other.keys + "/authority.crt", "half".utf8)
        try CoordinatorCopies.put(try copies().repository.openState(copy.name), into: other)
        #expect(try keys(other) == keys(directory))
        #expect(!FileSystem.exists(other.path + "/restore.new"))
    }

    /// What a publication that was cut off has left is still known for that behind a copy that can't be used.
    @Test func whatIsLeftOfOneThatWasCutOffIsNotMistaken() async throws {
        try await work()
        let copy = try copies().make()
        let other = DataDirectory(path: place.path + "/other")
        try FileSystem.makeDirectories(other.path + "/restore.new")
        try FileSystem.makeDirectories(other.keys)
        try FileSystem.writeDurably(other.keys + "/authority.crt", "half".utf8)
        let cut = "\(directory.store)/state/000000000091-20261124-065510-aaaa"
        try FileSystem.writeDurably(cut, try FileSystem.read("\(directory.store)/state/\(copy.name)").dropLast(9))
        let reader = try copies().repository.openState(FileSystem.name(of: cut))
        #expect(await code { try CoordinatorCopies.put(reader, into: other) } == .snapshotDamaged)
        try CoordinatorCopies.put(try copies().repository.openState(copy.name), into: other)
        #expect(try keys(other) == keys(directory))
        #expect(!FileSystem.exists(other.path + "/restore.new"))
    }

    /// The store of a coordinator of before, whose audit log was longer: what is made now is kept, and what `restore` takes.
    @Test func copiesOfAnotherCoordinatorAreSetAside() async throws {
        try await work()
        let former = try copies().make()
        let bytes = try FileSystem.read("\(directory.store)/state/\(former.name)")
        try copies().repository.removeState(former.name)
        let names = (0..<8).map { "00000009000\($0)-20261124-065510-aaaa" }
        for name in names { try FileSystem.writeDurably("\(directory.store)/state/\(name)", bytes) }
        let made = try copies().make()
        #expect(try copies().list() == [made])
        let reader = try copies().repository.openState(made.name)
        while try reader.next() != nil {}
        let there = Set(try FileSystem.list("\(directory.store)/state"))
        #expect(there.isSuperset(of: names.map { ".other-\($0)" }), "none is lost")
        // Its own are let go as ever.
        let catalogue = try Catalogue(.file(directory.catalogue))
        for number in 0..<10 {
            _ = try await catalogue.addCluster("c\(number)", by: "root")
            let next = try copies().make()
            #expect(try copies().list().last == next)
        }
        await catalogue.close()
        #expect(try copies().list().count == CoordinatorCopies.kept)
    }

    /// Before the first copy is made, which may be hours away.
    @Test func copiesOfAnotherCoordinatorAreSetAsideAtTheStart() async throws {
        try await work()
        let own = try copies().make()
        let other = "000000090000-20261124-065510-aaaa"
        let state = directory.store + "/state"
        try FileSystem.writeDurably("\(state)/\(other)", try FileSystem.read("\(state)/\(own.name)"))
        let vault = try openVault(directory, log: .silent)
        let repository = try #require(vault.store as? RepositoryStore).repository
        let server = CoordinatorServer(
            .init(
                listen: .tcp(host: "127.0.0.1", port: 0), advertise: .tcp(host: "127.0.0.1", port: 1),
                controlSocket: nil, user: 0),
            catalogue: vault.catalogue, vault: vault, keys: try KeyRing(directory: directory.keys),
            copies: CoordinatorCopies(directory: directory, repository: repository), log: .silent)
        let running = try await server.start()
        for _ in 0..<500 where FileSystem.exists("\(state)/\(other)") { try await Task.sleep(for: .milliseconds(10)) }
        await server.stop(running)
        #expect(FileSystem.exists("\(state)/.other-\(other)"))
        #expect(try copies().list().contains(own))
        await vault.catalogue.close()
    }

    /// While the catalogue is written to, each copy is whole.
    @Test func itIsCopiedWhileItIsWrittenTo() async throws {
        let catalogue = try Catalogue(.file(directory.catalogue))
        let writing = Task {
            var number = 0
            while !Task.isCancelled {
                _ = try await catalogue.addCluster("c\(number)", by: "root")
                number += 1
            }
        }
        for number in 0..<10 {
            let copy = try copies().make()
            let other = DataDirectory(path: place.path + "/other-\(number)")
            try FileSystem.makeDirectories(other.path)
            try CoordinatorCopies.put(try copies().repository.openState(copy.name), into: other)
            let found = try Catalogue(.file(other.catalogue))
            #expect(try await found.verifyAudit().isIntact)
            #expect(try await Int64(found.clusters().count) == found.auditSequence())
            await found.close()
        }
        writing.cancel()
        _ = await writing.result
        #expect(try copies().list().count == CoordinatorCopies.kept)
        await catalogue.close()
    }

    /// As an operator gets it, and only who may.
    @Test func itIsGivenOutSealed() async throws {
        try await work()
        let vault = try openVault(directory, log: .silent)
        let server = CoordinatorServer(
            .init(
                listen: .tcp(host: "127.0.0.1", port: 0), advertise: .tcp(host: "127.0.0.1", port: 1),
                controlSocket: place.path + "/c.sock", user: 0),
            catalogue: vault.catalogue, vault: vault, keys: try KeyRing(directory: directory.keys),
            copies: CoordinatorCopies(
                directory: directory, repository: try #require(vault.store as? RepositoryStore).repository),
            log: .silent)
        let running = try await server.start()
        let connection = try await Dialler.connect(
            .unix(path: place.path + "/c.sock"), tls: nil, options: .init(software: "test"))
        let stream = try await connection.open(
            ControlMethod.backUpCoordinator, try JSON.encode(ListRequest()), ends: true)
        var bytes: [UInt8] = []
        receiving: while true {
            switch try await stream.receive() {
            case .data(let piece): bytes += piece
            case .end(let body):
                let digest = try JSON.decode(StreamDigest.self, from: body)
                #expect(digest == StreamDigest(length: Int64(bytes.count), sha256: SHA256.hash(bytes).hex))
                break receiving
            case .message: Issue.record("a message")
            }
        }
        await connection.close(FleetError("test", "over"))
        await server.stop(running)
        let file = place.path + "/copy"
        try FileSystem.writeDurably(file, bytes)
        let other = DataDirectory(path: place.path + "/other")
        try FileSystem.makeDirectories(other.path)
        try CoordinatorCopies.put(try StateReader(copy: file, key: recovery), into: other)
        #expect(try keys(other) == keys(directory))
        let catalogue = try Catalogue(.file(other.catalogue))
        #expect(try await catalogue.auditLog().last?.event.action == "coordinator.backup")
        await catalogue.close()
    }
}
