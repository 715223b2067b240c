/// What shells offer at TAB, made from the declaration. All three scripts do the same: they walk the words before the
/// cursor as the parser does, and offer what is allowed at the level of the command line that this comes to. Nothing is
/// asked of the program or of a coordinator, so that TAB is never slow and needs no rights.
enum Completion: String, CaseIterable {
    case bash, zsh, fish

    func script(_ root: Command) -> String {
        let levels = CommandLevel.all(root)
        // A shell's function may not be called as every program may.
        let function = "_" + String(root.name.map { $0.isLetter || $0.isNumber ? $0 : "_" })
        return switch self {
        case .bash: BashCompletion(root: root, levels: levels, function: function).script
        case .zsh: ZshCompletion(root: root, levels: levels, function: function).script
        case .fish: FishCompletion(root: root, levels: levels, function: function).script
        }
    }
}

/// In single quotes, as sh, bash and zsh read them.
func quoted(_ text: String) -> String { "'\(text.replacing("'", with: "'\\''"))'" }
