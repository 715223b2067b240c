import FleetCrypto
import FleetProtocol
import FleetRepository
import FleetSQLite
import FleetSystem
import Glibc
import Testing

@testable import FleetCoordinator

/// What the documents tell an operator to do when the coordinator's host is lost, with the programs that he would use.
@Suite("Recovery drill", .serialized)
struct RecoveryDrillTests {
    private static let program: String? = {
        let directory = CommandLine.arguments[0].split(separator: "/", omittingEmptySubsequences: false).dropLast()
        let path = directory.joined(separator: "/") + "/fleet-coordinator"
        return FileSystem.exists(path) ? path : nil
    }()
    private static let reader =
        #filePath.replacing("Tests/FleetCoordinatorTests/Store/RecoveryDrillTests.swift", with: "")
        + "ops/read-repository.py"

    private func coordinator(_ words: String...) throws -> Subprocess.Outcome {
        guard let program = Self.program else { try Test.cancel("fleet-coordinator is not built") }
        return try Subprocess.run(program, words)
    }

    /// "recovery key: KEY" of the standard output, in a file as somebody types it.
    private func write(_ outcome: Subprocess.Outcome, to path: String) throws {
        let line = try #require(outcome.outputText.split(separator: "\n").first { $0.hasPrefix("recovery key: ") })
        try FileSystem.writeDurably(path, line.dropFirst(14).lowercased().utf8)
    }

    /// Snapshots of one cluster, each with a few pages changed: those are compressed against the former's.
    private func samples(_ count: Int) -> [SampleSnapshot] {
        var sample = SampleSnapshot("20261124-065510-aaa0", pages: 800)
        return (0..<count).map { number in
            var body = Array(sample.bytes.dropLast(32))
            for page in stride(from: number, to: body.count / 4096, by: 7) { body[page * 4096 + 99] &+= UInt8(number) }
            sample.bytes = body + SHA256.hash(body)
            sample.record = Fixture.record(
                "20261124-06551\(number)-aaa\(number)", job: "j\(number)", size: Int64(sample.bytes.count),
                sha256: SHA256.hash(sample.bytes).hex)
            return sample
        }
    }

