private import Glibc

/// What ctrl-c says before it ends the program, while work that was started here goes on elsewhere: silence would leave
/// it open whether that was stopped, too.
public enum Interruption {
    // A handler may do next to nothing (signal-safety(7)): the text is made before, and only written there.
    nonisolated(unsafe) private static var text: UnsafeMutablePointer<CChar>?
    nonisolated(unsafe) private static var length = 0

    /// The program still ends by the signal, as shells expect it.
    public static func says(_ words: String) {
        signal(SIGINT, SIG_DFL)
        free(text)
        let line = "\n" + Terminal.harmless(words) + "\n"
        (text, length) = (strdup(line), line.utf8.count)
        signal(SIGINT) { number in
            _ = write(2, Interruption.text, Interruption.length)
            signal(number, SIG_DFL)
            raise(number)
        }
    }

    /// Nothing goes on any more.
    public static func isOver() { signal(SIGINT, SIG_DFL) }
}
