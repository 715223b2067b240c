private import Glibc

/// Signals that would end the process where an error is wanted.
package enum Signals {
    /// Writing to a pipe or socket whose reader is gone fails with EPIPE instead of killing the process. Everything
    /// that writes to one touches this first, in test runs too.
    package static let brokenPipeIgnored: Void = { signal(SIGPIPE, SIG_IGN) }()
}
