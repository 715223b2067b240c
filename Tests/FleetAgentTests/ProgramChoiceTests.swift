import FleetCrypto
import FleetProtocol
import FleetSystem
import Glibc
import Testing

@testable import FleetAgent

/// Which program a node runs, as a table.
@Suite struct ProgramChoiceTests {
    static let boot = BootIdentity(bootID: "b1", firstProcessStart: 1)
    static let now = MachineTime(boot: boot, seconds: 1000)
    static let installed = ProgramChoice.Installed(version: "0.2.0", sha256: "i")

    static func program(_ sha256: String, _ version: String = "0.3.0", installed: String = "i") -> ProgramChoice.Program
    {
        .init(
            job: "job-\(sha256)",
            record: ProgramRecord(sha256: sha256, size: 10, version: version, architecture: "x86_64"),
            envelope: Envelope(payloadType: "", payload: "", signatures: []), installed: installed)
    }

    struct Row: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var choice: ProgramChoice
        var installed = ProgramChoiceTests.installed
        var now = ProgramChoiceTests.now
        var expected: String

        init(
            _ words: String, chosen: ProgramChoice.Program? = program("p"), trial: ProgramChoice.Trial? = nil,
            starts: Int = 0, installed: ProgramChoice.Installed = ProgramChoiceTests.installed,
            now: MachineTime = ProgramChoiceTests.now, _ expected: String
        ) {
            testDescription = words
            choice = ProgramChoice(chosen: chosen, trial: trial, starts: starts)
            (self.installed, self.now, self.expected) = (installed, now, expected)
        }
    }

    static let began = ProgramChoice.Trial(began: MachineTime(boot: boot, seconds: 900))
    static let rows = [
        Row("nothing was chosen", chosen: nil, "installed"),
        Row("one that is proven", "start p"),
        Row("on trial for the first time", trial: .init(), "start p"),
        Row("on trial, third start", trial: began, starts: 2, "start p"),
        Row("on trial, three starts were for nothing", trial: began, starts: 3, "give up"),
        Row("on trial, for two minutes", trial: began, starts: 1, now: .init(boot: boot, seconds: 1020), "give up"),
        Row("on trial, almost as long", trial: began, starts: 1, now: .init(boot: boot, seconds: 1019), "start p"),
        Row(
            "on trial, another boot says nothing of the time", trial: began, starts: 1,
            now: .init(boot: .init(bootID: "b2", firstProcessStart: 1), seconds: 5000), "start p"),
        Row("proven, does not start any more", starts: 5, "give up"),
        Row("proven, fourth start without a coordinator", starts: 4, "start p"),
        Row("the installed one is newer", installed: .init(version: "0.3.1", sha256: "j"), "clear"),
        Row(
            "the installed one is newer, on trial", trial: .init(), installed: .init(version: "0.10.0", sha256: "j"),
            "clear"),
        Row("the installed one is it", installed: .init(version: "0.3.0", sha256: "p"), "clear"),
        Row("another package of an older version", installed: .init(version: "0.2.9", sha256: "j"), "clear"),
        Row("a package that went back", installed: .init(version: "0.1.0", sha256: "j"), "clear"),
        Row(
            "the installed one is it, and was before", chosen: program("p", installed: "p"),
            installed: .init(version: "0.3.0", sha256: "p"), "clear"),
        Row(
            "the same version, installed as it was when it was chosen", chosen: program("p", "0.2.0"), "start p"),
        Row(
            "the same version, another package installed since", chosen: program("p", "0.2.0"),
            installed: .init(version: "0.2.0", sha256: "j"), "clear"),
    ]

    @Test(arguments: rows) func step(_ row: Row) {
        let said =
            switch row.choice.step(row.installed, row.now) {
            case .runInstalled: "installed"
            case .clear: "clear"
            case .giveUp(let error): error.code == .upgradeFellBack ? "give up" : "?"
            case .start(let program): "start \(program.record.sha256)"
            }
        #expect(said == row.expected)
    }

    /// From trial to trial: who is the way back, and what is kept.
    @Test func theWayBackIsWhatWasProven() {
        var choice = ProgramChoice()
        choice.choose(Self.program("a"))
        #expect(choice.trial != nil && choice.former == nil)
        choice.started(Self.installed, Self.now)
        choice.started(Self.installed, MachineTime(boot: Self.boot, seconds: 1010))
        #expect(choice.starts == 2 && choice.trial?.began == Self.now && choice.installed == Self.installed)
        choice.worked()
        #expect(choice.trial == nil && choice.starts == 0)

        choice.choose(Self.program("b"))
        #expect(choice.former?.record.sha256 == "a" && choice.kept == ["a", "b"])
        // Another one in place of one that was never proven.
        choice.choose(Self.program("c"))
        #expect(choice.former?.record.sha256 == "a" && choice.kept == ["a", "c"])
        let error = FleetError(.upgradeFellBack, "no")
        choice.giveUp(error, Self.installed, at: .now())
        #expect(choice.chosen?.record.sha256 == "a" && choice.trial == nil && choice.former == nil)
        #expect(choice.fallback?.job == "job-c" && choice.fallback?.error == error && choice.kept == ["a"])
        choice.giveUp(error, Self.installed, at: .now())
        #expect(choice.chosen == nil && choice.step(Self.installed, Self.now) == .runInstalled)
        choice.choose(Self.program("d"))
        #expect(choice.fallback == nil)
    }

    @Test func aPackageThatComesInTheMiddleOfATrialIsTold() {
        let newer = ProgramChoice.Installed(version: "0.4.0", sha256: "j")
        var choice = ProgramChoice()
        choice.choose(Self.program("a"))
        choice.clear(newer, at: .now())
        #expect(choice.chosen == nil && choice.fallback?.job == "job-a")
        choice = ProgramChoice(chosen: Self.program("a"))
        choice.clear(newer, at: .now())
        #expect(choice == ProgramChoice())
        // The very program that was on trial: it has not failed.
        choice.choose(Self.program("j"))
        choice.clear(newer, at: .now())
        #expect(choice == ProgramChoice())
    }

    /// One literal, since an interpolation would not be in the program's bytes.
    @Test func theMarkNamesTheVersion() {
        #expect(AgentProgram.mark == "etcd-backup-fleet program fleet-agent \(FleetVersion.current);")
    }

    @Test(arguments: [
        ("0.2.0", "0.1.9", true), ("0.10.0", "0.9.0", true), ("1.0", "0.9.9", true), ("0.1.0", "0.1.0", false),
        ("0.1", "0.1.0", false), ("0.1.0.1", "0.1.0", true), ("0.1.0", "0.2.0", false), ("x", "0.0.0", false),
    ])
    func versions(_ one: String, _ other: String, isNewer: Bool) {
        #expect(ProgramVersion.isNewer(one, than: other) == isNewer)
    }
}

