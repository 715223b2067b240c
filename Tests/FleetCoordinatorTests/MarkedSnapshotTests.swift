import EtcdSampleFiles
import FleetProtocol
import FleetRepository
import FleetSQLite
import FleetSystem
import RepositoryTestFiles
import Testing

@testable import FleetCoordinator

/// Who marks a snapshot, and what takes the mark away again.
@Suite("Marked snapshots", .timeLimit(.minutes(5)))
struct MarkedSnapshotTests {
    private let node = NodeName(cluster: "a", node: "n1")
    private let files = PowerCutFiles()
    private let catalogue: Catalogue
    private let job: JobRecord
    private let sample: SampleSnapshot
    private var request: UploadRequest {
        UploadRequest(job: job.id, snapshot: job.snapshot, facts: sample.record.facts)
    }

    init() async throws {
        catalogue = try await Fixture.fleet()
        job = try await catalogue.createBackup(cluster: "a", node: "n1", lifetime: .seconds(600), by: "root")
        sample = try SampleSnapshot(etcd: job.snapshot, job: job.id)
    }

    /// A new process: nothing of the store is in memory.
    private func vault() throws -> Vault {
        Vault(store: try RepositoryStore.test("/s", files: files), catalogue: catalogue, reserve: 0)
    }

    private func flipAll() {
        for pack in files.paths() where pack.hasSuffix(".pack") { files.flip(pack, byte: 60, bit: 0) }
    }

    private func upload() async throws {
        let session = try await vault().begin(request, from: node)
        try await session.append(sample.bytes)
        _ = try await session.finish(sample.digest)
    }

    /// For a receipt the agent gives up its copy, so none is given for what can't be read; and since that copy is the last
    /// one, it takes the place of what rotted.
    @Test(arguments: ["flipped", "pack gone", "file gone", "file flipped"])
    func aLostReceiptIsNoReasonToTrust(_ damage: String) async throws {
        try await upload()
        let (file, pack) = ("/s/snapshots/\(job.snapshot)", try #require(files.paths().first { $0.hasSuffix(".pack") }))
        switch damage {
        case "flipped": flipAll()
        case "pack gone": try files.remove(pack)
        case "file gone": try files.remove(file)
        default: files.flip(file, byte: files.length(file) - 3, bit: 1)
        }
        let vault = try vault()
        #expect(try await !vault.examine(job.snapshot, by: "root").isSound)
        #expect(await code { _ = try await catalogue.findSnapshot("latest", cluster: "a") } == .notFound)
        let stored = try await catalogue.snapshot(job.snapshot).record
        // What it is stored against is what rotted: that costs one attempt, as always.
        for attempt in 1...2 {
            let session = try await vault.begin(request, from: node)
            #expect(session.offset == 0)
            try await session.append(sample.bytes)
            do {
                #expect(try await session.finish(sample.digest).snapshot == job.snapshot)
                break
            } catch {
                #expect(attempt == 1 && damage == "flipped" && FleetError(error).isRetryable, "\(error)")
            }
        }
        #expect(try await catalogue.snapshot(job.snapshot).condition == .verified)
        #expect(try await catalogue.snapshot(job.snapshot).record == stored)
        #expect(try self.vault().store.bytes(job.snapshot) == sample.bytes)
        let events = try await catalogue.auditLog().map(\.event).filter { $0.subject == job.snapshot }
        #expect(
            events.last?.action == "snapshot.store" && events.last?.actor == "agent:a/n1", "\(events.map(\.action))")
        // Again, and with nothing to be sent.
        #expect(try await vault.begin(request, from: node).offset == sample.record.size)
    }

    /// The file is put back while the agent sends its own again.
    @Test func whatWasPutBackMeanwhileIsKept() async throws {
        try await upload()
        flipAll()
        let vault = try vault()
        #expect(try await !vault.examine(job.snapshot, by: "root").isSound)
        let session = try await vault.begin(request, from: node)
        flipAll()
        #expect(try await vault.lookAgain(by: "root") == [job.snapshot])
        try await session.append(sample.bytes)
        #expect(try await session.finish(sample.digest).snapshot == job.snapshot)
        #expect(try await catalogue.snapshot(job.snapshot).condition == .verified)
        #expect(try self.vault().store.bytes(job.snapshot) == sample.bytes)
    }

    /// Bytes that are not those that were stored never take their place.
    @Test func anotherFileDoesNotReplaceIt() async throws {
        try await upload()
        let pack = try #require(files.paths().first { $0.hasSuffix(".pack") })
        let bytes = files.bytes(pack)
        try files.remove(pack)
        let vault = try vault()
        #expect(try await !vault.examine(job.snapshot, by: "root").isSound)
        var etcd = SampleEtcd.rich()
        etcd.put("/registry/pods/a/other", [1])
        let other = try SampleSnapshot(etcd: job.snapshot, etcd, job: job.id)
        let session = try await vault.begin(
            UploadRequest(job: job.id, snapshot: job.snapshot, facts: other.record.facts), from: node)
        try await session.append(other.bytes)
        #expect(await code { _ = try await session.finish(other.digest) } == .snapshotDamaged)
        #expect(try await catalogue.snapshot(job.snapshot).condition == .missing)
        #expect(try vault.store.incoming().isEmpty)
        try files.writeDurably(pack, bytes)
        #expect(try self.vault().store.bytes(job.snapshot) == sample.bytes)
    }

