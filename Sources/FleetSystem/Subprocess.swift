private import CLinux
private import Glibc

/// Child processes: an argument vector and an environment that are given whole (never a shell, nothing inherited), a
/// group of their own, a deadline, and output that is bounded.
public enum Subprocess {
    public struct Outcome: Sendable {
        /// The exit status, or nil when a signal ended it.
        public var status: Int32?
        public var signal: Int32?
        public var output: [UInt8]
        /// The last `outputLimit` bytes of standard error are kept; what a failing tool says last is what matters.
        public var errors: [UInt8]
        public var succeeded: Bool { status == 0 }
        public var outputText: String { String(decoding: output, as: UTF8.self) }
        /// The last lines of standard error, of its last 4 kB, on one line for an error message.
        public var complaint: String {
            let text = String(decoding: errors.suffix(4000), as: UTF8.self)
            return text.split(whereSeparator: \.isNewline).suffix(3).joined(separator: "; ")
        }
    }

    /// A child that is stopped before its deadline, by whoever does not wait for it.
    public final class Handle: Sendable {
        private let state = Monitor((pid: Int32?.none, isStopping: false))

        public init() {}
        /// nil before it was started, and when it is gone.
        public var pid: Int32? { state.withLock(\.pid) }
        /// It gets SIGTERM, two seconds later SIGKILL; that is then how it ended, and no error.
        public func stop() { state.withLock { $0.isStopping = true } }
        fileprivate var isStopping: Bool { state.withLock(\.isStopping) }
        fileprivate func set(_ pid: Int32?) { state.withLock { $0.pid = pid } }
    }

    /// Blocks until the child is gone. On the deadline the whole group gets SIGTERM, two seconds later SIGKILL.
    ///
    /// - Parameter directory: where it works, the caller's own where none is given.
    /// - Throws: `not-found` or `permission-denied` when it can't be started, `timed-out` after the deadline,
    ///   `malformed` when standard output is longer than `outputLimit`. An exit status other than 0 is not an error
    ///   here: callers know what it means.
    public static func run(
        _ executable: String, _ arguments: [String] = [], environment: [String: String] = defaultEnvironment,
        directory: String? = nil, input: [UInt8] = [], deadline: Duration = .seconds(60), outputLimit: Int = 4 << 20,
        handle stopper: Handle? = nil
    ) throws(FleetError) -> Outcome {
        Signals.brokenPipeIgnored
        let started = ContinuousClock.now
        var standardInput = try Pipe()
        var standardOutput = try Pipe()
        var standardError = try Pipe()
        let (inputEnd, outputEnd, errorEnd) = (standardInput.writeEnd, standardOutput.readEnd, standardError.readEnd)
        let child = try spawn(
            executable, arguments, environment, directory, standardInput.readEnd, standardOutput.writeEnd,
            standardError.writeEnd)
        stopper?.set(child)
        defer { stopper?.set(nil) }
        standardInput.reading = nil
        standardOutput.writing = nil
        standardError.writing = nil
        // A child that does not read its input must not stop us from reading its output.
        try systemCall("pipe") { fcntl(inputEnd, F_SETFL, O_NONBLOCK) }
        let handle = Descriptor(owning: fleet_pidfd_open(child))
        var outcome = Outcome(status: nil, signal: nil, output: [], errors: [])
        var failure: FleetError?
        var pending = input[...]
        var open = (output: true, errors: true)
        // The child sees the end of its input only when nobody can write any more.
        if pending.isEmpty { standardInput.writing = nil }
        var ended = false
        var killAt: ContinuousClock.Instant?
        var buffer = [UInt8](repeating: 0, count: 64 << 10)

        func stop(_ error: FleetError?) {
            if failure == nil { failure = error }
            if killAt == nil {
                kill(-child, SIGTERM)
                killAt = .now + .seconds(2)
            }
        }
        // A grandchild may keep the pipes open after the child is gone, so the child's end counts, not theirs: once
        // it is gone, what is in the pipes is read without waiting for more.
        while !ended || open.output || open.errors {
            let now = ContinuousClock.now
            if killAt == nil, now - started >= deadline {
                stop(
                    FleetError(
                        .timedOut, "\(FileSystem.name(of: executable)) did not end within \(Int(deadline.seconds)) s",
                        retryable: true))
            }
            if killAt == nil, stopper?.isStopping == true { stop(nil) }
            if let at = killAt, now >= at { kill(-child, SIGKILL) }
            var polled = [
                pollfd(fd: ended ? -1 : handle.raw, events: Int16(POLLIN), revents: 0),
                pollfd(fd: open.output ? outputEnd : -1, events: Int16(POLLIN), revents: 0),
                pollfd(fd: open.errors ? errorEnd : -1, events: Int16(POLLIN), revents: 0),
                pollfd(fd: pending.isEmpty ? -1 : inputEnd, events: Int16(POLLOUT), revents: 0),
            ]
            let ready = try systemCall("poll") { poll(&polled, 4, ended ? 0 : 100) }
            if ended, ready == 0 { break }
            if polled[3].revents != 0 {
                let count = pending.withUnsafeBytes { write(inputEnd, $0.baseAddress, $0.count) }
                if count > 0 { pending = pending.dropFirst(count) } else if errno == EPIPE { pending = [] }
                if pending.isEmpty { standardInput.writing = nil }
            }
            for (index, isOutput) in [(1, true), (2, false)] where polled[index].revents != 0 {
                let raw = polled[index].fd
                let count = buffer.withUnsafeMutableBytes { read(raw, $0.baseAddress, $0.count) }
                if count <= 0 {
                    if count < 0, errno == EINTR || errno == EAGAIN { continue }
                    if isOutput { open.output = false } else { open.errors = false }
                } else if isOutput {
                    outcome.output += buffer[..<count]
                    if outcome.output.count > outputLimit {
                        stop(
                            FleetError(
                                .malformed, "\(FileSystem.name(of: executable)) printed more than \(outputLimit) bytes")
                        )
                        outcome.output = []
                    }
                } else {
                    outcome.errors += buffer[..<count]
                    if outcome.errors.count > outputLimit {
                        outcome.errors.removeFirst(outcome.errors.count - outputLimit / 2)
                    }
                }
            }
            if !ended, polled[0].revents != 0 { ended = true }
        }
        var status: Int32 = 0
        try systemCall("wait for \(executable)") { waitpid(child, &status, 0) }
        if let failure { throw failure }
        if fleet_exited(status) != 0 {
            outcome.status = fleet_exit_status(status)
        } else {
            outcome.signal = fleet_term_signal(status)
        }
        return outcome
    }

