import EtcdSampleFiles
import FleetCrypto
import FleetProtocol
import FleetReactor
import FleetRepository
import FleetSQLite
import FleetSystem
import RepositoryTestFiles
import Testing

@testable import FleetCoordinator

/// The configuration of nodes, from what an agent says to what a snapshot refers to.
@Suite("Bundles") struct BundleTests {
    static func bundle(
        _ text: String, leftOut: Int? = nil, kind: String = "pki", keys: [String]? = nil
    ) throws -> Bundle {
        let bytes = Array("-----BEGIN PRIVATE KEY-----\(text)".utf8)
        let file = BundleManifest.File(
            path: "/etc/kubernetes/pki/ca.key", kind: kind, size: bytes.count, sha256: SHA256.hash(bytes).hex,
            mode: 0o600,
            owner: 0, group: 0, modified: 7, holdsSecret: true, encryptionKeys: keys)
        return try Bundle(BundleManifest(files: [file], essentialLeftOut: leftOut), contents: [bytes])
    }

    private final class Setup {
        let files = PowerCutFiles()
        let clock = TestClock()
        var catalogue: Catalogue
        var vault: Vault
        let n1 = NodeName(cluster: "a", node: "n1")
        let n2 = NodeName(cluster: "a", node: "n2")
        private var number: UInt8 = 0

        init() async throws {
            catalogue = try await Fixture.fleet(clock)
            try await Fixture.enrol(catalogue, cluster: "a", node: "n2")
            vault = Vault(store: try RepositoryStore.test("/s", files: files), catalogue: catalogue, reserve: 0)
        }

        /// As an agent does it.
        ///
        /// - Returns: whether it was sent.
        @discardableResult
        func tell(
            _ text: String, from node: NodeName, leftOut: Int? = nil, kind: String = "pki",
            keys: [String]? = nil
        ) async throws -> Bool {
            let bytes = try BundleTests.bundle(text, leftOut: leftOut, kind: kind, keys: keys).encoded()
            let answer = try await vault.offer(BundleOffer(digest: SHA256.hash(bytes).hex), from: node)
            if answer.isWanted { try await vault.takeBundle(bytes, from: node) }
            return answer.isWanted
        }

        /// A backup through the whole of it.
        func backUp(value: String? = nil) async throws -> SnapshotRecord {
            number += 1
            let job = try await catalogue.createBackup(cluster: "a", node: "n1", lifetime: .seconds(600), by: "root")
            var etcd = SampleEtcd.rich()
            etcd.put("/n\(number)", value.map { Array($0.utf8) } ?? [number])
            let sample = try SampleSnapshot(etcd: job.snapshot, etcd, job: job.id)
            let request = UploadRequest(job: job.id, snapshot: job.snapshot, facts: sample.record.facts)
            let session = try await vault.begin(request, from: n1)
            try await session.append(sample.bytes)
            _ = try await session.finish(sample.digest)
            _ = try await catalogue.receive(
                JobEvent(
                    job: job.id, sequence: 1, time: clock.now, kind: .outcome,
                    outcome: JobOutcome(result: .succeeded, summary: "done")), from: n1)
            clock.advance(.seconds(60))
            return try await catalogue.snapshot(job.snapshot).record
        }

        /// What a cut left open has failed.
        func endOpen() async throws {
            for job in try await catalogue.jobs(JobFilter(cluster: "a", openOnly: true)) {
                _ = try await catalogue.receive(
                    JobEvent(
                        job: job.id, sequence: 1, time: clock.now, kind: .outcome,
                        outcome: JobOutcome(result: .failed, summary: "cut")), from: n1)
            }
        }

        func contents(_ record: SnapshotRecord) async throws -> [String: Bundle] {
            var all: [String: Bundle] = [:]
            for one in record.bundles ?? [] { all[one.node] = try Bundle.decode(try await vault.bundle(one.bundle)) }
            return all
        }

        var names: [String] { get throws { try (vault.store as! RepositoryStore).repository.bundles().map(\.name) } }

        func restart() throws {
            files.restart()
            vault = Vault(store: try RepositoryStore.test("/s", files: files), catalogue: catalogue, reserve: 0)
        }
    }

