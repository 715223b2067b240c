/// For bash 4.2 and newer, with or without the bash-completion package.
struct BashCompletion {
    let root: Command
    let levels: [CommandLevel]
    let function: String

    var script: String {
        """
        # bash completion for \(root.name), made by '\(root.name) completion bash'

        # What can stand at a level of the command line: commands, options, the values of options (by option), arguments in
        # their order, and what is repeated behind them. '@files' and '@directories' stand for the names of such.
        _\(function)_level() {
            commands=() options=() arguments=() repeated= values=()
            case $1 in
        \(levels.map(level).joined(separator: "\n"))
            esac
        }

        \(function)() {
            local level=\(quoted(root.name)) current=${COMP_WORDS[COMP_CWORD]} word option= offer= repeated= only= i count=0
            local -a commands options arguments
            local -A values
            COMPREPLY=()
            _\(function)_level "$level"
            for ((i = 1; i < COMP_CWORD; i++)); do
                word=${COMP_WORDS[i]}
                if [[ -n $option ]]; then
                    # bash takes --option=value for three words.
                    [[ $word == '=' ]] || option=
                elif [[ -z $only && $word == -- ]]; then
                    only=yes
                elif [[ -z $only && $word == -?* ]]; then
                    [[ -z ${values[$word]+set} ]] || option=$word
                elif [[ $count == 0 && -n $word && " ${commands[*]} " == *" $word "* ]]; then
                    level+=" $word"
                    _\(function)_level "$level"
                else
                    count=$((count + 1))
                fi
            done
            [[ $current != '=' ]] || current=
            if [[ -n $option ]]; then
                offer=${values[$option]}
            elif [[ -z $only && $current == -* ]]; then
                offer=${options[*]}
            else
                offer=${arguments[count]-$repeated}
                [[ $count != 0 ]] || [[ $offer == @* ]] || offer+=" ${commands[*]}"
            fi
            case $offer in
            @files)
                compopt -o filenames 2>/dev/null
                mapfile -t COMPREPLY < <(compgen -f -- "$current")
                ;;
            @directories)
                compopt -o filenames 2>/dev/null
                mapfile -t COMPREPLY < <(compgen -d -- "$current")
                ;;
            *) mapfile -t COMPREPLY < <(compgen -W "$offer" -- "$current") ;;
            esac
        }

        complete -F \(function) \(root.name)

        """
    }

    private func level(_ level: CommandLevel) -> String {
        let command = level.command
        var lines: [String] = []
        if !command.subcommands.isEmpty {
            lines.append("commands=(\(command.subcommands.map(\.name).joined(separator: " ")))")
        }
        lines.append("options=(\(level.options.flatMap(\.words).joined(separator: " ")))")
        let fixed = command.arguments.filter { !$0.isRepeated }
        if !fixed.isEmpty { lines.append("arguments=(\(fixed.map { token($0.offer) }.joined(separator: " ")))") }
        if let last = command.arguments.first(where: \.isRepeated) { lines.append("repeated=\(token(last.offer))") }
        let values = level.options.flatMap { option in
            option.offer.map { offer in option.words.map { "[\($0)]=\(token(offer))" } } ?? []
        }
        if !values.isEmpty { lines.append("values=(\(values.joined(separator: " ")))") }
        return "    \(quoted(level.name)))\n" + lines.map { "        \($0)\n" }.joined() + "        ;;"
    }

    private func token(_ offer: Offer) -> String {
        switch offer {
        case .nothing: "''"
        case .files: "@files"
        case .directories: "@directories"
        case .words(let words): quoted(words.joined(separator: " "))
        }
    }
}