    /// As `run`, and an exit status other than 0 is the error `child-failed` with what the tool said last.
    public static func check(
        _ executable: String, _ arguments: [String] = [], environment: [String: String] = defaultEnvironment,
        deadline: Duration = .seconds(60), hint: String? = nil
    ) throws(FleetError) -> Outcome {
        let outcome = try run(executable, arguments, environment: environment, deadline: deadline)
        guard outcome.succeeded else {
            let how = outcome.status.map { "exit status \($0)" } ?? "signal \(outcome.signal ?? 0)"
            throw FleetError(
                .childFailed,
                "\(FileSystem.name(of: executable)) \(arguments.first ?? "") failed with \(how): \(outcome.complaint)",
                hint: hint)
        }
        return outcome
    }

    /// What a tool needs to run and no more; HOME is set since Go programs look for it.
    public static let defaultEnvironment = [
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/", "LANG": "C.UTF-8",
    ]

    private struct Pipe: ~Copyable {
        var reading: Descriptor?, writing: Descriptor?
        let readEnd: Int32, writeEnd: Int32
        init() throws(FleetError) {
            var ends: [Int32] = [0, 0]
            try systemCall("pipe") { fleet_pipe(&ends) }
            (readEnd, writeEnd) = (ends[0], ends[1])
            reading = Descriptor(owning: ends[0])
            writing = Descriptor(owning: ends[1])
        }
    }

    private static func spawn(
        _ executable: String, _ arguments: [String], _ environment: [String: String], _ directory: String?,
        _ input: Int32, _ output: Int32, _ errors: Int32
    ) throws(FleetError) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, input, 0)
        posix_spawn_file_actions_adddup2(&actions, output, 1)
        posix_spawn_file_actions_adddup2(&actions, errors, 2)
        if let directory { fleet_spawn_in(&actions, directory) }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // A child of a Swift task inherits blocked and ignored signals: it gets a clean set, and a group of its own so
        // that a deadline reaches what it started too.
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigfillset(&signals)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP))

        var argv: [UnsafeMutablePointer<CChar>?] = ([executable] + arguments).map { strdup($0) } + [nil]
        var envp: [UnsafeMutablePointer<CChar>?] = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for pointer in argv + envp { free(pointer) } }
        var child = pid_t()
        let result = posix_spawn(&child, executable, &actions, &attributes, &argv, &envp)
        guard result == 0 else { throw FleetError(errno: result, "start \(executable)") }
        return child
    }
}
