import FleetCommandLine
import FleetSystem
import Testing

/// Real shells complete real lines.
@Suite struct CompletionTests {
    struct Line: Sendable, CustomTestStringConvertible {
        /// The cursor is at its end.
        var typed: String
        /// All that is offered, sorted; for files those of the directory below.
        var offered: [String]
        var testDescription: String { typed }
    }

    /// What the parser allows, and so what all shells offer.
    static let lines: [Line] = [
        .init(typed: "my-tool ", offered: ["completion", "list", "make", "manual"]),
        .init(typed: "my-tool ma", offered: ["make", "manual"]),
        .init(typed: "my-tool --server make m", offered: ["make", "manual"]),
        .init(typed: "my-tool list ", offered: ["all"]),
        .init(typed: "my-tool --server x list a", offered: ["all"]),
        .init(typed: "my-tool make u", offered: ["undo"]),
        .init(typed: "my-tool make undo ", offered: ["at-once"]),
        .init(typed: "my-tool make -o ", offered: ["json", "table"]),
        .init(typed: "my-tool make --output j", offered: ["json"]),
        .init(typed: "my-tool make a --o", offered: ["--output"]),
        .init(typed: "my-tool make --s", offered: ["--server"]),
        .init(typed: "my-tool make a one", offered: ["one file", "one-more"]),
        .init(typed: "my-tool make a x y sub", offered: ["sub/"]),
        .init(typed: "my-tool make --into s", offered: ["sub/"]),
        .init(typed: "my-tool completion ", offered: ["bash", "fish", "zsh"]),
        .init(typed: "my-tool completion bash x", offered: []),
        .init(typed: "my-tool --v", offered: ["--version"]),
        .init(typed: "my-tool list --v", offered: []),
    ]

    @Test(.enabled(if: FileSystem.exists("/bin/bash")), arguments: lines)
    func bash(_ line: Line) async throws {
        try await expect(line, "bash", "/bin/bash", ["--norc", "--noprofile", "-c"], Self.bashDriver)
    }

    @Test(.enabled(if: FileSystem.exists("/usr/bin/zsh")), arguments: lines)
    func zsh(_ line: Line) async throws {
        try await expect(line, "zsh", "/usr/bin/zsh", ["-f", "-c"], Self.zshDriver)
    }

    @Test(.enabled(if: FileSystem.exists("/usr/bin/fish")), arguments: lines)
    func fish(_ line: Line) async throws {
        try await expect(line, "fish", "/usr/bin/fish", ["--no-config", "-c"], Self.fishDriver)
    }

    /// Each program's script is one that its shell takes without a word.
    @Test(
        arguments: fleetPrograms.indices, [("bash", "/bin/bash"), ("zsh", "/usr/bin/zsh"), ("fish", "/usr/bin/fish")])
    func everyProgramsScriptIsRead(_ index: Int, _ shell: (name: String, path: String)) async throws {
        guard FileSystem.exists(shell.path) else { return }
        let script = try await printed(fleetPrograms[index], "completion", shell.name)
        let outcome = try await inDirectory { directory in
            try FileSystem.writeDurably("\(directory)/script", script.utf8)
            return try Subprocess.run(shell.path, ["-n", "\(directory)/script"])
        }
        #expect(outcome.succeeded && outcome.errors.isEmpty, "\(outcome.complaint)")
    }

    /// What is offered everywhere is what the parser takes everywhere.
    @Test func wrongShell() async {
        let recorder = Recorder()
        let status = await Program.run(["completion", "csh"], sample, version: "1", terminal: recorder.terminal())
        #expect(status == .usage && recorder.errors.contains("SHELL is one of bash, zsh, fish, not 'csh'"))
    }

    /// A driver gets the script's path as $1 and the line as $2, and prints what is offered, one a line.
    private func expect(
        _ line: Line, _ shell: String, _ path: String, _ words: [String], _ driver: String
    ) async throws {
        let script = try await printed(sample, "completion", shell)
        let outcome = try await inDirectory { directory in
            for name in ["one file", "one-more", "sub/inner"] {
                try FileSystem.makeDirectories(FileSystem.parent(of: "\(directory)/\(name)"))
                try FileSystem.writeDurably("\(directory)/\(name)", [])
            }
            try FileSystem.writeDurably("\(directory)/_my-tool", script.utf8)
            var arguments = words + [driver]
            // sh's way: what is behind the text of -c is $0 first.
            if shell != "fish" { arguments.append(shell) }
            return try Subprocess.run(
                path, arguments + ["\(directory)/_my-tool", line.typed],
                environment: Subprocess.defaultEnvironment.merging(["TERM": "dumb", "HOME": directory]) { $1 },
                directory: directory)
        }
        #expect(outcome.succeeded, "\(outcome.complaint)")
        let offered = outcome.outputText.split(separator: "\n").map(String.init)
        #expect(Set(offered).sorted() == line.offered, "\(outcome.complaint)")
    }

    private func inDirectory(
        _ body: @escaping @Sendable (String) throws -> Subprocess.Outcome
    ) async throws -> Subprocess.Outcome {
        let directory = "/tmp/fleet-completion-\(Randomness.token(8))"
        return try await Blocking.run {
            try FileSystem.makeDirectories(directory)
            defer { try? FileSystem.removeTree(directory) }
            return try body(directory)
        }
    }

    /// As readline calls it; it would mark directories itself, by `compopt -o filenames`.
    private static let bashDriver = #"""
        source "$1" || exit 1
        read -ra COMP_WORDS <<<"$2"
        [[ $2 != *' ' ]] || COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_LINE=$2 COMP_POINT=${#2}
        set -u
        _my_tool my-tool "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        for one in "${COMPREPLY[@]}"; do
            [[ -d $one ]] && echo "$one/" || echo "$one"
        done
        """#

    /// The line is typed at a zsh of its own, whose `compadd` writes down what it is given and matches.
    private static let zshDriver = #"""
        zmodload zsh/zpty || exit 1
        export SCRIPT=$1 OFFERED=${1:h}/offered
        zpty typed "PS1= PROMPT= exec zsh -f -i"
        zpty -w typed 'unsetopt zle_bracketed_paste prompt_cr prompt_sp; PROMPT=; autoload -Uz compinit; compinit -u -D
        source $SCRIPT
        compadd() {
            if [[ ${@[(I)-[OAD]]} != 0 ]]; then builtin compadd "$@"; return; fi
            local -a found; builtin compadd -A found "$@"
            local one; for one in $found; do one=${(Q)one}; [[ -d $one ]] && one+=/; print -r -- $one >>$OFFERED; done
            builtin compadd "$@"
        }
        finish() { zle .kill-buffer; print -r -- >$OFFERED.done; }
        zle -N finish; bindkey "^X" finish; bindkey "^I" complete-word; print -r -- >$OFFERED.ready'
        for i in {1..200}; do [[ -e $OFFERED.ready ]] && break; sleep 0.05; done
        zpty -w -n typed "$2"$'\t\x18'
        for i in {1..200}; do [[ -e $OFFERED.done ]] && break; sleep 0.05; done
        [[ -e $OFFERED.done ]] || { zpty -r typed said; print -ru2 -- $said; exit 1 }
        zpty -d typed
        [[ ! -e $OFFERED ]] || cat $OFFERED
        """#

    private static let fishDriver = #"""
        source $argv[1]; or exit 1
        complete -C $argv[2] | string replace -r '\t.*' '' | string unescape
        exit 0
        """#
}
