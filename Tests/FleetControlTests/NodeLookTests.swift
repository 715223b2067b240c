import FleetCrypto
import FleetSystem
import Glibc
import Testing

@testable import FleetControl

/// What a node says of itself, right and wrong.
@Suite struct NodeLookTests {
    static let marker = "00ff"

    static func answer(_ lines: [String]) -> String {
        "begin \(marker)\n" + lines.map { $0 + "\n" }.joined() + "end \(marker)\n"
    }

    @Test func whatIsThere() throws {
        let look = try NodeLook(
            Self.answer([
                "host=cp1.example.org", "system=Linux", "machine=x86_64", "glibc=glibc 2.36", "systemd=yes", "apt=yes",
                "dpkg=amd64", "package=installed 0.1.0-1", "given=fleet-agent 0.2.0-1 amd64", "relation=gt",
                "program=abc", "program-version=fleet-agent 0.1.0", "unit=def", "drop-ins=yes", "enabled=enabled",
                "active=active", "fragment=/lib/systemd/system/fleet-agent.service", "reload=no",
                "executable=/usr/bin/fleet-agent", "state=yes",
                "unfinished= /var/lib/fleet-agent/jobs/a/journal /var/lib/fleet-agent/joining",
            ]), marker: Self.marker)
        #expect(look.host == "cp1.example.org" && look.defaultName == "cp1" && look.glibc == "2.36")
        #expect(look.hasSystemd && look.hasAptGet && look.dpkg == "amd64" && look.package?.isInstalled == true)
        #expect(
            look.given == .init(name: "fleet-agent", version: "0.2.0-1", architecture: "amd64", relation: .newer))
        #expect(look.program == "abc" && look.programVersion == "0.1.0" && look.unit == "def" && look.hasDropIns)
        #expect(look.enabled == "enabled" && look.isActive && !look.isOutdated && look.hasState)
        #expect(look.fragment == "/lib/systemd/system/fleet-agent.service")
        #expect(look.unfinished.count == 2 && look.identity == nil && !look.isIdentityDamaged)
    }

    @Test func nothingIsThere() throws {
        let look = try NodeLook(
            Self.answer(["host=n", "glibc=", "package=", "given=  ", "enabled=", "active=inactive", "unfinished="]),
            marker: Self.marker)
        #expect(look.glibc == nil && look.package == nil && look.given == nil && look.dpkg == nil)
        #expect(!look.isActive && !look.isByHand && look.unfinished.isEmpty)
    }

    @Test func bannersAndNoiseAroundIt() throws {
        let noise = "Welcome!\nbegin 00fe\nhost=evil\nbegin \(Self.marker)\nhost=false\n\r\u{1b}[31m=\n"
        let look = try NodeLook(
            noise + Self.answer(["host=right", "no value", "=", "machine=a=b"]) + "host=late\n", marker: Self.marker)
        #expect(look.host == "right" && look.machine == "a=b")
    }

    @Test(arguments: ["", "begin 00ff\nhost=a\n", "end 00ff\n", "end 00ff\nbegin 00ff\n", "\u{0}\u{ff}"])
    func anAnswerThatIsNotWhole(_ text: String) {
        #expect(throws: FleetError.self) { try NodeLook(text, marker: Self.marker) }
    }

    @Test func whatIsTooLongIsCut() throws {
        let look = try NodeLook(
            Self.answer(["host=" + String(repeating: "a", count: 1_000_000)]), marker: Self.marker)
        #expect(look.host.count == 200)
    }

    @Test func whoItIs() throws {
        let authority = try CertificateAuthority.create(name: "test", validity: .seconds(600))
        let former = try CertificateAuthority.create(name: "former", validity: .seconds(600))
        let description = #"{"cluster":"a","node":"n","coordinator":"h:1","jobKey":"x","later":"fields"}"#
        let look = try NodeLook(
            Self.answer([
                "identity=" + Array(description.utf8).base64,
                "authority=" + Array((authority.certificatePEM + authority.certificatePEM).utf8).base64,
                "certificates=" + Array((former.certificatePEM + authority.certificatePEM).utf8).base64,
            ]), marker: Self.marker)
        let fingerprint = try X509Certificate(pem: authority.certificatePEM).fingerprint
        #expect(
            look.identity
                == .init(
                    cluster: "a", node: "n", coordinator: "h:1", authorities: [fingerprint, fingerprint],
                    certificates: [try X509Certificate(pem: former.certificatePEM).fingerprint, fingerprint]))
        for damage in ["", "!!!", Array("{}".utf8).base64] {
            let whole = Array(authority.certificatePEM.utf8).base64
            for (authority, certificates) in [(damage, whole), (whole, damage)] {
                let look = try NodeLook(
                    Self.answer([
                        "identity=" + Array(description.utf8).base64, "authority=" + authority,
                        "certificates=" + certificates,
                    ]), marker: Self.marker)
                #expect(look.identity == nil && look.isIdentityDamaged)
            }
        }
    }

    /// As the agent keeps it, with more than is read here.
    @Test func whatAnUpgradeHasChosen() throws {
        let place = "/var/lib/fleet-agent/program"
        func look(_ choice: String, program: String = "p", executable: String) throws -> NodeLook {
            try NodeLook(
                Self.answer([
                    "program=\(program)", "packaged=q", "upgrades=yes", "active=active", "executable=\(executable)",
                    "choice=" + Array(choice.utf8).base64,
                ]), marker: Self.marker)
        }
        let chosen =
            #"{"chosen":{"job":"j","record":{"sha256":"u","size":1,"version":"0.2.0","architecture":"x86_64"},"envelope":{},"installed":"p"},"starts":0}"#
        let upgraded = try look(chosen, executable: "\(place)/u/fleet-agent")
        #expect(upgraded.upgrade == .init(version: "0.2.0", sha256: "u", installed: "p"))
        #expect(upgraded.hasUpgrades && !upgraded.isOutdated)
        #expect(try look(chosen.replacing(#""p""#, with: #""q""#), executable: "").upgrade != nil, "the package's")

        // Another program was installed since, and the run was cut off before the restart.
        let since = try look(chosen, program: "other", executable: "\(place)/u/fleet-agent")
        #expect(since.upgrade == nil && since.isOutdated)
        #expect(try !look(chosen, program: "other", executable: "/usr/local/bin/fleet-agent").isOutdated)
        // The agent alone sees to what can't be read.
        for text in ["", "{}", "x", #"{"chosen":7}"#] {
            let look = try look(text, executable: "\(place)/u/fleet-agent")
            #expect(look.upgrade == nil && !look.isOutdated)
        }
    }

    /// Restarted, since what is on the disk is not what runs.
    @Test func whatRunsIsNotWhatIsThere() throws {
        for line in ["executable=/usr/local/bin/fleet-agent (deleted)", "reload=yes"] {
            #expect(try NodeLook(Self.answer(["active=active", line]), marker: Self.marker).isOutdated)
            #expect(try !NodeLook(Self.answer(["active=inactive", line]), marker: Self.marker).isOutdated)
        }
    }
}

