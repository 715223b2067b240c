import FleetSystem
import Testing

@testable import FleetCommandLine

/// What hints, help and documents tell people to run, looked up among the commands that are declared.
@Suite struct NamedCommandTests {
    private static let tree = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    private static let programs = fleetPrograms.map { Documentation.added(to: $0, version: "1") }

    /// Words that follow a program's name where a sentence goes on.
    private static let prose: Set<String> = [
        "and", "at", "does", "installed", "itself", "of", "on", "printed", "program", "rm", "stays", "unfinished=",
        // A program that runs as a user of this name.
        "fleet-coordinator",
    ]

    @Test func everyCommandThatIsNamedIsThere() throws {
        var found = 0
        for file in try Self.files() {
            let text = Self.candidates(try FileSystem.read("\(Self.tree)/\(file)"))
            found += try look(file.hasSuffix(".swift") ? Self.strings(text) : Self.words(text[...]), file)
        }
        #expect(found > 300, "the search itself does not work any more")
    }

    @Test(arguments: [
        ("run 'fleetctl job watch \\(id)', then", nil), ("'fleetctl job follow \\(id)'", "fleetctl job follow"),
        ("fleetctl statsu", "fleetctl statsu"), ("see 'fleetctl job' and more", nil),
        ("'fleetctl backup --all --fast'", "fleetctl backup --fast"),
        ("fleetctl agent install \\(name) --ssh root@NODE --sudo", "fleetctl agent install --sudo"),
        ("in /etc/fleet-agent are", nil), ("fleetctl on this host", nil),
        ("    fleetctl cluster list\n    rm -r --force", nil), ("'fleetctl job\nfollow'", "fleetctl job follow"),
    ])
    func whatIsNotThereIsFound(_ text: String, _ wrong: String?) throws {
        var problems: [String] = []
        _ = Self.named(in: Self.words(text[...])) { problems.append($0) }
        #expect(problems == [wrong].compactMap(\.self))
    }

    private func look(_ words: [Substring], _ file: String) throws -> Int {
        Self.named(in: words) { Issue.record("\(file) names '\($0)', which is not declared") }
    }

    /// - Returns: how many commands were named.
    private static func named(in words: [Substring], _ wrong: (String) -> Void) -> Int {
        var count = 0
        for (index, word) in words.enumerated() {
            for program in programs where word.hasSuffix(program.name) {
                let before = word.dropLast(program.name.count).last
                if let before, before.isLetter || "/-_.".contains(before) { continue }
                count += 1
                // What is quoted goes on in the next line.
                let isQuoted = before == "'" || before == "`"
                let rest = words[(index + 1)...].prefix(20)
                follow(isQuoted ? rest.filter { $0 != "\n" }[...] : rest.prefix { $0 != "\n" }, program, wrong)
            }
        }
        return count
    }

    private static func follow(_ words: ArraySlice<Substring>, _ program: Command, _ wrong: (String) -> Void) {
        var (command, path) = (program, program.name)
        var options = program.options + Command.Option.ofEveryCommand(isProgram: true)
        var isAtArguments = false
        for word in words {
            let (body, isLast) = cut(word)
            if body.hasPrefix("--") {
                let name = body.dropFirst(2).prefix { $0 != "=" }
                if !name.isEmpty, !options.contains(where: { $0.name == name }) { return wrong("\(path) \(body)") }
            } else if body.isEmpty, !isLast {
                // What stands for a value; anything else that has no plain words ends the command.
                isAtArguments = true
            } else if body.isEmpty || !body.first!.isLowercase {
                if !body.allSatisfy({ $0.isLetter || $0.isNumber || "-/._=".contains($0) }) { return }
                isAtArguments = true
            } else if !isAtArguments, let below = command.subcommands.first(where: { $0.name == body }) {
                (command, path) = (below, "\(path) \(body)")
                options += below.options
            } else if command.run == nil {
                if path == program.name, prose.contains(body) { return }
                return isAtArguments ? () : wrong("\(path) \(body)")
            } else {
                if command.arguments.isEmpty { return }
                isAtArguments = true
            }
            if isLast { return }
        }
    }

    /// A word without what ends a command: quotes and punctuation. Empty and not the last for `\(value)`.
    private static func cut(_ word: Substring) -> (body: String, isLast: Bool) {
        if word.hasPrefix("\\(") {
            let inside = word.dropFirst(2).prefix { $0.isLetter || $0.isNumber || $0 == "." }
            return ("", word.dropFirst(2 + inside.count) != ")")
        }
        let body = word.prefix { !"'\",;:)(`\\|#&>*[{".contains($0) }
        let isWhole = body.count == word.count
        return (String(isWhole && body.last == "." ? body.dropLast() : body), !isWhole || body.last == ".")
    }

    /// Of a source, without comments, and with strings that are put together by + in one piece.
    private static func strings(_ text: String) -> [Substring] {
        var joined = ""
        for line in text.split(separator: "\n") {
            let line = line.drop { $0 == " " }
            if line.hasPrefix("//") { continue }
            if line.hasPrefix("+ \""), joined.hasSuffix("\"") {
                joined.removeLast()
                joined += line.dropFirst(3)
            } else {
                joined += "\n" + line
            }
        }
        return words(joined[...])
    }

    /// Ends of lines are words of their own.
    private static func words(_ text: Substring) -> [Substring] {
        Array(text.split(separator: "\n").map { $0.split(separator: " ") }.joined(separator: ["\n"]))
    }

    /// The lines that may name a command, with those behind them in which it may go on: of all there is, these are few.
    private static func candidates(_ bytes: [UInt8]) -> String {
        let name = Array("fleet".utf8)
        var kept: [UInt8] = []
        var left = 0
        for line in bytes.split(separator: UInt8(ascii: "\n")) {
            let isNamed = line.indices.dropLast(name.count - 1).contains {
                line[$0] == name[0] && line[$0..<$0 + name.count].elementsEqual(name)
            }
            if isNamed { left = 4 }
            if left > 0 { kept += line + [UInt8(ascii: "\n")] }
            left -= 1
        }
        return String(decoding: kept, as: UTF8.self)
    }

    private static func files() throws -> [String] {
        var files = ["README.md", "Coordinator/RECOVERY.md"]
        var directories = ["Sources", "Agent", "Coordinator", "Protocol"]
        while let directory = directories.popLast() {
            for name in try FileSystem.list("\(tree)/\(directory)") {
                let path = "\(directory)/\(name)"
                if try FileSystem.status("\(tree)/\(path)")?.kind == .directory {
                    directories.append(path)
                } else if name.hasSuffix(".swift") {
                    files.append(path)
                }
            }
        }
        return files
    }
}
