import EtcdSampleFiles
import FleetProtocol
import FleetSystem
import RepositoryTestFiles
import Testing

@testable import FleetCoordinator

/// Whether what arrives under a cluster's name is of that cluster, and of that time.
@Suite("Identity and time of what is stored")
struct IdentityTests {
    private let node = NodeName(cluster: "a", node: "n1")
    private let clock = TestClock()
    private let catalogue: Catalogue
    private let vault: Vault

    init() async throws {
        catalogue = try await Fixture.fleet(clock)
        vault = Vault(store: try RepositoryStore.test("/s", files: PowerCutFiles()), catalogue: catalogue, reserve: 0)
    }

    /// A whole backup of cluster a; its end is what the agent says.
    private func backUp(
        etcdID: String = "cafe", saved: Timestamp? = nil, _ etcd: SampleEtcd = .rich(), compacted: UInt64? = nil
    ) async throws -> SnapshotEntry {
        clock.advance(.seconds(60))
        let job = try await catalogue.createBackup(cluster: "a", node: "n1", lifetime: .seconds(600), by: "root")
        let sample = try SampleSnapshot(etcd: job.snapshot, etcd, compacted: compacted, job: job.id)
        var facts = sample.record.facts
        facts.clusterID = etcdID
        facts.savedAt = saved ?? clock.now
        let request = UploadRequest(job: job.id, snapshot: job.snapshot, facts: facts)
        let session = try await vault.begin(request, from: node)
        try await session.append(sample.bytes)
        _ = try await session.finish(sample.digest)
        try await end(job)
        return try await catalogue.snapshot(job.snapshot)
    }

    private func end(_ job: JobRecord, _ plan: RestorePlan? = nil) async throws {
        clock.advance(.seconds(1))
        let outcome = JobOutcome(result: .succeeded, summary: "done", plan: plan)
        _ = try await catalogue.receive(
            JobEvent(job: job.id, sequence: 1, time: clock.now, kind: .outcome, outcome: outcome), from: node)
        // The agent's word that all went well is not the last one.
        let isForeign = try await catalogue.entry(job.snapshot)?.condition == .foreign && job.kind == "backup"
        #expect(try await catalogue.job(job.id).state == (isForeign ? .failed : .succeeded))
    }

    private func restore(
        _ snapshot: String, other: Bool = false, dryRun: Bool = false, newID: String? = nil
    ) async throws {
        clock.advance(.seconds(60))
        let order = RestoreOrder(snapshot: snapshot, dryRun: dryRun, options: .init(allowOtherCluster: other))
        let job = try await catalogue.createRestore(
            order, cluster: "a", node: "n1", lifetime: .seconds(600), by: "root")
        let plan = newID.map {
            RestorePlan(
                cluster: "a", node: "n1", snapshot: snapshot, topology: .stacked, oldDataDir: "/o", newDataDir: "/n",
                oldWalDir: nil, newWalDir: nil, clusterToken: "t", clusterID: $0, changes: [], steps: [])
        }
        try await end(job, plan)
    }

    @Test func aSnapshotOfAnotherEtcdIsKeptApart() async throws {
        let own = try await backUp()
        let foreign = try await backUp(etcdID: "f00d")
        #expect(foreign.condition.rawValue == "foreign")
        #expect(foreign.problem?.code == .otherCluster)
        // Who looks at jobs is told as well.
        let job = try await catalogue.job(foreign.record.job)
        #expect(job.state == .failed && job.error?.code == .otherCluster)
        #expect(try await catalogue.job(own.record.job).state == .succeeded)
        #expect(foreign.record.facts.warnings.count == 1)
        #expect(try vault.store.list().records.count == 2)
        // Not the latest, and restored only where that is said.
        #expect(try await catalogue.findSnapshot("latest", cluster: "a").record.id == own.record.id)
        #expect(try await catalogue.cluster("a").identities.map(\.id) == ["cafe"])
        #expect(try await catalogue.cluster("a").latestSnapshot == own.record.id)
        let event = try #require(try await catalogue.auditLog().first { $0.event.action == "snapshot.foreign" }?.event)
        #expect(event.outcome == .refused)
        #expect(event.subject == foreign.record.id)
        #expect(await code { try await restore(foreign.record.id) } == .otherCluster)
        // Examining it or starting anew does not make it the cluster's own.
        #expect(try await vault.examine(foreign.record.id, by: "root").isSound)
        #expect(try await vault.reconcile() == Reconciliation())
        #expect(try await catalogue.snapshot(foreign.record.id) == foreign)
        try await restore(foreign.record.id, other: true)
    }

