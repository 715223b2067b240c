private import Glibc

/// This process as a program: which one it is, and putting another in its place.
public enum Execution {
    /// The file that runs, also where it was replaced or removed since.
    public static let own = "/proc/self/exe"

    /// Another program in this process, with its arguments, environment and process id; what is open is closed, locks with it.
    ///
    /// - Returns: only where it could not be started: why.
    public static func replace(with path: String, arguments: [String]) -> FleetError {
        var none = sigset_t()
        var before = sigset_t()
        sigemptyset(&none)
        // execve(2): "The process's signal mask is preserved", and threads of a pool block what a daemon lives by.
        pthread_sigmask(SIG_SETMASK, &none, &before)
        var words: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        _ = execv(path, &words)
        let code = errno
        pthread_sigmask(SIG_SETMASK, &before, nil)
        return FleetError(
            errno: code, "start \(path)", hint: code == EACCES ? "is that file system mounted noexec?" : nil)
    }

    /// Ends this process after so many seconds by SIGALRM, whatever it has become meanwhile: execve(2) keeps a running timer.
    /// 0 takes that back.
    public static func end(afterSeconds seconds: UInt32) {
        signal(SIGALRM, SIG_DFL)
        _ = alarm(seconds)
    }

    /// Ends this process as its service manager would.
    public static func terminate() { kill(getpid(), SIGTERM) }

    public static func environment(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
    /// Before there are threads that read it.
    public static func setEnvironment(_ name: String, _ value: String?) {
        if let value { setenv(name, value, 1) } else { unsetenv(name) }
    }

    /// Seconds since the machine was started, the time that it slept included.
    public static func uptime() throws(FleetError) -> Int64 {
        let text = try FileSystem.readText("/proc/uptime")
        guard let seconds = Int64(text.prefix { $0.isNumber }) else {
            throw FleetError(.malformed, "/proc/uptime says no time")
        }
        return seconds
    }
}