    @Test func aSnapshotRefersToTheNewestOfEachNode() async throws {
        let setup = try await Setup()
        #expect(try await setup.backUp().bundles == nil)
        #expect(try await setup.tell("one", from: setup.n1))
        #expect(try await setup.tell("two", from: setup.n2))
        #expect(try await !setup.tell("one", from: setup.n1), "what is known is not sent again")
        let first = try await setup.backUp()
        #expect(try await setup.tell("new", from: setup.n1))
        let second = try await setup.backUp()
        #expect(try await setup.contents(first) == ["n1": Self.bundle("one"), "n2": Self.bundle("two")])
        #expect(try await setup.contents(second) == ["n1": Self.bundle("new"), "n2": Self.bundle("two")])
        #expect(try setup.names.count == 3)
        let plain = setup.files.paths().filter {
            String(decoding: setup.files.bytes($0), as: UTF8.self).contains("PRIVATE KEY")
        }
        #expect(plain.isEmpty)
        // Whose agent was turned out is no node of the cluster's any more.
        _ = try await setup.catalogue.revoke(.agent(cluster: "a", node: "n2"), by: "root")
        #expect(try await setup.backUp().bundles?.map(\.node) == ["n1"])
        // It is freed with the last snapshot that has it.
        for record in [first, second] { try await setup.vault.delete(record.id, because: "test", by: "root") }
        #expect(try await setup.vault.collectBundles(dryRun: false).count == 2)
    }

    /// That keys are missing is said where the snapshot is made, and of the node.
    @Test func whatCouldNotBeKept() async throws {
        let setup = try await Setup()
        try await setup.tell("one", from: setup.n1, leftOut: 3)
        let record = try await setup.backUp()
        #expect(record.bundles?.first?.leftOut == 3)
        #expect(record.facts.warnings.contains { $0.contains("configuration of n1, 3 certificates") })
        #expect(try await setup.catalogue.agents(cluster: "a", node: "n1").first?.configuration?.leftOut == 3)
        try await setup.tell("two", from: setup.n1)
        #expect(try await setup.catalogue.agents(cluster: "a", node: "n1").first?.configuration?.leftOut == nil)
        #expect(try await setup.backUp().facts.warnings.allSatisfy { !$0.contains("could not be kept") })
    }

    /// Values that kube-apiserver has encrypted, and whether what decrypts them is kept, are known of a cluster.
    @Test func whatDecrypts() async throws {
        let setup = try await Setup()
        func known() async throws -> [String]? { try await setup.catalogue.cluster("a").encryptedAtRest }
        func decrypts() async throws -> Bool? {
            try await setup.catalogue.agents(cluster: "a", node: "n1").first?.configuration?.decrypts
        }
        try await setup.tell("one", from: setup.n1)
        _ = try await setup.backUp()
        #expect(try await known() == [])
        let record = try await setup.backUp(value: "k8s:enc:aescbc:v1:key1:xxxx")
        #expect(try await known() == ["aescbc"])
        #expect(try await decrypts() == false && record.bundles?.map(\.decrypts) == [false])
        try await setup.tell("two", from: setup.n1, kind: "encryption")
        #expect(try await decrypts() == true)
        #expect(try await setup.backUp().bundles?.map(\.decrypts) == [true])
    }

    /// It was stored by a coordinator that knew nothing of them, and the agent has nothing new to send.
    @Test func namesOfKeysAreLearntOfWhatIsStored() async throws {
        let setup = try await Setup()
        func keys() async throws -> [String]? {
            try await setup.catalogue.agents(cluster: "a", node: "n1").first?.configuration?.encryptionKeys
        }
        try await setup.tell("one", from: setup.n1, kind: "encryption", keys: ["aescbc/key1"])
        try await setup.catalogue.script("UPDATE node_bundles SET encryption_keys = NULL")
        #expect(try await keys() == nil)
        try await setup.tell("one", from: setup.n1, kind: "encryption", keys: ["aescbc/key1"])
        #expect(try await keys() == ["aescbc/key1"])
    }

