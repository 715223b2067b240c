import FleetAgent
import FleetCommandLine
import FleetControl
import FleetCoordinator
import FleetSystem
import Testing

/// What every one of the fleet's programs prints of itself.
let fleetPrograms = [Fleetctl.command, AgentProgram.command, CoordinatorProgram.command]

func printed(_ root: Command, _ words: String...) async throws -> String {
    let recorder = Recorder()
    let status = await Program.run(words, root, version: "1.2.3", terminal: recorder.terminal())
    try #require(status == .success, "\(recorder.errors)")
    return recorder.output
}

/// A small program with one of each: a group, options of all kinds, arguments of all counts, a command below a command.
let sample = Command(
    "my-tool", "does things",
    discussion: """
        First paragraph, of
        two lines.

        .not a request \\n and 'no' request, like this file:

            - key: "value"
              other: `x`^~

        The end.
        """,
    options: [.init("server", value: "ADDRESS", "where it is: [host]:port")],
    examples: [.init("my-tool make a", "makes 'a'")],
    subcommands: [
        Command(
            "make", "makes it", discussion: "All of it.",
            arguments: [.init("NAME", "what it is called"), .init("FILE", "its parts", count: .any)],
            options: [
                .init("output", short: "o", value: "FORMAT", "how it is printed", choices: ["table", "json"]),
                .init("into", value: "DIR", "where to"), .init("force", short: "f", "at any price"),
                .init("label", value: "L", "labels", repeated: true),
            ],
            examples: [.init("my-tool make a -o json", "as JSON")], exitStatuses: [(.partialFailure, "some failed")],
            subcommands: [
                Command("undo", "unmakes it", arguments: [.init("HOW", "way", count: .optional, choices: ["at-once"])])
                { _ in
                    .success
                }
            ]
        ) { _ in .success },
        Command("list", "lists", subcommands: [Command("all", "everything") { _ in .success }]),
    ])

@Suite struct ManualTests {
    @Test func thePageOfASmallTree() async throws {
        let page = try await printed(sample, "manual")
        let begin = try #require(page.ranges(of: ".SS \"my\\-tool completion\"").first).lowerBound
        let end = try #require(page.ranges(of: ".SH \"EXIT STATUS\"").first).lowerBound
        #expect(page[..<begin] == Self.head)
        #expect(page[end...] == Self.tail)
    }

