import EtcdSampleFiles
import FleetCrypto
import FleetProtocol
import FleetRepository
import FleetSQLite
import FleetSystem
import RepositoryTestFiles
import Testing

@testable import FleetCoordinator

/// An agent that is killed behind the commit of its upload, and before it could write that down, saves anew and comes again.
/// For a restore, `already-exists` means that what it replaces is stored and may be given up.
@Suite("A second save of one job", .timeLimit(.minutes(1)))
struct SecondSaveTests {
    private let node = NodeName(cluster: "a", node: "n1")
    private let files = PowerCutFiles()
    private let catalogue: Catalogue
    private let job: JobRecord
    private let sample: SampleSnapshot

    init() async throws {
        catalogue = try await Fixture.fleet()
        job = try await catalogue.createBackup(cluster: "a", node: "n1", lifetime: .seconds(600), by: "root")
        sample = try SampleSnapshot(etcd: job.snapshot, job: job.id)
    }

    /// A new process: nothing of the store is in memory.
    private func store() throws -> HookedStore { HookedStore(try RepositoryStore.test("/s", files: files)) }
    private func vault(_ store: HookedStore? = nil) throws -> Vault {
        Vault(store: try store ?? self.store(), catalogue: catalogue, reserve: 0)
    }

    /// As the agent does it: from the offset on, or not at all where the file has no such place.
    private func upload(_ sample: SampleSnapshot, to vault: Vault? = nil) async throws {
        let request = UploadRequest(job: job.id, snapshot: job.snapshot, facts: sample.record.facts)
        let session = try await (vault ?? self.vault()).begin(request, from: node)
        guard session.offset <= sample.record.size else {
            throw FleetError(.malformed, "the file ends at \(sample.record.size), before \(session.offset)")
        }
        if session.offset < sample.record.size {
            try await session.append(sample.bytes[Int(session.offset)...])
        }
        _ = try await session.finish(sample.digest)
    }

    private func failure(_ sample: SampleSnapshot, to vault: Vault? = nil) async -> FleetError? {
        do { try await upload(sample, to: vault) } catch { return FleetError(error) }
        return nil
    }

    /// Another file of another etcd, `longer` or shorter.
    private func other(longer: Bool) throws -> SampleSnapshot {
        var etcd = longer ? SampleEtcd.rich() : SampleEtcd()
        for i in 0..<(longer ? 300 : 1) { etcd.put("/registry/pods/b/\(i)", [UInt8](repeating: 3, count: 200)) }
        return try SampleSnapshot(etcd: job.snapshot, etcd, job: job.id)
    }

    @Test(arguments: [true, false])
    func anotherLengthIsNoReasonToFail(_ longer: Bool) async throws {
        try await upload(sample)
        let other = try other(longer: longer)
        #expect(longer == (other.record.size > sample.record.size) && other.record.size != sample.record.size)
        let told = await failure(other)
        #expect(told?.code == .alreadyExists && told?.isRetryable == false, "\(String(describing: told))")
        #expect(try vault().store.bytes(job.snapshot) == sample.bytes && vault().store.incoming().isEmpty)
    }