    /// By the names of keys, and by what is kept with the newest snapshot, not by what has come since.
    @Test func whichKeysDecrypt() async throws {
        let setup = try await Setup()
        func decryption() async throws -> Decryption? { try await setup.catalogue.cluster("a").decryption }
        try await setup.tell("one", from: setup.n1, kind: "encryption", keys: ["aescbc/key1"])
        let first = try await setup.backUp(value: "k8s:enc:aescbc:v1:key9:xxxx")
        #expect(first.verification?.encryptionKeys == ["aescbc/key9"])
        #expect(first.bundles?.first?.encryptionKeys == ["aescbc/key1"])
        #expect(try await decryption() == Decryption(of: first))
        #expect(try await decryption()?.missing == ["aescbc/key9"])
        #expect(try await decryption()?.offered == ["aescbc/key1"])
        let text = try JSON.text(SnapshotEntry(record: first))
        #expect(text.contains(#""decryption":{"missing":["aescbc/key9"],"needed":["aescbc/key9"]"#))
        #expect(try JSON.decode(SnapshotEntry.self, from: text.utf8).record == first)
        try await setup.tell("two", from: setup.n2, kind: "encryption", keys: ["aescbc/key9"])
        #expect(
            try await setup.catalogue.agents(cluster: "a", node: "n2").first?.configuration?.encryptionKeys
                == ["aescbc/key9"])
        #expect(try await decryption()?.isKept == false, "it came behind the newest snapshot")
        _ = try await setup.backUp(value: "k8s:enc:aescbc:v1:key9:xxxx")
        #expect(try await decryption()?.missing == [])
        // An agent of before tells that there is such a file, and no more.
        try await setup.tell("three", from: setup.n2, kind: "encryption")
        _ = try await setup.backUp(value: "k8s:enc:kms:v2:mykms:xxxx")
        #expect(try await decryption()?.isKept == true)
        #expect(try await decryption()?.offered == nil)
    }

    @Test func soManyAnHour() async throws {
        let setup = try await Setup()
        for index in 0..<BundleQuota.limit { try await setup.tell("\(index)", from: setup.n1) }
        #expect(await code { try await setup.tell("more", from: setup.n1) } == .busy)
        #expect(try await !setup.tell("\(BundleQuota.limit - 1)", from: setup.n1), "what is there is confirmed")
        #expect(try await setup.tell("one", from: setup.n2), "another node's is another matter")
        let quota = BundleQuota()
        let now = ContinuousClock.now
        for _ in 0..<BundleQuota.limit { try await quota.take(setup.n1, at: now) }
        try await quota.take(setup.n1, at: now + .seconds(3600))
    }

    /// Turned off while one was on its way: nothing of it is left.
    @Test func turnedOffMeanwhile() async throws {
        let setup = try await Setup()
        _ = try await setup.catalogue.keepConfiguration("a", false, by: "root")
        #expect(
            await code {
                try await setup.catalogue.noteBundle("x", Self.bundle("one").manifest, of: setup.n1)
            } == .conflict)
        try await setup.catalogue.noteBundleProblem(FleetError(.malformed, "x"), of: setup.n1)
        #expect(try await setup.catalogue.agents(cluster: "a", node: "n1").first?.configuration == nil)
    }

    @Test func itIsFreedWithTheLastSnapshotThatRefersToIt() async throws {
        let setup = try await Setup()
        try await setup.tell("old", from: setup.n1)
        let (first, second) = (try await setup.backUp(), try await setup.backUp())
        try await setup.tell("new", from: setup.n1)
        let third = try await setup.backUp()
        let old = try #require(first.bundles?.first?.bundle)
        try await setup.vault.delete(first.id, because: "test", by: "root")
        #expect(try await setup.vault.collectBundles(dryRun: false).isEmpty, "another snapshot has it")
        try await setup.vault.delete(second.id, because: "test", by: "root")
        #expect(try await setup.vault.collectBundles(dryRun: true).count == 1)
        #expect(try setup.names.contains(old))
        #expect(try await setup.vault.collectBundles(dryRun: false).count == 1)
        #expect(try !setup.names.contains(old))
        #expect(try await setup.contents(third) == ["n1": Self.bundle("new")])
        // It comes back to what it was, which is gone: it is wanted again.
        #expect(try await setup.tell("old", from: setup.n1))
    }

    /// What a node has now stays, also where no snapshot refers to it yet.
    @Test func theNewestIsNotCollected() async throws {
        let setup = try await Setup()
        try await setup.tell("one", from: setup.n1)
        #expect(try await setup.vault.collectBundles(dryRun: false).isEmpty)
        #expect(try await setup.backUp().bundles?.count == 1)
    }

    @Test func aSnapshotThatCanNotBeReadStopsTheCollection() async throws {
        let setup = try await Setup()
        try await setup.tell("one", from: setup.n1)
        let record = try await setup.backUp()
        try await setup.tell("two", from: setup.n1)
        setup.files.flip("/s/snapshots/\(record.id)", byte: 60, bit: 1)
        try setup.restart()
        #expect(await code { _ = try await setup.vault.collectBundles(dryRun: false) } == .snapshotDamaged)
        #expect(try setup.names.count == 2)
    }

    @Test func aCatalogueFromTheStoreAloneKnowsThem() async throws {
        let setup = try await Setup()
        try await setup.tell("one", from: setup.n1)
        try await setup.tell("dead", from: setup.n2)
        let first = try await setup.backUp()
        setup.catalogue = try Fixture.catalogue(setup.clock)
        try setup.restart()
        #expect(try await setup.vault.reconcile().added == [first.id])
        #expect(try await setup.contents(setup.catalogue.snapshot(first.id).record).count == 2)
        #expect(try await setup.vault.collectBundles(dryRun: false).isEmpty)
        // Agents are enrolled anew; that of a node that is none any more is no later snapshot's.
        try await Fixture.enrol(setup.catalogue, cluster: "a", node: "n1")
        _ = try await setup.catalogue.registered(setup.n1, Fixture.registration(), hasJustConnected: true)
        #expect(try await !setup.tell("one", from: setup.n1))
        #expect(try await setup.backUp().bundles?.map(\.node) == ["n1"])
    }

    @Test func damageIsFoundNamedAndPutRight() async throws {
        let setup = try await Setup()
        try await setup.tell("one", from: setup.n1)
        try await setup.tell("two", from: setup.n2)
        let record = try await setup.backUp()
        #expect(try await setup.vault.checkBundles().isEmpty)
        let store = setup.vault.store as! RepositoryStore
        let paths = try #require(record.bundles).map { store.bundlePath($0.bundle) }
        setup.files.flip(paths[0], byte: 50, bit: 3)
        try setup.files.remove(paths[1])
        let findings = try await setup.vault.checkBundles()
        #expect(Set(findings.map(\.path)) == Set(paths))
        #expect(Set(findings.map(\.problem.code)) == [.snapshotDamaged, .notFound])
        #expect(findings.allSatisfy { $0.snapshots == [record.id] })
        #expect(try await setup.catalogue.snapshot(record.id).condition == .verified, "its data can be restored")
        // The nodes still have it: it is wanted, and the snapshot has it again.
        #expect(try await setup.tell("one", from: setup.n1))
        #expect(try await setup.tell("two", from: setup.n2))
        #expect(try await setup.vault.checkBundles().isEmpty)
        #expect(try await setup.contents(record).count == 2)
    }

    /// Also without a check: what is not there is no snapshot's.
    @Test func aLostOneIsWantedAgain() async throws {
        let setup = try await Setup()
        try await setup.tell("one", from: setup.n1)
        let name = try #require(try setup.names.first)
        try setup.files.remove("/s/bundles/\(name)")
        #expect(try await setup.backUp().bundles == nil)
        #expect(try await setup.tell("one", from: setup.n1))
        #expect(try await setup.backUp().bundles?.count == 1)
    }

    @Test func turnedOff() async throws {
        let setup = try await Setup()
        try await setup.tell("one", from: setup.n1)
        let record = try await setup.backUp()
        #expect(try await setup.catalogue.keepConfiguration("a", false, by: "root") == 1)
        #expect(
            try await setup.vault.offer(BundleOffer(), from: setup.n1) == BundleAnswer(isOn: false, isWanted: false))
        let bytes = try Self.bundle("two").encoded()
        #expect(await code { try await setup.vault.takeBundle(bytes, from: setup.n1) } == .conflict)
        #expect(try await setup.backUp().bundles == nil)
        #expect(try await setup.vault.collectBundles(dryRun: false).isEmpty)
        #expect(try await setup.contents(record).count == 1)
        #expect(try await setup.vault.offer(BundleOffer(), from: NodeName(cluster: "b", node: "n1")).isOn)
        _ = try await setup.catalogue.keepConfiguration("a", true, by: "root")
        #expect(try await setup.tell("one", from: setup.n1))
        #expect(
            try await setup.backUp().bundles
                == [record.bundles![0]].map { one in
                    var one = one
                    (one.collected, one.confirmed) = (
                        setup.clock.now.adding(.seconds(-60)), setup.clock.now.adding(.seconds(-60))
                    )
                    return one
                })
        #expect(await code { _ = try await setup.catalogue.keepConfiguration("c", true, by: "root") } == .notFound)
        let actions = try await setup.catalogue.auditLog().map(\.event.action)
        #expect(actions.contains("bundle.off") && actions.contains("bundle.on") && actions.contains("bundle.store"))
    }

    @Test func whatIsNoBundleIsRefusedAndTold() async throws {
        let setup = try await Setup()
        #expect(await code { try await setup.vault.takeBundle([1, 2, 3], from: setup.n1) } == .malformed)
        #expect(
            try await setup.catalogue.agents(cluster: "a", node: "n1").first?.configuration?.problem?.code == .malformed
        )
        #expect(try setup.names.isEmpty)
        #expect(
            await code { _ = try await setup.vault.offer(BundleOffer(digest: "../x"), from: setup.n1) } == .malformed)
        try await setup.tell("one", from: setup.n1)
        let state = try await setup.catalogue.agents(cluster: "a", node: "n1").first?.configuration
        #expect(state?.problem == nil && state?.confirmed != nil)
        #expect(try await setup.catalogue.agents(cluster: "a", node: "n2").first?.configuration == nil)
    }

    /// The power goes at each step of taking one in and of the backup behind it: no snapshot refers to what is not there.
    @Test func powerCuts() async throws {
        var step = 1
        while true {
            let setup = try await Setup()
            try await setup.tell("old", from: setup.n1)
            _ = try await setup.backUp()
            setup.files.fail(atStep: step, .cut, keepsUnsynced: step.isMultiple(of: 2))
            var isCut = false
            do {
                try await setup.tell("new", from: setup.n1)
                _ = try await setup.backUp()
            } catch { isCut = true }
            try setup.restart()
            try await setup.endOpen()
            _ = try await setup.vault.reconcile()
            _ = try await setup.vault.collectBundles(dryRun: false)
            for record in try setup.vault.store.list().records { _ = try await setup.contents(record) }
            #expect(try await setup.vault.checkBundles().isEmpty, "step \(step)")
            try await setup.tell("new", from: setup.n1)
            #expect(try await setup.contents(setup.backUp()) == ["n1": Self.bundle("new")], "step \(step)")
            guard isCut else { break }
            step += 1
        }
        #expect(step > 8)
    }
}

