/// The page of a program for man(1), made from the declaration, in the macros of man(7).
enum Manual {
    /// - Parameter others: the pages to see also, with their sections.
    static func page(_ root: Command, section: Int, version: String, others: [(name: String, section: Int)]) -> String {
        let levels = CommandLevel.all(root)
        var page = Roff()
        page.comment("Made from the declarations of the program's commands, as its --help is.")
        page.macro("TH", root.name.uppercased(), String(section), "", "\(root.name) \(version)", "etcd backup fleet")
        // No words of a command are broken or spread out.
        page.request("nh")
        page.request("ad l")
        page.macro("SH", "NAME")
        page.text("\(root.name) - \(root.summary)")
        page.macro("SH", "SYNOPSIS")
        for (place, level) in levels.filter({ $0.command.run != nil }).enumerated() {
            if place > 0 { page.request("br") }
            page.line(Roff.usage(level))
        }
        if !root.discussion.isEmpty {
            page.macro("SH", "DESCRIPTION")
            page.paragraphs(root.discussion)
        }
        page.macro("SH", "OPTIONS")
        if root.run == nil {
            page.text("Each of these is allowed with every command, before it or behind it; --version stands alone.")
        }
        for option in levels[0].options { page.option(option) }
        if !root.subcommands.isEmpty {
            page.macro("SH", "COMMANDS")
            for level in levels.dropFirst() { page.command(level) }
        }
        page.macro("SH", "EXIT STATUS")
        for (status, meaning) in ExitStatus.ofEveryCommand { page.item([.bold(String(status.code))], meaning) }
        if !root.subcommands.isEmpty {
            page.macro("PP")
            page.text("What else a command can end with is told where the command is.")
        }
        page.examples(root.examples, macro: "SH", "EXAMPLES")
        let others = others.filter { $0.name != root.name }
        if !others.isEmpty {
            page.macro("SH", "SEE ALSO")
            page.line(
                Array(others.map { [.bold($0.name), .plain("(\($0.section))")] }.joined(separator: [.plain(", ")])))
        }
        return page.source
    }
}

extension Roff {
    fileprivate static func usage(_ level: CommandLevel) -> [Span] {
        var spans: [Span] = [.bold(level.name)]
        for argument in level.command.arguments {
            // The brackets around the name, not of it.
            let around = argument.shape("\u{0}").split(separator: "\u{0}", omittingEmptySubsequences: false)
            spans += [.plain(" \(around[0])"), .italic(argument.name), .plain(String(around[1]))]
        }
        if level.command.run == nil { spans += [.plain(" "), .italic("COMMAND")] }
        return spans + [.plain(" ["), .italic("OPTIONS"), .plain("]")]
    }

    fileprivate mutating func command(_ level: CommandLevel) {
        let command = level.command
        macro("SS", level.name)
        line(Self.usage(level))
        macro("PP")
        text(command.summary + ".")
        paragraphs(command.discussion, first: "PP")
        for argument in command.arguments {
            item([.italic(argument.name)], argument.summary + Help.choices(argument.choices))
        }
        for option in command.options { self.option(option) }
        examples(command.examples, macro: "PP", "Examples:")
        if !command.exitStatuses.isEmpty {
            macro("PP")
            text("Exit status, beside those of every command:")
            for (status, meaning) in command.exitStatuses { item([.bold(String(status.code))], meaning) }
        }
    }

    fileprivate mutating func option(_ option: Command.Option) {
        var tag: [Span] = []
        if let short = option.short { tag += [.bold("-\(short)"), .plain(", ")] }
        tag.append(.bold("--\(option.name)"))
        if let value = option.value { tag += [.plain(" "), .italic(value)] }
        item(tag, option.summary + Help.choices(option.choices))
    }

    fileprivate mutating func examples(_ examples: [Command.Example], macro name: String, _ title: String) {
        guard !examples.isEmpty else { return }
        if name == "SH" {
            macro(name, title)
        } else {
            macro(name)
            text(title)
        }
        for example in examples {
            item([.bold(example.command)], example.explanation)
        }
    }
}
