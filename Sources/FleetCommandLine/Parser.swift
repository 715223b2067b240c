internal import FleetSystem

/// From words to an invocation, by the declaration alone.
enum Parser {
    enum Result {
        case run(Command, path: [String], Invocation)
        case help(Command, path: [String], inherited: [Command.Option])
    }

    static func parse(_ words: [String], root: Command, terminal: Terminal) throws(FleetError) -> Result {
        var command = root
        var path = [root.name]
        var inherited: [Command.Option] = []
        var invocation = Invocation(terminal: terminal)
        var positional: [String] = []
        var rest = words[...]
        var onlyArguments = false
        while let word = rest.popFirst() {
            if onlyArguments || word == "-" || !word.hasPrefix("-") {
                if command.run == nil {
                    if word == "help" { return .help(command, path: path, inherited: inherited) }
                    guard let next = command.subcommands.first(where: { $0.name == word }) else {
                        throw usage("'\(path.joined(separator: " "))' has no command '\(word)'", path)
                    }
                    inherited += command.options
                    command = next
                    path.append(word)
                } else if !onlyArguments, positional.isEmpty,
                    let next = command.subcommands.first(where: { $0.name == word })
                {
                    // Its options are its own: one that stands before the name would be lost.
                    if let lost = command.options.first(where: { invocation.isGiven($0.name) }) {
                        throw usage("--\(lost.name) comes behind '\(word)'", path + [word])
                    }
                    command = next
                    path.append(word)
                } else {
                    positional.append(word)
                }
                continue
            }
            if word == "--" {
                onlyArguments = true
                continue
            }
            if word == "--help" || word == "-h" { return .help(command, path: path, inherited: inherited) }
            try option(word, &rest, inherited + command.options, &invocation, path)
        }
        guard command.run != nil else {
            if words.isEmpty { return .help(command, path: path, inherited: inherited) }
            throw usage("'\(path.joined(separator: " "))' needs a command", path)
        }
        try assign(positional, command, &invocation, path)
        return .run(command, path: path, invocation)
    }

    private static func option(
        _ word: String, _ rest: inout ArraySlice<String>, _ options: [Command.Option], _ invocation: inout Invocation,
        _ path: [String]
    ) throws(FleetError) {
        var name = Substring(word)
        var attached: String?
        if word.hasPrefix("--") {
            name = word.dropFirst(2)
            if let equals = name.firstIndex(of: "=") {
                attached = String(name[name.index(after: equals)...])
                name = name[..<equals]
            }
        } else if word.count > 2 {
            attached = String(word.dropFirst(2))
        }
        let found = options.first { option in
            word.hasPrefix("--") ? option.name == name : option.short == word.dropFirst().first
        }
        guard let found else {
            throw usage("unknown option \(word.hasPrefix("--") ? "--\(name)" : String(word.prefix(2)))", path)
        }
        guard let label = found.value else {
            guard attached == nil else { throw usage("--\(found.name) takes no value", path) }
            invocation.switches.insert(found.name)
            return
        }
        guard let value = attached ?? rest.popFirst() else {
            throw usage("--\(found.name) needs a value: \(label)", path)
        }
        guard found.choices.isEmpty || found.choices.contains(value) else {
            throw usage("--\(found.name) is one of \(found.choices.joined(separator: ", ")), not '\(value)'", path)
        }
        guard found.isRepeated || invocation.values[found.name] == nil else {
            throw usage("--\(found.name) was given twice", path)
        }
        invocation.values[found.name, default: []].append(value)
    }

    private static func assign(
        _ words: [String], _ command: Command, _ invocation: inout Invocation, _ path: [String]
    ) throws(FleetError) {
        var rest = words[...]
        for argument in command.arguments {
            switch argument.count {
            case .one:
                guard let word = rest.popFirst() else { throw usage("\(argument.name) is missing", path) }
                invocation.positional[argument.name] = [word]
            case .optional: if let word = rest.popFirst() { invocation.positional[argument.name] = [word] }
            case .any, .atLeastOne:
                guard argument.count == .any || !rest.isEmpty else { throw usage("\(argument.name) is missing", path) }
                invocation.positional[argument.name] = Array(rest)
                rest = []
            }
            for word in invocation.arguments(argument.name)
            where !argument.choices.isEmpty && !argument.choices.contains(word) {
                throw usage(
                    "\(argument.name) is one of \(argument.choices.joined(separator: ", ")), not '\(word)'", path)
            }
        }
        if let word = rest.first { throw usage("'\(word)' is one argument too many", path) }
    }

    private static func usage(_ message: String, _ path: [String]) -> FleetError {
        FleetError(.usage, message, hint: "see '\(path.joined(separator: " ")) --help'")
    }
}
