import FleetCommandLine
import FleetSystem
import Testing

final class Recorder: Sendable {
    private let lines = Monitor<(String, String)>(("", ""))
    var output: String { lines.withLock { $0.0 } }
    var errors: String { lines.withLock { $0.1 } }
    func terminal(color: Bool = false) -> Terminal {
        Terminal(outputIsTerminal: color, errorIsTerminal: color, color: color, columns: 80) { descriptor, text in
            self.lines.withLock { if descriptor == 1 { $0.0 += text } else { $0.1 += text } }
        }
    }
}

@Suite struct ProgramTests {
    let root = Command(
        "tool", "does things", options: [.init("server", value: "ADDRESS", "where it is")],
        subcommands: [
            Command(
                "make", "makes it",
                arguments: [.init("NAME", "what it is called"), .init("PART", "its parts", count: .any)],
                options: [
                    .init("output", short: "o", value: "FORMAT", "how it is printed", choices: ["table", "json"]),
                    .init("force", short: "f", "at any price"),
                    .init("label", value: "L", "labels", repeated: true), .init("wait", value: "DURATION", "how long"),
                ],
                examples: [.init("tool make a", "makes a")], exitStatuses: [(.partialFailure, "some failed")]
            ) { call in
                let wait = try call.duration("wait", default: .seconds(1))
                call.terminal.print(
                    [
                        call.argument("NAME")!, call.arguments("PART").joined(separator: "+"),
                        call.value("output") ?? "nil", "\(call.has("force"))",
                        call.values("label").joined(separator: "+"), call.value("server") ?? "nil",
                        "\(Int(wait.seconds))",
                    ].joined(separator: " "))
                return .success
            },
            Command("fail", "fails") { _ in throw FleetError("some-code", "it went wrong", hint: "try another") },
        ])

    func run(_ words: String..., commit: String? = nil) async -> (Int32, String, String) {
        let recorder = Recorder()
        let status = await Program.run(
            words, root, version: "1.2.3", commit: commit, terminal: recorder.terminal())
        return (status.code, recorder.output, recorder.errors)
    }

