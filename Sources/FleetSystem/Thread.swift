private import CLinux
private import Glibc

/// A detached thread with a name that `top -H` shows.
package enum Thread {
    package static func start(name: String, _ body: @escaping @Sendable () -> Void) {
        final class Box {
            let name: String, body: @Sendable () -> Void
            init(_ name: String, _ body: @escaping @Sendable () -> Void) { (self.name, self.body) = (name, body) }
        }
        let box = Unmanaged.passRetained(Box(name, body))
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        pthread_attr_setstacksize(&attributes, 1 << 20)
        var thread = pthread_t()
        let result = pthread_create(
            &thread, &attributes,
            { argument in
                let box = Unmanaged<Box>.fromOpaque(argument!).takeRetainedValue()
                fleet_name_thread(box.name)
                box.body()
                return nil
            }, box.toOpaque())
        pthread_attr_destroy(&attributes)
        // Without a thread nothing that was promised can be done: stop loudly rather than hang.
        precondition(result == 0, "pthread_create: error \(result)")
    }
}

/// A serial executor with a thread of its own, for an actor whose work blocks (the catalogue).
public final class ThreadExecutor: SerialExecutor {
    private struct State {
        var jobs: [UnownedJob] = []
        var stopped = false
    }
    private let state = Monitor(State())

    public init(name: String) {
        let state = self.state
        let reference = UnownedReference(self)
        Thread.start(name: name) {
            while true {
                let hasNews: (State) -> Bool = { !$0.jobs.isEmpty || $0.stopped }
                let batch: [UnownedJob]? = state.waiting(seconds: 3600, until: hasNews) { value, isReady in
                    guard isReady else { return [] }
                    defer { value.jobs = [] }
                    return value.jobs.isEmpty ? nil : value.jobs
                }
                guard let batch else { return }
                for job in batch { job.runSynchronously(on: reference.executor) }
            }
        }
    }

    deinit {
        state.withLock { $0.stopped = true }
        state.signal()
    }

    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        state.withLock { $0.jobs.append(job) }
        state.signal()
    }

    // The thread must not keep the executor alive; while a job runs, the actor it belongs to does.
    private struct UnownedReference: @unchecked Sendable {
        unowned let owner: ThreadExecutor
        init(_ owner: ThreadExecutor) { self.owner = owner }
        var executor: UnownedSerialExecutor { owner.asUnownedSerialExecutor() }
    }
}
