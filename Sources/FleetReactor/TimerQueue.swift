/// Timers by their moment: a binary heap of (moment, token), and the actions by token. A cancelled timer leaves its
/// place in the heap until its moment comes or the heap is mostly such places.
@Reactor struct TimerQueue {
    private struct Entry {
        let at: UInt64
        let token: UInt64
    }
    private var heap: [Entry] = []
    private var actions: [UInt64: @Reactor () -> Void] = [:]
    private var lastToken: UInt64 = 0

    /// The earliest moment at which there may be something to do.
    var next: UInt64? { heap.first?.at }

    mutating func add(at moment: UInt64, _ action: @escaping @Reactor () -> Void) -> UInt64 {
        lastToken += 1
        actions[lastToken] = action
        heap.append(Entry(at: moment, token: lastToken))
        siftUp(heap.count - 1)
        return lastToken
    }

    mutating func cancel(_ token: UInt64) {
        guard actions.removeValue(forKey: token) != nil else { return }
        if heap.count > 64, heap.count > actions.count * 2 {
            heap.removeAll { actions[$0.token] == nil }
            for i in stride(from: heap.count / 2 - 1, through: 0, by: -1) { siftDown(i) }
        }
    }

    /// Takes the next action whose moment has come.
    mutating func popDue(_ now: UInt64) -> (@Reactor () -> Void)? {
        while let first = heap.first, first.at <= now {
            heap.swapAt(0, heap.count - 1)
            heap.removeLast()
            if !heap.isEmpty { siftDown(0) }
            if let action = actions.removeValue(forKey: first.token) { return action }
        }
        return nil
    }

    private mutating func siftUp(_ start: Int) {
        var i = start
        while i > 0, heap[i].at < heap[(i - 1) / 2].at {
            heap.swapAt(i, (i - 1) / 2)
            i = (i - 1) / 2
        }
    }

    private mutating func siftDown(_ start: Int) {
        var i = start
        while true {
            var least = i
            for child in [2 * i + 1, 2 * i + 2] where child < heap.count && heap[child].at < heap[least].at {
                least = child
            }
            if least == i { return }
            heap.swapAt(i, least)
            i = least
        }
    }
}
