import EtcdSnapshot
import FleetCrypto
import FleetProtocol
import FleetRepository
import FleetSystem
import Glibc
import RealEtcdProcess
import Testing

@testable import FleetCoordinator

/// A real etcd, its real tools, and the ingest path over a repository on the disk.
@Suite("Verification of a real etcd's snapshots", .timeLimit(.minutes(2)))
struct RealEtcdIngestTests {
    struct Programs: Sendable, CustomTestStringConvertible {
        var version: String, directory: String, statusTool: String
        var testDescription: String { version }
    }

    static let installed: [Programs] = {
        var all: [Programs] = []
        if FileSystem.exists("/usr/bin/etcd"), FileSystem.exists("/usr/bin/etcdctl") {
            all.append(Programs(version: "3.4", directory: "/usr/bin", statusTool: "/usr/bin/etcdctl"))
        }
        if let path = getenv("ETCD35_DIR").map({ String(cString: $0) }), FileSystem.exists(path + "/etcdutl") {
            all.append(Programs(version: "3.5", directory: path, statusTool: path + "/etcdutl"))
        }
        return all
    }()

    private let node = NodeName(cluster: "a", node: "n1")

    private func call(_ programs: Programs, _ etcd: LoopbackEtcd, _ words: String...) throws -> String {
        try Subprocess.check(
            programs.directory + "/etcdctl", ["--endpoints=\(etcd.client)"] + words,
            environment: LoopbackEtcd.environment
        ).outputText
    }

    /// What the agent would report of a file.
    private func facts(_ path: String, _ programs: Programs) throws -> SnapshotFacts {
        let told = try Subprocess.check(
            programs.statusTool, ["snapshot", "status", path, "-w", "json"], environment: LoopbackEtcd.environment)
        var facts = Fixture.facts(size: Int64(try FileSystem.read(path).count))
        facts.status = try JSON.decode(SnapshotStatus.self, from: told.output)
        return facts
    }

    /// What comes out of the repository, through etcd's own restore and into an etcd that serves it.
    private func restores(_ bytes: [UInt8], _ programs: Programs, live: Int) throws {
        let directory = try TemporaryDirectory()
        let file = directory.path + "/exported.db"
        try FileSystem.writeDurably(file, bytes)
        _ = try Subprocess.check(
            programs.statusTool, ["snapshot", "restore", file, "--data-dir", directory.path + "/data"],
            environment: LoopbackEtcd.environment)
        let etcd = try LoopbackEtcd(
            programs: programs.directory, dataDir: directory.path + "/data", flags: ["--force-new-cluster"])
        let keys = try call(programs, etcd, "get", "", "--prefix", "--keys-only").split(separator: "\n")
        #expect(keys.count == live)
    }

    @Test(arguments: installed)
    func aSnapshotIsVerifiedAndATamperedOneIsNot(_ programs: Programs) async throws {
        let etcd = try LoopbackEtcd(programs: programs.directory)
        for i in 0..<300 {
            _ = try call(programs, etcd, "put", "/registry/pods/ns-\(i % 7)/p-\(i % 90)", "value \(i)")
        }
        _ = try call(programs, etcd, "del", "/registry/pods/ns-0/p-0")
        let lease = try call(programs, etcd, "lease", "grant", "600").split(separator: " ")[1]
        _ = try call(programs, etcd, "put", "--lease=\(lease)", "/registry/leases/n", "1")
        let path = etcd.directory + "/s.db"
        _ = try call(programs, etcd, "snapshot", "save", path)
        let facts = try facts(path, programs)
        let bytes = try FileSystem.read(path)

        let directory = try TemporaryDirectory()
        let catalogue = try await Fixture.fleet()
        let vault = Vault(
            store: try RepositoryStore.test(directory.path + "/store"), catalogue: catalogue, reserve: 0)
        func upload(_ bytes: [UInt8], _ facts: SnapshotFacts, end: JobOutcome.Result) async throws -> SnapshotEntry {
            let job = try await catalogue.createBackup(
                cluster: "a", node: "n1", lifetime: .seconds(600), by: "root")
            let request = UploadRequest(job: job.id, snapshot: job.snapshot, facts: facts)
            let session = try await vault.begin(request, from: node)
            try await session.append(bytes)
            let digest = StreamDigest(length: Int64(bytes.count), sha256: SHA256.hash(bytes).hex)
            let failure = await code { _ = try await session.finish(digest) }
            #expect(failure == (end == .succeeded ? nil : .snapshotUnsound))
            _ = try await catalogue.receive(
                JobEvent(
                    job: job.id, sequence: 1, time: .now(), kind: .outcome,
                    outcome: JobOutcome(
                        result: end, error: failure.map { FleetError($0, "no") }, summary: "")), from: node)
            #expect(try await catalogue.job(job.id).state.rawValue == end.rawValue)
            return try await catalogue.snapshot(job.snapshot)
        }

        let sound = try await upload(bytes, facts, end: .succeeded)
        #expect(sound.condition == .verified)
        let verification = try #require(sound.record.verification)
        #expect(verification.status == facts.status)
        let visible = try call(programs, etcd, "get", "", "--prefix", "--keys-only").split(separator: "\n").count
        #expect(verification.liveKeys == Int64(visible))
        #expect(verification.leases == 1 && verification.alarms.isEmpty)
        #expect(verification.clusterVersion == programs.version + ".0")
        let derived = try #require(verification.derivedClusterID)
        let id = UInt64(derived, radix: 16) ?? 0
        #expect(try call(programs, etcd, "endpoint", "status", "-w", "json").contains("\"cluster_id\":\(id),"))
        let member = try call(programs, etcd, "endpoint", "hashkv", "-w", "json")
        #expect(member.contains("\"hash\":\(try #require(verification.hashKV))"))
        #expect(try vault.store.bytes(sound.record.id) == bytes)
        try restores(try vault.store.bytes(sound.record.id), programs, live: visible)

        // A byte inside of a value: the tree is as it was, and so is the digest once it is made anew. Only etcd's own
        // hash, told by the agent, differs.
        // (Pages that are free hold old copies: wherever it stands, it is changed.)
        var changed = Array(bytes.dropLast(32))
        let values = changed.ranges(of: Array("value 299".utf8)).map(\.lowerBound)
        for value in values { changed[value] ^= 1 }
        changed += SHA256.hash(changed)
        let swapped = try await upload(changed, facts, end: .failed)
        #expect(swapped.condition == .damaged)
        #expect(swapped.record.verification?.findings.map(\.kind) == ["tool"])

        // And where the tool was run on the very same file: an element that reaches into the next one. `status` may
        // count what it finds there; the check says what is wrong.
        var structural = Array(bytes.dropLast(32))
        for page in Set(values.map { $0 / 4096 * 4096 }) { structural[page + 16 + 4] &-= 1 }
        structural += SHA256.hash(structural)
        try FileSystem.writeDurably(path, structural)
        let told = (try? self.facts(path, programs)) ?? facts
        let broken = try await upload(structural, told, end: .failed)
        #expect(broken.condition == .damaged)
        #expect(broken.record.verification?.findings.contains { $0.kind != "tool" && $0.page != nil } == true)
        #expect(try await catalogue.findSnapshot("latest", cluster: "a").record.id == sound.record.id)
        #expect(try await catalogue.verifyAudit().isIntact)
    }
}
