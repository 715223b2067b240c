internal import CLinux
public import FleetSystem
private import Glibc

/// Who is told when a socket can be read or written.
@Reactor public protocol EventHandler: AnyObject {
    func ready(read: Bool, write: Bool)
}

/// Registrations and timers of the event loop.
@Reactor final class Poller {
    static let shared = Poller()

    // Tokens, not descriptors, name registrations: a descriptor is reused as soon as it is closed, and an event that
    // was fetched before must not reach the newcomer.
    private var handlers: [UInt64: any EventHandler] = [:]
    private var lastToken: UInt64 = 0
    private var timers = TimerQueue()
    private let epoll = EventLoop.shared.epoll

    func add(_ descriptor: Int32, _ handler: any EventHandler, _ interest: UInt32) throws(FleetError) -> UInt64 {
        lastToken += 1
        var event = epoll_event(events: interest, data: epoll_data_t(u64: lastToken))
        let epoll = self.epoll
        try systemCall("watch a socket") { epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) }
        handlers[lastToken] = handler
        return lastToken
    }

    func change(_ descriptor: Int32, _ token: UInt64, _ interest: UInt32) {
        var event = epoll_event(events: interest, data: epoll_data_t(u64: token))
        // It fails only for a descriptor that is not registered, which the owner of the token excludes.
        precondition(epoll_ctl(epoll, EPOLL_CTL_MOD, descriptor, &event) == 0)
    }

    func remove(_ descriptor: Int32, _ token: UInt64) {
        var event = epoll_event()
        _ = epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, &event)
        handlers[token] = nil
    }

    func dispatch(_ ready: [Readiness]) {
        for one in ready {
            guard let handler = handlers[one.token] else { continue }
            // After an error or a hang-up both directions are told: the next read or write learns the reason.
            let failed = one.events & (EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0
            handler.ready(
                read: failed || one.events & (EPOLLIN.rawValue | EPOLLRDHUP.rawValue) != 0,
                write: failed || one.events & EPOLLOUT.rawValue != 0)
        }
        let now = monotonicNanoseconds()
        while let action = timers.popDue(now) { action() }
        arm()
    }

    func schedule(_ delay: Duration, _ action: @escaping @Reactor () -> Void) -> UInt64 {
        let delay = UInt64(max(0, delay.milliseconds)) * 1_000_000
        let token = timers.add(at: monotonicNanoseconds() + delay, action)
        arm()
        return token
    }

    func cancel(timer: UInt64) { timers.cancel(timer) }

    private func arm() {
        let next = timers.next ?? .max
        EventLoop.shared.nextTimer.withLock { $0 = next }
    }
}

/// A socket that is watched until `cancel`. Level-triggered: readiness is told again until it was dealt with.
@Reactor public final class Registration {
    private let descriptor: Int32
    private var token: UInt64?
    private var interest: UInt32

    /// Watches for reading. The descriptor must be open until `cancel`.
    public init(_ descriptor: Int32, _ handler: any EventHandler) throws(FleetError) {
        self.descriptor = descriptor
        interest = EPOLLIN.rawValue | EPOLLRDHUP.rawValue
        token = try Poller.shared.add(descriptor, handler, interest)
    }

    /// What is watched from now on. With neither, only errors and hang-ups are told.
    public func watch(read: Bool, write: Bool) {
        let wanted = (read ? EPOLLIN.rawValue | EPOLLRDHUP.rawValue : 0) | (write ? EPOLLOUT.rawValue : 0)
        guard wanted != interest, let token else { return }
        interest = wanted
        Poller.shared.change(descriptor, token, wanted)
    }

    public func cancel() {
        guard let token else { return }
        Poller.shared.remove(descriptor, token)
        self.token = nil
    }
}

/// Something to be done later on the reactor, unless it is cancelled before.
@Reactor public struct ReactorTimer {
    private let token: UInt64

    public init(after delay: Duration, _ action: @escaping @Reactor () -> Void) {
        token = Poller.shared.schedule(delay, action)
    }

    public func cancel() { Poller.shared.cancel(timer: token) }
}
