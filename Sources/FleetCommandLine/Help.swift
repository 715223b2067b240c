/// `--help`, made from the declaration.
enum Help {
    static func text(_ command: Command, path: [String], inherited: [Command.Option], terminal: Terminal) -> String {
        let name = path.joined(separator: " ")
        var lines = [command.summary, ""]
        lines += [terminal.bold("Usage"), "  \(([name] + command.operands).joined(separator: " ")) [OPTIONS]", ""]
        if !command.discussion.isEmpty { lines += paragraphs(command.discussion, min(terminal.columns, 100)) + [""] }
        section("Commands", command.subcommands.map { ($0.name, $0.summary) }, terminal, &lines)
        section("Arguments", command.arguments.map { ($0.name, $0.summary + choices($0.choices)) }, terminal, &lines)
        section("Options", command.options.map(row), terminal, &lines)
        section(
            command.options.isEmpty ? "Options" : "Options of every command",
            (inherited + Command.Option.ofEveryCommand(isProgram: path.count == 1)).map(row),
            terminal, &lines)
        if !command.examples.isEmpty {
            lines.append(terminal.bold("Examples"))
            for example in command.examples { lines += ["  \(example.command)", "      \(example.explanation)"] }
            lines.append("")
        }
        if command.run != nil {
            let all = ExitStatus.ofEveryCommand + command.exitStatuses
            section("Exit status", all.map { (String($0.0.code), $0.1) }, terminal, &lines)
        } else {
            lines += ["'\(name) COMMAND --help' tells more, with examples and exit statuses.", ""]
        }
        return lines.dropLast().joined(separator: "\n") + "\n"
    }

    private static func row(_ option: Command.Option) -> (String, String) {
        let short = option.short.map { "-\($0), " } ?? "    "
        let left = "\(short)--\(option.name)" + (option.value.map { " \($0)" } ?? "")
        return (left, option.summary + choices(option.choices))
    }

    static func choices(_ values: [String]) -> String {
        values.isEmpty ? "" : " (\(values.joined(separator: ", ")))"
    }

    private static func section(
        _ title: String, _ rows: [(String, String)], _ terminal: Terminal, _ lines: inout [String]
    ) {
        guard !rows.isEmpty else { return }
        lines.append(terminal.bold(title))
        let width = min(30, rows.map(\.0.count).max() ?? 0)
        for (left, right) in rows {
            let indent = String(repeating: " ", count: width + 4)
            let room = max(30, min(terminal.columns, 100) - indent.count)
            var text = wrap(right, room)
            var first = "  " + left.padding(width)
            if left.count > width {
                lines.append(first)
                first = "  " + String(repeating: " ", count: width)
            }
            lines.append(first + "  " + text.removeFirst())
            lines += text.map { indent + $0 }
        }
        lines.append("")
    }

    /// Flowed anew; what is indented stays as it is.
    private static func paragraphs(_ text: String, _ width: Int) -> [String] {
        var lines: [String] = []
        var open: [Substring] = []
        func close() {
            if !open.isEmpty { lines += wrap(open.joined(separator: " "), width) }
            open = []
        }
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if line.isEmpty || line.hasPrefix(" ") {
                close()
                lines.append(String(line))
            } else {
                open.append(line)
            }
        }
        close()
        return lines
    }

    private static func wrap(_ text: String, _ width: Int) -> [String] {
        var lines = [""]
        for word in text.split(separator: " ") {
            if !lines[lines.count - 1].isEmpty, lines[lines.count - 1].count + 1 + word.count > width {
                lines.append("")
            }
            lines[lines.count - 1] += (lines[lines.count - 1].isEmpty ? "" : " ") + word
        }
        return lines
    }
}

extension String {
    func padding(_ width: Int) -> String { self + String(repeating: " ", count: Swift.max(0, width - count)) }
}
