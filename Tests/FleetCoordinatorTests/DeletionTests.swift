import FleetProtocol
import FleetRepository
import FleetSQLite
import FleetSystem
import RepositoryTestFiles
import Testing

@testable import FleetCoordinator

@Suite("Deletion")
struct DeletionTests {
    /// Cluster a with a snapshot of each of five days, stored for real.
    private struct Setup {
        let files = PowerCutFiles()
        let catalogue: Catalogue
        var vault: Vault
        var samples: [String: SampleSnapshot] = [:]

        init() async throws {
            catalogue = try await Fixture.fleet()
            vault = Vault(store: try RepositoryStore.test("/s", files: files), catalogue: catalogue, reserve: 0)
            for day in 1...5 { try await add("s\(day)", saved: "2026-11-0\(day)T12:00:00Z", seed: UInt8(day)) }
        }

        mutating func add(_ id: String, saved: String, seed: UInt8, isSound: Bool = true) async throws {
            var sample = SampleSnapshot(id, seed: seed)
            if !isSound {
                sample.record.verification = SnapshotVerification(
                    status: nil, findings: [.init(kind: "test", reason: "test")], totalFindings: 1)
            }
            sample.record.facts.savedAt = Timestamp(saved)!
            try vault.store.store(sample, key: id)
            try await catalogue.add(sample.record, by: "root")
            samples[id] = sample
        }

        mutating func restart() throws {
            files.restart()
            vault = Vault(store: try RepositoryStore.test("/s", files: files), catalogue: catalogue, reserve: 0)
        }

        func ids() async throws -> [String] { try await catalogue.snapshots().map(\.record.id) }
    }

    @Test func aPolicyDeletesFilesAndRowsAndSaysWhy() async throws {
        let setup = try await Setup()
        #expect(await code { _ = try await setup.vault.applyRetention("a", confirmed: nil, by: "root") } == .usage)
        try await setup.catalogue.setRetention("a", .init(last: 2), by: "root")
        _ = try await setup.catalogue.pin("s1", true, by: "root")
        let plan = try await setup.vault.applyRetention("a", confirmed: nil, by: "root")
        #expect(plan.lines.filter { !$0.isKept }.map(\.snapshot) == ["s3", "s2"])
        #expect(try await setup.ids() == ["s5", "s4", "s3", "s2", "s1"], "a rehearsal deletes nothing")
        let done = try await setup.vault.applyRetention("a", confirmed: plan.digest, by: "root")
        #expect(done.lines == plan.lines)
        #expect(try await setup.ids() == ["s5", "s4", "s1"])
        #expect(try setup.vault.store.list().records.map(\.id).sorted() == ["s1", "s4", "s5"])
        let events = try await setup.catalogue.auditLog().map(\.event).filter { $0.action == "snapshot.delete" }
        #expect(events.map(\.subject) == ["s3", "s2"])
        #expect(events[0].detail["reason"] == "retention (last 2): no rule keeps it")
        for id in ["s1", "s4", "s5"] { #expect(try setup.vault.store.bytes(id) == setup.samples[id]?.bytes) }
    }

    @Test func onlyWhatWasShownIsDeleted() async throws {
        var setup = try await Setup()
        try await setup.catalogue.setRetention("a", .init(last: 2), by: "root")
        let plan = try await setup.vault.applyRetention("a", confirmed: nil, by: "root")
        try await setup.add("s6", saved: "2026-11-06T12:00:00Z", seed: 6)
        let vault = setup.vault
        #expect(
            await code { _ = try await vault.applyRetention("a", confirmed: plan.digest, by: "root") } == .conflict)
        #expect(try await setup.ids().count == 6)
    }

    @Test func whatMustStayStays() async throws {
        let setup = try await Setup()
        #expect(await code { try await setup.vault.delete("s5", because: "test", by: "root") } == .conflict)
        _ = try await setup.catalogue.pin("s2", true, by: "root")
        #expect(await code { try await setup.vault.delete("s2", because: "test", by: "root") } == .conflict)
        let order = RestoreOrder(snapshot: "s3", dryRun: false, options: .init(), waitSeconds: 60)
        _ = try await setup.catalogue.createRestore(
            order, cluster: "a", node: "n1", lifetime: .seconds(600), by: "root")
        #expect(await code { try await setup.vault.delete("s3", because: "test", by: "root") } == .conflict)
        try await setup.catalogue.setRetention("a", .init(last: 1), by: "root")
        let plan = try await setup.vault.applyRetention("a", confirmed: nil, by: "root")
        _ = try await setup.vault.applyRetention("a", confirmed: plan.digest, by: "root")
        #expect(try await setup.ids() == ["s5", "s3", "s2"])
        #expect(await code { try await setup.vault.delete("s9", because: "test", by: "root") } == .notFound)
        let refused = try await setup.catalogue.auditLog().map(\.event).filter { $0.outcome == .refused }
        #expect(refused.map(\.subject) == ["s5", "s2", "s3"])
    }