/// What is on the disk is looked at before it is started.
@Suite struct ProgramFilesTests {
    private let tree: NodeTree
    private let key: PrivateKey
    private let files: ProgramFiles
    private var gate: JobGate {
        get throws { JobGate(node: "n1", cluster: "c1", key: try VerifyingKey(raw: try key.rawPublicKey())) }
    }

    init() throws {
        tree = try NodeTree(["/state/x": ""])
        key = try PrivateKey.generateEd25519()
        files = ProgramFiles(directory: tree.root + "/state/program")
    }

    private func program(
        _ bytes: String, signed: ProgramRecord? = nil, by other: PrivateKey? = nil, for job: String = "j1",
        node: String = "n1", cluster: String = "c1", installed: String = "i"
    ) throws -> ProgramChoice.Program {
        let record = ProgramRecord(
            sha256: SHA256.hash(Array(bytes.utf8)).hex, size: Int64(bytes.utf8.count), version: "0.3.0",
            architecture: "x86_64")
        let order = Job(
            id: job, node: node, cluster: cluster, counter: 1, issued: .now(), expires: .now(),
            operation: .upgrade(.init(program: signed ?? record)))
        try FileSystem.makeDirectories(files.directory(record.sha256))
        try FileSystem.writeDurably(files.program(record.sha256), bytes.utf8, mode: 0o700)
        return .init(
            job: "j1", record: record, envelope: try JobSigner(key: other ?? key).sign(order), installed: installed)
    }

    private func code(_ program: ProgramChoice.Program) throws -> FleetError.Code? {
        let gate = try gate
        do throws(FleetError) {
            try files.check(program, gate)
            return nil
        } catch { return error.code }
    }

