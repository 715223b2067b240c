internal import CLinux
internal import FleetSystem
private import Glibc

/// One thread that waits in epoll for all sockets of the process and runs what is isolated to `Reactor`. Nothing that
/// blocks may run on it: it must come back to epoll within a millisecond, or ten thousand agents wait.
final class EventLoop: SerialExecutor {
    static let shared = EventLoop()

    private struct State {
        var jobs: [UnownedJob] = []
        /// The loop is in epoll_wait, or about to be: whoever adds a job wakes it through the eventfd.
        var sleeping = false
    }
    private let state = Monitor(State())
    let epoll: Int32
    private let wakeup: Int32
    /// The moment, on the monotonic clock in nanoseconds, at which the loop must run timers at the latest.
    let nextTimer = Monitor<UInt64>(.max)

    private init() {
        Signals.brokenPipeIgnored
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        wakeup = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        // Without these two there is no program.
        precondition(epoll >= 0 && wakeup >= 0, "epoll: error \(errno)")
        var event = epoll_event(events: EPOLLIN.rawValue, data: epoll_data_t(u64: 0))
        precondition(epoll_ctl(epoll, EPOLL_CTL_ADD, wakeup, &event) == 0)
        Thread.start(name: "reactor") { self.run() }
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let wake = state.withLock { state in
            state.jobs.append(job)
            defer { state.sleeping = false }
            return state.sleeping
        }
        if wake {
            var one: UInt64 = 1
            _ = write(wakeup, &one, 8)
        }
    }

    private func run() {
        var events = [epoll_event](repeating: epoll_event(), count: 256)
        while true {
            let jobs = state.withLock { state in
                defer { state.jobs = [] }
                state.sleeping = state.jobs.isEmpty
                return state.jobs
            }
            for job in jobs { job.runSynchronously(on: asUnownedSerialExecutor()) }

            // With work at hand the sockets are only looked at, so neither starves the other.
            let count = epoll_wait(epoll, &events, Int32(events.count), jobs.isEmpty ? timeout() : 0)
            state.withLock { $0.sleeping = false }
            let ready = events.prefix(max(0, Int(count))).compactMap { event in
                event.data.u64 == 0 ? nil : Readiness(token: event.data.u64, events: event.events)
            }
            if ready.count < count {
                var value: UInt64 = 0
                _ = read(wakeup, &value, 8)
            }
            let timersDue = nextTimer.withLock { $0 } <= monotonicNanoseconds()
            if !ready.isEmpty || timersDue {
                // A task, so that handlers run as `Reactor`-isolated code that the compiler has checked.
                Task { @Reactor in Poller.shared.dispatch(ready) }
            }
        }
    }

    private func timeout() -> Int32 {
        let next = nextTimer.withLock { $0 }
        guard next != .max else { return -1 }
        let now = monotonicNanoseconds()
        return next <= now ? 0 : Int32(min(UInt64(Int32.max), (next - now) / 1_000_000 + 1))
    }
}

/// What epoll said of one registration.
struct Readiness: Sendable {
    let token: UInt64
    let events: UInt32
}

func monotonicNanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}