    /// A disk that is not mounted, or a flipped bit, makes a year of snapshots unreadable for an hour: no timer deletes
    /// them meanwhile. What never was sound goes.
    @Test func whatCanNotBeReadNowStays() async throws {
        var setup = try await Setup()
        try await setup.add("s6", saved: "2026-11-03T13:00:00Z", seed: 6, isSound: false)
        let problem = FleetError(.snapshotDamaged, "test")
        try await setup.catalogue.mark("s1", .missing, problem, by: "root")
        try await setup.catalogue.mark("s2", .damaged, problem, by: "root")
        try await setup.catalogue.setRetention("a", .init(last: 2), by: "root")
        let plan = try await setup.vault.applyRetention("a", confirmed: nil, by: "root")
        #expect(plan.lines.filter { !$0.isKept }.map(\.snapshot) == ["s6", "s3"])
        #expect(plan.lines.first { $0.snapshot == "s2" }?.reasons == ["can't be read now: only a person deletes it"])
        try await setup.vault.delete("s2", because: "by request", by: "root")
        #expect(try await !setup.ids().contains("s2"))
    }

    @Test func aPolicyIsChecked() async throws {
        let catalogue = try await Fixture.fleet()
        for policy in [RetentionPolicy(), .init(last: -1, daily: 3), .init(yearly: 100_001)] {
            #expect(await code { try await catalogue.setRetention("a", policy, by: "root") } == .usage)
        }
        #expect(await code { try await catalogue.setRetention("x", .init(last: 1), by: "root") } == .notFound)
        try await catalogue.setRetention("a", .init(last: 3, weekly: 2), by: "root")
        #expect(try await catalogue.retention("a")[0].policy == .init(last: 3, weekly: 2))
        try await catalogue.setRetention("a", nil, by: "root")
        #expect(try await catalogue.retention("a")[0].policy == nil)
    }

