import FleetCrypto
import FleetProtocol
import FleetSystem
import Glibc
import RealEtcdProcess
import Testing

@testable import FleetAgent

/// Drills with real etcds; those of 3.5 where ETCD35_DIR names a directory with its programs.
@Suite struct DrillTests {
    /// What is saved from a real etcd, and the record that a coordinator would have of it.
    private struct Saved {
        let directory: String
        let file: String
        let record: SnapshotRecord
        /// As the etcd itself told it right before.
        let hashKV: UInt32?
    }

    /// A coordinator that has one snapshot.
    private struct Store: CoordinatorPort {
        var file: String
        func upload(job: String, snapshot: String, facts: SnapshotFacts, file: String) async throws(FleetError) {}
        func fetch(job: String, program: ProgramRecord, to path: String) async throws(FleetError) {
            throw FleetError(.notFound, "no such program")
        }
        func fetch(job: String, snapshot record: SnapshotRecord, to path: String) async throws(FleetError) {
            let source = file
            try await onDisk { () throws(FleetError) in try FileSystem.copyDurably(source, to: path, mode: 0o600) }
        }
    }

    private static var programs35: String? { getenv("ETCD35_DIR").map { String(cString: $0) } }

    /// From 3.5 on etcdctl calls a member unhealthy for any alarm. NOSPACE is no reason to leave its data unsaved, nor to
    /// take a restore back: the alarm comes with the snapshot.
    @Test(.enabled(if: programs35 != nil)) func aFullEtcdServesAllTheSame() throws {
        let programs = Self.programs35!
        let etcd = try LoopbackEtcd(programs: programs, flags: ["--quota-backend-bytes=200000"])
        let value = String(repeating: "x", count: 60_000)
        for index in 0..<12 {
            _ = try Subprocess.run(
                programs + "/etcdctl", ["--endpoints=\(etcd.client)", "put", "/k\(index)", value],
                environment: EtcdClient.environment)
        }
        let client = EtcdClient(
            tool: EtcdTool(kind: .etcdctl, path: programs + "/etcdctl", version: EtcdVersion(3, 5, 1)),
            instance: EtcdInstance(
                topology: .externalSystemd, name: "m1", dataDir: etcd.directory + "/data", endpoint: etcd.client,
                peerURLs: [etcd.peer], initialCluster: "m1=\(etcd.peer)", sources: [:]))
        #expect(try client.alarms().map(\.kind) == [.noSpace])
        try client.checkHealth()
    }