    /// Whatever a person finds with --help at any level is on the page.
    @Test(arguments: fleetPrograms.indices)
    func everyCommandAndOptionIsThere(_ index: Int) async throws {
        let root = fleetPrograms[index]
        let page = try await printed(root, "manual")
        func escaped(_ text: String) -> String { text.replacing("-", with: "\\-") }
        func look(_ command: Command, _ path: String) {
            if path != root.name { #expect(page.contains(".SS \"\(escaped(path))\"\n"), "\(path)") }
            for option in command.options {
                #expect(page.contains("\\fB\(escaped("--\(option.name)"))\\fR"), "\(path) --\(option.name)")
                for choice in option.choices { #expect(page.contains(escaped(choice)), "\(path): \(choice)") }
            }
            for argument in command.arguments { #expect(page.contains("\\fI\(escaped(argument.name))\\fR"), "\(path)") }
            for (status, _) in command.exitStatuses { #expect(page.contains("\\fB\(status.code)\\fR"), "\(path)") }
            for below in command.subcommands { look(below, "\(path) \(below.name)") }
        }
        look(root, root.name)
        #expect(page.unicodeScalars.allSatisfy { $0.isASCII })
    }

    /// groff itself reads it: no warning, and commands come out as they are typed.
    @Test(.enabled(if: FileSystem.exists("/usr/bin/groff")), arguments: fleetPrograms.indices)
    func groffHasNothingToSay(_ index: Int) async throws {
        let page = try await printed(fleetPrograms[index], "manual")
        let outcome = try await Blocking.run {
            try Subprocess.run(
                "/usr/bin/groff", ["-man", "-ww", "-Tutf8", "-P-cbou", "-rLL=200n", "-"],
                input: Array(page.utf8))
        }
        #expect(outcome.succeeded && outcome.errors.isEmpty, "\(String(decoding: outcome.errors, as: UTF8.self))")
        let text = outcome.outputText
        for example in fleetPrograms[index].examples { #expect(text.contains(example.command)) }
    }

    @Test func whatIsPutInIsPrinted() async throws {
        let odd = Command(
            "odd", ".SH \\fBx",
            subcommands: [
                Command("a", "'b", discussion: "'c\n.d\n  .e", examples: [.init("echo '\\n' \"~\"", ".f")]) { _ in
                    .success
                }
            ])
        let page = try await printed(odd, "manual")
        let requests = Set(
            page.split(separator: "\n").filter { $0.hasPrefix(".") || $0.hasPrefix("'") }.map { line in
                line.split(separator: " ").first.map(String.init) ?? ""
            })
        #expect(
            requests.isSubset(of: [
                ".\\\"", ".TH", ".SH", ".SS", ".br", ".PP", ".TP", ".RS", ".RE", ".nf", ".fi", ".nh", ".ad",
            ]))
        #expect(page.contains("\\fBecho \\(aq\\(rsn\\(aq \\(dq\\(ti\\(dq\\fR\n\\&.f\n"))
        #expect(page.contains(".nf\n\\&.e\n.fi"))
    }

    private static let head = #"""
        .\" Made from the declarations of the program's commands, as its --help is.
        .TH "MY\-TOOL" "1" "" "my\-tool 1.2.3" "etcd backup fleet"
        .nh
        .ad l
        .SH "NAME"
        my\-tool \- does things
        .SH "SYNOPSIS"
        \fBmy\-tool make\fR \fINAME\fR [\fIFILE\fR...] [\fIOPTIONS\fR]
        .br
        \fBmy\-tool make undo\fR [\fIHOW\fR] [\fIOPTIONS\fR]
        .br
        \fBmy\-tool list all\fR [\fIOPTIONS\fR]
        .br
        \fBmy\-tool completion\fR \fISHELL\fR [\fIOPTIONS\fR]
        .br
        \fBmy\-tool manual\fR [\fIOPTIONS\fR]
        .SH "DESCRIPTION"
        First paragraph, of
        two lines.
        .PP
        \&.not a request \(rsn and \(aqno\(aq request, like this file:
        .PP
        .RS "4"
        .nf
        \- key: \(dqvalue\(dq
        \&  other: \(gax\(ga\(ha\(ti
        .fi
        .RE
        .PP
        The end.
        .SH "OPTIONS"
        Each of these is allowed with every command, before it or behind it; \-\-version stands alone.
        .TP
        \fB\-\-server\fR \fIADDRESS\fR
        where it is: [host]:port
        .TP
        \fB\-h\fR, \fB\-\-help\fR
        show this
        .TP
        \fB\-\-version\fR
        show the version
        .SH "COMMANDS"
        .SS "my\-tool make"
        \fBmy\-tool make\fR \fINAME\fR [\fIFILE\fR...] [\fIOPTIONS\fR]
        .PP
        makes it.
        .PP
        All of it.
        .TP
        \fINAME\fR
        what it is called
        .TP
        \fIFILE\fR
        its parts
        .TP
        \fB\-o\fR, \fB\-\-output\fR \fIFORMAT\fR
        how it is printed (table, json)
        .TP
        \fB\-\-into\fR \fIDIR\fR
        where to
        .TP
        \fB\-f\fR, \fB\-\-force\fR
        at any price
        .TP
        \fB\-\-label\fR \fIL\fR
        labels
        .PP
        Examples:
        .TP
        \fBmy\-tool make a \-o json\fR
        as JSON
        .PP
        Exit status, beside those of every command:
        .TP
        \fB3\fR
        some failed
        .SS "my\-tool make undo"
        \fBmy\-tool make undo\fR [\fIHOW\fR] [\fIOPTIONS\fR]
        .PP
        unmakes it.
        .TP
        \fIHOW\fR
        way (at\-once)
        .SS "my\-tool list"
        \fBmy\-tool list\fR \fICOMMAND\fR [\fIOPTIONS\fR]
        .PP
        lists.
        .SS "my\-tool list all"
        \fBmy\-tool list all\fR [\fIOPTIONS\fR]
        .PP
        everything.

        """#

    private static let tail = #"""
        .SH "EXIT STATUS"
        .TP
        \fB0\fR
        done
        .TP
        \fB1\fR
        failed; the error says why and what to do next
        .TP
        \fB2\fR
        the command line is wrong
        .PP
        What else a command can end with is told where the command is.
        .SH "EXAMPLES"
        .TP
        \fBmy\-tool make a\fR
        makes \(aqa\(aq
        .SH "SEE ALSO"
        \fBfleetctl\fR(1), \fBfleet\-agent\fR(8), \fBfleet\-coordinator\fR(8)

        """#
}
