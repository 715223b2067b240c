/// For zsh's own completion system: as a file `_PROGRAM` in a directory of fpath, or sourced after `compinit`.
struct ZshCompletion {
    let root: Command
    let levels: [CommandLevel]
    let function: String

    var script: String {
        """
        #compdef \(root.name)
        # zsh completion for \(root.name), made by '\(root.name) completion zsh'

        # What can stand at a level of the command line: commands, options that take a value, and all options and arguments
        # as _arguments reads them.
        _\(function)_level() {
            subcommands=() valued=() specs=()
            case $1 in
        \(levels.map(level).joined(separator: "\n"))
            esac
        }

        _\(function)_commands() { _describe -t commands command subcommands }

        \(function)() {
            local level=\(quoted(root.name)) word option only
            local -a subcommands valued specs
            local -i i count=0 start=1
            _\(function)_level "$level"
            for ((i = 2; i < CURRENT; i++)); do
                word=$words[i]
                if [[ -n $option ]]; then
                    option=
                elif [[ -z $only && $word == -- ]]; then
                    only=yes
                elif [[ -z $only && $word == -?* ]]; then
                    (( ${valued[(Ie)$word]} == 0 )) || option=$word
                elif (( count == 0 )) && [[ -n ${(M)subcommands:#${word}:*} ]]; then
                    level+=" $word"
                    start=$i
                    _\(function)_level "$level"
                else
                    count+=1
                fi
            done
            # From here on as if the command were a program of its own.
            words=("${(@)words[start,-1]}")
            (( CURRENT -= start - 1 ))
            _arguments -S : $specs
        }

        if [[ $funcstack[1] == \(function) ]]; then
            \(function) "$@"
        else
            compdef \(function) \(root.name)
        fi

        """
    }

    private func level(_ level: CommandLevel) -> String {
        let command = level.command
        var lines: [String] = []
        if !command.subcommands.isEmpty {
            lines.append("subcommands=(")
            lines += command.subcommands.map { "    \(quoted("\($0.name):\($0.summary)"))" }
            lines.append(")")
        }
        let valued = level.options.filter { $0.value != nil }.flatMap(\.words)
        if !valued.isEmpty { lines.append("valued=(\(valued.joined(separator: " ")))") }
        lines.append("specs=(")
        lines += (level.options.flatMap(specs) + operands(command)).map { "    \(quoted($0))" }
        lines.append(")")
        return "    \(quoted(level.name)))\n" + lines.map { "        \($0)\n" }.joined() + "        ;;"
    }

    private func specs(_ option: Command.Option) -> [String] {
        // One that was given is not offered again, under neither of its names.
        let given = option.isRepeated ? "*" : option.words.count > 1 ? "(\(option.words.joined(separator: " ")))" : ""
        return option.words.map { word in
            let takes = option.value == nil ? "" : word.hasPrefix("--") ? "=" : "+"
            let value = option.value.map { ":\(escaped($0)):\(action(option.offer!))" } ?? ""
            return "\(given)\(word)\(takes)[\(escaped(option.summary))]\(value)"
        }
    }

    private func operands(_ command: Command) -> [String] {
        var position = 0
        var specs = command.arguments.map { argument in
            position += 1
            let place = argument.isRepeated ? "*:" : argument.count == .optional ? "\(position)::" : "\(position):"
            return "\(place)\(escaped(argument.name)):\(action(argument.offer))"
        }
        if !command.subcommands.isEmpty {
            // The first word may be one of them; where it may be an argument as well, nothing is known of its values.
            specs.removeAll { $0.hasPrefix("1:") }
            specs.insert("1:command:_\(function)_commands", at: 0)
        }
        return specs
    }

    private func action(_ offer: Offer) -> String {
        switch offer {
        case .nothing: " "
        case .files: "_files"
        case .directories: "_files -/"
        case .words(let words): "(\(words.joined(separator: " ")))"
        }
    }

    private func escaped(_ text: String) -> String {
        var result = ""
        for character in text {
            if "\\[]:".contains(character) { result.append("\\") }
            result.append(character)
        }
        return result
    }
}