    /// The power goes at each write of a deletion: afterwards the snapshot is whole and in the list, or gone from the
    /// store and not to be chosen, and a second attempt ends it. The others are as they were.
    @Test(arguments: [false, true])
    func thePowerGoesAtEveryWrite(_ keepsUnsynced: Bool) async throws {
        for step in 1...200 {
            var setup = try await Setup()
            setup.files.fail(atStep: step, .cut, keepsUnsynced: keepsUnsynced)
            let isDone =
                await code { [setup] in try await setup.vault.delete("s2", because: "test", by: "root") } == nil
            try setup.restart()
            _ = try await setup.vault.reconcile()
            for id in ["s1", "s3", "s4", "s5"] {
                #expect(try setup.vault.store.bytes(id) == setup.samples[id]?.bytes, "step \(step)")
                #expect(try await setup.catalogue.entry(id)?.condition == .verified, "step \(step)")
            }
            let isThere = try setup.vault.store.list().records.contains { $0.id == "s2" }
            let entry = try await setup.catalogue.entry("s2")
            // Where nobody could learn that it was gone, its row says that it is missing.
            #expect(isThere ? entry?.condition == .verified : entry?.condition != .verified, "step \(step)")
            if isThere { #expect(try setup.vault.store.bytes("s2") == setup.samples["s2"]?.bytes, "step \(step)") }
            if isDone {
                #expect(!isThere && entry == nil)
                #expect(step > 2, "a deletion writes something")
                return
            }
            if entry != nil { try await setup.vault.delete("s2", because: "again", by: "root") }
            #expect(try await setup.catalogue.entry("s2") == nil)
        }
        Issue.record("200 writes were not enough")
    }

    /// The process dies between two steps of a deletion: nobody is told of a loss that is none.
    @Test(arguments: [false, true])
    func theNextStartEndsADeletion(_ filesAreGone: Bool) async throws {
        var setup = try await Setup()
        _ = try await setup.catalogue.retire("s2", because: "too old", by: "root")
        // Who was reading it finds it gone, which says nothing new.
        await setup.vault.distrust("s2", FleetError(.notFound, "gone"))
        if filesAreGone { try setup.vault.store.delete("s2") }
        try setup.restart()
        let done = try await setup.vault.reconcile()
        #expect(done == (filesAreGone ? Reconciliation(deleted: ["s2"]) : Reconciliation(added: ["s2"])))
        #expect(try await setup.catalogue.entry("s2")?.condition == (filesAreGone ? nil : .verified))
        let events = try await setup.catalogue.auditLog().map(\.event)
        #expect(!events.contains { $0.action == "snapshot.condition" })
        let deleted = events.filter { $0.action == "snapshot.delete" }
        #expect(deleted.map { $0.detail["reason"] } == (filesAreGone ? ["too old"] : []))
        #expect(try await setup.vault.reconcile() == Reconciliation())
    }

    @Test func aFullDiskLeavesItAsItWas() async throws {
        let setup = try await Setup()
        setup.files.fail(atStep: 1, .full)
        #expect(await code { try await setup.vault.delete("s2", because: "test", by: "root") } == .noSpace)
        setup.files.restart()
        #expect(try await setup.catalogue.entry("s2")?.condition == .verified)
        #expect(try setup.vault.store.bytes("s2") == setup.samples["s2"]?.bytes)
    }

    /// Refused for its successor's sake, and not to be opened for its own: it is what it was.
    @Test func aRefusedDeletionLeavesWhatCanNotBeOpenedAsItWas() async throws {
        let setup = try await Setup()
        for (number, id) in ["t1", "t2"].enumerated() {
            var sample = SampleSnapshot(id, pages: 40)
            sample.record.facts.savedAt = Timestamp("2026-10-0\(number + 1)T12:00:00Z")!
            try setup.vault.store.store(sample, key: id)
            try await setup.catalogue.add(sample.record, by: "root")
        }
        try setup.files.remove(try #require(setup.files.paths().first { $0.hasSuffix(".pack") }))
        let problem = FleetError(.notFound, "its pack is gone")
        try await setup.catalogue.mark("t1", .missing, problem, by: "root")
        setup.files.flip("/s/snapshots/t2", byte: 60, bit: 1)
        #expect(await code { try await setup.vault.delete("t1", because: "test", by: "root") } == .snapshotDamaged)
        let entry = try await setup.catalogue.snapshot("t1")
        #expect(entry.condition == .missing && entry.problem == problem)
    }

    /// As with too many open files: whether it is still there can't be learnt either.
    @Test func aDeletionThatNobodyKnowsTheEndOfIsOver() async throws {
        let setup = try await Setup()
        setup.files.fail(atStep: 1, .cut)
        #expect(await code { try await setup.vault.delete("s2", because: "test", by: "root") } == .system)
        #expect(try await setup.catalogue.entry("s2")?.condition == .verified)
    }

    /// A person and a timer delete the same one at the same time.
    @Test(arguments: [true, false])
    func twoDeletionsAtOnceEndAsOne(_ isRefused: Bool) async throws {
        let setup = try await Setup()
        let store = HookedStore(try RepositoryStore.test("/s", files: setup.files))
        let vault = Vault(store: store, catalogue: setup.catalogue, reserve: 0)
        let (arrived, released) = (Monitor(0), Monitor(0))
        store.on(\.delete) {
            let number = arrived.withLock { count in
                count += 1
                return count
            }
            arrived.broadcast()
            released.waiting(seconds: 20, until: { $0 >= number }) { _, _ in }
            if isRefused { throw FleetError(.snapshotDamaged, "s3 may need it") }
        }
        var deletions: [Task<FleetError.Code?, Never>] = []
        for number in 1...2 {
            deletions.append(
                Task { await code { try await vault.delete("s2", because: "test", by: "root") } })
            try await blocking { () throws(FleetError) in
                #expect(arrived.waiting(seconds: 20, until: { $0 == number }) { _, isReady in isReady })
            }
        }
        for deletion in deletions {
            released.withLock { $0 += 1 }
            released.broadcast()
            #expect(await deletion.value == (isRefused ? .snapshotDamaged : nil))
        }
        #expect(try await setup.catalogue.entry("s2")?.condition == (isRefused ? .verified : nil))
        let audited = try await setup.catalogue.auditLog().filter { $0.event.action == "snapshot.delete" }
        #expect(audited.count == (isRefused ? 0 : 1))
    }
}
