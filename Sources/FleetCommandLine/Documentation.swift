internal import FleetSystem

/// Commands of every program: what it says of itself to a shell and to man(1).
enum Documentation {
    /// The pages that belong together.
    private static let pages: [(name: String, section: Int)] = [
        ("fleetctl", 1), ("fleet-agent", 8), ("fleet-coordinator", 8),
    ]

    static func added(to root: Command, version: String) -> Command {
        var whole = root
        whole.subcommands += [completion(of: root, version), manual(of: root, version)]
        return whole
    }

    private static func completion(of root: Command, _ version: String) -> Command {
        let program = root.name
        return Command(
            "completion", "Print what lets a shell complete commands and options",
            discussion: """
                The packages bring it along. Where \(program) was installed by hand, let the shell read it when it starts.
                """,
            arguments: [.init("SHELL", "which one", choices: Completion.allCases.map(\.rawValue))],
            examples: [
                .init("source <(\(program) completion bash)", "in ~/.bashrc"),
                .init("source <(\(program) completion zsh)", "in ~/.zshrc, behind compinit"),
                .init("\(program) completion fish | source", "in ~/.config/fish/config.fish"),
            ]
        ) { call in
            let shell = Completion(rawValue: call.argument("SHELL")!)!
            call.terminal.printRaw(shell.script(added(to: root, version: version)))
            return .success
        }
    }

    private static func manual(of root: Command, _ version: String) -> Command {
        Command(
            "manual", "Print the manual page, in the form that man(1) reads",
            discussion: "All that --help tells at every level, on one page. The packages install it.",
            examples: [.init("\(root.name) manual | man -l -", "read it")]
        ) { call in
            let section = pages.first { $0.name == root.name }?.section ?? 1
            let whole = added(to: root, version: version)
            call.terminal.printRaw(Manual.page(whole, section: section, version: version, others: pages))
            return .success
        }
    }
}