    /// Kept as evidence, and no copy of anything: whatever comes under its name, the sender is not told that it is safe.
    @Test func whatIsStoredAndUnsoundIsNotEnough() async throws {
        var unsound = sample
        unsound.bytes[unsound.bytes.count - 1] ^= 1
        unsound.record.sha256 = SHA256.hash(unsound.bytes).hex
        #expect(await failure(unsound)?.code == .snapshotUnsound)
        let others = [sample, unsound, try other(longer: true), try other(longer: false)]
        for other in others { #expect(await failure(other)?.code == .snapshotUnsound) }
        #expect(try vault().store.bytes(job.snapshot) == unsound.bytes)
    }

    @Test func whatIsStoredAndRottenIsNotEnough() async throws {
        try await upload(sample)
        try files.remove(try #require(files.paths().first { $0.hasSuffix(".pack") }))
        #expect(try await !vault().examine(job.snapshot, by: "root").isSound)
        for longer in [true, false] {
            #expect(await failure(try other(longer: longer))?.code == .snapshotDamaged)
        }
        #expect(try await catalogue.snapshot(job.snapshot).condition == .missing)
    }

    /// The coordinator was killed between store and catalogue, and then its disk lost something: no receipt was given, and
    /// the agent has the last copy.
    @Test(arguments: ["pack gone", "pack cut", "head", "map", "nothing"])
    func whatHasNoRowAndCanNotBeReadMakesWay(_ damage: String) async throws {
        try store().store(sample, key: "up")
        let (file, pack) = ("/s/snapshots/\(job.snapshot)", try #require(files.paths().first { $0.hasSuffix(".pack") }))
        switch damage {
        case "pack gone": try files.remove(pack)
        case "pack cut": try files.writeDurably(pack, files.bytes(pack).dropLast())
        case "head": files.flip(file, byte: 40, bit: 1)
        case "map": files.flip(file, byte: files.length(file) - 3, bit: 1)
        default: break
        }
        let told = await failure(sample)
        #expect(told == nil, "\(String(describing: told))")
        #expect(try await catalogue.snapshot(job.snapshot).condition == .verified)
        #expect(try vault().store.bytes(job.snapshot) == sample.bytes)
        #expect(try vault().store.verify(job.snapshot).isSound)
    }

    /// Too many open files say nothing of what is stored.
    @Test func whatCanNotBeLookedAtNowStays() async throws {
        try store().store(sample, key: "up")
        let store = try store()
        store.on(\.open) { throw FleetError(.system, "too many open files") }
        let told = await failure(sample, to: try vault(store))
        #expect(told?.code == .system && told?.isRetryable == true)
        #expect(try store.ids() == [job.snapshot])
        store.on(\.open, nil)
        try await upload(sample, to: try vault(store))
        #expect(try await catalogue.snapshot(job.snapshot).condition == .verified)
    }

    /// The same while the rotten one is to make way: what arrived stays, and is not sent twice.
    @Test(arguments: [FleetError.Code.system, .noSpace])
    func whatCanNotBeReplacedNowIsNotThrownAway(_ code: FleetError.Code) async throws {
        try await upload(sample)
        try files.remove(try #require(files.paths().first { $0.hasSuffix(".pack") }))
        let store = try store()
        let vault = try vault(store)
        #expect(try await !vault.examine(job.snapshot, by: "root").isSound)
        store.on(\.delete) { throw FleetError(code, "just now") }
        let told = await failure(sample, to: vault)
        #expect(told?.code == code && told?.isRetryable == true, "\(String(describing: told))")
        let request = UploadRequest(job: job.id, snapshot: job.snapshot, facts: sample.record.facts)
        let session = try await vault.begin(request, from: node)
        #expect(session.offset == sample.record.size)
        store.on(\.delete, nil)
        _ = try await session.finish(sample.digest)
        #expect(try await catalogue.snapshot(job.snapshot).condition == .verified)
        #expect(try self.vault().store.bytes(job.snapshot) == sample.bytes)
    }

    /// For another's sake, which is damaged too: no attempt will end otherwise, so the node is told what is lost.
    @Test func whatCanNotBeReplacedAtAllIsSaid() async throws {
        try await upload(sample)
        try files.remove(try #require(files.paths().first { $0.hasSuffix(".pack") }))
        let store = try store()
        let vault = try vault(store)
        #expect(try await !vault.examine(job.snapshot, by: "root").isSound)
        store.on(\.delete) { throw FleetError(.snapshotDamaged, "for s7 may need it") }
        let told = await failure(sample, to: vault)
        #expect(told?.code == .snapshotDamaged && told?.isRetryable == false)
        #expect(told?.hint?.contains("fleetctl backup a") == true)
        #expect(try store.incoming().isEmpty)
    }

    /// Connection after connection asks for the same upload, and the store is slow: each would hold a thread of those that
    /// may wait, which are everybody's.
    @Test func oneNodeTakesOneThread() async throws {
        let store = try store()
        let vault = try vault(store)
        let (entered, isOpen) = (Monitor(0), Monitor(false))
        store.on(\.begin) {
            entered.withLock { $0 += 1 }
            _ = isOpen.waiting(seconds: 10, until: \.self) { _, isReady in isReady }
        }
        let request = UploadRequest(job: job.id, snapshot: job.snapshot, facts: sample.record.facts)
        let (node, refused) = (node, Monitor<[FleetError]>([]))
        let begun = try await withThrowingTaskGroup(of: IngestSession?.self) { group in
            for _ in 0..<20 {
                group.addTask {
                    do { return try await vault.begin(request, from: node) } catch {
                        let count = refused.withLock { refused in
                            refused.append(FleetError(error))
                            return refused.count
                        }
                        if count == 18 {
                            isOpen.withLock { $0 = true }
                            isOpen.broadcast()
                        }
                        return nil
                    }
                }
            }
            return try await group.reduce(into: [IngestSession]()) { if let session = $1 { $0.append(session) } }
        }
        #expect(refused.withLock { $0 }.allSatisfy { $0.code == .busy && $0.isRetryable })
        #expect(refused.withLock { $0 }.count == 18 && begun.count == 2 && entered.withLock { $0 } == 2)
        // The last one has it, as always.
        var stored = 0
        for session in begun {
            do {
                try await session.append(sample.bytes)
                _ = try await session.finish(sample.digest)
                stored += 1
            } catch { #expect(FleetError(error).code == .cancelled) }
        }
        #expect(stored == 1)
        #expect(try await catalogue.snapshot(job.snapshot).condition == .verified)
    }
}
