private import CLinux
private import Glibc

/// A value behind a mutex with a condition to wait on: the one lock of the project.
package final class Monitor<Value>: @unchecked Sendable {
    // Unchecked because the mutex, not the compiler, keeps `value` to one thread at a time.
    private var value: Value
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    package init(_ value: sending Value) {
        self.value = value
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(condition, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    package func withLock<Result>(_ body: (inout Value) throws -> sending Result) rethrows -> sending Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&value)
    }

    /// Wakes one waiter. Call it outside the lock.
    package func signal() { pthread_cond_signal(condition) }

    /// Wakes all waiters. Call it outside the lock.
    package func broadcast() { pthread_cond_broadcast(condition) }

    /// `withLock` for a body that throws the fleet's error.
    package func attempt<Result: Sendable>(
        _ body: (inout Value) throws(FleetError) -> Result
    ) throws(FleetError) -> Result {
        let result: Swift.Result<Result, FleetError> = withLock { value in
            do throws(FleetError) { return .success(try body(&value)) } catch { return .failure(error) }
        }
        return try result.get()
    }

    /// Waits until `ready` or the time is over, then does `body` under the same lock; it is told which of the two it was.
    ///
    /// `ready` gets the value anew each time. Waiting inside `withLock` would be wrong: there the value is borrowed
    /// exclusively, so the optimizer may take it for granted that nobody else changes it, and never look again.
    package func waiting<Result>(
        seconds: Int, until ready: (Value) -> Bool, _ body: (inout Value, Bool) throws -> sending Result
    ) rethrows -> sending Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        var deadline = timespec()
        clock_gettime(CLOCK_MONOTONIC, &deadline)
        deadline.tv_sec += seconds
        var isReady = ready(value)
        while !isReady, pthread_cond_timedwait(condition, mutex, &deadline) != ETIMEDOUT { isReady = ready(value) }
        return try body(&value, isReady || ready(value))
    }
}
