private import CLinux
internal import FleetSystem
private import Glibc

/// Runs a program's command line to an exit status. The one place that turns errors into statuses.
public enum Program {
    /// Never returns.
    public static func main(_ root: Command, version: String) async -> Never {
        // Left to itself, malloc raises this limit to 32 MB once such a block was freed, and keeps what is below: a
        // process that goes through gigabytes in large buffers then holds three times what it uses.
        _ = fleet_map_allocations_from(1 << 20)
        let terminal = Terminal.standard()
        let words = Array(CommandLine.arguments.dropFirst())
        let status = await run(words, root, version: version, commit: FleetVersion.commit, terminal: terminal)
        exit(status.code)
    }

    public static func run(
        _ words: [String], _ root: Command, version: String, commit: String? = nil, terminal: Terminal
    ) async -> ExitStatus {
        if words == ["--version"] || words == ["version"] {
            // The first line alone is compared with others, here and by earlier versions.
            terminal.print("\(root.name) \(version)")
            if let commit { terminal.print("commit \(commit)") }
            return .success
        }
        let root = Documentation.added(to: root, version: version)
        // Also where the rest of the line can't be read.
        var service = root.subcommands.first { $0.isService && $0.name == words.first }
        do {
            switch try Parser.parse(words, root: root, terminal: terminal) {
            case .help(let command, let path, let inherited):
                terminal.printRaw(Help.text(command, path: path, inherited: inherited, terminal: terminal))
                return .success
            case .run(let command, _, let invocation):
                service = command.isService ? command : nil
                return try await command.run!(invocation)
            }
        } catch {
            let error = FleetError(error)
            if let service, !terminal.errorIsTerminal {
                terminal.note(
                    Log.line(
                        .error, "'\(root.name) \(service.name)' ends: \(error.message)", Log.fields(of: error)))
            } else {
                terminal.error(error)
            }
            return error.code == .usage ? .usage : .failure
        }
    }
}