    @Test func onlyWhatWasSignedIsStarted() throws {
        let good = try program("good")
        #expect(try code(good) == nil)
        #expect(try code(program("good", by: .generateEd25519())) == .badSignature)
        var record = good.record
        record.sha256 = String(repeating: "0", count: 64)
        #expect(try code(program("good", signed: record)) == .programDamaged, "the job names another")
        #expect(try code(program("good", node: "n2")) == .wrongNode)
        #expect(try code(program("good", cluster: "c2")) == .wrongNode)
        #expect(try code(program("good", for: "j2")) == .programDamaged, "another job brought it")
        try FileSystem.writeDurably(files.program(good.record.sha256), "Good".utf8)
        #expect(try code(good) == .programDamaged)
        try FileSystem.writeDurably(files.program(good.record.sha256), "goo".utf8)
        #expect(try code(good) == .programDamaged)
        try FileSystem.remove(files.program(good.record.sha256))
        #expect(try code(good) == .programDamaged)
    }

    @Test func cleaningKeepsWhatIsChosen() throws {
        let (a, b) = (try program("a"), try program("b"))
        try files.write(ProgramChoice(chosen: a))
        try files.clean(keeping: [a.record.sha256])
        #expect(try FileSystem.list(files.directory) == [a.record.sha256, "choice.json"].sorted())
        #expect(try code(a) == nil && code(b) == .programDamaged)
    }

    /// Whatever is wrong with what is chosen, the installed program, which this test is, runs, and says why.
    @Test(arguments: ["{", "", "{\"starts\":\"x\"}", "unsigned", "gone", "changed", "no program"])
    func theInstalledOneRunsWhatever(_ damage: String) throws {
        let own = try ProgramFiles.own().sha256
        var chosen = try program("this is no program", installed: own)
        switch damage {
        case "unsigned": chosen = try program("this is no program", by: .generateEd25519(), installed: own)
        case "gone": try FileSystem.remove(files.program(chosen.record.sha256))
        case "changed": try FileSystem.writeDurably(files.program(chosen.record.sha256), "another".utf8, mode: 0o700)
        default: break
        }
        var choice = ProgramChoice()
        choice.choose(chosen)
        try files.write(choice)
        if damage.isEmpty || damage.hasPrefix("{") { try FileSystem.writeDurably(files.choice, damage.utf8) }
        let launched = try ProgramLaunch(files: files, gate: try gate, log: .silent, faults: .none).settle()
        #expect(!launched.told.isChosen && launched.told.sha256 == own && !launched.isOnTrial)
        let fallback = try #require(launched.told.fallback)
        let expected: FleetError.Code =
            switch damage {
            case "unsigned": .badSignature
            case "gone", "changed": .programDamaged
            // Started, and refused by the kernel: it says so, in this process.
            case "no program": .system
            default: .malformed
            }
        #expect(fallback.error.code == expected, "\(fallback.error)")
        #expect(try files.read().chosen == nil)
        // It is told at the next start too, and nothing else is tried.
        let again = try ProgramLaunch(files: files, gate: try gate, log: .silent, faults: .none).settle()
        #expect(again.told == launched.told)
    }

    /// A trial that can't begin is over, and is not begun later, when the disk is writable again and its job has ended.
    @Test func aTrialThatCantBeWrittenDownIsOver() async throws {
        let disk = tree.root + "/state"
        guard mount("tmpfs", disk, "tmpfs", 0, "size=1m,mode=0700") == 0 else {
            try Test.cancel("mounting a tmpfs is refused here (\(String(cString: strerror(errno))))")
        }
        defer { umount2(disk, Int32(MNT_DETACH)) }
        var choice = ProgramChoice()
        choice.choose(try program("this is no program", installed: try ProgramFiles.own().sha256))
        try files.write(choice)
        #expect(mount("tmpfs", disk, "tmpfs", UInt(MS_REMOUNT | MS_RDONLY), nil) == 0)
        let own = try ProgramLaunch(files: files, gate: try gate, log: .silent, faults: .none).settle()
        #expect(own.isUnwritten && own.told.fallback != nil)
        #expect(try files.read().trial != nil)
        #expect(mount("tmpfs", disk, "tmpfs", UInt(MS_REMOUNT), nil) == 0)
        await own.writeDown()
        let written = try files.read()
        #expect(written.chosen == nil && written.trial == nil && written.fallback?.job == "j1" && !own.isUnwritten)
    }
}
