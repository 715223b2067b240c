import EtcdSampleFiles
import FleetCrypto
import FleetSystem
import Testing

@testable import EtcdSnapshot

func report(_ bytes: [UInt8]) throws -> SnapshotReport { try SnapshotReader(MemoryPages(bytes)).report() }

func withTrailer(_ bytes: [UInt8]) -> [UInt8] { bytes + SHA256.hash(bytes) }

@Suite struct ReaderTests {
    @Test(arguments: [1024, 4096, 16384, 65536], [false, true])
    func everyShapeIsRead(pageSize: Int, keepsFreelist: Bool) throws {
        let pages = SampleEtcd.rich(pageSize: pageSize, keepsFreelist: keepsFreelist).build(compacted: 10)
        let found = try report(withTrailer(pages))
        #expect(found.findings == [] && found.isSound)
        #expect(found.revision == 33 && found.liveKeys == 25 && found.compactRevision == 10)
        #expect(found.totalKey == 32 + 5 + 1 + 1 + 1 + 1 + 1 + 2 + 1 + 1 && found.totalSize == Int64(pages.count))
        #expect(found.pageSize == pageSize && found.sha256?.ok == true && found.clusterVersion == "3.5.0")
        #expect(found.members.map(\.id) == ["8e9e05c52164694d"] && found.removedMembers == 1)
        #expect(found.alarms == [SnapshotAlarm(member: "8e9e05c52164694d", alarm: "NOSPACE")])
        #expect(found.auth == SnapshotAuth(enabled: true, users: 1, roles: 1, revision: 3) && found.leases == 1)
        // A raw database is the same without the digest, and may be longer than its pages.
        let raw = try report(pages + [UInt8](repeating: 9, count: 3 * pageSize))
        #expect(raw.isSound && raw.sha256 == nil && raw.hash == found.hash && raw.hashKV == found.hashKV)
    }

    /// What stands in a value is anybody's: a name that is none of a provider's is not repeated.
    @Test func valuesThatAreEncryptedAtRest() throws {
        var etcd = SampleEtcd.rich()
        #expect(try report(etcd.build()).encryptedAtRest.isEmpty)
        etcd.put("/registry/secrets/a/one", Array("k8s:enc:secretbox:v1:key1:xxxx".utf8))
        etcd.put("/registry/secrets/a/two", Array("k8s:enc:kms:v2:name:xxxx".utf8))
        etcd.put("/registry/secrets/a/three", Array("k8s:enc:password123:x".utf8))
        etcd.put("/registry/secrets/a/four", Array("k8s:enc:".utf8))
        #expect(try report(etcd.build()).encryptedAtRest == ["kms", "secretbox", "other"])
    }

