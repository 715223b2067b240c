/// For fish 3.
struct FishCompletion {
    let root: Command
    let levels: [CommandLevel]
    let function: String

    var script: String {
        """
        # fish completion for \(root.name), made by '\(root.name) completion fish'

        # Succeeds at the level of the command line that is named, with a number only behind so many arguments.
        function _\(function)_at
            set -l level \(literal(root.name))
            set -l option no
            set -l only no
            set -l count 0
            for word in (commandline -opc)[2..-1]
                if test $option = yes
                    set option no
                    continue
                end
                if test $only = no; and string match -qr -- '^-.' $word
                    switch "$level $word"
                        case '* --'
                            set only yes
                        case \(valued)
                            set option yes
                    end
                    continue
                end
                switch "$count $level $word"
                    case \(commands)
                        set level "$level $word"
                    case '*'
                        set count (math $count + 1)
                end
            end
            test "$argv[1]" = "$level"; and test (count $argv) -lt 2 -o "$argv[2]" = $count
        end

        complete -c \(root.name) -f
        \(levels.flatMap(lines).joined(separator: "\n"))

        """
    }

    /// What is taken by its name at a level: "cluster-tool add --size".
    private var valued: String {
        let all = levels.flatMap { level in
            level.options.filter { $0.value != nil }.flatMap(\.words).map { literal("\(level.name) \($0)") }
        }
        return list(all)
    }

    private var commands: String { list(levels.dropFirst().map { literal("0 \($0.name)") }) }

    /// A pattern that nothing matches where there is none.
    private func list(_ patterns: [String]) -> String { patterns.isEmpty ? "''" : patterns.joined(separator: " ") }

    private func lines(_ level: CommandLevel) -> [String] {
        let command = level.command
        func line(_ rest: String, behind count: Int? = nil) -> String {
            let condition = "_\(function)_at \(literal(level.name))" + (count.map { " \($0)" } ?? "")
            return "complete -c \(root.name) -n \(literal(condition)) \(rest)"
        }
        var lines = command.subcommands.map {
            line("-a \(literal($0.name)) -d \(literal($0.summary))", behind: 0)
        }
        for (position, argument) in command.arguments.enumerated() {
            guard let offered = offered(argument.offer) else { continue }
            lines.append(line(offered, behind: argument.isRepeated ? nil : position))
        }
        for option in level.options {
            var rest = option.short.map { "-s \($0) " } ?? ""
            rest += "-l \(option.name) "
            if option.value != nil { rest += (option.offer == .files ? "-r " : "-x ") }
            if let offered = option.offer.flatMap(offered) { rest += offered + " " }
            lines.append(line(rest + "-d \(literal(option.summary))"))
        }
        return lines
    }

    private func offered(_ offer: Offer) -> String? {
        switch offer {
        case .nothing: nil
        case .files: "-F"
        case .directories: "-a '(__fish_complete_directories)'"
        case .words(let words): "-a \(literal(words.joined(separator: " ")))"
        }
    }

    /// In single quotes, in which fish knows \\ and \'.
    private func literal(_ text: String) -> String {
        "'\(text.replacing("\\", with: "\\\\").replacing("'", with: "\\'"))'"
    }
}