    /// Deleted by a person while the agent sends it again.
    @Test func whatIsDeletedMeanwhileStaysDeleted() async throws {
        try await upload()
        try files.remove(try #require(files.paths().first { $0.hasSuffix(".pack") }))
        let vault = try vault()
        #expect(try await !vault.examine(job.snapshot, by: "root").isSound)
        let session = try await vault.begin(request, from: node)
        try await vault.delete(job.snapshot, because: "by request", by: "root")
        try await session.append(sample.bytes)
        #expect(await code { _ = try await session.finish(sample.digest) } == .conflict)
        #expect(try await catalogue.entry(job.snapshot) == nil)
        #expect(try vault.store.list() == StoreListing() && vault.store.incoming().isEmpty)
    }

    /// What another process, or an hour, did to the disk is found by who has it all in memory, too.
    @Test func whatIsInMemoryProvesNothing() async throws {
        try await upload()
        let vault = try vault()
        #expect(try await vault.examine(job.snapshot, by: "root").isSound)
        flipAll()
        #expect(try !(vault.store as! RepositoryStore).repository.check(readData: true).isSound)
        #expect(try await !vault.examine(job.snapshot, by: "root").isSound)
        #expect(try await catalogue.snapshot(job.snapshot).condition == .damaged)
    }

    @Test func whatIsBeingDeletedIsNotBroughtBack() async throws {
        try await upload()
        var newer = SampleSnapshot("s9", seed: 9)
        newer.record.facts.savedAt = await catalogue.now.adding(.seconds(60))
        try await catalogue.add(newer.record, by: "root")
        _ = try await catalogue.retire(job.snapshot, because: "too old", by: "root")
        #expect(await code { _ = try await vault().begin(request, from: node) } == .conflict)
        #expect(try await vault().examine(job.snapshot, by: "root").isSound)
        #expect(try await vault().lookAgain(by: "root").isEmpty)
        let entry = try await catalogue.snapshot(job.snapshot)
        #expect(entry.condition == .missing && Retirement.reason(of: entry) == "too old")
    }

    /// A start takes the marks as they are; the bytes are read afterwards.
    @Test func aStartDoesNotWaitForDamagedSnapshots() async throws {
        try await upload()
        flipAll()
        #expect(try await !vault().examine(job.snapshot, by: "root").isSound)
        #expect(try await vault().lookAgain(by: "coordinator").isEmpty)
        flipAll()
        #expect(try await vault().reconcile() == Reconciliation())
        #expect(try await catalogue.snapshot(job.snapshot).condition == .damaged)
        #expect(try await vault().lookAgain(except: [job.snapshot], by: "coordinator").isEmpty)
        #expect(try await vault().lookAgain(by: "coordinator") == [job.snapshot])
        #expect(try await catalogue.snapshot(job.snapshot).condition == .verified)
        #expect(try await catalogue.snapshot(job.snapshot).problem == nil)
    }

    /// The row is one snapshot, the store has another, whole, under the same id.
    @Test func anotherSnapshotUnderItsIDIsNotIt() async throws {
        try await upload()
        try await catalogue.script("UPDATE snapshots SET record = json_set(record, '$.node', 'n2')")
        #expect(try await !vault().examine(job.snapshot, by: "root").isSound)
        #expect(try await catalogue.snapshot(job.snapshot).condition == .damaged)
        #expect(try await vault().reconcile().unknown.map(\.id) == [job.snapshot])
    }

    @Test(arguments: ["old", "new"])
    func aComparisonMarksTheOneThatFailed(_ damaged: String) async throws {
        var etcd = SampleEtcd(pageSize: 4096)
        var random = SystemRandomNumberGenerator()
        for i in 0..<400 {
            etcd.put("/registry/pods/a/\(i)", (0..<3000).map { _ in UInt8.random(in: 0...255, using: &random) })
        }
        let store = try RepositoryStore.test("/s", files: files)
        var packs: [String: String] = [:]
        for (id, cluster) in [("old", "x"), ("new", "y")] {
            let sample = try SampleSnapshot(etcd: id, etcd, cluster: cluster)
            let incoming = try store.begin(id, cluster: cluster, node: "n1")
            try incoming.append(sample.bytes)
            try incoming.commit(sample.record)
            packs[id] = files.paths().first { $0.hasSuffix(".pack") && !packs.values.contains($0) }
            etcd.put("/registry/pods/a/1", [1])
        }
        _ = try await vault().reconcile()
        let pack = try #require(packs[damaged])
        files.flip(pack, byte: Int(try #require(try files.size(pack)) / 2), bit: 0)
        let vault = try vault()
        let (old, new) = (
            try await SnapshotLook(try await catalogue.snapshot("old"), vault),
            try await SnapshotLook(try await catalogue.snapshot("new"), vault)
        )
        let failure = await code {
            try await ContentListing.differences(old, new, prefix: [], wantsKeys: true) { _ in }
        }
        #expect(failure == .snapshotDamaged)
        #expect(try await catalogue.snapshot("old").condition == (damaged == "old" ? .damaged : .verified))
        #expect(try await catalogue.snapshot("new").condition == (damaged == "new" ? .damaged : .verified))
    }

    @Test func aCheckMarksAndClearsForeignOnesToo() async throws {
        let server = try await TestServer()
        let vault = server.server.vault
        var foreign = SampleSnapshot("s2", pages: 20, seed: 2)
        foreign.record.expectedClusterID = "beef"
        for sample in [SampleSnapshot("s1", pages: 20), foreign] { try vault.store.store(sample) }
        _ = try await vault.reconcile()
        func conditions() async throws -> [SnapshotCondition] {
            [try await server.catalogue.snapshot("s1").condition, try await server.catalogue.snapshot("s2").condition]
        }
        #expect(try await conditions() == [.verified, .foreign])
        func flip() {
            for pack in server.files.paths() where pack.hasSuffix(".pack") { server.files.flip(pack, byte: 60, bit: 0) }
        }
        let connection = try await server.operate()
        func check(readData: Bool = true) async throws -> StoreCheckReply {
            try await connection.call(
                ControlMethod.checkStore, StoreCheckRequest(readData: readData), as: StoreCheckReply.self)
        }
        flip()
        let bad = try await check()
        #expect(Set(bad.findings.flatMap(\.snapshots)) == ["s1", "s2"] && bad.recovered == [])
        #expect(try await conditions() == [.damaged, .damaged])
        try await server.catalogue.refuseDuplicate(foreign.record.sha256, cluster: "a")
        flip()
        #expect(try await check(readData: false).recovered == nil)
        #expect(try await conditions() == [.damaged, .damaged], "nothing was read")
        #expect(try await check().recovered == ["s1", "s2"])
        #expect(try await conditions() == [.verified, .foreign])
        await server.stop()
    }

    /// A check reads for an hour. Meanwhile what it has found is put right, by an agent that sends it again or by a person:
    /// what it knows is old by then.
    @Test(arguments: [true, false])
    func aCheckDoesNotOverruleWhatWasFoundMeanwhile(_ readData: Bool) async throws {
        let hooked = Monitor<HookedStore?>(nil)
        let server = try await TestServer { store in
            let wrapped = HookedStore(store)
            hooked.withLock { $0 = wrapped }
            return wrapped
        }
        let store = try #require(hooked.withLock { $0 })
        let (vault, files) = (server.server.vault, server.files)
        try store.store(SampleSnapshot("s1", pages: 20))
        _ = try await vault.reconcile()
        let pack = try #require(files.paths().first { $0.hasSuffix(".pack") })
        let (file, bytes) = ("/s/snapshots/s1", files.bytes("/s/snapshots/s1"))
        let lookAtS1: @Sendable () async throws -> Void = {
            let verdict = try await vault.examine("s1", by: "agent:a/n1")
            #expect(verdict.isSound)
        }
        // Damaged where the check looks: in its pages, or in its own file.
        let damage: @Sendable () -> Void = {
            if readData { files.flip(pack, byte: 60, bit: 0) } else { files.flip(file, byte: 60, bit: 0) }
        }
        damage()
        #expect(try await !vault.examine("s1", by: "root").isSound)
        store.on(\.checked) {
            store.on(\.checked, nil)
            damage()
            meanwhile { try await lookAtS1() }
        }
        let connection = try await server.operate()
        let reply = try await connection.call(
            ControlMethod.checkStore, StoreCheckRequest(readData: readData), as: StoreCheckReply.self)
        #expect(reply.findings.flatMap(\.snapshots) == ["s1"])
        #expect(try await server.catalogue.snapshot("s1").condition == .verified)

        // In the place of a rotten one comes the same one, whole: between the two it is not there.
        damage()
        #expect(try await !vault.examine("s1", by: "root").isSound)
        try files.remove(file)
        store.on(\.named) {
            // The second look: the first is the check's own.
            store.on(\.named, nil)
            if readData { damage() }
            try files.writeDurably(file, bytes)
            meanwhile { try await lookAtS1() }
        }
        _ = try await connection.call(
            ControlMethod.checkStore, StoreCheckRequest(readData: readData), as: StoreCheckReply.self)
        #expect(try await server.catalogue.snapshot("s1").condition == .verified)
        await server.stop()
    }
}
