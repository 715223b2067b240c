import EtcdSampleFiles
import FleetSystem
import RealEtcdProcess
import Testing

@testable import EtcdSnapshot

/// A repeatable source of choices, so that a failing seed can be run again (SplitMix64).
struct Choices: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
        return z ^ z >> 31
    }
}

@Suite(.enabled(if: !EtcdPrograms.installed.isEmpty)) struct RealSnapshotTests {
    private func status(_ report: SnapshotReport) -> ToolStatus {
        ToolStatus(
            hash: report.hash, revision: report.revision, totalKey: report.totalKey, totalSize: report.totalSize)
    }

    /// Snapshot and running member must agree in everything that can be asked of both.
    private func compare(_ etcd: RealEtcd, user: String? = nil, _ about: Comment) throws -> SnapshotReport {
        let path = try etcd.save(user: user)
        let hash = try etcd.hashKV(user: user)
        let found = try SnapshotReader(path: path).report()
        #expect(found.findings == [], about)
        #expect(found.sha256?.ok == true, about)
        #expect(try etcd.programs.status(path) == status(found), about)
        #expect(found.hashKV == hash.hash && found.hashRevision == hash.revision, about)
        // A server that never compacted says -1; proto3's default for one that does not say.
        #expect(max(found.compactRevision ?? 0, 0) == max(hash.compactRevision, 0), about)
        let count = try etcd.call(["get", "", "--prefix", "--keys-only", "-w", "fields"], user: user)
        let live = count.split(separator: "\n").first { $0.hasPrefix("\"Count\"") }?.split(separator: " ").last
        #expect(found.liveKeys == live.flatMap { Int64($0) }, about)
        return found
    }

    @Test(arguments: EtcdPrograms.installed)
    func aNewClusterAndItsFirstKeys(programs: EtcdPrograms) throws {
        let etcd = try RealEtcd(programs)
        let empty = try compare(etcd, "empty")
        #expect(empty.revision == 0 && empty.liveKeys == 0 && empty.members.map(\.name) == ["m1"])
        #expect(empty.clusterVersion == (programs.version == "3.4" ? "3.4.0" : "3.5.0"))
        try etcd.call(["put", "a", "1"])
        try etcd.call(["put", "a", "2"])
        try etcd.call(["put", "b", String(repeating: "long ", count: 9000)])
        try etcd.call(["del", "a"])
        let few = try compare(etcd, "a few keys")
        #expect(few.revision == 5 && few.liveKeys == 1)
        // The same database without the digest, as it lies in a data directory.
        let path = try etcd.save()
        let bytes = try FileSystem.read(path)
        let raw = try report(Array(bytes.dropLast(32)))
        #expect(raw.isSound && raw.sha256 == nil && raw.hash == few.hash && raw.hashKV == few.hashKV)
    }

    @Test(arguments: EtcdPrograms.installed, [1, 2, 3])
    func whateverWasDone(programs: EtcdPrograms, seed: UInt64) throws {
        let etcd = try RealEtcd(programs)
        var choices = Choices(state: seed)
        var leases: [String] = []
        var revision = 1
        for step in 0..<90 {
            func key() -> String {
                "/registry/\(["pods", "secrets"].randomElement(using: &choices)!)/ns/k\(Int.random(in: 0..<25, using: &choices))"
            }
            func value() -> String {
                let length = [3, 300, 3000, 30_000].randomElement(using: &choices)!
                return String(
                    repeating: String(choices.next() % 1000, radix: 36) + "-",
                    count: Int.random(in: 0...length, using: &choices) / 3)
            }
            var reply: String?
            switch Int.random(in: 0..<20, using: &choices) {
            case 0..<8: reply = try etcd.call(["put", "-w", "json", "--", key(), value()])
            case 8..<11: reply = try etcd.call(["del", key(), "-w", "json"])
            case 11:
                reply = try etcd.call(["del", "/registry/pods/ns/k1", "--prefix", "-w", "json"])
            case 12..<15:
                let names = (0..<5).map { _ in key() }
                let puts = Set(names).map { "put \($0) \"\(choices.next())\"" }.joined(separator: "\n")
                reply = try etcd.call(["txn", "-w", "json"], input: "\n\(puts)\n\n\n")
            case 15:
                let text = try etcd.call(["lease", "grant", "6000"])
                leases.append(String(text.split(separator: " ")[1]))
            case 16:
                if let lease = leases.randomElement(using: &choices) {
                    reply = try etcd.call(["put", "--lease=\(lease)", "-w", "json", "--", key(), value()])
                }
            case 17:
                if leases.count > 2 { try etcd.call(["lease", "revoke", leases.removeFirst()]) }
            case 18:
                if revision > 3 {
                    // Repeated or older than the last one: etcd refuses, and nothing has changed.
                    let at = Int.random(in: 2...revision, using: &choices)
                    _ = try? etcd.call(["compact", "\(at)", "--physical"])
                }
            default: if step % 3 == 0 { _ = try compare(etcd, "seed \(seed), step \(step)") }
            }
            if let reply, let found = reply.firstRange(of: "\"revision\":") {
                revision = Int(reply[found.upperBound...].prefix { $0.isNumber }) ?? revision
            }
        }
        let found = try compare(etcd, "seed \(seed), at the end")
        #expect(found.leases == leases.count)
    }

    @Test(arguments: EtcdPrograms.installed)
    func usersRolesAndAlarms(programs: EtcdPrograms) throws {
        let etcd = try RealEtcd(programs, flags: ["--quota-backend-bytes=400000"])
        try etcd.call(["user", "add", "root:secret"])
        try etcd.call(["role", "add", "reader"])
        try etcd.call(["role", "grant-permission", "reader", "read", "/a", "/b"])
        try etcd.call(["user", "grant-role", "root", "root"])
        try etcd.call(["user", "add", "other:secret"])
        try etcd.call(["user", "grant-role", "other", "reader"])
        try etcd.call(["auth", "enable"])
        let before = try compare(etcd, user: "root:secret", "auth")
        #expect(before.auth.enabled && before.auth.users == 2 && before.auth.roles == 1 && before.alarms.isEmpty)
        for i in 0..<20 {
            _ = try? etcd.call(["put", "k\(i)", String(repeating: "x", count: 90_000)], user: "root:secret")
        }
        let full = try compare(etcd, user: "root:secret", "alarm")
        #expect(full.alarms.map(\.alarm) == ["NOSPACE"] && full.alarms.map(\.member) == full.members.map(\.id))
    }

    /// What 'snapshot restore' makes of a snapshot is a raw database: changed members, pages behind the counted ones.
    @Test(arguments: EtcdPrograms.installed)
    func restoredDatabases(programs: EtcdPrograms) throws {
        let etcd = try RealEtcd(programs)
        for i in 0..<30 { try etcd.call(["put", "k\(i % 7)", String(repeating: "v", count: i * 400)]) }
        try etcd.call(["del", "k3"])
        try etcd.call(["compact", "12", "--physical"])
        let path = try etcd.save()
        let before = try SnapshotReader(path: path).report()
        let target = etcd.directory + "/restored"
        _ = try Subprocess.check(
            programs.statusTool, ["snapshot", "restore", path, "--data-dir", target],
            environment: LoopbackEtcd.environment)
        let raw = target + "/member/snap/db"
        let after = try SnapshotReader(path: raw).report()
        #expect(after.findings == [] && after.sha256 == nil)
        #expect(try programs.status(raw) == status(after))
        #expect(after.liveKeys == before.liveKeys && after.liveKeys == 6)
        if programs.version != "3.4" {
            #expect(after.hashKV == before.hashKV && after.members.map(\.name) == ["default"])
        }
        let diff = try SnapshotDiff(from: SnapshotReader(path: path), to: SnapshotReader(path: raw))
        #expect(diff.total == SnapshotDiff.Counts() && diff.unchanged == 6)
    }

    /// What this reader holds to be damaged must at least be read by etcd's tool in the same way where it can be.
    @Test(arguments: EtcdPrograms.installed)
    func filesMadeByHandAreReadAlike(programs: EtcdPrograms) throws {
        let directory = "/tmp/fleet-reader-test-\(Randomness.token(12))"
        try FileSystem.makeDirectories(directory)
        defer { try? FileSystem.removeTree(directory) }
        for pageSize in [1024, 4096, 16384] {
            for keepsFreelist in [false, true] {
                let bytes = SampleEtcd.rich(pageSize: pageSize, keepsFreelist: keepsFreelist).build(compacted: 9)
                try FileSystem.writeDurably("\(directory)/a.db", bytes)
                #expect(try programs.status("\(directory)/a.db") == status(try report(bytes)))
            }
        }
    }
}