    /// By the live values alone, and nothing that could be anything else is repeated.
    @Test func theKeysThatValuesAreEncryptedBy() throws {
        func keys(_ values: [String], kept: [(String, String)] = []) throws -> [String]? {
            var etcd = SampleEtcd.rich()
            for (key, value) in kept { etcd.put(key, Array(value.utf8)) }
            for (index, value) in values.enumerated() { etcd.put("/registry/secrets/a/\(index)", Array(value.utf8)) }
            return try report(etcd.build()).encryptionKeys
        }
        #expect(try keys([]) == [])
        #expect(
            try keys([
                "k8s:enc:aescbc:v1:key9:xxxx", "k8s:enc:kms:v2:mykms:xxxx", "k8s:enc:kms:v1:mykms:x",
                "k8s:enc:aescbc:v1:key9:yyyy", "k8s:enc:aescbc:v1:key1:yyyy", "k8s:enc:secretbox:v1:a/b:", "plain",
            ]) == ["aescbc/key1", "aescbc/key9", "kms/mykms", "secretbox/a/b"])
        // A name that is none, too long, not printable, or not ended; what comes behind it is seen all the same.
        let long = String(repeating: "n", count: 65)
        for odd in ["v1::", "v1:\(long):", "v1:a\u{1b}[31m:", "v1:name", "", "v3:name:", "v1:é:"] {
            #expect(
                try keys(["k8s:enc:other:v1:x:", "k8s:enc:aescbc:\(odd)", "k8s:enc:aescbc:v1:key1:x"])
                    == ["aescbc", "aescbc/key1", "other"], "\(odd)")
        }
        let many = try keys((0..<40).map { "k8s:enc:aescbc:v1:key\($0):x" } + ["k8s:enc:kms:cut"])
        #expect(many?.count == LiveValues.limit + 1 && many?.contains("kms") == true)
        // Encrypted by another since, or not any more.
        #expect(
            try keys(["k8s:enc:aescbc:v1:new:x"], kept: [("/registry/secrets/a/0", "k8s:enc:aescbc:v1:old:x")])
                == ["aescbc/new"])
        #expect(try keys(["plain"], kept: [("/registry/secrets/a/0", "k8s:enc:aescbc:v1:old:x")]) == [])
    }

    @Test func whatKubernetesKeeps() throws {
        func holds(_ key: String, _ value: String) throws -> Bool? {
            var etcd = SampleEtcd()
            etcd.put("/other", Array("k8s".utf8))
            etcd.put(key, Array(value.utf8))
            return try report(etcd.build()).holdsKubernetes
        }
        #expect(try holds("/registry/pods/a/b", "x") == true)
        #expect(try holds("/another-prefix/pods/a/b", "k8s\0x") == true)
        #expect(try holds("/another-prefix/secrets/a/b", "k8s:enc:kms:v2:x:") == true)
        #expect(try holds("/registry", "x") == false)
    }

    @Test func aDigestThatIsKnownIsNotComputedAgain() throws {
        let pages = SampleEtcd.rich().build()
        let reader = try SnapshotReader(MemoryPages(withTrailer(pages)))
        #expect(try reader.report(computed: SHA256.hash(pages)) == reader.report())
        let wrong = try reader.report(computed: SHA256.hash([1]))
        #expect(wrong.sha256?.ok == false && wrong.findings.map(\.kind) == [.trailer])
        #expect(try SnapshotReader(MemoryPages(pages)).report(computed: SHA256.hash(pages)).sha256 == nil)
    }

    @Test func eitherMetaIsEnough() throws {
        for pageSize in [1024, 4096, 65536] {
            let pages = SampleEtcd.rich(pageSize: pageSize).build()
            let whole = try report(pages)
            for damaged in 0..<2 {
                var copy = pages
                copy[damaged * pageSize + 60] ^= 1
                let found = try report(copy)
                #expect(found.hash == whole.hash && found.findings.map(\.kind) == [.meta])
                #expect(found.findings[0].page == UInt64(damaged))
            }
        }
    }

    @Test func whatIsNoSnapshotIsSaid() throws {
        let pages = SampleEtcd.rich().build()
        var noMeta = pages
        noMeta[60] ^= 1
        noMeta[1024 + 60] ^= 1
        for bytes in [[], [1, 2, 3], [UInt8](repeating: 0, count: 8192), Array("PK".utf8), noMeta] {
            #expect(throws: FleetError.self) { try report(bytes) }
            do { _ = try report(bytes) } catch let error as FleetError { #expect(error.code == .notASnapshot) }
        }
    }

    @Test func aSnapshotThatWasCutOffHasFindings() throws {
        let bytes = withTrailer(SampleEtcd.rich().build())
        for length in stride(from: 1104, to: bytes.count, by: 37) {
            let found = try report(Array(bytes[..<length]))
            #expect(!found.isSound)
            #expect(found.findings.contains { $0.kind == .length })
        }
    }

    @Test func severalPassesGiveWhatOneGives() throws {
        var sample = SampleEtcd()
        for i in 0..<3000 { sample.put("/registry/pods/ns/\(i * 7919 % 2000)", [UInt8(truncatingIfNeeded: i)]) }
        for i in 0..<500 { sample.delete("/registry/pods/ns/\(i)") }
        let pages = MemoryPages(sample.build(compacted: 2500))
        let whole = try SnapshotReader(pages)
        var small = whole
        small.slotLimit = 128
        #expect(try whole.report() == small.report())
        #expect(try whole.report().liveKeys == 1500)
        #expect(try whole.liveKeys() == small.liveKeys())
        #expect(try SnapshotDiff(from: small, to: whole).unchanged == 1500)
        small.slotLimit = 8
        let tooMany = try small.report()
        #expect(tooMany.liveKeys == nil && tooMany.hashKV == nil && tooMany.findings.map(\.kind) == [.limit])
        #expect(throws: FleetError.self) { try small.liveKeys() }
    }

    @Test func liveKeysAndTheirValues() throws {
        let reader = try SnapshotReader(MemoryPages(SampleEtcd.rich().build()))
        let pods = try reader.liveKeys(prefix: Array("/registry/pods/".utf8))
        #expect(pods.count == 23 && pods.map(\.name) == pods.map(\.name).sorted())
        let lease = try #require(try reader.liveKey(Array("/registry/leases/kube-node-lease/n".utf8)))
        #expect(lease.version == 4 && lease.lease == 77 && lease.createRevision == 27 && lease.modRevision == 30)
        #expect(try reader.value(of: lease) == [3])
        let again = try #require(try reader.liveKey(Array("/registry/pods/ns-1/pod-4".utf8)))
        #expect(again.version == 1)
        #expect(try reader.liveKey(Array("/registry/pods/ns-0/pod-3".utf8)) == nil)
        let big = try #require(try reader.liveKey(Array("/registry/secrets/ns-1/big".utf8)))
        #expect(try reader.value(of: big) == [UInt8](repeating: 7, count: 2148))
    }

    @Test func differencesAreCountedByKindAndNamespace() throws {
        let before = SampleEtcd.rich()
        var after = before
        after.put("/registry/pods/ns-1/new", [1])
        after.put("/registry/pods/ns-1/pod-1", [9])
        after.delete("/registry/pods/ns-2/pod-2")
        after.put("/registry/cert-manager.io/certificates/ns-2/c", [1])
        let (old, new) = (
            try SnapshotReader(MemoryPages(before.build())), try SnapshotReader(MemoryPages(after.build()))
        )
        var changes: [String] = []
        let diff = try SnapshotDiff(from: old, to: new) { change, key throws(FleetError) in
            changes.append("\(change) \(key.name)")
        }
        #expect(
            changes.sorted() == [
                "added /registry/cert-manager.io/certificates/ns-2/c", "added /registry/pods/ns-1/new",
                "changed /registry/pods/ns-1/pod-1", "removed /registry/pods/ns-2/pod-2",
            ])
        #expect(diff.total == .init(added: 2, changed: 1, removed: 1) && diff.unchanged == 23)
        #expect(
            diff.groups == [
                .init(kind: "cert-manager.io/certificates", namespace: "ns-2", counts: .init(added: 1)),
                .init(kind: "pods", namespace: "ns-1", counts: .init(added: 1, changed: 1)),
                .init(kind: "pods", namespace: "ns-2", counts: .init(removed: 1)),
            ])
        let back = try SnapshotDiff(from: new, to: old, prefix: Array("/registry/pods/".utf8))
        #expect(back.total == .init(added: 1, changed: 1, removed: 1))
    }

    @Test(arguments: [
        ("/registry/pods/ns/p", "pods", "ns"), ("/registry/namespaces/ns", "namespaces", ""),
        ("/registry/services/specs/ns/s", "services/specs", "ns"), ("/registry/a.io/things/x", "a.io/things", ""),
        ("/registry/a.io/things/ns/x", "a.io/things", "ns"), ("plain", "(other)", ""), ("/registry", "(other)", ""),
        ("/registry/masterleases/10.0.0.1", "masterleases", ""), ("", "(other)", ""),
    ])
    func names(key: String, kind: String, namespace: String) {
        #expect(KubernetesName(key: Array(key.utf8)) == KubernetesName(kind: kind, namespace: namespace))
    }

    /// A key may be megabytes long, and thousands of names are held at once.
    @Test func namesAreCut() throws {
        let long = String(repeating: "é", count: 200_000)
        let name = KubernetesName(key: Array("/registry/\(long)/x\(long)/y".utf8))
        #expect(name.kind == String(repeating: "é", count: 128))
        #expect(name.namespace == "x" + String(repeating: "é", count: 127))
        let custom = KubernetesName(key: Array("/registry/a.\(long)/\(long)/ns/y".utf8))
        #expect(custom.kind.utf8.count <= 513 && custom.namespace == "ns")
        #expect(KubernetesName(key: [UInt8](repeating: 0x80, count: 10_000)).kind == "(other)")
        let broken = Array("/registry/".utf8) + [UInt8](repeating: 0x80, count: 10_000) + Array("/x".utf8)
        #expect(KubernetesName(key: broken).kind.utf8.count <= 3 * 256)
        // The longest that Kubernetes has: a group of 253.
        let group = String(repeating: "g", count: 249) + ".io."
        #expect(KubernetesName(key: Array("/registry/\(group)/things/x".utf8)).kind == "\(group)/things")

        var after = SampleEtcd()
        for i in 0..<3 { after.put("/registry/\(String(repeating: "k", count: 3000))\(i)/x/y", [1]) }
        let diff = try SnapshotDiff(
            from: SnapshotReader(MemoryPages(SampleEtcd().build())), to: SnapshotReader(MemoryPages(after.build())))
        #expect(
            diff.groups == [.init(kind: String(repeating: "k", count: 256), namespace: "x", counts: .init(added: 3))])
    }

    @Test func checksums() {
        #expect(CRC32C.checksum(Array("123456789".utf8)) == 0xE306_9283)
        let bytes = (0..<10_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        for cut in [0, 1, 7, 8, 9, 500, 1535, 1536, 1537, 4608, 9999, 10_000] {
            var pieces = CRC32C()
            pieces.update(Array(bytes[..<cut]))
            pieces.update(Array(bytes[cut...]))
            #expect(pieces.value == CRC32C.checksum(bytes))
            #expect(bytes[..<cut].withUnsafeBytes { ~CRC32C.portable(~0, $0) } == CRC32C.checksum(Array(bytes[..<cut])))
        }
    }
}