/// The scripts themselves, by this machine's own shell.
@Suite struct NodeScriptTests {
    private func shell(_ script: String, _ input: String = "") throws -> Subprocess.Outcome {
        try Subprocess.run("/bin/sh", ["-c", script], input: Array(input.utf8))
    }

    @Test(arguments: ["a", "it's", "'", "''", "$(id)`id`\"\\!", "a b\nc", ""])
    func aWordIsOneWord(_ text: String) throws {
        #expect(try shell("printf %s \(NodeScript.quoted(text))").outputText == text)
    }

    @Test func aLookIsWholeAndReadable() throws {
        let outcome = try shell(NodeScript.look("abcd"))
        #expect(outcome.succeeded, "\(outcome.complaint)")
        let look = try NodeLook(outcome.outputText, marker: "abcd")
        #expect(look.system == "Linux" && !look.host.isEmpty && !look.machine.isEmpty && look.glibc != nil)
        #expect(look.given == nil)
    }

    /// The node's own dpkg reads the beginning of a package.
    @Test func aPackageIsReadFromItsBeginning() throws {
        let place = "/tmp/fleet-control-test-\(Randomness.token(8))"
        defer { try? FileSystem.removeTree(place) }
        try FileSystem.makeDirectories(place + "/tree/DEBIAN", mode: 0o755)
        try FileSystem.writeDurably(
            place + "/tree/DEBIAN/control",
            Array(
                "Package: fleet-agent\nVersion: 9:1.0~x-1\nArchitecture: all\nMaintainer: a <a@b>\nDescription: x\n"
                    .utf8),
            mode: 0o644)
        try FileSystem.writeDurably(place + "/tree/filler", SecureRandom.bytes(1 << 20), mode: 0o644)
        _ = try Subprocess.check("/usr/bin/dpkg-deb", ["--build", place + "/tree", place + "/a.deb"])
        let source = try AgentSource.package(place + "/a.deb")
        guard case .package(let head) = source.kind else {
            Issue.record("no package")
            return
        }
        #expect(head.count < 2000 && source.bytes.count > 1 << 20)
        let look = try NodeLook(try shell(NodeScript.look("abcd", packageHead: head)).outputText, marker: "abcd")
        #expect(look.given == .init(name: "fleet-agent", version: "9:1.0~x-1", architecture: "all", relation: nil))
        for damaged in [Array(head.dropLast()), Array(head.dropFirst()), Array(head.prefix(70)), []] {
            #expect(AgentSource.debianHead(damaged) == nil)
        }
        #expect(throws: FleetError.self) { try AgentSource.program(place + "/a.deb") }
    }