/// The same through the connection, by role.
@Suite("Bundle methods") struct BundleMethodTests {
    private func send(_ bundle: Bundle, _ connection: Connection) async throws {
        let bytes = try bundle.encoded()
        let stream = try await connection.open(Method.sendBundle, try JSON.encode(BundleOffer()))
        try await stream.send(bytes)
        try await stream.finish(StreamDigest(of: bytes))
        _ = try JSON.decode(Acknowledgement.self, from: try await stream.receiveReply())
    }

    private func export(_ request: BundleRequest, _ connection: Connection) async throws -> Bundle {
        let stream = try await connection.open(ControlMethod.exportBundle, try JSON.encode(request), ends: true)
        var bytes: [UInt8] = []
        while true {
            switch try await stream.receive() {
            case .data(let piece): bytes += piece
            case .end(let body):
                #expect(try JSON.decode(StreamDigest.self, from: body) == StreamDigest(of: bytes))
                return try Bundle.decode(bytes)
            case .message: throw FleetError(.protocolViolation, "a message")
            }
        }
    }

    @Test func byRoleAndCluster() async throws {
        let server = try await TestServer()
        _ = try await server.catalogue.addCluster("a", by: "root")
        _ = try await server.catalogue.addCluster("b", by: "root")
        let agent = try await server.dial(.agent(cluster: "a", node: "n1"))
        let _: Acknowledgement = try await agent.call(Method.register, Fixture.registration())
        let bundle = try BundleTests.bundle("one")
        let answer: BundleAnswer = try await agent.call(Method.offerBundle, BundleOffer())
        #expect(answer == BundleAnswer(isOn: true, isWanted: false))
        try await send(bundle, agent)
        let bundles = try await server.catalogue.newestBundles("a")
        var record = Fixture.record("s1")
        record.bundles = bundles
        try await server.catalogue.add(record, by: "root")

        let viewer = try await server.dial(.operator(name: "v"), as: OperatorAccess(role: .viewer))
        let shown: BundleReply = try await viewer.call(ControlMethod.showBundle, BundleRequest(snapshot: "s1"))
        #expect(shown.nodes[0].manifest?.files[0].sha256 == "", "a viewer can't guess at keys")
        #expect(shown.nodes.map(\.manifest) == [bundle.forViewers] && shown.isOn)
        let request = BundleRequest(snapshot: "s1", node: "n1")
        #expect(await code { _ = try await export(request, viewer) } == .permissionDenied)
        let restorer = try await server.dial(.operator(name: "r"), as: OperatorAccess(role: .restorer))
        #expect(try await export(request, restorer) == bundle)
        #expect(await code { _ = try await export(BundleRequest(snapshot: "s1"), restorer) } == .usage)
        #expect(await code { _ = try await export(BundleRequest(snapshot: "s1", node: "n9"), restorer) } == .notFound)
        let events = try await server.events("bundle.export")
        #expect(events.contains { $0.outcome == .ok && $0.actor == "operator:r" && $0.detail["node"] == "n1" })
        #expect(events.contains { $0.actor == "operator:v" && $0.outcome != .ok })

        // Of another cluster nothing is there.
        var access = OperatorAccess(role: .restorer)
        access.clusters = ClusterSelector(clusters: ["b"])
        let other = try await server.dial(.operator(name: "o"), as: access)
        #expect(await code { _ = try await export(request, other) } == .notFound)
        let off = BundleSwitch(cluster: "a", isOn: false)
        #expect(
            await code { let _: BundleSwitchReply = try await restorer.call(ControlMethod.switchBundles, off) }
                == .permissionDenied)
        let root = try await server.operate()
        let reply: BundleSwitchReply = try await root.call(ControlMethod.switchBundles, off)
        #expect(reply.snapshots == 1)
        #expect(await code { try await send(bundle, agent) } == .conflict)
        await server.stop()
    }

    @Test func certificatesOfTheNode() async throws {
        let server = try await TestServer()
        _ = try await server.catalogue.addCluster("a", by: "root")
        let agent = try await server.dial(.agent(cluster: "a", node: "n1"))
        var request = Fixture.registration()
        let soon = Timestamp.now().adding(.seconds(5 * 86_400))
        request.certificates = [
            CertificateExpiry(path: "/etc/kubernetes/pki/apiserver.crt", notAfter: soon, subject: "kube-apiserver")
        ]
        let _: Acknowledgement = try await agent.call(Method.register, request)
        let record = try await server.catalogue.agents(cluster: "a").first
        #expect(record?.nodeCertificates == request.certificates)
        #expect(try await server.events("node.certificates").map { $0.detail["certificatesEnding"] != nil } == [true])
        // The same again is no news; an agent that says nothing takes nothing back; what was renewed is.
        let _: Acknowledgement = try await agent.call(Method.register, request)
        request.certificates = nil
        let _: Acknowledgement = try await agent.call(Method.register, request)
        #expect(try await server.catalogue.agents(cluster: "a").first?.nodeCertificates?.count == 1)
        #expect(try await server.events("node.certificates").count == 1)
        request.certificates = [CertificateExpiry(path: "/x", notAfter: soon.adding(.seconds(300 * 86_400)))]
        let _: Acknowledgement = try await agent.call(Method.register, request)
        #expect(
            try await server.events("node.certificates").map { $0.detail["certificatesEnding"] != nil }.sorted {
                $0 && !$1
            }
                == [true, false])
        request.certificates = [300, 5, 301].map { days in
            CertificateExpiry(path: "/\(days)", notAfter: .now().adding(.seconds(days * 86_400)))
        }
        let _: Acknowledgement = try await agent.call(Method.register, request)
        let root = try await server.operate()
        let listed = try await root.call(ControlMethod.listAgents, ListRequest(), as: [AgentRecord].self).first
        #expect(listed?.nodeCertificates?.map(\.path) == ["/5"], "a list is of many nodes")
        let shown = try await root.call(ControlMethod.showCluster, NameRequest(name: "a"), as: ClusterDetail.self)
        #expect(shown.agents.first?.nodeCertificates?.count == 3)
        await server.stop()
    }
}
