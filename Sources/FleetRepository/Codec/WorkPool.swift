import FleetSystem
private import Glibc

/// As many threads as there are processors, for compression and decompression. They start with the first piece of
/// work; a repository lives as long as its process, and so do they.
final class WorkPool: Sendable {
    private struct State {
        var queue: [@Sendable () -> Void] = []
        var head = 0
        var isStarted = false
        var isOver = false
    }
    private let state = Monitor(State())
    private static let threads = max(2, sysconf(Int32(_SC_NPROCESSORS_ONLN)))

    deinit {
        state.withLock { $0.isOver = true }
        state.broadcast()
    }

    func submit(_ work: @escaping @Sendable () -> Void) {
        let isFirst = state.withLock { state in
            state.queue.append(work)
            defer { state.isStarted = true }
            return !state.isStarted
        }
        if isFirst {
            // The threads hold the state only: the pool itself may be let go of.
            for _ in 0..<Self.threads { Thread.start(name: "repository") { [state] in Self.run(state) } }
        } else {
            state.signal()
        }
    }

    private static func run(_ state: Monitor<State>) {
        while true {
            let hasWork: (State) -> Bool = { $0.head < $0.queue.count || $0.isOver }
            let next: (work: (@Sendable () -> Void)?, isOver: Bool) = state.waiting(seconds: 3600, until: hasWork) {
                state, isReady in
                guard isReady, state.head < state.queue.count else { return (nil, state.isOver) }
                let work = state.queue[state.head]
                state.head += 1
                if state.head == state.queue.count {
                    state.queue.removeAll(keepingCapacity: true)
                    state.head = 0
                }
                return (work, false)
            }
            if let work = next.work { work() } else if next.isOver { return }
        }
    }
}