    /// - Parameter compacted: up to this revision, behind all that is written.
    private func save(_ programs: String, keys: Int = 30, compacted: Int = 5) throws -> Saved {
        let directory = "/tmp/fleet-drill-test-\(Randomness.token(10))"
        try FileSystem.makeDirectories(directory)
        let etcd = try LoopbackEtcd(programs: programs)
        let control = programs + "/etcdctl"
        func call(_ words: String...) throws -> String {
            try Subprocess.check(
                control, ["--endpoints=\(etcd.client)"] + words, environment: EtcdClient.environment
            ).outputText
        }
        for index in 0..<keys { _ = try call("put", "/registry/k\(index)", "value \(index)") }
        _ = try call("del", "/registry/k1")
        _ = try call("put", "/registry/k2", "again")
        _ = try call("compact", "\(min(compacted, keys + 3))")
        let hashed = try call("endpoint", "hashkv", "--rev=0", "--write-out=json")
        let file = directory + "/saved.db"
        _ = try call("snapshot", "save", file)
        let version = try #require(
            EtcdVersion.find(
                in: try Subprocess.check(control, ["version"], environment: EtcdClient.environment).outputText))
        let checked = try SnapshotFile.check(file)
        let status = try SnapshotTool(
            tool: .init(kind: .etcdctl, path: control, version: version)
        ).status(file, size: checked.size)
        let facts = SnapshotFacts(
            status: status, tool: "etcdctl \(version)", etcdVersion: version.description, clusterID: "a", memberID: "b",
            memberName: "m1", size: checked.size, savedAt: .now(), certificates: [], warnings: [])
        return Saved(
            directory: directory, file: file,
            record: SnapshotRecord(
                id: "s1", cluster: "c1", node: "n1", job: "j", storedAt: .now(), size: checked.size,
                sha256: checked.sha256, facts: facts),
            hashKV: try JSON.decode([Answers.HashedEndpoint].self, from: Array(hashed.utf8)).first?.hash.hash)
    }

    private func order(_ record: SnapshotRecord, limit: Int = 60) -> FleetProtocol.Operation.Drill {
        .init(snapshot: record, memoryBytes: 1 << 30, cpuPercent: 100, limitSeconds: limit)
    }

    private func run(_ saved: Saved, programs: String?, order: FleetProtocol.Operation.Drill) async throws
        -> (outcome: JobOutcome, steps: [String], paths: AgentPaths)
    {
        let paths = AgentPaths(state: saved.directory + "/state", programs: programs)
        let outbox = Outbox(paths: paths)
        let outcome = await DrillRun(
            paths: paths, job: "d1", order: order, outbox: outbox, port: Store(file: saved.file), faults: .none
        ).run()
        var steps: [String] = []
        while let event = await outbox.nextUnacknowledged() {
            if let step = event.step, event.kind != .stepStarted { steps.append("\(step) \(event.kind.rawValue)") }
            try await outbox.acknowledge(event.job, event.sequence)
        }
        return (outcome, steps, paths)
    }

    private func etcds(in directory: String) throws -> Int {
        try FileSystem.list("/proc").compactMap { Int32($0) }.count { pid in
            let words = (try? FileSystem.read("/proc/\(pid)/cmdline")) ?? []
            return String(decoding: words, as: UTF8.self).contains("--data-dir=\(directory)")
        }
    }

    /// In the end at the very last revision too, which neither of these etcds hashes when it is asked for by its number.
    @Test(.enabled(if: RealEtcd.isInstalled), arguments: ["3.4", "3.5"], [5, 33])
    func restoresAndTells(_ minor: String, _ compacted: Int) async throws {
        guard let programs = minor == "3.4" ? "/usr/bin" : Self.programs35 else {
            try Test.cancel("ETCD35_DIR names no etcd 3.5")
        }
        let saved = try save(programs, compacted: compacted)
        defer { try? FileSystem.removeTree(saved.directory) }
        let (outcome, steps, paths) = try await run(
            saved, programs: minor == "3.4" ? nil : programs, order: order(saved.record))
        try #require(outcome.result == .succeeded, "\(outcome)")
        #expect(
            steps == ["preflight", "fetch", "restore", "start", "read", "clean"].map { $0 + " step-done" })
        let report = try #require(outcome.drill)
        #expect(report.etcd.hasPrefix(minor + "."))
        let figures = try #require(report.figures)
        // 30 puts, a deletion, another put, on top of revision 1.
        #expect(figures.revision == 33 && figures.liveKeys == 29 && figures.compactRevision == Int64(compacted))
        #expect(figures.hashRevision == 33 && figures.sample.keys == 16)
        #expect(figures.hashKV == saved.hashKV)
        #expect(!FileSystem.exists(paths.spool("d1")))
        #expect(try etcds(in: paths.spool) == 0)
        print("drill of \(minor): \(report.seconds) s, \(report.limits)")
    }

    @Test(.enabled(if: RealEtcd.isInstalled)) func refusesWhatIsTooNewForItsTools() async throws {
        var saved = try save("/usr/bin", keys: 3)
        defer { try? FileSystem.removeTree(saved.directory) }
        var record = saved.record
        record.facts.etcdVersion = "3.99.0"
        saved = Saved(directory: saved.directory, file: saved.file, record: record, hashKV: nil)
        let (outcome, _, paths) = try await run(saved, programs: nil, order: order(record))
        #expect(outcome.result == .refused && outcome.error?.code == .noTool && outcome.drill == nil)
        #expect(outcome.error?.hint?.contains("etcd 3.99 or newer") == true)
        #expect(!FileSystem.exists(paths.spool("d1")))
    }

    /// A file that is whole and can't be a database: what the tool says is the reason, and nothing stays.
    @Test(.enabled(if: RealEtcd.isInstalled)) func saysWhyItDidNotRestore() async throws {
        var saved = try save("/usr/bin", keys: 3)
        defer { try? FileSystem.removeTree(saved.directory) }
        var bytes = try FileSystem.read(saved.file)
        bytes.removeLast(32)
        // Both meta pages; the digest is made anew, as if it had been saved so.
        for page in 0..<2 { for index in 16..<80 { bytes[page * 4096 + index] ^= 0x55 } }
        bytes += SHA256.hash(bytes)
        try FileSystem.writeDurably(saved.file, bytes)
        let checked = try SnapshotFile.check(saved.file)
        var record = saved.record
        record.sha256 = checked.sha256
        saved = Saved(directory: saved.directory, file: saved.file, record: record, hashKV: nil)
        let (outcome, _, paths) = try await run(saved, programs: nil, order: order(record))
        #expect(outcome.result == .failed && outcome.error?.code == .drillFailed, "\(outcome)")
        #expect(outcome.drill != nil && outcome.drill?.figures == nil)
        #expect(!FileSystem.exists(paths.spool("d1")))
    }

    /// Its node ran out of memory, say: that is not the snapshot's fault, and must not stand beside it for ever.
    @Test(.enabled(if: programs35 != nil), arguments: [("etcd", "KILL"), ("etcdutl", "KILL"), ("etcd", "TERM")])
    func whatIsKilledSaysNothingOfTheSnapshot(_ killed: String, _ signal: String) async throws {
        let programs = Self.programs35!
        let saved = try save(programs, keys: 3)
        defer { try? FileSystem.removeTree(saved.directory) }
        let here = saved.directory + "/programs"
        try FileSystem.makeDirectories(here)
        for name in ["etcd", "etcdctl", "etcdutl"] {
            let death = "case \"$*\" in *version*) exec \(programs)/\(name) \"$@\";; *) kill -\(signal) $$;; esac"
            let script = "#!/bin/sh\n\(name == killed ? death : "exec \(programs)/\(name) \"$@\"")\n"
            try FileSystem.writeDurably("\(here)/\(name)", script.utf8, mode: 0o755)
        }
        let (outcome, _, paths) = try await run(saved, programs: here, order: order(saved.record))
        #expect(outcome.result == .failed && outcome.error?.code == .drillInconclusive, "\(outcome)")
        #expect(outcome.error?.message.contains("was killed") == true && outcome.drill == nil)
        #expect(!FileSystem.exists(paths.spool("d1")))
    }

    /// It served, and is gone when it is asked for a key. One that panics does so because of what is in the snapshot; who ends
    /// it from outside, as systemd does with the host, says nothing of that.
    @Test(
        .enabled(if: programs35 != nil),
        arguments: [("ABRT", FleetError.Code.drillFailed), ("TERM", .drillInconclusive)])
    func oneThatEndsWhileItIsRead(_ signal: String, _ code: FleetError.Code) async throws {
        let programs = Self.programs35!
        let saved = try save(programs, keys: 3)
        defer { try? FileSystem.removeTree(saved.directory) }
        let here = saved.directory + "/programs"
        try FileSystem.makeDirectories(here)
        let strike = "case \" $* \" in *' get '*) kill -\(signal) $(cat \(here)/pid);; esac"
        for (name, first) in [("etcd", "echo $$ >\(here)/pid"), ("etcdctl", strike), ("etcdutl", ":")] {
            let script = "#!/bin/sh\n\(first)\nexec \(programs)/\(name) \"$@\"\n"
            try FileSystem.writeDurably("\(here)/\(name)", script.utf8, mode: 0o755)
        }
        let (outcome, steps, _) = try await run(saved, programs: here, order: order(saved.record))
        #expect(steps.contains("start step-done"), "\(steps)")
        #expect(outcome.result == .failed && outcome.error?.code == code, "\(outcome)")
        #expect((outcome.drill == nil) == (code == .drillInconclusive))
    }

    /// The agent was killed in the middle, and nothing ended its etcd with it: the next start finds both.
    @Test(.enabled(if: RealEtcd.isInstalled)) func leavesNothingBehindAfterItsNextStart() async throws {
        let saved = try save("/usr/bin", keys: 3)
        defer { try? FileSystem.removeTree(saved.directory) }
        let paths = AgentPaths(state: saved.directory + "/state")
        let key = try PrivateKey.generateEd25519()
        let gate = JobGate(node: "n1", cluster: "c1", key: try VerifyingKey(raw: try key.rawPublicKey()))
        let job = Job(
            id: "d1", node: "n1", cluster: "c1", counter: 1, issued: .now(), expires: .now().adding(.seconds(60)),
            operation: .drill(order(saved.record)))
        try FileSystem.makeDirectories(paths.job("d1"))
        try FileSystem.writeDurably(paths.envelope("d1"), try JSON.encode(try JobSigner(key: key).sign(job)))
        let drill = Drill(paths: paths, job: "d1", order: order(saved.record))
        let ready = try drill.preflight()
        try FileSystem.copyDurably(saved.file, to: paths.snapshot("d1"), mode: 0o600)
        try drill.restore(ready)
        let etcd = ScratchEtcd(
            ready.server, under: [], environment: ready.confinement.environment, directory: paths.drill("d1"),
            databaseSize: 1 << 20, deadline: .seconds(60))
        try etcd.waitUntilHealthy(drill.client(ready), within: .seconds(20))
        #expect(try etcds(in: paths.spool) == 1)
        let other = try LoopbackEtcd(programs: "/usr/bin")

        let runner = JobRunner(paths: paths, gate: gate, port: Store(file: saved.file), log: .silent, faults: .none) {
            () throws(FleetError) in throw FleetError(.noEtcd, "none")
        }
        try await runner.start()
        #expect(try etcds(in: paths.spool) == 0)
        #expect(try FileSystem.list(paths.spool) == [])
        // Only what is its own.
        #expect(try etcds(in: other.directory) >= 1)
        let event = try #require(await runner.outbox.nextUnacknowledged())
        #expect(event.outcome?.result == .failed && event.outcome?.error?.code == .interrupted)
        #expect(event.outcome?.drill == nil)
    }

    /// The kernel ends it with the one who started it.
    @Test func childrenEndWithTheAgent() throws {
        let found = try Confinement.find(job: "x\(Randomness.token(6))", memoryBytes: 1 << 30, cpuPercent: 100)
        try #require(found.setpriv != nil, "install util-linux")
        let words = found.prefix("sleep") + ["/bin/sleep", "61"]
        let script = "\"$@\" & echo $!; sleep 0.3; kill -9 $$"
        let outcome = try Subprocess.run("/bin/sh", ["-c", script, "sh"] + words, deadline: .seconds(20))
        let pid = try #require(Int32(outcome.outputText.prefix { !$0.isNewline }))
        var isGone = false
        for _ in 0..<50 where !isGone {
            isGone = !((try? FileSystem.readText("/proc/\(pid)/cmdline"))?.contains("sleep") ?? false)
            usleep(50_000)
        }
        #expect(isGone)
    }

    @Test func theGateTakesOnlyWhatIsInBounds() throws {
        let record = SnapshotRecord(
            id: "s1", cluster: "c", node: "n", job: "j", storedAt: .now(), size: 544, sha256: "00",
            facts: SnapshotFacts(
                status: .init(hash: 1, revision: 1, totalKey: 1, totalSize: 512), tool: "t", etcdVersion: "3.5.1",
                clusterID: "a", memberID: "b", memberName: "m", size: 544, savedAt: .now(), certificates: [],
                warnings: []))
        #expect(order(record).isValid)
        var wrong = record
        wrong.id = "../x"
        #expect(!order(wrong).isValid)
        wrong = record
        wrong.size = 0
        #expect(!order(wrong).isValid)
        wrong = record
        wrong.facts.status.revision = -1
        #expect(!order(wrong).isValid)
        #expect(!order(record, limit: 5).isValid && !order(record, limit: 100_000).isValid)
        for (memory, cpu) in [(Int64(1 << 20), 100), (1 << 40, 100), (1 << 30, 0), (1 << 30, 10_000)] {
            let drill = FleetProtocol.Operation.Drill(
                snapshot: record, memoryBytes: memory, cpuPercent: cpu, limitSeconds: 60)
            #expect(!drill.isValid)
        }
    }

    @Test func limitsCountOnlyWhenTheKernelShowsThem() {
        let unified = [
            "/sys/fs/cgroup/a.scope/memory.max": "1073741824\n", "/sys/fs/cgroup/a.scope/cpu.max": "50000 100000\n",
        ]
        #expect(
            CgroupLimits(groups: "0::/a.scope\n") { unified[$0] }
                == CgroupLimits(groups: "") { _ in nil }
                .with(memory: 1 << 30, cpu: 50))
        let none = ["/sys/fs/cgroup/a.scope/memory.max": "max\n", "/sys/fs/cgroup/a.scope/cpu.max": "max 100000\n"]
        #expect(CgroupLimits(groups: "0::/a.scope\n") { none[$0] } == CgroupLimits(groups: "") { _ in nil })
        let first = [
            "/sys/fs/cgroup/memory/s/memory.limit_in_bytes": "536870912\n",
            "/sys/fs/cgroup/cpu,cpuacct/s/cpu.cfs_quota_us": "100000\n",
            "/sys/fs/cgroup/cpu,cpuacct/s/cpu.cfs_period_us": "100000\n",
        ]
        let groups = "9:memory:/s\n4:cpu,cpuacct:/s\n1:name=systemd:/s\n"
        #expect(
            CgroupLimits(groups: groups) { first[$0] }
                == CgroupLimits(groups: "") { _ in nil }
                .with(memory: 512 << 20, cpu: 100))
        var confinement = Confinement(unit: "u", memoryBytes: 1 << 30, cpuPercent: 100)
        #expect(confinement.words(inForce: nil).contains("no limit of memory in force"))
        confinement.obstacle = "systemd does not run this host"
        #expect(confinement.words(inForce: nil) == "GOMAXPROCS=1, no limit of memory: systemd does not run this host")
        #expect(confinement.prefix("x") == [])
    }

    /// The kernel's own words, where this host lets a group be made: version 1 here, or version 2.
    @Test func limitsAreReadFromTheKernel() throws {
        let name = "fleet-test-\(Randomness.token(8))"
        let group = "/sys/fs/cgroup/memory/\(name)"
        guard mkdir(group, 0o755) == 0 else { try Test.cancel("no group of version 1 can be made here") }
        defer { rmdir(group) }
        let limit = try Descriptor.open(group + "/memory.limit_in_bytes", O_WRONLY)
        try limit.write(Array("268435456".utf8))
        try limit.close()
        let script = "echo $$ >\(group)/cgroup.procs && echo in && exec sleep 20"
        let handle = Subprocess.Handle()
        Thread.start(name: "sleeper") { _ = try? Subprocess.run("/bin/sh", ["-c", script], handle: handle) }
        var limits: CgroupLimits?
        for _ in 0..<100 where limits?.memoryBytes != 256 << 20 {
            limits = handle.pid.flatMap(CgroupLimits.of)
            usleep(20_000)
        }
        #expect(limits?.memoryBytes == 256 << 20)
        handle.stop()
        for _ in 0..<100 where handle.pid != nil { usleep(50_000) }
        #expect(handle.pid == nil)
    }

    @Test func versionsAreThoseWithTheirTools() {
        func tool(_ kind: EtcdTool.Kind, _ version: EtcdVersion) -> EtcdTool {
            EtcdTool(kind: kind, path: "/x/\(kind.rawValue)", version: version)
        }
        let old = [tool(.etcd, .init(3, 4, 23)), tool(.etcdctl, .init(3, 4, 23))]
        #expect(DrillPrograms.versions(EtcdTools(tools: old)) == ["3.4.23"])
        // An etcd whose own tools are missing can't be given anything to serve.
        let mixed = old + [tool(.etcd, .init(3, 6, 1))]
        #expect(DrillPrograms.versions(EtcdTools(tools: mixed)) == ["3.4.23"])
        #expect(
            DrillPrograms.versions(EtcdTools(tools: mixed + [tool(.etcdutl, .init(3, 6, 1))])) == ["3.4.23", "3.6.1"])
        #expect(DrillPrograms.versions(EtcdTools(tools: [])) == [])
    }
}

extension CgroupLimits {
    fileprivate func with(memory: Int64?, cpu: Int?) -> CgroupLimits {
        var limits = self
        (limits.memoryBytes, limits.cpuPercent) = (memory, cpu)
        return limits
    }
}