    /// Its id is the same, and it is empty: whoever restored by hand into another directory than etcd works in has that.
    @Test func anEtcdThatHasLostItsDataIsNotTheLatest() async throws {
        let own = try await backUp()
        var empty = SampleEtcd()
        empty.put("/registry/only", [1])
        let lost = try await backUp(empty)
        #expect(lost.condition == .foreign && lost.problem?.code == .wentBack)
        #expect(
            lost.record.wentBack == EarlierRevision(snapshot: own.record.id, revision: own.record.facts.status.revision)
        )
        #expect(lost.problem?.hint?.contains("fleetctl cluster accept a cafe") == true)
        #expect(try await catalogue.findSnapshot("latest", cluster: "a").record.id == own.record.id)
        #expect(try await catalogue.job(lost.record.job).error?.code == .wentBack)
        #expect(try await catalogue.cluster("a").newerForeign == lost.record.id)
        let event = try #require(try await catalogue.auditLog().first { $0.event.action == "snapshot.foreign" }?.event)
        #expect(event.outcome == .refused && event.detail["earlier"]?.contains(own.record.id) == true)
        // What is rebuilt from the store knows as much.
        #expect(try await vault.reconcile() == Reconciliation())
        #expect(try await catalogue.snapshot(lost.record.id) == lost)
        // Again and again, until somebody says so.
        #expect(try await backUp(empty).condition == .foreign)
        try await catalogue.acceptIdentity("cafe", cluster: "a", by: "root")
        #expect(try await catalogue.cluster("a").newerForeign == nil)
        #expect(await code { try await catalogue.acceptIdentity("cafe", cluster: "a", by: "root") } == .alreadyExists)
        let right = try await backUp(empty)
        #expect(right.condition == .verified)
        #expect(try await catalogue.findSnapshot("latest", cluster: "a").record.id == right.record.id)
        // A catalogue that is older, or rebuilt, does not know the word, and has the backup that was right.
        try await catalogue.script("UPDATE etcd_identities SET accepted = NULL")
        #expect(try await backUp(empty).condition == .verified)
        // From there it only grows again.
        var grown = empty
        grown.put("/registry/more", [1])
        #expect(try await backUp(grown).condition == .verified)
        #expect(try await backUp(empty).problem?.code == .wentBack)
        // What a later job has saved says nothing of what comes late.
        var record = lost.record
        (record.facts.savedAt, record.job) = (clock.now.adding(.seconds(300)), "99990101-000000-aaaa")
        #expect(try await catalogue.earlierRevision(record) != nil)
        record.job = own.record.job
        #expect(try await catalogue.earlierRevision(record) == nil)
    }

    /// Up to 3.5.15 the deletion at the very revision that is compacted goes too, and the last entry is older than that.
    @Test func aCompactedDeletionIsNoLoss() async throws {
        var etcd = SampleEtcd.rich()
        etcd.delete("/registry/pods/ns-2/pod-5")
        let before = try await backUp(etcd)
        let newest = before.record.facts.status.revision
        etcd.compactAway("/registry/pods/ns-2/pod-5")
        let after = try await backUp(etcd, compacted: UInt64(newest))
        #expect(after.record.facts.status.revision < newest && after.record.newestRevision == newest)
        #expect(after.condition == .verified, "\(after.problem?.message ?? "")")
        // One that was compacted no further has lost it.
        let lost = try await backUp(etcd, compacted: UInt64(newest - 1))
        #expect(lost.record.wentBack == EarlierRevision(snapshot: after.record.id, revision: newest))
    }

    /// As a coordinator has told that took a compacted deletion for a loss: what comes behind it is not its heir.
    @Test func anOlderCoordinatorsWrongWordIsNotCarriedOn() async throws {
        let own = try await backUp()
        var told = Fixture.record("20261124-070000-zzzz", job: "20261124-070000-yyyy")
        told.facts = own.record.facts
        (told.facts.savedAt, told.storedAt) = (clock.now, clock.now)
        told.facts.status.revision -= 1
        var verification = try #require(own.record.verification)
        (verification.compactRevision, verification.oldestKeys) = (own.record.newestRevision, nil)
        told.verification = verification
        told.wentBack = EarlierRevision(snapshot: own.record.id, revision: own.record.newestRevision)
        try await catalogue.add(told, by: "agent")
        var record = own.record
        (record.facts.savedAt, record.job) = (clock.now.adding(.seconds(60)), "99990101-000000-aaaa")
        record.facts.status.revision += 1
        #expect(try await catalogue.earlierRevision(record) == nil)
        // What was lost indeed stays so.
        told.wentBack?.revision += 100
        told.id = "20261124-070001-zzzz"
        told.facts.savedAt = clock.now.adding(.seconds(1))
        try await catalogue.add(told, by: "agent")
        #expect(try await catalogue.earlierRevision(record)?.since == told.id)
    }

    /// It takes as many writes as before, and none of what was lost is back.
    @Test func aHigherRevisionBringsNothingBack() async throws {
        let own = try await backUp()
        var anew = SampleEtcd()
        anew.put("/registry/only", [1])
        let lost = try await backUp(anew)
        for i in 0..<60 { anew.put("/registry/pods/ns/new-\(i)", [1]) }
        let grown = try await backUp(anew)
        #expect(grown.record.facts.status.revision > own.record.facts.status.revision)
        #expect(grown.condition == .foreign && grown.problem?.code == .wentBack)
        #expect(
            grown.record.wentBack
                == EarlierRevision(
                    snapshot: own.record.id, revision: own.record.facts.status.revision, since: lost.record.id))
        #expect(grown.problem?.message.contains(lost.record.id) == true)
        #expect(try await catalogue.cluster("a").newerForeign == grown.record.id)
        #expect(try await catalogue.cluster("a").lastBackup?.state == .failed)
        #expect(try await catalogue.findSnapshot("latest", cluster: "a").record.id == own.record.id)
        #expect(try await backUp(anew).record.wentBack?.since == lost.record.id)
        // What was not sound says nothing of it; nor does what the other members have.
        var damaged = Fixture.record("20261124-070000-zzzz", job: "20261124-070000-yyyy")
        damaged.facts = grown.record.facts
        (damaged.facts.savedAt, damaged.storedAt) = (clock.now, clock.now)
        damaged.verification = SnapshotVerification(
            status: nil, findings: [.init(kind: "page", reason: "")], totalFindings: 1)
        try await catalogue.add(damaged, by: "agent")
        // As of a coordinator that did not look at the keys.
        var record = grown.record
        (record.facts.savedAt, record.job) = (clock.now.adding(.seconds(60)), "99990101-000000-aaaa")
        record.verification?.oldestKeys = nil
        #expect(try await catalogue.earlierRevision(record)?.since == lost.record.id)
        record.node = "n2"
        #expect(try await catalogue.earlierRevision(record) == nil)
        // A member that was replaced has the others' data.
        (record.node, record.facts.memberID) = ("n1", "feed")
        #expect(try await catalogue.earlierRevision(record) == nil)
        // Another member's backup is well, and the word is for this one.
        var second = Fixture.record("s2")
        second.node = "n2"
        (second.facts.savedAt, second.storedAt) = (clock.now.adding(.seconds(30)), clock.now)
        try await catalogue.add(second, by: "agent")
        clock.advance(.seconds(60))
        try await catalogue.acceptIdentity("cafe", cluster: "a", by: "root")
        #expect(try await backUp(anew).condition == .verified)
        #expect(try await catalogue.cluster("a").newerForeign == nil)
    }

    /// Nobody has seen it when its revision was below the former one, and the id is the same.
    @Test func anEtcdThatWasMadeAnewIsToldHoweverFarItIs() async throws {
        let own = try await backUp()
        var anew = SampleEtcd()
        for i in 0..<60 { anew.put("/registry/pods/ns/new-\(i)", [1]) }
        let first = try await backUp(anew)
        #expect(first.record.facts.status.revision > own.record.facts.status.revision)
        #expect(first.condition == .foreign && first.problem?.code == .wentBack)
        #expect(
            first.record.wentBack
                == EarlierRevision(snapshot: own.record.id, revision: own.record.facts.status.revision))
        #expect(first.problem?.message.contains("was made anew since snapshot \(own.record.id)") == true)
        anew.put("/registry/pods/ns/more", [1])
        #expect(try await backUp(anew).record.wentBack?.since == first.record.id)
        #expect(try await catalogue.findSnapshot("latest", cluster: "a").record.id == own.record.id)
        // Its data is in its place again, and has gone on: that shows by itself.
        var back = SampleEtcd.rich()
        back.put("/registry/pods/ns/more", [1])
        let right = try await backUp(back)
        #expect(right.condition == .verified)
        #expect(try await catalogue.findSnapshot("latest", cluster: "a").record.id == right.record.id)
        #expect(try await catalogue.cluster("a").newerForeign == nil)
        #expect(try await backUp(anew).problem?.code == .wentBack)
        try await catalogue.acceptIdentity("cafe", cluster: "a", by: "root")
        #expect(try await backUp(anew).condition == .verified)
        #expect(try await backUp(back).problem?.code == .wentBack)
    }

    /// A restore makes another etcd, and the undo of one goes on where the former was.
    @Test func restoresGoBackByRight() async throws {
        let own = try await backUp()
        var earlier = SampleEtcd()
        earlier.put("/registry/only", [1])
        try await restore(own.record.id, newID: "beef")
        #expect(try await backUp(etcdID: "beef", earlier).condition == .verified)
        earlier.put("/registry/more", [1])
        #expect(try await backUp(etcdID: "beef", earlier).condition == .verified)
        #expect(try await backUp().condition == .verified)
    }

    /// The node proved the id before it said that the restore was done: `cluster show` need not wait for a backup.
    @Test func aCommittedRestoreTellsTheNewId() async throws {
        let first = try await backUp()
        try await restore(first.record.id, dryRun: true, newID: "d0d0")
        #expect(try await catalogue.cluster("a").identities.map(\.id) == ["cafe"])
        try await restore(first.record.id, newID: "beef")
        let known = try await catalogue.cluster("a").identities
        #expect(known.map(\.id) == ["cafe", "beef"])
        #expect(known.last?.source.hasPrefix("restore ") == true)
        #expect(try await backUp(etcdID: "beef").condition == .verified)
    }

    /// The other members' backups are well, and a restore made all of them anew.
    @Test func aMemberOfAnotherEtcdIsToldOfUntilItsOwnNextBackup() async throws {
        _ = try await backUp()
        let foreign = try await backUp(etcdID: "f00d")
        try await Fixture.enrol(catalogue, cluster: "a", node: "n2")
        var other = Fixture.record("s2")
        other.node = "n2"
        other.facts.status.revision = 2
        other.facts.savedAt = clock.now.adding(.seconds(30))
        try await catalogue.add(other, by: "agent")
        #expect(try await catalogue.cluster("a").newerForeign == foreign.record.id)
        let own = try await backUp()
        #expect(try await catalogue.cluster("a").newerForeign == nil)
        // Retention takes the proof away, and what was told stays told.
        try await catalogue.script("DELETE FROM snapshots WHERE id = '\(own.record.id)'")
        #expect(try await catalogue.cluster("a").newerForeign == nil)
        let again = try await backUp(etcdID: "f00d")
        #expect(try await catalogue.cluster("a").newerForeign == again.record.id)
        // Another node under its name has not saved anything yet.
        _ = try await catalogue.revoke(.agent(cluster: "a", node: "n1"), by: "root")
        #expect(try await catalogue.cluster("a").newerForeign == nil)
        clock.advance(.seconds(1))
        try await Fixture.enrol(catalogue, cluster: "a", node: "n1", issued: clock.now)
        #expect(try await catalogue.cluster("a").newerForeign == nil)
    }

    /// The catalogue that knew of a restore is lost, or somebody restored by hand.
    @Test func somebodyWhoKnowsAcceptsAnId() async throws {
        _ = try await backUp()
        let foreign = try await backUp(etcdID: "f00d")
        #expect(try await catalogue.cluster("a").newerForeign == foreign.record.id)
        #expect(foreign.problem?.hint?.contains("fleetctl cluster accept a f00d") == true)
        #expect(await code { try await catalogue.acceptIdentity("F00D", cluster: "a", by: "root") } == .malformed)
        #expect(await code { try await catalogue.acceptIdentity("f00d", cluster: "nope", by: "root") } == .notFound)
        #expect(await code { try await catalogue.acceptIdentity("cafe", cluster: "a", by: "root") } == .alreadyExists)
        try await catalogue.acceptIdentity("f00d", cluster: "a", by: "root")
        #expect(try await catalogue.snapshot(foreign.record.id).condition == .foreign)
        #expect(try await backUp(etcdID: "f00d").condition == .verified)
        #expect(try await catalogue.cluster("a").newerForeign == nil)
        let acts = try await catalogue.auditLog().map(\.event.action)
        #expect(acts.contains("cluster.accept") && acts.contains("cluster.identity"))
    }

    @Test func aRestoreExplainsANewIdOnce() async throws {
        let first = try await backUp()
        try await restore(first.record.id, dryRun: true)
        #expect(try await backUp(etcdID: "d0d0").condition.rawValue == "foreign")
        try await restore(first.record.id)
        #expect(try await backUp(etcdID: "beef").condition == .verified)
        #expect(try await backUp(etcdID: "f00d").condition.rawValue == "foreign")
        #expect(try await backUp(etcdID: "cafe").condition == .verified)
        #expect(try await catalogue.cluster("a").identities.map(\.id) == ["cafe", "beef"])
    }

    /// What says nothing of which etcd the cluster is now must not use the explanation up.
    @Test(arguments: ["import", "damaged"])
    func aRestoreStillExplainsANewIdAfterOtherSnapshots(_ what: String) async throws {
        let first = try await backUp()
        try await restore(first.record.id)
        clock.advance(.seconds(60))
        var record = Fixture.record("20261124-070000-zzzz")
        record.storedAt = clock.now
        if what == "import" {
            record.imported = SnapshotImport(by: "root", file: "s.db", isRawDatabase: false)
        } else {
            record.verification = SnapshotVerification(
                status: nil, findings: [.init(kind: "page", reason: "")], totalFindings: 1)
        }
        try await catalogue.add(record, by: "root")
        #expect(try await backUp(etcdID: "beef").condition == .verified)
    }

    @Test func aRebuiltCatalogueKnowsWhatWasForeign() async throws {
        let own = try await backUp()
        let foreign = try await backUp(etcdID: "f00d")
        let empty = try Fixture.catalogue()
        _ = try await Vault(store: vault.store, catalogue: empty).reconcile()
        #expect(try await empty.snapshot(own.record.id).condition == .verified)
        #expect(try await empty.snapshot(foreign.record.id).condition.rawValue == "foreign")
    }

    /// A lost backup may still arrive; not for ever.
    @Test func whatArrivedOfALostBackupIsKeptForAWeek() async throws {
        let job = try await catalogue.createBackup(cluster: "a", node: "n1", lifetime: .seconds(600), by: "root")
        _ = try await catalogue.willSend(job.id)
        try await catalogue.answered(job.id)
        let sample = try SampleSnapshot(etcd: job.snapshot, job: job.id)
        let request = UploadRequest(job: job.id, snapshot: job.snapshot, facts: sample.record.facts)
        let session = try await vault.begin(request, from: node)
        try await session.append(sample.bytes[..<700])
        await session.close()
        clock.advance(.seconds(3 * 86_400))
        _ = try await catalogue.tick(connected: [])
        #expect(try await catalogue.job(job.id).state == .lost)
        clock.advance(.seconds(6 * 86_400))
        #expect(try await vault.reconcile().discarded.isEmpty)
        clock.advance(.seconds(86_400))
        #expect(try await vault.reconcile().discarded == [Vault.key(request)])
        #expect(try vault.store.incoming().isEmpty)
    }

    @Test func theNodesClockIsBelievedWithinBounds() async throws {
        let good = try await backUp(saved: clock.now.adding(.seconds(100)))
        #expect(good.record.facts.warnings.isEmpty)
        let ahead = try await backUp(saved: clock.now.adding(.seconds(86_400)))
        #expect(ahead.record.facts.savedAt <= clock.now.adding(.seconds(300)))
        #expect(ahead.record.facts.warnings.count == 1)
        let behind = try await backUp(saved: clock.now.adding(.seconds(-86_400)))
        #expect(behind.record.facts.savedAt >= clock.now.adding(.seconds(-400)))
        #expect(behind.record.facts.warnings.count == 1)
        #expect(try vault.store.list().records.contains(behind.record))
    }
}