    @Test func aProgramIsForAMachine() throws {
        let here = try AgentSource.elfMachine(FileSystem.read("/bin/true"))
        let machine = try Subprocess.check("/usr/bin/uname", ["-m"]).outputText.split(separator: "\n").first.map(
            String.init)
        #expect(here == machine)
        #expect(AgentSource.elfMachine(Array(repeating: 0x7f, count: 100)) == nil && AgentSource.elfMachine([]) == nil)
        let other = #expect(throws: FleetError.self) { try AgentSource.program("/bin/true") }
        #expect(other?.code == .malformed)
    }

    /// What did not arrive whole is never put in its place.
    @Test func whatIsCutOffIsNotInstalled() throws {
        let place = "/tmp/fleet-control-test-\(Randomness.token(8))"
        defer { try? FileSystem.removeTree(place) }
        try FileSystem.makeDirectories(place)
        let text = "#!/bin/sh\necho fleet-agent 1.2.3\n"
        let digest = SHA256.hash(Array(text.utf8)).hex
        let script = NodeScript.installProgram(digest).replacing("/usr/local/bin", with: place)
        let cut = try shell(script, String(text.dropLast()))
        #expect(cut.status == 1 && cut.complaint.contains("not what was sent"))
        #expect(try FileSystem.list(place).isEmpty)
        // One that does not start does not replace one that does.
        let broken = "#!/bin/sh\nexit 3\n"
        let refused = try shell(
            NodeScript.installProgram(SHA256.hash(Array(broken.utf8)).hex).replacing("/usr/local/bin", with: place),
            broken)
        #expect(try refused.status == 3 && FileSystem.list(place).isEmpty)
        let other = "#!/bin/sh\necho fleetctl 1.2.3\n"
        let another = try shell(
            NodeScript.installProgram(SHA256.hash(Array(other.utf8)).hex).replacing("/usr/local/bin", with: place),
            other)
        #expect(try another.complaint.contains("not fleet-agent") && FileSystem.list(place).isEmpty)
        let whole = try shell(script, text)
        #expect(whole.succeeded, "\(whole.complaint)")
        #expect(
            try FileSystem.list(place) == ["fleet-agent"] && FileSystem.status(place + "/fleet-agent")?.mode == 0o755)
    }

    /// By real sockets: one that listens, and one that does not.
    @Test func theWayToTheCoordinator() throws {
        func way(_ host: String, _ port: UInt16, path: String = "/usr/bin:/bin") throws -> String {
            let standard = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            let outcome = try shell(NodeReach.script(host, port).replacing(standard, with: "PATH=\(path)"))
            #expect(outcome.succeeded, "\(outcome.complaint)")
            return outcome.outputText
        }
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        defer { close(listener) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let port = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(listener, address, size) == 0 && listen(listener, 8) == 0
                    && getsockname(listener, address, &size) == 0
            } ? UInt16(bigEndian: pointer.pointee.sin_port) : 0
        }
        #expect(try way("127.0.0.1", port) == "way=open\n")
        #expect(try way("127.0.0.1", 1) == "way=closed Connection refused\n")
        #expect(try way("nowhere.invalid", 1).hasPrefix("way=closed "))
        #expect(try way("$(touch /tmp/fleet-way)'", 1).hasPrefix("way=closed ") && !FileSystem.exists("/tmp/fleet-way"))
        #expect(try way("127.0.0.1", 1, path: "/nonexistent") == "way=untested\n")
        // The reason is a stranger's word, and a dry run says it all the same.
        let obstacle = NodeReach.obstacle("hello\nway=closed no\u{1b}[2J\n", from: "cp1", to: "hub:7400")
        #expect(
            obstacle?.code == .unreachable && obstacle?.message == "cp1 can't reach the coordinator at hub:7400: no[2J")
        #expect(obstacle?.hint?.hasPrefix("open the way from that host to hub:7400") == true)
        for said in ["way=open\n", "way=untested\n", "", "Welcome\n"] {
            #expect(NodeReach.obstacle(said, from: "cp1", to: "hub:7400") == nil)
        }
    }

    /// A node in a directory: what a script does there by the tools, which say what they were called with.
    private struct Node {
        let place = "/tmp/fleet-control-test-\(Randomness.token(8))"

        init(_ tools: [String: String]) throws {
            try FileSystem.makeDirectories(place + "/bin")
            for (name, text) in tools {
                try FileSystem.writeDurably(
                    "\(place)/bin/\(name)",
                    Array("#!/bin/sh\necho \(name) \"$*\" >>\(place)/calls\n\(text)\n".utf8), mode: 0o755)
            }
            try FileSystem.makeDirectories(place + "/etc/systemd/system")
            try FileSystem.makeDirectories(place + "/var/lib/fleet-agent/jobs/j")
        }

        func run(_ script: String, _ input: String = "") throws -> Subprocess.Outcome {
            let here = script.replacing("PATH=/usr/local/sbin", with: "PATH=\(place)/bin:/usr/local/sbin")
                .replacing("/var/lib/fleet-agent", with: place + "/var/lib/fleet-agent")
                .replacing("/etc/systemd", with: place + "/etc/systemd")
                .replacing("/usr/local/bin/fleet-agent", with: place + "/program")
            return try Subprocess.run("/bin/sh", ["-c", here], input: Array(input.utf8))
        }

        func calls() throws -> [String] {
            try FileSystem.readText(place + "/calls").split(separator: "\n").map(String.init)
        }

        func write(_ path: String, _ text: String) throws {
            try FileSystem.writeDurably("\(place)/\(path)", Array(text.utf8), mode: 0o644)
        }
    }

    private static let running = "case $1 in is-enabled) echo enabled ;; is-active) echo active ;; esac"

    /// An agent that can't be removed is not left off.
    @Test func whatCannotBeRemovedRunsAgain() throws {
        let refused = try Node(["systemctl": Self.running, "dpkg": "echo 'dpkg: error: no' >&2; exit 1"])
        defer { try? FileSystem.removeTree(refused.place) }
        let script = NodeScript.remove(package: "remove", isByHand: true, keepsUnit: false, purges: true)
        try refused.write("program", "x")
        let outcome = try refused.run(script)
        #expect(outcome.status == 1 && outcome.complaint == "dpkg: error: no; the agent runs again")
        #expect(
            try refused.calls().suffix(3) == [
                "dpkg --remove fleet-agent", "systemctl --quiet enable fleet-agent", "systemctl start fleet-agent",
            ])
        #expect(
            FileSystem.exists(refused.place + "/program") && FileSystem.exists(refused.place + "/var/lib/fleet-agent"))

        // Of a restore that began while it was being stopped.
        let begun = try Node(["dpkg": ""])
        defer { try? FileSystem.removeTree(begun.place) }
        let journal = "\(begun.place)/var/lib/fleet-agent/jobs/j/journal"
        try FileSystem.writeDurably(
            begun.place + "/bin/systemctl",
            Array(
                "#!/bin/sh\necho systemctl \"$*\" >>\(begun.place)/calls\n\(Self.running)\ncase $* in *disable*) echo x >\(journal) ;; esac\n"
                    .utf8), mode: 0o755)
        let held = try begun.run(script)
        #expect(held.status == NodeScript.begun && NodeWords.last(held.errors, lines: 1) == journal)
        #expect(
            try begun.calls().last == "systemctl start fleet-agent" && !begun.calls().contains { $0.hasPrefix("dpkg") })
        #expect(try begun.run(script).status == NodeScript.unfinished)
    }

    @Test func anEditedUnitStaysBesideItsPlace() throws {
        let node = try Node(["systemctl": "exit 1", "dpkg": "exit 1"])
        defer { try? FileSystem.removeTree(node.place) }
        let unit = "etc/systemd/system/fleet-agent.service"
        let script = NodeScript.remove(package: nil, isByHand: true, keepsUnit: true, purges: false)
        for text in ["first", "second"] {
            try node.write(unit, text)
            // daemon-reload fails here, behind all of it.
            #expect(try node.run(script).status == 1)
        }
        let units = node.place + "/etc/systemd/system"
        #expect(
            try FileSystem.list(units).sorted() == [
                "fleet-agent.service.replaced", "fleet-agent.service.replaced.~1~",
            ])
        #expect(try FileSystem.readText("\(units)/fleet-agent.service.replaced.~1~") == "first")
        #expect(try FileSystem.readText("\(units)/fleet-agent.service.replaced") == "second")
        try node.write(unit, "third")
        let install = NodeScript.installUnit(SHA256.hash(Array("ours".utf8)).hex)
        #expect(try node.run(install, "ours").succeeded && node.run(install, "ours").succeeded)
        #expect(try FileSystem.readText("\(units)/fleet-agent.service") == "ours")
        #expect(try FileSystem.readText("\(units)/fleet-agent.service.replaced.~3~") == "third")
        // Not before the restart, which a run that is cut off here would not come to.
        #expect(try node.calls().filter { $0 == "systemctl daemon-reload" }.count == 2)
    }

    /// What upgrades have brought goes with the installed program, and while the agent is off: one that ends writes of it.
    @Test func upgradesAreLeft() throws {
        for (script, calls) in [
            (
                NodeScript.leaveUpgrade,
                ["systemctl is-active fleet-agent", "systemctl stop fleet-agent", "systemctl start fleet-agent"]
            ),
            (NodeScript.remove(package: nil, isByHand: true, keepsUnit: false, purges: false), nil),
        ] {
            let node = try Node([
                "systemctl":
                    "\(Self.running)\ncase $1 in stop) mkdir -p $(dirname \"$0\")/../var/lib/fleet-agent/program/a ;; esac"
            ])
            defer { try? FileSystem.removeTree(node.place) }
            try node.write("var/lib/fleet-agent/jobs/kept", "x")
            try FileSystem.makeDirectories(node.place + "/var/lib/fleet-agent/program/u")
            #expect(try NodeLook(node.run(NodeScript.look("abcd")).outputText, marker: "abcd").hasUpgrades)
            try FileSystem.remove(node.place + "/calls")
            let outcome = try node.run(script)
            #expect(outcome.succeeded, "\(outcome.complaint)")
            #expect(try FileSystem.list(node.place + "/var/lib/fleet-agent") == ["jobs"])
            if let calls { #expect(try node.calls() == calls) }
        }
    }

    @Test func anotherProgramsLockIsWaitedFor() throws {
        let node = try Node([
            "systemctl": "", "sleep": "touch $(dirname \"$0\")/free",
            "dpkg":
                "[ -e $(dirname \"$0\")/free ] || { echo 'dpkg: error: dpkg frontend lock was locked by another process with pid 1' >&2; exit 2; }",
        ])
        defer { try? FileSystem.removeTree(node.place) }
        let outcome = try node.run(
            NodeScript.remove(package: "purge", isByHand: false, keepsUnit: false, purges: true))
        #expect(outcome.succeeded, "\(outcome.complaint)")
        #expect(try node.calls().filter { $0 == "dpkg --purge fleet-agent" }.count == 2)
        #expect(!FileSystem.exists(node.place + "/var/lib/fleet-agent"))
    }

    /// Where the state has a file system of its own, its place stays, and is nothing to remove for a second run.
    @Test func aPlaceToMountStays() throws {
        let node = try Node(["systemctl": "", "mountpoint": "exit 0"])
        defer { try? FileSystem.removeTree(node.place) }
        let look = NodeScript.look("abcd")
        #expect(try NodeLook(node.run(look).outputText, marker: "abcd").hasState)
        let script = NodeScript.remove(package: nil, isByHand: false, keepsUnit: false, purges: true)
        #expect(try node.run(script).succeeded)
        #expect(try FileSystem.list(node.place + "/var/lib/fleet-agent").isEmpty)
        #expect(try !NodeLook(node.run(look).outputText, marker: "abcd").hasState)
        let stuck = try Node(["systemctl": "", "mountpoint": "exit 0", "find": "echo busy >&2; exit 1"])
        defer { try? FileSystem.removeTree(stuck.place) }
        #expect(try stuck.run(script).status == NodeScript.leftovers, "and its right to connect is taken")
    }

    /// The package's own script: it waits for the end of a restore that an agent works at, and not for ever.
    @Test(arguments: [
        ("upgrade", "exit 0", false, 1, 30), ("failed-upgrade", "exit 0", false, 1, 0),
        ("upgrade", "exit 0", true, 0, 1),
        ("upgrade", "exit 3", false, 0, 0), ("remove", "exit 3", false, 1, 0),
    ])
    func noProgramIsReplacedInTheMiddle(_ act: String, _ active: String, ends: Bool, status: Int32, sleeps: Int) throws
    {
        let node = try Node([
            "systemctl": active, "deb-systemd-invoke": "",
            "sleep": ends
                ? "echo '01234567 {\"concluded\":{}}' >>$(dirname \"$0\")/../var/lib/fleet-agent/jobs/j/journal" : "",
        ])
        defer { try? FileSystem.removeTree(node.place) }
        try node.write("var/lib/fleet-agent/jobs/j/journal", "01234567 {\"planned\":{}}\n")
        let here = FileSystem.parent(of: FileSystem.parent(of: FileSystem.parent(of: #filePath)))
        let script = try FileSystem.readText(here + "/ops/debian/fleet-agent.prerm").replacing(
            "/var/lib/fleet-agent", with: node.place + "/var/lib/fleet-agent"
        ).replacing("/run/systemd/system", with: node.place)
        let outcome = try Subprocess.run(
            "/bin/sh", ["-c", "PATH=\(node.place)/bin:$PATH\n" + script, "prerm", act],
            environment: Subprocess.defaultEnvironment)
        #expect(outcome.status == status, "\(outcome.complaint)")
        let said = String(decoding: outcome.errors, as: UTF8.self)
        #expect(said.contains("in the middle of a restore") == (status == 1), "\(said)")
        if status == 1 { #expect(said.contains("  \(node.place)/var/lib/fleet-agent/jobs/j/journal\n")) }
        let calls = (try? node.calls()) ?? []
        #expect(calls.count { $0 == "sleep 2" } == sleeps, "\(calls)")
    }

    /// fleetctl brings the very unit, and finds what is unfinished as the package does before it lets itself be removed.
    @Test func nothingDriftsFromWhatIsPackaged() throws {
        let here = FileSystem.parent(of: FileSystem.parent(of: FileSystem.parent(of: #filePath)))
        #expect(try AgentUnit.bytes == FileSystem.read(here + "/ops/systemd/fleet-agent.service"))
        func lines(_ text: String) -> [Substring] {
            text.split(separator: "\n").map { $0.drop { $0 == " " } }.filter { !$0.hasPrefix("#") }
        }
        let mine = lines(NodeScript.findsUnfinished)
        let packaged = lines(try FileSystem.readText(here + "/ops/debian/fleet-agent.prerm"))
        let start = try #require(packaged.firstIndex(of: mine[0]))
        #expect(Array(packaged[start...].prefix(mine.count)) == mine)
    }
}
