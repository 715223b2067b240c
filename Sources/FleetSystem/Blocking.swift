private import Glibc

/// Threads for calls that block: disk, fsync, name resolution, child processes, hashing. Swift's own pool has one
/// thread a core and must never wait, so this work is handed to threads made for it: up to `limit`, started when
/// there is work for them, gone after they were idle for a while.
public final class Blocking: Sendable {
    public static let shared = Blocking(limit: 32)

    private struct State {
        var queue: [@Sendable () -> Void] = []
        var head = 0
        var threads = 0
        var idle = 0
    }
    private let state: Monitor<State>
    private let limit: Int

    public init(limit: Int) {
        self.limit = limit
        state = Monitor(State())
    }

    /// Runs `body` on a thread of the pool and returns what it returns. Not interrupted by cancellation: a call into
    /// the kernel can't be, so whoever must be able to stop early gives `body` a deadline.
    public static func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await shared.run(body)
    }

    public func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            submit { continuation.resume(with: Result(catching: body)) }
        }
    }

    private func submit(_ work: @escaping @Sendable () -> Void) {
        let startThread = state.withLock { state in
            state.queue.append(work)
            let needed = state.idle < state.queue.count - state.head && state.threads < limit
            if needed { state.threads += 1 }
            return needed
        }
        if startThread { Thread.start(name: "blocking") { self.work() } } else { state.signal() }
    }

    private func work() {
        while let next = take() { next() }
    }

    /// The next piece of work; nil when there was none for a while, and the thread is to go.
    private func take() -> (@Sendable () -> Void)? {
        state.withLock { $0.idle += 1 }
        let hasWork: (State) -> Bool = { $0.head < $0.queue.count }
        return state.waiting(seconds: 10, until: hasWork) { state, isReady in
            state.idle -= 1
            guard isReady else {
                state.threads -= 1
                return nil
            }
            defer {
                state.head += 1
                if state.head == state.queue.count {
                    state.queue.removeAll(keepingCapacity: state.queue.capacity < 1024)
                    state.head = 0
                }
            }
            return state.queue[state.head]
        }
    }
}