    @Test func aCopyOfTheStoreAndThePaperAreEnough() async throws {
        let place = try TemporaryDirectory()
        let (lost, other, paper) = (place.path + "/lost", place.path + "/other", place.path + "/recovery.txt")
        let made = try coordinator("init", "--advertise", "fleet.example.org:7400", "--data", lost)
        #expect(made.succeeded, "\(made.complaint)")
        try write(made, to: paper)
        let samples = samples(3)
        for sample in samples { try DataDirectory(path: lost).openStore().store(sample) }

        // Only the store was copied; the host is gone.
        try copyTree("\(lost)/store", "\(other)/store")
        try FileSystem.removeTree(lost)
        for sample in samples {
            let file = "\(place.path)/\(sample.record.id).db"
            let exported = try coordinator(
                "export", sample.record.id, "-f", file, "--data", other, "--recovery-key", paper)
            #expect(exported.succeeded, "\(exported.complaint)")
            #expect(try FileSystem.read(file) == sample.bytes)
        }
        let refused = try coordinator("export", samples[0].record.id, "-f", "\(place.path)/x.db", "--data", other)
        #expect(!refused.succeeded && refused.complaint.contains("rekey --recovery-key"))

        // A new coordinator on what is left, with the list of snapshots from the store alone.
        for words in [
            ["rekey", "--recovery-key", paper], ["init", "--advertise", "fleet.example.org:7400"],
            ["rebuild-catalogue"],
        ] {
            let outcome = try Subprocess.run(try #require(Self.program), words + ["--data", other])
            #expect(outcome.succeeded, "\(words): \(outcome.complaint)")
        }
        let catalogue = try Catalogue(.file(other + "/catalogue.db"), log: .silent)
        #expect(try await catalogue.findSnapshot("latest", cluster: "a").record == samples[2].record)
        #expect(try await catalogue.retentionWaits() != nil, "what was pinned has to be pinned again first")
        await catalogue.close()
        #expect(try DataDirectory(path: other).openStore().bytes(samples[1].record.id) == samples[1].bytes)
    }

    /// As where the new machine has an older package than the lost one had: nothing is in force that does not know what it is.
    @Test func aRestoreThatFailsIsRunAgain() async throws {
        let place = try TemporaryDirectory()
        let (lost, other, paper) = (place.path + "/lost", place.path + "/other", place.path + "/recovery.txt")
        try write(try coordinator("init", "--advertise", "fleet.example.org:7400", "--data", lost), to: paper)
        let directory = DataDirectory(path: lost)
        let repository = try directory.openStore().repository
        let copies = CoordinatorCopies(directory: directory, repository: repository)
        let catalogue = try Catalogue(.file(directory.catalogue))
        _ = try await catalogue.addCluster("a", by: "root")
        let good = try copies.make()
        _ = try await catalogue.addCluster("b", by: "root")
        await catalogue.close()
        let db = try SQLiteConnection(.file(directory.catalogue))
        try db.run("INSERT INTO migrations (position, name, checksum, applied) VALUES (999, 'later', '00', 1)")
        db.close()
        let newer = try copies.make()
        let file = place.path + "/good.copy"
        let source = try repository.copy(good.name)
        var bytes: [UInt8] = []
        while let piece = try source.next() { bytes += piece }
        try FileSystem.writeDurably(file, bytes)
        try copyTree("\(lost)/store", "\(other)/store")

        let words = ["restore", "--recovery-key", paper, "--data", other, "--advertise", "new.example.org:7400"]
        let failed = try Subprocess.run(try #require(Self.program), words)
        #expect(!failed.succeeded && failed.complaint.contains("migration later"), "\(failed.complaint)")
        for name in ["settings.json", "catalogue.db", "keys/authority.key", "restore.new"] {
            #expect(!FileSystem.exists("\(other)/\(name)"), "\(name)")
        }
        // Now from the file, and that the store has another is said.
        let done = try Subprocess.run(try #require(Self.program), words + ["--file", file])
        let said = String(decoding: done.errors, as: UTF8.self)
        #expect(done.succeeded && said.contains(newer.name), "\(said)")
        let made = DataDirectory(path: other)
        #expect(try made.settings().advertise == "new.example.org:7400")
        #expect(!FileSystem.exists(made.catalogue + "-wal"))
        let again = try Catalogue(.file(made.catalogue))
        #expect(try await again.retentionWaits() != nil)
        #expect(try await again.alertsAreHeld())
        await again.close()
    }

    /// The configuration of nodes from the store alone, by the program and by the document, behind a rotation as well.
    @Test func theConfigurationOfNodes() throws {
        let python = try python()
        let place = try TemporaryDirectory()
        let (data, paper) = (place.path + "/data", place.path + "/recovery.txt")
        try write(try coordinator("init", "--advertise", "fleet.example.org:7400", "--data", data), to: paper)
        let bundle = try BundleTests.bundle("one")
        let store = try DataDirectory(path: data).openStore()
        var sample = SampleSnapshot("20261124-065510-aaa0")
        sample.record.bundles = [
            NodeBundle(
                node: "cp1", bundle: try store.addBundle(try bundle.encoded()), collected: sample.record.storedAt,
                confirmed: sample.record.storedAt, files: 1, bytes: bundle.manifest.bytes)
        ]
        try store.store(sample)
        let id = sample.record.id
        for round in ["before", "behind"] {
            let (out, nodes) = ("\(place.path)/\(round).db", "\(place.path)/\(round)")
            let exported = try coordinator(
                "export", id, "-f", out, "--bundles", nodes, "--data", data, "--recovery-key", paper)
            #expect(exported.succeeded, "\(exported.complaint)")
            let read = try Subprocess.run(
                python, [Self.reader, "\(data)/store", paper, id, "\(out).py", "\(nodes).py"])
            #expect(read.succeeded, "\(read.complaint)")
            for directory in [nodes, nodes + ".py"] {
                #expect(try FileSystem.read(directory + "/cp1/etc/kubernetes/pki/ca.key") == bundle.contents[0])
                #expect(try FileSystem.status(directory + "/cp1/etc/kubernetes/pki")?.mode == 0o755)
                for own in ["", "/cp1", "/cp1_files.json"] {
                    #expect(try (FileSystem.status(directory + own)?.mode ?? 0) & 0o077 == 0, "\(own)")
                }
                let file = directory + "/cp1_files.json"
                let table = try JSON.decode(BundleManifest.self, from: try FileSystem.read(file))
                #expect(table == bundle.manifest)
            }
            if round == "before" { try write(try coordinator("rekey", "--data-key", "--data", data), to: paper) }
        }
    }

    /// The reader in Python knows nothing but FORMAT.md. It reads what export writes, behind a rotation as well.
    @Test func theDocumentIsEnoughToReadAStore() throws {
        let python = try python()
        let place = try TemporaryDirectory()
        let (data, paper) = (place.path + "/data", place.path + "/recovery.txt")
        try write(try coordinator("init", "--advertise", "fleet.example.org:7400", "--data", data), to: paper)
        let samples = samples(4)
        for sample in samples[..<2] { try DataDirectory(path: data).openStore().store(sample) }
        let first = "\(data)/keys/repository.key"
        for key in [paper, first] { try compare(samples[..<2], data, key: key, python, place) }
        let rotated = try coordinator("rekey", "--data-key", "--data", data)
        #expect(rotated.succeeded, "\(rotated.complaint)")
        try write(rotated, to: paper)
        for sample in samples[2...] { try DataDirectory(path: data).openStore().store(sample) }
        for key in [paper, first] { try compare(samples[...], data, key: key, python, place) }

        // A database without etcd's digest, and one that is not what its record says: all seals are whole, so only the
        // recorded SHA-256 tells.
        for isRight in [true, false] {
            var raw = SampleSnapshot("20261124-06552\(isRight ? 0 : 1)-bbb0", pages: 9)
            raw.bytes.removeLast(32)
            let digest = isRight ? raw.bytes : Array(raw.bytes.reversed())
            (raw.record.size, raw.record.sha256) = (Int64(raw.bytes.count), SHA256.hash(digest).hex)
            try DataDirectory(path: data).openStore().store(raw)
            let out = "\(place.path)/raw-\(isRight).db"
            let outcome = try Subprocess.run(python, [Self.reader, "\(data)/store", first, raw.record.id, out])
            #expect(outcome.succeeded == isRight, "\(outcome.complaint)")
            #expect(try FileSystem.status(out)?.mode == (isRight ? 0o600 : nil))
        }
        #expect(try FileSystem.list(place.path).filter { $0.contains(".part-") } == [])

        // And it notices what it is given: not a word of a file with a flipped bit.
        let file = try #require(try FileSystem.list("\(data)/store/packs").first)
        var bytes = try FileSystem.read("\(data)/store/packs/\(file)")
        bytes[200] ^= 1
        try FileSystem.writeDurably("\(data)/store/packs/\(file)", bytes)
        let results = try samples.map { sample in
            try Subprocess.run(
                python,
                [Self.reader, "\(data)/store", first, sample.record.id, "\(place.path)/\(sample.record.id).bad"])
        }
        #expect(results.contains { !$0.succeeded })
        let left = try FileSystem.list(place.path).filter { $0.contains(".bad") }
        #expect(left.count == results.count { $0.succeeded }, "\(left)")
    }

    /// Whoever ends it, by ctrl-c, by ending the session or by force, finds no Secrets of half a snapshot later.
    @Test(arguments: [SIGINT, SIGTERM, SIGHUP, SIGKILL])
    func aReaderThatIsEndedLeavesNothing(_ signal: Int32) throws {
        let place = try TemporaryDirectory()
        try FileSystem.makeDirectories(place.path + "/out")
        try end(with: signal, writingTo: place.path + "/out", place)
    }

    /// On a disk that knows no files without a name, the name goes with what can be caught.
    @Test(arguments: [SIGINT, SIGTERM, SIGHUP])
    func aReaderThatIsEndedLeavesNothingOnAnyDisk(_ signal: Int32) throws {
        let disk = try LinklessDisk.make()
        try end(with: signal, writingTo: disk.path, try TemporaryDirectory())
    }

    private func end(with signal: Int32, writingTo out: String, _ place: TemporaryDirectory) throws {
        let python = try python()
        let data = place.path + "/data"
        #expect(try coordinator("init", "--advertise", "fleet.example.org:7400", "--data", data).succeeded)
        let sample = samples(1)[0]
        try DataDirectory(path: data).openStore().store(sample)
        // It waits for the first page as long as nobody writes to this.
        let pack = "\(data)/store/packs/\(try #require(try FileSystem.list("\(data)/store/packs").first))"
        try FileSystem.remove(pack)
        #expect(mkfifo(pack, 0o600) == 0)
        let child = try spawn([
            python, Self.reader, "\(data)/store", "\(data)/keys/repository.key", sample.record.id, "\(out)/a.db",
        ])
        // With or without a name, it is among its open files.
        func isWriting() -> Bool {
            let open = (try? FileSystem.list("/proc/\(child)/fd")) ?? []
            return open.contains { (try? FileSystem.readLink("/proc/\(child)/fd/\($0)"))?.hasPrefix(out) == true }
        }
        for _ in 0..<200 where !isWriting() { usleep(50_000) }
        #expect(isWriting())
        kill(child, signal)
        var status: Int32 = 0
        for _ in 0..<200 {
            if waitpid(child, &status, WNOHANG) == child { break }
            usleep(50_000)
        }
        #expect(try FileSystem.list(out) == [])
    }

    /// A stick or a share, which is where a snapshot goes on the night when a host is lost.
    @Test func aDiskWithoutHardLinksIsGoodEnough() throws {
        let disk = try LinklessDisk.make()
        let place = try TemporaryDirectory()
        let data = place.path + "/data"
        #expect(try coordinator("init", "--advertise", "fleet.example.org:7400", "--data", data).succeeded)
        let samples = samples(2)
        for sample in samples { try DataDirectory(path: data).openStore().store(sample) }
        let reader = try python()
        func write(_ way: String, _ sample: SampleSnapshot) throws -> Subprocess.Outcome {
            let (id, file) = (sample.record.id, "\(disk.path)/\(way).db")
            return way == "export"
                ? try coordinator("export", id, "-f", file, "--data", data)
                : try Subprocess.run(
                    reader, [Self.reader, "\(data)/store", "\(data)/keys/repository.key", id, file])
        }
        for way in ["export", "reader"] {
            let done = try write(way, samples[0])
            #expect(done.succeeded, "\(way): \(done.complaint)")
            #expect(try FileSystem.read("\(disk.path)/\(way).db") == samples[0].bytes)
            // What is there stays.
            let again = try write(way, samples[1])
            #expect(!again.succeeded, "\(way)")
            #expect(try FileSystem.read("\(disk.path)/\(way).db") == samples[0].bytes)
        }
        #expect(try FileSystem.list(disk.path).sorted() == ["export.db", "reader.db"])
    }

    private func python() throws -> String {
        let python = "/usr/bin/python3"
        guard (try? Subprocess.run(python, ["-c", "import cryptography, zstandard"]))?.succeeded == true else {
            try Test.cancel("python3-cryptography and python3-zstandard are not there; ops/test installs them")
        }
        return python
    }

    private func compare(
        _ samples: ArraySlice<SampleSnapshot>, _ data: String, key: String, _ python: String,
        _ place: TemporaryDirectory
    ) throws {
        for sample in samples {
            let (read, exported) = ("\(place.path)/read.db", "\(place.path)/exported.db")
            let outcome = try Subprocess.run(python, [Self.reader, "\(data)/store", key, sample.record.id, read])
            #expect(outcome.succeeded, "\(outcome.complaint)")
            #expect(outcome.outputText.contains("etcd's SHA-256 at its end is right"))
            #expect(try coordinator("export", sample.record.id, "-f", exported, "--data", data).succeeded)
            #expect(try FileSystem.read(read) == sample.bytes)
            #expect(try FileSystem.read(exported) == sample.bytes)
            for path in [read, exported] { try FileSystem.remove(path) }
        }
    }

    /// On a full disk, and into a pipe that nobody reads.
    @Test func aRecoveryKeyThatNobodySawIsNoSuccess() throws {
        guard let program = Self.program else { try Test.cancel("fleet-coordinator is not built") }
        let place = try TemporaryDirectory()
        let (data, paper) = (place.path + "/data", place.path + "/recovery.txt")
        func unseen(_ words: String, to output: String = ">/dev/full") throws -> Subprocess.Outcome {
            try Subprocess.run("/bin/sh", ["-c", "\(program) \(words) --data \(data) \(output)"])
        }
        for output in [">/dev/full", ">&-"] {
            let outcome = try unseen("init --advertise fleet.example.org:7400", to: output)
            #expect(
                !outcome.succeeded && outcome.complaint.contains("rekey --new-recovery-key"), "\(outcome.complaint)")
            if output != ">&-" { try FileSystem.removeTree(data) }
        }
        let made = try coordinator("rekey", "--new-recovery-key", "--data", data)
        #expect(made.succeeded, "\(made.complaint)")
        try write(made, to: paper)
        let recovery = try DataDirectory.key(in: paper)
        let directory = DataDirectory(path: data)
        let sample = samples(1)[0]
        try directory.openStore().store(sample)

        // repository.key is lost, and so is what is printed: the paper is good, and so is the new key file.
        try FileSystem.remove(directory.repositoryKey)
        let lost = try unseen("rekey --recovery-key \(paper) --new-recovery-key")
        #expect(!lost.succeeded && lost.complaint.contains("the recovery key was not replaced"), "\(lost.complaint)")
        #expect(lost.complaint.contains("repository.key is new"))
        #expect(try directory.openStore(recovery).bytes(sample.record.id) == sample.bytes)
        #expect(try directory.openStore().bytes(sample.record.id) == sample.bytes)

        try FileSystem.remove(directory.repositoryKey)
        let replaced = try coordinator("rekey", "--recovery-key", paper, "--new-recovery-key", "--data", data)
        #expect(replaced.succeeded, "\(replaced.complaint)")
        try write(replaced, to: paper)
        #expect(try directory.openStore().bytes(sample.record.id) == sample.bytes)
        #expect(try directory.openStore(try DataDirectory.key(in: paper)).bytes(sample.record.id) == sample.bytes)
        #expect(throws: FleetError.self) { try directory.openStore(recovery) }

        // A new data key leaves no way for the former recovery key, so what is said must lead on.
        let rotated = try unseen("rekey --data-key")
        #expect(!rotated.succeeded && rotated.complaint.contains("rekey --new-recovery-key"))
        #expect(try directory.openStore().bytes(sample.record.id) == sample.bytes)
    }

    /// 'rekey --data-key' is killed at moments all over it: the key file opens the store at each of them.
    @Test func aKilledRotationLocksNobodyOut() throws {
        guard let program = Self.program else { try Test.cancel("fleet-coordinator is not built") }
        let place = try TemporaryDirectory()
        let data = place.path + "/data"
        try write(
            try coordinator("init", "--advertise", "fleet.example.org:7400", "--data", data), to: "\(place.path)/r")
        let sample = samples(1)[0]
        let directory = DataDirectory(path: data)
        try directory.openStore().store(sample)
        var (killed, finished, delay) = (0, 0, UInt32(500))
        for _ in 0..<40 {
            let child = try spawn([program, "rekey", "--data-key", "--data", data])
            usleep(delay)
            kill(child, SIGKILL)
            var status: Int32 = 0
            waitpid(child, &status, 0)
            if status & 0x7f == SIGKILL { killed += 1 } else { finished += 1 }
            // Finer and finer, until it gets through; then from the start again.
            delay = status & 0x7f == SIGKILL ? delay + 1000 : 500
            #expect(try directory.openStore().bytes(sample.record.id) == sample.bytes)
        }
        #expect(killed > 5)
        let last = try coordinator("rekey", "--data-key", "--data", data)
        #expect(last.succeeded, "\(last.complaint)")
        try write(last, to: "\(place.path)/r")
        let recovery = try DataDirectory.key(in: "\(place.path)/r")
        #expect(try directory.openStore(recovery).bytes(sample.record.id) == sample.bytes)
        #expect(try directory.openStore().repository.check(readData: true).isSound)
    }

    private func spawn(_ words: [String]) throws -> pid_t {
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { for pointer in arguments { free(pointer) } }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        // A thread of Swift's has the signals blocked that end a program, and a child would inherit that.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        var child = pid_t()
        guard posix_spawn(&child, words[0], &actions, &attributes, &arguments, environ) == 0 else {
            throw FleetError(.childFailed, "\(words[0]) could not be started")
        }
        return child
    }

    private func copyTree(_ from: String, _ to: String) throws {
        try FileSystem.makeDirectories(to)
        for name in try FileSystem.list(from) {
            let (source, target) = ("\(from)/\(name)", "\(to)/\(name)")
            if try FileSystem.status(source)?.kind == .directory {
                try copyTree(source, target)
            } else {
                try FileSystem.writeDurably(target, try FileSystem.read(source))
            }
        }
    }
}
