/// What the help, the manual and the completions all tell of a command.
extension Command.Argument {
    /// "CLUSTER", "[CLUSTER]", "[CLUSTER...]" or "CLUSTER...", with whatever stands for the name.
    func shape(_ name: String) -> String {
        switch count {
        case .one: name
        case .optional: "[\(name)]"
        case .any: "[\(name)...]"
        case .atLeastOne: "\(name)..."
        }
    }
}

extension Command {
    /// What stands behind the command's name: its arguments, or COMMAND where it groups others.
    var operands: [String] { run == nil ? ["COMMAND"] : arguments.map { $0.shape($0.name) } }
}

extension Command.Option {
    /// Understood everywhere without being declared.
    static func ofEveryCommand(isProgram: Bool) -> [Command.Option] {
        let help = Command.Option("help", short: "h", "show this")
        return isProgram ? [help, .init("version", "show the version")] : [help]
    }

    /// "--output", and "-o" where there is one.
    var words: [String] { ["--\(name)"] + (short.map { ["-\($0)"] } ?? []) }
}

extension ExitStatus {
    static let ofEveryCommand: [(ExitStatus, String)] = [
        (.success, "done"), (.failure, "failed; the error says why and what to do next"),
        (.usage, "the command line is wrong"),
    ]
}

/// One level of a command line: a command with all options that are allowed there.
struct CommandLevel {
    /// The program's name first.
    var path: [String]
    var command: Command
    /// Options of the groups that it is in.
    var inherited: [Command.Option]

    var name: String { path.joined(separator: " ") }
    var options: [Command.Option] {
        command.options + inherited + Command.Option.ofEveryCommand(isProgram: path.count == 1)
    }

    /// The program and every command below it, each before its own.
    static func all(_ root: Command) -> [CommandLevel] { below(.init(path: [root.name], command: root, inherited: [])) }

    private static func below(_ level: CommandLevel) -> [CommandLevel] {
        // As the parser has it: only those of a group are allowed below it.
        let inherited = level.inherited + (level.command.run == nil ? level.command.options : [])
        return [level]
            + level.command.subcommands.flatMap {
                below(.init(path: level.path + [$0.name], command: $0, inherited: inherited))
            }
    }
}

/// What a shell can offer for a value or an argument.
enum Offer: Equatable {
    case nothing, files, directories
    case words([String])

    init(_ placeholder: String, _ choices: [String]) {
        switch placeholder {
        case _ where !choices.isEmpty: self = .words(choices)
        case "FILE", "PATH": self = .files
        case "DIR": self = .directories
        default: self = .nothing
        }
    }
}

extension Command.Option {
    /// nil for a switch.
    var offer: Offer? { value.map { Offer($0, choices) } }
}

extension Command.Argument {
    var offer: Offer { Offer(name, choices) }
    var isRepeated: Bool { count == .any || count == .atLeastOne }
}