    /// However it was written: no line is longer than the terminal, and what is indented stays.
    @Test func whatIsSaidOfACommandFlows() async {
        let words = (1...40).map { "word\($0)" }.joined(separator: " ")
        let recorder = Recorder()
        _ = await Program.run(
            ["--help"],
            Command(
                "tool", "does things", discussion: "\(words)\nand\nmore.\n\n    a  list\n    of it\nThe end.",
                subcommands: [Command("fail", "fails") { _ in .success }]),
            version: "1", commit: nil, terminal: recorder.terminal())
        let lines = recorder.output.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines.allSatisfy { $0.count <= 80 })
        #expect(recorder.output.contains(" word40 and more.\n\n    a  list\n    of it\nThe end.\n"))
    }

    /// As with `restore CLUSTER` and `restore undo JOB`.
    @Test func aCommandWithCommandsBelowIt() async {
        let both = Command(
            "tool", "does things",
            subcommands: [
                Command(
                    "make", "makes it", arguments: [.init("NAME", "it")], options: [.init("force", "at any price")],
                    subcommands: [
                        Command(
                            "undo", "unmakes it", arguments: [.init("JOB", "which")],
                            options: [.init("yes", "do not ask")]
                        ) { call in
                            call.terminal.print("undo \(call.argument("JOB")!) \(call.has("yes"))")
                            return .success
                        }
                    ]
                ) { call in
                    call.terminal.print("make \(call.argument("NAME")!)")
                    return .success
                }
            ])
        func run(_ words: String...) async -> (Int32, String) {
            let recorder = Recorder()
            let status = await Program.run(words, both, version: "1", terminal: recorder.terminal())
            return (status.code, recorder.output)
        }
        #expect(await run("make", "a") == (0, "make a\n"))
        #expect(await run("make", "undo", "j", "--yes") == (0, "undo j true\n"))
        #expect(await run("make", "--", "undo") == (0, "make undo\n"), "one that is called so")
        #expect(await run("make", "--force", "undo", "j").0 == 2, "an option that would be lost")
        #expect(await run("make", "undo", "j", "--force").0 == 2)
        #expect(await run("make", "--help").1.contains("unmakes it"))
    }

    @Test func optionsAnywhereAndInAllForms() async {
        let expected = "a b+c json true x+y s 900\n"
        #expect(
            await run(
                "make", "a", "b", "c", "-o", "json", "-f", "--label", "x", "--label=y", "--server", "s", "--wait", "15m"
            ).1 == expected)
        #expect(
            await run(
                "--server=s", "make", "--force", "a", "-ojson", "b", "--label=x", "--wait=900", "--label", "y", "c"
            ).1 == expected)
        #expect(await run("make", "--", "--force", "-x").1 == "--force -x nil false  nil 1\n")
    }

    @Test(arguments: [
        ["make"], ["nothing"], ["make", "a", "--nope"], ["make", "a", "-z"], ["make", "a", "--output", "xml"],
        ["make", "a", "--output"], ["fail", "x"],
        ["make", "a", "--force=1"], ["make", "a", "-o", "json", "-o", "json"], ["make", "a", "--wait", "soon"],
        ["--server", "x"],
    ])
    func wrongLines(_ words: [String]) async {
        let recorder = Recorder()
        let status = await Program.run(words, root, version: "1", terminal: recorder.terminal())
        #expect(status == .usage && recorder.output.isEmpty && recorder.errors.hasPrefix("error: "))
    }

    @Test func errorsHaveTheirHintOnALineOfItsOwn() async {
        #expect(await run("fail") == (1, "", "error: it went wrong\nhint: try another\n"))
    }

    @Test func helpAtEveryLevel() async {
        let top = await run("--help")
        #expect(top.0 == 0 && top.1.contains("make") && top.1.contains("--server ADDRESS"))
        #expect(await run().1 == top.1)
        let make = await run("make", "--help").1
        for part in [
            "Usage\n  tool make NAME [PART...] [OPTIONS]", "(table, json)", "Examples", "tool make a", "Exit status",
            "some failed", "--server",
        ] {
            #expect(make.contains(part), "\(part)")
        }
    }

    @Test func versionAndControlCharacters() async {
        #expect(await run("--version").1 == "tool 1.2.3\n")
        #expect(await run("--version", commit: "1f2e3d4c-dirty").1 == "tool 1.2.3\ncommit 1f2e3d4c-dirty\n")
        #expect(Terminal.clean("a\u{1b}[31mb\nc") == "a [31mb c")
    }

    /// Whatever a command forgot to clean: colours pass, nothing else does.
    @Test func nothingSteersTheTerminal() {
        let recorder = Recorder()
        let terminal = recorder.terminal(color: true)
        terminal.print("a\u{1b}]0;title\u{7}b\u{1b}[2Jc\u{9b}5n\rd\ne")
        terminal.print(terminal.green("ok"))
        #expect(recorder.output == "a ]0;title b [2Jc 5n d\ne\n\u{1b}[32mok\u{1b}[0m\n")
    }

    /// Whoever prints again and again ends with its reader; a disk that is full is no such end.
    @Test(arguments: [("reader-gone", false), ("no-space", true)])
    func whoIsReadNoMoreKnows(_ code: String, _ goesOn: Bool) {
        let terminal = Terminal(
            outputIsTerminal: false, errorIsTerminal: false, color: false, columns: 80,
            writeBytes: { (_, _) throws(FleetError) in throw FleetError(.init(rawValue: code), "no") },
            write: { _, _ in })
        #expect(terminal.printAgain("x") == goesOn)
    }

    @Test func tablesAlignAndShowEmptyCells() {
        let recorder = Recorder()
        var table = Table([("NAME", .left), ("SIZE", .right), ("WHY", .left)])
        table.add(["cluster-a", "1 B", ""])
        table.add(["b", "480.3 MB", "long text"])
        table.print(recorder.terminal())
        #expect(recorder.output == "NAME           SIZE  WHY\ncluster-a       1 B  -\nb          480.3 MB  long text\n")
    }

    @Test(
        arguments: [
            (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_950, "1.0 MB"), (480_300_000, "480.3 MB"),
            (8_000_000_000, "8.0 GB"),
        ] as [(Int64, String)])
    func sizes(_ count: Int64, _ text: String) { #expect(Human.bytes(count) == text) }
}
